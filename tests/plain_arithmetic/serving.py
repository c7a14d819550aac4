"""Serving."""

from __future__ import annotations

import math
import re

from tests.plain_arithmetic import GB, GIB, MIB, fitting, rising

__all__ = ["ANSWERS"]

KIB = 1024
MB = 10**6
BF16, FP32 = 2, 4
BLOCK = 16  # tokens


def sides(q, words=""):
    """The two numbers of the first a × b behind the words."""
    found = re.search(re.escape(words) + r"\D*?([\d,]+) × ([\d,]+)", q.text[q.text.index(words) :])
    return [int(one.replace(",", "")) for one in found.groups()]


def area(q, words=""):
    return math.prod(sides(q, words))


def blocked(q):
    """The bytes of a number in each format of blocks: so many bytes for so many numbers."""
    found = re.findall(r"(\d+) bytes for (\d+)", q.text)
    return [int(size) / int(count) for size, count in found]


def fp8_matrix(q):
    """A byte a number, and a scale for every block, a begun one too."""
    matrix, block = sides(q, "A matrix of"), sides(q, "every block of")
    scales = math.prod(math.ceil(side / edge) for side, edge in zip(matrix, block, strict=True))
    return math.prod(matrix) + scales * FP32


def gptq_matrix(q):
    """Codes; a scale and a zero point a group; an index of each input."""
    outputs, inputs = q.before("outputs"), q.before("inputs is stored")
    group = q.after("Every")
    codes = outputs * inputs * q.before("bits. Every") / 8
    shared = outputs * inputs / group * (q.after("a scale of") + q.after("a zero point of")) / 8
    return codes + shared + inputs * q.after("an index of") / 8


def gptq_checkpoint(q):
    packed = q.before("numbers in 4 bits") * q.before("bits, every") / 8
    groups = q.before("numbers in 4 bits") / q.after("every")
    shared = groups * (q.after("a scale of") + q.after("a zero point of")) / 8
    return packed + shared + q.before("numbers, stay in") * BF16 + q.before("bytes. How many")


def double_quantised(q):
    scales = area(q, "in a matrix of") / q.after("an fp32 scale for every")
    numbers = scales / q.after("an fp32 number for every") + q.before("fp32 numbers. How")
    return scales * FP32 - scales * q.before("bits, with") / 8 - numbers * FP32


def q4_k_m(q):
    low, high = blocked(q)
    return (
        q.before("numbers are in Q4_K") * low + q.before("in Q6_K") * high + q.before("stay in fp32") * FP32
    )


def all_but_embedding(q, parameters, embedding):
    """The bytes of 16-bit weights that a step of decode reads."""
    return (q.before(parameters) - q.before(embedding)) * BF16


def experts_read(q):
    """An expert is missed by all requests with (1 - k/n) to the power of requests."""
    experts, chosen, requests = q.before("experts and"), q.after("each token to"), q.before("requests are")
    share = 1 - (1 - chosen / experts) ** requests
    return f"Nearly all {experts}" if share > 0.95 else "About half of them"


def widest(q, words):
    """The numbers of a token in a × b + c × d."""
    found = re.search(re.escape(words) + r" (\d) × ([\d,]+) \+ (\d) × ([\d,]+)", q.text)
    a, b, c, d = (int(one.replace(",", "")) for one in found.groups())
    return a * b + c * d


def logits_of_all(q):
    token = q.after("a vocabulary of") * (BF16 + FP32) + q.before("16-bit numbers a token") * BF16
    return q.before("tokens?") * token / GIB


def pool(q):
    usable = q.before("MiB and may use") * MIB * q.before("%") / 100
    return (usable - q.before("bytes, the profile") - q.after("peaks") - q.before(". How many")) / GIB


def two_servers(q):
    share = q.before("% runs")
    return (
        f"It does not start: {share} % of the card are not free"
        if 2 * share > 100
        else "It starts: its model is small enough"
    )


def concurrent(q):
    room = q.after("concurrency for") * q.before("x. A hundred")
    return "All of them" if 100 * whole(q.before("tokens each arrive")) <= room else "not all"


def heads_kept(q):
    """The bytes of a token: a key and a value of 16 bits for each head in each layer."""
    return 2 * q.before("layers") * q.before("key/value heads") * q.after("heads of width") * BF16


def latent(q):
    """The bytes of a token in a layer of latent attention."""
    return (q.after("a latent of") + q.after("a rotated key of")) * BF16


def whole(tokens):
    """The tokens of whole blocks that hold so many."""
    return math.ceil(tokens / BLOCK) * BLOCK


def in_kib(q):
    """The bytes of a token."""
    return q.before("KiB") * KIB


