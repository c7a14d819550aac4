"""A site about one model: `make new-model CONFIG=path|NAME`, with MACHINE, CONTEXT and others if wanted.

The page *Your model, your machine* is executed for that model, by papermill, and its halves become the pages
of a site in _build/new_model/<name>: to serve, and to train. memcalc is asked of the model first: what it
does not understand is one line and exit status 2, before anything runs. The site is put in its place when it
is whole.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import lighten
import nbformat
import paint
import security
import yaml

import memcalc
from memcalc.errors import BadInputError, check_whole_number
from memcalc.files.machines import devices
from memcalc.options import whole_number
from memcalc.serving.engines import ENGINES, engine
from memcalc.serving.search import limited

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "notebooks" / "your_model_your_machine.ipynb"
SITES = ROOT / "_build" / "new_model"
OF_THE_BOOK = "book"  # the tag of cells that are about the book's example, not about a model
PARAMETERS, CHECKS = "parameters", "hide-cell"
TRAINING = "training"  # the tag of the cell with which the second page begins
LOOK = "book/_static"
NUMBERS = {"context": "32k", "batch": "1", "seq": "4k"}  # in tokens, sequences, tokens, where none is given
MACHINE, ENGINE = "1x rtx-4090", "transformers"
LINK = re.compile(r"\[([^\]]+)\]\((?!https?:)[^)]*\.(?:ipynb|md)\)")  # to a chapter: the site has none


class PageError(Exception):
    """A page cannot be made: the line of the cell, or of Jupyter Book, that says why."""


class Asked(NamedTuple):
    """The parameters of the page, as papermill puts them in."""

    config: str
    machine: str
    context: int
    batch: int
    weights: str | None
    engine: str
    seq: int


def parser() -> argparse.ArgumentParser:
    """Return the options; make passes an empty one for each variable that is not set."""
    options = argparse.ArgumentParser(prog="make new-model")
    for name in Asked._fields:
        options.add_argument(f"--{name}", default="")
    return options


def number(name: str, text: str) -> int:
    """Return a count that was written as on the command line, 32k for 32,768.

    >>> number("context", "32k"), number("batch", "")
    (32768, 1)
    """
    given = text or NUMBERS[name]
    remedy = f"write for example {name.upper()}={NUMBERS[name]}"
    return check_whole_number(name.upper(), whole_number(given, scaled=True), remedy)


def settled(given: argparse.Namespace) -> Asked:
    """Ask memcalc of the model, and fill in what was left open.

    Without a machine it is the page's own if that holds the model, else the smallest of the record that does,
    of NVIDIA's first.

    Raises
    ------
    MemcalcError
        The model, or an option, is not understood, or no engine answers.

    """
    if not given.config:
        remedy = "write make new-model CONFIG=path/to/config.json"
        raise BadInputError("CONFIG", "a config.json, its folder or a name", "nothing", remedy)
    memcalc.model(given.config)
    named = engine(given.engine or ENGINE).id
    numbers = {name: number(name, getattr(given, name)) for name in NUMBERS}
    asked = Asked(
        given.config, given.machine or MACHINE, weights=given.weights or None, engine=named, **numbers
    )
    answering = that_answers(asked)
    if given.machine or plan(answering).verdict == "fits":
        return asked
    return on_a_machine(asked, [answering.engine] if given.engine else list(ENGINES))


def that_answers(asked: Asked) -> Asked:
    """Return the same with the first engine that answers; that which was named is asked first.

    Raises
    ------
    MemcalcError
        None does: what the first said.

    """
    refusals = []
    for name in dict.fromkeys([asked.engine, *ENGINES]):
        try:
            plan(asked._replace(engine=name))
        except memcalc.MemcalcError as refusal:
            refusals.append(refusal)
        else:
            return asked._replace(engine=name)
    raise refusals[0]


def options_of(asked: Asked) -> dict[str, Any]:
    """Return what `memcalc.serve` and `memcalc.which` are both asked for."""
    return {name: getattr(asked, name) for name in ("context", "batch", "weights", "engine")}


def plan(asked: Asked) -> Any:
    """Return what memcalc says of serving the model so."""
    return memcalc.serve(asked.config, on=asked.machine, **options_of(asked))


def on_a_machine(asked: Asked, engines: Sequence[str]) -> Asked:
    """Return the same on the smallest machine that holds it, NVIDIA's cards first, with an engine that fits.

    Where no engine has any, the answer is what does not fit.
    """
    for name in engines:
        on = asked._replace(engine=name)
        try:
            held = memcalc.which(on.config, **options_of(on)).machines
        except memcalc.MemcalcError:
            continue
        fits = [one for one in held if one.verdict == "fits"]
        for one in (*filter(is_card, fits), *fits):
            return on._replace(machine=f"{one.count}x {one.id}")
    return asked


def is_card(held: Any) -> bool:
    """Say whether a machine of `memcalc.which` is of NVIDIA's cards, with a memory of their own."""
    device = devices().get(held.id)
    return device is not None and device.kind == "gpu" and device.capability is not None


