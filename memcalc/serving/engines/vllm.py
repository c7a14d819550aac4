"""vLLM: a paged cache in whole blocks, a profiled activation peak, a pool taken in advance.

pool = utilization x visible - weights - activation peak - non-torch (- graphs, from 0.21 on; before, graphs
come on top of the share). The peak follows the vocabulary (the sampler's logits of the profile run), hardly
the model's size; V0 read prompts in one piece, and there the tokens of the longest sequence can be more. The
measured constants equal the calibration rows of the record (book/record/observations.json); other rows test
them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from memcalc.ledger.budget import Line
from memcalc.ledger.formats import tensor_bytes
from memcalc.ledger.parallel import Split
from memcalc.ledger.parts import MoE
from memcalc.ledger.tensor import ceil_div, least
from memcalc.serving.engines.base import (
    Engine,
    cuda_evidence,
    refuse_cut_blocks,
    refuse_states,
    refuse_uneven,
)
from memcalc.serving.engines.shared import absorbed_copies, passing_width, rests_of_blocks, rotary_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from memcalc.ledger.formats import Rule
    from memcalc.ledger.machine import Device
    from memcalc.ledger.model import Model
    from memcalc.ledger.parts.plain import Kept
    from memcalc.serving.engines.base import Step

__all__ = ["VLLM"]

GIB = 2**30
LLM_D = "llm-d-incubation/llm-d-planner docs/empirical-vllm-memory-results.md (H100 80 GB, 0.11), 2026-04"
SWEEP = "jgchn/llm-d-planner accuracy/results (H100 80 GB, logs of 0.15 to 0.19), 2026-04"
TOKENS = "vllm-project/vllm#10517 (RTX 3090, 0.6.4: 2.07 and 2.99 GiB for 20,000 and 29,000 tokens a pass)"
COMMUNICATOR = 500 * 10**6  # bytes that a NCCL communicator takes at least: NVIDIA/nccl#964, #864, #1685
OLD_NON_TORCH = (
    "vLLM logs: 0.03 GiB (RTX 4060, 0.7) to 0.44 (RTX A6000, 0.6.4); 1.96 on 2 x H100 (vllm#10909)"
)


class Law(NamedTuple):
    """What versions measured: ranges of least, typical and most.

    `peak` are bytes a vocabulary entry and sequence of the trial pass; `beyond` is how many hundredths more a
    pass took that the tokens decide; `workspace` says whether experts keep theirs beside the logits; `alone`
    and `together` GiB outside PyTorch's allocator on one tensor-parallel rank and on several; `graphs` GiB
    that captured CUDA graphs take, which are `inside` the share or come on top of it (less than 0: capturing
    freed more than it took).
    """

    peak: tuple[float, float]
    peak_source: str
    beyond: int
    workspace: bool
    alone: tuple[float, float, float]
    together: tuple[float, float, float]
    non_torch_source: str
    graphs: tuple[float, float, float]
    graphs_source: str
    inside: bool


OLD = Law(
    (38.37, 39.59),  # Qwen3-0.6B (5.56 GiB), Llama-3.3-70B (4.84 GiB)
    LLM_D,
    beyond=0,
    workspace=False,
    alone=(0.03, 0.14, 0.44),
    together=(0.03 + COMMUNICATOR / GIB, 0.54, 1.96),
    non_torch_source=OLD_NON_TORCH,
    graphs=(-0.88, 0.1, 1.03),  # Qwen3-32B, Qwen3-0.6B, gpt-oss-120b
    graphs_source=LLM_D,
    inside=False,
)
NEW = Law(
    (14.83, 16.11),  # gemma-2-2b (3.62 GiB), Llama-3.3-70B on 4 (1.97 GiB)
    SWEEP,
    beyond=12,  # CodeLlama-7b (0.77 GiB)
    workspace=True,
    alone=(0.07, 0.25, 0.46),  # Llama-3.1-8B in stages, alone, granite-3.1-2b
    together=(2.06, 2.1, 2.21),  # Qwen2.5-7B on 2, Kimi-Dev-72B on 2, Llama-3.3-70B on 4
    non_torch_source=SWEEP,
    graphs=(0.51, 0.91, 1.85),  # Llama-3.1-8B in 4 stages, alone, Llama-3.3-70B on 2
    graphs_source=SWEEP,
    inside=False,
)
PADDING = (63, 65, 83)  # thousandths of the experts' bytes: gpt-oss-120b, 20b (0.11), 20b (0.19)
PADDING_SOURCE = f"{LLM_D}; {SWEEP}: gpt-oss on H100"
LAWS = {
    "V0": OLD,  # what is its own are its options: see defaults_on
    "0.11": OLD,
    "0.17": NEW,
    "0.21": NEW._replace(graphs=(0.11, 0.91, 1.85), inside=True),
}
LARGE, SMALL = (
    {"max_num_seqs": 1024, "max_num_batched_tokens": 8192},
    {"max_num_seqs": 256, "max_num_batched_tokens": 2048},
)
LONG = 32_768  # tokens of a sequence from which on V0 read prompts in pieces


class VLLM(Engine):
    """A sequence's tokens are rounded up to whole blocks; KV heads are replicated where ranks exceed them."""

    id = "vllm"
    version = "0.11"
    versions = (
        ("V0", "V0"),
        *((f"0.{minor}", "V0") for minor in range(4, 8)),
        *((f"0.{minor}", "0.11") for minor in range(8, 17)),
        *((f"0.{minor}", "0.17") for minor in range(17, 21)),
        *((f"0.{minor}", "0.21") for minor in range(21, 34)),
    )
    reserves = True
    note = (
        "options: block_size (16 tokens), max_num_seqs and max_num_batched_tokens of the profile run "
        "(1024 and 8192 on devices of 70 GiB or more but the A100, 256 and 2048 on others; V0: 256 and the "
        "longest sequence), enforce_eager (false: CUDA graphs, on top of the share before 0.21, in it since)"
    )
    defaults: Mapping[str, int] = {"block_size": 16, **LARGE, "enforce_eager": False}
    chunk_option = "max_num_batched_tokens"

    def defaults_on(self, device: Device | None, context: int) -> Mapping[str, int]:
        """Return the server's defaults: they depend on the device's memory and name, V0's on the context.

        Source: vllm-project/vllm, engine/arg_utils.py, read 2026-11; of V0, v0.6.4 vllm/config.py.
        """
        if self.version == "V0":
            tokens = SMALL["max_num_batched_tokens"] if context > LONG else max(context, 2048)
            return {**self.defaults, **SMALL, "max_num_batched_tokens": tokens}
        large = device is None or (device.capacity_bytes >= 70 * GIB and "a100" not in device.name.lower())
        return {**self.defaults, **(LARGE if large else SMALL)}

    def default_split(self, devices: int) -> Split:
        """Cut every matrix over all devices."""
        return Split(tp=devices)

    def check(self, model: Model, split: Split, rule: Rule) -> None:
        """Refuse ranks that do not divide heads, widths, experts or the blocks of a format."""
        refuse_uneven(model, split, self.id, replicates=True)
        refuse_cut_blocks(model, split, rule, self.id, padded=frozenset({"mxfp4"}))

    def kept(self, context: int, window: int | None) -> int:
        """Keep the window, or everything."""
        return context if window is None else least(context, window)

    def keeps(self, options: Mapping[str, int]) -> Kept:
        """Keep a window, the tokens on their way, and a block for where the window begins.

        Source: vllm-project/vllm, v1/kv_cache_interface.py, SlidingWindowSpec.max_memory_usage_bytes,
        2026-11.
        """
        block, moving = options["block_size"], options["max_num_batched_tokens"]

        def kept(context: int, window: int | None) -> int:
            if window is None:
                return context
            return least(context, (ceil_div(window - 1 + moving, block) + 1) * block)

        return kept

    def held_tokens(self, tokens: int, options: Mapping[str, int]) -> int:
        """Round up to whole blocks."""
        return ceil_div(tokens, options["block_size"]) * options["block_size"]

    @property
    def law(self) -> Law:
        """What was measured with this version."""
        return LAWS[self.version]

    def held(self, model: Model) -> Model:
        """Refuse models that remember states."""
        refuse_states(model, self.id)
        return model

    def constant_lines(self, step: Step) -> Iterator[Line]:
        """Yield what it loads beside the weights, the trial pass's peak, the runtime, the graphs."""
        yield from rotary_table(step)
        yield from absorbed_copies(step)
        yield from padding(step)
        yield rests_of_blocks(step)
        yield activation_peak(step, self.law)
        ends = self.law.alone if step.split.tp == 1 else self.law.together
        name, formula = "outside PyTorch's allocator", "context + communicators"
        yield ranged(step, name, formula, ends, self.law.non_torch_source)
        if not step.options["enforce_eager"]:
            graphs = ranged(step, "CUDA graphs", "captured graphs", self.law.graphs, self.law.graphs_source)
            yield replace(graphs, outside=not self.law.inside)


