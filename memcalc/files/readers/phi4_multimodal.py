"""Phi-4-multimodal as transformers has it: Phi-3, and what sees and hears before it. Held by tests/oracles.

The adapters for images and speech are no part of it: they lie in folders of their own beside the weights.
What its makers publish under `phi4mm` has them inside of its matrices, and is another type.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from memcalc.errors import BadInputError
from memcalc.files.config_classes import config_class
from memcalc.files.readers.dense import phi3
from memcalc.files.readers.towers import tower, tower_config
from memcalc.files.readers.vision import Kernel, Values
from memcalc.ledger.model import Layer
from memcalc.ledger.parts import GQA, Linear, Norm, PositionTable

if TYPE_CHECKING:
    from memcalc.files.config import Config
    from memcalc.ledger.model import Model, Named

__all__ = ["phi4_multimodal"]

ROOT = "audio_tower."
LAYER = f"{ROOT}encoders.{{layer}}."


def phi4_multimodal(config: Config, name: str) -> Model:
    """Read the decoder and both towers, which stand inside of its embedding."""
    text, width = phi3(config, name), config.size("hidden_size")
    vision = tower_config(config, "phi4_multimodal_vision")
    seen = vision.size("hidden_size")
    joined = (
        ("embed_vision.img_projection_up", Linear(width, seen, bias=True)),
        ("embed_vision.img_projection_down", Linear(width, width, bias=True)),
        ("embed_vision.global_img_feature_extensor", Values((1, 1, seen), "positions")),
        ("embed_vision.sub_img_feature_extensor", Values((1, 1, 1, seen), "positions")),
    )
    return replace(text, vision=(*tower(vision), Layer(joined), *audio_tower(config, width)))


def audio_tower(config: Config, text_width: int) -> tuple[Layer, ...]:
    """Read what hears: convolutions over time and frequency, a conformer, and two ways into the stream.

    Raises
    ------
    BadInputError
        Heads do not fill the width, or time is not made shorter by a power of two.

    """
    audio = config.nested("audio_config", config_class("phi4_multimodal_audio"))
    audio.restates("model_type", "phi4_multimodal_audio")
    for field in ("chunk_size", "left_chunk", "feature_layer"):
        audio.has(field)  # how far is looked, and which layer is taken: all of them are there
    width, heads = audio.size("hidden_size"), audio.size("num_attention_heads")
    shorter, bands, remedy = audio.size("time_reduction"), audio.size("input_size"), "correct config.json"
    if width % heads:
        given = f"{heads} for hidden_size {width}"
        raise BadInputError("audio_config.num_attention_heads", "a divisor of hidden_size", given, remedy)
    if shorter < 2 or shorter & (shorter - 1):
        raise BadInputError("audio_config.time_reduction", "a power of two from 2 on", shorter, remedy)
    audio.restates("head_dim", width // heads)
    left = -(-bands // shorter)  # halved, and each time rounded up: the class writes it, too
    audio.restates("nemo_final_size", left)
    rows = audio.size("bias_max_distance") * (1 if audio.flag("bias_symmetric") else 2)
    heard = width * audio.size("downsample_rate")
    before = (
        *((f"{ROOT}encoder_embedding.global_{each}", Values((bands,))) for each in ("mean", "invstd")),
        *halvings(audio.size("nemo_conv_channels"), shorter.bit_length() - 1),
        (f"{ROOT}embed.out", Linear(width, audio.size("nemo_conv_channels") * left, bias=True)),
        (f"{ROOT}relative_attention_bias_layer.bias_values", PositionTable((rows,), heads)),
    )
    after = [
        (f"embed_audio.{way}_proj_for_{kind}", Linear(text_width, size, bias=True))
        for kind in ("speech", "vision_speech")
        for way, size in (("up", heard), ("down", text_width))
    ]
    layer = conformer(audio, width, heads)
    return Layer(before), Layer(layer, times=audio.size("num_blocks")), Layer(tuple(after))


def halvings(channels: int, times: int) -> Named:
    """Return convolutions that each halve time and frequency.

    The first sees one channel; the others work in each channel apart, then join them. They are counted with
    the functions between them.
    """
    found = [(f"{ROOT}embed.conv.0", Kernel((channels, 1, 3, 3), bias=True))]
    for first in range(2, 3 * times - 1, 3):
        found.append((f"{ROOT}embed.conv.{first}", Kernel((channels, 1, 3, 3), bias=True)))
        found.append((f"{ROOT}embed.conv.{first + 1}", Kernel((channels, channels, 1, 1), bias=True)))
    return tuple(found)


def conformer(audio: Config, width: int, heads: int) -> Named:
    """Return a layer: attention and convolutions between two gated feed-forward parts."""
    inner, out = audio.size("intermediate_size"), audio.size("ext_pw_out_channel")
    wide, joined = width * audio.size("depthwise_multiplier"), audio.size("depthwise_separable_out_channel")
    norm, attention = (
        Norm(width, bias=True),
        GQA(width, heads, heads, width // heads, qkv_bias=True, out_bias=True),
    )
    found = [
        ("self_attn", attention),
        *((name, norm) for name in ("layer_norm_att", "layer_norm", "conv.layer_norm")),
        ("conv.glu.ext_pw_conv_1d", Kernel((2 * out, width, 1), bias=True)),
        *((f"conv.glu.{each}", Values((1, out, 1), "bias")) for each in ("b1", "b2")),
        ("conv.dw_sep_conv_1d.dw_conv", Kernel((wide, 1, audio.size("kernel_size")), bias=True)),
        ("conv.dw_sep_conv_1d.pw_conv", Kernel((joined, wide, 1), bias=True)),
        ("conv.ext_pw_conv_1d", Kernel((out, width, 1), bias=True)),
    ]
    for part in ("feed_forward_in", "feed_forward_out"):
        found += [
            (f"{part}.layer_norm", norm),
            (f"{part}.gate_up_proj", Linear(2 * inner, width, bias=True)),
            (f"{part}.down_proj", Linear(width, inner, bias=True)),
        ]
    return tuple((f"{LAYER}{name}", part) for name, part in found)
