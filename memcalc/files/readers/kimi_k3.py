"""Kimi-K3: Kimi Linear with gates of full rank, residuals that are mixed, and latent experts, behind MoonViT.

Source: vllm-project/vllm 0.32, models/kimi_k3/nvidia (model.py, kda.py, mla.py) and model_executor/models/
kimi_k25_vit.py, read 2026-11; transformers 5.23 has no class of it.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING

from memcalc.data.record import record
from memcalc.errors import BadInputError
from memcalc.files.readers.common import decoder, dense_mlp, moe, stack
from memcalc.files.readers.kimi import NAMES
from memcalc.files.readers.kimi_linear import kinds_of, latent_of, linear_sizes, stated_inside
from memcalc.files.readers.vision import Patches, hidden_size_of
from memcalc.ledger.model import Layer
from memcalc.ledger.parts import GQA, MLP, KimiDelta, Linear, Norm, Part, PositionTable
from memcalc.ledger.tensor import OUT, Tensor, linear

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memcalc.files.config import Config
    from memcalc.ledger.model import Model, Named

__all__ = ["GatedKimiDelta", "Mixer", "kimi_k3", "kimi_k3_text"]


@record
class GatedKimiDelta(KimiDelta):
    """Kimi delta attention whose output gate has full rank, as in Kimi-K3.

    The file has 128 decays for its 96 heads: the rest is never read, and is not counted.
    """

    def weights(self) -> Iterator[Tensor]:
        """Yield what Kimi delta attention has, with one matrix for the gate."""
        kept = (one for one in super().weights() if not one.name.startswith(("g_a_proj", "g_b_proj")))
        for one in kept:
            flat = one.name == "A_log"
            yield Tensor("A_log", (self.linear_key_heads,), "bias", shard_axis=0) if flat else one
        heads = (self.linear_key_heads, self.linear_key_dim)
        yield from linear("g_proj", heads, self.width, shard_axis=OUT)


@record
class Mixer(Part):
    """A row that says how much of each earlier residual is taken: every rank holds it, in 16 bits.

    Parameters
    ----------
    width : int
        Width of the residual stream.

    Examples
    --------
    >>> [(tensor.kind, tensor.stored_shape) for tensor in Mixer(width=7168).weights()]
    [('router', (1, 7168))]

    """

    width: int

    def weights(self) -> Iterator[Tensor]:
        """Yield the row."""
        yield Tensor("weight", (1, self.width), "router")


# What its files store otherwise than their quantisation says, read off a shard: docs.rs/ferrox-models 0.8,
# 2026-11. With it the trunk has the 108.81 GB that github.com/FareedKhan-dev/kimi-k3-in-c states.
WIDE = tuple(
    (f"self_attn.{name}", "fp32")
    for name in ("q_conv1d.weight", "k_conv1d.weight", "v_conv1d.weight", "A_log", "dt_bias")
)
PLAIN = (
    ("mlp.routed_expert_down_proj.weight", "bf16"),
    ("mlp.routed_expert_up_proj.weight", "bf16"),
    ("mlp.gate.e_score_correction_bias", "fp32"),
)


def kimi_k3(config: Config, name: str) -> Model:
    """Read Kimi-K3: its text model, which calls itself kimi_linear, and its vision tower."""
    inside = config.mapping("text_config")
    stated = inside.get("model_type", "kimi_linear")
    if stated != "kimi_linear":
        remedy = "another text model under this model_type is not understood"
        raise BadInputError("text_config.model_type", "kimi_linear", stated, remedy)
    text = {field: value for field, value in inside.items() if field not in ("architectures", "auto_map")}
    text |= {"model_type": "kimi_k3_text", "tie_word_embeddings": config.flag("tie_word_embeddings")}
    if config.read_model is None:
        raise TypeError("text_config: no reader for it was given")
    model = replace(config.read_model(text, name), model_type="kimi_k3")
    return replace(model, vision=moonvit_v2(config, hidden_size_of(model)))


def kimi_k3_text(config: Config, name: str) -> Model:
    """Read the text model: what its fields switch on is all that is understood."""
    for field in ("mla_use_nope", "mla_use_output_gate", "latent_moe_use_norm", "moe_renormalize"):
        config.restates(field, True)  # noqa: FBT003 (a value that a field must have)
    for field, value in (
        ("moe_layer_freq", 1),
        ("tie_word_embeddings", False),
        ("num_nextn_predict_layers", 0),
    ):
        config.restates(field, value)
    width, depth = config.size("hidden_size"), config.size("num_hidden_layers")
    for field in (
        "attn_res_block_size",
        "activation_situ_beta",
        "activation_situ_linear_beta",
        "head_dim",
        "use_grouped_topk",
    ):
        config.has(field)  # how many residuals are mixed, and constants
    stated = stated_inside(config, "use_full_rank_gate", "gate_lower_bound")
    if stated.get("use_full_rank_gate") is not True:
        given = stated.get("use_full_rank_gate")
        remedy = "Kimi Linear has gates of low rank: give its config as kimi_linear"
        raise BadInputError("linear_attn_config.use_full_rank_gate", "true", given, remedy)
    count, size, kernel = linear_sizes(config, stated)
    delta, attention = GatedKimiDelta(width, count, count, size, size, kernel), latent_of(config)
    gate = Linear(attention.heads * attention.value_dim, width, cut=True)
    latent = config.size("routed_expert_hidden_size")
    shared = config.size("num_shared_experts") * config.size("moe_intermediate_size")
    sparse = moe(config, "num_experts", shared_width=shared, score_bias=True, latent=latent)
    routed = (
        ("mlp", sparse),
        ("mlp.routed_expert_down_proj", Linear(latent, width)),
        ("mlp.routed_expert_norm", Norm(latent)),
        ("mlp.routed_expert_up_proj", Linear(width, latent)),
    )
    norm, mixer = Norm(width), Mixer(width)
    around: Named = (
        ("input_layernorm", norm),
        ("post_attention_layernorm", norm),
        ("self_attention_res_norm", norm),
        ("self_attention_res_proj", mixer),
        ("mlp_res_norm", norm),
        ("mlp_res_proj", mixer),
    )
    first = config.count("first_k_dense_replace")

    def layer(kind: tuple[str, bool]) -> Layer:
        attends: Named = (("self_attn", delta),)
        if kind[0] == "full_attention":
            attends = (("self_attn", attention), ("self_attn.g_proj", gate))
        forms = (*(WIDE if kind[0] != "full_attention" else ()), *(() if kind[1] else PLAIN))
        return Layer(
            (*attends, *((("mlp", dense_mlp(config)),) if kind[1] else routed), *around), formats=forms
        )

    dense = [index < first for index in range(depth)]
    model = decoder(config, name, stack(zip(kinds_of(config, stated, depth), dense, strict=True), layer))
    ends = (("model.output_attn_res_norm", norm), ("model.output_attn_res_proj", mixer))
    return replace(model, outside=(*model.outside, *ends), rotary_positions=None)


# What is known under one name only: with another the tower would have other parts.
KINDS = {
    "model_type": ("",),
    "merge_type": ("sd2_tpool",),
    "mm_projector_type": ("patchmergerv2",),
    "pos_emb_type": ("divided_fixed",),
    "video_attn_type": ("spatial_temporal",),
    "norm_type": ("rmsnorm",),
    "mlp_type": ("mlp2",),
    "attn_bias": (False,),
    "linear_bias": (False,),
    "patch_embed_proj_bias": (False,),
}


def moonvit_v2(config: Config, text_width: int) -> tuple[Layer, ...]:
    """Read the tower: as MoonViT, with RMSNorms, without a bias, and with heads of their own width.

    Raises
    ------
    BadInputError
        A field contradicts another, or it is not said how many patches are joined.

    """
    vision = config.nested("vision_config", None, NAMES)
    for field, known in KINDS.items():
        vision.restates(field, *known)
    vision.restates("text_hidden_size", text_width)
    for field in ("pos_emb_time", "pos_emb_interpolation_mode", "activation_func"):
        vision.has(field)
    width, heads, inner = (vision.size(f) for f in ("hidden_size", "num_attention_heads", "qkv_hidden_size"))
    vision.restates("mm_hidden_size", width)
    joined = vision.whole_numbers("merge_kernel_size")
    if inner % heads or len(joined) != 2 or min(joined) < 1:
        expected, given = (
            "heads that divide qkv_hidden_size, and two whole numbers",
            f"{heads}, {list(joined)}",
        )
        raise BadInputError("vision_config.merge_kernel_size", expected, given, "correct config.json")
    merged, norm = width * prod(joined), Norm(width)
    layer: Named = (
        ("vision_tower.layers.{layer}.self_attn", GQA(width, heads, heads, inner // heads)),
        ("vision_tower.layers.{layer}.mlp", MLP(width, vision.size("intermediate_size"), gated=False)),
        ("vision_tower.layers.{layer}.input_layernorm", norm),
        ("vision_tower.layers.{layer}.post_attention_layernorm", norm),
    )
    positions = PositionTable((vision.size("pos_emb_height"), vision.size("pos_emb_width")), width)
    patches = Patches(width, 3, vision.size("patch_size"), bias=False)
    return (
        Layer((("vision_tower.patches", patches), ("vision_tower.positions", positions))),
        Layer(layer, times=vision.size("num_hidden_layers")),
        Layer(
            (
                ("vision_tower.norm", norm),
                ("mm_projector.in_proj", Linear(merged, merged)),
                ("mm_projector.out_proj", Linear(text_width, merged)),
                ("mm_projector.post_norm", Norm(text_width)),
            )
        ),
    )
