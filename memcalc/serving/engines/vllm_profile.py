"""What vLLM's profile run takes at its peak: logits, the tokens of a pass, experts and their exchange.

The logits follow the vocabulary: two rows a version set the bytes, others test them. From 0.29 on a rank of
tensor parallelism samples from its own part of the vocabulary. The tokens' term, three inner and three outer
widths a token, closes on two rows of an older version to 0.01 GiB; stages without a head have it alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.data import constants
from memcalc.ledger.budget import Line
from memcalc.ledger.parts.kinds import is_moe
from memcalc.ledger.tensor import ceil_div, least
from memcalc.serving.engines.base import WHILE_SERVING
from memcalc.serving.engines.mxfp4 import MXFP4
from memcalc.serving.engines.shared import inner_width

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memcalc.ledger.parts.experts import MoE
    from memcalc.serving.engines.base import RankContext
    from memcalc.serving.engines.vllm_behaviour import Behaviour

__all__ = ["activation_peak", "exchanged_tokens"]

CHUNK = 32_768  # tokens that the fused experts take at once: VLLM_FUSED_MOE_CHUNK_SIZE
EXCHANGE = "vllm-project/vllm distributed/device_communicators/all2all.py (naive, allgather), 2026-11"


def activation_peak(rank: RankContext, behaviour: Behaviour, tokens: int) -> Line:
    """Return the peak of the profile run: the sampler's logits, or one pass's tokens where they are more."""
    sampler, layers = sampler_peak(rank, behaviour, tokens), token_peak(rank, behaviour, tokens)
    return layers if layers.bytes > sampler.most_bytes else sampler


def sampler_peak(rank: RankContext, behaviour: Behaviour, tokens: int) -> Line:
    """Return what the sampler needs for the profile run, and the workspace that experts keep beside it."""
    seqs, vocab, size = rank.options["max_num_seqs"], rank.stage.logits_width or 0, behaviour.sampler
    vocab = ceil_div(vocab, rank.parallelism.tp) if behaviour.sharded_sampling else vocab
    entries, ends = seqs * vocab, (size.low / 100, size.high / 100)
    low, usual, high = (entries * end // 100 for end in size[:3])
    formula = f"{vocab} vocabulary entries x {seqs} sequences x {ends[0]}..{ends[1]} B"
    beside = expert_workspace(rank, tokens) if behaviour.expert_workspace else 0
    if beside:
        formula = f"{formula} + {beside} B of experts"
        low, usual, high = (end + beside for end in (low, usual, high))
    return Line(
        component="activations",
        name="activation peak of the profile run",
        count=entries,
        bytes=usual,
        formula=formula,
        moments=WHILE_SERVING,
        evidence="assumed" if behaviour.sharded_sampling else behaviour.evidence(rank),
        source=f"{size.source}, {size.date}",
        low=low,
        high=high,
    )


def token_peak(rank: RankContext, behaviour: Behaviour, tokens: int) -> Line:
    """Return what the tokens of the profile run need in the widest part."""
    width, measured = inner_width(rank), behaviour.tokens
    size = tokens * width * rank.element_bytes
    return Line(
        component="activations",
        name="activation peak of the profile run",
        count=tokens * width,
        bytes=size,
        formula=f"{tokens} tokens x {width} numbers x {rank.element_bytes} B",
        moments=WHILE_SERVING,
        evidence="assumed",
        source=f"{constants.VLLM_0_11_TOKENS.source}; {measured.source}",
        low=size * measured.low // 100,
        high=size * measured.high // 100,
    )


def experts_of(rank: RankContext) -> Iterator[MoE]:
    """Yield the mixtures of experts of a stage, each kind once."""
    seen = {part: None for layer in rank.stage.groups for _, part in layer.parts if is_moe(part)}
    yield from seen


def expert_workspace(rank: RankContext, tokens: int) -> int:
    """Return the bytes that the fused experts' workspace holds: two arrays for each chosen expert of a token.

    Source: vllm-project/vllm, model_executor/layers/fused_moe/fused_moe.py (intermediate caches), 2026-11.
    MXFP4 experts have another kernel, for which no workspace was seen.
    """
    widths, ranks = [0], rank.parallelism
    for part in experts_of(rank):
        if all(rank.rule(tensor).id != MXFP4 for tensor in part.weights()):
            inner = ceil_div(part.expert_width, ranks.expert_tp)
            widths.append(part.top_k * (max(2 * inner, part.width) + inner))
    gathered = least(tokens * ranks.dp, CHUNK) if ranks.dp > 1 else tokens
    return gathered * max(widths) * rank.element_bytes


def exchanged_tokens(rank: RankContext, tokens: int) -> Iterator[Line]:
    """Yield the buffers in which data-parallel ranks bring their tokens to the experts.

    The middle are the tokens of all ranks, in and out, and the router's logits; the upper end adds the
    workspace of experts that take them, where the allocator keeps both.
    """
    ranks, mixtures = rank.parallelism, list(experts_of(rank))
    if ranks.dp > 1 and mixtures:
        gathered = tokens * ranks.dp
        width = max(2 * part.width + part.experts for part in mixtures)
        size = gathered * width * rank.element_bytes
        yield Line(
            component="activations",
            name="all-to-all buffers of the profile run",
            count=gathered * width,
            bytes=size,
            formula=f"{gathered} tokens of {ranks.dp} ranks x {width} numbers x {rank.element_bytes} B",
            moments=WHILE_SERVING,
            evidence="assumed",
            source=EXCHANGE,
            low=0,
            high=size + expert_workspace(rank, tokens),
        )
