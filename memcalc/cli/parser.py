"""argparse from the options that a dataclass declares."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING, Any, NoReturn, get_args, get_origin

from memcalc.errors import BadInputError, UnknownNameError
from memcalc.ledger.registry import nearest
from memcalc.options import options_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from memcalc.options import Option

__all__ = ["Parser", "add_options", "given_options"]


class Parser(argparse.ArgumentParser):
    """argparse, but an error is an exception of ours, and a misspelt option is answered with a question."""

    def _get_formatter(self) -> argparse.HelpFormatter:
        """Lay out help in 88 columns: add_argument asks, and looking at the terminal would load shutil."""
        return self.formatter_class(prog=self.prog, width=88)  # type: ignore[call-arg]

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing a usage text.

        Raises:
            UnknownNameError: an option is not known.
            BadInputError: anything else that argparse does not understand.

        """
        unknown = re.match(r"unrecognized arguments: (--?[\w-]+)", message)
        if unknown:
            known = [flag for flag in self._option_string_actions if flag.startswith("--")]
            remedy = nearest(unknown[1], known) or f"see `{self.prog} --help`"
            raise UnknownNameError("command line", f"an option of `{self.prog}`", unknown[1], remedy)
        raise BadInputError(
            "command line", f"what `{self.prog} --help` lists", message, "correct the command"
        )


def add_options(parser: argparse.ArgumentParser, declared: type) -> None:
    """Add every option that a dataclass declares; what nobody names is left to the dataclass."""
    for option in options_of(declared):
        flag, how = argument(option)
        text = option.meaning + (f", in {option.unit}" if option.unit else "")
        default = "" if option.required else f" ({option.shown_default})"
        parser.add_argument(
            flag, dest=option.name, default=None, help=(text + default).replace("%", "%%"), **how
        )


def given_options(given: argparse.Namespace, declared: type) -> dict[str, Any]:
    """Return the options that were named, under their names in Python."""
    named = {option.name: getattr(given, option.name) for option in options_of(declared)}
    return {name: value for name, value in named.items() if value is not None}


def argument(option: Option) -> tuple[str, dict[str, Any]]:
    """Return an option's flag, and what argparse has to know of it."""
    kind = option.kind
    if kind is bool and not option.optional:
        if option.default:
            return f"--no-{option.flag.removeprefix('--')}", {"action": "store_const", "const": False}
        return option.flag, {"action": "store_const", "const": True}
    if kind is bool:
        return option.flag, {"type": yes_or_no, "metavar": "yes|no"}
    if isinstance(kind, tuple):
        return option.flag, {"type": choice_of(kind), "metavar": "|".join(map(str, kind))}
    if get_origin(kind) is tuple:
        number = get_args(kind)[0] is int
        return option.flag, {
            "type": whole_numbers if number else words,
            "metavar": "N,N" if number else "A,B",
        }
    parsers: dict[object, Callable[[str], object]] = {int: whole_number, float: number_of}
    return option.flag, {"type": parsers.get(kind, str), "metavar": option.metavar}


def whole_number(text: str) -> int | str:
    """Parse a whole number; other text stays, and is refused where the option's name is known."""
    digits = text.removeprefix("-")
    return int(text) if text.isascii() and digits.isdigit() and len(digits) < 1000 else text


def number_of(text: str) -> float | str:
    """Parse a number, in the same way."""
    try:
        return float(text)
    except ValueError:
        return text


def yes_or_no(text: str) -> bool | str:
    """Parse yes or no, in the same way."""
    return {"yes": True, "no": False}.get(text, text)


def words(text: str) -> tuple[str, ...]:
    """Parse words separated by commas."""
    return tuple(text.split(","))


def whole_numbers(text: str) -> tuple[int | str, ...]:
    """Parse whole numbers separated by commas."""
    return tuple(map(whole_number, text.split(",")))


def choice_of(kind: tuple[object, ...]) -> Callable[[str], object]:
    """Return how a choice is parsed: some of the choices are numbers."""
    by_text = {str(one): one for one in kind}
    return lambda text: by_text.get(text, text)
