"""The notebooks: the one command which writes their outputs, and the check which proves them.

`python tools/notebooks.py [NOTEBOOK ...]` executes in place; two runs give the same bytes, on every Python.
`python tools/notebooks.py --check` changes nothing: the files are as this command writes them, and strict
nbval finds the same outputs again. `--tidy NOTEBOOK ...` takes out what an editor put in, and runs nothing.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
from nbconvert.preprocessors import ExecutePreprocessor

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "notebooks"
QUIET = ["--log-level=40"]  # a kernel of this machine's own needs no warning about encryption
COLUMNS = 79
LINES = 12
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
LANGUAGE = {
    "file_extension": ".py",
    "mimetype": "text/x-python",
    "name": "python",
    "pygments_lexer": "ipython3",
}


def notebooks() -> list[Path]:
    """All notebooks of the book."""
    return sorted(FOLDER.glob("*.ipynb"))


def normalised(notebook: Any) -> str:
    """The text of a notebook without what differs between machines and runs."""
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL, "language_info": LANGUAGE})
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", []):
            if output.output_type in {"display_data", "execute_result"}:
                output.metadata.clear()
    return str(nbformat.writes(notebook)) + "\n"


def execute(path: Path) -> float:
    """Execute one notebook in place; the seconds that it took."""
    start = time.monotonic()
    notebook = nbformat.read(path, as_version=4)
    # The kernel of this environment, whatever the file or the user's folders say.
    run = ExecutePreprocessor(timeout=300, kernel_name="python3", record_timing=False, extra_arguments=QUIET)
    run.preprocess(notebook, {"metadata": {"path": str(FOLDER)}})
    path.write_text(normalised(notebook), encoding="utf-8", newline="\n")
    return time.monotonic() - start


def execute_all(paths: list[Path]) -> None:
    """Execute notebooks, two at a time."""
    with ProcessPoolExecutor(max_workers=2) as pool:
        for path, seconds in zip(paths, pool.map(execute, paths), strict=True):
            print(f"   {path.relative_to(ROOT)} {seconds:.1f} s", flush=True)


def untidy(path: Path) -> Iterator[str]:
    """What a page should not have: wide lines (cut in print), long cells, an end that asserts nothing."""
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    for cell in cells:
        lines = [line for line in cell.source.splitlines() if line.strip()]
        if len(lines) > LINES:
            yield f"a cell of more than {LINES} lines: {lines[0]}"
        yield from (f"longer than {COLUMNS} columns: {line.strip()}" for line in lines if len(line) > COLUMNS)
    if not cells or "assert" not in cells[-1].source:
        yield "the last code cell asserts nothing"


def tidy(paths: list[Path]) -> None:
    """Write notebooks as this command does, without running them."""
    for path in paths:
        text = normalised(nbformat.read(path, as_version=4))
        if text != path.read_text(encoding="utf-8"):
            path.write_text(text, encoding="utf-8", newline="\n")
            print(f"   {path.name}: tidied")


def check() -> int:
    """Whether the files are as written by this command, and their outputs come again."""
    paths = notebooks()
    if not paths:
        print("   no notebooks yet")
        return 0
    foreign = [
        path
        for path in paths
        if path.read_text(encoding="utf-8") != normalised(nbformat.read(path, as_version=4))
    ]
    faults = [f"{path.relative_to(ROOT)}: {fault}" for path in paths for fault in untidy(path)]
    for fault in faults:
        print(fault, file=sys.stderr)
    for path in foreign:
        print(f"{path.relative_to(ROOT)} was not written by: make notebooks", file=sys.stderr)
    pytest = ["-m", "pytest", "-q", "-p", "nbval", "--nbval", "--nbval-current-env", "-p", "no:cacheprovider"]
    # A notebook is one worker's; warnings of Jupyter about itself are not ours.
    quietly = ["-n", "2", "--dist", "loadfile", "-W", "default"]
    quietly += ["--nbval-kernel-startup-timeout=600"]  # seconds: the machine may be busy
    status = subprocess.run([sys.executable, *pytest, *quietly, *paths], cwd=ROOT, check=False).returncode
    return 1 if foreign or faults or status else 0


def main(arguments: list[str]) -> int:
    """Execute, or with --check compare, or with --tidy normalise."""
    os.chdir(ROOT)
    if "--check" in arguments:
        return check()
    paths = [Path(name).resolve() for name in arguments if not name.startswith("--")] or notebooks()
    (tidy if "--tidy" in arguments else execute_all)(paths)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
