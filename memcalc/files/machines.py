"""Devices and machines: pools of memory, as large as a framework sees them, and how people write them."""

from __future__ import annotations

import json
import re
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from memcalc.data import open_text
from memcalc.data.units import MIB, Amount
from memcalc.errors import BadInputError, UnknownNameError, choices

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["SYSTEM", "UNIFIED", "Device", "Machine", "Server", "devices", "machine", "servers"]

SYSTEM = "held by the system at the start"  # the line of a budget
UNIFIED = "unified"  # the kind of devices whose memory is the host's, too
BINARY = {"MIB": 2**20, "GIB": 2**30, "TIB": 2**40}
AS_SOLD = {"G": 2**30, "GB": 2**30, "TB": 2**40}  # a card of 24 GB has 24 GiB, memory modules of 64 GB 64 GiB
HOST = "(?:host|(?:(?:host|system|cpu) )?(?:ram|memory))"  # words for its memory
# patterns as text: what is written plainly is understood without any, and pays for none
SIZE = r"(?i)([0-9]{1,6})(?:\.([0-9]{1,6}))?\s*(MiB|GiB|TiB|GB|TB|G)"
COUNTED = r"(?is)([0-9]+)\s*([x×*]?)\s*([^0-9,;&].*|(?<![0-9])[0-9].*)"
COUNTED_BEHIND = r"(?is)(.*\S)\s*[x×*]\s*([0-9]+)"
# what stands before an id in a vendor's name, or within it, and tells no two devices of the record apart
VENDORS = "(?:nvidia|geforce|tesla|quadro|amd|instinct|radeon|intel|huawei|apple|google|cloud|habana)+"
FORM_FACTORS = {
    *("sxm", "sxm2", "sxm3", "sxm4", "sxm5", "sxm6", "pcie", "oam", "hbm2", "hbm2e", "hbm3", "hbm3e"),
    *("gddr6", "gddr6x", "gddr7", "gpu", "graphics", "generation", "edition", "server", "workstation"),
}
SERIES = "^(?:rtx|rx|arc|jetson|ascend|tpu)(?=.)"
VARIANT = r"(?:-[0-9]+g|-ecc)+$"  # what a family of devices differs in: a100-40g, a100-80g
MARKS = (
    "(?<![a-z])(?:gtx|laptop|max-?q|super|ti|xtx|xt)(?![a-z])"  # words with which a name is another card's
)
ON_THE_MOVE = "mobile|notebook"  # other words for a laptop
JOINED = r"\s*(?:[,;&]|\band\b)\s*"  # what people put between devices
APPLE, SHARED, SYSTEMS = r"\bi?mac", r"\bunified\b", r"\b[dh]gx\b"  # words of machines that are no devices
OTHERWISE = f"(?i)[,;&]|{APPLE}|{SHARED}|{SYSTEMS}|\\band\\b"  # a name with one of these is explained
NEAR = 6  # names that an error offers at most


class Device(NamedTuple):
    """One accelerator.

    `printed_mib` is what the driver's tool prints (MiB), `visible_mib` what a framework sees, each where it
    was found; the box says `nominal`. Capacity is what a framework sees, else what the driver prints, else
    the box's number, which is an assumption. `capability` is CUDA's name of the generation, where there is
    one. A device of the kind "unified" shares its memory with the host: `free_mib` is what the system leaves
    free of it at the start (least, typical, most), where that was measured. `aliases` are other names that
    can mean nothing else, `taken_for` those that can, and mean this device because it is the common one.
    """

    id: str
    vendor: str
    name: str
    nominal: str
    printed_mib: int | None
    visible_mib: int | None
    source: str
    date: str
    note: str = ""
    capability: str | None = None  # https://developer.nvidia.com/cuda-gpus, 2026-11
    kind: str = "gpu"
    free_mib: tuple[int, int, int] | None = None
    aliases: tuple[str, ...] = ()
    taken_for: tuple[str, ...] = ()

    @property
    def capacity_bytes(self) -> Amount:
        """What a framework can use."""
        seen = self.printed_mib if self.visible_mib is None else self.visible_mib
        return Amount(size_bytes(self.nominal) if seen is None else seen * MIB)

    @property
    def held_bytes(self) -> tuple[int, int, int] | None:
        """What the system holds of unified memory at the start: least, typical, most; None: not measured."""
        if self.free_mib is None:
            return None
        least, typical, most = (self.capacity_bytes - free * MIB for free in reversed(self.free_mib))
        return least, typical, most

    @property
    def is_nominal(self) -> bool:
        """Whether its capacity is the box's number, because nobody has published what is seen of it."""
        return self.printed_mib is None and self.visible_mib is None

    @property
    def is_unified(self) -> bool:
        """Whether host and device share the memory."""
        return self.kind == UNIFIED


