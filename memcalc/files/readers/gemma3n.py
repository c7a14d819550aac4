"""Gemma 3n's text model. Held against transformers 5.23 in tests/oracles."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from memcalc.errors import BadInputError
from memcalc.files.readers.common import SANDWICH_NORMS, check_head_width, decoder, decoder_layer, gqa, stack
from memcalc.files.readers.gemma4 import KINDS, check_borrowing, with_per_layer_tables, with_tables
from memcalc.files.readers.vision import Values
from memcalc.ledger.model import Layer
from memcalc.ledger.parts import MLP, Linear, Norm

if TYPE_CHECKING:
    from memcalc.files.config import Config
    from memcalc.ledger.model import Model

__all__ = ["gemma3n_text"]


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
