"""Sweeps: many points, worked out in slices or by blocks, so that memory does not grow with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memcalc.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Ranges = dict[str, tuple[int, int]]  # the least and the largest number of each array
    Prepare = Callable[[Ranges], Callable[[dict[str, Any]], Any]]

__all__ = ["columns", "is_array", "is_lazy", "sweep"]

SLICE = 2**15  # points that are worked out together: a few arrays of them stay in a processor's cache


def is_array(number: object) -> bool:
    """Return whether something is an array of NumPy, or of a library that takes its functions over."""
    return hasattr(number, "__array_ufunc__")


def is_lazy(number: object) -> bool:
    """Return whether something is a Dask array, whose numbers are not there before they are asked for."""
    return hasattr(number, "dask")


def sweep(prepare: Prepare, arrays: Mapping[str, Any]) -> Any:
    """Return a quantity at every point, as an array of 64-bit integers.

    Parameters
    ----------
    prepare : callable
        Takes the least and the largest number of each array, refuses what would not fit into 64 bits, and
        returns what works out the quantity for such numbers by name: single ones, or arrays of one axis.
    arrays : mapping of str to array or int
        Whole numbers >= 1 that broadcast. With a Dask array among them the result is one, too: each of its
        blocks is checked and worked out by itself, when and where Dask does so.

    """
    import numpy as np

    if any(map(is_lazy, arrays.values())):
        from dask.array import asarray, blockwise

        def at(*blocks: Any) -> Any:
            return sweep(prepare, dict(zip(arrays, blocks, strict=True)))

        blocked = [asarray(array) for array in arrays.values()]
        axes = range(max(array.ndim for array in blocked))
        pairs = [one for array in blocked for one in (array, axes[len(axes) - array.ndim :])]
        return blockwise(at, axes, *pairs, meta=np.empty([0] * len(axes), "int64"))
    numbers = columns(arrays)
    work = prepare({name: (int(column.min()), int(column.max())) for name, column in numbers.items()})
    single = {name: int(column) for name, column in numbers.items() if column.ndim == 0}
    many = {name: column for name, column in numbers.items() if column.ndim > 0}
    if not many:
        return np.int64(work(single))
    # glibc keeps for the next array what was freed, up to the largest size that it has seen freed. Without a
    # larger one every array of every slice is taken from the system anew: four times the time of its numbers.
    np.empty(32 * SLICE)
    roles: Any = [*[["readonly"]] * len(many), ["writeonly", "allocate"]]
    with np.nditer(
        [*many.values(), None],
        ["external_loop", "buffered"],
        roles,
        ["int64"] * len(roles),
        order="C",
        casting="same_kind",
        buffersize=SLICE,
    ) as slices:
        for *points, result in slices:
            result[...] = work(single | dict(zip(many, points, strict=True)))
        return slices.operands[-1]


def columns(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Return arrays of whole numbers >= 1 that fit each other; anything else is refused."""
    import numpy as np

    found = {name: np.asarray(array) for name, array in arrays.items()}
    for name, column in found.items():
        if column.dtype.kind not in "iu" or column.size == 0 or column.min() < 1:
            given = f"{column.size} of {column.dtype}"
            raise BadInputError(name, "an array of whole numbers >= 1", given, "cast it to int64")
    try:
        np.broadcast_shapes(*(column.shape for column in found.values()))
    except ValueError:
        given = ", ".join(str(column.shape) for column in found.values())
        raise BadInputError(name, "arrays of one shape", given, "one element for each point") from None
    return found
