"""Decoders whose code lies beside their weights, and in no version of transformers: a table of their words.

Each is read as its published code builds it; memcalc/data/published_classes.jsonl says where that is. Held by
published sizes of their checkpoints (tests/test_published.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.errors import BadInputError
from memcalc.files.readers.plain import Decoder, decoder_of

if TYPE_CHECKING:
    from memcalc.files.config import Config
    from memcalc.ledger.model import Model

__all__ = ["published"]


def half_inner(config: Config) -> int:
    """Return the inner width of Qwen's first generation, whose config counts gate and up together."""
    both = config.size("intermediate_size")
    if both % 2:
        raise BadInputError("intermediate_size", "an even number: gate and up", both, "correct config.json")
    return both // 2


def check_qwen(config: Config) -> None:
    """Refuse what the first Qwen's fields say twice, and say otherwise."""
    config.restates("kv_channels", config.size("hidden_size") // config.size("num_attention_heads"))
    config.restates("padded_vocab_size", config.size("vocab_size"))


PUBLISHED_DECODERS: dict[str, Decoder] = {
    "qwen": Decoder(
        qkv_bias=True,
        out_bias=False,
        ffn=half_inner,
        check=check_qwen,
        restated=(("no_bias", True), ("rotary_pct", 1.0)),
        harmless=("bf16", "fp16", "fp32", "onnx_safe", "scale_attn_weights", "tokenizer_type"),
    )
}


def published(config: Config, name: str) -> Model:
    """Read a decoder of the table."""
    return decoder_of(config, name, PUBLISHED_DECODERS[str(config.fields["model_type"])])
