"""MiniMax-M3: attention that looks at chosen blocks of tokens in most layers, experts, and a vision tower.

Held against transformers 5.23 in tests/oracles.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from memcalc.data.record import record
from memcalc.errors import BadInputError
from memcalc.files.config_classes import config_class
from memcalc.files.readers.common import PRE_NORMS, decoder, gqa, moe, stack
from memcalc.files.readers.vision import Patches, hidden_size_of, nested_text_model
from memcalc.ledger.model import Layer
from memcalc.ledger.parts import GQA, MLP, Linear, Norm, Part
from memcalc.ledger.tensor import OUT, Tensor, linear, under

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from memcalc.files.config import Config
    from memcalc.ledger.model import Model, Named
    from memcalc.ledger.parts.plain import Kept

__all__ = ["BlockIndexer", "minimax_m3", "minimax_m3_vl", "minimax_m3_vl_text"]


@record
class BlockIndexer(Part):
    """What chooses the blocks of tokens that attention looks at: heads of its own, and one key a token.

    The key is kept in 16 bits whatever the rest of the cache is, and whole on every tensor-parallel rank.
    Source: vllm-project/vllm 0.32, models/minimax_m3; names as in transformers' MiniMaxM3VLIndexer.

    Parameters
    ----------
    width : int
        Width of the residual stream.
    block_index_heads, block_index_dim : int
        Its query heads, and the numbers of each and of its key.
    block_value_dim : int, optional
        Numbers of a value that lies beside the key, and that nothing reads: llama.cpp has keys in no cache
        without values, and both are in the formats of the rest. None in other engines.

    Examples
    --------
    >>> part = BlockIndexer(width=6144, block_index_heads=4, block_index_dim=128)
    >>> sum(tensor.count for tensor in part.weights())
    3932416
    >>> sum(tensor.count for tensor in part.cache(1, 1, lambda context, window: context))
    128

    """

    counted = "attention_depth"
    width: int
    block_index_heads: int
    block_index_dim: int
    block_value_dim: int | None = None

    def weights(self) -> Iterator[Tensor]:
        """Yield the projections of queries and key, and their norms."""
        heads = (self.block_index_heads, self.block_index_dim)
        yield from linear("q_proj", heads, self.width, shard_axis=OUT)
        yield from linear("k_proj", self.block_index_dim, self.width)
        for letter in "qk":
            yield from under(f"{letter}_norm", Norm(self.block_index_dim).weights())

    def cache(self, batch: int, context: int, kept: Kept) -> Iterator[Tensor]:
        """Yield the key of every token."""
        tokens, values = kept(context, None), self.block_value_dim
        form = "bf16" if values is None else None
        yield Tensor("block_keys", (batch, 1, tokens, self.block_index_dim), "cache", format=form)
        if values is not None:
            yield Tensor("block_values", (batch, 1, tokens, values), "cache")


def minimax_m3_vl_text(config: Config, name: str) -> Model:
    """Read the text model, by its class's fields or by those of MiniMax's own files."""
    sparse = stated_inside(config) if config.has("sparse_attention_config") else {}
    attends = chosen(config, "layer_types", "minimax_m3_sparse", sparse.get("sparse_attention_freq"))
    routed = chosen(config, "mlp_layer_types", "sparse", config.value("moe_layer_freq"), usual=True)
    check_sparse(config, sparse, attends)
    for field in (
        "swiglu_alpha",
        "swiglu_limit",
        "index_block_size",
        "index_topk_blocks",
        "index_local_blocks",
    ):
        config.has(field)
    width = config.size("hidden_size")
    attention = gqa(config, qk_norm=True, rope_dim=config.size("rotary_dim"))
    indexer = BlockIndexer(
        width,
        index_size(config, sparse, "index_n_heads", "sparse_num_index_heads"),
        index_size(config, sparse, "index_head_dim", "sparse_index_dim"),
    )
    experts = moe(
        config,
        "num_local_experts",
        "intermediate_size",
        shared_width=config.size("shared_intermediate_size"),
        score_bias=True,
    )
    dense, norm = MLP(width, config.size("dense_intermediate_size")), Norm(width)

    def layer(kind: tuple[bool, bool]) -> Layer:
        looks: Named = (("self_attn.indexer", indexer),) if kind[0] else ()
        mlp: Part = experts if kind[1] else dense
        norms = ((each, norm) for each in PRE_NORMS)
        return Layer((("self_attn", attention), *looks, ("mlp", mlp), *norms))

    model = decoder(config, name, stack(zip(attends, routed, strict=True), layer))
    beside = ("num_mtp_modules", "num_nextn_predict_layers")
    ahead = tuple(f"{field} {config.value(field)}" for field in beside if config.has(field))
    return replace(model, not_read=ahead)


def chosen(config: Config, field: str, word: str, listed: object, *, usual: bool = False) -> Sequence[bool]:
    """Return which layers are of a kind: as `field` lists them, or as a list of 0 and 1 does.

    Raises
    ------
    BadInputError
        The list of numbers is none, or has another length.

    """
    depth = config.size("num_hidden_layers")
    other = "dense" if word == "sparse" else "full_attention"
    words = config.words(field, (word, other), depth)
    if words is not None:
        return [one == word for one in words]
    if listed is None:
        return [usual] * depth
    if not isinstance(listed, list) or len(listed) != depth or any(one not in (0, 1) for one in listed):
        expected = f"a list of {depth} numbers, each 0 or 1"
        raise BadInputError(f"{field}, as numbers", expected, listed, "correct config.json")
    return [one == 1 for one in listed]


SPARSE = {
    "use_sparse_attention", "sparse_attention_freq", "sparse_num_index_heads", "sparse_index_dim",
    "sparse_block_size", "sparse_topk_blocks", "sparse_local_block", "sparse_init_block", "sparse_score_type",
    "sparse_disable_index_value",
}  # fmt: skip


def stated_inside(config: Config) -> dict[str, object]:
    """Return the object about sparse attention: what else stands in it is refused with the rest."""
    inside = config.nested("sparse_attention_config", None)
    inside.read.update(SPARSE)
    return inside.fields


def check_sparse(config: Config, stated: dict[str, object], attends: Sequence[bool]) -> None:
    """Refuse what would give an indexer values of its own, and what other fields restate otherwise.

    Raises
    ------
    BadInputError
        A field of ``sparse_attention_config`` has another meaning.

    """
    values = stated.get("sparse_disable_index_value")
    if values is not None and (not isinstance(values, list) or [one == 1 for one in values] != list(attends)):
        field = "sparse_attention_config.sparse_disable_index_value"
        remedy = "an indexer with values is not understood"
        raise BadInputError(field, "1 for each sparse layer", values, remedy)
    if stated.get("use_sparse_attention", True) is not True:
        field, remedy = "sparse_attention_config.use_sparse_attention", "leave sparse_attention_config out"
        raise BadInputError(field, "true", stated["use_sparse_attention"], remedy)
    for field, value in (
        ("qk_norm_type", "per_head"),
        ("use_qk_norm", True),
        ("use_gemma_norm", True),
        ("use_routing_bias", True),
        ("attention_output_gate", False),
        ("n_shared_experts", 1),
        ("moe_intermediate_size", config.value("intermediate_size")),
    ):
        config.restates(field, value)
    config.has("first_k_dense_replace")  # said again by moe_layer_freq, which the class reads
    config.has("partial_rotary_factor")  # and by rotary_dim


def index_size(config: Config, stated: dict[str, object], field: str, other: str) -> int:
    """Return a size of the indexer, which MiniMax's files state in an object of their own."""
    value = stated.get(other)
    if value is None:
        return config.size(field)
    config.has(field)
    if type(value) is not int or value < 1:
        given = f"sparse_attention_config.{other}"
        raise BadInputError(given, "a whole number >= 1", value, "correct the field in config.json")
    return value


