"""Questions about serving: the KV cache, how engines hand it out, and what several cards divide."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.files.api import model as load_model
from memcalc.interview.bank.models import DENSE, LATENT
from memcalc.interview.bank.sizes import cache, experts, is_within, kib, on_rank, pool, weights
from memcalc.interview.facts import model_facts
from memcalc.interview.template import Option, Template, Wrong
from memcalc.serving.api import serve

if TYPE_CHECKING:
    from types import SimpleNamespace

__all__ = ["TEMPLATES"]

KV = {16: "bf16", 8: "fp8"}
LENGTHS = (1000, 2000, 3000, 4000, 6000, 8000, 12_000, 16_000, 24_000, 32_000, 64_000, 100_000, 128_000)
GROUPED = (
    "meta-llama/Meta-Llama-3.1-8B", "Qwen/Qwen2.5-7B-Instruct", "Qwen/Qwen3-4B", "Qwen/Qwen3-14B",
    "mistralai/Mistral-7B-v0.3", "Qwen/Qwen3-32B", "meta-llama/Llama-3.3-70B-Instruct", "Qwen/Qwen2.5-72B",
)  # fmt: skip
EIGHT_HEADS = tuple(name for name in GROUPED if "7B-Instruct" not in name)
FEW_HEADS = (
    "Qwen/Qwen3-30B-A3B", "Qwen/Qwen3-235B-A22B", "Qwen/Qwen3-32B", "meta-llama/Llama-3.3-70B-Instruct",
)  # fmt: skip
SHARED = ("google/gemma-4-E2B", "google/gemma-4-E4B")
DEALT = (
    "Qwen/Qwen3-30B-A3B", "Qwen/Qwen3-235B-A22B", "deepseek-ai/DeepSeek-V3", "zai-org/GLM-4.5-Air",
    "moonshotai/Kimi-K2-Instruct", "MiniMaxAI/MiniMax-M2.5", "zai-org/GLM-5",
)  # fmt: skip
SEEING = ("Qwen/Qwen3-VL-2B-Instruct", "Qwen/Qwen3-VL-4B-Instruct", "Qwen/Qwen3-VL-8B-Instruct",
          "Qwen/Qwen3-VL-32B-Instruct", "Qwen/Qwen3-VL-30B-A3B-Instruct")  # fmt: skip
BLOCK = 16  # tokens of vLLM's


def kept(model: str, *, windowed: bool) -> list[tuple[int, int]]:
    """Return how many layers keep keys and values of their own, and how wide a head is in them."""
    found = [(layer.times, part) for layer in load_model(model).groups for _, part in layer.remembering]
    return [
        (times, int(getattr(part, "head_dim", 0)))
        for times, part in found
        if (getattr(part, "window", None) is not None) == windowed
    ]


def own_full(drawn: SimpleNamespace) -> int:
    """Return how many layers that see everything keep keys and values of their own."""
    return sum(times for times, _ in kept(drawn.model, windowed=False))


def own_windows(drawn: SimpleNamespace) -> int:
    """Return how many layers with a window keep keys and values of their own."""
    return sum(times for times, _ in kept(drawn.model, windowed=True))


def full_dim(drawn: SimpleNamespace) -> int:
    """Return the width of a head in the layers that see everything."""
    return max(width for _, width in kept(drawn.model, windowed=False))


def twice_the_heads(drawn: SimpleNamespace) -> int:
    """Return twice as many ranks as the model has key/value heads."""
    return 2 * model_facts(drawn.model)["kv_heads"]


def with_common(model: str, common: int, own: int, batch: int) -> int:
    """Return vLLM's cache of requests with so many tokens in common, and others of their own."""
    return on_rank(model, common) + on_rank(model, own, batch)


def mib_of_an_expert(model: str) -> int:
    """Return the MiB of one routed expert in 16 bits."""
    shapes = model_facts(model)
    return experts(model) // (shapes["moe_depth"] * shapes["experts"]) // 2**20


def latent_on_rank(drawn: SimpleNamespace) -> int:
    """Return the bytes of a latent cache on a rank of SGLang with as many copies of attention as ranks."""
    found = {"engine": "sglang", "tp": drawn.ranks, "attention_dp": drawn.ranks, "kv": "bf16"}
    return on_rank(drawn.model, drawn.context, drawn.batch, **found)


