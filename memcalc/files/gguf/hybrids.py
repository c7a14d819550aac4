"""Key-values of GGUF files whose layers differ: some attend, others have a state, or windows and wider heads.

What differs from layer to layer stands in lists. Source of the keys: ggml-org/llama.cpp,
gguf-py/gguf/constants.py and src/models/*.cpp (load_arch_hparams), read 2026-11.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.errors import BadInputError
from memcalc.files.gguf.header import Listing
from memcalc.files.gguf.values import CONVERT, attending

if TYPE_CHECKING:
    from collections.abc import Callable

    from memcalc.files.gguf.values import Fields, Values

__all__ = ["HYBRIDS"]


def of_layers(values: Values, key: str) -> tuple[int, ...]:
    """Return a number of each layer: a list, or one for all, 0 where none is stated.

    Raises
    ------
    BadInputError
        The list has another length.

    """
    field, depth = f"{values.name}.{key}", values.blocks
    found = values.values.get(field)
    if not isinstance(found, Listing):
        return (values.get(key) or 0,) * depth
    numbers = found.numbers or ()
    if len(numbers) != depth or not all(isinstance(one, int) and one >= 0 for one in numbers):
        raise BadInputError(field, f"a list of {depth} numbers, one a layer", found, CONVERT)
    return tuple(int(one) for one in numbers)


def stream(values: Values) -> Fields:
    """Return what all of them state, the most of a layer where layers differ."""
    values.under(num_hidden_layers="block_count", vocab_size="vocab_size")
    heads = {"num_key_value_heads": "attention.head_count_kv", "intermediate_size": "feed_forward_length"}
    most = {field: max(of_layers(values, key)) for field, key in heads.items()}
    return {
        **values.sizes(hidden_size="embedding_length", max_position_embeddings="context_length"),
        **values.stated(num_attention_heads="attention.head_count"),
        **{field: number for field, number in most.items() if number},
        "num_hidden_layers": values.blocks,
        "vocab_size": values.vocab,
        "tie_word_embeddings": "output.weight" not in values.tensors,
    }


def has(values: Values, tensor: str) -> bool:
    """Say whether a layer has a tensor."""
    return any(f"blk.{layer}.{tensor}" in values.tensors for layer in range(values.blocks))


def kinds(values: Values, attends: str, other: str) -> list[str]:
    """Return the word for each layer: those without key/value heads do not attend."""
    return [attends if heads else other for heads in of_layers(values, "attention.head_count_kv")]


def ssm(values: Values, prefix: str = "mamba_") -> Fields:
    """Return the sizes of Mamba-2, in Granite's words."""
    inner, heads = values.size("ssm.inner_size"), values.size("ssm.time_step_rank")
    return {
        f"{prefix}d_conv": values.size("ssm.conv_kernel"),
        f"{prefix}d_state": values.size("ssm.state_size"),
        f"{prefix}n_groups": values.size("ssm.group_count"),
        f"{prefix}n_heads": heads,
        f"{prefix}d_head": inner // heads,
        f"{prefix}conv_bias": has(values, "ssm_conv1d.bias"),
    }


def mamba(values: Values) -> Fields:
    """Read Mamba and Falcon-Mamba."""
    inner, width = values.size("ssm.inner_size"), values.size("embedding_length")
    found = {name: one for name, one in stream(values).items() if name != "intermediate_size"}
    return {
        "model_type": "mamba",
        **found,
        **values.sizes(state_size="ssm.state_size", conv_kernel="ssm.conv_kernel"),
        **values.sizes(time_step_rank="ssm.time_step_rank"),
        "expand": inner // width,
        "intermediate_size": inner,
        "use_conv_bias": has(values, "ssm_conv1d.bias"),
        "use_bias": has(values, "ssm_in.bias"),
    }


def mamba2(values: Values) -> Fields:
    """Read Mamba-2."""
    inner, width = values.size("ssm.inner_size"), values.size("embedding_length")
    found = {name: one for name, one in stream(values).items() if name != "intermediate_size"}
    return {
        "model_type": "mamba2",
        **found,
        **values.sizes(state_size="ssm.state_size", conv_kernel="ssm.conv_kernel"),
        **values.sizes(num_heads="ssm.time_step_rank", n_groups="ssm.group_count"),
        "head_dim": inner // values.size("ssm.time_step_rank"),
        "expand": inner // width,
        "use_conv_bias": has(values, "ssm_conv1d.bias"),
        "use_bias": has(values, "ssm_in.bias"),
    }


def falcon_h1(values: Values) -> Fields:
    """Read Falcon-H1."""
    biased = {"attention_bias": "attn_q.bias", "mlp_bias": "ffn_up.bias", "projectors_bias": "ssm_out.bias"}
    return {
        "model_type": "falcon_h1",
        **attending(values),
        **ssm(values),
        **{field: has(values, tensor) for field, tensor in biased.items()},
        "mamba_d_ssm": values.size("ssm.inner_size"),
        "mamba_proj_bias": has(values, "ssm_in.bias"),
        "mamba_rms_norm": has(values, "ssm_norm.weight"),
    }


