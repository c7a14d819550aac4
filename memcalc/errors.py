"""The package's own errors: each names the field, what was expected, what was given, and what to do.

An error is one line. What comes from a file or a path may hold line breaks and commands for the terminal:
they are written as escapes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = [
    "LARGEST",
    "NOTHING",
    "BadInputError",
    "Described",
    "Faults",
    "MemcalcError",
    "ProofError",
    "RefusalError",
    "Sound",
    "UnknownNameError",
    "at_least_one",
    "check_whole_number",
    "choices",
    "escaped",
    "known_name",
    "meant",
    "nearest",
    "not_read_rows",
    "shown",
    "switched_off",
    "unknown_name",
]

LARGEST = 2**53  # no model and no machine comes near; beyond it floats and JavaScript lose whole numbers
LONGEST_TEXT = 200  # characters of a text that was given: a path shows its file
LONGEST_NAME, LONGEST_PROSE, LONGEST_CHOICES, LONGEST_LINE = 200, 700, 300, 980  # characters
LONGEST_OF_A_FILE = 300  # of a line about a file; one about an option shows all choices that there are
LEAST = (60, 80, 40, 70)  # of it, what is left of the field, what was expected, what was given, what to do


class Described:
    """What was given, in words and not as it was typed."""

    def __init__(self, words: str) -> None:
        self.words = words

    def __repr__(self) -> str:
        return self.words


NOTHING = Described("nothing")


class MemcalcError(Exception):
    """Anything that memcalc refuses to answer."""


class RefusalError(MemcalcError):
    """A refusal with its four facts, as one line.

    Parameters
    ----------
    field : str
        What cannot be answered: an option, a field of a file, a file.
    expected : str
        What would have been understood.
    given : object
        What was given: shown, and shortened where it is long.
    remedy : str
        What to do.

    """

    def __init__(self, field: str, expected: str, given: object, remedy: str) -> None:
        self.field, self.expected, self.given, self.remedy = field, expected, given, remedy
        self.others: tuple[RefusalError, ...] = ()  # what else is wrong with the same plan
        super().__init__(field, expected, given, remedy)

    def __str__(self) -> str:
        every = (self, *self.others)
        line, limit = "; ".join(one.line for one in every), max(one.limit for one in every)
        alike = limit == LONGEST_OF_A_FILE and len({(one.expected, one.step) for one in every}) == 1
        if len(every) == 1 or (len(line) <= limit and not alike):
            return line
        if limit == LONGEST_OF_A_FILE and len({one.expected for one in every}) == 1:
            return self.together(limit)
        room = limit // len(every) - 2
        return shortened("; ".join(one.brief(max(room, LEAST[0])) for one in every), limit)

    @property
    def limit(self) -> int:
        """How long the line may be."""
        return LONGEST_LINE if self.field.startswith("--") else LONGEST_OF_A_FILE

    @property
    def line(self) -> str:
        """The line that says this fault alone."""
        whole = self.cut_at(LONGEST_PROSE)
        if len(whole) <= self.limit:
            return whole
        return self.fitted() if self.limit == LONGEST_OF_A_FILE else self.cut_at(LONGEST_NAME)

    def fitted(self) -> str:
        """Return the line of a file: what was given is cut first, then what was expected, then the rest."""
        said = [
            shortened(self.field, LONGEST_NAME),
            shortened(self.expected, LONGEST_PROSE),
            shown(self.given),
            shortened(self.remedy, LONGEST_PROSE),
        ]
        for place in (2, 1, 3, 0):
            excess = len(joined(*said)) - LONGEST_OF_A_FILE
            if excess > 0:
                said[place] = shortened(said[place], max(LEAST[place], len(said[place]) - excess))
        return joined(*said)

    @property
    def step(self) -> str:
        """What to do, without the field's name."""
        return self.remedy.replace(self.field, "each")

    def together(self, limit: int) -> str:
        """Return the line that says several faults of one kind, as many by name as it has room for."""
        every = (self, *self.others)
        named = [shortened(f"{one.field} {shown(one.given, 20)}", LEAST[0]) for one in every]
        remedy = shortened(min((one.step for one in every), key=len), LEAST[0] + LEAST[1])
        while True:
            more = len(every) - len(named)
            rest = f" and {more} more" if more else ""
            line = f"{', '.join(named)}{rest}: expected {shortened(self.expected, 100)}; {remedy}"
            if len(line) <= limit or len(named) == 1:
                return line
            named.pop()

    def brief(self, limit: int) -> str:
        """Return what matters most of the line: what was likely meant, or else what was expected."""
        step = self.remedy if "did you mean" in self.remedy else f"expected {self.expected}"
        return shortened(f"{self.field}: given {shown(self.given, 20)}; {step}", limit)

    def cut_at(self, limit: int) -> str:
        """Return the line with prose that is cut at a limit, and of what was given as much as has room."""
        field, given = shortened(self.field, LONGEST_NAME), shown(self.given)
        expected, remedy = shortened(self.expected, limit), shortened(self.remedy, limit)
        room = len(given) - max(0, len(joined(field, expected, given, remedy)) - LONGEST_OF_A_FILE)
        return joined(field, expected, shortened(given, max(LEAST[2], room)), remedy)


