"""Frozen dataclasses whose methods are written once, and not compiled for each class whenever Python starts.

`dataclasses` writes five methods of a frozen class, which name its fields, and compiles them: for the classes
of one model, and the options of one command, that was a tenth of the time of an answer. Of what `field` may
say, a record heeds defaults and `kw_only`; it has no `__post_init__`.
"""

from __future__ import annotations

from dataclasses import MISSING, FrozenInstanceError, dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, dataclass_transform

if TYPE_CHECKING:
    from dataclasses import Field
    from inspect import Signature
    from typing import NoReturn

__all__ = ["Record", "options", "record"]

Declared = TypeVar("Declared")


def default_of(one: Field[Any]) -> object:
    """Return the value of a field that is not given; MISSING if it has to be."""
    return one.default if one.default_factory is MISSING else one.default_factory()


class Signed:
    """The signature of a class, made when `inspect` asks for it."""

    def __get__(self, instance: object, owner: Any) -> Signature:
        from inspect import Parameter, Signature

        return Signature(
            [
                Parameter(
                    one.name,
                    Parameter.KEYWORD_ONLY if one.kw_only else Parameter.POSITIONAL_OR_KEYWORD,
                    default=Parameter.empty if default_of(one) is MISSING else default_of(one),
                    annotation=one.type,
                )
                for one in owner.__dataclass_fields__.values()
            ]
        )


class Record:
    """A frozen dataclass: its fields by position or by name, equality by their values, no changes."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    __signature__ = Signed()
    values_in: ClassVar[Any] = type  # without fields all are equal

    def __init__(self, *values: object, **named: object) -> None:
        known = self.__dataclass_fields__
        placed = [name for name, one in known.items() if not one.kw_only] if values else []
        given = dict(zip(placed, values, strict=False)) | named
        if given.keys() == known.keys() and len(given) == len(values) + len(named):
            vars(self).update(given)
            return
        filled = {name: given[name] if name in given else default_of(one) for name, one in known.items()}
        missing = [name for name, value in filled.items() if value is MISSING]
        unknown = [name for name in given if name not in known]
        if len(given) < len(values) + len(named):
            most = f"at most {len(placed)} by position" if placed else "all by name"
            raise TypeError(f"{type(self).__name__}() takes each field once, {most}")
        for fault, names in (("has no", unknown), ("needs", missing)):
            if names:
                raise TypeError(f"{type(self).__name__}() {fault} {', '.join(names)}")
        vars(self).update(filled)

    def __repr__(self) -> str:
        named = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__dataclass_fields__)
        return f"{type(self).__name__}({named})"

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return self.values_in(vars(self)) == self.values_in(vars(other))

    def __hash__(self) -> int:
        return hash(self.values_in(vars(self)))

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise FrozenInstanceError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> NoReturn:
        raise FrozenInstanceError(f"cannot delete field {name!r}")


def made(declared: type[Declared], *, kw_only: bool) -> type[Declared]:
    """Make a dataclass of a record's class."""
    found: Any = dataclass(init=False, repr=False, eq=False, kw_only=kw_only)(declared)
    if found.__dataclass_fields__:
        found.values_in = itemgetter(*found.__dataclass_fields__)
    return found


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def record(declared: type[Declared]) -> type[Declared]:
    """Turn a subclass of `Record` into a dataclass.

    >>> @record
    ... class Size(Record):
    ...     rows: int
    ...     columns: int = 1
    >>> Size(3), Size(3, columns=1) == Size(3), Size(3) == Size(4)
    (Size(rows=3, columns=1), True, False)
    """
    return made(declared, kw_only=False)


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def options(declared: type[Declared]) -> type[Declared]:
    """Turn a subclass of `Record` into a dataclass whose fields are given by name."""
    return made(declared, kw_only=True)
