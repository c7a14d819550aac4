"""Hugging Face transformers: an exact cache, a prefill peak, logits; what changed from version to version.

Sources: the cache is held against transformers' own tensors (tests/oracles). The prefill peak is the law that
closes on Qwen2.5's published table. cuBLAS's workspace, the rests of the allocator's blocks and AutoGPTQ's
buffer follow from the sources of PyTorch and AutoGPTQ; what published rows show beside all that is a range,
set by the record's calibration rows (book/record/observations.json) and tested by the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from memcalc.ledger.budget import Line
from memcalc.ledger.formats import array_bytes
from memcalc.ledger.parallel import Split
from memcalc.ledger.parts import GQA, MLA, MLP
from memcalc.ledger.tensor import ceil_div, least
from memcalc.serving.allocator import unused_bytes
from memcalc.serving.engines.base import Engine, cuda_evidence, refuse_cut_blocks, refuse_uneven

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from memcalc.ledger.formats import Rule
    from memcalc.ledger.machine import Device
    from memcalc.ledger.model import Model
    from memcalc.ledger.tensor import Tensor
    from memcalc.serving.engines.base import Step

__all__ = ["Transformers"]

MIB = 2**20
ALWAYS = ("load", "prefill", "decode")
QWEN25 = "QwenLM/Qwen3@a912d23 docs/source/benchmark/speed_benchmark.rst (A100, transformers 4.46), 2024-11"
UNMEASURED = "the same count of inputs, outputs and products, for which no table was found"
CONTEXT_LOW, CONTEXT_HIGH = 300 * 10**6, 10**9
# MiB beside all that is derived: least, mean and most of the calibration rows
LEFT_LOW, LEFT, LEFT_HIGH = -2, 10, 35
CONTEXT = (
    "pytorch/pytorch#107667: a CUDA context is about 300 MB with lazy loading, over 1 GB before CUDA 11.7; "
    "-2..35 MiB beside what is derived, QwenLM/Qwen3@a912d23 speed_benchmark.rst (A100)"
)
WORKSPACE_OLD, WORKSPACE = (2 * 4096 + 8 * 16) * 2**10, 8 * 4096 * 2**10
CUBLAS = (
    "pytorch/pytorch aten/src/ATen/cuda/CublasHandlePool.cpp: :4096:2:16:8, from capability 9.0 on :4096:8"
)
ALLOCATOR = "pytorch/pytorch c10/cuda/CUDACachingAllocator.cpp, should_split, 2026-11"
EXLLAMA = "AutoGPTQ/AutoGPTQ auto_gptq/modeling/_utils.py, autogptq_post_init: temp_dq, 2024"
AWQ = (
    "QwenLM/Qwen3 docs/source/getting_started/speed_benchmark.md (H20, transformers 4.51.3): Qwen3-8B in AWQ"
)
OLD_ROTARY = "huggingface/transformers v4.38 models/qwen2/modeling_qwen2.py, Qwen2RotaryEmbedding, 2024-02"
OLD_LOGITS = "huggingface/transformers v4.38: logits of every token, then .float(), 2024-02"


class Law(NamedTuple):
    """What a version does that others do not.

    `prompt_logits`: the head reads every token of the prompt. `tables`: each layer holds its own table of
    cosines and sines. `copies`: the cache of a step stands beside the one before it. `own_blocks`: of 2
    shares, how many of the weights come from blocks of their own and not from one that the loader takes in
    advance, of plain checkpoints and of quantised ones (huggingface/transformers, caching_allocator_warmup).
    `exllama`: the kernel for 4-bit GPTQ unpacks into a buffer. `awq_beside`: up to an eighth of the prompt's
    cache was measured beside it with AutoAWQ, and nobody knows what it is. `chunks`: generate() knows
    prefill_chunk_size (huggingface/transformers, generation/configuration_utils.py: 4.51.3, not 4.46.3).
    """

    prompt_logits: bool = False
    tables: bool = False
    copies: bool = False
    own_blocks: tuple[int, int] = (0, 0)
    exllama: bool = False
    awq_beside: bool = False
    chunks: bool = True


LAWS = {
    "4.38": Law(prompt_logits=True, tables=True, copies=True, own_blocks=(2, 2), exllama=True, chunks=False),
    "4.46": Law(own_blocks=(2, 2), exllama=True, chunks=False),
    "4.51": Law(own_blocks=(0, 1), awq_beside=True),
    "5.23": Law(awq_beside=True),
}


class Transformers(Engine):
    """The cache grows with the tokens, to the element; nothing is reserved in advance."""

    id = "transformers"
    version = "5.23"
    versions = (("4.38", "4.38"), ("4.46", "4.46"), ("4.51", "4.51"), ("5", "5.23"))
    note = (
        "several devices without --tp: equal shares of the layers in order, as device_map is assumed to "
        "place them; it balances bytes, and may place a few layers otherwise"
    )

    @property
    def law(self) -> Law:
        """What this version does."""
        return LAWS[self.version]

    def takes_chunks(self) -> bool:
        """Say whether a prompt may pass in several parts: older versions have no option for it."""
        return self.law.chunks

    def copies_cache(self) -> bool:
        """Say whether a step's new cache stands beside the old one: tuples, before 4.42's class."""
        return self.law.copies

    def default_split(self, devices: int) -> Split:
        """Spread the layers over the devices, as ``device_map="auto"`` does."""
        return Split(pp=devices)

    def check(self, model: Model, split: Split, rule: Rule) -> None:
        """Refuse ranks that its tensor-parallel plan cannot cut."""
        refuse_uneven(model, split, self.id, replicates=False)
        refuse_cut_blocks(model, split, rule, self.id)

    def kept(self, context: int, window: int | None) -> int:
        """Keep window - 1 tokens: the current one is added while it is attended to."""
        return context if window is None else least(context, window - 1)

    def constant_lines(self, step: Step) -> Iterator[Line]:
        """Yield the runtime, and what is held beside the weights."""
        low, high = CONTEXT_LOW + LEFT_LOW * MIB, CONTEXT_HIGH + LEFT_HIGH * MIB
        name, formula = "CUDA context and rounding", "context + rounding"
        size, evidence = CONTEXT_LOW + LEFT * MIB, cuda_evidence(step)
        yield Line(
            component="runtime",
            name=name,
            bytes=size,
            formula=formula,
            evidence=evidence,
            source=CONTEXT,
            low=low,
            high=high,
        )
        yield workspace(step)
        yield self.growing_blocks(step)
        yield from unpacked(step, certain=self.law.exllama)
        quantised = any(not form.is_plain for form in step.forms.values())
        share = self.law.own_blocks[quantised]
        if share:
            whole = remainders(step)
            size, low = whole * share // 2, whole if share == 2 else 0
            formula = "blocks of 2 MiB steps, less the arrays in them"
            yield Line(
                component="weights",
                name="rests of blocks",
                bytes=size,
                formula=formula,
                moments=ALWAYS,
                evidence="assumed",
                source=ALLOCATOR,
                low=low,
                high=whole,
            )
        if self.law.tables:
            yield from tables(step)

    def growing_blocks(self, step: Step) -> Line:
        """Return how much the allocator can hold beyond a cache that is written anew at each step."""
        tensors = sum(tensor.layers for tensor in step.stage.cache(1, 1, self.kept))
        formula, high = f"{tensors} tensors x 0 to 1 MiB", tensors * MIB
        name, live = "rests of the cache's blocks", ("prefill", "decode")
        return Line(
            component="kv_cache",
            name=name,
            bytes=0,
            formula=formula,
            moments=live,
            evidence="assumed",
            source=ALLOCATOR,
            low=0,
            high=high,
        )

    def growing_lines(self, step: Step, batch: int, prompt: int) -> Iterator[Line]:
        """Yield the temporaries of a prefill pass, and the logits: of the last token, or of all."""
        tokens = step.tokens_a_pass(batch, prompt)
        through = passing(step, tokens)
        vocab, element = step.stage.logits_width, step.element_bytes
        if self.law.prompt_logits and vocab is not None:
            every = batch * prompt
            width = next(part.width for name, part in step.stage.outside if name == "model.norm")  # type: ignore[attr-defined]
            size = every * (vocab * (element + 4) + width * element)
            if size > through.bytes:  # the layers are done when the head begins: the larger of the two counts
                formula = f"{every} tokens x ({vocab} x ({element} + 4) B + {width} x {element} B)"
                name, source = "logits of every token of the prompt", OLD_LOGITS
                yield Line(
                    component="logits",
                    name=name,
                    count=every * vocab,
                    bytes=size,
                    formula=formula,
                    moments=("prefill",),
                    source=source,
                )
                return
        if self.law.awq_beside and any(name.startswith("awq") for name in step.forms):
            held = (
                sum(tensor.count for tensor in step.stage.cache(batch, prompt, self.kept))
                * step.element_bytes
            )
            name, formula, live = "beside the cache with AutoAWQ", f"0 to {held} B / 8", ("prefill", "decode")
            yield Line(
                component="kv_cache",
                name=name,
                bytes=0,
                formula=formula,
                moments=live,
                evidence=cuda_evidence(step),
                source=AWQ,
                low=0,
                high=ceil_div(held, 8),
            )
        yield through
        yield from turning(step, tokens)
        if vocab is not None:
            formula = f"{batch} x {vocab} x ({element} + 4) B: the last token, and its fp32 copy"
            size, name = batch * vocab * (element + 4), "logits of the last token"
            yield Line(
                component="logits",
                name=name,
                count=batch * vocab,
                bytes=size,
                formula=formula,
                moments=("prefill", "decode"),
            )


def passing(step: Step, tokens: int) -> Line:
    """Return the widest part of a pass: its inputs, outputs and products.

    The embedding's output is one of the four copies of the stream; it stays on the first device, so that the
    others hold three.
    """
    widest, width = max(step.widths.items(), key=lambda item: item[1])
    names = [name for name, _ in step.stage.outside]
    if step.split.pp > 1 and ("model.embed_tokens" not in names or "model.norm" in names):
        width -= widest.width  # type: ignore[attr-defined]
    number = tokens * width
    formula = f"{tokens} tokens x {width} numbers ({type(widest).__name__})"
    evidence, source = ("measured", QWEN25) if isinstance(widest, MLP) else ("assumed", UNMEASURED)
    name, size = "widest part of a prefill pass", number * step.element_bytes
    return Line(
        component="activations",
        name=name,
        count=number,
        bytes=size,
        formula=formula,
        moments=("prefill",),
        evidence=evidence,
        source=source,
    )


def rotary_width(step: Step) -> int:
    """Return how many numbers of a head turn with the position; 0 if none do."""
    for part in (part for layer in step.stage.groups for _, part in layer.parts):
        if isinstance(part, GQA):
            return part.rope_dim or part.head_dim
        if isinstance(part, MLA):
            return part.rope_dim
    return 0


def turning(step: Step, tokens: int) -> Iterator[Line]:
    """Yield the cosines and sines of a pass, which all layers share."""
    width = rotary_width(step)
    size = 2 * tokens * width * step.element_bytes
    formula = f"2 x {tokens} tokens x {width} x {step.element_bytes} B"
    yield Line(
        component="activations",
        name="cosines and sines",
        count=2 * tokens * width,
        bytes=size,
        formula=formula,
        moments=("prefill",),
    )


def tables(step: Step) -> Iterator[Line]:
    """Yield the tables of cosines and sines that each layer holds by itself, for all positions."""
    positions, width, depth = step.stage.max_context, rotary_width(step), step.stage.depth
    if positions is not None:
        number = 2 * depth * positions * width
        size = number * step.element_bytes
        formula = f"2 x {depth} layers x {positions} positions x {width} x {step.element_bytes} B"
        yield Line(
            component="weights",
            name="rotary tables",
            count=number,
            bytes=size,
            formula=formula,
            moments=ALWAYS,
            source=OLD_ROTARY,
        )


def workspace(step: Step) -> Line:
    """Return cuBLAS's workspace, which PyTorch takes from its own allocator at the first product."""
    device = step.device
    size = WORKSPACE if is_new(device) else WORKSPACE_OLD
    evidence = "exact" if device is not None and device.capability is not None else "assumed"
    formula = f"{size // 2**10} KiB"
    live = ("prefill", "decode")
    return Line(
        component="activations",
        name="cuBLAS workspace",
        bytes=size,
        formula=formula,
        moments=live,
        evidence=evidence,
        source=CUBLAS,
    )