class BadInputError(RefusalError, ValueError):
    """A value that cannot be right, or that memcalc does not understand.

    >>> str(BadInputError("--context", "a whole number >= 1", 0, "say how many tokens one sequence holds"))
    '--context: expected a whole number >= 1, given 0; say how many tokens one sequence holds'
    """


class UnknownNameError(RefusalError, LookupError):
    """A name that is in no record: a machine, a format, an engine, a model."""


class ProofError(MemcalcError, ValueError):
    """Two expressions that were said to be equal are not."""


class Unsettled(Exception):  # noqa: N818 (no error of its own: the fault behind it is said)
    """A step was not taken: what it asks for is faulty."""


class Missing:
    """Stands for what a fault left unsettled: whoever asks it for anything is passed over."""

    def __getattr__(self, name: str) -> Any:
        raise Unsettled

    def __bool__(self) -> bool:
        raise Unsettled

    __iter__ = __len__ = __index__ = __bool__

    def __call__(self, *_: object) -> Any:
        raise Unsettled

    def __eq__(self, other: object) -> bool:
        raise Unsettled

    __lt__ = __gt__ = __add__ = __sub__ = __mul__ = __rmul__ = __mod__ = __floordiv__ = __eq__
    __hash__ = object.__hash__


class Sound:
    """A record some of whose fields are faulty: whoever asks for one of those is passed over."""

    def __init__(self, record: object, faulty: frozenset[str]) -> None:
        self.record, self.faulty = record, faulty

    def __getattr__(self, name: str) -> Any:
        if name in self.faulty:
            raise Unsettled
        derived: Any = getattr(type(self.record), name, None)  # it asks for fields in its turn
        if isinstance(derived, property) and derived.fget is not None:
            return derived.fget(self)
        return getattr(self.record, name)

    @staticmethod
    def part(kind: Callable[..., Any], names: Iterable[str], options: object) -> Any:
        """Return a record of some options, sound as far as they are; the faulty ones need defaults in it."""
        faulty = options.faulty.intersection(names) if isinstance(options, Sound) else frozenset()
        record = kind(**{name: getattr(options, name) for name in names if name not in faulty})
        return Sound(record, faulty) if faulty else record


class Faults:
    """What is wrong with a plan, collected: all of it is said at once.

    >>> faults = Faults()
    >>> found = [faults.of(at_least_one, name, count) for name, count in (("tp", 0), ("pp", 1), ("dp", -1))]
    >>> faults.refuse()
    Traceback (most recent call last):
    memcalc.errors.BadInputError: --tp: expected a whole number >= 1, given 0; give at least one; \
--dp: expected a whole number >= 1, given -1; give at least one
    """

    MISSING: Any = Missing()

    def __init__(self, found: Iterable[RefusalError] = ()) -> None:
        self.found = list(found)

    def of(self, step: Callable[..., Any], *given: object) -> Any:
        """Take a step and return what it does; of one that refuses, or misses something, MISSING."""
        try:
            return step(*given)
        except RefusalError as error:
            self.found += [error, *error.others]
        except Unsettled:
            pass
        except Exception:
            if not self.found:  # else the step tripped over what is missing
                raise
        return self.MISSING

    def refuse(self) -> None:
        """Raise the first fault that was found, with the others; the same one is said once."""
        if self.found:
            by_line = {one.line: one for one in self.found}
            first, *others = by_line.values()
            first.others = tuple(others)
            raise first


