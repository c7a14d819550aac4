"""The built site without what no page uses: rules of style, icons, files that nothing loads.

The theme brings a style sheet for everything that it could show, 1,400 icons as a script and as fonts, and
translations. What is dropped is found by looking: a rule of style goes if it asks for a class that is on no
page and in no script, an icon if no rule is left that shows it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import tinycss2

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

# What JavaScript puts together, such as `bs-tooltip-` and a side, stands in no script as a whole.
PUT_TOGETHER = ("bs-",)
NOTHING_LOADS = (
    *(
        "*.map",
        "*webpack-macros.html",
        "*.po",
        "*.mo",
        "sphinx-thebe.*",
        "play-solid.svg",
        "copybutton_funcs.js",
    ),
    *("fontawesome.js", "fontawesome.js.LICENSE.txt", "fa-*.ttf", "fa-*.woff2", "logo_*"),
)
ICONS = "memcalc icons"  # what the font of icons is called: a changed font must not bear its maker's name
ICON_FILE = "icons.woff"
FACE = (
    f'@font-face{{font-display:block;font-family:"{ICONS}";font-style:normal;font-weight:400 900;'
    f'src:url(../{ICON_FILE}) format("woff")}}'
)


class Site(NamedTuple):
    """The words that pages and scripts of a site use: what a selector can ask for."""

    names: frozenset[str]

    @classmethod
    def at(cls, folder: Path) -> Site:
        """Read the classes and names in the pages, and every word of the scripts that they load."""
        names: set[str] = set()
        scripts: set[Path] = set()
        for page in folder.rglob("*.html"):
            if "_static" in page.relative_to(folder).parts:
                continue
            text = page.read_text(encoding="utf-8")
            for value in re.findall(r"""\b(?:class|id)=("[^"]*"|'[^']*')""", text):
                names.update(value[1:-1].split())
            for inside in re.findall(r"<script[^>]*>(.*?)</script>", text, re.DOTALL):
                names.update(re.findall(r"[A-Za-z_][\w-]*", inside))
            scripts |= {
                (page.parent / name).resolve() for name in re.findall(r'<script[^>]* src="([^"?]+)', text)
            }
        for script in scripts:
            if script.is_file() and "mathjax" not in script.parts:  # it writes its own style
                names.update(re.findall(r"[A-Za-z_][\w-]*", script.read_text(encoding="utf-8")))
        return cls(frozenset(names))

    def has(self, name: str) -> bool:
        """Say whether a class or an id may be on some page, now or once scripts have run."""
        return name in self.names or name.startswith(PUT_TOGETHER) or not re.fullmatch(r"[\w-]+", name)


def asked_for(selector: list[tinycss2.ast.Node]) -> Iterator[str]:
    """Yield the classes and ids that an element must have; what stands in brackets demands nothing."""
    for before, one in zip([None, *selector], selector, strict=False):
        is_class = one.type == "ident" and before is not None and before == "."
        if is_class or one.type == "hash":
            yield one.value


def selectors(prelude: list[tinycss2.ast.Node]) -> list[list[tinycss2.ast.Node]]:
    """Return the selectors of a rule: commas divide them."""
    found: list[list[tinycss2.ast.Node]] = [[]]
    for one in prelude:
        if one == ",":
            found.append([])
        else:
            found[-1].append(one)
    return found


def used(rules: Iterable[tinycss2.ast.Node], site: Site) -> Iterator[str]:
    """Yield the text of the rules that can meet something on a page."""
    for rule in rules:
        if rule.type == "comment":
            if rule.value.startswith("!"):  # who made it, and under which terms
                yield rule.serialize()
        elif rule.type == "at-rule" and rule.lower_at_keyword in {"media", "supports"} and rule.content:
            inside = "".join(used(tinycss2.parse_rule_list(rule.content, skip_whitespace=True), site))
            if inside:
                yield f"@{rule.at_keyword}{tinycss2.serialize(rule.prelude)}{{{inside}}}"
        elif rule.type == "qualified-rule":
            alive = [one for one in selectors(rule.prelude) if all(map(site.has, asked_for(one)))]
            if alive:
                listed = ",".join(tinycss2.serialize(one).strip() for one in alive)
                yield f"{listed}{{{tinycss2.serialize(rule.content)}}}"
        elif not (rule.type == "at-rule" and "Font Awesome" in rule.serialize()):
            yield rule.serialize()


def lighten_styles(folder: Path) -> set[int]:
    """Write the style sheets anew; return the icons that they still show, by code point."""
    site, icons = Site.at(folder), set[int]()
    static = folder / "_static"
    for sheet in static.rglob("*.css"):
        text = sheet.read_text(encoding="utf-8")
        kept = "".join(used(tinycss2.parse_stylesheet(text, skip_whitespace=True), site))
        kept = re.sub(r'"Font Awesome 6 Free"|Font Awesome\\ 6 Free', f'"{ICONS}"', kept)
        if sheet.name == "pydata-sphinx-theme.css":
            kept += FACE
        icons |= {ord(shown) for shown in re.findall("[\ue000-\uf8ff]", kept)}
        sheet.write_text(kept, encoding="utf-8", newline="\n")
    return icons


def lighten_icons(static: Path, icons: set[int]) -> None:
    """Write a font of the icons that are shown, from the theme's font of 1,400."""
    from fontTools import subset, ttLib

    full = next(static.rglob("fa-solid-900.ttf"))
    font = ttLib.TTFont(full, recalcTimestamp=False)
    options = subset.Options(drop_tables=["FFTM"], hinting=False, name_IDs=[], notdef_outline=True)
    cut = subset.Subsetter(options)
    cut.populate(unicodes=icons)
    cut.subset(font)
    for number, text in ((1, ICONS), (2, "Regular"), (4, ICONS), (6, ICONS.replace(" ", "-"))):
        font["name"].setName(text, number, 3, 1, 0x409)
    terms = (
        "Some icons of Font Awesome Free (fontawesome.com), SIL OFL 1.1; their terms are served with them."
    )
    font["name"].setName(terms, 13, 3, 1, 0x409)
    font.flavor = "woff"
    font.save(static / ICON_FILE)


def lighten(folder: Path) -> None:
    """Drop from a built site what none of its pages uses."""
    static = folder / "_static"
    lighten_icons(static, lighten_styles(folder))
    for pattern in NOTHING_LOADS:
        for path in static.rglob(pattern):
            path.unlink()
    for path in sorted(static.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
