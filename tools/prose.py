"""What pages say in words, held against the program: its figures, and what it is said not to have.

`python tools/prose.py [PAGE ...]` lists the page, the words and the sentence of each fault, of two kinds.

**Figures.** A figure is a number with a thousands separator, with decimals, or with a unit behind it: bytes,
tokens, a share, a count of devices, sequences, parameters. Not looked at are code, formulas, quotations
(“...”), the choices of a question, titles of other pages, names of models (671B), sizes that name a device (a
card of 24 GB) and versions of programs (vLLM 0.11). A figure is right where it stands, as precisely as it is
written,

* in an output of its notebook, the text of drawings too, or in what the program writes into a page;
* among the constants of the notebook's code, which runs with the tests: an input, or what an assert demands;
* in a sentence, or a row of a table, with a link to another site: then it is quoted, with its source;
* if it has four digits or more, digit for digit in the records that state their sources: configs, machines,
  constants, measurements.

Bytes may be written in another unit, shares as per cent.

**Denials.** No sentence may say that memcalc lacks an engine, format, model, machine or option that it has.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from bisect import bisect_left
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from memcalc.cli.command import COMMANDS, parser_of
from memcalc.cli.list import LISTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path(__file__).resolve().parents[1]

BYTES = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
BYTES |= {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
LARGE = {"× 10⁹": 10**9, "billion": 10**9, "million": 10**6}
SHARES = ("%", "per cent")
COUNTED = "bytes? tokens? parameters sequences conversations GPUs? NPUs? cards? devices ranks"
UNITS = "|".join([*BYTES, *LARGE, *SHARES, *COUNTED.split()])
NUMBER = r"(?<![\w.,/#@–-])(\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?)(?![\d.]*\w)"
FIGURE = re.compile(rf"{NUMBER}(?:[\s*-]*({UNITS})(?!\w))?")
SMALLEST = 10**5  # bytes; what is smaller is written in bytes

PROGRAMS = (
    *("transformers", "vLLM", "vllm-ascend", "vLLM-Ascend", "SGLang", "KTransformers", "llama.cpp", "MindIE"),
    *("CANN", "PyTorch", "torch", "torchtune", "torchao", "Megatron-LM", "Megatron", "Transformer Engine"),
    *("DeepSpeed", "PEFT", "TRL", "Liger", "bitsandbytes", "Accelerate", "Python", "CUDA", "AutoGPTQ"),
    *("AutoAWQ", "litgpt", "version", "versions", "Version"),
)
VERSION = r"(?:v?\d+(?:\.\d+)+(?:[.\w]*\w)?|\d+)(?:(?:,| and| or| to) \d+\.[\d.]*\d)*"
QUOTED = "\ue000"  # stands for an address of another site
ASIDE = (  # what holds no figure of the page's own, and what is left of it
    (r"```.*?```", " "),
    (r"\$\$.*?\$\$", " "),
    (r"\$[^$\n]*\$", " "),
    (r"\[[^\]]*\]\((?!http)[^)\s]*\)", " "),  # the title of another page
    (r"\]\(https?://[^)\s]*\)|https?://\S+", f"]{QUOTED}"),
    (rf"`?(?:{'|'.join(map(re.escape, PROGRAMS))})`?(?:[’'s]*\]?)? {VERSION}", " "),
    (r"`[^`\n]*`", " "),
    (r"“[^”]*”", " "),
    (r"^ *- \*\*[A-D]\*\*.*?$|<summary><b>[A-D]</b>.*?</summary>", " "),  # choices, most of them wrong
    (r"arXiv:[\d.]+|\b20\d\d-\d\d(?:-\d\d)?\b", " "),
    (r"\b\d+(?:\.\d+)?B\b", " "),  # 671B, in a model's name
    (r"(?:\b[ABHL]\d+|\bcards?|\bNPUs?) (?:of |with )?\d+ GB\b", " "),
)

DENIAL = re.compile(
    r"(?:memcalc`?|this (?:book|page)|here|it) (?:do(?:es)? not (?:know|have|model|read)|(?:has|knows) no)\b"
    r"|\b(?:not|nor|never) (?:yet )?(?:modelled|supported|implemented)\b|\bnot in memcalc\b|\bno engine for\b"
    r"|\bhas no (?:engine|rules?|reader|record)\b|\bnot understood yet\b",
    re.IGNORECASE,
)


class Figure(NamedTuple):
    """A number as the page writes it, and the unit behind it."""

    text: str
    unit: str

    @property
    def value(self) -> float:
        """The number."""
        return float(self.text.replace(",", ""))

    @property
    def step(self) -> float:
        """Half a unit of its last digit: how far rounding can have moved it."""
        return 0.5 / float(10 ** len(self.text.partition(".")[2]))

    @property
    def is_long(self) -> bool:
        """Whether it is so long that it is hardly met by chance."""
        return len(re.sub(r"\D", "", self.text).lstrip("0")) > 3


class Numbers:
    """The numbers that a page computes."""

    def __init__(self, found: Iterable[float]) -> None:
        """Sort them."""
        self.sorted = sorted(set(found))

    def has(self, value: float, step: float) -> bool:
        """Whether one of them, rounded, is this one."""
        slack = 1e-9 * (1 + abs(value))
        place = bisect_left(self.sorted, value - step - slack)
        return place < len(self.sorted) and self.sorted[place] <= value + step + slack

    def hold(self, figure: Figure) -> bool:
        """Whether a figure is among them, as it stands or in its unit."""
        value, step, unit = figure.value, figure.step, figure.unit
        if self.has(value, step):
            return True
        scale = BYTES.get(unit) or LARGE.get(unit)
        if scale and value * scale >= SMALLEST:
            return self.has(value * scale, step * scale)
        return unit in SHARES and self.has(value / 100, step / 100)


def sentences(text: str) -> list[str]:
    """Return the sentences of a text; a row of a table is one.

    >>> sentences("One. Two; three.")
    ['One.', 'Two;', 'three.']
    """
    return [part.strip() for part in re.split(r"\n|(?<=[.;?!]) (?![^\n]*\|$)", text, flags=re.MULTILINE)]


def figures(text: str) -> Iterator[tuple[str, Figure]]:
    """Yield the sentence and the figure of each that a page states."""
    for pattern, rest in ASIDE:
        text = re.sub(pattern, rest, text, flags=re.DOTALL | re.MULTILINE)
    for sentence in sentences(text):
        for number, unit in FIGURE.findall(sentence):
            if unit or "," in number or "." in number:
                yield sentence, Figure(number, unit)


def numbers_in(text: str) -> Iterator[float]:
    """Yield the numbers that stand in an output."""
    for number in re.findall(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?", text.replace("{,}", ",")):
        yield float(number.replace(",", ""))


def shown(output: dict[str, Any]) -> str:
    """Return what a reader sees of an output: of a drawing its text, not its paths."""
    data = {kind: "".join(text) for kind, text in output.get("data", {}).items() if kind != "image/png"}
    drawing = re.sub(r"<style.*?</style>|<[^>]*>", " ", data.pop("image/svg+xml", ""), flags=re.DOTALL)
    return "\n".join([*data.values(), drawing, "".join(output.get("text", ""))])


def constants(code: str) -> Iterator[float]:
    """Yield the numbers that stand in code, in its texts, and as products such as `8 * 1024`."""
    for node in ast.walk(ast.parse(code)):
        match node:
            case ast.Constant(value=str() as text):
                yield from numbers_in(text)
            case ast.Constant() | ast.BinOp():
                yield from filter(None, [product(node)])


def product(node: ast.expr) -> float | None:
    """Return the value of a number, or of a product or power of small ones."""
    match node:
        case ast.Constant(value=int() | float() as number):
            return float(number)
        case ast.BinOp(left=left, right=right, op=ast.Mult() | ast.Pow() as kind):
            one, other = product(left), product(right)
            if one is not None and other is not None and max(abs(one), abs(other)) < SMALLEST:
                return one * other if isinstance(kind, ast.Mult) else one**other
    return None


@cache
def recorded() -> Numbers:
    """Return the numbers of the records that state their source."""
    data, record = ROOT / "memcalc" / "data", ROOT / "book" / "record"
    paths = [
        data / "machines.json",
        data / "constants.py",
        *data.glob("models/*.json"),
        *record.glob("*.json"),
    ]
    return Numbers(number for path in paths for number in numbers_in(path.read_text(encoding="utf-8")))


def is_recorded(figure: Figure) -> bool:
    """Whether a long figure stands in a record, digit for digit."""
    return figure.is_long and recorded().has(figure.value, 0)


def cells(path: Path, kind: str) -> list[str]:
    """Return the sources of a notebook's cells of one kind."""
    found = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in found if cell["cell_type"] == kind]


