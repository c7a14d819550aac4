"""Questions about hybrids: of host and card, of states and attention, and the machines that serve them."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from memcalc.files.api import model as load_model
from memcalc.files.machines import devices
from memcalc.files.source import Source
from memcalc.interview.facts import model_facts
from memcalc.interview.template import Option, Template, Wrong
from memcalc.ledger.parts.kinds import keeps_state
from memcalc.ledger.tensor import ceil_div
from memcalc.serving.api import serve

if TYPE_CHECKING:
    from types import SimpleNamespace

__all__ = ["TEMPLATES"]

LATENT = ("deepseek-ai/DeepSeek-R1", "deepseek-ai/DeepSeek-V3", "moonshotai/Kimi-K2-Instruct")
GATED = (
    "Qwen/Qwen3-235B-A22B", "Qwen/Qwen3-30B-A3B", "Qwen/Qwen3-Coder-480B-A35B-Instruct",
    "zai-org/GLM-4.5-Air", "MiniMaxAI/MiniMax-M2.5", "deepseek-ai/DeepSeek-R1", "moonshotai/Kimi-K2-Instruct",
)  # fmt: skip
"""Models whose experts have three matrices, and whose layers with experts are alike."""
LARGE = (
    "deepseek-ai/DeepSeek-R1", "moonshotai/Kimi-K2-Instruct", "Qwen/Qwen3-Coder-480B-A35B-Instruct",
    "Qwen/Qwen3.5-397B-A17B", "meta-llama/Meta-Llama-3.1-405B", "zai-org/GLM-5",
)  # fmt: skip
QWEN = (
    "Qwen/Qwen3.5-27B", "Qwen/Qwen3.6-27B", "Qwen/Qwen3.5-35B-A3B", "Qwen/Qwen3.6-35B-A3B",
    "Qwen/Qwen3.5-122B-A10B", "Qwen/Qwen3.5-397B-A17B",
)  # fmt: skip
DELTA = ("Qwen/Qwen3-Next-80B-A3B-Instruct", *QWEN)
MAMBA = (
    "nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", "nvidia/NVIDIA-Nemotron-3-Ultra-550B-A55B-BF16",
    "nvidia/Nemotron-H-56B-Base-8K", "ibm-granite/granite-4.0-h-small",
)  # fmt: skip
WINDOWED = (
    "google/gemma-2-9b-it", "google/gemma-2-27b-it", "google/gemma-3-4b-it", "google/gemma-3-12b-it",
    "google/gemma-3-27b-it", "openai/gpt-oss-20b", "openai/gpt-oss-120b",
)  # fmt: skip
PRESETS = ("Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S", "Q4_K_M", "Q4_K_S", "Q3_K_M", "Q2_K", "IQ4_XS")
MACS = ("m4-pro-48g", "m4-max-64g", "m4-max-128g", "m2-ultra-192g", "m3-ultra-512g")
SHARED = ("strix-halo", "gb10", *MACS)


def routed(drawn: SimpleNamespace) -> int:
    """Return the parameters of all routed experts."""
    return sum(one.count for one in load_model(drawn.model).weights() if one.kind == "expert")


def each_expert(drawn: SimpleNamespace) -> int:
    """Return the parameters of one expert of one layer."""
    facts = model_facts(drawn.model)
    return routed(drawn) // (facts["moe_depth"] * facts["experts"])


def experts_in_tokens(drawn: SimpleNamespace) -> int:
    """Return how many tokens of cache take as much as some experts of each layer."""
    experts = each_expert(drawn) * model_facts(drawn.model)["moe_depth"] * drawn.count
    return int(experts * drawn.bits / 8 // serve(drawn.model, context=1).cache_bytes)


def state_depth(drawn: SimpleNamespace) -> int:
    """Return how many layers keep a state."""
    layers = load_model(drawn.model).groups
    return sum(layer.times for layer in layers if any(keeps_state(part) for _, part in layer.parts))


def attending(drawn: SimpleNamespace) -> int:
    """Return how many layers have a KV cache."""
    layers = load_model(drawn.model).groups
    return sum(layer.times for layer in layers if any(hasattr(part, "kv_heads") for _, part in layer.parts))


def streams(drawn: SimpleNamespace) -> int:
    """Return the channels that a layer's short convolution reads."""
    layers = load_model(drawn.model).groups
    (found,) = {getattr(part, "streams", 0) for one in layers for _, part in one.parts if keeps_state(part)}
    return int(found)


