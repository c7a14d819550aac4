"""argparse, whose errors are memcalc's own."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING

from memcalc.errors import BadInputError, UnknownNameError, nearest

if TYPE_CHECKING:
    from typing import NoReturn

__all__ = ["Parser"]


class Parser(argparse.ArgumentParser):
    """argparse, but an error is an exception of ours, and a misspelt option is answered with a question."""

    def _get_formatter(self) -> argparse.HelpFormatter:
        """Lay out help in 88 columns: add_argument asks, and looking at the terminal would load shutil."""
        return self.formatter_class(prog=self.prog, width=88)  # type: ignore[call-arg]

    @property
    def offered(self) -> list[argparse.Action]:
        """What it takes, as its help lists it; what help leaves out is left out."""
        return [one for one in self._actions if one.help != argparse.SUPPRESS and one.dest != "help"]

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing a usage text.

        Raises:
            UnknownNameError: an option is not known.
            BadInputError: anything else that argparse does not understand.

        """
        unknown = re.match(r"unrecognized arguments: (--?[\w-]+)", message)
        if unknown:
            known = [
                flag
                for flag, action in self._option_string_actions.items()
                if flag.startswith("--") and action.help != argparse.SUPPRESS
            ]
            remedy = nearest(unknown[1], known) or f"see `{self.prog} --help`"
            raise UnknownNameError("command line", f"an option of `{self.prog}`", unknown[1], remedy)
        raise BadInputError(
            "command line", f"what `{self.prog} --help` lists", message, "correct the command"
        )
