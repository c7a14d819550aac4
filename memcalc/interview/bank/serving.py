"""Questions about serving: weights, what a pass needs, and what engines do with a card."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from memcalc.files.api import model as load_model
from memcalc.interview.bank.models import CARDS, DENSE, EXPERTS, LATENT, SMALL
from memcalc.interview.bank.sizes import cache, experts, is_within, lines, stored_in, weights
from memcalc.interview.facts import device_facts, model_facts
from memcalc.interview.template import Option, Row, Template, Wrong
from memcalc.ledger.formats import FORMATS, GGUF_TYPES
from memcalc.serving.api import serve

if TYPE_CHECKING:
    from types import SimpleNamespace

    from memcalc.serving.estimate import ServingEstimate

__all__ = ["TEMPLATES"]

MORE = (
    "Qwen/Qwen3-0.6B", "Qwen/Qwen3-1.7B", "Qwen/Qwen2.5-14B", "Qwen/Qwen2.5-32B-Instruct",
    "allenai/OLMo-2-1124-7B", "google/gemma-2-9b-it", "google/gemma-2-27b-it", "tiiuae/Falcon3-10B-Instruct",
)  # fmt: skip
TIED = (
    "Qwen/Qwen3-0.6B", "Qwen/Qwen3-1.7B", "Qwen/Qwen3-4B", "Qwen/Qwen2.5-1.5B", "Qwen/Qwen2.5-3B",
    "meta-llama/Llama-3.2-1B", "meta-llama/Llama-3.2-3B", "google/gemma-2-2b-it", "google/gemma-2-9b-it",
)  # fmt: skip
UNTIED = tuple(name for name in DENSE if name not in TIED)
SPARSE = (
    *EXPERTS, *LATENT, "Qwen/Qwen3-Coder-480B-A35B-Instruct", "MiniMaxAI/MiniMax-M2.5",
    "zai-org/GLM-4.5-Air", "mistralai/Mixtral-8x22B-v0.1",
)  # fmt: skip
NARROW = tuple(name for name in SPARSE if "Mixtral" not in name)
WIDTHS = (2048, 2560, 3072, 4096, 5120, 6144, 7168, 8192)
GPTQ = "gptq-int4-g128"
BANDWIDTH = {  # GB a second, on NVIDIA's data sheets; of the 80 GB cards those with SXM
    "rtx-3090": 936, "rtx-4090": 1008, "rtx-5090": 1792, "l40s-ecc": 864, "a100-80g": 2039,
    "h100-80g": 3350, "h200-141g": 4800, "b200": 8000,
}  # fmt: skip
BLOCKS = ("Q8_0", "Q6_K", "Q5_K", "Q4_K", "MXFP4", "Q3_K", "Q2_K")
MTP_LENGTHS = tuple(range(2000, 32_001, 2000))
DRAFTS = ("Qwen/Qwen3-0.6B", "Qwen/Qwen3-1.7B", "Qwen/Qwen3-4B", "meta-llama/Llama-3.2-1B")


def in_gptq(drawn: SimpleNamespace) -> int:
    """Return how many numbers of a model GPTQ quantises."""
    return stored_in(drawn.model, GPTQ, GPTQ)


def beside_gptq(drawn: SimpleNamespace) -> int:
    """Return how many numbers of a model GPTQ leaves in 16 bits."""
    return weights(drawn.model) // 2 - in_gptq(drawn)


def index_of_gptq(drawn: SimpleNamespace) -> int:
    """Return the bytes of the group index: 32 bits for each input of each matrix that GPTQ quantises."""
    plan = serve(drawn.model, context=1, weights=GPTQ).plan
    mine = (tensor for tensor in plan.model.weights() if plan.rule(tensor).id == GPTQ)
    return 4 * sum(tensor.copies * tensor.stored_shape[1] for tensor in mine)


def cards(model: str, device: str) -> float:
    """Return for how many cards the 16-bit weights of a model are large enough, nine tenths of each."""
    return 2 * model_facts(model)["parameters"] / (0.9 * device_facts(device)["capacity"])


def needs_several(count: float) -> bool:
    """Whether so many cards are more than two, and clearly more than a whole number of them."""
    return count > 2 and count % 1 > 0.1


def embedding(drawn: SimpleNamespace) -> int:
    """Return the parameters of a model's input embedding."""
    return load_model(drawn.model).embedding_parameters


def read(model: str) -> int:
    """Return the bytes of the weights that a step of decoding reads: all but the input embedding."""
    return weights(model) - 2 * load_model(model).embedding_parameters


def outputs(model: str) -> int:
    """Return the outputs of a model's query projection."""
    return model_facts(model)["heads"] * model_facts(model)["head_dim"]


def served(drawn: SimpleNamespace) -> ServingEstimate:
    """Return vLLM 0.33 with what was drawn: a model, a card, and how much of it may be used."""
    return serve(
        drawn.model,
        context=4096,
        on=f"1x {drawn.device}",
        engine="vllm",
        engine_version="0.33",
        utilization=drawn.percent / 100,
    )


def part(component: str, drawn: SimpleNamespace) -> int:
    """Return the bytes of a component in vLLM's share of the card."""
    found = served(drawn).device.lines
    return sum(line.bytes for line in found if line.component == component and not line.outside)


def room(drawn: SimpleNamespace) -> int:
    """Return the bytes that vLLM leaves for the cache."""
    left = served(drawn).kv_pool
    return 0 if left is None else left.bytes


def has_room(drawn: SimpleNamespace) -> bool:
    """Whether vLLM leaves at least 5 GiB for the cache: rounded figures of the question then suffice."""
    return is_within(drawn) and room(drawn) > 5 * 2**30


