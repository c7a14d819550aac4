"""Budgets of CPU time that hold on every machine: a figure is a ratio to work that took a millisecond on one.

CPU time, not wall time: other work on the machine (pytest's second worker) makes a program wait, and waiting
is not counted. It still slows what runs beside it, so medians of interleaved pairs are compared, the tested
work and a yardstick in turn; and as a median of few pairs may lie on the wrong side of a limit by chance,
more pairs are taken before a test fails, never after it passed.
"""

from __future__ import annotations

import time
from statistics import median

import pytest

from memcalc.ledger.tensor import Tensor

TENSORS = 1310  # took a millisecond on the machine on which the limits were set


def at_most(limit, measured, rounds=(7, 14, 28)):
    """Hold (tested, yardstick) against the limit; if the medians of few samples exceed it, take more."""
    samples = []
    for more in rounds:
        samples += [measured() for _ in range(more)]
        tested, yardstick = (median(column) for column in zip(*samples, strict=True))
        if tested <= limit * yardstick:
            return
    pytest.fail(f"{tested / yardstick:.3g} x the yardstick, allowed {limit}")


def a_millisecond():
    """Work as memcalc does it, and as much of it as there was time for in a millisecond."""
    found = {}
    for index in range(TENSORS):
        tensor = Tensor("weight", (index, 8), "matrix")
        found[tensor.name, tensor.shape] = tensor.copies * tensor.each
    return found


def milliseconds_of(work, clock=time.process_time):
    """CPU time of some work, and of a millisecond of the machine on which the limits were set."""
    return seconds_of(work, clock), seconds_of(a_millisecond, time.process_time)


def seconds_of(work, clock):
    start = clock()
    work()
    return clock() - start
