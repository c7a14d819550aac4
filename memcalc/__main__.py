"""The command line: ``python -m memcalc``."""

from __future__ import annotations

import gc
import sys
from typing import NoReturn

from memcalc.errors import MemcalcError


def main(arguments: list[str] | None = None) -> int:
    """Answer one question; return the exit status.

    0: answered; 1: does not fit (with --check); 2: could not answer, with one line on stderr.
    """
    from memcalc.cli.command import parse

    try:
        return parse(sys.argv[1:] if arguments is None else arguments)
    except MemcalcError as error:
        sys.stderr.write(f"memcalc: error: {error}\n")
        return 2
    except BrokenPipeError:
        sys.stderr.close()
        return 2
    except OSError as error:  # the answer could not be written
        sys.stderr.write(
            f"memcalc: error: output: expected room to write, given {error.strerror}; free some\n"
        )
        return 2


def run() -> NoReturn:
    """Run as a program.

    A command has ended before garbage matters: to look for it, on the way and once more at the end, would
    take an eighth of its time.
    """
    gc.disable()
    status = main()
    gc.freeze()
    sys.exit(status)


if __name__ == "__main__":
    run()