def folder_for(config: str) -> str:
    """Return the name of a model's folder: what its path or name ends with, of plain letters alone.

    >>> folder_for("models/my model/config.json"), folder_for("Qwen/Qwen3-32B"), folder_for("..")
    ('my-model', 'Qwen3-32B', 'model')
    """
    path = Path(config)
    name = path.parent.name if path.name == "config.json" and path.parent.name else path.name
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name.removesuffix(".json")).strip(".-") or "model"


def of_the_model(notebook: Any) -> Any:
    """Return the page without what is about the book's example, and without links to its chapters."""
    notebook.cells = [cell for cell in notebook.cells if OF_THE_BOOK not in cell.metadata.get("tags", [])]
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = LINK.sub(r"\1", cell.source)
        elif not {PARAMETERS, CHECKS} & {*cell.metadata.get("tags", [])}:
            cell.metadata["tags"] = ["hide-input"]  # the answers first, the code at a click
    return notebook


def halves(notebook: Any) -> tuple[list[Any], list[Any]]:
    """Return the cells of both pages, to serve and to train: checks at the end belong to none."""
    cells = [cell for cell in notebook.cells if CHECKS not in cell.metadata.get("tags", [])]
    tags = [cell.metadata.get("tags", []) for cell in cells]
    cut = next(place for place, found in enumerate(tags) if TRAINING in found)
    return cells[:cut], cells[cut:]


def executed(asked: Asked, folder: Path) -> Any:
    """Return the page, executed for a model; it runs where the command was given, so that its paths hold.

    Raises
    ------
    PageError
        A cell failed.

    """
    import papermill  # it takes seconds to load: a refusal does not wait for it

    page, out = folder / "page.ipynb", folder / "executed.ipynb"
    nbformat.write(of_the_model(nbformat.read(PAGE, as_version=4)), page)
    os.environ["PYTHONPATH"] = str(ROOT)  # the kernel's, wherever it starts
    how = {"cwd": str(Path.cwd()), "kernel_name": "python3", "extra_arguments": ["--log-level=40"]}
    try:
        papermill.execute_notebook(str(page), str(out), parameters=asked._asdict(), **how)
    except papermill.PapermillExecutionError as error:
        raise PageError(f"{error.ename}: {error.evalue}") from error
    done = nbformat.read(out, as_version=4)
    # The values of the run stand in a cell of their own; the example's are not wanted beside them.
    done.cells = [cell for cell in done.cells if PARAMETERS not in cell.metadata.get("tags", [])]
    return done


def largest_context(longest: int | None, limit: int | None) -> str:
    """Say the largest context by memory, and the model's own limit.

    >>> largest_context(331_888, 65_536)
    "331,888 tokens by memory alone; the model's own limit is 65,536"
    >>> largest_context(None, None)
    'any, by memory alone'
    """
    own = "" if limit is None else f"; the model's own limit is {limit:,}"
    return f"{'any,' if longest is None else f'{longest:,} tokens'} by memory alone{own}"


def in_variables(said: str) -> str:
    """Say a refusal in the words of make: options are variables; what it has none for is asked at a shell.

    >>> in_variables("--on: expected a device, given 'x'; write --engine vllm")
    "MACHINE: expected a device, given 'x'; write ENGINE=vllm"
    """
    said = re.sub("^SOURCE(?=: )", "CONFIG", said)
    said = said.replace("or --via transformers", "or at a shell: memcalc model CONFIG --via transformers")
    names = {"on": "MACHINE"} | {name: name.upper() for name in Asked._fields}
    for name, variable in names.items():
        said = re.sub(rf"--{name} (?=[\w\"'])", f"{variable}=", said)
        said = re.sub(rf"--{name}(?![\w-])", variable, said)
    return said


