"""Devices and machines: pools of memory, as large as a framework sees them."""

from __future__ import annotations

import json
from functools import cache
from typing import NamedTuple

from memcalc.data import open_text
from memcalc.errors import BadInputError, UnknownNameError

__all__ = ["MIB", "Device", "Machine", "Server", "devices", "machine", "servers"]

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
    """A count of equal devices. Two cards are two pools of their own, not one of twice the size.

    `host_bytes` is the memory of the machine beside them, which all share; None where nobody said how much.
    """

    count: int  # type: ignore[assignment]  # the word every reader expects, and no tuple's
    device: Device
    host_bytes: int | None = None


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


class Server(NamedTuple):
    """A server of equal devices, as it is bought."""

    id: str
    name: str
    device: str
    devices: int
    source: str
    date: str


def servers() -> dict[str, Server]:
    """Return the records of servers, by id.

    >>> servers()["atlas-800i-a2"].devices
    8

    Raises:
        TypeError: a record lacks its source or its date.

    """
    with open_text("servers.json") as file:
        return {record["id"]: Server(**record) for record in json.load(file)}


def machine(text: str) -> Machine:
    """Return the machine that ``"COUNTx ID"`` names, or ``"COUNTx ID + 512GiB host"``; a bare ID: one device.

    >>> two = machine("2x rtx-a6000")
    >>> two.count, two.device.capacity_bytes
    (2, 51044679680)
    >>> machine("4x atlas-800i-a2").count
    32
    >>> machine("1x rtx-4090 + 512GiB host").host_bytes // 2**30
    512

    Raises:
        BadInputError: the count is 0, or something else stands beside the devices.
        UnknownNameError: no record has this id.

    """
    cards, plus, beside = text.partition("+")
    host = host_bytes(beside) if plus else None
    rest = cards.strip().lstrip("0123456789")
    digits = cards.strip().removesuffix(rest)
    name = rest.strip().lower().removeprefix("x").strip() if digits else rest.lower()
    if digits and not 1 <= len(digits.lstrip("0")) < 10:
        expected = 'a count from 1 to 999999999, as in "2x rtx-a6000"'
        raise BadInputError("--on", expected, text, "say how many devices")
    known, built = devices(), servers()
    count = int(digits or 1)
    if name in built:
        return Machine(count * built[name].devices, known[built[name].device], host)
    if name not in known:
        names = ", ".join([*known, *built])
        raise UnknownNameError("--on", f"one of {names}", text, "see `memcalc list machines`")
    return Machine(count, known[name], host)


def host_bytes(text: str) -> int:
    """Return the bytes of ``512GiB host``: binary and decimal units are two things.

    >>> host_bytes(" 512GiB host"), host_bytes("512 GB host")
    (549755813888, 512000000000)

    Raises:
        BadInputError: it is written in another way.

    """
    for unit, size in (("GiB", 2**30), ("GB", 10**9), ("TiB", 2**40), ("TB", 10**12)):
        number, found, rest = text.strip().partition(unit)
        digits = number.strip()
        if (
            found
            and rest.strip() == "host"
            and digits.isascii()
            and digits.isdigit()
            and 1 <= int(digits) < 10**6
        ):
            return int(digits) * size
    raise BadInputError("--on", '"COUNTx ID + 512GiB host"', text.strip(), "say GiB or GB, and host")
