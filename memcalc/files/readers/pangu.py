"""Pangu Pro MoE: the first with grouped experts and biases, the second with keys and values that are weights.

Source of the first: vllm-project/vllm-ascend, vllm_ascend/models/pangu_moe.py (commit e225de5); of the
second: vllm-project/vllm, model_executor/models/openpangu.py (commit 8d9b52f), and omni-infer,
omni/models/pangu/pangu_pro_moe_v2 (pangu_moe_v2.py, pangu_moe_v2_mtp.py), all read 2026-11. Held against
published sizes in tests/test_pangu.py.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from memcalc.data.record import record
from memcalc.files.readers.common import (
    PRE_NORMS,
    check_head_width,
    decoder,
    decoder_layer,
    dense_mlp,
    gqa,
    head_counts,
    moe,
    stack,
)
from memcalc.files.readers.variants import UnevenHeads
from memcalc.files.readers.vision import Values
from memcalc.ledger.model import Layer
from memcalc.ledger.parts import Linear, Norm
from memcalc.ledger.tensor import Tensor, under

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memcalc.files.config import Config
    from memcalc.ledger.model import Model
    from memcalc.ledger.parts import Part

__all__ = ["LearnedSinks", "pangu_pro_moe"]

SECOND = "PanguProMoEV2"  # the words of its files


@record
class LearnedSinks(UnevenHeads):
    """Attention that also looks at keys, and at values, which are weights: they stand in no cache.

    Parameters
    ----------
    sink_keys : int
        How many learned keys there are for each key/value head.
    sink_values : bool, default False
        Whether their values are learned, too, and not zero.

    Examples
    --------
    >>> part = LearnedSinks(4608, heads=64, kv_heads=4, head_dim=192, value_dim=128, sink_keys=128)
    >>> [tensor.stored_shape for tensor in part.weights()][-2:]
    [(192,), (128, 4, 192)]

    """

    sink_keys: int = 0
    sink_values: bool = False

    def weights(self) -> Iterator[Tensor]:
        """Yield the matrices, the norm that keys alone have, and what is learned."""
        yield from super().weights()
        yield from under("k_layernorm", Norm(self.head_dim).weights())
        own = (("key", self.head_dim), ("value", self.value_dim))[: 2 if self.sink_values else 1]
        for name, wide in own if self.sink_keys else ():
            yield Tensor(f"param_sink_{name}", (self.sink_keys, self.kv_heads, wide), "bias", shard_axis=1)


def pangu_pro_moe(config: Config, name: str) -> Model:
    """Read either of the two, which share a type: the second says how wide the parts of its heads are."""
    second = config.has("qk_nope_dim") or config.has("qk_rope_dim") or config.has("v_channels")
    config.restates("architectures", [f"{SECOND if second else 'PanguProMoE'}ForCausalLM"])
    for field in ("architectures", "auto_map"):
        config.fields.pop(field, None)  # the classes of one type: which of them it is is told by the fields
    return second_one(config, name) if second else first_one(config, name)


def layers_of(
    config: Config, attention: Part, sparse: Part, norms: tuple[str, ...], *more: tuple[str, Part]
) -> list[Layer]:
    """Return the layers, dense where they are listed, with `more` beside the experts."""
    depth, width = config.size("num_hidden_layers"), config.size("hidden_size")
    dense = config.whole_numbers("mlp_only_layers")
    config.has("intermediate_size")  # the width of dense layers: needed only where there are some

    def layer(is_dense: bool) -> Layer:  # noqa: FBT001 (the kind of a layer)
        made = decoder_layer(attention, dense_mlp(config) if is_dense else sparse, width, norms)
        return made if is_dense else Layer((*made.parts, *more), formats=IN_32_BITS)

    return stack((index in dense for index in range(depth)), layer)


IN_32_BITS = (("mlp.gate.e_score_correction_bias", "fp32"),)


def first_one(config: Config, name: str) -> Model:
    """Read Pangu Pro MoE: of each group of experts a token takes one, which changes no tensor."""
    check_head_width(config)
    config.restates("head_dim", config.size("hidden_size") // config.size("num_attention_heads"))
    shared = config.optional("shared_expert_intermediate_size")
    sparse = moe(config, "num_experts", shared_width=shared)
    scale = ("mlp.router_scale", Values((1, sparse.experts), "norm"))
    model = decoder(config, name, layers_of(config, gqa(config, biased=True), sparse, PRE_NORMS, scale))
    return replace(model, text_type="PanguProMoEV1")


def second_one(config: Config, name: str) -> Model:
    """Read openPangu-R: heads of which a part is rotated, values in a width of their own, and sinks."""
    nope, rope, value = (config.size(field) for field in ("qk_nope_dim", "qk_rope_dim", "v_channels"))
    config.restates("head_dim", nope + rope)
    for field in ("attention_bias", "bias", "qkv_bias", "mlp_bias", "param_sink_of_head_num"):
        config.restates(field, False)  # noqa: FBT003 (a value that a field must have)
    config.restates("param_sink_scalar", 0)
    width = config.size("hidden_size")
    heads, kv_heads, _ = head_counts(config)
    attention = LearnedSinks(
        width,
        heads,
        kv_heads,
        nope + rope,
        rope_dim=rope,
        value_dim=value,
        sink_keys=config.count("param_sink_number") if config.has("param_sink_number") else 0,
        sink_values=config.flag("param_sink_with_value"),
    )
    biased = config.flag("router_enable_expert_bias")
    shared = config.optional("shared_expert_intermediate_size")
    sparse = moe(config, "num_experts", shared_width=shared, score_bias=biased, score_trained=True)
    config.restates("n_routed_experts", sparse.experts)
    config.restates("n_shared_experts", (shared or 0) // sparse.expert_width)
    dense = config.whole_numbers("mlp_only_layers")
    config.restates("first_k_dense_replace", *([len(dense)] if dense == tuple(range(len(dense))) else []))
    norms = (
        *PRE_NORMS,
        *(("pre_mlp_layernorm", "post_mlp_layernorm") if config.flag("sandwich_norm") else ()),
    )
    layers = layers_of(config, attention, sparse, norms)
    ahead = config.count("num_mtp_layers") if config.has("num_mtp_layers") else 0
    config.restates("num_nextn_predict_layers", ahead)
    extra = (
        ("enorm", Norm(width)),
        ("hnorm", Norm(width)),
        ("eh_proj", Linear(width, 2 * width)),
        ("shared_head.norm", Norm(width)),
    )
    parts = (*decoder_layer(attention, sparse, width, norms).parts, *extra)
    model = decoder(config, name, layers, (Layer(parts, formats=IN_32_BITS),) * ahead)
    return replace(model, text_type=SECOND)