def home(name: str, asked: Asked) -> str:
    """Return the first page: what was asked, and the answer in a line each."""
    answering = that_answers(asked)
    answer, model = plan(answering), memcalc.model(asked.config)
    verdict = (answer.verdict or "").replace("_", " ")
    longest = limited(answer.max_context)
    rows = {
        "kind": f"`{model.model_type}`, {model.depth} layers, {model.parameters:,} parameters",
        "asked": f"{asked.batch:,} x {asked.context:,} tokens on {asked.machine}",
        "answer": f"with {answering.engine}: **{verdict}**, {answer.device.total_bytes} a device",
        "largest context": largest_context(longest, model.max_context),
    }
    table = "\n".join(f"| {label} | {text} |" for label, text in rows.items())
    return f"""# {name}

Written by memcalc {memcalc.__version__}.

| | |
| :--- | :--- |
{table}

- [To serve it](serving.ipynb): engines, formats, machines, largest contexts, the command that starts it.
- [To train it](training.ipynb): states, full fine-tuning, LoRA, QLoRA.
- <a href="notebook.ipynb" download>The notebook</a> behind both.
"""


def write_source(name: str, asked: Asked, notebook: Any, folder: Path) -> None:
    """Write what Jupyter Book builds the site from: two notebooks, a first page, the book's look."""
    for page, title, cells in zip(
        ("serving", "training"), ("To serve", "To train"), halves(notebook), strict=True
    ):
        half = nbformat.v4.new_notebook(metadata=notebook.metadata)
        half.cells = [nbformat.v4.new_markdown_cell(f"# {title} {name}"), *cells]
        nbformat.write(half, folder / f"{page}.ipynb")
    (folder / "index.md").write_text(home(name, asked), encoding="utf-8")
    toc = {"format": "jb-book", "root": "index", "chapters": [{"file": "serving"}, {"file": "training"}]}
    (folder / "_toc.yml").write_text(yaml.safe_dump(toc), encoding="utf-8")
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    config["title"] = name
    sphinx = config["sphinx"]
    del sphinx["local_extensions"]["about_pages"]  # it speaks of the book
    look = folder / LOOK
    shutil.copytree(ROOT / LOOK, look)
    sphinx["config"]["html_static_path"] = [LOOK]
    styles = sphinx["config"]["html_css_files"]
    sphinx["config"]["html_css_files"] = [name for name in styles if (look / name).is_file()]
    (folder / "_config.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    shutil.copytree(ROOT / "_ext", folder / "_ext", ignore=shutil.ignore_patterns("__pycache__"))


def built(folder: Path) -> Path:
    """Build the site from its source; its pages need no network, and connect to nothing.

    Raises
    ------
    PageError
        Jupyter Book failed, or warned.

    """
    program = str(Path(sys.executable).with_name("jupyter-book"))
    command = [program, "build", ".", "-n", "-W", "--keep-going", "--quiet"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, cwd=folder, env=environment, check=False, capture_output=True, text=True)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if "WARNING" in line or "ERROR" in line]
        raise PageError("; ".join(said) or done.stderr.strip())
    site = folder / "_build" / "html"
    lighten.lighten(site)
    paint.hasten(site)
    security.protect(site)
    return site


def make(asked: Asked) -> Path:
    """Execute, build, and put the site in its place; until then nothing is there that was not."""
    name = folder_for(asked.config)
    SITES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".unfinished-", dir=SITES) as unfinished:
        folder = Path(unfinished)
        notebook = executed(asked, folder)
        print("   building the site", flush=True)
        source = folder / "source"
        source.mkdir()
        write_source(name, asked, notebook, source)
        site = built(source)
        nbformat.write(notebook, site / "notebook.ipynb")
        shutil.rmtree(SITES / name, ignore_errors=True)
        site.rename(SITES / name)
    return SITES / name / "index.html"


def main(arguments: Sequence[str] | None = None) -> int:
    """Make a site about a model; 2 if memcalc does not understand it, 1 if a page cannot be made."""
    start = time.monotonic()
    try:
        asked = settled(parser().parse_args(arguments))
    except memcalc.MemcalcError as refusal:
        print(f"new-model: {in_variables(str(refusal))}", file=sys.stderr)
        return 2
    print(f"   {asked.config}: {asked.batch} x {asked.context:,} tokens on {asked.machine}", flush=True)
    try:
        address = make(asked)
    except (PageError, OSError, RuntimeError) as error:  # no half of a site is left, and no traceback shown
        print(f"new-model: the pages cannot be made: {error}", file=sys.stderr)
        return 1
    print(f"   done in {time.monotonic() - start:.0f} s\n   open {address.as_uri()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
