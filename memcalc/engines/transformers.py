"""Hugging Face transformers 5.23: an exact cache, a prefill peak, the last token's logits.

Sources: the cache is held against transformers' own tensors (tests/oracles). The prefill peak is the law
that closes on Qwen2.5's published table; the runtime is a range from PyTorch's issues, and what published
rows show beside the derived peak: the constants equal the record's calibration rows
(memcalc/data/observations.json), and other rows test them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.budget import Line
from memcalc.engines.base import Engine, pass_width, refuse_uneven
from memcalc.split import Split
from memcalc.tensor import least

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memcalc.engines.base import Step
    from memcalc.model import Model

__all__ = ["Transformers"]

MIB = 2**20
QWEN25 = "QwenLM/Qwen3@a912d23 docs/source/benchmark/speed_benchmark.rst (A100, transformers 4.46), 2024-11"
CONTEXT_LOW, CONTEXT_HIGH = 300 * 10**6, 10**9
ROUNDING_LOW, ROUNDING, ROUNDING_HIGH = 26, 48, 87  # MiB: least, mean and most of the calibration rows
CONTEXT = (
    "pytorch/pytorch#107667: a CUDA context is about 300 MB with lazy loading, over 1 GB before CUDA 11.7; "
    "+26..87 MiB of allocator rounding and workspaces, QwenLM/Qwen3@a912d23 speed_benchmark.rst (A100)"
)


class Transformers(Engine):
    """The cache grows with the tokens, to the element; nothing is reserved in advance."""

    id = "transformers"
    version = "5.23"
    note = "several devices without --tp: layers in order over the devices (device_map), one after another"

    def default_split(self, devices: int) -> Split:
        """Spread the layers over the devices, as ``device_map="auto"`` does."""
        return Split(pp=devices)

    def check(self, model: Model, split: Split) -> None:
        """Refuse ranks that its tensor-parallel plan cannot cut."""
        refuse_uneven(model, split, "transformers", replicates=False)

    def kept(self, context: int, window: int | None) -> int:
        """Keep window - 1 tokens: the current one is added while it is attended to."""
        return context if window is None else least(context, window - 1)

    def lines(self, step: Step) -> Iterator[Line]:
        """Yield the temporaries of a prefill pass, the logits of the last token, and the runtime."""
        parts = [part for layer in step.stage.groups for _, part in layer.parts]
        widths = {part: pass_width(part, step.split) for part in parts}
        widest = max(widths, key=lambda part: widths[part])
        dense = type(widest).__name__ == "MLP"
        number = step.tokens_a_pass * widths[widest]
        formula = f"{step.tokens_a_pass} tokens x {widths[widest]} numbers ({type(widest).__name__})"
        evidence = "measured" if dense else "assumed"
        source = (
            QWEN25
            if dense
            else "the same count of inputs, outputs and products, for which no table was found"
        )
        size = number * step.element_bytes
        yield Line(
            "activations",
            "widest part of a prefill pass",
            number,
            size,
            formula,
            ("prefill",),
            evidence,
            source,
        )
        if step.stage.outside and step.stage.outside[-1][0] != "model.embed_tokens":
            vocab = max(getattr(part, "vocab", 0) for _, part in step.stage.outside)
            logits = step.batch * vocab
            formula = (
                f"{step.batch} x {vocab} x ({step.element_bytes} + 4) B: the last token, and its fp32 copy"
            )
            size = logits * (step.element_bytes + 4)
            yield Line("logits", "logits of the last token", logits, size, formula, ("prefill", "decode"))
        low, high = CONTEXT_LOW + ROUNDING_LOW * MIB, CONTEXT_HIGH + ROUNDING_HIGH * MIB
        typical = CONTEXT_LOW + ROUNDING * MIB
        formula = "context + workspaces + rounding"
        yield Line(
            "runtime", "CUDA context and rounding", 0, typical, formula, (), "measured", CONTEXT, low, high
        )
