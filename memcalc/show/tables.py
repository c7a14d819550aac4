"""Tables for notebooks and pages: thin groups, units in the header, numbers to the right."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Table", "cell", "table"]


def cell(value: object) -> str:
    r"""Return a value as a table shows it: whole numbers in groups of three, others with two decimals.

    >>> cell(32762123264), cell(61.0242), cell(None), cell(True), cell("a|b")
    ('32,762,123,264', '61.02', '–', 'yes', 'a\\|b')
    """
    match value:
        case None:
            return "–"
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.2f}"
        case _:
            return str(value).replace("|", "\\|")


class Table:
    """Rows under a header, as Markdown: JupyterLab and the book show it as a table, with its formulas."""

    def __init__(self, rows: Iterable[Mapping[str, object]], folded: str = "") -> None:
        """Keep the rows; all have the columns of the first."""
        self.rows = [dict(row) for row in rows]
        self.columns = list(self.rows[0])
        self.folded = folded

    def _repr_markdown_(self) -> str:
        aligned = ["---:" if self._is_number(name) else ":---" for name in self.columns]
        lines = [self.columns, aligned, *([cell(row[name]) for name in self.columns] for row in self.rows)]
        shown = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        if not self.folded:
            return shown
        return f"<details><summary>{self.folded}</summary>\n\n{shown}\n\n</details>"

    def _is_number(self, column: str) -> bool:
        values = [row[column] for row in self.rows if row[column] is not None]
        return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)

    def __repr__(self) -> str:
        """Return the same table as text."""
        return self._repr_markdown_()


def table(rows: Iterable[Mapping[str, object]], folded: str = "") -> Table:
    """Return rows as a table; a unit belongs into the name of its column.

    A long one can be `folded` under a line of text that opens it.

    >>> table([{"what": "weights", "GiB": 61.024}, {"what": "cache", "GiB": 2.0}])
    | what | GiB |
    | :--- | ---: |
    | weights | 61.02 |
    | cache | 2.00 |
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
