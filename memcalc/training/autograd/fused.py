"""Parts as the classes of transformers store them: adapters and optimizers see one matrix where there is one.

Parts that a class gives one name, whatever they are, have the names by which programs know their kind.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING

from memcalc.data.record import record
from memcalc.ledger.parts import GQA, MLP, DeltaNet, KimiDelta, MoE
from memcalc.ledger.parts.kinds import is_gqa, is_mlp, keeps_state
from memcalc.ledger.tensor import OUT, Tensor, linear, product

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memcalc.ledger.model import Layer, Model
    from memcalc.ledger.parts import Part

__all__ = ["FusedDeltaNet", "FusedGQA", "FusedKimiDelta", "FusedMLP", "FusedShared", "as_built"]


@record
class FusedGQA(GQA):
    """Attention with one matrix for queries, keys and values."""

    def weights(self) -> Iterator[Tensor]:
        """Yield that matrix in place of the three."""
        rows = (self.heads + 2 * self.kv_heads) * self.head_dim
        yield from linear("qkv_proj", rows, self.width, bias=self.qkv_bias, shard_axis=OUT)
        three = ("q_proj.", "k_proj.", "v_proj.")
        yield from (one for one in super().weights() if not one.name.startswith(three))


@record
class FusedMLP(MLP):
    """A gated feed-forward part with one matrix for gate and up."""

    def weights(self) -> Iterator[Tensor]:
        """Yield that matrix in place of the two."""
        yield from linear("gate_up_proj", 2 * self.ffn_width, self.width, bias=self.bias, shard_axis=OUT)
        yield from (one for one in super().weights() if one.name.startswith("down_proj."))


@record
class FusedDeltaNet(DeltaNet):
    """Gated DeltaNet with one matrix for queries, keys, values and gate, and one for rates and decays."""

    def weights(self) -> Iterator[Tensor]:
        """Yield these two in place of the four."""
        heads = self.linear_value_heads
        rows = self.streams + heads * self.linear_value_dim
        yield from linear("in_proj_qkvz", rows, self.width, shard_axis=OUT)
        yield from linear("in_proj_ba", 2 * heads, self.width, shard_axis=OUT)
        yield from (one for one in super().weights() if not one.name.startswith("in_proj_"))


@record
class FusedKimiDelta(KimiDelta):
    """Kimi delta attention with one convolution for queries, keys and values."""

    def weights(self) -> Iterator[Tensor]:
        """Yield that convolution in place of the three."""
        yield Tensor("conv1d.weight", (self.streams, 1, self.conv_kernel), "conv", shard_axis=0)
        yield from (one for one in super().weights() if one.kind != "conv")


@record
class FusedShared(MoE):
    """Experts whose shared ones have one matrix for gate and up."""

    def weights(self) -> Iterator[Tensor]:
        """Yield that matrix in place of the two."""
        for one in super().weights():
            if one.name.startswith("shared_experts.gate_proj."):
                name, rows = one.name.replace("gate_proj", "gate_up_proj"), product(one.shape[0])
                yield one._replace(name=name, shape=(2 * rows, *one.shape[1:]))
            elif not one.name.startswith("shared_experts.up_proj."):
                yield one


KINDS: dict[str, tuple[tuple[type[Part], type[Part]], ...]] = {
    "qkv": ((GQA, FusedGQA),),
    "gate_up": ((MLP, FusedMLP), (MoE, FusedShared)),
    "qkvz": ((DeltaNet, FusedDeltaNet),),
    "conv": ((KimiDelta, FusedKimiDelta),),
}


def named_by_kind(name: str, part: Part) -> str:
    """Return the name of a part's kind: of a mixer, and of shared experts without others."""
    first, _, rest = name.partition(".")
    if rest == "shared_experts" and is_mlp(part):
        return first
    if first != "mixer":
        return name
    if rest:
        return f"mlp.{rest}"
    return "mamba" if keeps_state(part) else "self_attn" if is_gqa(part) else "mlp"


def as_built(model: Model, fused: tuple[str, ...], *, by_kind: bool = False) -> Model:
    """Return the model with the matrices fused that its class fuses, and parts named by their kind."""
    kinds = [pair for name in fused for pair in KINDS[name]]

    def part_as_built(part: Part) -> Part:
        kind = next((built for stored, built in kinds if isinstance(part, stored)), None)
        return part if kind is None else kind(**{one.name: getattr(part, one.name) for one in fields(kind)})

    def layer_as_built(layer: Layer, _key: object) -> Layer:
        named = ((named_by_kind(name, part) if by_kind else name, part) for name, part in layer.parts)
        return replace(layer, parts=tuple((name, part_as_built(part)) for name, part in named))

    return model.map_layers(layer_as_built)
