"""Units and traps."""

from __future__ import annotations

from tests.plain_arithmetic import GB, GIB, fitting, rising

__all__ = ["ANSWERS"]


def weights(choice):
    return choice.before("billion") * GB * choice.after("in") / 8


ANSWERS = {
    "gb-to-gib": lambda q: q.before("GB") * GB / GIB,
    "order-of-formats": lambda q: rising([weights(one) for one in q.choices]),
    "weights-that-fit": lambda q: fitting([weights(one) for one in q.choices], q.before("GiB") * GIB * 0.9),
}
