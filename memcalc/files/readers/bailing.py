"""Ling and Ring 3: Kimi delta attention in most layers, MLA in the others, experts behind the first layers.

Held against transformers 5.23 in tests/oracles; states as in vllm-project/vllm 0.32, bailing_moe_v3.py.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from memcalc.data.record import record
from memcalc.errors import BadInputError
from memcalc.files.readers.common import decoder, decoder_layer, dense_mlp, moe, stack
from memcalc.files.readers.kimi_linear import latent_of
from memcalc.ledger.parts import KimiDelta, Linear, Norm
from memcalc.ledger.tensor import OUT, Tensor, linear

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memcalc.files.config import Config
    from memcalc.ledger.model import Layer, Model

__all__ = ["BailingDelta", "bailing_hybrid"]

KINDS = ("linear_attention", "full_attention")
# what the class keeps in fp32 whatever the model's dtype
IN_32_BITS = tuple(
    (f"self_attn.{name}", "fp32")
    for name in ("A_log", "dt_bias", *(f"{letter}_conv1d.weight" for letter in "qkv"))
)
LOW_RANK = ("f_a_proj", "f_b_proj", "g_a_proj", "g_b_proj", "A_log")


@record
class BailingDelta(KimiDelta):
    """Kimi delta attention whose decays and gate come from matrices of full rank.

    Source: names as in transformers' BailingHybridDeltaAttention.
    """

    def weights(self) -> Iterator[Tensor]:
        """Yield what Kimi delta attention has, with one matrix each for decays and gate."""
        yield from (one for one in super().weights() if not one.name.startswith(LOW_RANK))
        heads = (self.linear_key_heads, self.linear_key_dim)
        for letter in "fg":
            yield from linear(f"{letter}_proj", heads, self.width, shard_axis=OUT)
        yield Tensor("A_log", (self.linear_key_heads,), "bias", shard_axis=0)


# what the published files say of parts that their weights have, or have not
AS_PUBLISHED: tuple[tuple[str, object], ...] = (
    ("gated_attention_proj_granularity_type", "head_wise"),
    ("group_norm_size", 1),
    ("moe_router_enable_expert_bias", True),
    ("no_kda_lora", True),
    ("use_qk_norm", True),
)
NOT_SHAPES = ("expert_swiglu_limit_list", "linear_silu", "mtp_use_kda", "share_expert_swiglu_limit_list")


def check_published(config: Config) -> None:
    """Refuse what the published files do not say, and queries of which class and weights differ.

    Ling-3.0-tiny has queries of low rank, and so has vLLM; the class of transformers passes `q_lora_rank`
    over and would leave them without weights. Source: vllm-project/vllm, bailing_moe_v3.py, and NVIDIA-NeMo's
    Megatron-Bridge, bailing_moe3_bridge.py, whose tests have the config; 2026-11.

    Raises
    ------
    BadInputError
        So.

    """
    for field, value in AS_PUBLISHED:
        config.restates(field, value)
    for field in NOT_SHAPES:
        config.has(field)
    width, heads = config.size("moe_intermediate_size"), config.size("num_attention_heads")
    config.restates("moe_shared_expert_intermediate_size", width)
    config.restates("num_kv_heads_for_linear_attn", 0, heads)
    config.restates("rotary_dim", config.size("qk_rope_head_dim"))
    named, stated = config.fields.get("architectures"), config.fields.get("auto_map") or {}
    classes = [
        *(named if isinstance(named, list) else ()),
        *(stated.values() if isinstance(stated, dict) else ()),
    ]
    older = next((one for one in classes if re.search("BailingMoe(?!V3)", str(one))), None)
    if older is not None:  # Ling 2.5: linear attention of another kind under the same model_type
        expected, remedy = (
            "BailingMoeV3ForCausalLM",
            "its tensors are not known; its .safetensors alone gives them",
        )
        raise BadInputError("architectures", expected, older, remedy)
    if config.has("q_lora_rank") and named == ["BailingHybridForCausalLM"]:
        expected, rank = "null, as its class has no queries of low rank", config.value("q_lora_rank")
        remedy = "published weights are BailingMoeV3ForCausalLM's: correct architectures"
        raise BadInputError("q_lora_rank", expected, rank, remedy)


def bailing_hybrid(config: Config, name: str) -> Model:
    """Read Ling 3: every `layer_group_size`-th layer attends, or as it lists.

    A head of its own stands in the class of transformers 5.23, which names no tied weights, and in vLLM's
    (vllm-project/vllm, bailing_moe_v3.py, 2026-11), whatever `tie_word_embeddings` says.
    """
    depth, width = config.size("num_hidden_layers"), config.size("hidden_size")
    for field in ("kda_safe_gate", "kda_lower_bound", "rope_theta", "mtp_loss_scaling_factor"):
        config.has(field)
    for field in ("num_attention_heads", "head_dim", "short_conv_kernel_size"):
        config.has(field)  # needed only where there is no other name
    # transformers writes the width that is rotated as head_dim, and what that was under a name of its own
    own, size, kernel = (
        config.optional(f"linear_{name}") or config.size(usual)
        for name, usual in (
            ("num_heads", "num_attention_heads"),
            ("head_dim", "head_dim"),
            ("conv_kernel_dim", "short_conv_kernel_size"),
        )
    )
    check_published(config)
    delta = BailingDelta(width, own, own, size, size, kernel)
    latent, gate = latent_of(config), Linear(config.size("num_attention_heads"), width, cut=True)
    shared = config.size("n_shared_experts") * config.size("moe_intermediate_size")
    sparse = moe(config, "num_local_experts", shared_width=shared, score_bias=True)
    for field in ("layer_group_size", "intermediate_size"):
        config.has(field)  # needed only where there are some
    kinds = config.words("layer_types", KINDS, depth) or [
        KINDS[(index + 1) % config.size("layer_group_size") == 0] for index in range(depth)
    ]
    first = config.count("first_k_dense_replace")
    mlps = config.words("mlp_layer_types", ("dense", "sparse"), depth) or [
        "dense" if index < first else "sparse" for index in range(depth)
    ]

    def layer(kind: tuple[str, str]) -> Layer:
        mlp = dense_mlp(config) if kind[1] == "dense" else sparse
        if kind[0] == "full_attention":
            made = decoder_layer(latent, mlp, width)
            return replace(made, parts=(*made.parts, ("self_attn.g_proj", gate)))
        return replace(decoder_layer(delta, mlp, width), formats=IN_32_BITS)

    ahead = config.count("num_mtp_layers")
    layers = stack(zip(kinds, mlps, strict=True), layer)
    if "num_mtp_layers" not in config.stated:  # the class's default: whether files have them is not said
        model = decoder(config, name, layers, ties=False)
        return replace(model, not_read=(f"num_mtp_layers {ahead}",)) if ahead else model
    # vllm-project/vllm, bailing_moe_v3_mtp.py, 2026-11: it attends and has experts
    norms = ((one, Norm(width)) for one in ("enorm", "hnorm", "final_layernorm"))
    last = layer((KINDS[1], "sparse"))
    extra = (*norms, ("eh_proj", Linear(width, 2 * width)))
    mtp = (replace(last, parts=(*last.parts, *extra)),) * ahead
    return decoder(config, name, layers, mtp, ties=False)
