"""Audio towers. Held against transformers 5.23 in tests/oracles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.errors import BadInputError
from memcalc.files.config_classes import config_class
from memcalc.files.readers.vision import Kernel, Values
from memcalc.ledger.model import Layer
from memcalc.ledger.parts import GQA, MLP, Linear, Norm, Part

if TYPE_CHECKING:
    from memcalc.files.config import Config
    from memcalc.ledger.model import Named

__all__ = ["conformer", "gemma3n_audio", "qwen2_5_omni", "qwen3_omni"]

ROOT = "audio_tower."
LIMITS = tuple(f"{side}_{end}" for side in ("input", "output") for end in ("min", "max"))


def clipped(name: str, matrix: Linear, *, limits: bool) -> Named:
    """Return a matrix and the four limits that Gemma 4 may put around what goes in and comes out."""
    own = (f"{name}.linear", matrix)
    return (own, *((f"{name}.{limit}", Values(())) for limit in LIMITS)) if limits else (own,)


def conformer(config: Config, text_width: int) -> tuple[Layer, ...]:
    """Read Gemma 4's audio tower: attention and a convolution between two feed-forward parts.

    Source: Gulati et al. 2020, arXiv:2005.08100; names as in transformers' Gemma4AudioModel.

    Raises
    ------
    BadInputError
        The convolutions before the layers are not two.

    """
    audio = config.nested("audio_config", config_class("gemma4_audio"))
    audio.restates("model_type", "gemma4_audio")
    for field in ("attention_chunk_size", "attention_context_left", "attention_context_right"):
        audio.has(field)  # how far is looked: nothing is kept
    width, heads, out = (
        audio.size(name) for name in ("hidden_size", "num_attention_heads", "output_proj_dims")
    )
    channels, first = audio.whole_numbers("subsampling_conv_channels"), f"{ROOT}subsample_conv_projection."
    if len(channels) != 2 or min(channels) < 1:
        remedy = "correct config.json; more or fewer convolutions are not understood"
        raise BadInputError("subsampling_conv_channels", "two whole numbers >= 1", list(channels), remedy)
    before = (
        (f"{first}layer0.conv", Kernel((channels[0], 1, 3, 3))),
        (f"{first}layer0.norm", Norm(channels[0])),
        (f"{first}layer1.conv", Kernel((channels[1], channels[0], 3, 3))),
        (f"{first}layer1.norm", Norm(channels[1])),
        (f"{first}input_proj_linear", Linear(width, channels[0] // 4 * channels[1])),
    )
    layer = conformer_layer(audio, width, heads)
    after = (
        (f"{ROOT}output_proj", Linear(out, width, bias=True)),
        ("embed_audio.embedding_projection", Linear(text_width, out)),
    )
    return Layer(before), Layer(layer, times=audio.size("num_hidden_layers")), Layer(after)


def conformer_layer(audio: Config, width: int, heads: int) -> Named:
    """Return a layer of the tower.

    Raises
    ------
    BadInputError
        Heads do not fill the width.

    """
    if width % heads:
        given = f"{heads} for hidden_size {width}"
        raise BadInputError(
            "num_attention_heads", "a divisor of hidden_size", given, "correct one of the two"
        )
    limits, norm, square = audio.flag("use_clipped_linears"), Norm(width), Linear(width, width)
    found: list[tuple[str, Part]] = []
    for number in (1, 2):
        inside = f"feed_forward{number}."
        found += clipped(f"{inside}ffw_layer_1", Linear(4 * width, width), limits=limits)
        found += clipped(f"{inside}ffw_layer_2", Linear(width, 4 * width), limits=limits)
        found += [(f"{inside}pre_layer_norm", norm), (f"{inside}post_layer_norm", norm)]
    for name in ("q_proj", "k_proj", "v_proj", "post"):
        found += clipped(f"self_attn.{name}", square, limits=limits)
    found += [
        ("self_attn.relative_k_proj", square),
        ("self_attn.per_dim_scale", Values((width // heads,), "norm")),
    ]
    found += clipped("lconv1d.linear_start", Linear(2 * width, width), limits=limits)
    found += clipped("lconv1d.linear_end", square, limits=limits)
    found.append(("lconv1d.depthwise_conv1d", Kernel((width, 1, audio.size("conv_kernel_size")))))
    norms = ("lconv1d.pre_layer_norm", "lconv1d.conv_norm", "norm_pre_attn", "norm_post_attn", "norm_out")
    found += [(name, norm) for name in norms]
    return tuple((f"{ROOT}layers.{{layer}}.{name}", part) for name, part in found)


def gemma3n_audio(audio: Config) -> tuple[Layer, ...]:
    """Read Gemma 3n's audio tower: two convolutions over time and frequency, then a conformer.

    Raises
    ------
    BadInputError
        Heads do not fill the width.

    """
    audio.restates("model_type", "gemma3n_audio")
    ahead = ("conf_attention_chunk_size", "conf_attention_context_left", "conf_attention_context_right")
    for field in (*ahead, "conf_reduction_factor", "vocab_offset"):
        audio.has(field)  # how far is looked, how many vectors come out
    width, heads = audio.size("hidden_size"), audio.size("conf_num_attention_heads")
    if width % heads:
        given, field = f"{heads} for hidden_size {width}", "conf_num_attention_heads"
        raise BadInputError(field, "a divisor of hidden_size", given, "correct one of the two")
    channels = pair("sscp_conv_channel_size", audio.value("sscp_conv_channel_size"))
    kernels, strides = two_pairs(audio, "sscp_conv_kernel_size"), two_pairs(audio, "sscp_conv_stride_size")
    first, bands, inputs = f"{ROOT}subsample_conv_projection.", audio.size("input_feat_size"), 1
    before: list[tuple[str, Part]] = []
    for index, (out, kernel, stride) in enumerate(zip(channels, kernels, strides, strict=True)):
        before.append((f"{first}conv_{index}.conv", Kernel((out, inputs, *kernel))))
        before.append((f"{first}conv_{index}.norm", Norm(out)))
        bands, inputs = (bands + 2 - kernel[1]) // stride[1] + 1, out  # one frequency more at either end
    if bands < 1:
        raise BadInputError("input_feat_size", "more than the kernels take", bands, "correct config.json")
    before.append((f"{first}input_proj_linear", Linear(width, inputs * bands)))
    norm, square = Norm(width), Linear(width, width)
    found: list[tuple[str, Part]] = []
    for name in ("ffw_layer_start", "ffw_layer_end"):
        found += [(f"{name}.ffw_layer_1", Linear(4 * width, width)), (f"{name}.pre_layer_norm", norm)]
        found += [(f"{name}.ffw_layer_2", Linear(width, 4 * width)), (f"{name}.post_layer_norm", norm)]
    found += [(f"attention.attn.{letter}_proj", square) for letter in "qkv"]
    found += [
        ("attention.attn.per_dim_scale", Values((width // heads,), "norm")),
        ("attention.attn.relative_position_embedding.pos_proj", square),
        ("attention.post", square),
        ("lconv1d.linear_start", Linear(2 * width, width)),
        ("lconv1d.linear_end", square),
        ("lconv1d.depthwise_conv1d", Kernel((width, 1, audio.size("conf_conv_kernel_size")))),
    ]
    norms = ("attention.pre_attn_norm", "attention.post_norm", "lconv1d.pre_layer_norm", "lconv1d.conv_norm")
    found += [(name, norm) for name in (*norms, "norm")]
    layer = tuple((f"{ROOT}conformer.{{layer}}.{name}", part) for name, part in found)
    return Layer(tuple(before)), Layer(layer, times=audio.size("conf_num_hidden_layers"))


def pair(field: str, stated: object) -> tuple[int, int]:
    """Return two whole numbers of at least 1.

    Raises
    ------
    BadInputError
        They are not.

    """
    if (
        not isinstance(stated, list)
        or len(stated) != 2
        or any(type(one) is not int or one < 1 for one in stated)
    ):
        raise BadInputError(field, "two whole numbers >= 1", stated, "correct config.json")
    return stated[0], stated[1]


def two_pairs(audio: Config, field: str) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return what the two convolutions have in time and in frequency.

    Raises
    ------
    BadInputError
        There are not two of them.

    """
    stated = audio.value(field)
    if not isinstance(stated, list) or len(stated) != 2:
        raise BadInputError(field, "two pairs of whole numbers >= 1", stated, "correct config.json")
    return pair(field, stated[0]), pair(field, stated[1])


