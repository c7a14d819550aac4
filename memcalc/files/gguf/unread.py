"""The cache of a GGUF file whose architecture has no reader: only where its keys leave no doubt.

Every layer has to have keys and values of full attention, in the widths that key-values and tensors both
state, and nothing that is not known to leave the cache alone. Source of the keys: ggml-org/llama.cpp,
src/llama-arch.cpp and src/models/*.cpp (load_arch_hparams), 2026-11.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from memcalc.errors import BadInputError
from memcalc.files.gguf.header import Listing
from memcalc.files.gguf.values import Values

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memcalc.files.safetensors import TensorInfo

    Tensors = Mapping[str, TensorInfo | None]

__all__ = ["cache_stated"]

# keys behind the architecture's name that change no layer's cache, whatever they say
HARMLESS = re.compile(
    r"context_length|embedding_length|block_count|feed_forward_length|vocab_size|tensor_data_layout"
    r"|use_parallel_residual|logit_scale|residual_scale|embedding_scale|attn_logit_softcapping"
    r"|final_logit_softcapping|router_logit_softcapping|leading_dense_block_count|interleave_moe_layer_step"
    r"|moe_every_n_layers|expert_\w+|rope\..*|swiglu_clamp_\w+"
    r"|attention\.(head_count|head_count_kv|key_length|value_length|layer_norm_epsilon|layer_norm_rms_epsilon"
    r"|scale|clamp_kqv|max_alibi_bias|temperature_\w+|output_scale|value_scale)"
)
# tensors of a layer beside its keys and values that remember nothing
SILENT = re.compile(
    r"(attn_(q|output|norm|norm_2|q_norm|k_norm|sub_norm|output_norm|sinks|rot_embd)|attn_post_norm|ffn_\w+"
    r"|post_attention_norm|post_ffw_norm|layer_output_norm|exp_probs_b|rope_freqs)(\.weight|\.bias)?"
)
HIDDEN = ("exaone4", "llama4", "smallthinker")  # windows in llama.cpp's code where no key states them
KEYS = re.compile(r"attn_(k|v|qkv)(\.weight|\.bias)")


def cache_stated(values: Mapping[str, object], tensors: Tensors) -> tuple[dict[str, int] | None, str]:
    """Return what is cached of a token in 16 bits, or why that is not known.

    Parameters
    ----------
    values : mapping
        The key-values of the file.
    tensors : mapping
        Its tensors.

    """
    name = values.get("general.architecture")
    if not isinstance(name, str):
        return None, "the file names no architecture"
    stated = Values(values, tensors, name)
    try:
        doubt = doubtful(stated, tensors)
        numbers = None if doubt else token_numbers(stated, tensors)
    except BadInputError as error:
        return None, str(error)
    if numbers is None:
        return None, doubt
    growth = {"bytes_per_token": 2 * numbers, "bytes_per_token_in_window": 2 * numbers}
    return {**growth, "state_bytes_per_sequence": 0}, ""


def doubtful(stated: Values, tensors: Tensors) -> str:
    """Return what may be remembered in another way than by full attention; empty if nothing."""
    if stated.name in HIDDEN:
        return f"llama.cpp has windows of {stated.name} that no key states"
    for key in stated.values:
        word = key.removeprefix(f"{stated.name}.")
        if word != key and HARMLESS.fullmatch(word) is None:
            return f"{key} may change it"
    for name in tensors:
        found = re.fullmatch(r"blk\.(\d+)\.(.+)", name)
        if found is None and re.match(r"token_|output|rope_|position_embd|per_layer", name) is None:
            return f"the tensor {name} may belong to another one"
        if found is not None and int(found[1]) >= stated.blocks:
            return f"the tensor {name} is in none of {stated.blocks} layers"
        if found is not None and not (SILENT.fullmatch(found[2]) or KEYS.fullmatch(found[2])):
            return f"the tensor {name} may remember something else"
    return ""


def token_numbers(stated: Values, tensors: Tensors) -> int:
    """Return the numbers that are cached of a token in all layers.

    Raises
    ------
    BadInputError
        A layer's tensors have other widths than the key-values state.

    """
    heads, kv_heads = of_layers(stated, "head_count"), of_layers(stated, "head_count_kv")
    if stated.get("attention.key_length") is None:
        width = stated.size("embedding_length") // max(heads)
        key = value = width
    else:
        key, value = stated.size("attention.key_length"), stated.size("attention.value_length")
    total = 0
    for layer in range(stated.blocks):
        joined, own = heads[layer] * key, kv_heads[layer] * (key + value)
        names = {part: tensors.get(f"blk.{layer}.attn_{part}.weight") for part in ("k", "v", "qkv")}
        rows = {part: 0 if info is None else info.shape[0] for part, info in names.items()}
        apart = {"k": kv_heads[layer] * key, "v": kv_heads[layer] * value, "qkv": 0}
        if rows not in (apart, {"k": 0, "v": 0, "qkv": joined + own if own else 0}):
            expected = f"{kv_heads[layer]} key/value heads of {key} and {value}"
            remedy = "the key-values state another width"
            raise BadInputError(f"blk.{layer}", expected, rows, remedy)
        total += own
    return total


def of_layers(stated: Values, key: str) -> tuple[int, ...]:
    """Return a number of heads for each layer: one for all, or a list.

    Raises
    ------
    BadInputError
        It is not stated, or the list has another length.

    """
    field, blocks = f"{stated.name}.attention.{key}", stated.blocks
    found = stated.values.get(field)
    numbers = found.numbers if isinstance(found, Listing) else None
    if numbers is not None and len(numbers) == blocks and all(type(one) is int for one in numbers):
        return tuple(int(one) for one in numbers)
    if type(found) is not int:
        raise BadInputError(field, f"a whole number, or one for each of {blocks} layers", found, "not stated")
    return (found,) * blocks
