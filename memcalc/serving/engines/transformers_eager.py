"""A prompt in transformers where attention is compressed: plain attention, and what slices keep."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING

from memcalc.ledger.budget import Line
from memcalc.ledger.tensor import greatest, least
from memcalc.serving.engines.base import ALWAYS
from memcalc.serving.engines.compressed import compressed_parts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memcalc.serving.engines.base import RankContext

__all__ = ["eager_attention", "kept_by_slices", "kept_wide"]

EAGER = "huggingface/transformers v5.23, models/deepseek_v4/modeling_deepseek_v4.py, eager_attention_forward"
SLICES = (
    "huggingface/transformers v5.23, models/deepseek_v4/modeling_deepseek_v4.py, store_compression_weights"
)


WIDE = "huggingface/transformers v5.23, models/deepseek_v4, _keep_in_fp32_modules_strict"
IN_32_BITS = (
    "hc.fn", "hc.base", "hc.scale", "hc_fn", "hc_base", "hc_scale",
    "sinks", "position_bias", "e_score_correction_bias",
)  # fmt: skip


def kept_wide(rank: RankContext) -> Iterator[Line]:
    """Yield what norms, hyper-connections, sinks and biases in 32 bits take beyond the file's numbers."""
    beyond = 0
    for whole in rank.stage.weights():
        if whole.kind == "norm" or whole.name.endswith(IN_32_BITS):
            beyond += (4 - rank.rule(whole).bits // 8) * rank.parallelism.on_rank(whole).count
    if beyond > 0:
        yield Line(
            component="weights",
            name="norms, hyper-connections and sinks, in 32 bits",
            bytes=beyond,
            formula="4 B each, less what the file has",
            moments=ALWAYS,
            source=WIDE,
        )


def eager_attention(rank: RankContext, batch: int, prompt: int) -> Iterator[Line]:
    """Yield the products of a pass of attention, which this model's class has in its plain form alone.

    Every head has a number for each pair of a token and what it sees: with the mask, with the sinks beside
    them, as shares, and without the sinks. Keys and values are repeated for all heads.
    """
    pieces = rank.tokens_a_pass(1, prompt)
    sizes = []
    for part, _ in compressed_parts(rank.stage):
        seen = prompt if rank.prefill_chunk is None else least(prompt, pieces + part.window)
        seen = seen + (0 if part.compress_rate is None else prompt // part.compress_rate)
        sizes.append(part.heads * (4 * pieces * (seen + 1) + 2 * seen * part.head_dim))
    if sizes:
        number = batch * reduce(greatest, sizes)
        yield Line(
            component="activations",
            name="attention without a kernel, of the widest layer",
            count=number,
            bytes=number * rank.element_bytes,
            formula=f"{batch} x heads x (4 x {pieces} x what is seen + 2 x what is seen x head_dim)",
            moments=("prefill",),
            evidence="assumed",
            source=EAGER,
        )


def kept_by_slices(rank: RankContext, batch: int, prompt: int) -> Iterator[Line]:
    """Yield what the cache keeps alive after a prompt: slices hold the arrays that they were cut from.

    They are the vectors of the whole pass, and the compressors' projections of it, until the next step.
    """
    tokens, number = rank.tokens_a_pass(1, prompt), 0
    for part, times in compressed_parts(rank.stage):
        number += times * part.head_dim * (tokens - least(tokens, part.window - 1))
        if part.compress_rate is not None:
            rest = tokens - least(tokens, part.compress_rate - 1)
            number += times * sum(2 * part.series * size * rest for _, size in part.entries)
    if type(number) is not int or number:
        yield Line(
            component="activations",
            name="the pass, which slices of it keep alive",
            count=batch * number,
            bytes=batch * number * rank.element_bytes,
            formula=f"{batch} x {number} x {rank.element_bytes} B",
            moments=("prefill",),
            source=SLICES,
        )
