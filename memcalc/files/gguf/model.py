"""A model as llama.cpp's files hold it: what its converter changes besides names and types."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING

from memcalc.data.record import record
from memcalc.errors import BadInputError
from memcalc.files.gguf.names import architecture
from memcalc.ledger.parts.attention import GQA
from memcalc.ledger.parts.kinds import is_gqa, is_mla, keeps_state

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import TypeIs

    from memcalc.files.gguf.names import Architecture
    from memcalc.files.readers.minimax import LightningAttention
    from memcalc.files.readers.minimax_m3 import BlockIndexer
    from memcalc.ledger.model import Layer, Model, Named
    from memcalc.ledger.parts import Part
    from memcalc.ledger.tensor import Tensor

__all__ = ["gguf_model"]

CHUNK = 8192  # tokens, of Llama 4
# no file is loaded without the output's matrix, and the converter writes none where it is the embedding: as
# the library itself answers, v0.5.0, 2026-11
UNTIED = frozenset(
    {
        *("apertus", "baichuan", "dots1", "exaone-moe", "gpt-oss", "gptneox", "internlm2", "kimi-k3"),
        *("kimi-linear", "mellum", "minimax-m2", "minimax-m3", "nemotron", "olmo2", "olmoe", "phi2"),
        *("phimoe", "qwen", "qwen2moe", "stablelm"),
    }
)


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
    head_dim = next((part.head_dim for _, part in model.layers[0].parts if is_gqa(part)), None)

    def called(name: str, part: Part) -> str:
        if name == "self_attn" and keeps_state(part) and not hasattr(part, "decay_block"):
            return "linear_attn"  # a gate of Kimi's has one name in both kinds of layers, and two in a file
        # without routed experts Granite 4's shared ones are the feed-forward part
        return name if model.has_experts else name.replace("mlp.shared_experts", "mlp")

    def left(parts: Named) -> Named:
        return tuple(pair for pair in parts if not pair[0].startswith(known.drops)) if known.drops else parts

    def changed(layer: Layer, _: None) -> Layer:
        return replace(
            layer,
            parts=tuple(
                (called(name, part), held(part, known, head_dim, windowed=windowed, old=old))
                for name, part in left(layer.parts)
            ),
        )

    mtp, outside = model.mtp if known.predicts else (), left(model.outside)
    outside = filled_up(outside) if known.carries is not None else outside
    return replace(model, mtp=mtp, outside=outside).map_layers(changed)


def held(part: Part, known: Architecture, head_dim: int | None, *, windowed: bool, old: bool) -> Part:
    """Return a part as a file of an architecture holds it."""
    if is_mla(part):
        apart = old or known.expands
        return replace(part, absorbed=not apart, expanded=apart)
    if tabulates_decay(part):
        return replace(part, decay_block=None)  # its tables are computed anew
    if chooses_blocks(part):
        return replace(part, block_value_dim=head_dim)
    if is_gqa(part) and known.carries is not None and part.borrows:
        return Carried(**{each.name: getattr(part, each.name) for each in fields(part)})
    if is_gqa(part) and part.window is not None and not windowed:
        return replace(part, window=None)
    return part


@record
class Carried(GQA):
    """Attention that borrows keys and values, and whose file has matrices for its own all the same.

    transformers drops them when it loads Gemma 3n; llama.cpp's converter writes them, and it loads them.
    Source: ggml-org/llama.cpp, src/models/gemma3n.cpp (load_arch_tensors), 2026-11.
    """

    def weights(self) -> Iterator[Tensor]:
        """Yield what attention has that borrows nothing."""
        own = {each.name: getattr(self, each.name) for each in fields(self)}
        yield from GQA(**{**own, "borrows": False}).weights()


def filled_up(outside: Named) -> Named:
    """Return the parts with as many rows in the table of the layers' inputs as the vocabulary has.

    Source: ggml-org/llama.cpp, conversion/gemma.py (Gemma3NModel), 2026-11.
    """
    rows = getattr(dict(outside)["model.embed_tokens"], "vocab")  # noqa: B009 (no part of every kind has it)
    table = "model.embed_tokens_per_layer"
    return tuple(
        (name, replace(part, vocab=max(rows, part.vocab)) if name == table else part)  # type: ignore[attr-defined]
        for name, part in outside
    )


def chooses_blocks(part: object) -> TypeIs[BlockIndexer]:
    """Say whether a part chooses blocks of tokens."""
    return hasattr(part, "block_index_dim")


def tabulates_decay(part: object) -> TypeIs[LightningAttention]:
    """Say whether a part is lightning attention with its tables."""
    return getattr(part, "decay_block", None) is not None


def check_layers(model: Model, known: Architecture, *, windowed: bool) -> None:
    """Refuse windows and states elsewhere than llama.cpp's code has them, where no key of a file says it.

    Raises
    ------
    BadInputError
        They are, or the embedding is the output where none of its files is loaded so.

    """
    if known.id in UNTIED and model.tied and not model.headless:
        expected = f"false: llama.cpp loads no {known.id} without the output's matrix"
        raise BadInputError("tie_word_embeddings", expected, True, "leave GGUF aside")  # noqa: FBT003
    if windowed and known.period is not None and model.windows:
        check_pattern(model, known.period, leads=known.leads)
    if known.carries is not None:
        own = [not getattr(dict(layer.parts)["self_attn"], "borrows", False) for layer in model.layers]
        if own != [index < known.carries for index in range(len(own))]:
            words = (
                f"keys and values of their own in the first {known.carries} layers, as llama.cpp's code has"
            )
            raise BadInputError("num_kv_shared_layers", words, f"in {sum(own)}", "leave GGUF aside")
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