def ranged(step: Step, name: str, formula: str, ends: tuple[float, float, float], source: str) -> Line:
    """Return a line of the runtime that was measured: least, typical and most GiB."""
    low, typical, high = (int(size * GIB) for size in ends)
    return Line(
        component="runtime",
        name=name,
        bytes=typical,
        formula=formula,
        evidence=cuda_evidence(step),
        source=source,
        low=low,
        high=high,
    )


def activation_peak(step: Step, law: Law) -> Line:
    """Return the peak of the trial pass: the sampler's logits, or one pass's tokens where they are more.

    The logits follow the vocabulary: two rows a law set the bytes, others test them. The tokens' term, three
    inner and three outer widths a token, closes on two rows of an older version to 0.01 GiB; stages without a
    head have it alone.
    """
    seqs, tokens = step.options["max_num_seqs"], step.options["max_num_batched_tokens"]
    wide, element = passing_width(step), step.element_bytes
    passing, entries = tokens * wide * element, seqs * (step.stage.logits_width or 0)
    low, high = (int(entries * size) for size in law.peak)
    formula = (
        f"{step.stage.logits_width} vocabulary entries x {seqs} sequences x {law.peak[0]}..{law.peak[1]} B"
    )
    beside = tokens * workspace_width(step) * element if law.workspace else 0
    if beside:
        formula, low, high = f"{formula} + {beside} B of experts", low + beside, high + beside
    name, live, evidence = "activation peak of the trial pass", ("prefill", "decode"), cuda_evidence(step)
    if passing > high:
        formula = f"{tokens} tokens x {wide} numbers x {element} B"
        high = passing * (100 + law.beyond) // 100
        source = f"{TOKENS}; {law.peak_source}"
        return Line(
            component="activations",
            name=name,
            count=tokens * wide,
            bytes=passing,
            formula=formula,
            moments=live,
            evidence="assumed",
            source=source,
            low=passing,
            high=high,
        )
    return Line(
        component="activations",
        name=name,
        count=entries,
        bytes=(low + high) // 2,
        formula=formula,
        moments=live,
        evidence=evidence,
        source=law.peak_source,
        low=low,
        high=high,
    )


