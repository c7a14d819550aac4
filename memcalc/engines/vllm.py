"""vLLM 0.11: a paged cache in whole blocks, a profiled activation peak, a pool taken in advance.

pool = utilization x visible - weights - activation peak - non-torch. The peak follows the vocabulary (the
sampler's logits of the profile run), hardly the model's size. The measured constants equal the calibration
rows of the record (memcalc/data/observations.json); other rows test them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.budget import Line
from memcalc.engines.base import Engine, cuda_evidence, pass_width, refuse_cut_blocks, refuse_uneven
from memcalc.parts import GQA, MLA
from memcalc.split import Split
from memcalc.tensor import ceil_div, least

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from memcalc.engines.base import Step
    from memcalc.formats import Rule
    from memcalc.machine import Device
    from memcalc.model import Model
    from memcalc.tensor import Tensor

__all__ = ["VLLM"]

GIB = 2**30
LLM_D = "llm-d-incubation/llm-d-planner docs/empirical-vllm-memory-results.md (H100 80 GB), 2025"
# bytes a vocabulary entry and sequence of the profile run: Qwen3-0.6B (5.56 GiB), Llama-3.3-70B (4.84 GiB)
PEAK_LOW, PEAK_HIGH = 38.37, 39.59
# GiB outside PyTorch's allocator: least, typical (H100, 0.11) and most, on one device and on several
ALONE, TOGETHER = (0.03, 0.14, 0.35), (0.03, 0.54, 1.96)
COMMUNICATOR = 500 * 10**6  # bytes that a NCCL communicator takes at least
TOKENS = "vllm-project/vllm#10517 (RTX 3090, 0.6.4: 2.07 and 2.99 GiB for 20,000 and 29,000 tokens a pass)"
NON_TORCH_1 = "vLLM logs, one GPU: 0.03 GiB (RTX 4060, 0.7) to 0.35 GiB (RTX 3090, 0.6.4)"
NON_TORCH_N = (
    "one GPU's least and a NCCL communicator of 0.5 GB or more (NVIDIA/nccl#964, #864, #1685) "
    "to 1.96 GiB (2 x H100, vllm-project/vllm#10909)"
)


LARGE, SMALL = (
    {"max_num_seqs": 1024, "max_num_batched_tokens": 8192},
    {"max_num_seqs": 256, "max_num_batched_tokens": 2048},
)


class VLLM(Engine):
    """A sequence's tokens are rounded up to whole blocks; KV heads are replicated where ranks exceed them."""

    id = "vllm"
    version = "0.11"
    reserves = True
    note = (
        "options: block_size (16 tokens), max_num_seqs and max_num_batched_tokens of the profile run "
        "(1024 and 8192 on devices of 70 GiB or more but the A100, 256 and 2048 on others)"
    )
    defaults: Mapping[str, int] = {"block_size": 16, **LARGE}

    def defaults_on(self, device: Device | None) -> Mapping[str, int]:
        """Return the server's defaults: they depend on the device's memory and name.

        Source: vllm-project/vllm, engine/arg_utils.py, read 2026-11.
        """
        large = device is None or (device.capacity_bytes >= 70 * GIB and "a100" not in device.name.lower())
        return {**self.defaults, **(LARGE if large else SMALL)}

    def default_split(self, devices: int) -> Split:
        """Cut every matrix over all devices."""
        return Split(tp=devices)

    def check(self, model: Model, split: Split, rule: Rule) -> None:
        """Refuse ranks that do not divide heads, widths, experts or the blocks of a format."""
        refuse_uneven(model, split, "vllm", replicates=True)
        refuse_cut_blocks(model, split, rule, "vllm")

    def kept(self, context: int, window: int | None) -> int:
        """Keep the window, or everything."""
        return context if window is None else least(context, window)

    def held_tokens(self, tokens: int, options: Mapping[str, int]) -> int:
        """Round up to whole blocks."""
        return ceil_div(tokens, options["block_size"]) * options["block_size"]

    def constant_lines(self, step: Step) -> Iterator[Line]:
        """Yield what it loads beside the weights, the profile run's peak, and what no allocator sees."""
        yield from rotary_table(step)
        yield from absorbed_copies(step)
        yield activation_peak(step)
        alone = step.split.tp * step.split.pp == 1
        low, typical, high = (int(size * GIB) for size in (ALONE if alone else TOGETHER))
        low += 0 if alone else COMMUNICATOR
        source = NON_TORCH_1 if alone else NON_TORCH_N
        formula, name, evidence = (
            "context + communicators",
            "outside PyTorch's allocator",
            cuda_evidence(step),
        )
        yield Line("runtime", name, 0, typical, formula, (), evidence, source, low, high)


def activation_peak(step: Step) -> Line:
    """Return the peak of the profile run: the sampler's logits, or one pass's tokens where they are more.

    The logits follow the vocabulary: two rows set the bytes, three test them. The tokens' term, three inner
    and three outer widths a token, closes on two rows of an older version to 0.01 GiB; stages without a head
    have it alone.
    """
    seqs, tokens = step.options["max_num_seqs"], step.chunk or step.options["max_num_batched_tokens"]
    parts = [part for layer in step.stage.groups for _, part in layer.parts]
    wide = max(pass_width(part, step.split) - getattr(part, "width", 0) for part in parts)
    passing = tokens * wide * step.element_bytes
    entries = seqs * (step.stage.logits_width or 0)
    low, high = int(entries * PEAK_LOW), int(entries * PEAK_HIGH)
    name, live, evidence = "activation peak of the profile run", ("prefill", "decode"), cuda_evidence(step)
    if passing > high:
        formula = f"{tokens} tokens x {wide} numbers x {step.element_bytes} B"
        return Line("activations", name, tokens * wide, passing, formula, live, "assumed", TOKENS)
    formula = f"{step.stage.logits_width} vocabulary entries x {seqs} sequences x 38.4..39.6 B"
    return Line("activations", name, entries, (low + high) // 2, formula, live, evidence, LLM_D, low, high)


def absorbed_copies(step: Step) -> Iterator[Line]:
    """Yield the 16-bit copies of MLA's up-projection that vLLM makes where the stored one is quantised.

    Source: vllm-project/vllm, v1/attention/backends/mla/common.py, process_weights_after_loading.
    """
    for layer in step.stage.groups:
        for name, part in layer.parts:
            stored = part.weights() if isinstance(part, MLA) else ()
            for whole in (tensor for tensor in stored if tensor.name == "kv_b_proj.weight"):
                if not step.rule(whole).is_plain:
                    yield copied(step.split.on_rank(whole._replace(layers=layer.times)), name, step)


def copied(tensor: Tensor, name: str, step: Step) -> Line:
    """Return the line of a weight's 16-bit copies."""
    shape = " x ".join(map(str, tensor.stored_shape))
    formula = f"{tensor.copies} x ({shape}) x {step.element_bytes} B"
    title, live = f"{name}.{tensor.name}, 16-bit copies", ("load", "prefill", "decode")
    source = "vllm-project/vllm v1/attention/backends/mla/common.py (W_UV, W_UK_T), 2026-11"
    size = tensor.count * step.element_bytes
    return Line("weights", title, tensor.count, size, formula, live, "exact", source)


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