def prose(path: Path) -> str:
    """Return the words of a page, without what is not read as text."""
    if path.suffix == ".ipynb":
        return "\n\n".join(cells(path, "markdown"))
    return re.sub(r"```\{raw\}.*?```", " ", path.read_text(encoding="utf-8"), flags=re.DOTALL)


def computed(path: Path) -> Numbers:
    """Return the numbers that a page computes."""
    if path.suffix != ".ipynb":
        return Numbers(numbers_in(generated(path)))
    ran = json.loads(path.read_text(encoding="utf-8"))["cells"]
    outputs = "\n".join(shown(output) for cell in ran for output in cell.get("outputs", ()))
    return Numbers(
        [*numbers_in(outputs), *(number for code in cells(path, "code") for number in constants(code))]
    )


def generated(path: Path) -> str:
    """Return what the build writes into a page."""
    import generate  # the whole program is asked: only where a page needs it

    names = re.findall(r"_build/generated/(\S+?)[)\s]", path.read_text(encoding="utf-8"))
    return "\n".join(generate.BUILT[name]() for name in names)


def stale(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the figure and the sentence of each that nothing on the page computes."""
    found = computed(path)
    for sentence, figure in figures(prose(path)):
        if not (QUOTED in sentence or found.hold(figure) or is_recorded(figure)):
            yield f"{figure.text} {figure.unit}".strip(), sentence.replace(QUOTED, "")


@cache
def known() -> re.Pattern[str]:
    """Return a pattern of all that memcalc has a name for: engines, formats, models, machines, options."""
    rows = [row for asked in LISTS.values() for row in asked() if row.get("modelled", True)]
    names = {str(row[key]) for row in rows for key in ("id", "name") if key in row}
    names |= {name.partition("/")[2] for name in names if "/" in name}
    names |= {
        flag for command in COMMANDS for flag in parser_of(command).format_help().split() if flag[:2] == "--"
    }
    words = "|".join(sorted((re.escape(name.strip(",[]")) for name in names if len(name) > 2), key=len)[::-1])
    return re.compile(rf"(?<![\w/-])(?:{words}|NPUs?)(?![\w-])", re.IGNORECASE)


def denials(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the name and the sentence of each that denies what memcalc has, in prose or in code's texts."""
    texts = [prose(path)]
    if path.suffix == ".ipynb":
        nodes = (node for code in cells(path, "code") for node in ast.walk(ast.parse(code)))
        texts += [
            node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)
        ]
    for sentence in (one for text in texts for one in sentences(text)):
        name = known().search(sentence)
        if name and DENIAL.search(sentence):
            yield name[0], sentence


def pages() -> list[Path]:
    """Return the pages of the book, and what stands beside it."""
    return sorted([*ROOT.glob("notebooks/*.ipynb"), *ROOT.glob("book/*.md")])


def main(names: list[str]) -> int:
    """List the faults."""
    paths = [Path(name).resolve() for name in names] or pages()
    found = [(path, *one) for path in paths for looked in (stale, denials) for one in looked(path)]
    for path, words, sentence in found:
        print(f"{path.name}: {words}: {sentence[:150]}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
