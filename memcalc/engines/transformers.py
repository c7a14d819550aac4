"""Hugging Face transformers 5.23: an exact cache, a prefill peak, the last token's logits.

Sources: the cache is held against transformers' own tensors (tests/oracles). The prefill peak is the law
that closes on Qwen2.5's published table; the runtime is a range from PyTorch's issues, and what published
rows show beside the derived peak: the constants equal the record's calibration rows
(memcalc/data/observations.json), and other rows test them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.budget import Line
from memcalc.engines.base import Engine, cuda_evidence, pass_width, refuse_cut_blocks, refuse_uneven
from memcalc.parts import MLP
from memcalc.split import Split
from memcalc.tensor import least

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memcalc.engines.base import Step
    from memcalc.formats import Rule
    from memcalc.model import Model

__all__ = ["Transformers"]

MIB = 2**20
QWEN25 = "QwenLM/Qwen3@a912d23 docs/source/benchmark/speed_benchmark.rst (A100, transformers 4.46), 2024-11"
UNMEASURED = "the same count of inputs, outputs and products, for which no table was found"
CONTEXT_LOW, CONTEXT_HIGH = 300 * 10**6, 10**9
ROUNDING_LOW, ROUNDING, ROUNDING_HIGH = 26, 48, 87  # MiB: least, mean and most of the calibration rows
QUANTISED_HIGH = 479  # MiB: what the quantised 72B rows show beside the peak; nothing here explains it
CONTEXT = (
    "pytorch/pytorch#107667: a CUDA context is about 300 MB with lazy loading, over 1 GB before CUDA 11.7; "
    "+26..87 MiB of allocator rounding and workspaces, up to 479 where weights are quantised, "
    "QwenLM/Qwen3@a912d23 speed_benchmark.rst (A100)"
)


class Transformers(Engine):
    """The cache grows with the tokens, to the element; nothing is reserved in advance."""

    id = "transformers"
    version = "5.23"
    note = (
        "several devices without --tp: equal shares of the layers in order, as device_map is assumed to "
        "place them; it balances bytes, and may place a few layers otherwise"
    )

    def default_split(self, devices: int) -> Split:
        """Spread the layers over the devices, as ``device_map="auto"`` does."""
        return Split(pp=devices)

    def check(self, model: Model, split: Split, rule: Rule) -> None:
        """Refuse ranks that its tensor-parallel plan cannot cut."""
        refuse_uneven(model, split, "transformers", replicates=False)
        refuse_cut_blocks(model, split, rule, "transformers")

    def kept(self, context: int, window: int | None) -> int:
        """Keep window - 1 tokens: the current one is added while it is attended to."""
        return context if window is None else least(context, window - 1)

    def constant_lines(self, step: Step) -> Iterator[Line]:
        """Yield the runtime."""
        quantised = any(not step.rule(tensor).is_plain for tensor in step.stage.weights())
        low = CONTEXT_LOW + ROUNDING_LOW * MIB
        high = CONTEXT_HIGH + (QUANTISED_HIGH if quantised else ROUNDING_HIGH) * MIB
        typical = CONTEXT_LOW + ROUNDING * MIB
        name, formula = "CUDA context and rounding", "context + workspaces + rounding"
        yield Line("runtime", name, 0, typical, formula, (), cuda_evidence(step), CONTEXT, low, high)

    def growing_lines(self, step: Step, batch: int, prompt: int) -> Iterator[Line]:
        """Yield the temporaries of a prefill pass, and the logits of the last token."""
        parts = [part for layer in step.stage.groups for _, part in layer.parts]
        widths = {part: pass_width(part, step.split) for part in parts}
        widest = max(widths, key=lambda part: widths[part])
        tokens = step.tokens_a_pass(batch, prompt)
        number = tokens * widths[widest]
        name = "widest part of a prefill pass"
        formula = f"{tokens} tokens x {widths[widest]} numbers ({type(widest).__name__})"
        dense = isinstance(widest, MLP)
        evidence, source = ("measured", QWEN25) if dense else ("assumed", UNMEASURED)
        size = number * step.element_bytes
        yield Line("activations", name, number, size, formula, ("prefill",), evidence, source)
        vocab = step.stage.logits_width
        if vocab is not None:
            formula = f"{batch} x {vocab} x ({step.element_bytes} + 4) B: the last token, and its fp32 copy"
            size = batch * vocab * (step.element_bytes + 4)
            name = "logits of the last token"
            yield Line("logits", name, batch * vocab, size, formula, ("prefill", "decode"))