class Machine(NamedTuple):
    """A count of devices. Two cards are two pools of their own, not one of twice the size.

    `host_bytes` is the memory of the machine that all of them share; None where it is not given. Where
    devices differ, `cards` are they with their counts, in the order in which they were named, and `device` is
    the smallest. `defaults` says in words what was taken for granted when its name was read.
    """

    count: int  # type: ignore[assignment]  # the word every reader expects, and no tuple's
    device: Device
    host_bytes: Amount | None = None
    cards: tuple[tuple[int, Device], ...] = ()
    defaults: tuple[str, ...] = ()

    @property
    def is_unified(self) -> bool:
        """Whether host and devices share the memory."""
        return self.device.is_unified

    @property
    def kinds(self) -> dict[Device, int]:
        """How many there are of each device."""
        counts: dict[Device, int] = {}
        for count, device in self.cards or ((self.count, self.device),):
            counts[device] = counts.get(device, 0) + count
        return counts

    @property
    def each(self) -> tuple[Device, ...]:
        """Every device by itself, in order."""
        return tuple(
            device for count, device in self.cards or ((self.count, self.device),) for _ in range(count)
        )


class Server(NamedTuple):
    """A server of equal devices, as it is bought."""

    id: str
    name: str
    device: str
    devices: int
    source: str
    date: str


class Found(NamedTuple):
    """What a name means; `is_taken` where it can mean others, too, and this is the common one."""

    item: Device | Server
    is_taken: bool = False


@cache
def devices() -> Mapping[str, Device]:
    """Return the records of all devices, by id; one without source or date is a TypeError.

    >>> devices()["rtx-a6000"].printed_mib, devices()["rtx-a6000-ecc"].printed_mib
    (49140, 46068)
    """
    with open_text("machines.json") as file:
        records: list[dict[str, Any]] = json.load(file)
    for record in records:
        record.update((name, tuple(value)) for name, value in record.items() if type(value) is list)
    return MappingProxyType({record["id"]: Device(**record) for record in records})


@cache
def servers() -> Mapping[str, Server]:
    """Return the records of servers, by id.

    >>> servers()["atlas-800i-a2"].devices
    8
    """
    with open_text("servers.json") as file:
        return MappingProxyType({record["id"]: Server(**record) for record in json.load(file)})


def machine(text: str) -> Machine:
    """Return the machine that a text names: devices, of one kind or of several, and the host's memory.

    Parameters
    ----------
    text : str
        Devices as ``COUNTx ID``, a bare ID for one; an ID as in ``memcalc list machines``, whatever its case,
        its spaces and the vendor before it. A size in place of an ID: ``24GiB`` exactly, ``24GB`` as vendors
        print it. ``+`` between unequal devices, and before the memory of the host: ``+ 512GiB host``.

    Raises
    ------
    BadInputError
        A count, a size or a host that cannot be.
    UnknownNameError
        No device, or more than one, has this name.

    Examples
    --------
    >>> two = machine("2x NVIDIA RTX A6000")
    >>> two.count, two.device.capacity_bytes
    (2, 47.54 GiB)
    >>> machine("4x atlas-800i-a2").count
    32
    >>> machine("1x rtx-4090 + 512GiB host").host_bytes
    512.00 GiB
    >>> machine("h100").defaults
    ('h100 is taken as h100-80g (NVIDIA H100 80 GB, SXM or PCIe)',)
    >>> unequal = machine("rtx-3090 + 2x rtx-4090")
    >>> unequal.count, unequal.device.id, [count for count, _ in unequal.cards]
    (3, 'rtx-3090', [1, 2])

    """
    cards: list[tuple[int, Device]] = []
    said: list[str] = []
    hosts: list[Amount] = []
    if "+" in text:
        text = re.sub("(?i)ai max[+]", "ai max", text)
    for place, part in enumerate(text.split("+")):
        words = part.strip()
        if re.search(rf"(?i)\b{HOST}$", words):
            size, notes_of_host = host_bytes(words)
            hosts.append(size)
            said += notes_of_host
            continue
        if place and re.fullmatch(SIZE, words):
            remedy = f"write {words} host for the memory of the host, 1x {words} for a device"
            raise BadInputError("--on", "a size that says of what it is", words, remedy)
        count, device, notes = counted(words, text)
        cards.append((count, device))
        said += notes
    if len(hosts) > 1 or not cards:
        raise BadInputError("--on", '"COUNTx ID + 512GiB host"', text, "name devices, and one host at most")
    different = len({device for _, device in cards}) > 1
    if different and any(device.is_unified for _, device in cards):
        remedy = "which part of the shared memory is the other device's host is not understood: name one kind"
        raise BadInputError("--on", "one kind of device where the memory is unified", text, remedy)
    smallest = min((device for _, device in cards), key=lambda device: device.capacity_bytes)
    if hosts and smallest.is_unified:
        remedy = f"{smallest.id} shares its memory with the host: leave it out"
        raise BadInputError("--on", '"COUNTx ID"', f"{hosts[0]} of host memory", remedy)
    return Machine(
        count=sum(count for count, _ in cards),
        device=smallest,
        host_bytes=hosts[0] if hosts else None,
        cards=tuple(cards) if different else (),
        defaults=tuple(dict.fromkeys(said)),
    )


