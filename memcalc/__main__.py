"""The command line: ``python -m memcalc``."""

from __future__ import annotations

import gc
import os
import sys
from contextlib import suppress
from typing import NoReturn

from memcalc.errors import BadInputError, MemcalcError, escaped, shortened

NOT_ANSWERED, INTERRUPTED = 2, 130  # 1 says that a plan does not fit, so no accident may end with it
TRACEBACK = "MEMCALC_TRACEBACK"  # an environment variable


def main(arguments: list[str] | None = None) -> int:
    """Answer one question; return the exit status.

    0: answered; 1: does not fit (with --check); 2: could not answer, a line on stderr says why; 130: stopped.

    Parameters
    ----------
    arguments : list of str, optional
        What stands behind ``memcalc``; default the words of the command line.

    """
    try:
        from memcalc.cli.command import parse

        status, text = parse(sys.argv[1:] if arguments is None else arguments)
        write(text)
    except MemcalcError as error:
        return complain(str(error), NOT_ANSWERED)
    except BrokenPipeError:  # the reader has seen enough, as in `memcalc list models | head -1`
        return NOT_ANSWERED
    except KeyboardInterrupt:
        return complain("interrupted", INTERRUPTED)
    except Exception as error:  # noqa: BLE001 (the last resort: an accident must not look like an answer)
        return complain(unforeseen(error), NOT_ANSWERED)
    return status


def write(text: str) -> None:
    """Write an answer, whatever letters the terminal knows.

    Raises
    ------
    BadInputError
        The output is closed, or there is no room for the answer.

    """
    if sys.stdout is None:
        remedy = "leave it open, or send it to /dev/null"
        raise BadInputError("output", "an open standard output", "a closed one", remedy)
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        sys.stdout.flush()
    except OSError as error:
        # what is still to be written goes nowhere: Python would try again when it ends, and complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            raise
        raise BadInputError("output", "room to write", error.strerror, "free some") from None


def complain(line: str, status: int) -> int:
    """Write one line to stderr, if anything can be written there, and return the exit status."""
    with suppress(OSError):  # where nothing can be written, the exit status alone has to say it
        if sys.stderr is not None:
            sys.stderr.write(f"memcalc: error: {escaped(line)}\n")
    return status


def unforeseen(error: Exception) -> str:
    """Return the line for an error that is memcalc's own fault; developers may ask for the traceback too."""
    from memcalc import __version__

    if os.environ.get(TRACEBACK) and sys.stderr is not None:
        from traceback import print_exception

        print_exception(error, file=sys.stderr)
    given = shortened(f"{type(error).__name__}: {error}", 200)
    report = f"report it with your command and memcalc's version, {__version__}"
    return f"memcalc itself: expected an answer, given {given}; please {report} ({TRACEBACK}=1 shows more)"


def run() -> NoReturn:
    """Run as a program.

    A command has ended before garbage matters: to look for it on the way, and to take everything down in the
    end, would take an eighth of its time. What it had to say is written by then.
    """
    gc.disable()
    os._exit(main())


if __name__ == "__main__":
    run()
