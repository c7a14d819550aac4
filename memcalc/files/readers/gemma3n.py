"""Gemma 3n, its vision and its audio tower. Held against transformers 5.23 in tests/oracles."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from memcalc.errors import BadInputError
from memcalc.files.config_classes import config_class
from memcalc.files.readers.audio import gemma3n_audio
from memcalc.files.readers.common import SANDWICH_NORMS, check_head_width, decoder, decoder_layer, gqa, stack
from memcalc.files.readers.gemma4 import KINDS, check_borrowing, with_per_layer_tables, with_tables
from memcalc.files.readers.mobilenet import ARCHITECTURE, WIDTH, mobilenet
from memcalc.files.readers.vision import Values, hidden_size_of, nested_text_model
from memcalc.ledger.model import Layer
from memcalc.ledger.parts import MLP, Embedding, Linear, Norm

if TYPE_CHECKING:
    from memcalc.files.config import Config
    from memcalc.ledger.model import Model, Named

__all__ = ["gemma3n", "gemma3n_text"]

TOKENS = (
    *("audio_soft_tokens_per_image", "vision_soft_tokens_per_image", "boi_token_id", "eoi_token_id"),
    *("boa_token_id", "eoa_token_id"),
)
MOST_STREAMS = 1000  # a matrix each, listed one by one: a slip of some zeros must not fill the memory


def gemma3n_text(config: Config, name: str) -> Model:
    """Read Gemma 3n's text model: AltUp's streams, a learned residual (Laurel), inputs of each layer.

    The last `num_kv_shared_layers` borrow the keys and values of earlier ones. Which inner numbers are kept
    (`activation_sparsity_pattern`) shapes no matrix.
    """
    check_head_width(config)
    for field in ("activation_sparsity_pattern", "altup_active_idx", "altup_correct_scale"):
        config.has(field)
    width, depth = config.size("hidden_size"), config.size("num_hidden_layers")
    each, streams = config.size("hidden_size_per_layer_input"), config.size("altup_num_inputs")
    if streams > MOST_STREAMS:
        remedy = "correct config.json"
        raise BadInputError("altup_num_inputs", f"at most {MOST_STREAMS}", streams, remedy)
    beside = (
        ("altup.correct_output_scale", Values((width,), "norm")),
        ("altup.correction_coefs", Linear(streams, streams)),
        ("altup.prediction_coefs", Linear(streams**2, streams)),
        ("altup.modality_router", Linear(streams, width)),
        ("altup.router_norm", Norm(width)),
        ("laurel.linear_left", Linear(config.size("laurel_rank"), width)),
        ("laurel.linear_right", Linear(width, config.size("laurel_rank"))),
        ("laurel.post_laurel_norm", Norm(width)),
        ("per_layer_input_gate", Linear(each, width)),
        ("per_layer_projection", Linear(width, each)),
        ("post_per_layer_input_norm", Norm(width)),
    )
    kinds, borrowing = kinds_of_layers(config), config.count("num_kv_shared_layers")
    biased, window = config.flag("attention_bias"), config.size("sliding_window")

    def layer(kind: tuple[str, bool, int]) -> Layer:
        seen = None if kind[0] == "full_attention" else window
        attention = gqa(config, window=seen, biased=biased, qk_norm=True, borrows=kind[1])
        return Layer((*decoder_layer(attention, MLP(width, kind[2]), width, SANDWICH_NORMS).parts, *beside))

    borrows = (index >= depth - borrowing for index in range(depth))
    layers = stack(zip(kinds, borrows, inner_widths(config, depth), strict=True), layer)
    model = with_tables(config, decoder(config, name, layers), kinds)
    names = ("model.altup_projections", "model.altup_unembed_projections")  # of each stream but the first
    ends = ((f"{end}.{index}", Linear(width, width)) for end in names for index in range(streams - 1))
    return with_per_layer_tables(config, replace(model, outside=(*model.outside, *ends)), each)


def kinds_of_layers(config: Config) -> list[str]:
    """Return the kind of each layer: every fifth has no window, if the file does not list them."""
    depth = config.size("num_hidden_layers")
    usual = [KINDS[(index + 1) % 5 > 0] for index in range(depth)]
    kinds = list(config.words("layer_types", KINDS, depth) or usual)
    check_borrowing(kinds, config.count("num_kv_shared_layers"))
    return kinds


def inner_widths(config: Config, depth: int) -> tuple[int, ...]:
    """Return the inner width of each layer: one for all, or a list.

    Raises
    ------
    BadInputError
        The list has another length, or what stands there is no size.

    """
    if not isinstance(config.value("intermediate_size"), list):
        return (config.size("intermediate_size"),) * depth
    found = config.whole_numbers("intermediate_size")
    if len(found) != depth or min(found, default=0) < 1:
        expected, remedy = f"{depth} whole numbers >= 1, one a layer", "correct config.json"
        raise BadInputError("intermediate_size", expected, list(found), remedy)
    return found


def gemma3n(config: Config, name: str) -> Model:
    """Read Gemma 3n: the text model, MobileNetV5 and a conformer; what a file leaves out is the class's own.

    Raises
    ------
    BadInputError
        The vision tower is another one of timm's.

    """
    for field in TOKENS:
        config.has(field)
    for field in ("text_config", "vision_config", "audio_config"):
        if not config.has(field):
            config.fields[field] = config.stated[field] = {}
    text = nested_text_model(config, name, "gemma3n_text")
    width = hidden_size_of(text)
    vision = config.nested("vision_config", config_class("gemma3n_vision"))
    vision.restates("model_type", "gemma3n_vision")
    vision.restates("architecture", ARCHITECTURE)
    vision.restates("model_args", {})
    vision.restates("hidden_size", WIDTH)
    for field in ("do_pooling", "vocab_offset", "num_classes", "label_names"):
        vision.has(field)
    audio = config.nested("audio_config", config_class("gemma3n_audio"))
    ends = (*embedder("vision", vision, width), *embedder("audio", audio, width))
    return replace(text, vision=(Layer(mobilenet()), *gemma3n_audio(audio), Layer(ends)))


def embedder(kind: str, tower: Config, width: int) -> Named:
    """Return what brings a tower's vectors, and those of its own tokens, into the text model's stream."""
    root, own = f"embed_{kind}.", tower.size("hidden_size")
    return (
        (f"{root}embedding", Embedding(tower.size("vocab_size"), own, "positions")),
        (f"{root}hard_embedding_norm", Norm(own)),
        (f"{root}soft_embedding_norm", Norm(own)),
        (f"{root}embedding_projection", Linear(width, own)),
    )
