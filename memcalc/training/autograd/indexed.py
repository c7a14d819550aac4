"""What lets attention see only the tokens that an indexer chose, as transformers 5.23 runs it.

An indexer runs without a gradient: autograd keeps nothing of it. While it runs it has the scores of all
pairs of tokens, for each of its heads, in 32 bits. Attention is then given a mask.
Read in transformers/models/deepseek_v32/modeling_deepseek_v32.py, glm_moe_dsa/modeling_glm_moe_dsa.py, and
the way of a mask to its kernel in torch 2.13, aten/src/ATen/native/transformers/attention.cpp.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from memcalc.ledger.tensor import ceil_div, least
from memcalc.training.autograd.attention import is_one
from memcalc.training.autograd.matrices import matrix
from memcalc.training.autograd.rotation import halves, in_pairs, rope_tables
from memcalc.training.autograd.tape import CACHED, Tape

if TYPE_CHECKING:
    from memcalc.ledger.parts import Indexer
    from memcalc.training.autograd.base import MicroBatch
    from memcalc.training.autograd.tape import Value

__all__ = ["bias_of", "chosen_bytes", "hand_on", "masked", "peak_of"]

CHOSEN = "tokens that are chosen"
ROTATED = {"halves": halves, "pairs": in_pairs}


def chosen_shape(micro: MicroBatch) -> tuple[int, int, int]:
    """Return how many tokens are chosen, for each token of each sequence."""
    return micro.batch, micro.seq, least(micro.architecture.chosen, micro.seq)


def chosen_bytes(micro: MicroBatch) -> int:
    """Return the bytes of the numbers of the chosen tokens, 32 bits each."""
    batch, seq, chosen = chosen_shape(micro)
    return 4 * batch * seq * chosen


def masked(
    tape: Tape, micro: MicroBatch, indexer: Indexer | None, given: tuple[Value, Value], rotated: int
) -> list[Value]:
    """Choose tokens, and mask the others: what lives until attention returns.

    `given` are the stream and the latent of the queries, `rotated` the numbers of a head that are. Without an
    indexer an earlier layer has chosen.
    """
    batch, seq, _ = chosen_shape(micro)
    held = []

    def hold(name: str, shape: tuple[int, ...], element_bytes: int) -> Value:
        value = tape.value(name, shape, element_bytes, grad=False, region="whole")
        return tape.hold(value, grad=True)

    if indexer is not None:
        peak, copies = peak_of(micro, indexer, given, rotated)
        if copies:
            narrow = tape.value("autocast's copies for the indexer", (copies,), 1, grad=True, region="weight")
            tape.record(CACHED, (), narrow)
        hold("what the indexer has while it runs", (peak - copies,), 1)
        held.append(tape.mark(CHOSEN, lambda name: hold(name, chosen_shape(micro), 4)))
    ones, places = hold("mask of none", (batch, seq, seq), 1), hold("their places", chosen_shape(micro), 8)
    held.append(hold("mask of those that are not chosen", (batch, seq, seq), 1))
    for value in ones, places:
        tape.refer(value)
    if micro.attention != "eager":
        opposite = hold("mask of those that are chosen", (batch, seq, seq), 1)
    wide = micro.element_bytes if micro.attention == "eager" else 1
    held.append(hold("both masks", (batch, seq, seq), wide))
    if micro.attention != "eager":
        tape.refer(opposite)
    return held


def hand_on(tape: Tape) -> None:
    """Hold what the layer's own indexer chose until the layer returns it."""
    if CHOSEN in tape.marks:
        tape.refer(tape.marks[CHOSEN])


def bias_of(tape: Tape, micro: MicroBatch, width: int) -> Value:
    """Return the mask as numbers that kernels add to scores: its rows are padded to a multiple of 8."""
    batch, seq = micro.batch, micro.seq
    plain = tape.value("mask in numbers", (batch, seq, seq), width, grad=False, region="whole")
    rows = 8 * ceil_div(seq, 8)
    bias = tape.value("mask in numbers, padded", (batch, seq, rows), width, grad=False, region="whole")
    if rows == seq:
        return plain
    tape.hold(plain, grad=True)
    tape.hold(bias, grad=True)
    tape.refer(plain)
    return bias


