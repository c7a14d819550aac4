"""Published checkpoints: how each stores its model, what its size is said to be, and where that was read.

A record names a model of the catalogue or has a config of its own, and states its storage as the checkpoint
does, in a `quantization_config`. What a file holds on top of the parameters of its model stands in `extra`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from memcalc.data.units import Amount, amount
from memcalc.evidence.records import SOURCED, load_records
from memcalc.files.source import Source
from memcalc.files.sources import source
from memcalc.ledger.formats import format_named, tensor_bytes, tensor_pieces
from memcalc.ledger.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from memcalc.evidence.records import Checks
    from memcalc.ledger.formats import Format

__all__ = ["CHECKS", "Checkpoint", "checkpoint", "checkpoints"]

PLAIN = "not quantised"
CHECKS: Checks = {
    **SOURCED,
    "model, config or unread": lambda row: sum(map(bool, (row.model, row.config, row.unread))) == 1,
    "published_as": lambda row: (row.total_bytes is None) == (row.published_as == ""),
}


class Checkpoint(NamedTuple):
    """One checkpoint. `total_bytes` is its published size, None where none was found.

    `vision` says whether that counts the vision tower. `unread` is the reason why memcalc cannot list its
    tensors; `assumed` is what of its layout was not seen. `read_as` says which family stands for a class of
    its own, `extra` what the file holds on top of the parameters.
    """

    id: str
    source: str
    date: str
    model: str | None = None
    config: Mapping[str, Any] | None = None
    quantization_config: Mapping[str, Any] | None = None
    scale_bits: int | None = None
    vision: bool = False
    extra: tuple[Tensor, ...] = ()
    total_bytes: Amount | None = None
    published_as: str = ""
    assumed: tuple[str, ...] = ()
    read_as: str = ""
    unread: str = ""

    @property
    def as_source(self) -> Source:
        """The model's config with the checkpoint's own storage.

        Raises
        ------
        LookupError
            memcalc cannot read this checkpoint.

        """
        if self.unread:
            raise LookupError(f"{self.id}: {self.unread}")
        fields = source(self.model).fields if self.model else dict(self.config or {})
        stated = {"quantization_config": self.quantization_config} if self.quantization_config else {}
        return Source(
            self.id, {**fields, **stated}, f"{self.source}, {self.date}", scale_bits=self.scale_bits
        )

    def tensors(self) -> Iterator[tuple[Tensor, Format]]:
        """Yield every tensor with its format, equal layers together; the router's buffers stay out."""
        stored = self.as_source.stored()
        for tensor in stored.model.weights():
            if tensor.kind != "buffer":
                yield tensor, stored.rule(tensor)
        for tensor in stored.model.vision_weights() if self.vision else ():
            yield tensor, stored.activation
        for tensor in self.extra:
            yield tensor, format_named(str(tensor.format))

    @property
    def parameters(self) -> int:
        """Numbers of all its tensors."""
        return sum(tensor.count for tensor, _ in self.tensors())

    @property
    def bytes(self) -> Amount:
        """Tensor bytes as memcalc derives them.

        >>> checkpoints("openai/gpt-oss-20b")[0].bytes
        12.82 GiB
        """
        return Amount(sum(tensor_bytes(tensor, form) for tensor, form in self.tensors()))

    @property
    def pieces(self) -> dict[str, Amount]:
        """The bytes of codes, scales, zero points and so on, and of what is not quantised."""
        sizes: dict[str, int] = {}
        for tensor, form in self.tensors():
            for piece, size in tensor_pieces(tensor, form):
                name = PLAIN if form.is_plain else piece
                sizes[name] = sizes.get(name, 0) + size
        return {name: Amount(size) for name, size in sizes.items()}


def checkpoints(*names: str) -> tuple[Checkpoint, ...]:
    """Return published checkpoints in the record's order.

    Parameters
    ----------
    *names : str
        Their ids; all of them without any.

    Returns
    -------
    tuple of Checkpoint

    Raises
    ------
    BadInputError
        The package was installed without the repository around it.

    Examples
    --------
    >>> [one.id for one in checkpoints() if one.id.endswith("-AWQ")]
    ['Qwen/Qwen2.5-72B-Instruct-AWQ', 'Qwen/Qwen3-32B-AWQ', 'Qwen/Qwen3-8B-AWQ']

    """
    rows = load_records(checkpoint, "checkpoints.json", CHECKS)
    return tuple(row for row in rows if not names or row.id in names)


def checkpoint(
    *,
    extra: Sequence[Mapping[str, Any]] = (),
    assumed: Sequence[str] = (),
    total_bytes: int | None = None,
    **fields: Any,
) -> Checkpoint:
    """Return an entry of the record, whose tensors are stored as lists."""
    tensors = tuple(Tensor(**{**one, "shape": tuple(one["shape"])}) for one in extra)
    return Checkpoint(**fields, extra=tensors, assumed=tuple(assumed), total_bytes=amount(total_bytes))