def shared_layers(q):
    """Two 16-bit numbers, of a key and of a value, of all tokens or of a window's."""
    tokens, window = q.before("tokens keep"), q.after("a window of")
    everywhere = q.after("but only") * area(q, "sees everything keeps") * tokens
    windowed = q.before("with a window of") * area(q, "one with a window") * min(window, tokens)
    return 2 * BF16 * (everywhere + windowed)


def with_prefix(q, count, common, own):
    """The bytes of tokens that all have in common, and of each one's own, in whole blocks."""
    shared = q.before(common) // BLOCK * BLOCK
    rest = q.before(common) - shared
    return (shared + q.before(count) * whole(rest + q.before(own))) * in_kib(q)


def on_a_rank(q):
    """A card holds at least one whole head."""
    heads, cards = q.before("key/value heads"), q.before("cards")
    return max(heads // cards, 1) / heads


def undivided(q):
    """The first number of cards by which the query heads cannot be divided."""
    return next(one.text for one in q.choices if q.before("query heads") % int(one.text))


def pictures(q):
    square, picture = sides(q, "every square of"), sides(q, "pictures of")
    tokens = math.prod(math.ceil(side / point) for side, point in zip(picture, square, strict=True))
    return q.before("pictures") * tokens * in_kib(q) / MIB


def loads(q):
    room = q.before("MiB, and a token") * MIB * 0.9 - q.before("GiB of a card") * GIB
    token = q.before("KiB of cache") * KIB
    return fitting([one.before("requests") * one.before("tokens") * token for one in q.choices], room)


def load(q):
    cache = q.before("chats") * q.before("tokens at once") * heads_kept(q)
    return (q.before("parameters") * BF16 + cache) / GB


WEIGHTS = {
    "weights-in-16-bits": lambda q: q.before("parameters") * BF16 / GIB,
    "mxfp4-matrix": lambda q: (
        area(q)
        * (q.before("bits for each") + q.before("bits for every") / q.after("bits for every"))
        / 8
        / MIB
    ),
    "fp8-matrix": lambda q: fp8_matrix(q) / MIB,
    "nf4-double-quantisation": lambda q: double_quantised(q) / KIB,
    "gptq-matrix": lambda q: gptq_matrix(q) / MB,
    "gptq-checkpoint": lambda q: gptq_checkpoint(q) / GB,
    "total-or-active": lambda q: q.before("parameters") * q.before("bits?") / 8 / GB,
    "experts-in-host-memory": lambda q: (
        q.before("layers of") * q.before("experts, and") * 3 * area(q, "three matrices of") * BF16 / GIB
    ),
    "q4-k-m-file": lambda q: q4_k_m(q) / GB,
    "order-of-blocks": lambda q: rising([blocked(one)[0] for one in q.choices]),
    "cards-for-the-weights": lambda q: math.ceil(
        q.before("parameters") * BF16 * 10 / (q.before("MiB") * MIB * 9)
    ),
    "one-point-two": lambda q: q.before("bytes of weights") * 2 // (10 * q.before("bytes of cache")),
    "what-w8a8-shrinks": lambda q: "The weights of the linear layers, and nothing else",
    "fp8-and-nvidia-smi": lambda q: "Not at all; there is room for more cached tokens",
    "does-int4-shrink-the-cache": lambda q: "It stays as it was, 16 bits a number",
    "what-to-offload-first": lambda q: "The routed experts: most bytes, and a token uses few of them",
}

PASSES = {
    "bandwidth-floor": lambda q: (
        q.before("GB a second") * GB // all_but_embedding(q, "parameters but", "of the input embedding")
    ),
    "bytes-of-a-decode-step": lambda q: (
        (
            all_but_embedding(q, "parameters", "of its input embedding")
            + q.before("requests") * q.before("tokens each") * q.before("bytes.")
        )
        / GB
    ),
    "experts-read-by-a-batch": experts_read,
    "prefill-or-decode": lambda q: (
        f"Prefill: activations of {q.before('tokens is read'):,} tokens at once, in decode of one"
    ),
    "widest-part": lambda q: (
        q.before("tokens in one pass")
        * (3 * q.after("three arrays of") + 4 * q.after("four of"))
        * BF16
        / GIB
    ),
    "chunked-prefill": lambda q: (
        (q.before("tokens was read") - q.after("chunks of")) * widest(q, "has") * BF16 / GIB
    ),
    "logits-of-the-last-token": lambda q: (
        q.before("requests, one") * q.after("a vocabulary of") * (BF16 + FP32) / MIB
    ),
    "logits-of-all-tokens": logits_of_all,
    "pool-of-vllm": pool,
    "share-of-the-card": lambda q: q.before("MiB") * q.before("%") / 100 / 1024,
    "two-servers-on-a-card": two_servers,
    "what-concurrency-means": concurrent,
    "free-but-in-pieces": lambda q: (
        f"The free memory lies in pieces, none of them {q.after('to allocate')} GiB long"
    ),
    "what-eager-gives-back": lambda q: "No graphs are captured: their memory is free, and decode is slower",
    "slots-for-adapters": lambda q: (
        q.before("slots")
        * q.before("layers")
        * q.after("of rank")
        * (q.before("inputs") + q.before("outputs, A"))
        * BF16
        / MIB
    ),
}

CACHE = {
    "kv-bytes-a-token": lambda q: (
        2
        * q.before("layers")
        * q.before("key/value heads")
        * q.before("numbers wide")
        * q.after("kept in")
        // 8
    ),
    "does-yarn-cost": lambda q: "It stays as it is",
    "cache-of-a-draft": lambda q: heads_kept(q) * q.before("tokens?") / GIB,
    "cache-of-mtp": lambda q: latent(q) * q.before("tokens?") / MIB,
    "cache-of-a-request": lambda q: heads_kept(q) * q.before("tokens take") / GIB,
    "cache-of-a-batch": lambda q: q.before("requests") * q.before("tokens each") * in_kib(q) / GIB,
    "cache-of-a-chat": lambda q: (
        q.before("turns") * (q.after("a question of") + q.after("an answer of")) * in_kib(q) / MIB
    ),
    "order-of-caches": lambda q: rising([heads_kept(one) for one in q.choices]),
    "smaller-cache-of-the-newer-model": lambda q: "It has 8 key/value heads, Llama-2-7B has 32",
    "cache-of-mla": lambda q: q.before("layers") * latent(q) * q.before("tokens take") / GIB,
    "windows-in-every-layer": lambda q: (
        f"Nothing: it is as large as at {q.after('a window of'):,}"
        if q.after("grows from") >= q.after("a window of")
        else "It grows in proportion to the tokens"
    ),
    "layers-that-share-a-cache": lambda q: shared_layers(q) / MIB,
}

BLOCKS = {
    "tokens-in-a-pool": lambda q: q.before("GiB") * GIB // (BLOCK * in_kib(q)) * BLOCK,
    "chats-on-a-card": lambda q: q.before("GiB") * GIB // (q.before("tokens. How") * in_kib(q)),
    "blocks-of-a-batch": lambda q: q.before("requests") * whole(q.before("tokens each")) // BLOCK,
    "waste-of-blocks": lambda q: (
        q.before("requests") * (whole(q.before("tokens each")) - q.before("tokens each"))
    ),
    "reserved-or-paged": lambda q: (
        q.before("requests") * (q.before("tokens for each") - whole(q.after("each holds"))) * in_kib(q) / GIB
    ),
    "shared-prefix": lambda q: with_prefix(q, "requests", "tokens, and each", "of its own") / GIB,
    "samples-of-a-prompt": lambda q: (
        (q.after("The prompt has") + q.before("answers") * q.after("each answer has")) * in_kib(q) / MIB
    ),
    "beams-of-a-search": lambda q: with_prefix(q, "beams", "tokens in common", "tokens of its own") / MIB,
    "when-prefixes-are-shared": lambda q: "The system prompt first, then two different questions",
    "larger-blocks": lambda q: "More is empty in last blocks, and fewer prefixes end where a block ends",
}

CARDS = {
    "cache-on-a-rank": lambda q: on_a_rank(q) * in_kib(q) * q.before("tokens?") / MIB,
    "more-ranks-than-heads": lambda q: on_a_rank(q) * heads_kept(q) * q.before("tokens?") / MIB,
    "replicas-or-tensor-parallel": lambda q: "Tensor parallelism, by about one copy of the weights",
    "mla-under-tensor-parallelism": lambda q: "All of it",
    "data-parallel-attention": lambda q: (
        (q.after("keeps") + q.after("+"))
        * BF16
        * q.before("layers")
        * (q.before("requests of") / q.before("cards"))
        * q.after("requests of")
        / GIB
    ),
    "context-parallel-decode": lambda q: (
        q.before("bytes in all layers") * q.before("tokens?") / q.after("groups of") / MIB
    ),
    "cache-of-a-stage": lambda q: in_kib(q) * q.before("tokens?") / q.before("stages") / MIB,
    "experts-on-a-rank": lambda q: (
        q.before("layers") * q.before("routed experts") * q.before("MiB each") / q.before("cards") / 1024
    ),
    "expert-or-tensor-parallel": lambda q: f"Neither: 1/{q.before('cards')} of them both times",
    "cards-that-divide-the-heads": undivided,
    "pictures-as-tokens": pictures,
    "loads-that-fit": loads,
    "cards-for-a-load": load,
}

ANSWERS = WEIGHTS | PASSES | CACHE | BLOCKS | CARDS
