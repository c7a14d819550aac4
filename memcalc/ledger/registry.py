"""A name finds a thing: the one idiom for engines, readers, implementations, optimizers, losses and formats.

Modules load when their name is asked for, so that an answer pays only for what it uses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

Thing = TypeVar("Thing")

__all__ = ["Registry"]


class Registry(Mapping[str, Thing]):
    """What a name means: a record, or the ``module:attribute`` that is loaded when the name is asked for.

    Parameters
    ----------
    field : str
        What is asked for, as errors name it: ``--engine``.
    homes : mapping of str to str or object
        For each name a thing, or where it lives, relative to `package`: ``"vllm:VLLM"``.
    package : str, optional
        The package that the modules of `homes` belong to.
    remedy : str
        What to do where a name is unknown.
    offers : bool
        Whether capitals are passed over, and names that are alike offered: not where a file states the name.

    Examples
    --------
    >>> errors = Registry("--error", {"bad": "errors:BadInputError"}, package="memcalc")
    >>> errors["bad"].__name__, list(errors), "worse" in errors
    ('BadInputError', ['bad'], False)
    >>> errors["badd"]
    Traceback (most recent call last):
    memcalc.errors.UnknownNameError: --error: expected one of bad, given 'badd'; did you mean bad?

    """

    def __init__(
        self,
        field: str,
        homes: Mapping[str, object],
        *,
        package: str = "",
        remedy: str = "",
        offers: bool = True,
    ) -> None:
        self.field, self.remedy, self.offers = field, remedy, offers
        self._homes, self._package = homes, package

    def __getitem__(self, name: str) -> Thing:
        if name not in self:
            from memcalc.errors import known_name

            name = known_name(self.field, self._homes, name, self.remedy, offers=self.offers)
        home = self._homes[name]
        if not isinstance(home, str):
            return home  # type: ignore[return-value]
        from importlib import import_module

        module, _, attribute = home.partition(":")
        found: Thing = getattr(import_module(f"{self._package}.{module}"), attribute)
        return found

    def get(self, name: object, default: Any = None) -> Any:
        return self[name] if isinstance(name, str) and name in self else default

    def __iter__(self) -> Iterator[str]:
        return iter(self._homes)

    def __len__(self) -> int:
        return len(self._homes)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self._homes