def qwen2_5_omni(config: Config) -> tuple[Layer, ...]:
    """Read Qwen2.5-Omni's audio tower: Whisper's encoder, whose keys have no bias."""
    audio = config.nested("audio_config", config_class("qwen2_5_omni_audio_encoder"))
    audio.restates("model_type", "qwen2_5_omni_audio_encoder")
    width, out = audio.size("d_model"), audio.size("output_dim")
    biases = tuple((f"self_attn.{letter}_proj.bias", Values((width,), "bias")) for letter in "qv")
    before = (
        (f"{ROOT}conv1", Kernel((width, audio.size("num_mel_bins"), 3), bias=True)),
        (f"{ROOT}conv2", Kernel((width, width, 3), bias=True)),
        (f"{ROOT}audio_bos_eos_token", Linear(2, out)),
    )
    after = ((f"{ROOT}ln_post", Norm(width, bias=True)), (f"{ROOT}proj", Linear(out, width, bias=True)))
    return whisper(audio, before, after, biases)


def qwen3_omni(config: Config) -> tuple[Layer, ...]:
    """Read Qwen3-Omni's audio tower: three convolutions over time and frequency before Whisper's layers."""
    audio = config.nested("audio_config", config_class("qwen3_omni_moe_audio_encoder"))
    audio.restates("model_type", "qwen3_omni_moe_audio_encoder")
    for field in ("n_window_infer", "conv_chunksize"):
        audio.has(field)  # how many pieces go through at once
    width, inner = audio.size("d_model"), audio.size("downsample_hidden_size")
    bands = audio.size("num_mel_bins")
    for _ in range(3):  # each convolution halves them, rounding up
        bands = (bands + 1) // 2
    before = (
        (f"{ROOT}conv2d1", Kernel((inner, 1, 3, 3), bias=True)),
        (f"{ROOT}conv2d2", Kernel((inner, inner, 3, 3), bias=True)),
        (f"{ROOT}conv2d3", Kernel((inner, inner, 3, 3), bias=True)),
        (f"{ROOT}conv_out", Linear(width, inner * bands)),
    )
    after = (
        (f"{ROOT}ln_post", Norm(width, bias=True)),
        (f"{ROOT}proj1", Linear(width, width, bias=True)),
        (f"{ROOT}proj2", Linear(audio.size("output_dim"), width, bias=True)),
    )
    return whisper(audio, before, after)


