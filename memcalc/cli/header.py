"""What an answer says of a checkpoint's header, where one was read."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from memcalc.files.compare import Check
    from memcalc.files.source import Source

__all__ = ["header_fields", "header_text"]


def compared(source: Source) -> Check | None:
    """Compare the header of a source with the ledger; most sources have none, and load nothing for it."""
    if source.header is None:
        return None
    from memcalc.files.compare import check

    return check(source)


def header_fields(source: Source) -> dict[str, object]:
    """Return the header's own figures, and in what the ledger differs from it."""
    found = compared(source)
    if found is None:
        return {"header": None, "differences": []}
    return {"header": found.fields, "differences": [one._asdict() for one in found.differences]}


def header_text(source: Source) -> list[str]:
    """Return the same in words: one line, or none."""
    found = compared(source)
    return [] if found is None else [f"  {found.text}"]
