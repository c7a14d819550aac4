"""Devices and machines: pools of memory, as large as a framework sees them."""

from __future__ import annotations

import json
import re
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from memcalc.data import open_text
from memcalc.errors import BadInputError, UnknownNameError, nearest
from memcalc.ledger.amount import MIB, Amount

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Device", "Machine", "Server", "devices", "servers"]

UNITS = {"GiB": 2**30, "GB": 10**9, "TiB": 2**40, "TB": 10**12}


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
    def capacity_bytes(self) -> Amount:
        """What a framework can use."""
        return Amount((self.printed_mib if self.visible_mib is None else self.visible_mib) * MIB)


class Machine(NamedTuple):
    """A count of equal devices. Two cards are two pools of their own, not one of twice the size.

    `host_bytes` is the memory of the machine that all of them share; None where it is not given.
    """

    count: int  # type: ignore[assignment]  # the word every reader expects, and no tuple's
    device: Device
    host_bytes: Amount | None = None


class Server(NamedTuple):
    """A server of equal devices, as it is bought."""

    id: str
    name: str
    device: str
    devices: int
    source: str
    date: str


@cache
def devices() -> Mapping[str, Device]:
    """Return the records of all devices, by id; one without source or date is a TypeError.

    >>> devices()["rtx-a6000"].printed_mib, devices()["rtx-a6000-ecc"].printed_mib
    (49140, 46068)
    """
    with open_text("machines.json") as file:
        return MappingProxyType({record["id"]: Device(**record) for record in json.load(file)})


@cache
def servers() -> Mapping[str, Server]:
    """Return the records of servers, by id.

    >>> servers()["atlas-800i-a2"].devices
    8
    """
    with open_text("servers.json") as file:
        return MappingProxyType({record["id"]: Server(**record) for record in json.load(file)})


def machine(text: str) -> Machine:
    """Return the machine that ``"COUNTx ID"`` names, or ``"COUNTx ID + 512GiB host"``; a bare ID: one device.

    >>> two = machine("2x rtx-a6000")
    >>> two.count, two.device.capacity_bytes
    (2, 47.54 GiB)
    >>> machine("4x atlas-800i-a2").count
    32
    >>> machine("1x rtx-4090 + 512GiB host").host_bytes
    512.00 GiB
    """
    cards, plus, memory = text.partition("+")
    host = host_bytes(memory) if plus else None
    name = cards.strip().lower()
    digits = name[: len(name) - len(name.lstrip("0123456789"))]
    if digits:
        name = name.removeprefix(digits).strip().removeprefix("x").strip()
    if digits and not 1 <= len(digits.lstrip("0")) < 10:
        expected = 'a count from 1 to 999999999, as in "2x rtx-a6000"'
        raise BadInputError("--on", expected, text, "give the number of devices")
    count = int(digits or 1)
    if name in servers():
        server = servers()[name]
        return Machine(count * server.devices, devices()[server.device], host)
    if name not in devices():
        known = [*devices(), *servers()]
        wanted = name.replace(" ", "-")
        guess = " or ".join(one for one in known if wanted and wanted in one)
        guess = f"did you mean {guess}?" if guess else nearest(wanted, known)
        raise UnknownNameError(
            "--on", f"one of {', '.join(known)}", text, guess or "see `memcalc list machines`"
        )
    return Machine(count, devices()[name], host)


def host_bytes(text: str) -> Amount:
    """Return the bytes of ``512GiB host``: binary and decimal units are two things.

    >>> host_bytes(" 512GiB host"), host_bytes("512 GB host")
    (512.00 GiB, 476.84 GiB)
    """
    found = re.fullmatch(r"0*([1-9][0-9]{0,5})\s*(GiB|GB|TiB|TB)\s*host", text.strip())
    if found is None:
        expected = '"COUNTx ID + 512GiB host"'
        raise BadInputError("--on", expected, text.strip(), "write GiB or GB, and host")
    return Amount(int(found[1]) * UNITS[found[2]])
