"""Bytes that print themselves."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["GB", "GIB", "MB", "MIB", "Amount", "amount", "gb", "gib", "gib_or_less", "hundredths"]

MB, MIB, GB, GIB = 10**6, 2**20, 10**9, 2**30


class Amount(int):
    """A whole number of bytes that shows itself in GiB.

    Sums, differences and whole multiples of amounts are amounts; a quotient is a plain number, because it
    counts how often one amount goes into another.

    >>> total = Amount(65_524_246_528)
    >>> total, str(total), f"{total:>12}", f"{total:,} B"
    (61.02 GiB, '61.02 GiB', '   61.02 GiB', '65,524,246,528 B')
    >>> total.gib == total / 2**30, total.gb
    (True, 65.524246528)
    >>> 2 * total, total - 2**30, -sum([total, total]), total // 2
    (122.05 GiB, 60.02 GiB, -122.05 GiB, 32762123264)
    """

    __slots__ = ()

    def __add__(self, other: int) -> Amount:
        return amount(int.__add__(self, other))

    __radd__ = __add__

    def __sub__(self, other: int) -> Amount:
        return amount(int.__sub__(self, other))

    def __rsub__(self, other: int) -> Amount:
        return amount(int.__rsub__(self, other))

    def __mul__(self, other: int) -> Amount:
        return amount(int.__mul__(self, other))

    __rmul__ = __mul__

    def __neg__(self) -> Amount:
        return Amount(int.__neg__(self))

    def __abs__(self) -> Amount:
        return Amount(int.__abs__(self))

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
        # in GiB, at the right of a width; with a type or a thousands sign the number of bytes
        if not set(spec) <= set("<>^ 0123456789"):
            return format(int(self), spec)
        return format(gib(self), spec if set(spec) & set("<>^") else f">{spec}")


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


def gib_or_less(number: int) -> str:
    """Write bytes as GiB, or as MiB or bytes where GiB would show nothing.

    >>> gib_or_less(3 * 2**30), gib_or_less(3 * 2**20), gib_or_less(300)
    ('3.00 GiB', '3.00 MiB', '300 B')
    """
    for unit, name in ((GIB, "GiB"), (MIB, "MiB")):
        if 200 * abs(number) >= unit:
            return f"{hundredths(number, unit)} {name}"
    return f"{number} B"


def gb(number: int) -> str:
    """Write bytes as GB of 10^9, in the same way."""
    return f"{hundredths(number, 10**9)} GB"


def hundredths(number: int, unit: int) -> str:
    """Write a quotient with two decimals, a half rounded away from zero: whole numbers only, however large.

    >>> hundredths(-52_428_800, GIB), hundredths(-1, GIB)
    ('-0.05', '0.00')
    """
    rounded = (200 * abs(number) + unit) // (2 * unit)
    whole, rest = divmod(rounded, 100)
    return f"{'-' if number < 0 < rounded else ''}{whole:,}.{rest:02}"