def peak_of(micro: MicroBatch, part: Indexer, inputs: tuple[Value, Value], rotated: int) -> tuple[int, int]:
    """Return the most that an indexer has beside what it is given, and what of it autocast holds for longer.

    It projects, normalises its key, rotates a part of both, and multiplies each query by each key in 32 bits;
    the scores are scaled, cut at 0, weighed head by head, and the largest are looked for.
    """
    tape = Tape()
    batch, seq, heads, width = micro.batch, micro.seq, part.index_heads, part.index_dim
    low = 2 if micro.autocast else 4  # numbers of a product of what has 32 bits
    given, asked = (tape.like(one, one.name, grad=True) for one in inputs)
    inside = "self_attn.indexer"
    held = []
    q = matrix(tape, micro, f"{inside}.wq_b", asked, heads * width)
    q.shape = (batch, seq, heads, width)
    k = matrix(tape, micro, f"{inside}.wk", given, width)
    k = tape.layer_norm(f"{inside}.k_norm", k, trained=False, wide=micro.autocast)
    k.shape = (batch, seq, 1, width)
    turn, tables = ROTATED[micro.architecture.index_rope], rope_tables(tape, micro, rotated)
    joined = []
    for one, name in (q, "q"), (k, "k"):
        whole = one.shape[:-1]
        turns, passes = tape.split(
            one, {f"{name}, turns": (*whole, rotated), f"{name}, passes": (*whole, width - rotated)}
        )
        as_wide = replace(micro, autocast=False, element_bytes=one.element_bytes)  # as its norm gave it
        turned = turn(tape, as_wide, turns, tables, name)
        held += [one, turned]
        joined.append((turned, passes, tape.like(one, f"{name} joined")))
    q, k = (tape.record("join", (turned, passes), out) for turned, passes, out in joined)
    held += [q, k]
    wide_q, wide_k = tape.cast(q, 4, "q in fp32"), tape.cast(k, 4, "k in fp32")
    many_q, many_k = tape.cast(wide_q, low, "q, narrow"), tape.cast(wide_k, low, "k, narrow")
    given_to_product = (wide_q, wide_k, many_k)
    if not is_one(batch):
        every = tape.value("key of each query", (batch, seq, width, seq), low, grad=True)
        many_k = tape.record("repeat", (many_k,), every)
    square = (batch, seq, heads, seq)
    raw = tape.record("scores", (many_q, many_k), tape.value("scores", square, low, grad=True))
    for value in given_to_product:
        tape.refer(value)
    scaled = tape.record("scale", (raw,), tape.like(raw, "scores, scaled"))
    scores = tape.record("relu", (scaled,), tape.like(raw, "scores above 0"))
    weights = matrix(tape, micro, f"{inside}.weights_proj", given, heads)
    weights = tape.cast(weights, 4, "weights in fp32")
    weights = tape.record("scale", (weights,), tape.like(weights, "weights, scaled"))
    held += [scores, weights]
    narrow = tape.cast(weights, low, "weights, narrow")
    every = tape.value("scores of all heads", (batch, seq, seq), low, grad=True)
    every = tape.record("weigh", (narrow, scores), every)
    causal = tape.value("mask, opposite", (batch, seq, seq), 1, grad=True)
    masked_scores = tape.like(every, "scores of tokens before")
    tape.record("not", (), causal)
    every = tape.record("mask", (every, causal), masked_scores)
    found = tape.value("the largest and their places", chosen_shape(micro), low + 8, grad=True)
    found = tape.record("topk", (every,), found)
    held.append(every)
    tape.record("narrow", (found,), tape.value("tokens that are chosen", chosen_shape(micro), 4, grad=True))
    for value in held:
        tape.refer(value)
    return tape.forward_peak(given, keeping=False), sum(value.bytes for value in tape.cached(()))