def is_new(device: Device | None) -> bool:
    """Say whether a device is of Hopper's generation or newer; an unknown one counts as new.

    >>> from memcalc.ledger.machine import devices
    >>> [is_new(devices()[name]) for name in ("a100-80g", "h20-96g", "rtx-pro-6000-blackwell")]
    [False, True, True]
    """
    return device is None or device.capability is None or int(device.capability.partition(".")[0]) >= 9


def unpacked(step: Step, *, certain: bool) -> Iterator[Line]:
    """Yield the buffer into which a kernel for 4-bit GPTQ unpacks a matrix: as large as the largest."""
    if any(name.startswith("gptq-int4") for name in step.forms):
        tensors = [
            step.split.on_rank(tensor)
            for tensor in step.stage.weights()
            if step.rule(tensor).id.startswith("gptq-int4")
        ]
        number = max(tensor.each for tensor in tensors)
        high, formula = 2 * number, f"{number} x 2 B"
        size, evidence = (high, "exact") if certain else (0, "assumed")
        name = "buffer for one unpacked matrix"
        yield Line(
            component="activations",
            name=name,
            count=number,
            bytes=size,
            formula=formula,
            moments=ALWAYS,
            evidence=evidence,
            source=EXLLAMA,
            low=size,
            high=high,
        )


def remainders(step: Step) -> int:
    """Return what the allocator holds beyond the weights, in the order of their names in a checkpoint."""
    outside = [tensor for _, part in step.stage.outside for tensor in part.weights()]
    layers = [(arrays(step, layer.weights()), layer.times) for layer in step.stage.groups]
    return unused_bytes(arrays(step, outside), layers)


def arrays(step: Step, tensors: Iterable[Tensor]) -> list[int]:
    """Return the bytes of every array, experts one by one."""
    sizes: list[int] = []
    for tensor in sorted(tensors, key=lambda tensor: tensor.name):
        mine = step.split.on_rank(tensor)
        sizes += array_bytes(mine, step.rule(tensor)) * mine.experts
    return sizes
