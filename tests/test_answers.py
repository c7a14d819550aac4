"""No number changes unnoticed: every golden answer is what it was when `make answers` last wrote it."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.slow
def test_every_answer_is_the_recorded_one(root, request):
    """Each model, a plan for it with each engine, and each training plan of the record; here one in four."""
    check = ["tools/answers.py", "--check", *([] if request.config.getoption("full") else ["4"])]
    done = subprocess.run([sys.executable, *check], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
