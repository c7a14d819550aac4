"""argparse, whose errors are memcalc's own."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from memcalc.errors import NOTHING, BadInputError, Described, UnknownNameError, meant, nearest, switched_off
from memcalc.options import whole_number

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import NoReturn

    from memcalc.errors import Faults

__all__ = ["Parser"]

SHORTEST = 128  # tokens: smaller numbers mean something else
NEEDED = ("--context", "--seq")  # without them nothing is answered
VALUE = "{}"  # stands where a value is to stand
DASHES = ("-", "\u2013", "\u2014")  # what editors make of two hyphens counts as them
OFF = ("false", "no", "0")
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

    @property
    def flags(self) -> list[str]:
        """The options among it."""
        return [flag for one in self.offered for flag in one.option_strings]

    def read(self, arguments: list[str], faults: Faults) -> argparse.Namespace:
        """Return what was given. Where an option is not known, what was meant is read in its place.

        Parameters
        ----------
        arguments : list of str
            What stands behind the command.
        faults : Faults
            Takes what is not understood.

        """
        end = arguments.index("--") if "--" in arguments else len(arguments)  # behind it nothing is an option
        words = [*self.understood(arguments[:end], faults), *arguments[end:]]
        given, extra = self.parse_known_args(words)
        given.faults = faults
        for word in extra:
            faults.of(self.refuse_word, word)
        return given

    def understood(self, arguments: list[str], faults: Faults) -> list[str]:
        """Return the words with each option and its value as one; what is not understood are faults."""
        words: list[str] = []
        unknown: dict[str, str] = {}
        left = arguments[::-1]  # the next word is the last
        while left:
            word = left.pop()
            flag, equals, value = word.partition("=")
            action = self._option_string_actions.get(flag)
            is_followed = not equals and bool(left) and not is_flag(left[-1])
            behind = left[-1] if is_followed else ""
            named = not all(map(is_flag, words))  # the source, which stands alone
            if not is_flag(word):
                words.append(word)
            elif action is None:
                right = self.in_place_of(flag)
                takes = any(VALUE in one for one in right)
                if behind and (named or takes or behind.lower() in SWITCHED):
                    value = left.pop()
                is_off = bool(right) and not takes and value.lower() in OFF
                unknown[flag] = self.question(flag, value, is_off=is_off)
                left += [] if is_off or (takes and not value) else self.read_instead(flag, right, value)
            elif action.nargs == 0:
                words.append(flag)
                if equals or behind.lower() in SWITCHED:
                    faults.of(refuse_switched, flag, value if equals else left.pop())
            elif equals or is_followed:  # by an empty text, too
                value = value if equals else left.pop()
                while left and not is_flag(left[-1]) and (value[-1:] == "," or (flag == "--on" and named)):
                    value = f"{value} {left.pop()}"  # a machine's words, or a list's, without quotes
                words.append(f"{flag}={value}")
            else:
                faults.of(refuse_no_value, flag, action.metavar)
        if unknown:
            faults.of(self.refuse_flags, unknown)
        return words

    def read_instead(self, flag: str, right: list[str], value: str) -> list[str]:
        """Return the words in place of an option, the last first; none if several of ours may be meant."""
        found = meant(flag, self.flags, self.prog)
        if len(found) > 1 and found[0] not in NEEDED:
            return []
        return [one.replace(VALUE, value) for one in reversed(right)]

    def question(self, flag: str, value: str, *, is_off: bool) -> str:
        """Return a question that offers what was meant by an option and its value; empty if nothing is."""
        if is_off:  # what a switch means is not meant then
            return switched_off(flag, self.flags, self.prog)
        return nearest(flag, self.flags, self.prog).replace("=N?", f"={value or 'N'}?")

    def in_place_of(self, flag: str) -> list[str]:
        """Return the words that are read in place of an option which is not known: what was likely meant.

        VALUE among them stands for the option's own value.
        """
        first, *rest = (meant(flag, self.flags, self.prog) or [""])[0].split() or [""]
        if first == "SOURCE":
            return [VALUE]
        action = self._option_string_actions.get(first)
        if action is None:  # advice, and no option
            return []
        if rest or action.nargs == 0:
            return [first, *(one.replace("=N", f"={VALUE}") for one in rest)]
        return [first, VALUE]

    def refuse_flags(self, unknown: Mapping[str, str]) -> NoReturn:
        """Refuse options that are not known, each with its remedy.

        Raises:
            UnknownNameError: always.

        """
        listed = f"see `{self.prog} --help`"
        if len(unknown) == 1:
            ((flag, remedy),) = unknown.items()
            raise UnknownNameError("command line", f"an option of `{self.prog}`", flag, remedy or listed)
        advice = ((flag, remedy or listed) for flag, remedy in unknown.items())
        remedies = " ".join(f"{flag}: {text}{'' if text[-1] == '?' else '.'}" for flag, text in advice)
        given = Described(f"{len(unknown)} that it does not have")
        raise UnknownNameError("command line", f"options of `{self.prog}`", given, remedies)

    def refuse_word(self, word: str) -> NoReturn:
        """Refuse a word that belongs to no option.

        Raises:
            BadInputError: always.

        """
        sizes = [one for one in NEEDED if one in self._option_string_actions]
        remedy = "put what belongs together into quotes"
        number = whole_number(word, scaled=True)
        if sizes and isinstance(number, int) and number >= SHORTEST:
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

    >>> is_flag("--context"), is_flag("-ngl"), is_flag("\u2014context"), is_flag("-1"), is_flag("-")
    (True, True, True, False, False)
    """
    return word.startswith(DASHES) and word[1:2] not in "0123456789."


def refuse_switched(flag: str, value: str) -> NoReturn:
    """Refuse a value behind a switch.

    Raises:
        BadInputError: always.

    """
    off = value.lower() in OFF
    remedy = f"remove {flag}" if off else f"{flag} alone switches it"
    raise BadInputError(flag, "no value", value, remedy)


def refuse_no_value(flag: str, metavar: object) -> NoReturn:
    """Refuse an option without its value; of one that is a switch elsewhere, with what that means here.

    Raises:
        BadInputError: always.

    """
    likely = meant("true", (), flag)
    remedy = f"did you mean {flag} {likely[0]}?" if likely else f"write {flag} {metavar}"
    raise BadInputError(flag, "a value", NOTHING, remedy)
