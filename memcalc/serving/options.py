"""Every option of ``memcalc serve``, declared once."""

# annotations are not postponed: memcalc.options reads them

from collections.abc import Mapping
from dataclasses import field
from typing import Literal

from memcalc.data.record import options
from memcalc.options import OptionSet, about
from memcalc.serving.engines import EngineName

__all__ = ["ServingOptions"]

LOAD, FORMATS, MACHINE, ENGINE = "load", "formats", "machine", "engine"


@options
class ServingOptions(OptionSet):
    """What is asked of a server; what is left out is chosen by the engine, the machine or the source.

    >>> ServingOptions(context=8192, on="2x rtx-a6000")
    ServingOptions(context=8192, on='2x rtx-a6000')
    """

    context: int = field(
        metadata=about(
            "length of a sequence with prompt and answer; llama.cpp: n_ctx of all sequences",
            unit="tokens",
            at_least=1,
            group=LOAD,
            swept=True,
        )
    )
    prompt: int | None = field(
        default=None,
        metadata=about(
            "length of the prompt", unit="tokens", otherwise="as --context", at_least=1, group=LOAD
        ),
    )
    batch: int = field(default=1, metadata=about("sequences at once", at_least=1, group=LOAD, swept=True))
    prefill_chunk: int | None = field(
        default=None,
        metadata=about(
            "size of a chunk in chunked prefill",
            unit="tokens",
            otherwise="the engine's",
            at_least=1,
            group=LOAD,
        ),
    )
    via: Literal["transformers"] | None = field(
        default=None,
        metadata=about(
            "build what has no reader with this library, on its meta device",
            otherwise="no: such a type is refused",
            group=FORMATS,
        ),
    )
    weights: str | None = field(
        default=None,
        metadata=about(
            "format of the weights, or one of llama.cpp's presets",
            otherwise="as the source states",
            group=FORMATS,
            shown_as="FORMAT",
        ),
    )
    kv: str | None = field(
        default=None,
        metadata=about(
            "format of the KV cache, or K/V where keys and values differ",
            otherwise="16-bit, as the activations",
            group=FORMATS,
            shown_as="FORMAT",
        ),
    )
    on: str | None = field(
        default=None,
        metadata=about(
            'the machine: "COUNTx ID" or "COUNTx 24GiB", "A + B" where devices differ, "+ 512GiB host"',
            otherwise="none, and no verdict",
            group=MACHINE,
            shown_as="MACHINE",
        ),
    )
    tp: int | None = field(
        default=None,
        metadata=about("tensor-parallel ranks", otherwise="as the engine does", at_least=1, group=MACHINE),
    )
    pp: int | None = field(
        default=None,
        metadata=about("pipeline stages", otherwise="as the engine does", at_least=1, group=MACHINE),
    )
    ep: int | None = field(
        default=None,
        metadata=about("expert-parallel ranks, of tp x dp", otherwise="1", at_least=1, group=MACHINE),
    )
    dp: int | None = field(
        default=None, metadata=about("data-parallel ranks", otherwise="1", at_least=1, group=MACHINE)
    )
    dcp: int | None = field(
        default=None,
        metadata=about(
            "ranks, of tp, that share the tokens of the KV cache", otherwise="1", at_least=1, group=MACHINE
        ),
    )
    attention_dp: int | None = field(
        default=None,
        metadata=about(
            "copies of attention among the tp ranks (SGLang: --dp N with --enable-dp-attention)",
            otherwise="1",
            at_least=1,
            group=MACHINE,
        ),
    )
    utilization: float | None = field(
        default=None,
        metadata=about(
            "share of a device's memory that the engine may use", otherwise="the engine's own", group=MACHINE
        ),
    )
    offload: str | None = field(
        default=None,
        metadata=about(
            "which weights lie in host memory: a rule of `memcalc list engines --json`",
            otherwise="the engine's first rule",
            group=MACHINE,
            shown_as="RULE",
        ),
    )
    task: Literal["generate", "embed"] | None = field(
        default=None,
        metadata=about(
            "what is asked of the model: `embed` for embeddings and reranking, in one pass without a head",
            otherwise="embed if its class has no head, else generate",
            group=LOAD,
        ),
    )
    draft: str | None = field(
        default=None,
        metadata=about(
            "what drafts tokens: `mtp`, the model's own prediction layers, or a draft model",
            otherwise="nothing",
            group=ENGINE,
            shown_as="mtp|SOURCE",
        ),
    )
    draft_tokens: int | None = field(
        default=None,
        metadata=about(
            "tokens that are drafted in a step", otherwise="the engine's", at_least=1, group=ENGINE
        ),
    )
    lora_slots: int | None = field(
        default=None,
        metadata=about(
            "LoRA adapters held at once: max_loras of vLLM, max_loras_per_batch of SGLang",
            otherwise="none",
            at_least=1,
            group=ENGINE,
        ),
    )
    lora_rank: int | None = field(
        default=None,
        metadata=about(
            "the largest rank of an adapter", otherwise="16 with --lora-slots", at_least=1, group=ENGINE
        ),
    )
    engine: EngineName | None = field(
        default=None,
        metadata=about("inference engine", otherwise="transformers; llama.cpp for GGUF", group=ENGINE),
    )
    engine_version: str | None = field(
        default=None,
        metadata=about(
            "version of the engine",
            otherwise="the one that `memcalc list engines --json` shows",
            group=ENGINE,
            shown_as="VERSION",
        ),
    )
    engine_options: Mapping[str, int] | tuple[tuple[str, int], ...] = field(
        default=(),
        metadata=about(
            "options that the engine alone has, by name: see `memcalc list engines --json`",
            otherwise="the engine's defaults",
            group=ENGINE,
            shown_as="KEY=VALUE",
        ),
    )