def granite(values: Values) -> Fields:
    """Read Granite 4: without routed experts the shared one is the feed-forward part."""
    experts, found = values.get("expert_count") or 0, stream(values)
    inner = values.get("expert_feed_forward_length") or found["intermediate_size"]
    shared = values.get("expert_shared_feed_forward_length") if experts else found["intermediate_size"]
    return {
        "model_type": "granitemoehybrid",
        **found,
        **ssm(values),
        "layer_types": kinds(values, "attention", "mamba"),
        "mamba_expand": values.size("ssm.inner_size") // values.size("embedding_length"),
        "mamba_proj_bias": has(values, "ssm_in.bias"),
        "attention_bias": has(values, "attn_q.bias"),
        "intermediate_size": inner,
        "shared_intermediate_size": shared,
        "num_local_experts": experts,
        "num_experts_per_tok": values.get("expert_used_count") or 0,
    }


def lfm2(values: Values) -> Fields:
    """Read LFM2, with experts or without."""
    found = {
        **stream(values),
        **values.sizes(conv_L_cache="shortconv.l_cache"),
        "layer_types": kinds(values, "full_attention", "conv"),
        "conv_bias": has(values, "shortconv.conv.bias"),
    }
    if not values.get("expert_count"):
        return {"model_type": "lfm2", **found, "block_auto_adjust_ff_dim": False}
    return {
        "model_type": "lfm2_moe",
        **found,
        **values.sizes(num_experts="expert_count", num_experts_per_tok="expert_used_count"),
        **values.sizes(moe_intermediate_size="expert_feed_forward_length"),
        "num_dense_layers": values.get("leading_dense_block_count") or 0,
        "use_expert_bias": has(values, "exp_probs_b.bias"),
    }


def nemotron_h(values: Values) -> Fields:
    """Read Nemotron-H and Nemotron 3: which kind a layer is the lists say, and its tensors."""
    both = zip(
        of_layers(values, "attention.head_count_kv"), of_layers(values, "feed_forward_length"), strict=True
    )
    letters = ""
    for layer, (heads, inner) in enumerate(both):
        routed = f"blk.{layer}.ffn_gate_inp.weight" in values.tensors
        letters += "*" if heads else "E" if routed else "-" if inner else "M"
    state = ssm(values, "")
    found = {
        "model_type": "nemotron_h",
        **stream(values),
        **values.stated(head_dim="attention.key_length"),
        "hybrid_override_pattern": letters,
        "mamba_num_heads": state["n_heads"],
        "mamba_head_dim": state["d_head"],
        "ssm_state_size": state["d_state"],
        "conv_kernel": state["d_conv"],
        "n_groups": state["n_groups"],
        "use_conv_bias": state["conv_bias"],
        "use_bias": has(values, "ssm_in.bias"),
        "attention_bias": has(values, "attn_q.bias"),
        "mlp_bias": has(values, "ffn_up.bias"),
    }
    if "E" not in letters:
        return found
    latent = values.get("moe_latent_size")
    return {
        **found,
        **values.sizes(n_routed_experts="expert_count", num_experts_per_tok="expert_used_count"),
        **values.sizes(moe_intermediate_size="expert_feed_forward_length"),
        **values.sizes(moe_shared_expert_intermediate_size="expert_shared_feed_forward_length"),
        **({"moe_latent_size": latent} if latent else {}),
    }


def gemma4(values: Values) -> Fields:
    """Read Gemma 4's text model: layers without a window have heads of their own width and number."""
    near = of_layers(values, "attention.sliding_window_pattern")
    heads, inner = of_layers(values, "attention.head_count_kv"), of_layers(values, "feed_forward_length")
    far = [layer for layer in range(values.blocks) if not near[layer]]
    borrowing = values.get("attention.shared_kv_layers") or 0
    own = [layer for layer in far if layer < values.blocks - borrowing]
    same = bool(own) and f"blk.{own[0]}.attn_v.weight" not in values.tensors
    few = {heads[layer] for layer in far}
    found = {
        "model_type": "gemma4_text",
        **stream(values),
        **values.sizes(head_dim="attention.key_length_swa", global_head_dim="attention.key_length"),
        **values.sizes(sliding_window="attention.sliding_window"),
        "num_key_value_heads": heads[near.index(1)] if 1 in near else heads[0],
        "layer_types": ["sliding_attention" if one else "full_attention" for one in near],
        "num_kv_shared_layers": borrowing,
        "hidden_size_per_layer_input": values.get("embedding_length_per_layer_input") or 0,
        "vocab_size_per_layer_input": values.vocab,
        "intermediate_size": inner[0],
        "use_double_wide_mlp": inner[-1] == 2 * inner[0],
        "attention_k_eq_v": same,
        **({"num_global_key_value_heads": few.pop()} if same and len(few) == 1 else {}),
    }
    if not values.get("expert_count"):
        return found
    sizes = {"num_experts": "expert_count", "top_k_experts": "expert_used_count"}
    routed = values.sizes(**sizes, moe_intermediate_size="expert_feed_forward_length")
    return {**found, **routed, "enable_moe_block": True}


HYBRIDS: dict[str, Callable[[Values], Fields]] = {
    "falcon-h1": falcon_h1,
    "gemma4": gemma4,
    "granitehybrid": granite,
    "lfm2": lfm2,
    "lfm2moe": lfm2,
    "mamba": mamba,
    "mamba2": mamba2,
    "nemotron_h": nemotron_h,
    "nemotron_h_moe": nemotron_h,
}
