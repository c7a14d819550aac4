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
    """A real llama.cpp; without it the oracles fail, and say why. `make test` needs the record alone."""
    from llama import Llama

    return Llama()
