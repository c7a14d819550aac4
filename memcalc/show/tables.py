"""Tables for notebooks and pages: thin groups, units in the header, numbers to the right."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from memcalc.data.units import GIB, MIB, Amount, hundredths

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["Table", "cell", "table"]

OF_ALL = ("MiB", "MB", "GiB", "GB")  # "bytes" heads a column of words, too
ABSENT = object()  # stands where a row has no value of a column
UNITS = {"bytes": 1, "B": 1, "MiB": MIB, "MB": 10**6, "GiB": GIB, "GB": 10**9}


def cell(value: object) -> str:
    r"""Return a value as a table shows it: whole numbers in groups of three, others with two decimals.

    Parameters
    ----------
    value : object
        A number, an amount, True or False, None for what there is not, or text, which may be Markdown.

    Examples
    --------
    >>> cell(32762123264), cell(61.0242), cell(None), cell(True), cell("a|b"), cell(Amount(2**31))
    ('32,762,123,264', '61.02', '–', 'yes', 'a\\|b', '2.00 GiB')

    """
    match value:
        case None:
            return "–"
        case bool():
            return "yes" if value else "no"
        case Amount():
            return str(value)
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.2f}"
        case _:
            return str(value).replace("|", "\\|")


class Column(NamedTuple):
    """A column as it is shown: its header, with the unit, the side to which it is aligned, and its cells."""

    header: str
    side: str
    cells: tuple[str, ...]


def column(name: str, values: Sequence[object], of_all: str | None = None) -> Column:
    """Return a column; amounts are in the unit that its name ends with, or in GiB, and the header says so.

    A plain 0 among amounts is one of them: nothing, in every unit. `of_all` is the unit that the table states
    once: then no header repeats it.
    """
    given = [value for value in values if value is not None and value is not ABSENT]
    if any(isinstance(value, Amount) for value in given):
        values = [Amount(0) if type(value) is int and value == 0 else value for value in values]
    amounts = [value for value in values if isinstance(value, Amount)]
    is_number = all(isinstance(value, int | float) and not isinstance(value, bool) for value in given)
    side = "---:" if is_number else ":---"
    if not amounts or len(amounts) < len(given):
        return Column(name, side, tuple("" if value is ABSENT else cell(value) for value in values))
    stated = name.rpartition(", ")[2]
    unit = stated if stated in UNITS else of_all or unit_for(amounts)
    header = name if stated in UNITS or of_all else f"{name}, {unit}"
    return Column(header, side, tuple(map(partial(amount_cell, unit), values)))


def amount_cell(unit: str, value: object) -> str:
    """Return a cell of a column of amounts."""
    if value is ABSENT:
        return ""
    return in_unit(value, unit) if isinstance(value, Amount) else cell(value)


def unit_for(amounts: Iterable[Amount]) -> str:
    """Return GiB, or bytes where not even the largest amount would show a digit of its own."""
    largest = max(amounts)
    return "GiB" if largest == 0 or hundredths(largest, GIB) != "0.00" else "bytes"


def in_unit(amount: Amount, unit: str) -> str:
    """Return an amount without its unit: bytes as a whole number, other units with two decimals."""
    return f"{amount:,}" if UNITS[unit] == 1 else hundredths(amount, UNITS[unit])


class Table:
    """Rows under a header, as Markdown: JupyterLab and the book show it as a table, with its formulas."""

    def __init__(self, rows: Iterable[Mapping[str, object]], folded: str = "") -> None:
        """Keep the rows, and their columns in the order in which they come first."""
        self.rows = [dict(row) for row in rows]
        self.columns = list(dict.fromkeys(name for row in self.rows for name in row))
        self.folded = folded

    def _repr_markdown_(self) -> str:
        values = {name: [row.get(name, ABSENT) for row in self.rows] for name in self.columns}
        units = [name for name, found in values.items() if name in OF_ALL and isinstance(found[0], str)]
        of_all = units[0] if units else None
        columns = [column(name, found, of_all) for name, found in values.items()]
        headers, sides, cells = zip(*columns, strict=True)
        headers = tuple(f"sizes in {name}" if name == of_all else name for name in headers)
        lines = [headers, sides, *zip(*cells, strict=True)]
        shown = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        if not self.folded:
            return shown
        return f"<details><summary>{self.folded}</summary>\n\n{shown}\n\n</details>"

    def __repr__(self) -> str:
        """Return the same table as text."""
        return self._repr_markdown_()


def table(rows: Iterable[Mapping[str, object]], folded: str = "") -> Table:
    """Return rows as a table that Jupyter and the book show.

    Parameters
    ----------
    rows : iterable of mapping
        Values by the name of their column. Columns are those of all rows, in the order in which they come
        first; where a row has no value of one, the cell is empty. A unit belongs into the name:
        ``"weights, GiB"``. Columns of `Amount` are shown in GiB if their name states no unit, else in the
        unit that it states. A column of text named as a unit, ``"GiB"``, states it for all.
    folded : str, optional
        A line of text under which a long table is folded; it stands open by default.

    Returns
    -------
    Table

    Examples
    --------
    >>> table([{"what": "weights", "GiB": 61.024}, {"what": "cache", "GiB": 2.0}])
    | what | GiB |
    | :--- | ---: |
    | weights | 61.02 |
    | cache | 2.00 |
    >>> table([{"what": "weights", "size": Amount(65_524_246_528), "size, bytes": Amount(65_524_246_528)}])
    | what | size, GiB | size, bytes |
    | :--- | ---: | ---: |
    | weights | 61.02 | 65,524,246,528 |
    >>> table([{"what": "weights", "on the host": Amount(2**31)}, {"what": "cache", "on the host": 0}])
    | what | on the host, GiB |
    | :--- | ---: |
    | weights | 2.00 |
    | cache | 0.00 |
    >>> table([{"step": "bf16", "weights": Amount(2**31)}, {"step": "mixed", "master": Amount(2**32)}])
    | step | weights, GiB | master, GiB |
    | :--- | ---: | ---: |
    | bf16 | 2.00 |  |
    | mixed |  | 4.00 |
    >>> table([{"MiB": "one token", "weights": Amount(2**31), "cache": Amount(2**18)}])
    | sizes in MiB | weights | cache |
    | :--- | ---: | ---: |
    | one token | 2,048.00 | 0.25 |
    >>> table([{"GiB": 2.0}], folded="1 row")
    <details><summary>1 row</summary>
    <BLANKLINE>
    | GiB |
    | ---: |
    | 2.00 |
    <BLANKLINE>
    </details>

    """
    return Table(rows, folded)