def states(drawn: SimpleNamespace) -> int:
    """Return the numbers of a sequence's recurrent states."""
    cache = load_model(drawn.model).cache(1, 1)
    return sum(one.count for one in cache if one.name.endswith("recurrent_state"))


def held_for(drawn: SimpleNamespace, context: int) -> int:
    """Return the bytes that a sequence's tokens, and not its states, take in 16 bits."""
    one, more = (serve(drawn.model, context=tokens).cache_bytes for tokens in (1, context + 1))
    return int(more - one)


def on_host(drawn: SimpleNamespace, sockets: int) -> int:
    """Return the weights that KTransformers 0.2 holds in the memory of a host."""
    host = serve(
        drawn.model, context=4096, weights=drawn.weights, engine="ktransformers", engine_version="0.2",
        on="1x rtx-4090 + 4096GiB host", engine_options={"sockets": sockets},
    ).host  # fmt: skip
    return int(host.components["weights"]) if host else 0


def servers(drawn: SimpleNamespace) -> int:
    """Return how many servers of eight devices hold the weights in a share of their memory."""
    weights = serve(drawn.model, context=1, weights="bf16").weights_file_bytes
    return ceil_div(100 * weights, 8 * devices()[drawn.device].capacity_bytes * drawn.percent)


def block(drawn: SimpleNamespace) -> int:
    """Return the tokens that vLLM 0.27 puts into a block."""
    kv = {16: "bf16", 8: "fp8"}[drawn.bits]
    served = serve(drawn.model, context=1, engine="vllm", engine_version="0.27", tp=drawn.ranks, kv=kv)
    return int(str(served.plan.engine_options["attention_block"]))


def jamba(depth: int, period: int) -> Source:
    """Return the shapes of Jamba v0.1 with another depth, and another layer in so many that attends."""
    fields: dict[str, object] = {
        "model_type": "jamba", "hidden_size": 4096, "num_hidden_layers": depth, "attn_layer_period": period,
        "attn_layer_offset": period // 2, "num_key_value_heads": 8, "num_attention_heads": 32,
        "mamba_d_state": 16, "mamba_d_conv": 4, "mamba_expand": 2, "mamba_dt_rank": 256, "num_experts": 16,
        "num_experts_per_tok": 2, "expert_layer_period": 2, "expert_layer_offset": 1,
        "intermediate_size": 14336, "vocab_size": 65536, "tie_word_embeddings": False,
    }  # fmt: skip
    return Source("a Jamba", fields, "a question")


