"""Training."""

from __future__ import annotations

import math
import re

from tests.plain_arithmetic import GB, GIB, MIB, fitting, rising

__all__ = ["ANSWERS"]

BF16, FP32 = 2, 4
KIB, MILLION = 1024, 10**6
MASTER = FP32
MOMENTS = 2 * FP32
MIXED = 2 * BF16 + MASTER + MOMENTS  # weight, gradient, master copy, two moments


def billions(q):
    return q.before("billion parameters") * GB


def pair(q, words):
    """The two numbers of a × b behind the words."""
    found = re.search(re.escape(words) + r" ([\d,]+) × ([\d,]+)", q.text)
    return [int(one.replace(",", "")) for one in found.groups()]


def muon(q):
    """One number for those in matrices, two for the others."""
    inside = q.before("of them in the layers")
    return (inside + 2 * (q.before("parameters") - inside)) * q.before("bits?") / 8


def galore(q):
    """Two moments of rank x n and a projection of m x rank, of four and of three matrices in a layer."""
    rank = q.after("with rank")
    kept = 0
    for count, words in ((4, "four matrices of"), (3, "three of")):
        short, long = sorted(pair(q, words))
        kept += count * (2 * rank * long + short * rank)
    return q.after("Each of") * kept * BF16


def gpt(q):
    """The bytes of a GPT layer without its scores, and of these."""
    width, heads = q.after("width is"), q.before("heads")
    tokens = q.before("tokens?") if q.has("tokens?") else q.before("tokens.")
    return 34 * tokens * width, 5 * heads * tokens**2


def recomputed(q):
    rest, scores = gpt(q)
    return 100 * scores / (rest + scores)


def takeover(q):
    """The first whole number of tokens with 5 x heads x tokens > 34 x width."""
    return 34 * q.after("width is") // (5 * q.before("heads")) + 1


def llama(q):
    """The bytes of a layer of Llama, its arrays one after another as they are told."""
    width, feed = q.after("width"), q.after("feed-forward width")
    keys = q.before("key/value heads") * q.after("key/value heads of")
    norms = 2 * (FP32 * width + 4 + BF16 * width)
    attention = BF16 * (width + width + keys + keys + width) + 4 * q.before("query heads")
    mlp = BF16 * (width + 4 * feed)
    return q.before("tokens?") * (norms + attention + mlp)


def checkpoints(q, tokens):
    return q.before("layers of width") * q.after("layers of width") * tokens * BF16


def rerun(q):
    """The inputs of all layers, and what the last one keeps besides."""
    return (checkpoints(q, q.before("tokens.")) + q.before("bytes for the backward")) / GIB


def adapted(q):
    """The inputs and outputs of seven matrices."""
    model, heads, feed = pair(q, "q and o are"), pair(q, "k and v"), pair(q, "gate, up and down")
    return q.before("layers:") * (2 * sum(model) + 2 * sum(heads) + 3 * sum(feed)) * q.after("of rank")


def qlora(q):
    return (
        q.before("numbers in its layers") * (4 / 8 + FP32 / 64)
        + q.after("Its other") * BF16
        + q.before("numbers in fp32") * FP32
    )


def magnitudes(q):
    outputs = 2 * q.after("q and o (") + 2 * q.after("k and v (") + 2 * q.after("gate and up (")
    return q.after("In each of") * (outputs + q.after("down ("))


def zero(stage, ranks):
    """The bytes a parameter that a rank holds, 16 without sharing."""
    shared = {1: 12, 2: 14, 3: 16}[stage]
    return 16 - shared + shared / ranks


def zero_three(q):
    """A share of the parameters, and a layer in BF16."""
    return MIXED * math.ceil(q.before("parameters") / q.before("ranks")) + BF16 * q.before("of them in each")


def sharing(q):
    """The choices whose states fit seven tenths of a card."""
    sizes = [billions(q) * zero(one.after("stage"), one.before("cards")) for one in q.choices]
    return fitting(sizes, 0.7 * q.before("GiB") * GIB)


def cards(q):
    """The least number of cards on which a share of the 12 bytes fits beside the 4."""
    size = billions(q)
    return next(ranks for ranks in range(1, 10**4) if size * (4 + 12 / ranks) <= q.before("GB (10^9") * GB)


