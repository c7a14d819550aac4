"""Options are declared once: the fields of a record, from which come checks, flags, help and docs.

A field's type says what it may be, its metadata what it means. A module that declares options does not
postpone its annotations, so that both can be read when the program runs::

    @options
    class Options(OptionSet):
        seq: int = field(metadata=about("tokens of a sequence", at_least=1))
        shard: Literal[0, 1, "fsdp"] = field(default=0, metadata=about("what data-parallel ranks share"))
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import MISSING, fields
from functools import cache, partial
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

from memcalc.data.record import Record
from memcalc.errors import (
    LARGEST,
    BadInputError,
    Faults,
    Sound,
    UnknownNameError,
    choices,
    nearest,
    switched_off,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from dataclasses import Field

__all__ = [
    "Option",
    "OptionSet",
    "about",
    "check",
    "checked",
    "options_of",
    "takes_options",
    "token_count",
    "value_of",
    "whole_number",
]

SCALES = {"k": 2**10, "K": 2**10, "m": 2**20, "M": 2**20}
LONGEST_NUMBER = 1000  # digits: Python writes no more than 4,300

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
    def counts_tokens(self) -> bool:
        """Whether it is a number of tokens, which may be written as 32k."""
        return self.kind is int and self.unit == "tokens"

    def choice(self, text: str) -> object:
        """Return the choice that a text means, in capitals or not; the text where it is none."""
        known = self.kind if isinstance(self.kind, tuple) else ()
        same = [one for one in known if one == text or (isinstance(one, str) and one.lower() == text.lower())]
        return same[0] if same else text

    @property
    def shown_default(self) -> str:
        """The default in words."""
        return self.otherwise or ("required" if self.required else str(self.default))


class OptionSet(Record):
    """What declarations of options have in common: they show what is asked for; none equals another."""

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __repr__(self) -> str:
        """Leave out what is left at its default."""
        return (
            f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.asked.items())})"
        )

    def __reduce__(self) -> tuple[object, ...]:
        """Store what is asked for: what was left at its default is known by being the default itself."""
        return partial(type(self), **self.asked), ()

    @property
    def asked(self) -> dict[str, object]:
        """What was given, by name: all that is not left at its default."""
        declared: Any = type(self)
        values = ((one.name, getattr(self, one.name), one.default) for one in fields(declared))
        return {name: value for name, value, default in values if value is not default}


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
    faults = Faults()
    checked(asked, faults)
    faults.refuse()


def checked(asked: Options, faults: Faults) -> Options:
    """Return options that pass `check`; where some do not, whoever asks for one of those is passed over.

    Parameters
    ----------
    asked : dataclass
        The options as they were given.
    faults : Faults
        Takes what is wrong with them.

    """
    declared: Any = type(asked)
    known = options_of(declared)
    faulty = {
        option.name
        for option in known
        if faults.of(check_value, option, getattr(asked, option.name)) is faults.MISSING
    }
    return cast("Options", Sound(asked, frozenset(faulty))) if faulty else asked


def check_value(option: Option, value: object) -> None:
    """Refuse one value.

    Raises:
        BadInputError: it is of another kind, or below the least that it may be.
        UnknownNameError: it is none of the choices.

    """
    kind = option.kind
    if value is None and option.optional:
        return
    if getattr(value, "ndim", 0):  # an array; the sweep itself checks what is in it
        if not option.swept:
            raise BadInputError(option.flag, "a single value", value, "no sweep runs over this option")
        return
    if isinstance(kind, tuple):
        if not any(value == one and type(value) is type(one) for one in kind):
            remedy = nearest(value, map(str, kind), option.flag) or "name one of these"
            raise UnknownNameError(option.flag, choices(kind), value, remedy)
        return
    expected, allowed = expectation(option)
    if not allowed(value):
        raise BadInputError(option.flag, expected, value, option.meaning)
    for one in value if isinstance(value, tuple) else (value,):
        if get_origin(kind) is tuple and type(one) is not get_args(kind)[0]:
            raise BadInputError(option.flag, expected, one, option.meaning)
        if type(one) is int and abs(one) > LARGEST:
            raise BadInputError(option.flag, f"at most {LARGEST} (2^53)", one, option.meaning)


def expectation(option: Option) -> tuple[str, Callable[[Any], bool]]:
    """Return what an option that is no choice may be: in words, and as a test."""
    kind, least = option.kind, option.at_least
    if get_origin(kind) is tuple:
        expected = "words, as in a,b" if get_args(kind)[0] is str else "whole numbers, as in 16,15"
        return expected, lambda value: isinstance(value, tuple)
    if get_origin(kind) is Mapping:
        return "a mapping, or a tuple of names with values", is_mapping
    if kind is int:
        expected = "a whole number" if least is None else f"a whole number >= {least}"
        expected += ", as in 8192 or 8k" if option.counts_tokens else ""
        return expected, lambda value: type(value) is int and (least is None or value >= least)
    if kind is float:
        return "a number, as in 0.9", lambda value: type(value) in (int, float)
    if kind is bool:
        return "yes or no (in Python True or False)", lambda value: type(value) is bool
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


def value_of(text: str) -> float | str:
    """Return the value of an engine's option that a text means: true, false, a number, or the text.

    >>> [value_of(text) for text in ("true", "16", "8k", "-1", "0.8", "many")]
    [True, 16, 8192, -1, 0.8, 'many']
    """
    switches: dict[str, int] = {"true": True, "false": False}
    before, point, after = text.partition(".")
    if point and text.isascii() and before.isdigit() and after.isdigit() and len(text) < LONGEST_NUMBER:
        return float(text)
    return switches.get(text.lower(), whole_number(text, scaled=True))


def whole_number(text: str, *, scaled: bool = False) -> int | str:
    """Return the whole number that a text means; another text stays: it is refused by its option.

    Parameters
    ----------
    text : str
        Digits, with an underscore between groups of them or not.
    scaled : bool, optional
        Whether k (x 1,024) or m (x 1,048,576) may stand behind them: for what counts tokens.

    Examples
    --------
    >>> [whole_number(text, scaled=True) for text in ("8192", "8_192", "32k", "1M", "-1", "1e3", "8k5", "k")]
    [8192, 8192, 32768, 1048576, -1, '1e3', '8k5', 'k']

    """
    scale = SCALES.get(text[-1:]) if scaled else None
    digits = text if scale is None else text[:-1]
    plain = digits.removeprefix("-").replace("_", "")
    if not (plain.isascii() and plain.isdigit() and len(plain) < LONGEST_NUMBER):
        return text
    try:
        return int(digits) * (scale or 1)
    except ValueError:  # an underscore that stands between no digits
        return text


def token_count(text: str) -> int | str:
    """Return the number of tokens that a text means, in groups of three as answers print it, or scaled.

    >>> [token_count(text) for text in ("32,768", "1,048,576", "32k", "3,2768", "32,768k", "0,512")]
    [32768, 1048576, 32768, '3,2768', '32,768k', '0,512']
    """
    grouped = re.fullmatch("[1-9][0-9]{0,2}(?:,[0-9]{3})+", text)
    return whole_number(text.replace(",", "") if grouped else text, scaled=True)


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

        names = {option.name: option for option in options_of(declared)}

        first, *_ = signature(function).parameters.values()

        @wraps(function)
        def answer(*subjects: Any, **named: Any) -> Answer:
            subjects += (named.pop(first.name),) if first.name in named else ()
            if len(subjects) != 1:
                raise TypeError(f"{function.__name__}() takes one {first.name}, and options by name")
            refuse_names(function.__name__, names, named)
            plain: Any = {name: plain_value(names[name], value) for name, value in named.items()}
            made: Any = declared
            return function(subjects[0], made(**plain))

        options = signature(declared).parameters.values()
        own = signature(function).replace(
            parameters=[first.replace(kind=Parameter.POSITIONAL_OR_KEYWORD), *options]
        )
        answer.__signature__ = own  # type: ignore[attr-defined]
        if function.__doc__ is not None:
            answer.__doc__ = function.__doc__.replace("{options}", documented(declared).strip())
        return cast("Callable[Concatenate[Subject, Given], Answer]", answer)

    return decorate


def refuse_names(function: str, known: Mapping[str, Option], named: Mapping[str, object]) -> None:
    """Refuse keyword arguments that are no options, and calls without those that are required.

    Raises:
        TypeError: as Python says it of a function that declares them one by one.

    """
    unknown = [name for name in named if name not in known]
    if unknown:
        questions = ((name, switched_off if named[name] is False else nearest) for name in unknown)
        guesses = (question(name, known, f"memcalc {function}") for name, question in questions)
        advice = zip(unknown, (as_keywords(guess) or "see its help" for guess in guesses), strict=True)
        raise TypeError("; ".join(f"{function}() has no option {name!r}; {guess}" for name, guess in advice))
    for option in known.values():
        if option.required and option.name not in named:
            raise TypeError(f"{function}() needs {option.name}: {option.meaning}")


def plain_value(option: Option, value: object) -> object:
    """Return a value as its option declares it.

    NumPy's scalars become Python's, a list or a word a tuple, ``"32k"`` a number where tokens are counted; a
    choice is spelled as it is declared.
    """
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        value = value.item()
    kind = option.kind
    if isinstance(value, str):
        if option.counts_tokens:
            return token_count(value)
        return (value,) if get_origin(kind) is tuple else option.choice(value)
    if get_origin(kind) is Mapping and isinstance(value, Mapping):
        return {name: scaled_number(one) for name, one in value.items()}
    return tuple(value) if get_origin(kind) is tuple and isinstance(value, list) else value


def scaled_number(value: object) -> object:
    """Return what an engine's option is given in Python, ``"8k"`` as a number; other texts stay.

    >>> scaled_number("8k"), scaled_number("32"), scaled_number(True)
    (8192, '32', True)
    """
    if isinstance(value, str) and value[-1:] in SCALES:
        return whole_number(value, scaled=True)
    return value


def documented(declared: Any, indent: str = "    ") -> str:
    """Return the options as the parameters of a docstring."""
    rows: list[str] = []
    for option in options_of(declared):
        kind, unit = kind_in_words(option), f", in {option.unit}" if option.unit else ""
        kind += " or array" if option.swept else ""
        default = "" if option.required else f", default {as_keywords(option.shown_default)}"
        rows += [f"{indent}{option.name} : {kind}{default}", f"{indent}    {option.meaning}{unit}."]
    return "\n".join(rows)


def as_keywords(text: str) -> str:
    """Return a text with flags written as Python's keywords; commands in backticks stay as they are.

    >>> as_keywords("as --tp, see `memcalc list engines --json`")
    'as tp, see `memcalc list engines --json`'
    >>> as_keywords("did you mean --micro-batch or --recompute full?")
    "did you mean micro_batch or recompute='full'?"
    >>> as_keywords("did you mean --engine-option enforce_eager=true?")
    "did you mean engine_options={'enforce_eager': True}?"
    """

    def keyword(found: re.Match[str]) -> str:
        name, value = found[1], found[2]
        if name is None:
            return found[0]
        if name == "engine-option" and value:
            key, _, said = value.partition("=")
            return f"engine_options={{{key!r}: {'...' if said in ('', 'N') else repr(value_of(said))}}}"
        return name.replace("-", "_") + (f"={value!r}" if value else "")

    return re.sub(r"`[^`]*`|--([\w-]+)(?: (?!or\b|and\b)([\w.=]+))?", keyword, text)


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
