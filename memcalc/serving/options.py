"""Every option of ``memcalc serve``, declared once."""

# annotations are not postponed: memcalc.options reads them

from collections.abc import Mapping
from dataclasses import dataclass, field

from memcalc.options import about
from memcalc.serving.engines import EngineName

__all__ = ["ServingOptions"]

LOAD, FORMATS, MACHINE, ENGINE = "load", "formats", "machine", "engine"


@dataclass(frozen=True, kw_only=True)
class ServingOptions:
    """What is asked of a server; what is left out is chosen by the engine, the machine or the source."""

    context: int = field(
        metadata=about(
            "what a sequence holds at the end, prompt and answer; with llama.cpp all sequences together",
            unit="tokens",
            at_least=1,
            group=LOAD,
        )
    )
    prompt: int | None = field(
        default=None,
        metadata=about(
            "the prompt's part of the context", unit="tokens", otherwise="all of it", at_least=1, group=LOAD
        ),
    )
    batch: int = field(default=1, metadata=about("sequences at once", at_least=1, group=LOAD))
    prefill_chunk: int | None = field(
        default=None,
        metadata=about(
            "what one pass reads of the prompt",
            unit="tokens",
            otherwise="as the engine does",
            at_least=1,
            group=LOAD,
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
            "format of the KV cache, or K/V for one each",
            otherwise="16-bit",
            group=FORMATS,
            shown_as="FORMAT",
        ),
    )
    on: str | None = field(
        default=None,
        metadata=about(
            'the machine: "COUNTx ID", and "+ 512GiB host" where host memory is used',
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
        metadata=about(
            "ranks among which the experts are dealt out, of tp x dp",
            otherwise="1",
            at_least=1,
            group=MACHINE,
        ),
    )
    dp: int | None = field(
        default=None, metadata=about("data-parallel ranks", otherwise="1", at_least=1, group=MACHINE)
    )
    utilization: float = field(
        default=0.9, metadata=about("share of a device that the engine may use", group=MACHINE)
    )
    offload: str | None = field(
        default=None,
        metadata=about(
            "which weights lie in host memory, see `memcalc list engines --json`",
            otherwise="the engine's first rule",
            group=MACHINE,
            shown_as="RULE",
        ),
    )
    engine: EngineName | None = field(
        default=None,
        metadata=about(
            "what serves the model", otherwise="transformers, and llama.cpp for GGUF", group=ENGINE
        ),
    )
    engine_version: str | None = field(
        default=None, metadata=about("the engine's version", otherwise="the newest known", group=ENGINE)
    )
    engine_options: Mapping[str, int] | tuple[tuple[str, int], ...] = field(
        default=(),
        metadata=about(
            "options of the engine's own, by name, see `memcalc list engines --json`",
            otherwise="the engine's defaults",
            group=ENGINE,
            shown_as="KEY=VALUE",
        ),
    )
