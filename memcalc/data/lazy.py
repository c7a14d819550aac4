"""Public names of a package that load their module when they are first asked for."""

from __future__ import annotations

TYPE_CHECKING = False  # typing takes longer to load than everything here; type checkers know the name
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["lazy_names"]


def lazy_names(
    package: str, homes: Mapping[str, Sequence[str]] | Sequence[str]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Return a package's ``__getattr__`` and ``__dir__``: each name loads its module when first asked for.

    `homes` has, for each module relative to the package, the public names that it defines; or the modules
    alone, where a name may load all of them until it stands in the ``__all__`` of one.

    Examples
    --------
    >>> get, listed = lazy_names("memcalc", {"errors": ["BadInputError"]})
    >>> get("BadInputError").__name__, listed()
    ('BadInputError', ['BadInputError'])

    """
    from importlib import import_module

    def names(module: str) -> Sequence[str]:
        if isinstance(homes, dict):
            return homes[module]
        found = import_module(f"{package}.{module}")
        return getattr(found, "__all__", None) or dir(found)  # a package lists its names when asked

    def load(name: str) -> object:
        for module in () if name.startswith("__") else homes:
            if name in names(module):
                return getattr(import_module(f"{package}.{module}"), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return load, lambda: sorted(name for module in homes for name in names(module))
