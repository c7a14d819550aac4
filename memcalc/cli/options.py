"""argparse from the options that a dataclass declares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin

from memcalc.errors import NOTHING, BadInputError
from memcalc.options import expectation, options_of, token_count, value_of, whole_number

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from typing import NoReturn

    from memcalc.options import Option

__all__ = ["add_options", "argument", "explained", "options_from"]

Options = TypeVar("Options")


def add_options(parser: argparse.ArgumentParser, declared: Callable[..., object]) -> None:
    """Add every option that a dataclass declares; one that is left out keeps the dataclass's default."""
    groups: dict[str, Any] = {"": parser}
    for option in options_of(declared):
        if option.group not in groups:
            groups[option.group] = parser.add_argument_group(option.group)
        flag, how = argument(option)
        text = explained(option) + (f", in {option.unit}" if option.unit else "")
        default = "" if "const" in how else f" (default: {option.shown_default})"
        default = " (required)" if option.required else default
        groups[option.group].add_argument(
            flag, dest=option.name, default=None, help=(text + default).replace("%", "%%"), **how
        )


def explained(option: Option) -> str:
    """Return what an option's flag does; that of an option which is on by default switches it off."""
    return f"switch off: {option.meaning}" if option.default is True else option.meaning


def options_from(given: argparse.Namespace, declared: Callable[..., Options]) -> Options:
    """Return the options that were named; those that were not keep their defaults."""
    found: dict[str, Any] = {}
    for option in options_of(declared):
        value = getattr(given, option.name)
        if isinstance(value, list):
            found[option.name] = given.faults.of(pairs, option.flag, value)
        elif value is not None:
            found[option.name] = value
        elif option.required and all(one.field != option.flag for one in given.faults.found):
            found[option.name] = given.faults.of(refuse_missing, option)
        elif option.required:
            found[option.name] = given.faults.MISSING
    return declared(**found)


def refuse_missing(option: Option) -> NoReturn:
    """Refuse a command without an option that it needs.

    Raises:
        BadInputError: always.

    """
    raise BadInputError(
        option.flag, expectation(option)[0], NOTHING, f"add it: {option.meaning.partition(';')[0]}"
    )


def argument(option: Option) -> tuple[str, dict[str, Any]]:
    """Return an option's flag, and argparse's keyword arguments for it."""
    kind = option.kind
    if kind is bool and not option.optional:
        return option.typed, {"action": "store_const", "const": not option.default}
    if get_origin(kind) is Mapping:
        return option.typed, {"action": "append", "metavar": "KEY=VALUE"}
    if isinstance(kind, tuple):
        return option.typed, {"type": choice_of(option), "metavar": "|".join(map(str, kind))}
    if get_origin(kind) is tuple:
        number = get_args(kind)[0] is int
        return option.typed, {
            "type": whole_numbers if number else words,
            "metavar": "N,N" if number else "A,B",
        }
    parsers: dict[object, Callable[[str], object]] = {bool: yes_or_no, int: whole_number, float: number_of}
    if option.counts_tokens:
        parsers[int] = token_count
    metavar = "yes|no" if kind is bool else option.metavar
    return option.typed, {"type": parsers.get(kind, str), "metavar": metavar}


def pairs(flag: str, items: list[str]) -> tuple[tuple[str, object], ...]:
    """Return values by name from texts KEY=VALUE.

    Raises:
        BadInputError: a text is written in another way, or a name is given two values.

    """
    found: dict[str, str] = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not equals:
            raise BadInputError(flag, "KEY=VALUE", item, "write for example block_size=16")
        if found.get(key, value) != value:
            raise BadInputError(f"{flag} {key}", "it once", f"{found[key]} and {value}", "remove one")
        found[key] = value
    return tuple((key, value_of(text)) for key, text in found.items())


def number_of(text: str) -> float | str:
    """Parse a number, in the same way."""
    try:
        return float(text)
    except ValueError:
        return text


def yes_or_no(text: str) -> bool | str:
    """Parse yes or no, in the same way."""
    return {"yes": True, "true": True, "no": False, "false": False}.get(text.lower(), text)


def words(text: str) -> tuple[str, ...]:
    """Parse words separated by commas, and by spaces behind them."""
    return tuple(map(str.strip, text.split(",")))


def whole_numbers(text: str) -> tuple[int | str, ...]:
    """Parse whole numbers separated by commas, and by spaces behind them."""
    return tuple(map(whole_number, words(text)))


def choice_of(option: Option) -> Callable[[str], object]:
    """Return how a choice is parsed: some of the choices are numbers."""
    numbers = {str(one): one for one in option.kind if isinstance(one, int)}  # type: ignore[union-attr]
    return lambda text: numbers.get(text, option.choice(text))
