"""Bytes that print themselves."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["GIB", "MIB", "Amount", "amount", "gb", "gib", "hundredths"]

MIB = 2**20
GIB = 2**30


class Amount(int):
    """A whole number of bytes that shows itself in GiB; arithmetic with it is arithmetic with whole numbers.

    >>> total = Amount(65_524_246_528)
    >>> total, str(total), f"{total:,} B"
    (61.02 GiB, '61.02 GiB', '65,524,246,528 B')
    >>> total.gib == total / 2**30, total.gb, total + 1
    (True, 65.524246528, 65524246529)
    """

    __slots__ = ()

    @property
    def gib(self) -> float:
        """The same in units of 2^30 bytes, as tools of PyTorch and NVIDIA count."""
        return self / GIB

    @property
    def gb(self) -> float:
        """The same in units of 10^9 bytes, as vendors and files count."""
        return self / 10**9

    def __repr__(self) -> str:
        return gib(self)

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(int(self), spec) if spec else gib(self)


def amount(size: Any) -> Any:
    """Return bytes as an amount; arrays and symbols stay as they are.

    >>> amount(2**31), amount(None)
    (2.00 GiB, None)
    """
    return Amount(size) if type(size) is int else size


def gib(number: int) -> str:
    """Write bytes as GiB, rounded half up, without a float error in the digits shown.

    >>> gib(65524246528), gb(65524246528)
    ('61.02 GiB', '65.52 GB')
    """
    return f"{hundredths(number, GIB)} GiB"


def gb(number: int) -> str:
    """Write bytes as GB of 10^9, in the same way."""
    return f"{hundredths(number, 10**9)} GB"


def hundredths(number: int, unit: int) -> str:
    """Write a quotient with two decimals, rounded half up: whole numbers only, however large."""
    whole, rest = divmod((200 * number + unit) // (2 * unit), 100)
    return f"{whole:,}.{rest:02}"
