"""The oracles import their own modules: this folder is no package."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

torch.set_num_threads(1)  # small models: threads that wait for each other cost minutes beside other work


@pytest.fixture(scope="session")
def llama():
    """A real llama.cpp; where it cannot be had, what was recorded of it is still checked by `make test`."""
    from llama import Llama, installer

    try:
        return Llama()
    except installer.NotInstalledError as missing:
        pytest.skip(str(missing))
