"""A config.json that checks its sizes and remembers which fields were read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.errors import LARGEST, BadInputError, Faults, check_whole_number, nearest, shortened, shown
from memcalc.files.config_classes import config_class, harmless_fields

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import NoReturn

    from memcalc.files.config_classes import ConfigClass
    from memcalc.ledger.model import Model

__all__ = ["Config", "text_config"]

CORRECT = "correct the field in config.json"
NESTED = "this config nests a text model: give its text_config as a file of its own"
COUNTS_OF_LAYERS = ("_layers", "n_layer")
# null was "as many as query heads": configuration_mistral.py and configuration_mixtral.py, transformers 4.57
NULL_IN_TRANSFORMERS_4 = {("mistral", "num_key_value_heads"), ("mixtral", "num_key_value_heads")}
MOST_LAYERS = 10_000  # layers are listed one by one: a slip of some zeros must not fill the memory


class Config:
    """The fields of a config.json, with the defaults of its class in transformers under them.

    A field that is absent has the class's default; one that is null is null, if the class takes null there. A
    field may have another name, and then counts as read under either.

    Parameters
    ----------
    fields : mapping of str to object
        The config.json, or an object inside of it.
    declared : ConfigClass, optional
        What its class declares. Without one nothing has a default, and every unread field is refused.
    aliases : mapping of str to str, optional
        Other names of fields, besides those that the class knows.
    read_model : callable, optional
        Reads a config of its own inside of this one: the text model beside a vision tower.

    Raises
    ------
    BadInputError
        A field has two names with two values.

    Examples
    --------
    >>> from memcalc.files.config_classes import config_class
    >>> config = Config({"n_embd": 1024, "num_hidden_layers": 24}, config_class("gpt2"))
    >>> config.size("n_embd"), config.size("n_layer"), config.size("n_head")
    (1024, 24, 12)

    """

    def __init__(
        self,
        fields: Mapping[str, object],
        declared: ConfigClass | None = None,
        aliases: Mapping[str, str] | None = None,
        read_model: Callable[[Mapping[str, object], str], Model] | None = None,
    ) -> None:
        self.fields = dict(fields)
        self.read_model = read_model
        self.declared = declared
        self.aliases = {**(declared.aliases if declared else {}), **(aliases or {})}
        self.defaults: Mapping[str, object] = declared.defaults if declared else {}
        self.read: set[str] = set()
        self.assumed: dict[str, object] = {}  # sizes that the file does not state: the class's are taken
        self.inside: list[tuple[str, Config]] = []
        self.stated: dict[str, object] = {}
        for field, value in self.fields.items():
            name = self.aliases.get(field, field)
            if name in self.stated and self.stated[name] != value:
                value = self.of_two(field, name)  # noqa: PLW2901 (of this field)
            self.stated[name] = value

    def of_two(self, field: str, name: str) -> object:
        """Return what is meant where a field has two names with two values: what the older one says.

        Raises
        ------
        BadInputError
            The class has no order among them.

        """
        older = self.declared.older if self.declared else {}
        other = next(one for one in self.fields if self.aliases.get(one, one) == name)
        for each in (field, other):
            if each in older:
                return self.fields[each]
        expected = f"what {other} says, {shown(self.stated[name])}"
        raise BadInputError(field, expected, self.fields[field], "they are one field: remove one of the two")

    def value(self, field: str) -> object:
        """Return a field, or its class's default; None if it has none.

        Raises
        ------
        BadInputError
            It is null, and its class takes no null there; or a number is beyond any size.

        """
        name = self.aliases.get(field, field)
        self.read.add(name)
        if name not in self.stated:
            return self.defaults.get(name)
        value = self.stated[name]
        if self.declared and self.is_null(name) and not self.is_old_null(name):
            expected = f"another value than null, which {self.declared.name} does not take"
            raise BadInputError(field, expected, None, f"{CORRECT}, or remove it")
        check_range(self.as_stated(field), value)
        return value

    def as_stated(self, field: str) -> str:
        """Return the name under which the file has a field."""
        name = self.aliases.get(field, field)
        if field in self.fields or name not in self.stated:
            return field
        return next((one for one in self.fields if self.aliases.get(one, one) == name), field)

    def is_null(self, name: str) -> bool:
        """Whether the file says null where the class takes none."""
        null = name in self.fields and self.fields[name] is None
        return null and self.declared is not None and not self.declared.takes_null(name)

    def is_old_null(self, name: str) -> bool:
        """Whether it says so where the class took it in transformers 4."""
        return self.is_null(name) and (self.fields.get("model_type"), name) in NULL_IN_TRANSFORMERS_4

    def has(self, field: str) -> bool:
        """Say whether a field, or its class's default, is not null."""
        return self.value(field) is not None

    def size(self, field: str) -> int:
        """Return a whole number >= 1.

        Raises
        ------
        BadInputError
            It is missing and the class has no default, or it is no such number.

        """
        value = self.value(field)
        if value is None:
            raise BadInputError(field, "a whole number >= 1", None, "add the field to config.json")
        check_size(self.as_stated(field), value)
        name = self.aliases.get(field, field)
        if name not in self.stated:
            self.assumed[name] = value
        return value  # type: ignore[return-value]

    def optional(self, field: str) -> int | None:
        """Return a size that an architecture may do without: None where it is null, or nowhere stated."""
        return self.size(field) if self.has(field) else None

    def count(self, field: str) -> int:
        """Return a whole number >= 0."""
        found = check_whole_number(field, self.value(field), CORRECT, least=0)
        check_layers(field, found)
        return found

    def flag(self, field: str) -> bool:
        """Return a field that is true or false; a field that neither file nor class has is false."""
        value = self.value(field)
        if value is not None and not isinstance(value, bool):
            raise BadInputError(field, "true or false", value, CORRECT)
        return value is True

    def mapping(self, field: str) -> dict[str, object]:
        """Return an object of further fields, such as the text model's of a model with a vision tower."""
        value = self.value(field)
        if not isinstance(value, dict):
            raise BadInputError(field, "an object", value, "add the object to config.json")
        return value

    def nested(
        self, field: str, declared: ConfigClass | None, aliases: Mapping[str, str] | None = None
    ) -> Config:
        """Return an object of further fields as a config: what it leaves unread is refused with the rest."""
        config = Config(self.mapping(field), declared, aliases)
        self.inside.append((field, config))
        return config

    def restates(self, field: str, *expected: object) -> None:
        """Check a field that says again what another one has said, or that has one known meaning.

        Null says nothing, and a class's default needs no check.

        Raises
        ------
        BadInputError
            It says something else.

        """
        name = self.aliases.get(field, field)
        self.read.add(name)
        value = self.stated.get(name)
        if value is not None and value not in expected:
            remedy = "correct config.json; with another meaning the field is not understood"
            raise BadInputError(field, " or ".join(map(spelled, expected)) or "no such field", value, remedy)

    def whole_numbers(self, field: str) -> tuple[int, ...]:
        """Return a list of whole numbers; null is the empty list."""
        value = self.value(field)
        if value is None:
            return ()
        if not isinstance(value, list) or any(type(item) is not int for item in value):
            raise BadInputError(field, "a list of whole numbers", value, CORRECT)
        return tuple(value)

    def words(self, field: str, known: tuple[str, ...], length: int) -> tuple[str, ...] | None:
        """Return a list of one known word a layer, or None where there is no list."""
        value = self.value(field)
        if value is None:
            return None
        if not isinstance(value, list) or len(value) != length:
            raise BadInputError(field, f"a list of {length} words, one a layer", value, "correct config.json")
        for item in value:
            if item not in known:
                remedy = "this kind of layer is not understood, so nothing is counted"
                raise BadInputError(field, f"only {', '.join(known)}", item, remedy)
        return tuple(value)

    def unread(self) -> tuple[str, ...]:
        """Return what was not read and is not known to be harmless: fields with their values, in words.

        0, false and null say "none", and a class's own default changes nothing. Of the rest only text and
        numbers that are no size pass, and are named.

        Returns
        -------
        tuple of str
            ``("unsloth_version '2026.3.5'",)``

        Raises
        ------
        BadInputError
            A field that may change memory: a whole number above 1, true, a list or an object.

        """
        named, faults = [], Faults()
        for field, value in self.fields.items():
            if self.says_nothing(field, value):
                continue
            if (
                field in OTHER_TENSORS
                or self.declared is None
                or value is True
                or isinstance(value, list | dict)
                or is_count(value)
            ):
                faults.of(self.refuse_unread, field, value)
            named.append(f"{shortened(field, 60)} {shown(value)}")
        for outer, config in self.inside:
            found = faults.of(config.unread)
            named += [] if found is faults.MISSING else [f"{outer}.{each}" for each in found]
        faults.refuse()
        return tuple(named)

    def refuse_unread(self, field: str, value: object) -> NoReturn:
        """Refuse a field that was not read, and may change memory.

        Raises
        ------
        BadInputError
            Always.

        """
        of = f"the reader of {self.fields.get('model_type')}" if self.declared else "its reader"
        remedy = f"{field} may change memory; remove it if it cannot"
        if self.declared is None and "model_type" in self.fields:
            remedy = f"`make defaults` writes what the class of {self.fields['model_type']} declares"
        guess = nearest(field, (name for name in self.defaults if name not in self.stated))
        remedy = NESTED if field == "text_config" else f"{guess} If not: {remedy}" if guess else remedy
        raise BadInputError(field, f"only fields that {of} understands", value, remedy)

    def says_nothing(self, field: str, value: object) -> bool:
        """Whether a field was read, says "none", stands at its class's default, or cannot change memory."""
        name = self.aliases.get(field, field)
        if name in self.read or value in EMPTY:
            return True
        names = {field, name}
        if not names & OTHER_TENSORS and (names & harmless_fields() or field.endswith(TOKENS)):
            return True
        default = self.defaults.get(name)
        return value == default and isinstance(value, bool) == isinstance(default, bool)


