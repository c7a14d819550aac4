"""A model as llama.cpp's files hold it: what its converter changes besides names and types."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from memcalc.files.gguf.names import architecture
from memcalc.ledger.parts.kinds import is_gqa, is_mla

if TYPE_CHECKING:
    from memcalc.ledger.model import Layer, Model
    from memcalc.ledger.parts import Part

__all__ = ["gguf_model"]


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

    def held(part: Part) -> Part:
        if is_mla(part):
            return replace(part, absorbed=not old, expanded=old)
        if is_gqa(part) and part.window is not None and not known.windows:
            return replace(part, window=None)
        return part

    def changed(layer: Layer, _: None) -> Layer:
        return replace(layer, parts=tuple((name, held(part)) for name, part in layer.parts))

    return replace(model, mtp=model.mtp if known.predicts else ()).map_layers(changed)