def joined(field: str, expected: str, given: str, remedy: str) -> str:
    """Return the four facts as a line."""
    return f"{field}: expected {expected}, given {given}; {remedy}"


def at_least_one(name: str, value: object) -> None:
    """Refuse an option that is no whole number >= 1."""
    check_whole_number(f"--{name}", value, "give at least one")


def check_whole_number(field: str, value: object, remedy: str, *, least: int = 1) -> int:
    """Return a value that is a whole number from `least` to 2^53, or refuse it.

    Parameters
    ----------
    field : str
        Where the value was given, as the error names it.
    value : object
        What was given.
    remedy : str
        What to do if it is refused.
    least : int, optional
        The smallest that is understood, default 1.

    Raises
    ------
    BadInputError
        It is no whole number, or out of range.

    Examples
    --------
    >>> check_whole_number("--batch", 8, "give at least one")
    8
    >>> check_whole_number("--batch", 10**400, "give at least one")
    Traceback (most recent call last):
    memcalc.errors.BadInputError: --batch: expected at most 9007199254740992 (2^53), given a whole number of \
1329 bits; give at least one

    """
    if type(value) is not int or value < least:
        raise BadInputError(field, f"a whole number >= {least}", value, remedy)
    if value > LARGEST:
        raise BadInputError(field, f"at most {LARGEST} (2^53)", value, remedy)
    return value


def escaped(text: str) -> str:
    r"""Write what a terminal would obey or not show as escapes: controls, line breaks, marks of direction.

    >>> print(escaped("a\n\x1b[31mb \u202e \u4e2d"))
    a\n\x1b[31mb \u202e 中
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


STRUCTURAL = (
    r"(?<![^_.\d])(mlp|ffn|attn|attention|gat(e|es|ed|ing)|norms?|ranks?|compress(ion|ed)?|ratios?|shar(e|ed|ing)|"
    r"moe|experts?|heads?|layers?|blocks?|kv|latent|mixer|adapters?|lora|dims?|width|sizes?)(?![^_\d])"
)
DTYPES = ("_dtype", "_eps", "_epsilon")  # how a part computes


def not_read_rows(named: tuple[str, ...], mark: str = "") -> dict[str, str]:
    """Return what an answer says of fields that were not read: those whose names speak of a part come first.

    The label of those ends in `mark`.

    >>> not_read_rows(("mlp_type 'gelu_mlp'", "kv_compression 0.25", "rotary_pct 0.25"))
    {'not read, may change memory': "mlp_type 'gelu_mlp', kv_compression 0.25", 'not read': 'rotary_pct 0.25'}
    """
    if not named:
        return {}
    import re

    warning = f"not read, may change memory{mark}"
    found: dict[str, list[str]] = {warning: [], "not read": []}
    for one in named:
        field = one.partition(" ")[0]
        warned = re.search(STRUCTURAL, field.lower()) and not field.endswith(DTYPES)
        found[warning if warned else "not read"].append(one)
    return {words: ", ".join(fields) for words, fields in found.items() if fields}


def shortened(text: str, limit: int) -> str:
    """Return a text on one line, cut where it is longer than any that memcalc writes."""
    return escaped(text if len(text) <= limit else f"{text[: max(limit - 3, 0)]}...")


def shown(given: object, limit: int = 80) -> str:
    """Write what was given on one short line, null as JSON writes it.

    >>> len(shown("a" * 999)), shown(None), shown([1, {"a": "b"}])
    (205, 'null', "[1, {'a': 'b'}]")
    """
    if given is None:
        return "null"
    if isinstance(given, str):
        return repr(given if len(given) <= LONGEST_TEXT else f"{given[:LONGEST_TEXT]}...")
    text = ""
    for piece in pieces(given):  # of millions of values only those that are shown are written
        text += piece
        if len(text) > limit:
            return escaped(" ".join(f"{text[:limit]}...".split()))
    return escaped(" ".join(text.split()))


def pieces(value: object) -> Iterator[str]:
    """Yield a value's repr piece by piece."""
    if type(value) is dict:
        yield "{"
        for number, (name, item) in enumerate(value.items()):
            yield f"{', ' if number else ''}{shown(name)}: "
            yield from pieces(item)
        yield "}"
    elif type(value) is list:
        yield "["
        for number, item in enumerate(value):
            yield ", " if number else ""
            yield from pieces(item)
        yield "]"
    elif type(value) is str:
        yield shown(value)
    elif type(value) is int and value.bit_length() > 1000:  # Python writes no more than 4,300 digits
        yield f"a whole number of {value.bit_length()} bits"
    else:
        yield repr(value)