TOKENS = ("_token_id", "_token_ids", "_token_index")  # numbers of tokens with a meaning: no sizes
# with another value than none or false there are fewer tensors, or others beside: of harmless fields these
# alone are refused by the readers that do not count them
OTHER_TENSORS = {"add_cross_attention", "is_encoder_decoder", "num_nextn_predict_layers", "pruned_heads"}
EMPTY: tuple[object, ...] = (None, False, 0, "", [], {})


def spelled(expected: object) -> str:
    """Return a value that was expected as errors print it: text as it is, long lists cut."""
    if isinstance(expected, list) and expected and all(one == expected[0] for one in expected):
        return f"{len(expected)} x {spelled(expected[0])}"
    return expected if isinstance(expected, str) else shown(expected, 200)


def is_count(value: object) -> bool:
    """Say whether a value is a whole number above 1: a size, or how many there are of something.

    >>> is_count(2), is_count(1), is_count(2.0), is_count(True)
    (True, False, False, False)
    """
    return type(value) is int and value > 1


def check_size(field: str, value: object) -> None:
    """Refuse a size that is no whole number >= 1, and more layers than any model has."""
    check_layers(field, check_whole_number(field, value, CORRECT))


def check_layers(field: str, size: int) -> None:
    """Refuse more layers than any model has."""
    if field.endswith(COUNTS_OF_LAYERS) and size > MOST_LAYERS:
        raise BadInputError(field, f"at most {MOST_LAYERS} layers", size, CORRECT)


def check_range(field: str, value: object) -> None:
    """Refuse a field in which a number, however deep, is beyond any size: floats could not hold it."""
    left = [(field, value)]
    while left:
        name, one = left.pop()
        if type(one) is dict:
            left += [(f"{name}.{key}", item) for key, item in one.items()]
        elif type(one) is list and set(map(type, one)) == {int}:  # one a layer, or a million by mistake
            left += [(name, min(one)), (name, max(one))]
        elif type(one) is list:
            left += [(name, item) for item in one]
        elif type(one) is int and abs(one) > LARGEST:
            raise BadInputError(name, f"at most {LARGEST} (2^53)", one, CORRECT)


def text_config(model: Model, fields: Mapping[str, object]) -> Config:
    """Return the config of a model's text model, with its class's defaults."""
    inside = fields.get("text_config")
    text = inside if isinstance(inside, dict) else fields
    return Config(text, config_class(model.text_type or model.model_type))
