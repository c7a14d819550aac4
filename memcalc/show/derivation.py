"""An explanation as text, as Markdown, as LaTeX and as HTML: the answer is the last line of each."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from memcalc.errors import escaped
from memcalc.show.steps import SHAPES, together
from memcalc.show.traced import Letter, latex_letter, latex_number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memcalc.show.steps import Derivation, Section, Step, Sum

__all__ = ["as_html", "as_latex", "as_markdown", "as_text"]

UNNAMED = "a line without a source follows from the tensors' shapes"
SPECIAL = "_{}%#&$~^\\"  # what LaTeX takes for more than a letter
IN_NAMES = {"\\": r"\backslash ", "~": r"\sim ", "^": r"\wedge "}  # in typewriter letters of a formula
IN_PROSE = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}


# ---- what all have in common ----


def remarks(step: Step, unit: str) -> str:
    """Return what is to be known of a step: what of, when it lives, how far it is known, range, source."""
    said = [f"as {step.stored_as}"] if step.stored_as and step.is_derived else []
    said += [step.made_of] if step.made_of else []
    said += [f"at {', '.join(step.moments)}"] if step.moments else []
    if step.outside:
        said.append("on top of the engine's share")
    if step.evidence != "exact":
        said.append(step.evidence)
    if step.low is not None and step.high is not None and step.low < step.high:
        said.append(f"{step.low:,} to {step.high:,} {unit}")
    if step.source != SHAPES:
        said.append(step.source)
    return "; ".join(said)


def added(total: Sum) -> str:
    """Return the parts of a sum with their signs."""
    text = ""
    for name, size in total.parts:
        sign = " - " if size < 0 else " + "
        first = "-" if size < 0 else ""
        text += f"{sign if text else first}{name} {abs(size):,}"
    return text or "0"


# ---- text ----


def as_text(said: Derivation) -> str:
    """Return an explanation as text for a terminal."""
    return "\n".join(map(escaped, text_lines(said)))


def text_lines(said: Derivation) -> Iterator[str]:
    """Yield the lines of the text."""
    yield said.title
    if said.defaults:
        yield f"  chosen by default: {', '.join(said.defaults)}"
    yield from (f"  {fact}" for fact in said.facts)
    yield f"  {UNNAMED}"
    legend = list(said.legend)
    if legend:
        yield ""
        yield "quantities"
        width = max(len(name) for name, _, _ in legend)
        yield from (f"  {name:<{width}} = {value:,}  ({meaning})" for name, value, meaning in legend)
    for section in said.sections:
        yield ""
        yield section.heading
        for component, steps in section.by_component.items():
            yield f"  {component}"
            for step in steps:
                yield from text_of(step, section.unit)
            whole = together(steps)
            if whole is not None:
                yield from text_of(whole, section.unit)
        yield from (text_of_sum(total, section) for total in section.sums)
    yield ""
    yield from said.conclusion
    yield said.last_line


def text_of(step: Step, unit: str) -> Iterator[str]:
    """Yield a step: its name, its formula, the numbers put in, the result."""
    remark = remarks(step, unit)
    yield f"    {step.name}" + (f"  [{remark}]" if remark else "")
    result = f"{step.value:,} {unit}"
    if step.is_derived and step.expression is not None:
        yield f"      = {step.expression.text('name')}"
        yield f"      = {step.expression.text('number')}"
        yield f"      = {result}"
    else:
        yield f"      = {result}" + (f"  ({step.words})" if step.words else "")


def text_of_sum(total: Sum, section: Section) -> str:
    """Return a sum in a line."""
    note = f"  ({total.note})" if total.note else ""
    return f"  {total.name} = {added(total)} = {total.value:,} {section.unit}{note}"


# ---- Markdown ----


def as_markdown(said: Derivation) -> str:
    """Return an explanation as Markdown: tables that GitHub shows, formulas between dollars."""
    return "\n".join(markdown_lines(said))


def markdown_lines(said: Derivation) -> Iterator[str]:
    """Yield the lines of the Markdown."""
    yield from (f"## {plain(said.title)}", "")
    if said.defaults:
        yield from (f"Chosen by default: {plain(', '.join(said.defaults))}.", "")
    for fact in said.facts:
        yield from (f"{plain(fact)}.", "")
    yield from (f"{UNNAMED[0].upper()}{UNNAMED[1:]}.", "")
    legend = list(said.legend)
    if legend:
        yield from (
            "### Quantities",
            "",
            "| symbol | name | number | meaning |",
            "| :--- | :--- | ---: | :--- |",
        )
        for name, value, meaning in legend:
            yield f"| ${letter(name)}$ | `{name}` | {value:,} | {plain(meaning)} |"
        yield ""
    for section in said.sections:
        yield from (f"### {plain(section.heading[:1].upper() + section.heading[1:])}", "")
        yield from (
            f"| component | line | formula | numbers | {section.unit} | evidence and source |",
            "| :--- | :--- | :--- | :--- | ---: | :--- |",
        )
        for steps in section.by_component.values():
            yield from (markdown_row(step, section.unit) for step in steps)
            whole = together(steps)
            if whole is not None:
                yield markdown_row(whole, section.unit)
        yield ""
        for total in section.sums:
            note = f" ({plain(total.note)})" if total.note else ""
            yield f"- **{total.name}** = {added(total)} = **{total.value:,}** {section.unit}{note}"
        yield ""
    for one in said.conclusion:
        yield from (plain(one), "")
    yield f"**{said.last_line}**"


def markdown_row(step: Step, unit: str) -> str:
    """Return a step as a row of a table."""
    formula, numbers = plain(step.words), ""
    if step.is_derived and step.expression is not None:
        formula, numbers = f"${step.expression.latex()}$", step.expression.text("number")
    about = remarks(step, unit)
    cells = (step.component, f"`{step.name}`", formula, numbers, f"{step.value:,}", plain(about))
    return f"| {' | '.join(cells)} |"


def plain(text: str) -> str:
    r"""Return a text that Markdown takes for nothing else.

    >>> print(plain("a|b <c> model_name"))
    a\|b \<c\> model\_name
    """
    return "".join(f"\\{sign}" if sign in "\\|<>*_`[]$" else sign for sign in escaped(text))


def letter(name: str) -> str:
    """Return the letter of a quantity in LaTeX."""
    return latex_letter(Letter(name, 0))


# ---- LaTeX ----


def as_latex(said: Derivation) -> str:
    """Return an explanation as aligned equations, one block for the quantities and each component."""
    return "\n".join(latex_lines(said))


def latex_lines(said: Derivation) -> Iterator[str]:
    """Yield the lines of the LaTeX."""
    legend = list(said.legend)
    yield from (f"% {escaped(line)}" for line in (said.title, *said.facts))
    if said.defaults:
        yield f"% chosen by default: {escaped(', '.join(said.defaults))}"
    if legend:
        rows = [
            rf"{letter(name)} &= {latex_number(value)} && {words(meaning)}" for name, value, meaning in legend
        ]
        yield from aligned(rows)
    for section in said.sections:
        for component, steps in section.by_component.items():
            yield f"% {escaped(section.heading)}: {component}"
            whole = together(steps)
            every = steps if whole is None else [*steps, whole]
            yield from aligned([row for step in every for row in latex_rows(step, section.unit)])
        if section.sums:
            yield f"% {escaped(section.heading)}: sums"
            yield from aligned([latex_sum(total, section.unit) for total in section.sums])
    for one in said.conclusion:
        yield rf"\[ {words(one)} \]"
    yield rf"\[ {words(said.last_line)} \]"


def aligned(rows: list[str]) -> Iterator[str]:
    """Yield rows as one block of equations."""
    yield r"\begin{align*}"
    yield " \\\\\n".join(rows)
    yield r"\end{align*}"


def latex_rows(step: Step, unit: str) -> Iterator[str]:
    """Yield the equations of a step."""
    result = rf"{latex_number(step.value)}\ {words(unit)}"
    said = remarks(step, unit)
    about = rf" && {words(said)}" if said else ""
    if step.is_derived and step.expression is not None:
        yield rf"{words(step.name)} &= {step.expression.latex()}{about}"
        yield rf"&= {step.expression.latex('number')}"
        yield rf"&= {result}"
    else:
        yield rf"{words(step.name)} &= {result}{about or (rf' && {words(step.words)}' if step.words else '')}"


def latex_sum(total: Sum, unit: str) -> str:
    """Return a sum as an equation."""
    text = ""
    for name, size in total.parts:
        sign = "-" if size < 0 else "+" if text else ""
        text += rf"{sign} \underbrace{{{latex_number(abs(size))}}}_{{{words(name)}}} "
    note = rf" && {words(total.note)}" if total.note else ""
    return rf"{words(total.name)} &= {text or '0 '}= {latex_number(total.value)}\ {words(unit)}{note}"


def words(text: str) -> str:
    r"""Return words in LaTeX; a name with signs of its own is one of typewriter letters.

    >>> words("two layers, whole"), words("q_proj"), words("width (hidden_size), vllm#48641")
    ('\\text{two layers, whole}', '\\mathtt{q\\_proj}', '\\text{width (hidden\\_size), vllm\\#48641}')
    """
    text = escaped(text)
    is_name = " " not in text and any(sign in SPECIAL for sign in text)
    spelled = IN_NAMES if is_name else IN_PROSE
    letters = (spelled.get(sign, f"\\{sign}" if sign in SPECIAL else sign) for sign in text)
    return rf"\{'mathtt' if is_name else 'text'}{{{''.join(letters)}}}"


# ---- HTML ----


def as_html(said: Derivation) -> str:
    """Return an explanation as one element, its sections folded: MathJax shows the formulas."""
    from memcalc.show.html import folded, rows_of

    legend = [(f"\\({letter(name)}\\) {name}", f"{value:,}", meaning) for name, value, meaning in said.legend]
    parts = [f"<div><strong>{escape(said.title)}</strong></div>"]
    if said.defaults:
        parts.append(f"<div>chosen by default: {escape(', '.join(said.defaults))}</div>")
    if legend:
        cells = [(escape(name), value, escape(meaning)) for name, value, meaning in legend]
        parts.append(folded(f"{len(legend)} quantities", rows_of(cells)))
    for section in said.sections:
        rows = [html_row(step, section.unit) for step in section.steps]
        header = ("line", section.unit, "formula", "evidence and source")
        inside = rows_of(rows, header=header, width="min-width:48em;")
        parts.append(folded(f"{section.heading}: {len(rows)} lines", inside))
        parts += [f"<div>{escape(text_of_sum(total, section).strip())}</div>" for total in section.sums]
    parts += [f"<div>{escape(one)}</div>" for one in said.conclusion]
    parts.append(f"<div><strong>{escape(said.last_line)}</strong></div>")
    return f'<div class="memcalc" style="max-width:60em;line-height:1.5">{"".join(parts)}</div>'


def html_row(step: Step, unit: str) -> tuple[str, str, str, str]:
    """Return a step as the cells of a table."""
    formula = escape(step.words)
    if step.is_derived and step.expression is not None:
        said, numbers = step.expression.text("name"), step.expression.text("number")
        formula = f"{escape(said)}<br>= {escape(numbers)}"
    return escape(f"{step.component}: {step.name}"), f"{step.value:,}", formula, escape(remarks(step, unit))