def host_bytes(text: str) -> tuple[Amount, list[str]]:
    """Return the bytes of ``512GiB host``, and what was taken for granted: memory sold as 64 GB has 64 GiB.

    >>> host_bytes(" 512GiB host"), host_bytes("64GiB system RAM")
    ((512.00 GiB, []), (64.00 GiB, []))
    >>> host_bytes("64 GB host")
    (64.00 GiB, ['host: 64 GB as sold is assumed to be 64.00 GiB'])
    """
    found = re.fullmatch(r"0*([1-9][0-9]{0,5})\s*(GiB|GB|TiB|TB)\s*" + HOST, text.strip(), re.IGNORECASE)
    if found is None:
        expected = '"COUNTx ID + 512GiB host"'
        remedy = explained(text.strip()) or "write GiB or GB, and host"
        raise BadInputError("--on", expected, text.strip(), remedy)
    unit = found[2].upper()
    size = Amount(int(found[1]) * (BINARY | AS_SOLD)[unit])
    if unit in BINARY:
        return size, []
    return size, [f"host: {found[1]} {unit} as sold is assumed to be {size}"]


# ---- how people write devices ----


def counted(words: str, text: str) -> tuple[int, Device, list[str]]:
    """Return how many of which device a text names, and what was taken for granted.

    Raises:
        BadInputError: the count is none from 1 to 999999999.

    """
    named = plainly_named(words)
    if named is not None:
        return named
    split, behind = re.fullmatch(COUNTED, words), re.fullmatch(COUNTED_BEHIND, words)
    number, name = 1, words
    one = found(words)  # "2080 ti" is no count of a "ti", nor "7900 xtx" of a "tx"
    if behind is not None and one is None and found(behind[1]):
        split = re.fullmatch(COUNTED, f"{behind[2]}x {behind[1]}")
    if split is not None and one is None:
        digits, times, rest = split.groups()
        if not 1 <= len(digits.lstrip("0")) < 10:
            expected = 'a count from 1 to 999999999, as in "2x rtx-a6000"'
            raise BadInputError("--on", expected, text, "give the number of devices")
        number, one = int(digits), found(rest)
        name = rest if times or one else words
    if one is None:
        refuse(words, name, text)
    if isinstance(one.item, Server):
        return number * one.item.devices, devices()[one.item.device], []
    return number, one.item, list(notes(one.item, name if one.is_taken else ""))


def plainly_named(words: str) -> tuple[int, Device, list[str]] | None:
    """Return the same of a text like "2x rtx-a6000" or "rtx-a6000", without a pattern; None of any other."""
    count, _, name = words.partition("x ") if "x " in words else ("1", "", words)
    device = devices().get(name.strip())
    if device is None or not (count.isascii() and count.isdigit() and 0 < len(count.lstrip("0")) < 10):
        return None
    return int(count), device, list(notes(device, name if name in device.taken_for else ""))