def workspace_width(step: Step) -> int:
    """Return the numbers a token that the fused experts' workspace holds: two arrays for each chosen expert.

    Source: vllm-project/vllm, model_executor/layers/fused_moe/fused_moe.py (intermediate caches), 2026-11.
    MXFP4 experts have another kernel, for which no workspace was seen.
    """
    widths = [0]
    for layer in step.stage.groups:
        for _, part in layer.parts:
            if isinstance(part, MoE) and all(step.rule(tensor).id != "mxfp4" for tensor in part.weights()):
                inner = part.expert_width if step.split.ep > 1 else ceil_div(part.expert_width, step.split.tp)
                widths.append(part.top_k * (max(2 * inner, part.width) + inner))
    return max(widths)


def padding(step: Step) -> Iterator[Line]:
    """Yield what MXFP4 experts grow by when they are laid out for the kernel: measured on gpt-oss alone."""
    if "mxfp4" not in step.forms:
        return
    size = sum(
        tensor_bytes(step.split.on_rank(tensor), step.rule(tensor))
        for tensor in step.stage.weights()
        if step.rule(tensor).id == "mxfp4"
    )
    low, typical, high = (size * share // 1000 for share in PADDING)
    formula = f"{size} B of experts x {PADDING[0] / 10} to {PADDING[2] / 10} %"
    name, live, evidence = "padding of MXFP4 experts", ("load", "prefill", "decode"), cuda_evidence(step)
    yield Line(
        component="weights",
        name=name,
        bytes=typical,
        formula=formula,
        moments=live,
        evidence=evidence,
        source=PADDING_SOURCE,
        low=low,
        high=high,
    )
