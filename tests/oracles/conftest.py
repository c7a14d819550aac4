"""The oracles import their own modules: this folder is no package.

A test that is marked `sampled` asks one model in five, always the same ones, and of drawn configs every
kind; with --full it asks all. What the oracles said of all of them is recorded, and `make test` holds memcalc
to that.
"""

from __future__ import annotations

import sys
from pathlib import Path
from zlib import crc32

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

torch.set_num_threads(1)  # small models: threads that wait for each other cost minutes beside other work


ONE_IN = 5  # no divisor of the number of seeds: each kind has its own ones


def subject(item):
    """The model that a test is about, and its number in the sample; None if it is about no model."""
    given = getattr(item, "callspec", None) and item.callspec.params
    if not given or not ("name" in given or {"kind", "seed"} <= given.keys()):
        return None, 0
    name = given["name"].removesuffix(", public") if "name" in given else f"{given['kind']} {given['seed']}"
    kind, _, seed = name.rpartition(" ")
    return name, crc32(kind.encode()) + int(seed) if seed.isdecimal() else crc32(name.encode())


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(config, items):
    """Leave out what is not in the sample; tests of one model go to one worker, which builds it once."""
    left_out = []
    for item in items:
        name, number = subject(item)
        if name is not None:
            item.add_marker(pytest.mark.xdist_group(name))
        if number % ONE_IN and item.get_closest_marker("sampled") and not config.getoption("full"):
            left_out.append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


@pytest.fixture(scope="session")
def llama():
    """A real llama.cpp; without it the oracles fail, and say why. `make test` needs the record alone."""
    from llama import Llama

    return Llama()
