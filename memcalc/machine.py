"""Devices and machines: pools of memory, as large as a framework sees them."""

from __future__ import annotations

import json
from functools import cache
from typing import NamedTuple

from memcalc.data import open_text
from memcalc.errors import BadInputError, UnknownNameError

__all__ = ["MIB", "Device", "Machine", "devices", "machine"]

MIB = 2**20


class Device(NamedTuple):
    """One accelerator.

    `printed_mib` is what the driver's tool prints (MiB), `visible_mib` what a framework sees, where that was
    found; the box says `nominal`. Capacity is the smaller one that is known. `capability` is CUDA's name of
    the generation, where there is one.
    """

    id: str
    vendor: str
    name: str
    nominal: str
    printed_mib: int
    visible_mib: int | None
    source: str
    date: str
    note: str = ""
    capability: str | None = None  # https://developer.nvidia.com/cuda-gpus, 2026-11

    @property
    def capacity_bytes(self) -> int:
        """What a framework can use."""
        return (self.printed_mib if self.visible_mib is None else self.visible_mib) * MIB


class Machine(NamedTuple):
    """A count of equal devices. Two cards are two pools of their own, not one of twice the size."""

    count: int  # type: ignore[assignment]  # the word every reader expects, and no tuple's
    device: Device


def devices() -> dict[str, Device]:
    """Return the records of all devices, by id.

    >>> devices()["rtx-a6000"].printed_mib, devices()["rtx-a6000-ecc"].printed_mib
    (49140, 46068)

    Raises:
        TypeError: a record lacks its source or its date.

    """
    return {device.id: device for device in recorded()}


@cache
def recorded() -> tuple[Device, ...]:
    """Return the records in their order, read once."""
    with open_text("machines.json") as file:
        return tuple(Device(**record) for record in json.load(file))


def machine(text: str) -> Machine:
    """Return the machine that ``"COUNTx ID"`` names; a bare ID is one device.

    >>> two = machine("2x rtx-a6000")
    >>> two.count, two.device.capacity_bytes
    (2, 51044679680)

    Raises:
        BadInputError: the count is 0, or something else stands beside the devices.
        UnknownNameError: no record has this id.

    """
    if "+" in text:
        raise BadInputError(
            "--on", '"COUNTx ID"', text, "host memory is used by none of these engines; leave it out"
        )
    rest = text.strip().lstrip("0123456789")
    digits = text.strip().removesuffix(rest)
    name = rest.strip().lower().removeprefix("x").strip() if digits else rest.lower()
    if digits and not 1 <= len(digits.lstrip("0")) < 10:
        expected = 'a count from 1 to 999999999, as in "2x rtx-a6000"'
        raise BadInputError("--on", expected, text, "say how many devices")
    known = devices()
    if name not in known:
        raise UnknownNameError("--on", f"one of {', '.join(known)}", text, "see `memcalc list machines`")
    return Machine(int(digits or 1), known[name])