def notes(device: Device, taken: str) -> Iterator[str]:
    """Yield what is taken for granted of a device; `taken` is a name that can mean others, too, or empty."""
    if taken:
        yield f"{taken} is taken as {device.id} ({device.name})"
    if device.is_nominal and not device.nominal.endswith("iB"):
        yield f"{device.id}: {device.nominal} as printed on the box is assumed to be {device.capacity_bytes}"
    if device.is_unified and device.free_mib is None and device.vendor != "Apple":  # Metal leaves it a share
        yield f"{device.id}: what the system itself holds of the shared memory is not known, and not counted"


def found(name: str) -> Found | None:
    """Return the device or server of a name, or a device of a size; None where the record has none."""
    plain = name.strip().lower()
    device = devices().get(plain)
    if device is not None:
        return Found(device, is_taken=plain in device.taken_for)
    if re.fullmatch(SIZE, plain):
        return Found(sized(plain))
    known, wanted = spelled(), key(plain)
    names = (one for name in (wanted, wanted.removesuffix("s")) for one in (name, without_series(name)))
    return next((known[one] for one in names if one in known), None)  # "8 H100s" are H100


def without_series(name: str) -> str:
    """Return a key without its series: no device of the record has the key of another's rest.

    >>> without_series("rtx4090"), without_series("h100")
    ('?4090', '?h100')
    """
    return f"?{re.sub(SERIES, '', name)}"


def key(name: str) -> str:
    """Return what is left of a name without case, spaces, vendor and form factor.

    >>> key("NVIDIA A100-SXM4-80GB"), key("Intel(R) Arc(TM) B580 Graphics"), key("rtx-4090")
    ('a10080g', 'arcb580', 'rtx4090')
    """
    plain = re.sub(ON_THE_MOVE, "laptop", re.sub(r"\((?:r|tm)\)", " ", name.lower()))
    words = re.split("[^a-z0-9]+", re.sub(r"([0-9])\s*gi?b?(?![a-z0-9])", r"\1g", plain))
    joined = "".join(word for word in words if word not in FORM_FACTORS)
    return re.sub(VENDORS, "", joined, count=1) if re.match(VENDORS, joined) else joined


@cache
def spelled() -> dict[str, Found]:
    """Return devices and servers by the keys of their names, with and without series and size."""
    known: dict[str, Found] = {}
    for device in devices().values():
        size = re.fullmatch("([0-9]+) GB", device.nominal)
        for name in (device.id, *device.aliases, *device.taken_for):
            one = Found(device, is_taken=name in device.taken_for)
            known.setdefault(key(name), one)
            if size is not None:
                known.setdefault(f"{key(name)}{size[1]}g", Found(device))
    known.update((key(server.id), Found(server)) for server in servers().values())
    return {without_series(name): one for name, one in known.items()} | known


def sized(text: str) -> Device:
    """Return a device of which the size alone is known."""
    size = re.fullmatch(SIZE, text)
    if size is None or not size_bytes(text):
        raise BadInputError("--on", 'a size above 0, as in "24GiB"', text, "give the memory of one device")
    unit = size[3].upper()
    unit = unit.replace("IB", "iB") if unit in BINARY else "TB" if unit == "TB" else "GB"
    number = size[1] if size[2] is None else f"{size[1]}.{size[2]}"
    nominal = f"{number} {unit}"
    return Device(f"{number}{unit}", "", f"a device of {nominal}", nominal, None, None, "as asked for", "")


def size_bytes(text: str) -> int:
    """Return the bytes of a device's size; what vendors print in GB are GiB.

    >>> size_bytes("24 GiB") == size_bytes("24GB") == 24 * 2**30, size_bytes("31.84GiB")
    (True, 34187939676)
    """
    size = re.fullmatch(SIZE, text.strip())
    if size is None:
        return 0
    unit = {**BINARY, **AS_SOLD}[size[3].upper()]
    part = size[2] or ""
    return int(size[1] + part) * unit // 10 ** len(part)


