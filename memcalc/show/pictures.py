"""A drawing that a notebook shows: SVG whose ink is the ink of the text around it.

Inside a page `currentColor` follows the reader's theme. As a file of its own, which is how JupyterLab and
GitHub show an output, the drawing asks the reader's system, and brings paper and ink that go together.
"""

from __future__ import annotations

import re

__all__ = ["Picture"]

ALONE = (
    "<style>svg:root{background:#fff;color:#24292f}"
    "@media(prefers-color-scheme:dark){svg:root{background:#121416;color:#e6e6e6}}</style>"
)
START = re.compile(r"<svg[^>]*>")


class Picture:
    """An SVG that a notebook shows, with a title in it; made once, the same bytes every time.

    Parameters
    ----------
    svg : str
        The drawing, from ``<svg`` on; what has the colour of the text is ``currentColor``.
    alt : str
        What it shows, in words.

    Examples
    --------
    >>> Picture('<svg viewBox="0 0 9 9"></svg>', "Nothing")
    Figure: Nothing

    """

    def __init__(self, svg: str, alt: str) -> None:
        """Keep the drawing and its words."""
        self.svg, self.alt = svg, alt

    def _repr_svg_(self) -> str:
        return self.file

    @property
    def file(self) -> str:
        """The drawing as a file of its own."""
        return START.sub(lambda found: found[0] + ALONE, self.svg, count=1)

    def __repr__(self) -> str:
        """Say in words what the figure shows."""
        return f"Figure: {self.alt}"