def parallel(q):
    """Norms whole, the rest in parts."""
    norms = q.before("of them are in norms")
    return 18 * (norms + (q.before("parameters;") - norms) / q.before("ranks of tensor"))


def whole_and_cut(q, ranks):
    """The MiB of a GPT layer without scores: what tensor parallelism leaves whole, and a part of the rest."""
    size = q.before("tokens") * (q.after("which is") if q.has("which is") else q.after("width is")) / MIB
    return 10 * size, 24 * size / ranks


def in_flight(stages, stage, batches):
    """A stage of 1F1B keeps a micro-batch for itself and for each stage behind it, if there are so many."""
    return min(stages - stage + 1, batches)


def first_stage(q):
    stages, batches = q.before("pipeline stages"), q.before("micro-batches")
    held = in_flight(stages, 1, batches)
    return "As much" if held == stages else f"{held} parts in {stages}"


def interleaved(q):
    """Chunks that are kept, each a part in stages x chunks of the model; without, the whole model."""
    stages, chunks = q.after("A pipeline of"), q.before("chunks of layers")
    return (2 * (stages - 1) + (chunks - 1) * stages + 1) / (stages * chunks)


def expert_parallel(q):
    inside = q.before("of them in routed")
    return BF16 * (q.before("parameters") - inside + inside / q.before("ranks of expert"))


def fine_tune(q):
    """States, inputs of layers, loss."""
    tokens = q.before("tokens,")
    states = q.before("parameters,") * q.before("bytes a parameter")
    return states + checkpoints(q, tokens) + q.after("vocabulary of") * tokens * q.before("bytes a logit")


def optimizer(choice):
    return billions(choice) * choice.before("×") * choice.after("×") / 8


def spread(q, count):
    """A card's part of the states, of which the text says how many bytes a parameter has."""
    return billions(q) * q.before("bytes a parameter") / count