def refuse(words: str, name: str, text: str) -> NoReturn:
    """Refuse words with a name that no device has, or that could be several, and offer those that are near.

    Raises:
        BadInputError: they say in another way what can be said.
        UnknownNameError: they do not.

    """
    way = explained(words) or explained(name)
    if way:
        raise BadInputError("--on", '"COUNTx ID + COUNTx ID"', text, way)
    near = nearest_ids(name)
    expected = near[0] if len(near) == 1 else choices(near or [*devices(), *servers()])
    unknown = "give the memory of one device, as in 16GiB, or see `memcalc list machines`"
    raise UnknownNameError("--on", expected, text, f"did you mean {' or '.join(near)}?" if near else unknown)


def explained(words: str) -> str:
    """Return how to write what is said in another way: several devices, a system of them; empty if unknown.

    >>> explained("4090, 2x 3090"), explained("DGX H100")
    ('write `4090 + 2x 3090`', 'write its devices and how many it has, as in 8x h100-80g')
    >>> explained("128GB unified")
    'name the machine that shares its memory, as in gb10, jetson-thor, strix-halo, m3-max-128g, m4-max-128g, \
m5-max-128g'
    """
    if not re.search(OTHERWISE, words):
        return ""
    parts = re.split(JOINED, words)
    if len(parts) > 1:
        return f"write `{' + '.join(parts)}`" if all(map(is_machine, parts)) else "join devices by +"
    if re.search(f"(?i){SYSTEMS}", words):
        name = re.sub(f"(?i){SYSTEMS}", "", words).strip()
        one = found(name)
        ids = nearest_ids(name) if one is None else [one.item.id]
        return f"write its devices and how many it has, as in 8x {ids[0]}" if ids else ""
    if re.search(f"(?i){APPLE}", words):
        apple = [one.id for one in devices().values() if one.vendor == "Apple"]
        chips = [one for one in apple if key(re.sub(VARIANT, "", one)) in key(words)] or apple
        return f"name its chip and its memory, as in {', '.join(chips[:NEAR])}"
    size = re.match(SIZE, words)
    shared = [one for one in devices().values() if one.is_unified]
    alike = [one for one in shared if size and size_bytes(one.nominal) == size_bytes(size[0])] or shared
    return f"name the machine that shares its memory, as in {', '.join(one.id for one in alike[:NEAR])}"


def is_machine(part: str) -> bool:
    """Say whether a text names devices, or the host's memory: a size alone may be the device's before it."""
    split = re.fullmatch(COUNTED, part)
    named = found(part) is not None or (split is not None and found(split[3]) is not None)
    return re.search(rf"(?i)\b{HOST}$", part) is not None or (named and not re.fullmatch(SIZE, part))


def nearest_ids(name: str) -> list[str]:
    """Return the ids that a name may mean: the variants of its family, else those that are spelled alike.

    None of another card: with a number or a word of its own (Ti, Super, laptop) a name says another one.

    >>> nearest_ids("a100"), nearest_ids("h100x"), nearest_ids("gaudy 3"), nearest_ids("rtx 3080 ti")
    (['a100-80g', 'a100-40g'], ['h100-80g', 'h100-94g'], ['gaudi3'], [])
    """
    from difflib import get_close_matches

    ids, asked = [*devices(), *servers()], without_series(key(name))
    ids = [one for one in ids if marks(one) == marks(name)]
    if len(asked) < 3:
        return []
    names = {one: without_series(key(one)) for one in ids}
    families = {one: without_series(key(re.sub(VARIANT, "", one))) for one in ids}
    longest = max((family for family in families.values() if asked.startswith(family)), key=len, default=None)
    alike = set(get_close_matches(asked, names.values(), n=3, cutoff=0.7))
    near = (
        [one for one in ids if families[one] == asked],
        [one for one in ids if names[one].startswith(asked)],
        [one for one in ids if families[one] == longest and len(families[one]) > 3],
        [one for one in ids if names[one] in alike and numbers(families[one]) == numbers(asked)],
    )
    return next(filter(None, near), [])[:NEAR]


def marks(name: str) -> set[str]:
    """Return the words of a name with which it is another card's than without them.

    >>> sorted(marks("RTX 4070 Ti SUPER")), marks("4090 mobile"), marks("rtx-4090")
    (['super', 'ti'], {'laptop'}, set())
    """
    return set(re.findall(MARKS, re.sub(ON_THE_MOVE, "laptop", name.lower())))


def numbers(key: str) -> list[str]:
    """Return the numbers in a key."""
    return re.findall("[0-9]+", key)
