"""argparse, whose errors are memcalc's own."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from memcalc.errors import NOTHING, BadInputError, UnknownNameError, nearest

if TYPE_CHECKING:
    from typing import NoReturn

    from memcalc.errors import Faults

__all__ = ["Parser"]

SWITCHED = ("true", "false", "yes", "no", "1", "0")  # what other tools have behind a switch


class Parser(argparse.ArgumentParser):
    """argparse, but what it does not understand are faults of ours, collected with those of the plan."""

    def _get_formatter(self) -> argparse.HelpFormatter:
        """Lay out help in 88 columns: add_argument asks, and looking at the terminal would load shutil."""
        return self.formatter_class(prog=self.prog, width=88)  # type: ignore[call-arg]

    @property
    def offered(self) -> list[argparse.Action]:
        """What it takes, as its help lists it; what help leaves out is left out."""
        return [one for one in self._actions if one.help != argparse.SUPPRESS and one.dest != "help"]

    def read(self, arguments: list[str], faults: Faults) -> argparse.Namespace:
        """Return what was given. Where an option is not known, what was meant is read in its place.

        Parameters
        ----------
        arguments : list of str
            What stands behind the command.
        faults : Faults
            Takes what is not understood.

        """
        words = self.understood(arguments, faults)
        given, extra = self.parse_known_args(words)
        given.faults = faults
        for word in extra:
            faults.of(self.refuse_word, word)
        return given

    def understood(self, arguments: list[str], faults: Faults) -> list[str]:
        """Return the words with each option and its value as one; what is not understood are faults."""
        words: list[str] = []
        left = arguments[::-1]  # the next word is the last
        while left:
            word = left.pop()
            flag, equals, value = word.partition("=")
            action = self._option_string_actions.get(flag)
            if not is_flag(word):
                words.append(word)
            elif action is None:
                faults.of(self.refuse_flag, flag, left, value if equals else None)
            elif action.nargs == 0:
                words.append(flag)
                if equals or (left and left[-1].lower() in SWITCHED):
                    faults.of(refuse_switched, flag, value if equals else left.pop())
            elif equals or (left and not is_flag(left[-1])):
                value = value if equals else left.pop()
                if flag == "--on" and any(not one.startswith("-") for one in words):
                    while left and not is_flag(left[-1]):  # a machine's words, without quotes
                        value = f"{value} {left.pop()}"
                words.append(f"{flag}={value}")
            else:
                faults.of(refuse_no_value, flag, action.metavar)
        return words

    def refuse_flag(self, flag: str, left: list[str], value: str | None) -> NoReturn:
        """Refuse an option that is not known; what was meant takes its place among the words that are left.

        Raises:
            UnknownNameError: always.

        """
        known = [one for one in self._option_string_actions if one.startswith("--")]
        hidden = {one for one in known if self._option_string_actions[one].help == argparse.SUPPRESS}
        guess = nearest(flag, [one for one in known if one not in hidden], self.prog)
        right = guess.removeprefix("did you mean ").partition(" or ")[0].rstrip("?").split()
        action = self._option_string_actions.get(right[-1]) if right else None
        if value is not None and action is not None and action.nargs != 0:
            left.append(value)
        elif (
            action is None and left and not is_flag(left[-1]) and (not right or left[-1].lower() in SWITCHED)
        ):
            left.pop()  # the value of what is not known
        left += right[::-1] if right and right[0] in known else []
        remedy = guess or f"see `{self.prog} --help`"
        raise UnknownNameError("command line", f"an option of `{self.prog}`", flag, remedy)

    def refuse_word(self, word: str) -> NoReturn:
        """Refuse a word that belongs to no option.

        Raises:
            BadInputError: always.

        """
        sizes = [one for one in ("--context", "--seq") if one in self._option_string_actions]
        remedy = "put what belongs together into quotes"
        if sizes and word[:1].isdigit():
            remedy = f"did you mean {sizes[0]} {word}?"
        raise BadInputError("command line", "options, and no further word", word, remedy)

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing a usage text.

        Raises:
            BadInputError: argparse does not understand something.

        """
        raise BadInputError(
            "command line", f"what `{self.prog} --help` lists", message, "correct the command"
        )


def is_flag(word: str) -> bool:
    """Say whether a word is an option, and no number below 0.

    >>> is_flag("--context"), is_flag("-ngl"), is_flag("-1"), is_flag("-")
    (True, True, False, False)
    """
    return word.startswith("-") and word[1:2] not in "0123456789."


def refuse_switched(flag: str, value: str) -> NoReturn:
    """Refuse a value behind a switch.

    Raises:
        BadInputError: always.

    """
    off = value.lower() in ("false", "no", "0")
    remedy = f"remove {flag}" if off else f"{flag} alone switches it"
    raise BadInputError(flag, "no value", value, remedy)


def refuse_no_value(flag: str, metavar: object) -> NoReturn:
    """Refuse an option without its value.

    Raises:
        BadInputError: always.

    """
    raise BadInputError(flag, "a value", NOTHING, f"write {flag} {metavar}")