def stage_cache(drawn: SimpleNamespace) -> int:
    """Return the bytes of the cache on a pipeline stage of vLLM."""
    return on_rank(drawn.model, drawn.context, tp=1, pp=drawn.stages)


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
    Template(
        id="cache-of-a-request", topic="serving", subject="KV cache", difficulty="easy", by_hand=True,
        title="How large is the KV cache of one request?",
        draws={"model": DENSE, "context": LENGTHS}, where=is_within,
        question="{model} has {depth} layers with {kv_heads} key/value heads of width {head_dim}, and keeps "
        "its cache in 16 bits. How many GiB does one request of {context} tokens take?",
        steps="token = 2 * depth * kv_heads * head_dim * 2; cache = token * context", unit="GiB",
        ledger=lambda drawn: cache(drawn.model, drawn.context),
        wrong=(Wrong("cache = depth * kv_heads * head_dim * 2 * context", "both keys and values are kept"),),
        hints=("How many numbers does a token leave in one layer?", "Keys and values, two bytes each."),
        further="Does the answer count? (Yes: prompt and answer are one sequence.)",
        source="the model's config.json; the sum is that of arXiv 2305.13245", chapter="a_note_says_16_gb",
    ),
    Template(
        id="cache-of-a-batch", topic="serving", subject="KV cache", difficulty="easy", by_hand=True,
        title="How much KV cache does a batch take?",
        draws={"model": GROUPED, "batch": (4, 8, 16, 32, 64), "context": (1000, 2000, 4000, 8000)},
        question="A token of {model} takes {kib} KiB of cache. {batch} requests of {context} tokens each are "
        "served at once, with nothing in common. How many GiB of cache is that?",
        facts={"kib": kib},
        steps="cache = batch * context * kib * 2**10", unit="GiB",
        ledger=lambda drawn: cache(drawn.model, drawn.context, drawn.batch),
        wrong=(Wrong("cache = context * kib * 2**10", "each request keeps tokens of its own"),),
        hints=("How many tokens are held in all?",),
        further="And the weights? (The same for one request and for a hundred.)",
        source="the model's config.json", chapter="on_a_napkin",
    ),
    Template(
        id="cache-of-a-chat", topic="serving", subject="KV cache", difficulty="easy", by_hand=True,
        title="How large does a chat's cache grow?",
        draws={"model": GROUPED, "turns": (5, 10, 20), "asked": (100, 200, 300), "answered": (400, 600, 800)},
        question="A chat with {model} goes on for {turns} turns, each a question of {asked} tokens and an "
        "answer of {answered}; everything said before is part of the next prompt. A token takes {kib} KiB of "
        "cache. How many MiB does the chat hold after the last answer?",
        facts={"kib": kib},
        steps="tokens = turns * (asked + answered); cache = tokens * kib * 2**10", unit="MiB",
        ledger=lambda drawn: cache(drawn.model, drawn.turns * (drawn.asked + drawn.answered)),
        wrong=(Wrong("cache = (asked + answered) * kib * 2**10", "earlier turns stay in the context"),
               Wrong("cache = turns * answered * kib * 2**10", "questions are cached as well")),
        hints=("How many tokens does the last turn see?",),
        further="Is each turn's prompt kept anew? (No: with prefix caching its tokens are those of the turn "
        "before.)",
        source="arXiv 2312.07104 (RadixAttention), section 3", chapter="a_note_says_16_gb",
    ),
    Template(
        id="order-of-caches", topic="serving", subject="KV cache", difficulty="medium", kind="order",
        title="Which model keeps least for a token?",
        items=tuple({"model": name} for name in (*DENSE[:10:2], *DENSE[10:], "Qwen/Qwen3-30B-A3B")),
        question="Order these models by the bytes of 16-bit KV cache that a token takes, the smallest first.",
        item="{model}: {depth} layers, {kv_heads} key/value heads of width {head_dim}",
        steps="token = 2 * depth * kv_heads * head_dim * 2", unit="KiB",
        hints=("Layers times KV heads times width: compare that alone.",),
        further="Does the number of parameters decide it? (No: Llama-2-7B keeps more than Llama-3.3-70B.)",
        source="the models' config.json", chapter="handbook_kv_cache",
    ),
    Template(
        id="smaller-cache-of-the-newer-model", topic="serving", subject="GQA",
        difficulty="easy", kind="choice",
        title="Why does the larger model have the smaller cache?",
        question="Llama-3.1-8B takes a quarter of Llama-2-7B's cache for a token. Both have 32 layers and 32 "
        "query heads of width 128, and both caches are in 16 bits. Why?",
        options=(Option("It has 8 key/value heads, Llama-2-7B has 32"),
                 Option("Its vocabulary is larger, so texts have fewer tokens",
                        "that does not change one token"),
                 Option("Its cache is compressed", "both keep plain 16-bit numbers"),
                 Option("It has fewer query heads", "both have 32, and queries are not kept")),
        because="Four query heads share one key/value head (grouped-query attention): 32 / 8 = 4.",
        hints=("What does a token leave behind?",),
        further="And with multi-query attention? (One key/value head: a 32nd of it.)",
        source="arXiv 2305.13245 (GQA); the models' config.json", chapter="a_note_says_16_gb",
    ),
    Template(
        id="why-no-query-cache", topic="serving", subject="KV cache", difficulty="easy", kind="explain",
        title="Why are keys and values cached, but not queries?",
        question="An engine keeps keys and values of every token, but no queries. Why? Explain in one line.",
        because="A later token reads the keys and values of all tokens before it, but a query serves its own "
        "token alone, in the step in which it is made.",
        points=("later tokens read earlier keys and values", "a query is used once, by its own token"),
        hints=("Who reads a query, and when?",),
        further="What would it cost to keep none? (Every step would compute all tokens before it again.)",
        source="arXiv 1911.02150, section 2.4", chapter="transformer_in_shapes",
    ),
    Template(
        id="cache-of-mla", topic="serving", subject="MLA", difficulty="medium", by_hand=True,
        title="How large is the cache with multi-head latent attention?",
        draws={"model": LATENT, "context": LENGTHS},
        question="{model} uses multi-head latent attention: each of its {depth} layers keeps, for all "
        "{heads} heads together, a latent of {kv_rank} numbers and a rotated key of {rope_dim}, in 16 bits. "
        "How many GiB does a request of {context} tokens take?",
        steps="token = depth * (kv_rank + rope_dim) * 2; cache = token * context", unit="GiB",
        ledger=lambda drawn: cache(drawn.model, drawn.context),
        wrong=(Wrong("cache = 2 * depth * (kv_rank + rope_dim) * 2 * context",
                     "one latent gives both keys and values"),
               Wrong("cache = depth * kv_rank * 2 * context", "the rotated key is kept beside the latent")),
        hints=("How many numbers does a layer keep of a token?", "Is there a factor for keys and values?"),
        further="Does the number of heads matter? (Not for the cache: one latent serves all of them.)",
        source="arXiv 2405.04434, section 2.1", chapter="handbook_kv_cache",
    ),
    Template(
        id="mla-saves-against-what", topic="serving", subject="MLA", difficulty="hard", kind="explain",
        title="MLA saves a large factor: against what?",
        question="DeepSeek-V3 keeps 576 numbers a token and layer. Somebody says that MLA makes the cache 57 "
        "times smaller. Against what is that, and is it the right comparison? Explain in two lines.",
        because="Against plain multi-head attention: 128 heads of 128 for keys and for values, 32,768 "
        "numbers. But the alternative would have been GQA: with 8 heads of 128 (2,048 numbers) the factor is "
        "3.6.",
        points=("57 = 2 × 128 × 128 / 576: against plain multi-head attention",
                "against GQA with 8 heads it is 3.6"),
        hints=("How many numbers would 128 heads keep?", "And 8 heads?"),
        further="And under tensor parallelism? (Worse: GQA's heads are divided, the latent is copied.)",
        source="arXiv 2412.19437; arXiv 2405.04434, table 1", chapter="handbook_kv_cache",
    ),
    Template(
        id="does-int4-shrink-the-cache", topic="serving", subject="KV cache",
        difficulty="easy", kind="choice",
        title="Do quantised weights shrink the KV cache?",
        draws={"model": GROUPED},
        question="{model} is replaced by its AWQ version with 4-bit weights; the engine's options stay as "
        "they are. What happens to the cache of a token?",
        options=(Option("It stays as it was, 16 bits a number"),
                 Option("It shrinks to a quarter", "the format of the weights is not that of the cache"),
                 Option("It shrinks to half", "an 8-bit cache has to be asked for"),
                 Option("It grows: scales are cached too", "scales belong to the weights")),
        because="Weights are multiplied in 16 bits, so keys and values come out in 16 bits.",
        hints=("What type does the product of an activation and a 4-bit weight have?",),
        further="How does it shrink? (--kv-cache-dtype fp8 in vLLM: half.)",
        source="docs.vllm.ai, Quantized KV Cache", chapter="handbook_formats",
    ),
    Template(
        id="windows-in-every-layer", topic="serving", subject="Sliding windows",
        difficulty="medium", kind="choice",
        title="A window in every layer: how does the cache grow?",
        draws={"context": (8192, 16_384, 32_768)},
        question="All layers of Mistral-7B-v0.1 have a window of 4,096 tokens. A request grows from 4,096 to "
        "{context} tokens, and the engine keeps no more than the windows need. What happens to its cache?",
        options=(Option("Nothing: it is as large as at 4,096"),
                 Option("It grows in proportion to the tokens", "what has left every window is dropped"),
                 Option("It doubles once, for the old and the new window",
                        "one window slides; there are not two"),
                 Option("It falls: old tokens are merged", "they are dropped, not merged")),
        because="No layer can read a token that is further back than its window.",
        hints=("Which tokens can still be read?",),
        further="And with one full layer in six? (That sixth grows with the context, as in Gemma 3.)",
        source="arXiv 2310.06825, section 2: rolling buffer cache", chapter="handbook_kv_cache",
    ),
    Template(
        id="layers-that-share-a-cache", topic="serving", subject="Shared caches", difficulty="hard",
        title="How large is a cache that layers share?",
        draws={"model": SHARED, "context": (*range(1000, 8000, 1000), *range(8000, 40_000, 4000))},
        question="{model} has {depth} layers, but only {own_full} that see everything and {own_windows} with "
        "a window of {window} keep keys and values; the others read theirs. For a token one that sees "
        "everything keeps {kv_heads} × {full_dim} numbers as key and as many as value, one with a window "
        "{kv_heads} × {head_dim} each, in 16 bits, and drops tokens that have left its window. How many MiB "
        "does a request of {context} tokens keep?",
        facts={"own_full": own_full, "own_windows": own_windows, "full_dim": full_dim}, unit="MiB",
        steps="full = own_full * full_dim * context; windows = own_windows * head_dim * window\n"
        "cache = 4 * kv_heads * (full + windows)", ledger=lambda drawn: cache(drawn.model, drawn.context),
        wrong=(Wrong("cache = 4 * depth * kv_heads * head_dim * context", "most layers keep nothing"),),
        hints=("Which layers keep anything at all?", "Windows keep no more than {window} tokens."),
        further="Who shares? (The last layers: they read what the last one of their kind keeps.)",
        source="huggingface/transformers, models/gemma4: num_kv_shared_layers", chapter="handbook_kv_cache",
    ),
    Template(
        id="tokens-in-a-pool", topic="serving", subject="vLLM", difficulty="medium",
        title="How many tokens fit into vLLM's pool?",
        draws={"model": GROUPED, "gib": (5, 8, 12, 20, 30, 50)},
        question="vLLM has {gib} GiB for the KV cache of {model} on one card. A token takes {kib} KiB, and "
        "the pool consists of whole blocks of 16 tokens. For how many tokens is there room?",
        facts={"kib": kib},
        steps="blocks = gib * 2**20 // (16 * kib); tokens = 16 * blocks", unit="tokens",
        ledger=lambda drawn: pool(drawn.model, drawn.gib * 2**30),
        wrong=(Wrong("tokens = gib * 10**9 // (kib * 2**10)", "a GiB is 2^30 bytes"),),
        hints=("How large is a block?", "How many whole blocks fit?"),
        further="Where does vLLM print it? (At its start: GPU KV cache size.)",
        source="vllm-project/vllm, v1/core/kv_cache_utils.py", chapter="handbook_engines",
    ),
    Template(
        id="chats-on-a-card", topic="serving", subject="vLLM", difficulty="easy", by_hand=True,
        title="How many chats have a cache at the same time?",
        draws={"model": GROUPED, "gib": (10, 20, 30, 40, 60), "context": (2048, 4096, 8192)},
        question="A card has {gib} GiB left for the cache of {model}, {kib} KiB a token. A chat holds "
        "{context} tokens. How many such chats have a cache at the same time?",
        facts={"kib": kib},
        steps="chats = gib * 2**20 // (kib * context)", unit="chats",
        ledger=lambda drawn: pool(drawn.model, drawn.gib * 2**30) // drawn.context,
        hints=("How many KiB are {gib} GiB?", "How many KiB does a chat take?"),
        further="And one chat more? (It waits, or one that runs is preempted and computed again.)",
        source="arXiv 2309.06180, section 4.5", chapter="on_a_napkin",
    ),
    Template(
        id="blocks-of-a-batch", topic="serving", subject="PagedAttention", difficulty="easy", by_hand=True,
        title="How many blocks does a batch take?",
        draws={"batch": (8, 10, 20, 40, 60), "context": (100, 250, 500, 1001, 1500, 2005, 3050)},
        question="vLLM hands out its cache in blocks of 16 tokens. {batch} requests hold {context} tokens "
        "each and have nothing in common. How many blocks do they take?",
        steps="blocks = batch * ceil(context / 16)", unit="blocks",
        ledger=lambda drawn: on_rank("Qwen/Qwen3-32B", drawn.context, drawn.batch) // (BLOCK * 2**18),
        wrong=(Wrong("blocks = batch * (context // 16)", "a block that is begun is taken whole"),),
        hints=("How many blocks does one request need?", "Round up."),
        further="How much is wasted at most? (15 tokens a request.)",
        source="arXiv 2309.06180, section 4.1", chapter="handbook_engines",
    ),
    Template(
        id="waste-of-blocks", topic="serving", subject="PagedAttention", difficulty="medium", by_hand=True,
        title="How many tokens' room does PagedAttention waste?",
        draws={"batch": (8, 16, 32, 64), "context": (100, 250, 500, 1001, 1500, 2005, 3050)},
        question="vLLM hands out its cache in blocks of 16 tokens. {batch} requests hold {context} tokens "
        "each. Room for how many tokens is taken, but empty?",
        steps="occupied = ceil(context / 16) * 16; empty = batch * (occupied - context)", unit="tokens",
        ledger=lambda drawn: (on_rank("Qwen/Qwen3-32B", drawn.context, drawn.batch)
                              - cache("Qwen/Qwen3-32B", drawn.context, drawn.batch)) // 2**18,
        wrong=(Wrong("empty = batch * 16", "only what the last block lacks is empty, not all of it"),),
        hints=("How full is the last block of a request?",),
        further="What share is that? (Under one block a request: the paper measured under 4 %.)",
        source="arXiv 2309.06180, section 1", chapter="handbook_engines",
    ),
    Template(
        id="reserved-or-paged", topic="serving", subject="PagedAttention", difficulty="medium", by_hand=True,
        title="How much does PagedAttention free?",
        draws={"model": GROUPED, "batch": (8, 16, 32), "used": (800, 1600, 2400, 3200),
               "limit": (4096, 8192)},
        question="A server reserved cache for {limit} tokens for each of {batch} requests to {model}; at the "
        "moment each holds {used}. A token takes {kib} KiB. It is replaced by one with blocks of 16 tokens "
        "that are handed out as needed. How many GiB become free?",
        facts={"kib": kib},
        steps="empty = batch * (limit - used); freed = empty * kib * 2**10", unit="GiB",
        ledger=lambda drawn: cache(drawn.model, drawn.limit, drawn.batch)
        - on_rank(drawn.model, drawn.used, drawn.batch),
        wrong=(Wrong("freed = batch * used * kib * 2**10", "that is what stays in use"),),
        hints=("How many tokens were reserved and not used?", "{used} tokens are whole blocks of 16."),
        further="What for? (More requests at once: that is where the throughput comes from.)",
        source="arXiv 2309.06180, sections 1 and 3", chapter="handbook_engines",
    ),
    Template(
        id="shared-prefix", topic="serving", subject="Prefix caching", difficulty="medium", by_hand=True,
        title="What do requests with one system prompt take?",
        draws={"model": GROUPED, "prefix": (1600, 2400, 3200), "own": (160, 320), "batch": (20, 50, 100)},
        question="{batch} requests to {model} begin with the same system prompt of {prefix} tokens, and each "
        "goes on with {own} of its own. A token takes {kib} KiB; blocks have 16 tokens. How many GiB do they "
        "take with prefix caching?",
        facts={"kib": kib},
        steps="tokens = prefix + batch * own; cache = tokens * kib * 2**10", unit="GiB",
        ledger=lambda drawn: with_common(drawn.model, drawn.prefix, drawn.own, drawn.batch),
        wrong=(Wrong("cache = batch * (prefix + own) * kib * 2**10", "that is without prefix caching"),
               Wrong("cache = batch * own * kib * 2**10", "the prefix is held once")),
        hints=("How often is the system prompt held?",),
        further="And if the first line has the time of day? (Nothing after the first difference is shared.)",
        source="docs.vllm.ai, Automatic Prefix Caching", chapter="handbook_engines",
    ),
    Template(
        id="samples-of-a-prompt", topic="serving", subject="n samples", difficulty="medium", by_hand=True,
        title="How much cache do n samples of one prompt take?",
        draws={"model": GROUPED, "samples": (4, 8, 16), "prompt": (1600, 3200), "answer": (160, 320, 640)},
        question="{samples} answers to one prompt are sampled at once (n = {samples}) from {model}. The "
        "prompt has {prompt} tokens and is held once for all; each answer has {answer}. A token takes {kib} "
        "KiB. How many MiB of cache is that at the end?",
        facts={"kib": kib},
        steps="tokens = prompt + samples * answer; cache = tokens * kib * 2**10", unit="MiB",
        ledger=lambda drawn: with_common(drawn.model, drawn.prompt, drawn.answer, drawn.samples),
        wrong=(Wrong("cache = samples * (prompt + answer) * kib * 2**10", "all share the prompt"),
               Wrong("cache = (prompt + answer) * kib * 2**10", "each sample goes its own way")),
        hints=("Which tokens do the samples have in common?",),
        further="And if the samples came as separate requests? (The same with prefix caching.)",
        source="arXiv 2309.06180, section 4.4", chapter="handbook_engines",
    ),
    Template(
        id="beams-of-a-search", topic="serving", subject="Beam search", difficulty="medium", by_hand=True,
        title="How much cache does beam search take?",
        draws={"model": GROUPED, "beams": (4, 8), "common": (1600, 3200), "own": (80, 160, 320)},
        question="Beam search runs with {beams} beams on {model}. All beams have the first {common} tokens "
        "in common, prompt and beginning of the answer, and each has {own} tokens of its own. A token takes "
        "{kib} KiB; blocks of 16 tokens are shared where beams agree. How many MiB of cache is that?",
        facts={"kib": kib},
        steps="tokens = common + beams * own; cache = tokens * kib * 2**10", unit="MiB",
        ledger=lambda drawn: with_common(drawn.model, drawn.common, drawn.own, drawn.beams),
        wrong=(Wrong("cache = beams * (common + own) * kib * 2**10",
                     "what beams have in common is held once"),
               Wrong("cache = (common + own) * kib * 2**10", "each beam keeps tokens of its own")),
        hints=("Which tokens are held once?",),
        further="And an engine that gives each beam a cache of its own? (Beams times everything.)",
        source="arXiv 2309.06180, section 4.4", chapter="handbook_engines",
    ),
    Template(
        id="when-prefixes-are-shared", topic="serving", subject="Prefix caching",
        difficulty="easy", kind="choice",
        title="Which requests share their prefix?",
        question="vLLM runs with prefix caching. Which of these pairs of prompts share the cache of a long "
        "system prompt?",
        options=(Option("The system prompt first, then two different questions"),
                 Option("Two different questions first, then the same system prompt",
                        "its keys and values depend on the questions before it"),
                 Option("The date and time first, then the system prompt", "their first tokens differ"),
                 Option("The system prompt in two languages", "other tokens, other keys")),
        because="What is kept of a token depends on all tokens before it: only equal beginnings are shared.",
        hints=("On what do keys and values of a token depend?",),
        further="Where should what changes stand? (At the end of the prompt.)",
        source="docs.vllm.ai, Automatic Prefix Caching", chapter="handbook_engines",
    ),
    Template(
        id="larger-blocks", topic="serving", subject="PagedAttention", difficulty="medium", kind="choice",
        title="What would larger blocks cost?",
        draws={"size": (64, 128, 256)},
        question="An engine with blocks of 16 tokens is set to blocks of {size}. What gets worse as far as "
        "memory goes?",
        options=(Option("More is empty in last blocks, and fewer prefixes end where a block ends"),
                 Option("The table of blocks grows", "it shrinks: fewer blocks to list"),
                 Option("A token takes more bytes", "a token takes what it took"),
                 Option("The pool gets smaller", "its size does not depend on how it is cut")),
        because="On average half a block of each request is empty, and prefix caching shares whole blocks "
        "alone.",
        hints=("How full is the last block on average?", "What is shared: tokens or blocks?"),
        further="Why not blocks of one token? (Kernels read long rows faster, and tables would be long.)",
        source="arXiv 2309.06180, section 7.2", chapter="handbook_engines",
    ),
    Template(
        id="cache-on-a-rank", topic="serving", subject="Tensor parallelism", difficulty="easy", by_hand=True,
        title="How much cache does each card hold under tensor parallelism?",
        draws={"model": EIGHT_HEADS, "ranks": (2, 4, 8), "context": (4000, 8000, 16_000, 32_000)},
        question="{model} has {kv_heads} key/value heads and takes {kib} KiB of cache a token. vLLM serves "
        "it with tensor parallelism on {ranks} cards. How many MiB of cache does each card hold for "
        "{context} tokens?",
        facts={"kib": kib},
        steps="token = kib / ranks; cache = token * context * 2**10", unit="MiB",
        ledger=lambda drawn: on_rank(drawn.model, drawn.context, tp=drawn.ranks),
        wrong=(Wrong("cache = kib * context * 2**10", "each card holds some of the heads, not all"),),
        hints=("How many KV heads does a card hold?", "{kv_heads} heads are divided evenly."),
        further="And on 16 cards? (As on 8: a head is not cut, so each is held twice.)",
        source="vllm-project/vllm, vllm/config/model.py: get_num_kv_heads", chapter="handbook_splits",
    ),
    Template(
        id="replicas-or-tensor-parallel", topic="serving", subject="Data parallelism", difficulty="medium",
        kind="choice", title="Two replicas or tensor parallelism: which leaves more room for the cache?",
        draws={"model": EIGHT_HEADS[:4]},
        question="{model} fits on one card. You have two, and serve it either as two replicas or with tensor "
        "parallelism on both. Which way has more room for KV cache on both cards together, and by how much?",
        options=(Option("Tensor parallelism, by about one copy of the weights"),
                 Option("Neither: two cards have what two cards have", "two replicas hold the weights twice"),
                 Option("Two replicas, by one copy of the cache",
                        "its KV heads are divided, and nothing is copied"),
                 Option("Tensor parallelism, by a factor of two", "only what the weights give up is gained")),
        because="Replicas hold the weights twice. Divided, they are held once, and so is each token's cache.",
        hints=("How often do the weights lie on the two cards?", "And a token's cache?"),
        further="And with MLA? (Then each token's cache lies on both cards: replicas may hold more.)",
        source="docs.vllm.ai, Parallelism and Scaling", chapter="handbook_splits",
    ),
    Template(
        id="more-ranks-than-heads", topic="serving", subject="Tensor parallelism", difficulty="medium",
        title="More cards than KV heads: what does each hold?",
        draws={"model": FEW_HEADS, "context": (4000, 8000, 12_000, 16_000, 20_000, 24_000, 28_000, 32_000)},
        question="{model} has {depth} layers with {kv_heads} key/value heads of width {head_dim}, 16 bits. "
        "vLLM serves it with tensor parallelism on {ranks} cards and does not cut a head. How many MiB of "
        "cache does each card hold for {context} tokens?",
        facts={"ranks": twice_the_heads}, unit="MiB",
        steps="heads_here = ceil(kv_heads / ranks); cache = 4 * depth * heads_here * head_dim * context",
        ledger=lambda drawn: on_rank(drawn.model, drawn.context, tp=twice_the_heads(drawn)),
        wrong=(Wrong("cache = 4 * depth * kv_heads / ranks * head_dim * context", "heads are not cut"),
               Wrong("cache = 4 * depth * kv_heads * head_dim * context", "a card holds one of the heads")),
        hints=("How many heads come to a card: can it be half a one?",),
        further="What do all cards hold together? (Twice the cache: every head is there twice.)",
        source="vllm-project/vllm, vllm/config/model.py: get_num_kv_heads", chapter="qwen3_235b_on_8_and_4",
    ),
    Template(
        id="mla-under-tensor-parallelism", topic="serving", subject="MLA", difficulty="medium", kind="choice",
        title="What does tensor parallelism divide of an MLA cache?",
        draws={"ranks": (4, 8, 16)},
        question="DeepSeek-V3 is served with tensor parallelism on {ranks} cards, without data-parallel "
        "attention. How much of a request's KV cache does each card hold?",
        options=(Option("All of it"),
                 Option("1/{ranks}", "there are no KV heads to divide: one latent serves all heads"),
                 Option("Half of it, the keys or the values", "one latent gives both"),
                 Option("The first card all, the others nothing", "every card needs it for its heads")),
        because="The latent belongs to all heads together, and each card needs it for its own: it is copied.",
        hints=("Along which axis does tensor parallelism cut a cache?",),
        further="What divides it? (Data-parallel attention by requests, context parallelism by tokens.)",
        source="docs.vllm.ai, Context Parallel Deployment; arXiv 2405.04434", chapter="handbook_splits",
    ),
    Template(
        id="data-parallel-attention", topic="serving", subject="Data-parallel attention", difficulty="hard",
        title="What does data-parallel attention hold on a card?",
        draws={"model": ("deepseek-ai/DeepSeek-V3", "deepseek-ai/DeepSeek-V2-Lite"), "ranks": (2, 4, 8),
               "batch": (32, 64, 128), "context": (4096, 8192)},
        question="{model} keeps {kv_rank} + {rope_dim} numbers of 16 bits a token in each of {depth} layers. "
        "With data-parallel attention SGLang deals {batch} requests of {context} tokens evenly to {ranks} "
        "cards; a card keeps all of the cache of its requests. How many GiB does it hold?",
        steps="token = depth * (kv_rank + rope_dim) * 2; requests = batch / ranks; cache = requests * "
        "context * token",
        unit="GiB", ledger=latent_on_rank,
        wrong=(Wrong("cache = batch * context * depth * (kv_rank + rope_dim) * 2",
                     "that is tensor parallelism alone, where every card holds every request"),),
        hints=("How many requests come to one card?", "Of these it holds everything."),
        further="What is the price? (Attention's weights are copied to every card.)",
        source="lmsys.org/blog/2024-12-04-sglang-v0-4, data-parallel attention", chapter="handbook_splits",
    ),
    Template(
        id="context-parallel-decode", topic="serving", subject="Context parallelism", difficulty="hard",
        title="What does decode context parallelism divide?",
        draws={"model": LATENT[::2], "ranks": (2, 4, 8), "context": tuple(range(16_384, 98_305, 16_384))},
        question="{model} is served on 8 cards with tensor parallelism; groups of {ranks} cards share the "
        "tokens of a cache among them (decode context parallelism, {ranks}). A token takes {token} bytes in "
        "all layers together. How many MiB does a card hold of a request with {context} tokens?",
        facts={"token": lambda drawn: cache(drawn.model, 1)},
        steps="tokens = context / ranks; cache = tokens * token", unit="MiB",
        ledger=lambda drawn: on_rank(drawn.model, drawn.context, tp=8, dcp=drawn.ranks, kv="bf16"),
        wrong=(Wrong("cache = context * token", "that is tensor parallelism alone: a latent is copied"),
               Wrong("cache = context * token / ranks / 8", "a latent is not cut by tensor parallelism")),
        hints=("Which tokens does a card keep?",),
        further="Does GQA gain from it? (Only where there are more cards than KV heads.)",
        source="docs.vllm.ai, Context Parallel Deployment", chapter="handbook_splits",
    ),
    Template(
        id="cache-of-a-stage", topic="serving", subject="Pipeline parallelism",
        difficulty="medium", by_hand=True,
        title="How much cache does a pipeline stage hold?",
        draws={"model": GROUPED, "stages": (2, 4), "context": (4000, 8000, 16_000, 32_000)},
        where=lambda drawn: model_facts(drawn.model)["depth"] % drawn.stages == 0,
        question="{model} has {depth} layers and takes {kib} KiB of cache a token. vLLM serves it as a "
        "pipeline of {stages} stages with equally many layers. How many MiB does a stage hold for {context} "
        "tokens?",
        facts={"kib": kib},
        steps="token = kib / stages; cache = token * context * 2**10", unit="MiB", ledger=stage_cache,
        wrong=(Wrong("cache = kib * context * 2**10", "a stage keeps the cache of its own layers"),),
        hints=("Whose keys and values does a stage keep?",),
        further="And MLA? (Divided all the same: a pipeline deals out layers, not heads.)",
        source="docs.vllm.ai, Parallelism and Scaling", chapter="handbook_splits",
    ),
    Template(
        id="experts-on-a-rank", topic="serving", subject="Expert parallelism",
        difficulty="medium", by_hand=True,
        title="How many bytes of experts does each card hold?",
        draws={"model": DEALT, "ranks": (8, 16, 32, 64)},
        question="{model} has {moe_depth} layers of {experts} routed experts, {mib} MiB each in 16 bits. "
        "They are dealt out to {ranks} cards (expert parallelism {ranks}). How many GiB of routed experts "
        "does a card hold?",
        facts={"mib": lambda drawn: mib_of_an_expert(drawn.model)},
        steps="experts_here = experts / ranks; held = moe_depth * experts_here * mib * 2**20", unit="GiB",
        ledger=lambda drawn: experts(drawn.model, engine="vllm", tp=1, dp=drawn.ranks, ep=drawn.ranks),
        wrong=(Wrong("held = moe_depth * experts * mib * 2**20", "they are dealt out, not copied"),
               Wrong("held = experts / ranks * mib * 2**20", "each of {moe_depth} layers has its own")),
        hints=("How many experts of a layer does a card hold?",),
        further="And tensor parallelism on as many cards? (As many bytes: a slice of each expert.)",
        source="docs.vllm.ai, Expert Parallel Deployment", chapter="handbook_splits",
    ),
    Template(
        id="expert-or-tensor-parallel", topic="serving", subject="Expert parallelism", difficulty="medium",
        kind="choice", title="Expert or tensor parallelism: which holds fewer bytes of experts?",
        draws={"ranks": (4, 8)},
        question="A mixture of 128 experts a layer is served on {ranks} cards, once with its experts cut by "
        "tensor parallelism and once dealt out whole by expert parallelism. Which card holds fewer bytes of "
        "routed experts?",
        options=(Option("Neither: 1/{ranks} of them both times"),
                 Option("That with expert parallelism: it has fewer experts", "but each of them whole"),
                 Option("That with tensor parallelism: slices are smaller",
                        "but it has one of each of the 128"),
                 Option("With expert parallelism all experts are copied", "they are dealt out")),
        because="{ranks} slices of 128 experts or 128/{ranks} whole ones: the same share, cut another way.",
        hints=("What share of all experts' numbers does a card hold?",),
        further="Why deal out then? (Whole experts keep matrices large, and blocks of FP8 whole.)",
        source="docs.vllm.ai, Expert Parallel Deployment; vllm-project/vllm#17569", chapter="handbook_splits",
    ),
    Template(
        id="cards-that-divide-the-heads", topic="serving", subject="Tensor parallelism",
        difficulty="easy", kind="choice",
        title="Which number of cards can tensor parallelism use?",
        question="A model has 64 query heads and 8 key/value heads; you have cards enough. With which tensor "
        "parallelism does vLLM not start?",
        options=(Option("6"),
                 Option("2", "32 query and 4 KV heads each"),
                 Option("8", "8 query heads and one KV head"),
                 Option("16", "4 query heads, and each KV head twice")),
        because="Heads are not cut: 64 has to be a multiple of the number of cards, and 6 does not divide "
        "it.",
        hints=("What is dealt out, and may a piece be cut?",),
        further="What is done with six cards? (Tensor parallelism 2, three pipeline stages.)",
        source="vllm-project/vllm, vllm/config/model.py: verify_with_parallel_config",
        chapter="handbook_splits",
    ),
    Template(
        id="pictures-as-tokens", topic="serving", subject="Vision", difficulty="medium", by_hand=True,
        title="How much cache do pictures take?",
        draws={"model": SEEING, "side": (512, 768, 1024, 1280), "pictures": (4, 8, 16)},
        question="{model} turns every square of 32 × 32 pixels of a picture into one token, which takes "
        "{kib} KiB of cache like any other. How many MiB do {pictures} pictures of {side} × {side} pixels "
        "take?",
        facts={"kib": kib},
        steps="tokens = pictures * (side / 32)**2; cache = tokens * kib * 2**10", unit="MiB",
        ledger=lambda drawn: cache(drawn.model, drawn.pictures * (drawn.side // 32) ** 2),
        wrong=(Wrong("cache = pictures * (side / 16)**2 * kib * 2**10",
                     "four patches of 16 × 16 are merged into one token"),),
        hints=("How many squares are in one picture?",),
        further="What else do pictures cost? (The vision tower's weights, and its pass over all patches.)",
        source="Qwen/Qwen3-VL, preprocessor_config.json: patch_size 16, merge_size 2",
        chapter="a_note_says_16_gb",
    ),
    Template(
        id="loads-that-fit", topic="serving", subject="KV cache", difficulty="medium", kind="fits",
        title="Which loads fit beside the weights?",
        draws={"model": ("Qwen/Qwen3-8B", "Qwen/Qwen3-14B", "meta-llama/Meta-Llama-3.1-8B"),
               "device": ("rtx-5090", "l40s-ecc", "a100-80g")}, where=is_within,
        items=tuple({"batch": batch, "context": context} for batch in (2, 4, 8, 16, 32, 64, 128, 256)
                    for context in (1000, 2000, 4000, 8000, 16_000)),
        question="{model} in 16 bits takes {weights:GiB} of a card with {capacity:MiB}, and a token {kib} "
        "KiB of cache. Weights and cache may use nine tenths of the card together. Which of these loads fit?",
        facts={"weights": lambda drawn: weights(drawn.model), "kib": kib},
        item="{batch} requests of {context} tokens", steps="cache = batch * context * kib * 2**10",
        unit="GiB", capacity="capacity * 0.9 - weights",
        hints=("How much is left for the cache?", "Tokens in all, times KiB a token."),
        further="What else takes memory? (The pass, CUDA graphs and the driver, often 2 to 4 GiB.)",
        source="the model's config.json; public logs of nvidia-smi", chapter="on_a_napkin",
    ),
    Template(
        id="cards-for-a-load", topic="serving", subject="KV cache",
        difficulty="hard", kind="estimate", tolerance=0.5,
        title="How much memory does a service need in all?",
        draws={"model": GROUPED, "batch": (10, 20, 50, 100), "context": (2000, 4000, 8000)},
        question="A service of {model} ({parameters} parameters in 16 bits, {depth} layers, {kv_heads} "
        "key/value heads of width {head_dim}, 16-bit cache) holds {batch} chats of {context} tokens at once. "
        "How many GB do weights and cache need together? Within a factor of 1.5 is enough.",
        steps="weights = 2 * parameters; chats = batch * context * 2 * depth * kv_heads * head_dim * "
        "2\ntogether = weights + chats",
        unit="GB", ledger=lambda drawn: weights(drawn.model) + cache(drawn.model, drawn.context, drawn.batch),
        hints=("Weights first: two bytes a parameter.", "Then all tokens times the bytes of one."),
        further="Which of the two grows with users? (The cache alone.)",
        source="the model's config.json", chapter="on_a_napkin",
    ),
    Template(
        id="why-a-pool", topic="serving", subject="vLLM", difficulty="medium", kind="explain",
        title="Why does vLLM take its memory in advance?",
        question="vLLM holds 90 % of a card though nobody sends a request. Is that a leak? Explain in two "
        "lines.",
        because="No: it takes a pool for the KV cache at its start, as large as its share of the card "
        "allows, so that it never asks the driver while it serves; blocks of the pool are handed out and "
        "taken back.",
        points=("a fixed share of the card is taken at the start",
                "the cache gets what weights and passes leave",
                "use of the pool shows in its metrics, not in nvidia-smi"),
        hints=("What happens to the pool when a request ends?",),
        further="How do you see what is really used? (The metric vllm:kv_cache_usage_perc.)",
        source="docs.vllm.ai, Conserving Memory and Production Metrics", chapter="handbook_engines",
    ),
)  # fmt: skip
