"""Pictures that cells show stand in the page itself, not in files beside it: so they have the page's ink.

An `<img>` does not know the reader's theme; an `<svg>` in the page does, and its words can be found.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform

from memcalc.show.pictures import ALONE

if TYPE_CHECKING:
    from sphinx.application import Sphinx


class PicturesInPages(SphinxPostTransform):
    """Put each picture of a cell into its page; what it says of itself as a file is left out."""

    default_priority = 6  # myst-nb has chosen among the formats of an output, and no image is copied yet
    formats = ("html",)

    def run(self, **_options: Any) -> None:
        """Replace the images of one page."""
        for image in list(self.document.findall(nodes.image)):
            if image["uri"].endswith(".svg"):
                text = (Path(self.env.srcdir) / image["uri"]).read_text(encoding="utf-8")
                if ALONE in text:
                    figure = f'<figure class="picture">{text.replace(ALONE, "")}</figure>'
                    alone = isinstance(image.parent, nodes.paragraph) and len(image.parent) == 1
                    place = image.parent if alone else image  # a paragraph holds no figure
                    place.replace_self(nodes.raw("", figure, format="html"))


def setup(app: Sphinx) -> dict[str, object]:
    """Register with Sphinx."""
    app.add_post_transform(PicturesInPages)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
