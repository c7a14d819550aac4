"""The oracles import their own modules: this folder is no package."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))

torch.set_num_threads(1)  # small models: threads that wait for each other cost minutes beside other work
