"""Names of tensors: canonical ones, and how each family's checkpoints spell them.

The ledger lists every tensor by itself, under one name whatever the family: ``mlp.experts.7.gate_proj``. A
checkpoint may have other words for it, and may store several in one: their outputs stand one below the other,
and experts lie along an axis of their own.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from memcalc.ledger.tensor import under

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping

    from memcalc.ledger.model import Model
    from memcalc.ledger.tensor import Tensor

__all__ = [
    "SPELLINGS",
    "Listed",
    "Spelling",
    "family_name",
    "header",
    "listed",
    "name_in_header",
    "stored_shape",
]


class Spelling(NamedTuple):
    """Canonical beginnings of names, or of what follows a dot in them, and the family's own words.

    Two names that become one are one tensor. What ends with a word of `turned` is stored inputs first. `also`
    are beginnings, in the family's words, that some checkpoints of it write in another way.
    """

    words: Mapping[str, str]
    turned: tuple[str, ...] = ()
    also: tuple[tuple[str, str], ...] = ()


VISION = "vision_tower.layers.{layer}."
TEXT = {"model.": "language_model.model.", "lm_head.": "language_model.lm_head."}
SPELLINGS: dict[str, Spelling] = {
    "phi3": Spelling(
        {
            **{f"self_attn.{letter}_proj.": "self_attn.qkv_proj." for letter in "qkv"},
            **{f"mlp.{half}_proj.": "mlp.gate_up_proj." for half in ("gate", "up")},
        }
    ),
    "gpt2": Spelling(
        {
            "model.embed_tokens.": "transformer.wte.",
            "model.embed_positions.": "transformer.wpe.",
            "model.norm.": "transformer.ln_f.",
            "model.layers.": "transformer.h.",
            "input_layernorm.": "ln_1.",
            "post_attention_layernorm.": "ln_2.",
            **{f"self_attn.{letter}_proj.": "attn.c_attn." for letter in "qkv"},
            "self_attn.o_proj.": "attn.c_proj.",
            "mlp.up_proj.": "mlp.c_fc.",
            "mlp.down_proj.": "mlp.c_proj.",
        },
        turned=("c_attn.weight", "c_proj.weight", "c_fc.weight"),
    ),
    "mixtral": Spelling(
        {"mlp.": "block_sparse_moe.", "gate_proj.": "w1.", "down_proj.": "w2.", "up_proj.": "w3."}
    ),
    "qwen3_next": Spelling(
        {
            **{f"linear_attn.in_proj_{half}.": "linear_attn.in_proj_qkvz." for half in ("qkv", "z")},
            **{f"linear_attn.in_proj_{half}.": "linear_attn.in_proj_ba." for half in "ba"},
            "mlp.shared_experts.": "mlp.shared_expert.",
        }
    ),
    "gpt_oss": Spelling(  # its rows of gate and up take turns, which no shape shows
        {
            "mlp.gate.": "mlp.router.",
            "experts.{expert}.gate_proj.weight": "experts.gate_up_proj",
            "experts.{expert}.up_proj.weight": "experts.gate_up_proj",
            "experts.{expert}.down_proj.weight": "experts.down_proj",
            "experts.{expert}.gate_proj.bias": "experts.gate_up_proj_bias",
            "experts.{expert}.up_proj.bias": "experts.gate_up_proj_bias",
            "experts.{expert}.down_proj.bias": "experts.down_proj_bias",
        },
        turned=("experts.gate_up_proj", "experts.down_proj"),
    ),
    "gemma3": Spelling(
        {
            **TEXT,
            "vision_tower.patches.": "vision_tower.embeddings.patch_embedding.",
            "vision_tower.positions.": "vision_tower.embeddings.position_embedding.",
            "vision_tower.norm.": "vision_tower.post_layernorm.",
            f"{VISION}self_attn.o_proj.": f"{VISION}self_attn.out_proj.",
            f"{VISION}mlp.up_proj.": f"{VISION}mlp.fc1.",
            f"{VISION}mlp.down_proj.": f"{VISION}mlp.fc2.",
            f"{VISION}input_layernorm.": f"{VISION}layer_norm1.",
            f"{VISION}post_attention_layernorm.": f"{VISION}layer_norm2.",
            "vision_tower.layers.": "vision_tower.encoder.layers.",
            "multi_modal_projector.weight": "multi_modal_projector.mm_input_projection_weight",
        },
        # Before version 5 transformers had a level more: index of https://github.com/Ibtasam-98/medgemma-27b-it,
        # commit 2488902, 2026-11.
        also=(("vision_tower.", "vision_tower.vision_model."),),
    ),
    "kimi_k25": Spelling(
        {
            **TEXT,
            "vision_tower.patches.": "vision_tower.patch_embed.proj.",
            "vision_tower.positions.": "vision_tower.patch_embed.pos_emb.",
            "vision_tower.norm.": "vision_tower.encoder.final_layernorm.",
            **{f"{VISION}self_attn.{letter}_proj.": f"{VISION}wqkv." for letter in "qkv"},
            f"{VISION}self_attn.o_proj.": f"{VISION}wo.",
            f"{VISION}mlp.up_proj.": f"{VISION}mlp.fc0.",
            f"{VISION}mlp.down_proj.": f"{VISION}mlp.fc1.",
            f"{VISION}input_layernorm.": f"{VISION}norm0.",
            f"{VISION}post_attention_layernorm.": f"{VISION}norm1.",
            "vision_tower.layers.": "vision_tower.encoder.blocks.",
            "mm_projector.in_proj.": "mm_projector.proj.0.",
            "mm_projector.out_proj.": "mm_projector.proj.2.",
        }
    ),
}


class Listed(NamedTuple):
    """One tensor of a checkpoint: its shape with outputs first, whose it is, and the ledger's own tensor.

    `part` is "text", "mtp" or "vision": the last two may be left out of a checkpoint as a whole.
    """

    shape: tuple[int, ...]
    part: str
    tensor: Tensor


def header(model: Model) -> dict[str, tuple[int, ...]]:
    """Return name and shape of every tensor of the checkpoint as the family spells it, vision tower too.

    >>> from memcalc.files.readers import read
    >>> small = {"model_type": "phi3", "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1,
    ...          "num_attention_heads": 2, "vocab_size": 10}
    >>> header(read(small))["model.layers.0.self_attn.qkv_proj.weight"]
    (24, 8)
    """
    return {
        name: stored_shape(model, name, one.shape) for name, one in listed(model).items() if one.part != "mtp"
    }


def stored_shape(model: Model, name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of an unquantised tensor as the family stores it: of some, inputs come first."""
    return turned(shape) if name.endswith(spelling(model).turned) else shape


