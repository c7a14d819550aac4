"""A model as llama.cpp's files hold it: what its converter changes besides names and types."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from memcalc.errors import BadInputError
from memcalc.files.gguf.names import architecture
from memcalc.ledger.parts.kinds import is_gqa, is_mla, keeps_state

if TYPE_CHECKING:
    from typing_extensions import TypeIs

    from memcalc.files.gguf.names import Architecture
    from memcalc.files.readers.minimax import LightningAttention
    from memcalc.ledger.model import Layer, Model, Named
    from memcalc.ledger.parts import Part

__all__ = ["gguf_model"]

CHUNK = 8192  # tokens, of Llama 4


def gguf_model(model: Model, *, old: bool = False) -> Model:
    """Return the model as its files hold it: MLA absorbed, windows only where llama.cpp knows them.

    Layers for multi-token prediction stay beside the others (`Model.mtp`) where its files have them.
    Source: ggml-org/llama.cpp, src/models/*.cpp (load_arch_hparams), 2026-11.

    Parameters
    ----------
    model : Model
        The model as its config.json describes it.
    old : bool, optional
        Whether the file is older than 2025-04: MLA's up-projection lies in one, and llama.cpp keeps keys and
        values of all heads. Default False.

    Raises
    ------
    UnknownNameError
        The model has no names in GGUF here.

    """
    known = architecture(model)
    windowed = known.windows and known.depth in (None, len(model.layers))
    check_layers(model, known, windowed=windowed)
    apart = old or known.expands

    def held(part: Part) -> Part:
        if is_mla(part):
            return replace(part, absorbed=not apart, expanded=apart)
        if tabulates_decay(part):
            return replace(part, decay_block=None)  # its tables are computed anew
        if is_gqa(part) and part.window is not None and not windowed:
            return replace(part, window=None)
        return part

    def called(name: str, part: Part) -> str:
        if name == "self_attn" and keeps_state(part) and not hasattr(part, "decay_block"):
            return "linear_attn"  # a gate of Kimi's has one name in both kinds of layers, and two in a file
        # without routed experts Granite 4's shared ones are the feed-forward part
        return name if model.has_experts else name.replace("mlp.shared_experts", "mlp")

    def left(parts: Named) -> Named:
        return tuple(pair for pair in parts if not pair[0].startswith(known.drops)) if known.drops else parts

    def changed(layer: Layer, _: None) -> Layer:
        return replace(
            layer, parts=tuple((called(name, part), held(part)) for name, part in left(layer.parts))
        )

    mtp = model.mtp if known.predicts else ()
    return replace(model, mtp=mtp, outside=left(model.outside)).map_layers(changed)


def tabulates_decay(part: object) -> TypeIs[LightningAttention]:
    """Say whether a part is lightning attention with its tables."""
    return getattr(part, "decay_block", None) is not None


def check_layers(model: Model, known: Architecture, *, windowed: bool) -> None:
    """Refuse windows and states elsewhere than llama.cpp's code has them, where no key of a file says it."""
    if windowed and known.period is not None and model.windows:
        check_pattern(model, known.period, leads=known.leads)
    if known.attends is not None:
        check_recurrent(model, known.attends)


def check_pattern(model: Model, period: int, *, leads: bool) -> None:
    """Refuse layers with windows elsewhere than llama.cpp's code has them, and chunks of another length.

    Source: ggml-org/llama.cpp v0.5.0, src/models/*.cpp (set_swa_pattern, n_swa), 2026-11.

    Raises
    ------
    BadInputError
        They are.

    """
    found = [
        any(getattr(part, "window", None) is not None for _, part in layer.parts) for layer in model.layers
    ]
    expected = [(index + (not leads)) % period > 0 for index in range(len(found))]
    if found != expected:
        remedy = "leave GGUF aside"
        which = f"every {period}. one" + (", from the first on" if leads else "")
        words = f"windows in all layers but {which}, as llama.cpp's code has them"
        raise BadInputError(f"windows of {model.model_type}", words, f"{sum(found)} of {len(found)}", remedy)
    chunked = any(hasattr(part, "chunked") for layer in model.groups for _, part in layer.parts)
    if chunked and set(model.windows) != {CHUNK}:
        given = f"chunks of {max(model.windows)} tokens"
        remedy = "llama.cpp's code has no other: leave GGUF aside"
        raise BadInputError("attention_chunk_size", str(CHUNK), given, remedy)


def check_recurrent(model: Model, period: int) -> None:
    """Refuse layers with states elsewhere than llama.cpp's code has them: in all but every so-many-th.

    Source: ggml-org/llama.cpp, src/models/minimax-01.cpp (load_arch_hparams), 2026-11.

    Raises
    ------
    BadInputError
        They are.

    """
    found = [any(keeps_state(part) for _, part in layer.parts) for layer in model.layers]
    if found != [(index + 1) % period > 0 for index in range(len(found))]:
        words = f"states in all layers but every {period}. one, as llama.cpp's code has them"
        given = f"{sum(found)} of {len(found)}, elsewhere"
        raise BadInputError(f"layers of {model.model_type}", words, given, "leave GGUF aside")
