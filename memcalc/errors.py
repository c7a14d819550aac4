"""The package's own errors: each names the field, what was expected, what was given, and what to do."""

from __future__ import annotations

__all__ = ["BadInputError", "MemcalcError", "ProofError", "UnknownNameError", "at_least_one"]


class MemcalcError(Exception):
    """Anything that memcalc refuses to answer."""


class BadInputError(MemcalcError, ValueError):
    """A value that cannot be right, or that memcalc does not understand.

    >>> str(BadInputError("--context", "a whole number >= 1", 0, "say how many tokens one sequence holds"))
    '--context: expected a whole number >= 1, given 0; say how many tokens one sequence holds'
    """

    def __init__(self, field: str, expected: str, given: object, remedy: str) -> None:
        """Keep the four things that a good message says."""
        self.field, self.expected, self.given, self.remedy = field, expected, given, remedy
        super().__init__(f"{field}: expected {expected}, given {shown(given)}; {remedy}")


class UnknownNameError(MemcalcError, LookupError):
    """A name that is in no record: a machine, a format, an engine, a model."""

    def __init__(self, field: str, known: str, given: object, remedy: str) -> None:
        """Keep the four things that a good message says."""
        self.field, self.given = field, given
        super().__init__(f"{field}: expected {known}, given {shown(given)}; {remedy}")


class ProofError(MemcalcError, ValueError):
    """Two expressions that were said to be equal are not."""


def at_least_one(name: str, value: object) -> None:
    """Refuse what is no whole number >= 1.

    Raises:
        BadInputError: it is not.

    """
    if type(value) is not int or value < 1:
        raise BadInputError(f"--{name}", "a whole number >= 1", value, "say how many")


def shown(given: object) -> str:
    """Write what was given on one short line, null as JSON writes it.

    >>> len(shown("a" * 999)), shown(None)
    (85, 'null')
    """
    if given is None:
        return "null"
    limit = 80
    text = given if isinstance(given, str) else repr(given)
    text = text if len(text) <= limit else text[:limit] + "..."
    return repr(text) if isinstance(given, str) else " ".join(text.split())
