"""What a header alone says of a model without a reader: its weights exactly, its cache where it is stated."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, NamedTuple

from memcalc.data.units import Amount
from memcalc.errors import BadInputError
from memcalc.files.compare import unnumbered

if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike

    from memcalc.files.safetensors import Header, TensorInfo
    from memcalc.files.source import Source

__all__ = ["Group", "StoredWeights", "stored_weights"]

NUMBERS = frozenset({"F16", "BF16", "F32", "F64"})  # one parameter each: other types pack or scale them
UNSAID = "a header does not say what its layers remember"
NO_CACHE = f"{UNSAID}: add the model's config.json"


class Group(NamedTuple):
    """Equal tensors of layers and experts, with how many there are; `info` is None without a header.

    One that has no equal keeps its full name.
    """

    name: str
    info: TensorInfo | None
    times: int

    @property
    def bytes(self) -> int:
        """Bytes of all of them."""
        return 0 if self.info is None else self.times * self.info.bytes


class StoredWeights:
    """The tensors of a checkpoint as its headers list them.

    Parameters
    ----------
    name : str
        What answers call it.
    header : Header
        What was read.
    architecture : str, optional
        As the file or its config.json names it.
    cache : mapping of str to int, optional
        What is cached of a token and of a sequence, where that is beyond doubt.
    unknown : str
        Why it is not known, else.

    """

    def __init__(
        self,
        name: str,
        header: Header,
        architecture: str | None = None,
        cache: Mapping[str, int] | None = None,
        unknown: str = "",
    ) -> None:
        self.name, self.header, self.architecture = name, header, architecture
        self.cache, self.unknown = cache, unknown

    @property
    def bytes(self) -> Amount | None:
        """Bytes of all tensors; None where an index lies alone and does not say."""
        return None if self.header.bytes is None else Amount(self.header.bytes)

    @property
    def parameters(self) -> int | None:
        """All numbers in it, those of towers and prediction layers too; None where some are packed."""
        found = self.header.tensors.values()
        if any(one is None for one in found):
            return None
        infos = [one for one in found if one is not None]
        if self.header.kind != "gguf" and not all(one.dtype in NUMBERS for one in infos):
            return None
        return sum(prod(one.shape) for one in infos)

    @property
    def groups(self) -> tuple[Group, ...]:
        """Equal tensors together, the largest first."""
        alike: dict[tuple[str, TensorInfo | None], list[str]] = {}
        for name, info in self.header.tensors.items():
            alike.setdefault((unnumbered(name), info), []).append(name)
        found = [
            Group(name if len(same) > 1 else same[0], info, len(same)) for (name, info), same in alike.items()
        ]
        return tuple(sorted(found, key=lambda one: (-one.bytes, one.name)))

    def __repr__(self) -> str:
        return f"<{self.name}: {len(self.header.tensors):,} tensors, {self.bytes or 'size unknown'}>"


def stored_weights(source: str | PathLike[str] | Source) -> StoredWeights:
    """Return what the header of a source says of its weights, whatever its architecture.

    Parameters
    ----------
    source : str, path or Source
        A safetensors file or index, a GGUF file, or a folder with one of them.

    Raises
    ------
    BadInputError
        It has no header, or one that cannot be read.

    """
    from memcalc.files.sources import source as find_source

    found = find_source(source)
    if found.header is None:
        remedy = "give a .safetensors file, an index, or a .gguf"
        raise BadInputError("SOURCE", "weights with a header", found.found, remedy)
    stated = found.values.get("general.architecture") if found.is_gguf else found.fields.get("model_type")
    architecture = stated if isinstance(stated, str) else None
    if not found.is_gguf:
        unread = f"{UNSAID}, and the config.json's type, {architecture}, has no reader"
        why = NO_CACHE if not found.fields else unread if architecture else f"{UNSAID}, nor its config.json"
        return StoredWeights(found.name, found.header, architecture, unknown=why)
    from memcalc.files.gguf.unread import cache_stated

    cache, unknown = cache_stated(found.values, found.header.tensors)
    return StoredWeights(found.name, found.header, architecture, cache, unknown)
