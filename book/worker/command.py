"""The command line, asked by a page: the same words, files by name, and what a shell would have shown."""

from __future__ import annotations

import gc
import io
import os
import shutil
import sys
from typing import TYPE_CHECKING

from memcalc.__main__ import complain, main
from memcalc.errors import BadInputError, MemcalcError

if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDER = "/home/memcalc"
INPUT = "/dev/stdin"
STANDARD_INPUT = "-"  # the name of the file that stands for it
NOT_ANSWERED = 2
LONGEST = 255  # bytes of a name, as file systems have it


def ask(words: list[str], files: Mapping[str, object], links: Mapping[str, str]) -> tuple[int, str, str]:
    """Return exit status, standard output and standard error of a command.

    Parameters
    ----------
    words : list of str
        What stands behind ``memcalc`` at the shell.
    files : mapping of str to str or bytes
        What lies in the folder that it is called in; ``-`` is its standard input.
    links : mapping of str to str
        What else lies there, and where it really does.

    """
    kept = sys.stdin, sys.stdout, sys.stderr
    sys.stdout, sys.stderr = stream(), stream()
    gc.disable()  # as at the shell; the worker collects when it has answered
    try:
        status = answered(words, files, links)
        return status, text_of(sys.stdout), text_of(sys.stderr)
    finally:
        sys.stdin, sys.stdout, sys.stderr = kept
        empty()


def answered(words: list[str], files: Mapping[str, object], links: Mapping[str, str]) -> int:
    """Lay out the files, run the command in their folder, and return its exit status."""
    try:
        for name, content in files.items():
            lay_out(name, inside_of(name, content))
        for name, target in links.items():
            lay_out(name, target)
    except MemcalcError as error:
        return complain(str(error), NOT_ANSWERED)
    with open(INPUT, "rb") as given:
        sys.stdin = io.TextIOWrapper(given, encoding="utf-8")
        return main(words)


def stream() -> io.TextIOWrapper:
    """Return a place to write to: a file as far as Python can tell, and so without colours."""
    return io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="backslashreplace", write_through=True)


def text_of(written: object) -> str:
    """Return what was written."""
    assert isinstance(written, io.TextIOWrapper)  # noqa: S101 (for the type)
    return written.buffer.getvalue().decode()  # type: ignore[attr-defined]


def empty() -> None:
    """Leave an empty folder, and no standard input."""
    os.chdir("/")
    shutil.rmtree(FOLDER, ignore_errors=True)
    os.makedirs(FOLDER, exist_ok=True)
    os.chdir(FOLDER)
    write(INPUT, b"")


def inside_of(name: str, content: object) -> bytes:
    """Return what a file holds.

    Raises:
        BadInputError: That is neither a text nor bytes.

    """
    if isinstance(content, str):
        return content.encode("utf-8", "surrogatepass")
    if not isinstance(content, bytes | bytearray | memoryview):
        expected, kind = f"the text or the bytes of {name}", type(content).__name__
        raise BadInputError("files", expected, kind, "read the file first")
    return bytes(content)


def lay_out(name: str, content: bytes | str) -> None:
    """Write a file under its name, or link to where it lies.

    Raises:
        BadInputError: The name leads out of the folder, or cannot be a file's.

    """
    expected = "the name of a file in the folder of the command"
    if name != STANDARD_INPUT and not is_inside(name):
        raise BadInputError("files", expected, name, 'name it as in "config.json" or "model/config.json"')
    try:
        write(INPUT if name == STANDARD_INPUT else name, content)
    except OSError as error:
        raise BadInputError("files", expected, f"{name} ({error.strerror})", "give it another name") from None


def is_inside(name: str) -> bool:
    """Say whether a relative path stays in its folder."""
    parts = name.encode("utf-8", "surrogatepass").split(b"/")
    return b"\0" not in b"".join(parts) and all(
        part not in {b"", b".", b".."} and len(part) <= LONGEST for part in parts
    )


def write(path: str, content: bytes | str) -> None:
    """Write a file, or link to one, and make the folders above it."""
    folder = os.path.dirname(path)
    if folder:
        os.makedirs(folder, exist_ok=True)
    if isinstance(content, str):
        os.symlink(content, path)
        return
    with open(path, "wb") as file:
        file.write(content)


def collect() -> None:
    """Give back what an answer has left."""
    gc.collect()


os.unlink(INPUT)  # a device that would ask the page; from here on a file
empty()
