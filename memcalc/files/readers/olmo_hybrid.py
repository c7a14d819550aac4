"""OLMo Hybrid: Gated DeltaNet in most layers, attention as in OLMo 3 in the others. Held in tests/oracles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.data.record import record
from memcalc.errors import BadInputError
from memcalc.files.readers.common import PRE_NORMS, decoder, dense_mlp, gqa, rope_parameters, stack
from memcalc.ledger.model import Layer
from memcalc.ledger.parts import DeltaNet, Norm
from memcalc.ledger.tensor import IN, OUT, Tensor, linear, under

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memcalc.files.config import Config
    from memcalc.ledger.model import Model

__all__ = ["OlmoDelta", "olmo_hybrid"]

KINDS = ("linear_attention", "full_attention")
AFTER = ("post_attention_layernorm", "post_feedforward_layernorm")


@record
class OlmoDelta(DeltaNet):
    """Gated DeltaNet with a projection and a convolution each for queries, keys and values.

    Source: Ai2 2026, OLMo Hybrid; names as in its checkpoints and in transformers' OlmoHybridGatedDeltaNet.
    """

    def weights(self) -> Iterator[Tensor]:
        """Yield the projections and convolutions, decays, the gate, the norm, and the output."""
        keys = (self.linear_key_heads, self.linear_key_dim)
        values = (self.linear_value_heads, self.linear_value_dim)
        for letter, heads in (("q", keys), ("k", keys), ("v", values)):
            yield from linear(f"{letter}_proj", heads, self.width, shard_axis=OUT)
            yield Tensor(f"{letter}_conv1d.weight", (heads, 1, self.conv_kernel), "conv", shard_axis=0)
        for letter in "ab":
            yield from linear(f"{letter}_proj", self.linear_value_heads, self.width, shard_axis=OUT)
        yield from linear("g_proj", values, self.width, shard_axis=OUT)
        # the class makes the decays in fp32, whatever the model's dtype
        yield Tensor("A_log", (self.linear_value_heads,), "bias", shard_axis=0, format="fp32")
        yield Tensor("dt_bias", (self.linear_value_heads,), "bias", shard_axis=0)
        yield from under("o_norm", Norm(self.linear_value_dim).weights())
        yield from linear("o_proj", self.width, values, shard_axis=IN)


def olmo_hybrid(config: Config, name: str) -> Model:
    """Read OLMo Hybrid: every fourth layer attends, or as it lists."""
    depth, width = config.size("num_hidden_layers"), config.size("hidden_size")
    kinds = config.words("layer_types", KINDS, depth)
    if kinds is None:
        kinds = tuple(KINDS[index % 4 == 3] for index in range(depth))
        kinds = kinds if KINDS[1] in kinds else (*kinds[:-1], KINDS[1])
    for kind in KINDS:
        if kind not in kinds:
            remedy = "the class wants both kinds of layers"
            raise BadInputError("layer_types", f"at least one {kind}", "none", remedy)
    attention = gqa(
        config,
        biased=config.flag("attention_bias"),
        qk_norm=True,
        qk_norm_whole=True,
        rope_dim=None if rotates(config) else 0,
    )
    delta, mlp, norm = delta_of(config), dense_mlp(config), Norm(width)

    def layer(kind: str) -> Layer:
        if kind == "full_attention":
            return Layer((("self_attn", attention), ("mlp", mlp), *((each, norm) for each in AFTER)))
        return Layer((("linear_attn", delta), ("mlp", mlp), *((each, norm) for each in PRE_NORMS)))

    return decoder(config, name, stack(kinds, layer))


def rotates(config: Config) -> bool:
    """Say whether heads are rotated: the published model says that they are not."""
    stated = rope_parameters(config)
    return stated is not None and stated.get("rope_theta") is not None


def delta_of(config: Config) -> OlmoDelta:
    """Return Gated DeltaNet, whose sizes follow from those of attention where they are not stated.

    Raises
    ------
    BadInputError
        Value heads are no multiple of key heads.

    """
    width = config.size("hidden_size")
    heads = config.optional("linear_num_key_heads") or config.size("num_attention_heads")
    values = config.optional("linear_num_value_heads") or config.size("num_attention_heads")
    if values % heads:
        expected, given = "a multiple of linear_num_key_heads", f"{values} for {heads}"
        raise BadInputError("linear_num_value_heads", expected, given, "correct config.json")
    key_dim = config.optional("linear_key_head_dim") or 3 * width // (4 * heads)
    value_dim = config.optional("linear_value_head_dim") or 2 * key_dim
    for field in ("linear_a_log_min", "linear_a_log_max", "linear_allow_neg_eigval"):
        config.has(field)  # how it starts, and a factor
    return OlmoDelta(width, heads, values, key_dim, value_dim, config.size("linear_conv_kernel_dim"))