def slots(drawn: SimpleNamespace) -> int:
    """Return what vLLM's slots for adapters of the query projections take."""
    asked = {"engine": "vllm", "lora_slots": drawn.slots, "lora_rank": drawn.rank}
    return lines(drawn.model, "q_proj", **asked) - lines(drawn.model, "q_proj", engine="vllm")


def usable(drawn: SimpleNamespace) -> int:
    """Return the bytes of a card that vLLM may use."""
    options = {"engine": "vllm", "utilization": drawn.percent / 100}
    return serve("Qwen/Qwen3-0.6B", context=16, on=f"1x {drawn.device}", **options).usable_bytes or 0


TEMPLATES = (
    Template(
        id="weights-in-16-bits", topic="serving", subject="Weights", difficulty="easy",
        title="How large are the weights?",
        draws={"model": (*DENSE, *EXPERTS, *MORE)},
        question="{model} has {parameters} parameters, all stored in 16 bits. How many GiB are its weights?",
        steps="weights = 2 * parameters", unit="GiB",
        ledger=lambda drawn: weights(drawn.model),
        wrong=(Wrong("weights = 4 * parameters", "four bytes are fp32, not 16 bits"),
               Wrong("weights = parameters", "one byte is a format of 8 bits")),
        hints=("How many bytes are 16 bits?", "A GiB is 2^30 bytes."),
        further="And in FP8? (A little more than half: embedding and head usually stay in 16 bits.)",
        source="the shapes in the model's config.json", chapter="bytes",
    ),
    Template(
        id="mxfp4-matrix", topic="serving", subject="Formats", difficulty="easy", by_hand=True,
        title="How large is a matrix in MXFP4?",
        draws={"rows": WIDTHS, "columns": (2880, *WIDTHS)},
        question="A matrix of {rows} × {columns} numbers is stored in MXFP4: a code of 4 bits for each, and "
        "one scale of 8 bits for every 32 numbers. How many MiB is it?",
        steps="bits = 4 + 8 / 32; matrix = rows * columns * bits / 8", unit="MiB",
        ledger=lambda drawn: FORMATS["mxfp4"].bytes(drawn.rows, drawn.columns),
        wrong=(Wrong("matrix = rows * columns * 4 / 8", "scales are stored too"),
               Wrong("matrix = rows * columns * (4 + 8) / 8", "a scale serves 32 numbers, not one")),
        hints=("How many bits of scale come to one number?", "4 + 8/32 = 4.25 bits a number."),
        further="And NVFP4, with a scale of 8 bits for every 16? (4.5 bits a number.)",
        source="OCP Microscaling Formats (MX) Specification v1.0", chapter="handbook_formats",
    ),
    Template(
        id="fp8-matrix", topic="serving", subject="Formats", difficulty="easy", by_hand=True,
        title="How large is a matrix in FP8 with a scale a block?",
        draws={"rows": WIDTHS, "columns": WIDTHS},
        question="A matrix of {rows} × {columns} numbers is stored as DeepSeek-V3 stores its own: in FP8, "
        "with one fp32 scale for every block of 128 × 128. How many MiB is it?",
        steps="codes = rows * columns; scales = codes / 128**2 * 4; matrix = codes + scales", unit="MiB",
        ledger=lambda drawn: FORMATS["fp8-block128"].bytes(drawn.rows, drawn.columns),
        wrong=(Wrong("matrix = rows * columns * 2", "FP8 is one byte a number"),
               Wrong("matrix = rows * columns * (1 + 4 / 128)", "a block has 128 rows and 128 columns")),
        hints=("How many bytes are the codes?", "How many blocks are there, and what does each add?"),
        further="What share are the scales? (4 bytes for 16,384: a four-thousandth.)",
        source="arXiv 2412.19437, section 3.3", chapter="handbook_formats",
    ),
    Template(
        id="nf4-double-quantisation", topic="serving", subject="Formats", difficulty="hard",
        title="What does double quantisation save?",
        draws={"rows": WIDTHS, "columns": WIDTHS},
        question="bitsandbytes' NF4 has an fp32 scale for every 64 numbers. Double quantisation stores these "
        "scales in 8 bits, with an fp32 number for every 256 scales, and a matrix then needs one more table, "
        "of 256 fp32 numbers. How many KiB does it save in a matrix of {rows} × {columns}?",
        steps="scales = rows * columns / 64; before = 4 * scales; after = scales + 4 * scales / 256 + 4 * "
        "256\nfreed = before - after", unit="KiB",
        ledger=lambda drawn: FORMATS["nf4"].bytes(drawn.rows, drawn.columns)
        - FORMATS["nf4-dq"].bytes(drawn.rows, drawn.columns),
        wrong=(Wrong("scales = rows * columns / 64; freed = 2 * scales",
                     "8 bits are one byte of four, not two"),),
        hints=("How many scales does the matrix have?", "Each had 4 bytes, and now has 1 and a bit."),
        further="How many bits a number is that? (0.37: from 4.5 to 4.13.)",
        source="arXiv 2305.14314, section 3; bitsandbytes functional.py", chapter="handbook_formats",
    ),
    Template(
        id="gptq-matrix", topic="serving", subject="Formats", difficulty="medium",
        title="How large is a matrix in GPTQ Int4?",
        draws={"rows": (1024, *WIDTHS), "columns": WIDTHS},
        question="A layer with {rows} outputs and {columns} inputs is stored by GPTQ in 4 bits. Every 128 "
        "inputs of an output share a scale of 16 bits and a zero point of 4; each input has an index of 32 "
        "bits that names its group. How many MB does the matrix take?",
        steps="codes = rows * columns * 4 / 8; groups = rows * columns / 128\n"
        "matrix = codes + groups * (16 + 4) / 8 + 4 * columns", unit="MB",
        ledger=lambda drawn: FORMATS[GPTQ].bytes(drawn.rows, drawn.columns),
        wrong=(Wrong("matrix = rows * columns * 4 / 8", "scales and zero points come with the codes"),),
        hints=("The codes are half a byte a number.", "A group of 128 has 20 bits beside them."),
        further="And AWQ? (The same without the index.)",
        source="AutoGPTQ, QuantLinear: qweight, scales, qzeros, g_idx", chapter="handbook_formats",
    ),
    Template(
        id="gptq-checkpoint", topic="serving", subject="Formats", difficulty="hard",
        title="How large is a whole checkpoint in GPTQ Int4?",
        draws={"model": (*DENSE, *MORE, *TIED[3:5])},
        question="{model} is quantised with GPTQ: {quantised} numbers in 4 bits, every 128 of them with a "
        "scale of 16 bits and a zero point of 4. Embedding, head, norms and biases, {others} numbers, stay "
        "in 16 bits; the index of groups takes {index} bytes. How many GB is the checkpoint?",
        facts={"quantised": in_gptq, "others": beside_gptq, "index": index_of_gptq},
        steps="codes = quantised * 4 / 8; scales = quantised / 128 * 20 / 8\n"
        "checkpoint = codes + scales + index + 2 * others", unit="GB",
        ledger=lambda drawn: weights(drawn.model, GPTQ),
        wrong=(Wrong("checkpoint = (quantised + others) * 4 / 8",
                     "half a byte is the format of some tensors only"),),
        hints=("What is not in 4 bits?", "Twenty bits for every 128 numbers are 0.156 bits each."),
        further="Does the KV cache shrink as well? (No: it has a format of its own.)",
        source="AutoGPTQ, QuantLinear; the model's config.json", chapter="qwen2_5_72b_gptq_on_96_gb",
    ),
    Template(
        id="total-or-active", topic="serving", subject="Mixture of experts", difficulty="easy",
        title="Do total or active parameters set the memory?",
        draws={"model": SPARSE, "bits": (16, 8, 4)},
        question="{model} has {parameters} parameters, of which a token uses {active}. How many GB are its "
        "weights in {bits} bits? Scales are not counted.",
        facts={"active": lambda drawn: load_model(drawn.model).active_parameters},
        steps="weights = parameters * bits / 8", unit="GB",
        ledger=lambda drawn: load_model(drawn.model).parameters * drawn.bits // 8,
        wrong=(Wrong("weights = active * bits / 8", "any expert may be needed by the next token"),),
        hints=("Who knows which expert the next token needs?", "All parameters have to be held."),
        further="What do the active parameters decide? (The arithmetic: about two operations each.)",
        source="the model's config.json", chapter="qwen3_235b_on_8_and_4",
    ),
    Template(
        id="experts-in-host-memory", topic="serving", subject="Offload", difficulty="medium", by_hand=True,
        title="How large are the experts that leave the card?",
        draws={"model": NARROW, "layers": (4, 8, 16, 24)},
        question="llama.cpp keeps the routed experts of {layers} layers of {model} in the host's memory "
        "(--n-cpu-moe), in 16 bits. Each of these layers has {experts} experts, and an expert three "
        "matrices of {width} × {expert_width}. How many GiB leave the card?",
        steps="each = 3 * width * expert_width; moved = layers * experts * each * 2", unit="GiB",
        ledger=lambda drawn: experts(drawn.model) * drawn.layers // model_facts(drawn.model)["moe_depth"],
        wrong=(Wrong("moved = layers * experts * width * expert_width * 2", "an expert has three matrices"),
               Wrong("moved = layers * 3 * width * expert_width * 2", "that is one expert of each layer")),
        hints=("How many numbers are in one expert?", "Layers times experts, two bytes a number."),
        further="What stays on the card? (Attention, routers, shared experts, embedding, head and cache.)",
        source="ggml-org/llama.cpp, tools/server/README.md", chapter="one_gpu_and_a_lot_of_ram",
    ),
    Template(
        id="q4-k-m-file", topic="serving", subject="GGUF", difficulty="medium",
        title="How large is a Q4_K_M file?",
        draws={"model": (*SMALL, *DENSE[10:12], *DENSE[-1:], *MORE, *EXPERTS[:2], *TIED[3:5], TIED[7])},
        question="In the Q4_K_M file of {model}, {in_q4_k} numbers are in Q4_K, 144 bytes for 256 of them, "
        "and {in_q6_k} in Q6_K, 210 bytes for 256; {in_fp32} stay in fp32. How many GB are the tensors?",
        facts={"in_q4_k": lambda drawn: stored_in(drawn.model, "Q4_K_M", "Q4_K", engine="llama.cpp"),
               "in_q6_k": lambda drawn: stored_in(drawn.model, "Q4_K_M", "Q6_K", engine="llama.cpp"),
               "in_fp32": lambda drawn: stored_in(drawn.model, "Q4_K_M", "fp32", engine="llama.cpp")},
        steps="file = in_q4_k / 256 * 144 + in_q6_k / 256 * 210 + 4 * in_fp32", unit="GB",
        ledger=lambda drawn: weights(drawn.model, "Q4_K_M", engine="llama.cpp"),
        wrong=(Wrong("file = (in_q4_k + in_q6_k + in_fp32) * 4 / 8", "no tensor of it has just 4 bits"),),
        hints=("144 bytes for 256 numbers are 4.5 bits each.", "Q6_K has 6.5625 bits a number."),
        further="Which tensors get Q6_K? (The head, and half of the value and down projections.)",
        source="ggml-org/llama.cpp, src/llama-quant.cpp", chapter="handbook_gguf",
    ),
    Template(
        id="order-of-blocks", topic="serving", subject="GGUF", difficulty="medium", kind="order",
        title="Which of these formats has the fewest bits?",
        items=tuple({"format": name, "size": GGUF_TYPES[name].block_bytes,
                     "numbers": GGUF_TYPES[name].columns_per_scale} for name in BLOCKS),
        question="Order these formats of GGUF by bits a number, scales included, the smallest first.",
        item="{format}: {size} bytes for {numbers} numbers", steps="bits = size * 8 / numbers", unit="bits",
        hints=("Bytes times eight, divided by the numbers.",),
        further="Why is Q4_K_M larger than Q4_K? (It is a mixture, with some tensors in Q6_K.)",
        source="ggml-org/llama.cpp, ggml/src/ggml-common.h", chapter="handbook_gguf",
    ),
    Template(
        id="cards-for-the-weights", topic="serving", subject="Weights", difficulty="medium",
        title="How many cards do the weights alone need?",
        draws={"model": (*DENSE[-2:], *SPARSE[1:]), "device": CARDS[2:]},
        where=lambda drawn: needs_several(cards(drawn.model, drawn.device)),
        question="{model} has {parameters} parameters, to be held in 16 bits. A card has {capacity:MiB}, of "
        "which nine tenths may be used. How many cards do the weights alone need?",
        steps="weights = 2 * parameters; cards = ceil(weights / (0.9 * capacity))", unit="cards",
        ledger=lambda drawn: -(-10 * weights(drawn.model) // (9 * device_facts(drawn.device)["capacity"])),
        wrong=(Wrong("cards = 2 * parameters // (0.9 * capacity)", "the last card is needed too: round up"),),
        hints=("How many GiB are the weights?", "Divide by nine tenths of a card, and round up."),
        further="Would an engine take this number? (Often not: it has to divide the heads, so 2, 4, 8 or "
        "16.)",
        source="the model's config.json; public logs of nvidia-smi", chapter="your_model_your_machine",
    ),
    Template(
        id="bandwidth-floor", topic="serving", subject="Bandwidth", difficulty="medium",
        title="How fast can one request be decoded at most?",
        draws={"model": UNTIED, "device": CARDS}, where=is_within,
        question="One request is decoded by {model} in 16 bits on a card that reads {bandwidth} GB a second. "
        "For each token all {parameters} parameters but the {embedding} of the input embedding are read. How "
        "many tokens a second are possible at most, the cache left out? Round down.",
        facts={"bandwidth": lambda drawn: BANDWIDTH[drawn.device], "embedding": embedding},
        steps="read = 2 * (parameters - embedding); rate = bandwidth * 10**9 // read", unit="tokens/s",
        ledger=lambda drawn: BANDWIDTH[drawn.device] * 10**9 // read(drawn.model),
        wrong=(Wrong("rate = bandwidth * 10**9 // (parameters - embedding)", "each of them has two bytes"),),
        hints=("What has to be read for every token?", "Bandwidth divided by the bytes that are read."),
        further="Does a second request at once halve it? (No: the same read serves both.)",
        source="NVIDIA's data sheets for the bandwidth; arXiv 2211.05102, section 2",
        chapter="handbook_kv_cache",
    ),
    Template(
        id="bytes-of-a-decode-step", topic="serving", subject="Bandwidth", difficulty="hard",
        title="How many bytes does one decode step read?",
        draws={"model": UNTIED, "batch": (8, 32, 64), "context": (2000, 4000, 16_000)}, where=is_within,
        question="{model} has {parameters} parameters in 16 bits; the {embedding} of its input embedding are "
        "not read. A token's cache takes {token} bytes. {batch} requests with {context} tokens each are "
        "decoded together. How many GB does one step read?",
        facts={"embedding": embedding, "token": lambda drawn: cache(drawn.model, 1)},
        steps="read = 2 * (parameters - embedding) + batch * context * token", unit="GB",
        ledger=lambda drawn: read(drawn.model) + cache(drawn.model, drawn.context, drawn.batch),
        wrong=(Wrong("read = 2 * (parameters - embedding)", "each request's cache is read as well"),
               Wrong("read = batch * (2 * (parameters - embedding) + context * token)",
                     "one read of the weights serves all requests")),
        hints=("Weights are read once for all, caches for each request.",),
        further="When do caches outweigh weights? (When batch × context × token exceeds them.)",
        source="arXiv 2211.05102, section 2", chapter="handbook_kv_cache",
    ),
    Template(
        id="experts-read-by-a-batch", topic="serving", subject="Mixture of experts", difficulty="hard",
        kind="choice", title="How many experts does a large batch read?",
        draws={"batch": (64, 96, 128)},
        question="A layer has 128 experts and sends each token to 8. {batch} requests are decoded at once, "
        "one token each. If routers chose evenly and independently, how many of the layer's experts would be "
        "read?",
        options=(Option("Nearly all 128"),
                 Option("8", "that is one token; others choose other experts"),
                 Option("About half of them", "an expert is left out only if every token passes it by"),
                 Option("8 for every request, {batch} × 8", "there are 128; each is read once")),
        because="A token skips an expert with probability 15/16, all {batch} with (15/16)^{batch} < 2 %.",
        hints=("How likely is it that one token does not choose a given expert?",
               "(120/128) to the power {batch}."),
        further="What follows for memory? (Experts on the host's side are all needed, too, in every step.)",
        source="arXiv 2401.04088, section 2, for top-k routing", chapter="transformer_in_shapes",
    ),
    Template(
        id="what-w8a8-shrinks", topic="serving", subject="Formats", difficulty="easy", kind="choice",
        title="What does W8A8 make smaller?",
        question="A model is quantised from BF16 to W8A8, weights and activations in 8 bits, and served by "
        "vLLM with its other options as they were. What takes about half of the memory it took?",
        options=(Option("The weights of the linear layers, and nothing else"),
                 Option("Weights, activations and the KV cache", "the cache has a format of its own"),
                 Option("Weights and activations",
                        "A8 is what a matrix multiplies; its output has 16 bits again"),
                 Option("All weights, embedding and head included", "those usually stay in 16 bits")),
        because="A8 is the format of a product's input, rounded just before; W8A8 stores what W8A16 stores.",
        hints=("Which of these does a checkpoint store?", "What is A8 good for: memory or speed?"),
        further="What halves the cache? (An 8-bit format of its own: --kv-cache-dtype fp8.)",
        source="docs.vllm.ai, Quantization, INT8 W8A8 and Quantized KV Cache", chapter="handbook_formats",
    ),
    Template(
        id="fp8-and-nvidia-smi", topic="serving", subject="vLLM", difficulty="medium", kind="choice",
        title="FP8 weights in vLLM: what does nvidia-smi show?",
        draws={"model": ("Qwen/Qwen3-8B", "Qwen/Qwen3-14B", "meta-llama/Meta-Llama-3.1-8B")},
        question="vLLM serves {model} in BF16 on a card of 80 GB and is restarted with the same weights in "
        "FP8; nothing else changes. By how much does the figure of nvidia-smi fall?",
        options=(Option("Not at all; there is room for more cached tokens"),
                 Option("By half of the weights", "the pool of the cache takes what the weights give up"),
                 Option("By half", "only weights are stored in another format"),
                 Option("By half of weights and cache", "the cache keeps its own format")),
        because="vLLM takes a fixed share of the card (gpu_memory_utilization) and gives the cache what is "
        "left.",
        hints=("How does vLLM decide how large its KV cache is?",),
        further="What would fall? (The share: --gpu-memory-utilization, or --kv-cache-memory-bytes.)",
        source="docs.vllm.ai, Conserving Memory: gpu_memory_utilization", chapter="handbook_engines",
    ),
    Template(
        id="one-point-two", topic="serving", subject="Rules of thumb", difficulty="medium",
        title="How many tokens does “1.2 × the weights” pay for?",
        draws={"model": (*DENSE, *MORE[:5], *EXPERTS, "Qwen/Qwen2.5-1.5B", "Qwen/Qwen2.5-3B")},
        question="A rule says that serving takes 1.2 times the weights. {model} has {weights} bytes of "
        "weights, and a token takes {token} bytes of cache. If all of the 0.2 went to the cache, how many "
        "tokens would fit?",
        facts={"weights": lambda drawn: weights(drawn.model), "token": lambda drawn: cache(drawn.model, 1)},
        steps="tokens = 0.2 * weights // token", unit="tokens",
        ledger=lambda drawn: weights(drawn.model) // 5 // cache(drawn.model, 1),
        wrong=(Wrong("tokens = 1.2 * weights // token", "the weights themselves take the 1"),),
        hints=("How many bytes are a fifth of the weights?",),
        further="Whose tokens? (Those of all requests together; and the pass and the driver need room, too.)",
        source="blog.eleuther.ai/transformer-math, Inference", chapter="on_a_napkin",
    ),
    Template(
        id="mistakes-about-inference", topic="serving", subject="Rules of thumb", difficulty="medium",
        kind="mistakes", title="Find the mistakes: a note on the memory of inference",
        question="A note based on yuanchaofa.com says of inference in general (Φ parameters, b sequences, "
        "l layers, h the model's width, s and n tokens of prompt and answer). Which statements are wrong?",
        rows=(Row("Two things in all take GPU memory: parameters and KV cache", "passes do, too"),
              Row("The KV cache takes 4·b·l·h·(s + n) bytes in 16 bits",
                  "GQA keeps fewer heads than h holds"),
              Row("Counting by 4·b·l·h·(s + n) is more precise than 1.2 × the weights",
                  "with GQA it is several times too high"),
              Row("Parameters in 16 bits take 2Φ bytes"),
              Row("Nothing has to be kept for a backward pass"),
              Row("YaRN or NTK scaling takes hardly any memory by itself; the longer context does")),
        hints=("What exists while a layer is computed?", "Whose heads does h stand for?"),
        further="Of which models is the formula right? (Of those with as many KV heads as query heads.)",
        source="yuanchaofa.com, on memory in training and inference", chapter="the_notes_judged",
    ),
    Template(
        id="prefill-or-decode", topic="serving", subject="Passes", difficulty="easy", kind="choice",
        title="Which needs more memory beside weights and cache: prefill or decode?",
        draws={"context": (8000, 16_000, 32_000)},
        question="A prompt of {context} tokens is read in one pass (prefill); then the answer is written "
        "token by token (decode). Which phase needs more memory beside weights and cache, and why?",
        options=(Option("Prefill: activations of {context} tokens at once, in decode of one"),
                 Option("Decode: the cache is longest there", "the question leaves the cache out"),
                 Option("Both the same: the layers are", "an activation has a row for each token"),
                 Option("Prefill: activations of all layers are kept",
                        "nothing is kept for a backward pass: one layer's live at a time")),
        because="What a layer computes has a row for each token of the pass, and is freed before the next.",
        hints=("How many tokens go through a layer at once in each phase?",),
        further="What makes it small? (Chunked prefill: a pass never sees more than so many tokens.)",
        source="docs.vllm.ai, Optimization and Tuning: chunked prefill", chapter="handbook_forward_pass",
    ),
    Template(
        id="widest-part", topic="serving", subject="Passes", difficulty="medium",
        title="How much do the activations of a prefill take?",
        draws={"model": tuple(name for name in (*SMALL, "Qwen/Qwen3-32B") if "Llama-2" not in name),
               "context": (4000, 8000, 12_000, 16_000)},
        question="{model} reads a prompt of {context} tokens in one pass. In the widest place of a layer, "
        "the feed-forward part, a token has three arrays of {ffn_width} numbers and four of {width} at once, "
        "in 16 bits. How many GiB is that?",
        steps="numbers = 3 * ffn_width + 4 * width; widest = context * numbers * 2", unit="GiB",
        ledger=lambda drawn: lines(drawn.model, "widest part", drawn.context), where=is_within,
        wrong=(Wrong("widest = context * 4 * width * 2", "the feed-forward part is wider than the stream"),),
        hints=("How many numbers is one token there?", "Two bytes each, times the tokens of the pass."),
        further="Times the number of layers? (No: without a backward pass one layer's are freed before the "
        "next.)",
        source="QwenLM/Qwen3, docs: speed benchmark, for peaks that it explains",
        chapter="handbook_forward_pass",
    ),
    Template(
        id="chunked-prefill", topic="serving", subject="Passes", difficulty="medium",
        title="What does chunked prefill save?",
        draws={"model": ("Qwen/Qwen3-8B", "Qwen/Qwen3-14B", "Qwen/Qwen3-32B", "meta-llama/Meta-Llama-3.1-8B"),
               "context": (16_000, 24_000, 32_000), "chunk": (512, 1024, 2048, 4096)},
        question="A prompt of {context} tokens was read in one pass, and is now read in chunks of {chunk}. "
        "In the widest place a token of {model} has 3 × {ffn_width} + 4 × {width} numbers of 16 bits. By how "
        "many GiB do the activations of the largest pass shrink?",
        steps="token = 2 * (3 * ffn_width + 4 * width); freed = (context - chunk) * token", unit="GiB",
        ledger=lambda drawn: lines(drawn.model, "widest part", drawn.context)
        - lines(drawn.model, "widest part", drawn.context, prefill_chunk=drawn.chunk),
        wrong=(Wrong("freed = context * 2 * (3 * ffn_width + 4 * width)", "a chunk still goes through"),),
        hints=("How many tokens does a pass see before, and how many after?",),
        further="Does the cache shrink? (No: at the end it holds every token of the prompt.)",
        source="arXiv 2308.16369; docs.vllm.ai, Optimization and Tuning", chapter="it_does_not_fit",
    ),
    Template(
        id="logits-of-the-last-token", topic="serving", subject="Logits", difficulty="easy",
        title="How large are the logits of a decode step?",
        draws={"model": SMALL, "batch": (16, 64, 256)},
        question="{model} has a vocabulary of {vocab} tokens. A step decodes {batch} requests, one token "
        "each. Their logits are 16-bit numbers, and the sampler makes a copy in fp32. How many MiB do both "
        "take?",
        steps="size = batch * vocab * (2 + 4)", unit="MiB",
        ledger=lambda drawn: lines(drawn.model, "logits of the last token", 16, batch=drawn.batch),
        wrong=(Wrong("size = batch * vocab * 2", "the sampler's copy in fp32 is twice as large again"),
               Wrong("size = batch * vocab * 4",
                     "the 16-bit logits are still there when the copy is made")),
        hints=("One logit for each word of the vocabulary.", "Six bytes each: 2 and 4."),
        further="And in prefill? (The same: the last token of each prompt is enough to go on.)",
        source="huggingface/transformers, generation/utils.py", chapter="handbook_forward_pass",
    ),
    Template(
        id="logits-of-all-tokens", topic="serving", subject="Logits", difficulty="medium",
        title="What did logits of the whole prompt cost?",
        draws={"model": ("Qwen/Qwen2.5-7B-Instruct", "meta-llama/Llama-2-7b-hf", "mistralai/Mistral-7B-v0.1"),
               "context": (*range(1000, 2001, 200), *range(3000, 8001, 1000))},
        question="transformers 4.38 made logits for every token of a prompt, in 16 bits, and a copy of them "
        "in fp32. {model} has a vocabulary of {vocab}; beside them lies the last hidden state, {width} "
        "16-bit numbers a token. How many GiB is that for {context} tokens?",
        steps="token = vocab * (2 + 4) + width * 2; size = context * token", unit="GiB",
        ledger=lambda drawn: lines(drawn.model, "of every token", drawn.context, engine_version="4.38"),
        where=is_within,
        wrong=(Wrong("size = vocab * (2 + 4) + width * 2",
                     "that is the last token alone, as it is today"),),
        hints=("Six bytes for each word of the vocabulary and each token.",),
        further="Who still makes them? (Whoever asks for prompt_logprobs, or a loss.)",
        source="huggingface/transformers#31292", chapter="handbook_forward_pass",
    ),
    Template(
        id="no-activations-in-inference", topic="serving", subject="Passes",
        difficulty="medium", kind="explain",
        title="Does inference need memory for activations?",
        question="A blog says: inference need not keep activations, so only weights and KV cache take "
        "memory. Is that right? Explain in two lines.",
        because="Nothing is kept for a backward pass, but while a layer is computed its arrays exist: a row "
        "for each token of the pass, so gigabytes in a long prefill; and the runtime needs room of its own.",
        points=("none are kept for a backward pass", "one layer's arrays live while it is computed",
                "they grow with the tokens of a pass, so prefill sets the peak"),
        hints=("What exists while one layer is computed?",),
        further="How does vLLM find out how much? (It makes a profile run with the most tokens a pass may "
        "have.)",
        source="docs.vllm.ai, Conserving Memory; QwenLM/Qwen3, speed benchmark", chapter="the_notes_judged",
    ),
    Template(
        id="pool-of-vllm", topic="serving", subject="vLLM", difficulty="medium",
        title="How much does vLLM leave for the KV cache?",
        draws={"model": SMALL[3:], "device": CARDS[2:-1], "percent": (80, 90)}, where=has_room,
        question="vLLM 0.33 starts with {model} on a card of {capacity:MiB} and may use {percent} % of it. "
        "Weights take {weights} bytes, the profile run peaks {peak} above them, and CUDA graphs and what "
        "PyTorch does not count take {other}. How many GiB are left for the KV cache?",
        facts={"weights": partial(part, "weights"), "peak": partial(part, "activations"),
               "other": partial(part, "runtime")},
        steps="share = floor(capacity * percent / 100); pool = share - weights - peak - other", unit="GiB",
        ledger=room,
        wrong=(Wrong("pool = capacity * percent / 100 - weights", "weights are not all that it holds"),),
        hints=("What may it use in all?", "Subtract everything that is not cache."),
        further="And when no request is running? (It is taken all the same.)",
        source="vllm-project/vllm, v1/worker/gpu_worker.py", chapter="handbook_engines",
    ),
    Template(
        id="share-of-the-card", topic="serving", subject="vLLM", difficulty="easy",
        title="How much may vLLM use?",
        draws={"device": CARDS, "percent": (50, 70, 85, 90, 95)},
        question="vLLM is started with gpu_memory_utilization = {percent} % on a card of which it sees "
        "{visible} MiB. How many GiB may it use for weights, passes and cache together?",
        facts={"visible": lambda drawn: device_facts(drawn.device)["capacity"] // 2**20},
        steps="share = floor(visible * 2**20 * percent / 100)", unit="GiB", ledger=usable,
        wrong=(Wrong("share = floor(visible * 2**20 * (100 - percent) / 100)",
                     "that is what it leaves to others"),),
        hints=("A share of what: of the whole card, or of what is free?",),
        further="A share of what is free? (No, of the whole card: two servers on one need two shares.)",
        source="docs.vllm.ai, Engine Arguments: --gpu-memory-utilization", chapter="handbook_engines",
    ),
    Template(
        id="two-servers-on-a-card", topic="serving", subject="vLLM", difficulty="medium", kind="choice",
        title="Can two vLLM servers share a card?",
        draws={"percent": (60, 70, 80, 90)},
        question="A vLLM 0.33 server with gpu_memory_utilization = {percent} % runs on a card. A second one "
        "is started on the same card with the same setting and a model of 1 GB. What happens?",
        options=(Option("It does not start: {percent} % of the card are not free"),
                 Option("It takes {percent} % of what is left", "the share is one of the whole card"),
                 Option("It starts: its model is small enough",
                        "its share is asked for, not what the model needs"),
                 Option("The first one gives memory back", "a pool is kept until its server stops")),
        because="vLLM compares its share of the whole card with what is free, and stops if that is less.",
        hints=("A share of what?", "When does a server take its pool?"),
        further="How do both run? (With shares that add up to less than one, for example 45 % each.)",
        source="docs.vllm.ai, Engine Arguments: --gpu-memory-utilization", chapter="handbook_engines",
    ),
    Template(
        id="what-concurrency-means", topic="serving", subject="vLLM", difficulty="medium", kind="choice",
        title="What does “maximum concurrency” in vLLM's log mean?",
        draws={"times": (3, 5, 8), "context": (40_960, 65_536, 131_072)},
        question="vLLM prints at its start: Maximum concurrency for {context} tokens per request: "
        "{times}.00x. A hundred requests of 1,000 tokens each arrive at once. How many of them can have a "
        "cache at the same time, as far as memory goes?",
        options=(Option("All of them"), Option("{times}", "that is how many of full length the pool holds"),
                 Option("{times} at first, the others one by one",
                        "blocks are taken as tokens come, not in advance"),
                 Option("None: a hundred is more than {times}", "the figure is no limit on requests")),
        because="The pool holds {times} × {context} tokens, and a hundred requests of 1,000 take about "
        "100,000.",
        hints=("How many tokens are in the pool?", "Blocks are taken as they are needed."),
        further="What if it is below 1? (One request of full length does not fit; vLLM refuses to start.)",
        source="vllm-project/vllm, v1/core/kv_cache_utils.py", chapter="handbook_engines",
    ),
    Template(
        id="free-but-in-pieces", topic="serving", subject="Fragmentation",
        difficulty="medium", kind="choice",
        title="Out of memory with gigabytes “reserved but unallocated”: why?",
        draws={"asked": (2, 3, 4), "free": (6, 8, 10)},
        question="PyTorch fails to allocate {asked} GiB and says that {free} GiB are reserved but "
        "unallocated. What is the matter?",
        options=(Option("The free memory lies in pieces, none of them {asked} GiB long"),
                 Option("{free} GiB belong to another process", "reserved is this process's own"),
                 Option("PyTorch has to be told to free its cache",
                        "it has already tried that before it fails"),
                 Option("The driver reports wrong numbers", "both figures are PyTorch's own")),
        because="A tensor needs one piece. Gaps in different segments do not add up: fragmentation.",
        hints=("Does a tensor have to lie in one piece?",),
        further="What helps? (PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True, and passes of equal shape.)",
        source="docs.pytorch.org, CUDA semantics: PYTORCH_CUDA_ALLOC_CONF", chapter="bytes",
    ),
    Template(
        id="what-eager-gives-back", topic="serving", subject="CUDA graphs",
        difficulty="medium", kind="choice",
        title="What does --enforce-eager give back?",
        question="vLLM is out of memory by one GiB while it captures CUDA graphs. What does --enforce-eager "
        "change?",
        options=(Option("No graphs are captured: their memory is free, and decode is slower"),
                 Option("Weights are loaded lazily", "they are all needed in every step"),
                 Option("The cache is allocated on demand", "the pool is still taken at the start"),
                 Option("Activations are halved", "they are the same arrays, launched one by one")),
        because="A captured graph keeps the memory of its pass; there is one for each of some batch sizes.",
        hints=("What does a captured graph keep?",),
        further="A milder way? (Fewer or smaller sizes: --max-num-seqs, or cudagraph_capture_sizes.)",
        source="docs.vllm.ai, Conserving Memory: reduce CUDA graphs", chapter="handbook_engines",
    ),
    Template(
        id="slots-for-adapters", topic="serving", subject="LoRA", difficulty="hard", by_hand=True,
        title="What do slots for LoRA adapters take?",
        draws={"model": (*SMALL[3:8], *DENSE[11:15]), "slots": (2, 4, 8), "rank": (16, 32, 64)},
        question="vLLM serves {model} with {slots} slots for LoRA adapters of rank {rank}. In each of "
        "{depth} layers a slot holds, for the query projection of {width} inputs and {outputs} outputs, A "
        "(rank × inputs) and B (outputs × rank) in 16 bits. How many MiB do the slots of the query "
        "projections take?",
        facts={"outputs": lambda drawn: outputs(drawn.model)},
        steps="adapters = slots * depth * rank * (width + outputs) * 2", unit="MiB",
        ledger=slots,
        wrong=(Wrong("adapters = slots * depth * width * outputs * 2", "that is a copy of the matrix"),),
        hints=("How many numbers do A and B have together?", "Times layers, slots and two bytes."),
        further="And with no adapter loaded? (The same: slots are taken when the server starts.)",
        source="vllm-project/vllm, lora/layers/base_linear.py", chapter="handbook_engines",
    ),
    Template(
        id="cache-of-a-draft", topic="serving", subject="Speculative decoding",
        difficulty="medium", by_hand=True,
        title="How much cache does a draft model add?",
        draws={"model": DRAFTS, "context": (1024, 2048, 4096, 8192, 16_000, 32_000, 40_000)},
        question="A large model is served with speculative decoding; {model} drafts, and keeps a cache of "
        "its own. It has {depth} layers with {kv_heads} key/value heads of width {head_dim}, 16 bits. How "
        "many GiB does its cache add for {context} tokens?",
        steps="draft_cache = 2 * depth * kv_heads * head_dim * 2 * context", unit="GiB",
        ledger=lambda drawn: cache(drawn.model, drawn.context),
        wrong=(Wrong("draft_cache = depth * kv_heads * head_dim * 2 * context", "keys and values: twice"),),
        hints=("A draft model is a model: what does one of its tokens keep?",),
        further="What else does it add? (Its weights, and logits of the drafted tokens that are verified.)",
        source="arXiv 2211.17192; docs.vllm.ai, Speculative Decoding", chapter="handbook_engines",
    ),
    Template(
        id="cache-of-mtp", topic="serving", subject="Multi-token prediction", difficulty="hard", by_hand=True,
        title="How much cache does multi-token prediction add?",
        draws={"model": ("deepseek-ai/DeepSeek-V3", "deepseek-ai/DeepSeek-R1"), "context": MTP_LENGTHS},
        question="vLLM serves {model} on 8 cards with tensor parallelism and drafts with the layer for "
        "multi-token prediction. Like the {depth} others it keeps, on every card, a latent of {kv_rank} "
        "numbers and a rotated key of {rope_dim} a token, in 16 bits. How many MiB of cache does it add on a "
        "card for {context} tokens?",
        steps="layer = (kv_rank + rope_dim) * 2; added = layer * context", unit="MiB",
        ledger=lambda drawn: lines(drawn.model, "draft KV", drawn.context, engine="vllm", tp=8, draft="mtp"),
        wrong=(Wrong("added = depth * (kv_rank + rope_dim) * 2 * context", "that is the cache of all others"),
               Wrong("added = 2 * (kv_rank + rope_dim) * 2 * context", "a latent gives keys and values")),
        hints=("It is one more layer, with the same attention.",),
        further="And its weights? (One layer with all its experts: 11.6 of the 685 billion that the Hub "
        "counts.)",
        source="arXiv 2412.19437, section 2.2; docs.vllm.ai, MTP", chapter="handbook_engines",
    ),
    Template(
        id="what-to-offload-first", topic="serving", subject="Offload", difficulty="easy", kind="choice",
        title="Which weights go to host memory first?",
        draws={"model": EXPERTS[:2]},
        question="{model} does not fit on the card; the host has enough memory, and the processor can "
        "compute. Which tensors leave the card with the least loss of speed for one request?",
        options=(Option("The routed experts: most bytes, and a token uses few of them"),
                 Option("The attention of half of the layers", "small, and every token needs all of it"),
                 Option("The KV cache", "every token reads it all"),
                 Option("Embedding and head", "small; the head is read for every token")),
        because="Of 128 experts in a layer a token reads 8; all else is read whole for every token.",
        hints=("Which tensors are large, and which share of them does a token read?",),
        further="In llama.cpp? (--n-cpu-moe N keeps the experts of the first N layers in host memory.)",
        source="ggml-org/llama.cpp, tools/server/README.md: --n-cpu-moe", chapter="one_gpu_and_a_lot_of_ram",
    ),
)  # fmt: skip
