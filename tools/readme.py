"""What README.md shows, its picture and its commands' answers: `python tools/readme.py` writes both.

They are committed, for a code host shows them before anything is installed; the tests hold both.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from memcalc import serve
from memcalc.__main__ import main as memcalc
from memcalc.data.units import GIB, gib, hundredths
from memcalc.show.colours import COLOURS, LABELS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memcalc.serving import ServingEstimate

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
PICTURE = ROOT / "book" / "_static" / "how_many_fit.svg"

QUESTION = "How many sequences does Qwen3-32B hold on a 96 GB card?"
MACHINE = "1x rtx-pro-6000-blackwell"
# On a card of its own, light by day and by night: a picture does not learn which theme its page has.
INK, PALE, CARD, EDGE = "#1F2328", "#59636E", "#FFFFFF", "#D1D9E0"
FONT = 'font-family="sans-serif"'
WIDTH, LEFT, RIGHT, TOP, BAR, STEP = 600, 110, 116, 92, 32, 46


def picture() -> str:
    """Return the picture of the README's first question."""
    plans = {f"{count} sequence{'s'[: count > 1]}": estimate(count) for count in (1, 2, 3)}
    one, bottom = plans["1 sequence"], TOP + STEP * len(plans)
    height = bottom + 40
    size, card = f'width="{WIDTH}" height="{height}"', f'width="{WIDTH - 1}" height="{height - 1}"'
    rows = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" {size} {FONT}>',
        f"<title>{QUESTION}</title>",
        f'<rect x="0.5" y="0.5" {card} rx="8" fill="{CARD}" stroke="{EDGE}"/>',
        words(18, 30, QUESTION, size=16, bold=True),
        words(18, 52, f"32,768 tokens each, 16-bit weights and KV cache, vLLM, {MACHINE}", colour=PALE),
        *(row for place, label in enumerate(plans) for row in bar(label, plans[label], TOP + STEP * place)),
        *limits(one, bottom),
        *legend(one, bottom + 22),
        "</svg>",
    ]
    return "\n".join(rows) + "\n"


def estimate(batch: int) -> ServingEstimate:
    """Return the estimate of so many sequences."""
    return serve("Qwen/Qwen3-32B", context=32768, batch=batch, on=MACHINE, engine="vllm")


def x_of(size: int, one: ServingEstimate) -> float:
    """Return where so many bytes end; the bar of a whole device is as long as the picture has room."""
    return LEFT + (WIDTH - LEFT - RIGHT) * size / (one.device.capacity_bytes or 1)


def words(x: float, y: float, text: str, *, size: int = 13, bold: bool = False, colour: str = INK) -> str:
    """Return a line of text."""
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y}" font-size="{size}"{weight} fill="{colour}">{text}</text>'


def bar(label: str, one: ServingEstimate, top: int) -> Iterator[str]:
    """Yield one plan: its components one after another, how much they are, and whether they fit."""
    yield words(18, top + 21, label)
    start = 0
    for name, size in one.device.components.items():
        left, right = x_of(start, one), x_of(start + size, one)
        place = f'x="{left:.1f}" y="{top}" width="{right - left:.1f}" height="{BAR}"'
        title = f"<title>{LABELS.get(name, name)} {gib(size)}</title>"
        yield f'<rect {place} fill="{COLOURS[name]}">{title}</rect>'
        start += size
    beside = WIDTH - RIGHT + 12
    yield words(beside, top + 14, gib(start), bold=True)
    yield words(beside, top + 31, "fits" if one.fits else "does not fit", colour=PALE)


def limits(one: ServingEstimate, bottom: int) -> Iterator[str]:
    """Yield the part of the device that the engine may use, and all of it."""
    capacity, usable = one.device.capacity_bytes or 0, one.usable_bytes or 0
    for size, dashes in ((usable, "4 3"), (capacity, "none")):
        x = x_of(size, one)
        line = f'x1="{x:.1f}" y1="{TOP - 8}" x2="{x:.1f}" y2="{bottom - 8}"'
        yield f'<line {line} stroke="{INK}" stroke-width="1.5" stroke-dasharray="{dashes}"/>'
    label = f'x="{x_of(usable, one) + 4:.1f}" y="{TOP - 13}" font-size="12" text-anchor="end"'
    yield f'<text {label} fill="{INK}">usable {gib(usable)}</text>'
    yield words(x_of(capacity, one) - 6, TOP - 13, f"device {gib(capacity)}", size=12)


def legend(one: ServingEstimate, y: int) -> Iterator[str]:
    """Yield what the colours mean, and what one sequence takes of each, in GiB."""
    x = 18.0
    for name, size in one.device.components.items():
        text = f"{LABELS.get(name, name)} {hundredths(size, GIB)}"
        yield f'<rect x="{x:.1f}" y="{y - 11}" width="13" height="13" rx="2" fill="{COLOURS[name]}"/>'
        yield words(x + 18, y, text)
        x += 36 + 7.2 * len(text)
    yield words(x - 14, y, "GiB")


def renewed(text: str) -> str:
    """Return the README with what its commands print now; a command that shows nothing goes on doing so."""

    def block(found: re.Match[str]) -> str:
        parts = re.split(r"^\$ ", found[1], flags=re.MULTILINE)[1:]
        return "```console\n" + "".join(map(answered, parts)) + "```"

    return re.sub(r"^```console\n(.*?)^```$", block, text, flags=re.DOTALL | re.MULTILINE)


def answered(part: str) -> str:
    """Return a command with its answer, if one was shown."""
    line, _, shown = part.partition("\n")
    out = io.StringIO()
    if shown.strip():
        with contextlib.redirect_stdout(out), contextlib.chdir(ROOT):
            memcalc(shlex.split(line)[1:])
    return f"$ {line}\n{out.getvalue()}"


def main() -> None:
    """Write picture and answers."""
    PICTURE.write_text(picture(), encoding="utf-8", newline="\n")
    README.write_text(renewed(README.read_text(encoding="utf-8")), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