TEMPLATES = (
    Template(
        id="one-expert", topic="hybrids", subject="Experts in RAM", difficulty="easy", by_hand=True,
        title="How large is one expert?",
        draws={"model": GATED, "bits": (16, 8, Fraction(9, 2), Fraction(17, 4))},
        question="An expert of {model} has three matrices of {width} × {expert_width}. Host memory holds it "
        "at {bits} bits a weight, scales included. How many MiB does one expert of one layer take?",
        steps="expert = 3 * width * expert_width * bits / 8", unit="MiB",
        ledger=lambda drawn: int(each_expert(drawn) * drawn.bits / 8),
        wrong=(Wrong("expert = 2 * width * expert_width * bits / 8", "gate, up and down are three matrices"),
               Wrong("expert = 3 * width * expert_width * 2", "two bytes would be 16 bits")),
        hints=("Which matrices does a gated feed-forward part have?",
               "Gate, up and down; bits / 8 are bytes."),
        further="What travels to the card if the CPU computes the expert? (Its input and its output of one "
        "token each, not the weights.)",
        source="the model's config.json; arXiv 2002.05202 for the three matrices",
        chapter="one_gpu_and_a_lot_of_ram",
    ),
    Template(
        id="experts-in-ram", topic="hybrids", subject="Experts in RAM", difficulty="medium",
        title="How much host memory do all routed experts take?",
        draws={"model": GATED, "bits": (16, 8, Fraction(9, 2), Fraction(17, 4))},
        question="{model} has {moe_depth} layers with {experts} routed experts each, of which a token uses "
        "{top_k}. An expert has three matrices of {width} × {expert_width}. All of them lie in host memory "
        "at {bits} bits a weight, scales included. How many GB (10^9 bytes) is that?",
        steps="expert = 3 * width * expert_width; memory = moe_depth * experts * expert * bits / 8",
        unit="GB", ledger=lambda drawn: int(routed(drawn) * drawn.bits / 8),
        wrong=(Wrong("memory = moe_depth * top_k * 3 * width * expert_width * bits / 8",
                     "the next token may need any expert, so all of them have to be there"),
               Wrong("memory = experts * 3 * width * expert_width * bits / 8",
                     "each layer has its own experts")),
        hints=("First the weights of one expert.", "Then all experts of all layers that have some."),
        further="What is left for the card? (Attention, shared experts, dense layers, head, and the cache.)",
        source="KTransformers' tutorial; config.json", chapter="one_gpu_and_a_lot_of_ram",
    ),
    Template(
        id="expert-or-context", topic="hybrids", subject="Experts in RAM", difficulty="hard",
        title="How many tokens of context does an expert on the card cost?",
        draws={"model": LATENT, "count": (2, 3, 4, 8), "bits": (16, 8, Fraction(9, 2))},
        question="{model} keeps {kv_rank} + {rope_dim} numbers of a token in each of {depth} layers, in "
        "BF16. In {moe_depth} layers an expert has three {width} × {expert_width} matrices. {count} experts "
        "of each of these move from RAM to the card, at {bits} bits a weight. How many whole tokens of cache "
        "is that?",
        steps="token = 2 * depth * (kv_rank + rope_dim)\n"
        "moved = 3 * moe_depth * count * width * expert_width * bits / 8\ntokens = moved // token",
        unit="tokens", ledger=experts_in_tokens,
        wrong=(Wrong("tokens = 3 * moe_depth * count * width * expert_width * bits / 8 // (2 * (kv_rank + "
                     "rope_dim))", "a token is kept in each of {depth} layers"),),
        hints=("What does a token take in all layers?", "What do the experts take that move? Divide."),
        further="Which is worth more? (Most often context: an expert serves few tokens.)",
        source="KTransformers, --kt-num-gpu-experts; arXiv 2412.19437", chapter="one_gpu_and_a_lot_of_ram",
    ),
    Template(
        id="second-socket", topic="hybrids", subject="Two sockets", difficulty="easy",
        title="How much RAM does a copy of the experts for each socket take?",
        draws={"model": ("deepseek-ai/DeepSeek-R1", "Qwen/Qwen3-235B-A22B", "Qwen/Qwen3-30B-A3B"),
               "weights": PRESETS},
        facts={"file": lambda drawn: on_host(drawn, 1), "experts_in_it": lambda drawn: on_host(drawn, 2) -
               on_host(drawn, 1)},
        question="KTransformers 0.2 with USE_NUMA=1 gives each of two CPU sockets a copy of its own of the "
        "routed experts. A {weights} file of {model} has {file} bytes, {experts_in_it} of them in routed "
        "experts. How many GB of weights does the host hold?", steps="memory = file + experts_in_it",
        unit="GB", ledger=lambda drawn: on_host(drawn, 2),
        wrong=(Wrong("memory = file + 0 * experts_in_it", "the second socket has a copy, too"),),
        hints=("What is held once, what twice?",),
        further="And from version 0.3 on? (Both sockets share the experts: they are held once.)",
        source="KTransformers, doc/en/install.md (USE_NUMA)", chapter="one_gpu_and_a_lot_of_ram",
    ),
    Template(
        id="servers-by-bytes", topic="hybrids", subject="Servers of NPUs", difficulty="medium",
        title="How many servers of eight do the weights need, by bytes alone?",
        draws={"model": LARGE, "percent": (80, 90, 95), "device": ("ascend-910b-64g", "ascend-910b4-32g",
                                                                   "h20-96g")},
        where=lambda drawn: servers(drawn) > 1,
        question="{model} has {parameters} parameters, in BF16. A server has 8 devices, of each of which "
        "{capacity:MiB} can be used. Weights may fill {percent} % of that. Going by bytes alone, how many "
        "servers do the weights need?",
        steps="room = 8 * capacity * percent / 100; servers = ceil(2 * parameters / room)", unit="servers",
        ledger=servers,
        wrong=(Wrong("servers = ceil(parameters / (8 * capacity * percent / 100))", "BF16 is two bytes"),),
        hints=("How many bytes may the weights fill in one server?", "Divide, and round up."),
        further="Why may that number not work? (Ranks have to divide heads and experts.)",
        source="vllm-ascend#1987 and public logs for what is seen of a device", chapter="servers_of_npus",
    ),
    Template(
        id="ranks-that-divide", topic="hybrids", subject="Servers of NPUs", difficulty="medium",
        kind="choice",
        title="Which number of ranks divides the model?",
        draws={"model": (*LATENT, "Qwen/Qwen3-235B-A22B", "Qwen/Qwen3-30B-A3B"), "ranks": (8, 16, 32)},
        question="{model} has {heads} query heads and {experts} experts in a layer. An engine cuts neither a "
        "head nor an expert, and each rank gets as many of both as any other. All NPUs form one group, for "
        "heads (TP) and for experts (EP). Which number of NPUs is possible?",
        options=(Option("{ranks}"),
                 Option("24", "three servers of eight: 24 does not divide {heads} heads"),
                 Option("40", "five servers of eight: 40 does not divide {heads} heads"),
                 Option("48", "six servers of eight: 48 does not divide {heads} heads")),
        because="{ranks} divides both; 24, 40 and 48 have a factor 3 or 5, which {heads} has not.",
        hints=("Both numbers have to be multiples of the ranks.", "Which factors does {heads} have?"),
        further="How could 24 be used all the same? (As a pipeline of 3 stages, each with TP 8.)",
        source="config.json; arXiv 1909.08053", chapter="servers_of_npus",
    ),
    Template(
        id="does-64-hold-65", topic="hybrids", subject="Servers of NPUs", difficulty="medium", kind="choice",
        title="Do these weights fit on one NPU?",
        draws={"model": ("Qwen/Qwen3-32B",), "device": ("ascend-910b-64g",)},
        question="{model} has {parameters} parameters in BF16. The driver of an Ascend 910B of 64 GB prints "
        "65,536 MB; PyTorch sees {capacity:GiB} of it. Do the weights fit on one?",
        steps="weights = 2 * parameters",
        options=(Option("No: they are {weights:GiB}"),
                 Option("Yes: 65,536 MB are more than {weights:MB}",
                        "these are MiB, and not all of them are seen"),
                 Option("Yes: 61.02 GB are less than 64 GB", "these are GiB; in GB it is {weights:GB}"),
                 Option("Yes, if the KV cache is kept in 8 bits", "the weights alone are too large")),
        because="{weights:GiB} do not fit into {capacity:GiB}, however small cache and activations are.",
        hints=("Convert the weights to GiB.",),
        further="How many NPUs does one take? (Two, with tensor parallelism.)",
        source="vllm-ascend#264, vllm-ascend#1987", chapter="servers_of_npus",
    ),
    Template(
        id="states-of-deltanet", topic="hybrids", subject="States", difficulty="medium", by_hand=True,
        title="How much do the recurrent states of Gated DeltaNet take?",
        draws={"model": DELTA, "batch": (2, 4, 8, 16, 32)}, facts={"state_depth": state_depth},
        question="{state_depth} of the {depth} layers of {model} are Gated DeltaNet: {linear_value_heads} "
        "heads, each with a state of {linear_key_dim} × {linear_value_dim} numbers in fp32. How many MiB of "
        "state is that for {batch} sequences? Leave out the convolutions.",
        steps="states = 4 * state_depth * linear_value_heads * linear_key_dim * linear_value_dim * batch",
        unit="MiB", ledger=lambda drawn: 4 * states(drawn) * drawn.batch,
        wrong=(Wrong("states = 4 * depth * linear_value_heads * linear_key_dim * linear_value_dim * batch",
                     "the layers with attention keep a KV cache instead"),
               Wrong("states = 2 * state_depth * linear_value_heads * linear_key_dim * linear_value_dim * "
                     "batch", "fp32 is four bytes")),
        hints=("One matrix for each head.", "Which layers have one?"),
        further="And with 100,000 tokens? (The same: a state does not grow.)",
        source="arXiv 2412.06464; the model's config.json", chapter="what_leaves_little_behind",
    ),
    Template(
        id="states-of-mamba", topic="hybrids", subject="States", difficulty="medium", by_hand=True,
        title="How much do the states of Mamba-2 layers take?",
        draws={"model": MAMBA, "batch": (2, 3, 4, 5, 6, 8, 10)}, facts={"state_depth": state_depth},
        question="{model} has {depth} layers, {state_depth} of them Mamba-2 with {ssm_heads} heads of "
        "{ssm_head_dim} numbers. Each of these numbers has a state of {ssm_state} numbers in fp32. How many "
        "MiB of state is that for {batch} sequences? Leave out the convolutions.",
        steps="states = 4 * state_depth * ssm_heads * ssm_head_dim * ssm_state * batch", unit="MiB",
        ledger=lambda drawn: 4 * states(drawn) * drawn.batch,
        wrong=(Wrong("states = 4 * depth * ssm_heads * ssm_head_dim * ssm_state * batch",
                     "not every layer is Mamba-2"),
               Wrong("states = 2 * state_depth * ssm_heads * ssm_head_dim * ssm_state * batch",
                     "fp32 is four bytes")),
        hints=("A state is a matrix for each head.", "Layers × heads × head × state × 4 bytes."),
        further="What would vLLM keep of Granite's? (16 bits: its class asks for no other type.)",
        source="arXiv 2405.21060; the model's config.json", chapter="what_leaves_little_behind",
    ),
    Template(
        id="tokens-of-a-hybrid", topic="hybrids", subject="Few layers attend", difficulty="easy",
        by_hand=True,
        title="How large is the KV cache of a hybrid?",
        draws={"model": (*DELTA, *MAMBA), "context": (1000, 8192, 20000, 100000)},
        facts={"attending": attending},
        question="{attending} of the {depth} layers of {model} have attention, with {kv_heads} KV heads of "
        "{head_dim} numbers; the others keep none of the tokens. How many MiB does the KV cache of {context} "
        "tokens take in BF16?", steps="cache = 4 * attending * kv_heads * head_dim * context", unit="MiB",
        ledger=lambda drawn: held_for(drawn, drawn.context),
        wrong=(Wrong("cache = 4 * depth * kv_heads * head_dim * context", "the others keep no tokens"),
               Wrong("cache = 2 * attending * kv_heads * head_dim * context",
                     "both keys and values are kept")),
        hints=("Which layers keep every token?", "Keys and values, two bytes each."),
        further="What do the other layers keep? (A state of fixed size, or nothing.)",
        source="the model's config.json", chapter="what_leaves_little_behind",
    ),
    Template(
        id="state-in-tokens", topic="hybrids", subject="States", difficulty="hard",
        title="How many tokens of cache is a state worth?",
        draws={"model": DELTA, "state_bits": (16, 32), "bits": (8, 16)},
        facts={"state_depth": state_depth, "attending": attending},
        question="{model}: {state_depth} layers keep, for each of {linear_value_heads} heads, a state of "
        "{linear_key_dim} × {linear_value_dim} numbers in {state_bits} bits; {attending} layers keep keys "
        "and values of {kv_heads} heads of {head_dim} numbers in {bits} bits. How many whole tokens of cache "
        "do the states outweigh? Leave out the convolutions.",
        steps="states "
        "= state_depth * linear_value_heads * linear_key_dim * linear_value_dim * state_bits / 8\n"
        "token = 2 * attending * kv_heads * head_dim * bits / 8; tokens = states // token", unit="tokens",
        ledger=lambda drawn: states(drawn) * drawn.state_bits * 2 // (held_for(drawn, 1) * drawn.bits),
        hints=("How many bytes do all states take?", "How many does one more token take?"),
        further="Who pays for states? (Whoever serves many short chats.)",
        source="arXiv 2412.06464; the model's config.json", chapter="what_leaves_little_behind",
    ),
    Template(
        id="past-the-window", topic="hybrids", subject="Sliding windows", difficulty="easy", by_hand=True,
        title="What do more tokens add once every window is full?",
        draws={"model": WINDOWED, "more": (1000, 2048, 4096, 10000)},
        question="{model}: {window_depth} of {depth} layers attend to the last {window} tokens, the other "
        "{full_depth} to all. All have {kv_heads} KV heads of {head_dim} numbers, kept in BF16. A sequence "
        "is longer than the window. How many MiB do {more} more tokens add?",
        steps="added = 4 * full_depth * kv_heads * head_dim * more", unit="MiB",
        ledger=lambda drawn: serve(drawn.model, context=10000 + drawn.more).cache_bytes - serve(drawn.model,
        context=10000).cache_bytes,
        wrong=(Wrong("added = 4 * depth * kv_heads * head_dim * more", "a full window adds nothing"),
               Wrong("added = 4 * window_depth * kv_heads * head_dim * more", "a full window adds nothing")),
        hints=("What does a layer drop when its window is full?",),
        further="And in an engine that ignores windows? (All layers keep every token.)",
        source="the model's config.json; arXiv 2503.19786, 2508.10925", chapter="what_leaves_little_behind",
    ),
    Template(
        id="cache-with-windows", topic="hybrids", subject="Sliding windows", difficulty="medium",
        title="How large is a cache with sliding windows?",
        draws={"model": WINDOWED, "context": (8192, 16384, 32768, 65536)},
        question="{model}: {window_depth} of {depth} layers keep the last {window} tokens, the other "
        "{full_depth} keep all. Each has {kv_heads} KV heads of {head_dim} numbers, in BF16. How many GiB "
        "does a sequence of {context} tokens take?",
        steps="in_a_layer = 4 * kv_heads * head_dim\n"
        "cache = in_a_layer * (full_depth * context + window_depth * min(window, context))", unit="GiB",
        ledger=lambda drawn: serve(drawn.model, context=drawn.context).cache_bytes,
        wrong=(Wrong("cache = 4 * kv_heads * head_dim * depth * context", "windowed layers drop old tokens"),
               Wrong("cache = 4 * kv_heads * head_dim * full_depth * context",
                     "a window holds tokens, too")),
        hints=("How many tokens does each kind of layer keep?", "Add them up, layer by layer."),
        further="What do engines keep instead? (Whole blocks and the chunk in flight beside the window.)",
        source="the model's config.json; arXiv 2503.19786, 2508.10925", chapter="what_leaves_little_behind",
    ),
    Template(
        id="jamba-period", topic="hybrids", subject="Few layers attend", difficulty="easy", by_hand=True,
        title="Few layers attend: how large is the cache?",
        draws={"depth": (32, 48, 64, 72), "period": (4, 8), "context": (4096, 8192, 20000, 50000)},
        question="A model like Jamba has {depth} layers; one in {period} has attention, with 8 KV heads of "
        "128 numbers, the others are Mamba. How many MiB does the KV cache of {context} tokens take in "
        "BF16?", steps="cache = 4 * depth / period * 8 * 128 * context", unit="MiB",
        ledger=lambda drawn: serve(jamba(drawn.depth, drawn.period), context=drawn.context + 1).cache_bytes -
        serve(jamba(drawn.depth, drawn.period), context=1).cache_bytes,
        wrong=(Wrong("cache = 4 * depth * 8 * 128 * context", "Mamba layers keep none of the tokens"),
               Wrong("cache = 2 * depth / period * 8 * 128 * context", "both keys and values are kept")),
        hints=("How many layers have attention?", "Keys and values of those alone."),
        further="Does a Mamba layer keep nothing, then? (A state, the same for any length.)",
        source="arXiv 2403.19887", chapter="what_leaves_little_behind",
    ),
    Template(
        id="block-of-a-hybrid", topic="hybrids", subject="States", difficulty="hard",
        title="How many tokens does a block of a hybrid hold in vLLM?",
        draws={"model": QWEN, "ranks": (1, 2, 4), "bits": (16, 8)}, facts={"channels": streams},
        where=lambda drawn: model_facts(drawn.model)["kv_heads"] % drawn.ranks == 0,
        question="A block of vLLM 0.27 is the least multiple of 16 tokens that take no less in a layer than "
        "its state. {model}: of {channels} channels the last {conv_kernel} − 1 inputs in BF16, and "
        "{linear_value_heads} matrices of {linear_key_dim} × {linear_value_dim} in fp32; {kv_heads} KV heads "
        "of {head_dim} numbers, in {bits} bits. TP {ranks} cuts both. How many tokens does a block hold?",
        steps="numbers = linear_value_heads * linear_key_dim * linear_value_dim\n"
        "state = (2 * (conv_kernel - 1) * channels + 4 * numbers) / ranks\n"
        "token = 2 * kv_heads * head_dim * bits / 8 / ranks; block = 16 * ceil(state / (16 * token))",
        unit="tokens", ledger=block,
        hints=("How many bytes is a layer's state?", "Divide by a token's in a layer; round up."),
        further="What does a short chat take? (A block for its tokens, and one for each state.)",
        source="vLLM, platforms/interface.py", chapter="what_leaves_little_behind",
    ),
    Template(
        id="order-of-hybrids", topic="hybrids", subject="Few layers attend", difficulty="medium",
        kind="order",
        title="Which model keeps most of a long text?",
        draws={"context": (65536, 131072)}, facts={"attending": attending},
        items=tuple({"model": name} for name in (*DELTA[:2], DELTA[3], *MAMBA, "Qwen/Qwen3-32B",
                                                 "Qwen/Qwen3-30B-A3B", "meta-llama/Meta-Llama-3.1-8B",
                                                 "meta-llama/Llama-3.3-70B-Instruct")),
        question="Order these models by the KV cache of one sequence of {context} tokens in BF16, the "
        "smallest first. States, which do not grow, are not counted.",
        item="{model}: {attending} of {depth} layers attend, {kv_heads} KV heads of {head_dim}",
        steps="cache = 4 * attending * kv_heads * head_dim * context", unit="GiB",
        hints=("Layers that attend × KV heads × width.", "Parameters do not matter."),
        further="At which length do the states matter? (Below a few thousand tokens.)",
        source="the models' config.json", chapter="what_leaves_little_behind",
    ),
    Template(
        id="weights-on-a-mac", topic="hybrids", subject="Unified memory", difficulty="easy", kind="fits",
        title="Which weights fit into unified memory?",
        draws={"device": SHARED},
        items=tuple({"billions": size, "bits": bits} for size in (8, 14, 32, 70, 120, 235,
                                                                  400) for bits in (Fraction(9, 2),
                                                                                    Fraction(17, 2), 16)),
        question="Of a machine with unified memory the GPU may use {capacity:GiB}. A tenth of that is kept "
        "for the cache and the rest. Which of these weights fit?",
        item="{billions} billion parameters at {bits} bits a weight",
        steps="bytes = billions * 10**9 * bits / 8", unit="GiB", capacity="capacity * 0.9",
        hints=("Parameters times bits, divided by eight.",),
        further="Why may the GPU not use all of it? (The system lives in the same memory, and limits the "
        "GPU.)", source="llama.cpp prints recommendedMaxWorkingSetSize; public logs",
        chapter="your_model_your_machine",
    ),
    Template(
        id="offload-on-unified", topic="hybrids", subject="Unified memory", difficulty="easy", kind="choice",
        title="Does moving layers to the CPU save memory on a Mac?",
        draws={"device": MACS, "percent": (10, 20)},
        question="A model is {percent} % larger than the {capacity:GiB} that a Mac gives its GPU. You let "
        "llama.cpp leave more layers to the CPU. What happens to the memory of the machine?",
        options=(Option("Nothing is saved: CPU and GPU share it"),
                 Option("It falls by the layers that moved", "they move to the same memory"),
                 Option("It doubles for these layers", "there is one copy, whoever computes")),
        because="There is one memory. Only the GPU's own limit may be passed this way.",
        hints=("How many memories does such a machine have?",),
        further="When does it help? (When the system's limit for the GPU is below what is free.)",
        source="Apple's Metal documentation: recommendedMaxWorkingSetSize",
        chapter="your_model_your_machine",
    ),
    Template(
        id="why-experts-in-ram", topic="hybrids", subject="Experts in RAM", difficulty="easy",
        kind="explain",
        title="Why does one put experts, and not attention, into RAM?",
        question="KTransformers keeps the routed experts of DeepSeek-R1 in RAM and all else on one card. "
        "Explain in one line why it splits the model there, and not by layers.",
        because="Experts are 97 % of the weights, but a token uses 8 of 256 in a layer, so the CPU has "
        "little to compute; attention and shared experts work for every token and fit on a card.",
        points=("experts are nearly all of the bytes", "a token uses few of them",
                "attention works for all"),
        hints=("Which part is large, and which part is always used?",),
        further="What passes over PCIe? (A token's activations in each layer, no weights.)",
        source="KTransformers, doc/en/DeepseekR1_V3_tutorial.md", chapter="one_gpu_and_a_lot_of_ram",
    ),
    Template(
        id="why-fp8-halves-less", topic="hybrids", subject="States", difficulty="medium", kind="explain",
        title="Why does an FP8 cache not double the sequences of a hybrid?",
        question="vLLM serves many short chats with a model of which one layer in four attends. You switch "
        "the KV cache to FP8. Explain in one line why it does not hold twice as many chats.",
        because="FP8 halves what grows with tokens; the states of the other layers have a type of their own "
        "and stay as they are, and in a short chat they are most of it.",
        points=("only the layers with attention have a KV cache", "states are fixed", "their type is apart"),
        hints=("Which layers have a KV cache at all?",),
        further="Which option is for states? (--mamba-ssm-cache-dtype.)",
        source="vLLM, --kv-cache-dtype and --mamba-ssm-cache-dtype", chapter="what_leaves_little_behind",
    ),
    Template(
        id="why-four-servers", topic="hybrids", subject="Servers of NPUs", difficulty="hard", kind="explain",
        title="Three servers hold the bytes. Why does the vendor ask for four?",
        draws={"model": ("deepseek-ai/DeepSeek-R1",)},
        question="{model} in BF16 is 1,342 GB; three servers of 8 NPUs show 1,571 GB to a framework. The "
        "vendor asks for at least four. Explain in one line what may be the reason.",
        because="The ranks have to divide {heads} heads and {experts} experts: 24 divides neither, 32 "
        "divides both.",
        points=("each rank gets whole heads and whole experts", "24 divides neither number",
                "32 divides both"),
        hints=("Bytes are not all: what is cut into equal pieces?",),
        further="And in W8A8? (Two servers: 16 ranks divide both, and the bytes fit.)",
        source="hiascend.com ModelZoo, DeepSeek-R1; vllm-ascend#1987", chapter="servers_of_npus",
    ),
)  # fmt: skip
