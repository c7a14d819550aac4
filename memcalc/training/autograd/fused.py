"""Parts whose matrices the classes of transformers store as one: adapters and optimizers see that one."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

from memcalc.ledger.parts import GQA, MLP, DeltaNet
from memcalc.ledger.tensor import OUT, linear

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memcalc.ledger.model import Layer, Model
    from memcalc.ledger.parts import Part
    from memcalc.ledger.tensor import Tensor

__all__ = ["FusedDeltaNet", "FusedGQA", "FusedMLP", "as_built"]


@dataclass(frozen=True, repr=False)
class FusedGQA(GQA):
    """Attention with one matrix for queries, keys and values."""

    def weights(self) -> Iterator[Tensor]:
        """Yield that matrix in place of the three."""
        rows = (self.heads + 2 * self.kv_heads) * self.head_dim
        yield from linear("qkv_proj", rows, self.width, bias=self.qkv_bias, shard_axis=OUT)
        three = ("q_proj.", "k_proj.", "v_proj.")
        yield from (one for one in super().weights() if not one.name.startswith(three))


@dataclass(frozen=True, repr=False)
class FusedMLP(MLP):
    """A gated feed-forward part with one matrix for gate and up."""

    def weights(self) -> Iterator[Tensor]:
        """Yield that matrix in place of the two."""
        yield from linear("gate_up_proj", 2 * self.ffn_width, self.width, bias=self.bias, shard_axis=OUT)
        yield from (one for one in super().weights() if one.name.startswith("down_proj."))


@dataclass(frozen=True, repr=False)
class FusedDeltaNet(DeltaNet):
    """Gated DeltaNet with one matrix for queries, keys, values and gate, and one for rates and decays."""

    def weights(self) -> Iterator[Tensor]:
        """Yield these two in place of the four."""
        heads = self.linear_value_heads
        rows = self.streams + heads * self.linear_value_dim
        yield from linear("in_proj_qkvz", rows, self.width, shard_axis=OUT)
        yield from linear("in_proj_ba", 2 * heads, self.width, shard_axis=OUT)
        yield from (one for one in super().weights() if not one.name.startswith("in_proj_"))


KINDS: dict[str, tuple[type[Part], type[Part]]] = {
    "qkv": (GQA, FusedGQA),
    "gate_up": (MLP, FusedMLP),
    "qkvz": (DeltaNet, FusedDeltaNet),
}


def as_built(model: Model, fused: tuple[str, ...]) -> Model:
    """Return the model with the matrices fused that its class fuses."""
    kinds = [KINDS[name] for name in fused]

    def part_as_built(part: Part) -> Part:
        kind = next((built for stored, built in kinds if isinstance(part, stored)), None)
        return part if kind is None else kind(**{one.name: getattr(part, one.name) for one in fields(kind)})  # type: ignore[arg-type]

    def layer_as_built(layer: Layer, _key: object) -> Layer:
        return replace(layer, parts=tuple((name, part_as_built(part)) for name, part in layer.parts))

    return model.map_layers(layer_as_built)
