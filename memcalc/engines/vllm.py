"""vLLM 0.11: a paged cache in whole blocks, a profiled activation peak, a pool taken in advance.

pool = utilization x visible - weights - activation peak - non-torch. The peak follows the vocabulary (the
sampler's logits of the profile run), hardly the model's size. The measured constants equal the calibration
rows of the record (memcalc/data/observations.json); other rows test them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.budget import Line
from memcalc.engines.base import Engine, refuse_uneven
from memcalc.parts import GQA, MLA
from memcalc.split import Split
from memcalc.tensor import ceil_div, least

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from memcalc.engines.base import Step
    from memcalc.model import Model

__all__ = ["VLLM"]

GIB = 2**30
LLM_D = "llm-d-incubation/llm-d-planner docs/empirical-vllm-memory-results.md (H100 80 GB), 2025"
# bytes a vocabulary entry and sequence of the profile run: Qwen3-0.6B (5.56 GiB), Llama-3.3-70B (4.84 GiB)
PEAK_LOW, PEAK_HIGH = 38.37, 39.59
# GiB outside PyTorch's allocator: least, typical (H100, 0.11) and most, on one device and on several
ALONE, TOGETHER = (0.03, 0.14, 0.35), (0.03, 0.54, 1.96)
COMMUNICATOR = 500 * 10**6  # bytes that a NCCL communicator takes at least
NON_TORCH_1 = "vLLM logs, one GPU: 0.03 GiB (RTX 4060, 0.7) to 0.35 GiB (RTX 3090, 0.6.4)"
NON_TORCH_N = (
    "one GPU's least and a NCCL communicator of 0.5 GB or more (NVIDIA/nccl#964, #864, #1685) "
    "to 1.96 GiB (2 x H100, vllm-project/vllm#10909)"
)


class VLLM(Engine):
    """A sequence's tokens are rounded up to whole blocks; KV heads are replicated where ranks exceed them."""

    id = "vllm"
    version = "0.11"
    reserves = True
    note = "options: block_size (16 tokens), max_num_seqs (1024, the profile run's sequences)"
    defaults: Mapping[str, int] = {"block_size": 16, "max_num_seqs": 1024}

    def default_split(self, devices: int) -> Split:
        """Cut every matrix over all devices."""
        return Split(tp=devices)

    def check(self, model: Model, split: Split) -> None:
        """Refuse ranks that do not divide heads, widths or experts."""
        refuse_uneven(model, split, "vllm", replicates=True)

    def kept(self, context: int, window: int | None) -> int:
        """Keep the window, or everything."""
        return context if window is None else least(context, window)

    def held_tokens(self, tokens: int, options: Mapping[str, int]) -> int:
        """Round up to whole blocks."""
        return ceil_div(tokens, options["block_size"]) * options["block_size"]

    def lines(self, step: Step) -> Iterator[Line]:
        """Yield the rotary table, the profile run's activation peak, and what lies outside the allocator."""
        yield from rotary_table(step)
        vocab = max((getattr(part, "vocab", 0) for _, part in step.stage.outside), default=0)
        entries = vocab * step.options["max_num_seqs"]
        low, high = int(entries * PEAK_LOW), int(entries * PEAK_HIGH)
        formula = f"{vocab} vocabulary entries x {step.options['max_num_seqs']} sequences x 38.4..39.6 B"
        live = ("prefill", "decode")
        typical = (low + high) // 2
        name = "activation peak of the profile run"
        yield Line("activations", name, entries, typical, formula, live, "measured", LLM_D, low, high)
        alone = step.split.tp * step.split.pp == 1
        low, typical, high = (int(size * GIB) for size in (ALONE if alone else TOGETHER))
        low += 0 if alone else COMMUNICATOR
        source = NON_TORCH_1 if alone else NON_TORCH_N
        formula = "context + communicators"
        yield Line(
            "runtime", "outside PyTorch's allocator", 0, typical, formula, (), "measured", source, low, high
        )


def rotary_table(step: Step) -> Iterator[Line]:
    """Yield the table of cosines and sines that all layers of a rank share, whole on every rank.

    Source: vLLM, model_executor/layers/rotary_embedding: positions x rotary width, in the model's dtype.
    """
    positions = step.stage.rotary_positions
    for part in (part for layer in step.stage.groups for _, part in layer.parts):
        if isinstance(part, GQA | MLA) and positions is not None:
            width = part.rope_dim or part.head_dim if isinstance(part, GQA) else part.rope_dim
            size = positions * width * step.element_bytes
            formula = f"{positions} positions x {width} x {step.element_bytes} B"
            source = "vllm-project/vllm model_executor/layers/rotary_embedding, cos_sin_cache, 2026-11"
            live = ("load", "prefill", "decode")
            yield Line("weights", "rotary table", positions * width, size, formula, live, "exact", source)
            return
