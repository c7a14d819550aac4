"""Options are declared once: the fields of a frozen dataclass, from which come checks, flags, help and docs.

A field's type says what it may be, its metadata what it means. A module that declares options does not
postpone its annotations, so that both can be read when the program runs::

    @dataclass(frozen=True, kw_only=True, eq=False, repr=False)
    class Options(OptionSet):
        seq: int = field(metadata=about("tokens of a sequence", at_least=1))
        shard: Literal[0, 1, "fsdp"] = field(default=0, metadata=about("what data-parallel ranks share"))
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import MISSING, fields
from functools import cache
from types import NoneType, UnionType
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Literal,
    ParamSpec,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
)

from memcalc.errors import LARGEST, BadInputError, UnknownNameError, nearest

if TYPE_CHECKING:
    from collections.abc import Callable
    from dataclasses import Field

__all__ = ["Option", "OptionSet", "about", "check", "options_of", "takes_options", "value_of"]

Given = ParamSpec("Given")
Subject = TypeVar("Subject")
Options = TypeVar("Options")
Answer = TypeVar("Answer")


class Option:
    """One option as its dataclass declares it: what Python, command line, JSON and documentation share."""

    def __init__(self, declared: Field[Any]) -> None:
        kind: Any = declared.type
        kinds = get_args(kind) if get_origin(kind) in (UnionType, Union) else (kind,)
        (kind, *others) = (one for one in kinds if one is not NoneType)
        if others and get_origin(kind) is not Mapping:  # what may be a mapping may be its items, too
            raise TypeError(f"{declared.name}: an option is of one kind, or None")
        about = declared.metadata
        self.name = declared.name
        self.kind: type | tuple[object, ...] = get_args(kind) if get_origin(kind) is Literal else kind
        self.required = declared.default is MISSING
        self.default = None if self.required else declared.default
        self.optional = NoneType in kinds
        self.meaning: str = about["meaning"]
        self.unit: str = about["unit"]
        self.otherwise: str = about["otherwise"]
        self.at_least: int | None = about["at_least"]
        self.group: str = about["group"]
        self.shown_as: str = about["shown_as"]
        self.swept: bool = about["swept"]

    @property
    def metavar(self) -> str:
        """What stands for its value in help."""
        return self.shown_as or ("N" if self.kind is int else "X" if self.kind is float else "NAME")

    @property
    def flag(self) -> str:
        """The option on the command line: of several values by name each is an option of its own."""
        name = self.name.removesuffix("s") if get_origin(self.kind) is Mapping else self.name
        return f"--{name.replace('_', '-')}"

    @property
    def typed(self) -> str:
        """How it is typed: what is on by default is switched off."""
        on = self.kind is bool and not self.optional and self.default
        return f"--no-{self.flag.removeprefix('--')}" if on else self.flag

    @property
    def shown_default(self) -> str:
        """The default in words."""
        return self.otherwise or ("required" if self.required else str(self.default))


class OptionSet:
    """What declarations of options have in common: they show what is asked for."""

    def __repr__(self) -> str:
        """Leave out what is left at its default."""
        declared: Any = type(self)
        values = ((one.name, getattr(self, one.name), one.default) for one in fields(declared))
        asked = (f"{name}={value!r}" for name, value, default in values if value is not default)
        return f"{declared.__name__}({', '.join(asked)})"


def about(
    meaning: str,
    *,
    unit: str = "",
    otherwise: str = "",
    at_least: int | None = None,
    group: str = "",
    shown_as: str = "",
    swept: bool = False,
) -> dict[str, object]:
    """Return the metadata of an option's field.

    Parameters
    ----------
    meaning : str
        What it is, in a line: help and documentation show it.
    unit : str, optional
        What a number counts.
    otherwise : str, optional
        The default in words, where its value does not say it: "as --tp".
    at_least : int, optional
        The least number that it may be.
    group : str, optional
        The heading below which documentation shows it.
    shown_as : str, optional
        What stands for its value in help, ``N`` or ``NAME`` if it is not said: "MACHINE".
    swept : bool, default False
        Whether it may be an array, with a value for each plan of a sweep.

    """
    return {
        "meaning": meaning,
        "unit": unit,
        "otherwise": otherwise,
        "at_least": at_least,
        "group": group,
        "shown_as": shown_as,
        "swept": swept,
    }


@cache
def options_of(declared: Any) -> tuple[Option, ...]:
    """Return the options that a dataclass declares, in their order."""
    return tuple(map(Option, fields(declared)))


def check(asked: Any) -> None:
    """Refuse values that are of another kind than their option.

    Parameters
    ----------
    asked : dataclass
        The options as they were given. Arrays pass where numbers are expected: a sweep checks them itself.

    Raises
    ------
    BadInputError
        A value is of another kind, or below the least that it may be.
    UnknownNameError
        A word is none of the choices.

    """
    for option in options_of(asked.__class__):
        value = getattr(asked, option.name)
        if value is None and option.optional:
            continue
        if getattr(value, "ndim", 0):  # an array; the sweep itself checks what is in it
            if not option.swept:
                raise BadInputError(option.flag, "a single value", value, "no sweep runs over this option")
            continue
        check_value(option, value)


def check_value(option: Option, value: object) -> None:
    """Refuse one value.

    Raises:
        BadInputError: it is of another kind, or below the least that it may be.
        UnknownNameError: it is none of the choices.

    """
    kind = option.kind
    if isinstance(kind, tuple):
        if not any(value == one and type(value) is type(one) for one in kind):
            known = ", ".join(map(str, kind))
            remedy = nearest(value, map(str, kind)) or f"leave it out for {option.shown_default}"
            raise UnknownNameError(option.flag, f"one of {known}", value, remedy)
        return
    expected, allowed = expectation(option)
    if not allowed(value):
        raise BadInputError(option.flag, expected, value, option.meaning)
    for one in value if isinstance(value, tuple) else (value,):
        if type(one) is int and abs(one) > LARGEST:
            raise BadInputError(option.flag, f"at most {LARGEST} (2^53)", one, option.meaning)


def expectation(option: Option) -> tuple[str, Callable[[Any], bool]]:
    """Return what an option that is no choice may be: in words, and as a test."""
    kind, least = option.kind, option.at_least
    if get_origin(kind) is tuple:
        inner = get_args(kind)[0]
        expected = f"a tuple of {'words' if inner is str else 'whole numbers'}"
        return expected, lambda value: isinstance(value, tuple) and all(type(one) is inner for one in value)
    if get_origin(kind) is Mapping:
        return "a mapping, or a tuple of names with values", is_mapping
    if kind is int:
        expected = "a whole number" if least is None else f"a whole number >= {least}"
        return expected, lambda value: type(value) is int and (least is None or value >= least)
    if kind is float:
        return "a number", lambda value: type(value) in (int, float)
    if kind is bool:
        return "True or False", lambda value: type(value) is bool
    return "a word", lambda value: isinstance(value, str)


def is_mapping(value: object) -> bool:
    """Say whether a value is a mapping from words, or a tuple of its items.

    >>> is_mapping({"block_size": 16}), is_mapping((("block_size", 16),)), is_mapping("block_size=16")
    (True, True, False)
    """
    pairs = tuple(value.items()) if isinstance(value, Mapping) else value
    return isinstance(pairs, tuple) and all(
        isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], str) for pair in pairs
    )


def value_of(text: str) -> int | str:
    """Return the value of an option that a text means: true, false, a whole number, or the text as it is.

    >>> [value_of(text) for text in ("true", "16", "-1", "many")]
    [True, 16, -1, 'many']
    """
    digits = text.removeprefix("-")
    if text.isascii() and digits.isdigit() and len(digits) < 1000:
        return int(text)
    return {"true": True, "false": False}.get(text, text)


def takes_options(
    declared: Callable[Given, Options],
) -> Callable[[Callable[[Subject, Options], Answer]], Callable[Concatenate[Subject, Given], Answer]]:
    """Let a function of a subject and its options take the options as keyword arguments.

    Signature and docstring get them from the dataclass: in the docstring, in place of the line ``{options}``.

    Parameters
    ----------
    declared : type
        The dataclass that declares the options.

    """

    def decorate(
        function: Callable[[Subject, Options], Answer],
    ) -> Callable[Concatenate[Subject, Given], Answer]:
        from functools import wraps
        from inspect import Parameter, signature

        kinds = {option.name: option.kind for option in options_of(declared)}
        names = list(kinds)

        @wraps(function)
        def answer(subject: Subject, /, *given: Given.args, **named: Given.kwargs) -> Answer:
            for name in named:
                if name not in names:
                    guess = nearest(name, names)
                    text = f"{function.__name__}() has no option {name!r}; {guess or 'see its help'}"
                    raise TypeError(text)
            for option in options_of(declared):
                if option.required and option.name not in named:
                    raise TypeError(f"{function.__name__}() needs {option.name}: {option.meaning}")
            plain: Any = {name: single(kinds[name], value) for name, value in named.items()}
            return function(subject, declared(*given, **plain))

        first, *_ = signature(function).parameters.values()
        own = signature(function).replace(
            parameters=[
                first.replace(kind=Parameter.POSITIONAL_ONLY),
                *signature(declared).parameters.values(),
            ]
        )
        answer.__signature__ = own  # type: ignore[attr-defined]
        if function.__doc__ is not None:
            answer.__doc__ = function.__doc__.replace("{options}", documented(declared).strip())
        return cast("Callable[Concatenate[Subject, Given], Answer]", answer)

    return decorate


def single(kind: object, value: object) -> object:
    """Return a value as its option declares it: NumPy's scalars as Python's, a list or a word as a tuple.

    >>> single(tuple[str, ...], "lm_head"), single(tuple[int, ...], [16, 15]), single(int, 4)
    (('lm_head',), (16, 15), 4)
    """
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        value = value.item()
    if get_origin(kind) is tuple and isinstance(value, list):
        return tuple(value)
    return (value,) if get_origin(kind) is tuple and isinstance(value, str) else value


def documented(declared: Any, indent: str = "    ") -> str:
    """Return the options as the parameters of a docstring."""
    rows: list[str] = []
    for option in options_of(declared):
        kind, unit = kind_in_words(option), f", in {option.unit}" if option.unit else ""
        default = "" if option.required else f", default {as_keywords(option.shown_default)}"
        rows += [f"{indent}{option.name} : {kind}{default}", f"{indent}    {option.meaning}{unit}."]
    return "\n".join(rows)


def as_keywords(text: str) -> str:
    """Return a text with flags written as Python's keywords; commands in backticks stay as they are.

    >>> as_keywords("as --tp, see `memcalc list engines --json`")
    'as tp, see `memcalc list engines --json`'
    """
    return re.sub(r"`[^`]*`|--", lambda found: found[0].removeprefix("--"), text)


def kind_in_words(option: Option) -> str:
    """Return the type of an option as documentation writes it."""
    kind = option.kind
    if isinstance(kind, tuple):
        return "{" + ", ".join(map(repr, kind)) + "}"
    if get_origin(kind) is tuple:
        return f"tuple of {get_args(kind)[0].__name__}"
    if get_origin(kind) is Mapping:
        return f"mapping of str to {get_args(kind)[1].__name__}"
    return kind.__name__
