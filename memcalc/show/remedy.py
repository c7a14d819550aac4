"""What would fit instead of a plan that does not: in words, and as the command that says so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, get_origin

from memcalc.data.units import gib
from memcalc.options import options_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from memcalc.data.units import Amount
    from memcalc.options import Option

__all__ = ["MOST", "NONE", "Change", "Remedy", "command_line", "listed", "machine_text", "typed"]

MOST = 3  # remedies that are offered
NONE = "nothing that memcalc tries makes it fit"
TRIED = "smaller formats, less at once, more devices"  # of a plan that serves


class Change(NamedTuple):
    """Options to change, and what that is in words."""

    words: str
    options: dict[str, Any]


class Remedy(NamedTuple):
    """A change that makes a plan fit: `total_bytes` is what the fullest device then holds."""

    words: str
    command: str
    total_bytes: Amount

    @property
    def line(self) -> str:
        """The line that text shows."""
        return f"fits with {self.words}, {gib(self.total_bytes)} a device: {self.command}"


def lines(remedies: Iterable[Remedy], tried: str = TRIED) -> Iterator[str]:
    """Yield the lines that text shows of what fits instead; where nothing does, what was tried.

    >>> list(lines([], "more devices")) == [f"{NONE}: more devices"]
    True
    """
    yield from [one.line for one in remedies] or [f"{NONE}: {tried}"]


def command_line(command: str, source: str, options: Any) -> str:
    """Return the command that asks for these options, quoted for a shell.

    >>> from memcalc.serving import ServingOptions
    >>> asked = ServingOptions(context=8192, on="2x rtx-a6000", engine_options={"enforce_eager": True})
    >>> command_line("serve", "Qwen/Qwen3-32B", asked)
    "memcalc serve Qwen/Qwen3-32B --context 8192 --on '2x rtx-a6000' --engine-option enforce_eager=true"
    """
    from shlex import join

    words = ["memcalc", command, source]
    for option in options_of(options.__class__):
        value = getattr(options, option.name)
        if option.required or value != option.default:
            words += typed(option, value)
    return join(words)


def machine_text(
    on: str, device: str | None = None, count: int | None = None, host: int | None = None
) -> str:
    """Return the words for a machine with so many devices instead, or with a host of so many GiB.

    >>> machine_text("2x rtx-4090 + 64GiB host", "rtx-4090", 4), machine_text("rtx-4090", host=128)
    ('4x rtx-4090 + 64GiB host', 'rtx-4090 + 128GiB host')
    """
    devices = [one.strip() for one in on.split("+") if not one.strip().lower().endswith("host")]
    hosts = [one.strip() for one in on.split("+") if one.strip().lower().endswith("host")]
    return " + ".join(
        [
            *(devices if count is None else [f"{count}x {device}"]),
            *(hosts if host is None else [f"{host}GiB host"]),
        ]
    )


def listed(words: Iterable[str]) -> str:
    """Return words as a list in a sentence.

    >>> listed(["one"]), listed(["one", "two"]), listed(["one", "two", "three"])
    ('one', 'one and two', 'one, two and three')
    """
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last


def typed(option: Option, value: Any) -> Iterator[str]:
    """Yield an option and its value as they are typed."""
    if get_origin(option.kind) is Mapping:
        for name, one in dict(value).items():
            yield option.flag
            yield f"{name}={str(one).lower() if isinstance(one, bool) else one}"
        return
    yield option.typed
    if get_origin(option.kind) is tuple:
        yield ",".join(map(str, value))
    elif option.kind is not bool:
        yield str(value)
    elif option.optional:
        yield "yes" if value else "no"