def nearest(name: object, known: Iterable[str], kind: str = "") -> str:
    """Return a question that offers what was meant by a name that is not known; empty if nothing is like it.

    Parameters
    ----------
    name : object
        What was given.
    known : iterable of str
        What would have been understood.
    kind : str, optional
        What is named: with it other tools' names are looked for, too.

    Examples
    --------
    >>> nearest("vLLM", ["transformers", "vllm"]), nearest("x", ["transformers"])
    ('did you mean vllm?', '')
    >>> nearest("zero3", ["0", "3", "fsdp"], "--shard")
    'did you mean 3?'

    """
    found = meant(name, known, kind)
    if found and found[0].startswith("leave"):
        return found[0]
    return f"did you mean {' or '.join(found)}?" if found else ""


def meant(name: object, known: Iterable[str], kind: str = "") -> list[str]:
    """Return what may be meant by a name that is not known, the most like first.

    >>> meant("gradient_checkpointing", ["--recompute", "--rank"], "memcalc train")
    ['--recompute full']
    """
    from memcalc.data import words  # difflib and the tables cost something: only an error pays for them

    names = list(known)
    if not isinstance(name, str):
        return []
    return (words.right_words(kind, name, names) if kind else []) or words.nearest(name, names)


def switched_off(name: str, known: Iterable[str], kind: str) -> str:
    """Return a question that offers what another tool's switch means where it is off; empty if unknown.

    >>> switched_off("gradient_checkpointing", ["--recompute"], "memcalc train")
    'did you mean --recompute none?'
    """
    from memcalc.data import words  # difflib and the tables cost something: only an error pays for them

    found = words.right_words(kind, f"no-{name}", known)
    return f"did you mean {' or '.join(found)}?" if found else ""


def choices(known: Iterable[object]) -> str:
    """Return all choices in words, or how many there are if they make no line that is read.

    >>> choices([1, 2]), choices(range(1000, 1100))
    ('one of 1, 2', 'one of 100 names')
    """
    names = list(map(str, known))
    line = f"one of {', '.join(names)}"
    return line if len(line) <= LONGEST_CHOICES else f"one of {len(names)} names"


def known_name(
    field: str, known: Iterable[str], given: object, remedy: str = "", *, offers: bool = True
) -> str:
    """Return the known name that differs from a given one in capitals alone, or refuse it.

    Parameters
    ----------
    field : str
        What is asked for, as the error names it.
    known : iterable of str
        All names.
    given : object
        What was given, and is none of them.
    remedy : str, optional
        What to do where no name is like it.
    offers : bool, default True
        Whether names that are alike are taken or offered.

    Raises
    ------
    UnknownNameError
        There is none.

    Examples
    --------
    >>> known_name("--engine", ["vllm"], "vLLM")
    'vllm'

    """
    names = list(known)
    same = [one for one in names if offers and isinstance(given, str) and one.lower() == given.lower()]
    if len(same) == 1:
        return same[0]
    guess = nearest(given, names, field) if offers else ""
    raise UnknownNameError(field, choices(names), given, guess or remedy or "name one of these")


def unknown_name(field: str, known: Iterable[str], given: str, every: str, remedy: str) -> UnknownNameError:
    """Return the refusal of one of many names: what is likely meant alone, where something is.

    Parameters
    ----------
    field : str
        What is asked for, as the error names it.
    known : iterable of str
        All names.
    given : str
        What was given, and is none of them.
    every : str
        All names in words, where none is like it.
    remedy : str
        What to do then.

    Examples
    --------
    >>> str(unknown_name("--weights", ["awq-int4-g128"], "awq", "a format", "see the list"))
    "--weights: expected awq-int4-g128, given 'awq'; did you mean awq-int4-g128?"

    """
    likely = meant(given, known, field)
    if not likely:
        return UnknownNameError(field, every, given, remedy)
    if likely[0].startswith("leave"):
        return UnknownNameError(field, "a name that is known", given, likely[0])
    expected = likely[0] if len(likely) == 1 else choices(likely)
    return UnknownNameError(field, expected, given, f"did you mean {' or '.join(likely)}?")
