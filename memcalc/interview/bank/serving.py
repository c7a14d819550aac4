"""Questions about serving: weights, caches, passes, engines, and splits."""

from __future__ import annotations

from memcalc.interview.bank.models import DENSE
from memcalc.interview.template import Option, Template, Wrong
from memcalc.serving.api import serve

__all__ = ["TEMPLATES"]

KV = {16: "bf16", 8: "fp8"}

TEMPLATES = (
    Template(
        id="kv-bytes-a-token", topic="serving", subject="KV cache", difficulty="easy",
        title="How many bytes of KV cache does a token take?",
        draws={"model": DENSE, "bits": (16, 8)},
        question="{model} has {depth} layers with {heads} query heads and {kv_heads} key/value heads, each "
        "{head_dim} numbers wide. The cache is kept in {bits} bits. How many bytes does one token take?",
        steps="token = 2 * depth * kv_heads * head_dim * bits / 8", unit="B",
        ledger=lambda drawn: serve(drawn.model, context=1, kv=KV[drawn.bits]).cache_bytes,
        wrong=(Wrong("token = 2 * depth * heads * head_dim * bits / 8", "query heads leave nothing behind"),
               Wrong("token = depth * kv_heads * head_dim * bits / 8", "both keys and values are kept")),
        hints=("Which heads leave something behind for later tokens?", "Both keys and values are kept."),
        further="Does a scale of an FP8 cache count? (No: there is one for a layer, not for a token.)",
        source="the model's config.json; the sum is that of arXiv 2305.13245", chapter="a_note_says_16_gb",
    ),
    Template(
        id="does-yarn-cost", topic="serving", subject="KV cache", difficulty="easy", kind="choice",
        title="Does YaRN raise memory?",
        draws={"factor": (2, 4), "context": (4096, 8192, 16384)},
        question="A model that was trained on 32,768 tokens is served with YaRN, factor {factor}. You keep "
        "sending requests of {context} tokens. What happens to the KV cache of a request?",
        options=(Option("It stays as it is"),
                 Option("It grows by the factor {factor}", "the limit grows by it; what is used does not"),
                 Option("It shrinks: positions are packed closer", "angles change, shapes do not")),
        because="YaRN changes the angles by which queries and keys are rotated, not how many are kept.",
        hints=("What does YaRN change: numbers, or how many there are?",),
        further="What does cost memory? (To use the length: the cache is proportional to the tokens held.)",
        source="arXiv 2309.00071", chapter="rope_extension",
    ),
)  # fmt: skip
