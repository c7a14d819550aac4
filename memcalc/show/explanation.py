"""An explanation: an answer derived, as text, Markdown, LaTeX and HTML."""

from __future__ import annotations

from memcalc.show.steps import Derivation

__all__ = ["Explanation"]


class Explanation(Derivation):
    """An answer derived: print it, or ask for its `markdown` or its `latex`; Jupyter shows it."""

    @property
    def markdown(self) -> str:
        """The same as Markdown: tables, with formulas that GitHub and Jupyter show."""
        from memcalc.show.derivation import as_markdown

        return as_markdown(self)

    @property
    def latex(self) -> str:
        """The same as LaTeX: aligned equations, which MathJax shows, too."""
        from memcalc.show.derivation import as_latex

        return as_latex(self)

    def __str__(self) -> str:
        from memcalc.show.derivation import as_text

        return as_text(self)

    def __repr__(self) -> str:
        """Return title and answer: all of it is long."""
        steps = sum(len(section.steps) for section in self.sections)
        how = f"derived in {steps} lines: print them, or see .markdown and .latex"
        return f"{self.title}\n  {how}\n  {self.last_line}"

    def _repr_html_(self) -> str:
        from memcalc.show.derivation import as_html

        return as_html(self)
