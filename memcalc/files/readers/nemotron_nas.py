"""Llama-Nemotron Super and Ultra: layers that a search has thinned out, each as its config says.

Source: the published code, which memcalc/data/published_classes.jsonl names; Bercovich et al. 2024,
arXiv:2411.19146.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memcalc.errors import BadInputError
from memcalc.files.readers.common import check_head_width, decoder, stack
from memcalc.ledger.model import Layer
from memcalc.ledger.parts import GQA, MLP
from memcalc.ledger.parts.linear import Linear
from memcalc.ledger.parts.plain import Norm

if TYPE_CHECKING:
    from memcalc.files.config import Config
    from memcalc.ledger.model import Model
    from memcalc.ledger.parts.plain import Part

    Named = tuple[tuple[str, Part], ...]

__all__ = ["nemotron_nas"]

KINDS = ("no_op", "replace_with_linear")
ATTENTION = (
    "num_sink_tokens", "sparsify", "unshifted_sink", "use_prefill_window_in_sink_attention", "window_length",
)  # fmt: skip
MULTIPLE = 256  # inner widths are rounded up to it


def nemotron_nas(config: Config, name: str) -> Model:
    """Read a model whose layers may lack attention or feed-forward part, or have a matrix instead."""
    check_head_width(config)
    config.has("intermediate_size")  # null in published files, as is the next: each layer has its own
    config.has("num_key_value_heads")
    blocks, depth = config.value("block_configs"), config.size("num_hidden_layers")
    if not isinstance(blocks, list) or len(blocks) != depth:
        expected = f"a list of {depth} objects, one a layer"
        raise BadInputError("block_configs", expected, blocks, "correct config.json")
    kinds = [(attention_of(config, block), inner_of(config, block)) for block in blocks]
    return decoder(config, name, stack(kinds, lambda kind: Layer((*kind[0], *kind[1]))))


def part_of(block: Any, part: str, known: tuple[str, ...], sized: str) -> dict[str, Any]:
    """Return what a block says of a part: whether it is there, a size, and fields that have to say none."""
    stated = block.get(part) if isinstance(block, dict) else None
    field = f"block_configs.{part}"
    if not isinstance(stated, dict):
        raise BadInputError(field, "an object for each layer", stated, "correct config.json")
    for one, value in stated.items():
        if one in KINDS and not isinstance(value, bool):
            raise BadInputError(f"{field}.{one}", "true or false", value, "correct config.json")
        if one not in (*KINDS, sized) and (value not in (None, False) or one not in known):
            raise BadInputError(f"{field}.{one}", "none", value, "such a layer is not understood")
    return stated


def attention_of(config: Config, block: object) -> Named:
    """Return a layer's attention and its norm: none, a matrix, or groups of heads."""
    width, heads = config.size("hidden_size"), config.size("num_attention_heads")
    stated = part_of(block, "attention", ATTENTION, "n_heads_in_group")
    if stated.get("no_op"):
        return ()
    norm = ("input_layernorm", Norm(width))
    if stated.get("replace_with_linear"):
        return (("self_attn.linear_attn", Linear(width, width)), norm)
    group, biased = stated.get("n_heads_in_group"), config.flag("attention_bias")
    if type(group) is not int or group < 1 or heads % group:
        field = "block_configs.attention.n_heads_in_group"
        raise BadInputError(field, "a divisor of num_attention_heads", group, "correct config.json")
    attention = GQA(width, heads, heads // group, width // heads, qkv_bias=biased, out_bias=biased)
    return (("self_attn", attention), norm)


def inner_of(config: Config, block: object) -> Named:
    """Return a layer's feed-forward part and its norm: none, a matrix, or a width of its own."""
    width, stated = config.size("hidden_size"), part_of(block, "ffn", ("sparsify",), "ffn_mult")
    if stated.get("no_op"):
        return ()
    norm = ("post_attention_layernorm", Norm(width))
    if stated.get("replace_with_linear"):
        return (("mlp.linear_mlp", Linear(width, width)), norm)
    times = stated.get("ffn_mult")
    if isinstance(times, bool) or not isinstance(times, int | float) or not 0 < times <= 1024:
        raise BadInputError("block_configs.ffn.ffn_mult", "a number above 0", times, "correct config.json")
    inner = -(-int(2 * times * width / 3) // MULTIPLE) * MULTIPLE
    return (("mlp", MLP(width, inner, bias=config.flag("mlp_bias"))), norm)