def minimax_m3(config: Config, name: str) -> Model:
    """Read a text model under MiniMax's own name of it."""
    return minimax_m3_vl_text(config, name)


def minimax_m3_vl(config: Config, name: str) -> Model:
    """Read MiniMax-M3 with its vision tower."""
    text = nested_text_model(config, name, "minimax_m3_vl_text", tied_by_either=True)
    vision = tower(config, hidden_size_of(text))
    return replace(
        text, text_type="", vision=vision
    )  # its files have one set of names, the text's are others


def tower(config: Config, text_width: int) -> tuple[Layer, ...]:
    """Read the tower, and the two pairs of matrices that project a patch and join neighbours."""
    vision = config.nested("vision_config", config_class("minimax_m3_vl_vision"))
    vision.restates("model_type", "clip_vision_model", "minimax_m3_vl_vision")
    compressed = vision.value("img_token_compression_config") or {}
    if not isinstance(compressed, dict):
        raise BadInputError("img_token_compression_config", "an object", compressed, "correct config.json")
    config.restates("img_token_compression_config", compressed)
    width, heads = vision.size("hidden_size"), vision.size("num_attention_heads")
    if width % heads:
        expected = "a divisor of hidden_size"
        raise BadInputError("vision_config.num_attention_heads", expected, heads, "correct config.json")
    joined = compressed.get("spatial_merge_size") or vision.size("spatial_merge_size")
    frames = compressed.get("temporal_patch_size") or vision.size("temporal_patch_size")
    for field, value in (("spatial_merge_size", joined), ("temporal_patch_size", frames)):
        vision.restates(field, value)
        if type(value) is not int or value < 1:
            raise BadInputError(f"vision_config.{field}", "a whole number >= 1", value, "correct config.json")
    for field in ("projection_dim", "vocab_size", "vision_segment_max_frames", "position_embedding_type"):
        vision.has(field)  # a CLIP's, of which nothing is built here
    vision.has("image_size")
    vision.restates("rope_mode", "3d")
    norm, inner = Norm(width, bias=True), config.size("projector_hidden_size")
    patches = Patches(width, vision.size("num_channels"), vision.size("patch_size"), frames, bias=False)
    mlp = MLP(width, vision.size("intermediate_size"), gated=False, bias=True)
    attention = GQA(width, heads, heads, width // heads, qkv_bias=True, out_bias=True)
    layer: Named = (
        ("vision_tower.layers.{layer}.self_attn", attention),
        ("vision_tower.layers.{layer}.mlp", mlp),
        ("vision_tower.layers.{layer}.input_layernorm", norm),
        ("vision_tower.layers.{layer}.post_attention_layernorm", norm),
    )
    merged = text_width * joined**2
    config.has("merged_hidden_size")  # transformers writes it, and makes it anew
    config.restates("multimodal_projector_bias", True)  # noqa: FBT003 (a value that a field must have)
    projection: Named = (
        ("multi_modal_projector.linear_1", Linear(inner, width, bias=True)),
        ("multi_modal_projector.linear_2", Linear(text_width, inner, bias=True)),
        ("patch_merge_mlp.linear_1", Linear(inner, merged, bias=True)),
        ("patch_merge_mlp.linear_2", Linear(text_width, inner, bias=True)),
    )
    return (
        Layer((("vision_tower.patches", patches), ("vision_tower.norm", norm))),
        Layer(layer, times=vision.size("num_hidden_layers")),
        Layer(projection),
    )
