"""A sentence for notebooks and pages: what a cell works out, in words."""

from __future__ import annotations

__all__ = ["Sentence", "sentence"]


class Sentence:
    """Words with their numbers, as Markdown: JupyterLab and the book show them as text, not as Python."""

    def __init__(self, words: str) -> None:
        """Keep the words."""
        self.words = words

    def _repr_markdown_(self) -> str:
        return self.words

    def __repr__(self) -> str:
        """Return the words, without the quotation marks of Python."""
        return self.words


def sentence(words: str) -> Sentence:
    """Return words that Jupyter and the book show as a sentence.

    Parameters
    ----------
    words : str
        One sentence or more, which may be Markdown. Numbers bring their format and their unit.

    Returns
    -------
    Sentence

    Examples
    --------
    >>> tokens = 100141
    >>> sentence(f"There is room for **{tokens:,} tokens**.")
    There is room for **100,141 tokens**.

    """
    return Sentence(words)