def spelling(model: Model) -> Spelling:
    """Return how the family of a model spells names."""
    return SPELLINGS.get(model.model_type, Spelling({}))


def family_name(model: Model, name: str) -> str:
    """Return a canonical name in the words of the model's family.

    >>> import memcalc
    >>> family_name(memcalc.model("google/gemma-3-27b-it"), "model.norm.weight")
    'language_model.model.norm.weight'
    """
    return spelled(name, tuple(spelling(model).words.items()))


def listed(model: Model) -> dict[str, Listed]:
    """Return every tensor of the checkpoint by the family's name, what was joined in one as one.

    The layers for multi-token prediction stand behind the others, as in DeepSeek-V3's and GLM-4.5's files.
    """
    found: dict[str, Listed] = {}
    for layer, part, tensor in stored(model):
        name = family_name(model, tensor.name).replace("{layer}", str(layer))
        together = tensor.active_experts is not None and "{expert}" not in name
        shape = (tensor.experts, *tensor.stored_shape) if together else tensor.stored_shape
        experts = range(tensor.experts) if "{expert}" in name else (0,)
        for expert in experts:
            one = name.replace("{expert}", str(expert))
            whole = joined(found[one].shape, shape, int(together)) if one in found else shape
            found[one] = Listed(whole, part, tensor)
    return found


def name_in_header(model: Model, name: str, there: Container[str]) -> str:
    """Return the name of a tensor as a checkpoint has it, where the family's checkpoints differ.

    >>> import memcalc
    >>> name, other = "vision_tower.norm.weight", "vision_tower.vision_model.norm.weight"
    >>> name_in_header(memcalc.model("google/gemma-3-27b-it"), name, {other}) == other
    True
    """
    for ours, theirs in spelling(model).also:
        other = theirs + name.removeprefix(ours)
        if name.startswith(ours) and other in there:
            return other
    return name


def stored(model: Model) -> Iterator[tuple[int, str, Tensor]]:
    """Yield every tensor of the checkpoint: its layer's number, its part, experts of a layer together."""
    for name, part in model.outside:
        yield from ((0, "text", tensor) for tensor in under(name, part.weights()))
    for index, layer in enumerate((*model.layers, *model.mtp)):
        whose = "text" if index < len(model.layers) else "mtp"
        yield from ((index, whose, tensor) for tensor in under("model.layers.{layer}", layer.weights()))
    for layer in model.vision:
        yield from ((index, "vision", tensor) for index in range(layer.times) for tensor in layer.weights())


@cache
def spelled(name: str, words: tuple[tuple[str, str], ...]) -> str:
    """Return a name in a family's own words.

    >>> spelled("model.layers.{layer}.mlp.gate.weight", (("mlp.gate.", "mlp.router."),))
    'model.layers.{layer}.mlp.router.weight'
    """
    for ours, theirs in words:
        if name.startswith(ours):
            name = theirs + name.removeprefix(ours)
        else:
            name = name.replace(f".{ours}", f".{theirs}")
    return name


def joined(one: tuple[int, ...], other: tuple[int, ...], axis: int) -> tuple[int, ...]:
    """Return the shape of two arrays, one below the other along an axis."""
    return (*one[:axis], one[axis] + other[axis], *one[axis + 1 :])


def turned(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape with inputs before outputs."""
    return (*shape[:-2], shape[-1], shape[-2])
