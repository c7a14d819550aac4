"""Public names of a package that load their module when they are first asked for."""

from __future__ import annotations

TYPE_CHECKING = False  # typing takes longer to load than everything here; type checkers know the name
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["lazy_names"]


def lazy_names(
    package: str, homes: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Return a package's ``__getattr__`` and ``__dir__``: each name loads its module when first asked for.

    Parameters
    ----------
    package : str
        The package's own ``__name__``.
    homes : mapping of str to sequence of str
        For each module, relative to the package, the public names that it defines.

    Returns
    -------
    tuple
        The two functions, to be assigned to those names in the package's module.

    Examples
    --------
    >>> get, listed = lazy_names("memcalc", {"errors": ["BadInputError"]})
    >>> get("BadInputError").__name__, listed()
    ('BadInputError', ['BadInputError'])

    """
    where = {name: module for module, names in homes.items() for name in names}

    def load(name: str) -> object:
        if name not in where:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        from importlib import import_module

        return getattr(import_module(f"{package}.{where[name]}"), name)

    return load, lambda: sorted(where)