ANSWERS = {
    "states-of-adamw": lambda q: MIXED * billions(q) / GB,
    "main-gradient": lambda q: (BF16 + FP32 + MASTER + MOMENTS) * billions(q) / GB,
    "does-amp-save-states": lambda q: "It stays the same",  # 4 + 4 + 8 = 2 + 2 + 4 + 8
    "pure-bf16-states": lambda q: (BF16 + BF16 + 2 * BF16) * billions(q) / GB,
    "why-step-needs-more": lambda q: (BF16 + BF16 + 2 * BF16 + BF16) * q.before("parameters") / GB,
    "moments-in-8-bits": lambda q: 2 * math.prod(pair(q, "matrix of")) * (1 + FP32 / 256) / MIB,
    "factors-of-adafactor": lambda q: sum(pair(q, "matrix of")) * FP32 / KIB,
    "order-of-optimizers": lambda q: rising([optimizer(one) for one in q.choices]),
    "states-of-muon": lambda q: muon(q) / GB,
    "moments-of-galore": lambda q: galore(q) / GB,
    "gradients-that-stay": lambda q: BF16 * q.before("parameters") / GB,
    "does-accumulation-save": lambda q: (
        f"Activations of one sequence instead of {q.before('sequences a step')}; weights and states as before"
    ),
    "optimizer-in-a-checkpoint": lambda q: (BF16 + MASTER + MOMENTS) * billions(q) / GB,
    "layer-of-gpt": lambda q: sum(gpt(q)) / MIB,
    "when-scores-take-over": takeover,
    "scores-of-eager": lambda q: q.before("heads") * q.before("tokens?") ** 2 * (FP32 + BF16) / GIB,
    "layer-of-llama": lambda q: llama(q) / MIB,
    "checkpoints-of-layers": lambda q: checkpoints(q, q.before("tokens at the end")) / MIB,
    "checkpointing-and-one-layer": rerun,
    "price-of-checkpointing": lambda q: "By a third: one more forward pass",  # 1 + 1 + 2 for 1 + 2
    "selective-recomputation": recomputed,
    "loss-at-its-peak": lambda q: 3 * FP32 * q.after("vocabulary of") * q.before("tokens") / GIB,
    "smaller-loss": lambda q: "A linear layer fused with the cross entropy, as in Liger Kernel",
    "logits-that-are-held": lambda q: BF16 * q.after("vocabulary of") * q.before("tokens") / MIB,
    "logits-of-evaluation": lambda q: (
        FP32 * q.after("vocabulary") * q.before("samples") * q.before("tokens") / GIB
    ),
    "lora-of-q-and-v": lambda q: (
        q.after("In each of")
        * q.after("of rank")
        * (q.after("q_proj has") + q.after("inputs and") + q.after("v_proj") + q.before("outputs."))
        / MILLION
    ),
    "lora-of-all-linear": adapted,
    "states-with-lora": lambda q: (
        (billions(q) * BF16 + q.before("million numbers") * MILLION * (FP32 + FP32 + MOMENTS)) / GB
    ),
    "why-lora-runs-out": lambda q: "They stay nearly the same",
    "copies-for-adapters": lambda q: (
        FP32 * (6 * q.before("numbers a token") + q.after("down")) * q.before("tokens?") / MIB
    ),
    "nf4-of-a-matrix": lambda q: math.prod(pair(q, "matrix of")) * (4 / 8 + FP32 / 64) / MIB,
    "weights-with-qlora": lambda q: qlora(q) / GB,
    "kbit-preparation": lambda q: (FP32 - BF16) * q.before("numbers are not") / MIB,
    "magnitudes-of-dora": magnitudes,
    "qlora-of-experts": lambda q: f"More than {q.before('of them in experts') * BF16 / GB:.4g} GB",
    "ddp-on-cards": lambda q: "All of it, and a second copy of the gradients in buckets",
    "zero-stage-1": lambda q: billions(q) * zero(1, q.before("ranks")) / GB,
    "zero-stage-2": lambda q: billions(q) * zero(2, q.before("ranks")) / GB,
    "zero-stage-3": lambda q: zero_three(q) / GB,
    "zero-that-fits": sharing,
    "ranks-for-zero-1": cards,
    "distributed-optimizer": lambda q: billions(q) * (2 + 4 + (4 + 8) / q.before("ranks hold")) / GB,
    "two-layers-of-fsdp": lambda q: 2 * BF16 * q.before("numbers.") / MIB,
    "fsdp-without-wrapping": lambda q: "All weights: the unit that is gathered is the whole model",
    "optimizer-in-the-host": lambda q: (MASTER + MOMENTS + FP32) * q.before("parameters") / GB,
    "layer-with-tp": lambda q: sum(whole_and_cut(q, q.before("ranks"))),
    "layer-with-sp": lambda q: whole_and_cut(q, 1)[0] * (1 - 1 / q.before("ranks")),
    "states-with-tp": lambda q: parallel(q) / GB,
    "in-flight": lambda q: in_flight(q.before("stages"), q.after("does stage"), q.before("micro-batches")),
    "first-stage": first_stage,
    "price-of-interleaving": interleaved,
    "weights-with-ep": lambda q: expert_parallel(q) / GB,
    "what-cp-divides": lambda q: (
        f"Activations and logits of 1/{q.before('ranks')} of the tokens; all weights and states"
    ),
    "states-on-tp-and-pp": lambda q: spread(q, q.before("ranks") * q.before("even pipeline")) / GB,
    "cards-for-states": lambda q: math.ceil(
        q.before("billion parameters") * q.before("bytes each") / q.before("GB (10^9")
    ),
    "estimate-a-fine-tune": lambda q: fine_tune(q) / GB,
    "dpo-with-a-copy": lambda q: (MIXED + BF16) * billions(q) / GB,
    "dpo-with-lora": lambda q: "From the same weights, with the adapter switched off",
    "four-models-of-ppo": lambda q: 2 * (MIXED + BF16) * billions(q) / GB,
    "cache-of-rollouts": lambda q: (
        2
        * BF16
        * q.before("layers and")
        * q.before("key/value heads")
        * q.after("key/value heads of")
        * q.before("answers")
        * q.before("tokens")
        / GIB
    ),
    "twice-the-tokens": lambda q: "Activations and logits double; weights and states stay",
}