def whisper(audio: Config, before: Named, after: Named, biases: Named = ()) -> tuple[Layer, ...]:
    """Return the layers of Whisper's encoder between what a family has around them.

    Source: Radford et al. 2022, arXiv:2212.04356. With `biases` those of queries and values stand apart.

    Raises
    ------
    BadInputError
        Heads do not fill the width.

    """
    for field in ("n_window", "max_source_positions", "scale_embedding"):
        audio.has(field)
    width, heads = audio.size("d_model"), audio.size("encoder_attention_heads")
    if width % heads:
        given = f"{heads} for d_model {width}"
        raise BadInputError(
            "encoder_attention_heads", "a divisor of d_model", given, "correct one of the two"
        )
    attention = GQA(width, heads, heads, width // heads, qkv_bias=not biases, out_bias=True)
    inside = (
        ("self_attn", attention),
        *biases,
        ("self_attn_layer_norm", Norm(width, bias=True)),
        ("mlp", MLP(width, audio.size("encoder_ffn_dim"), gated=False, bias=True)),
        ("final_layer_norm", Norm(width, bias=True)),
    )
    layer = tuple((f"{ROOT}layers.{{layer}}.{name}", part) for name, part in inside)
    return Layer(before), Layer(layer, times=audio.size("encoder_layers")), Layer(after)
