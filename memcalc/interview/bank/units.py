"""Questions about units, about what tools print, and traps."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import TYPE_CHECKING

from memcalc.files.api import model as load_model
from memcalc.files.machines import devices
from memcalc.interview.bank.models import DENSE, SMALL
from memcalc.interview.template import Option, Row, Template, Wrong
from memcalc.ledger.formats import GGUF_TYPES
from memcalc.serving.api import serve

if TYPE_CHECKING:
    from types import SimpleNamespace

__all__ = ["TEMPLATES"]

NVIDIA = tuple(name for name, one in devices().items() if one.vendor == "NVIDIA" and one.printed_mib)
SEEN = tuple(name for name in NVIDIA if devices()[name].visible_mib)
GATED = (
    *DENSE, "Qwen/Qwen2.5-0.5B", "Qwen/Qwen2.5-1.5B", "Qwen/Qwen2.5-3B", "Qwen/Qwen2.5-14B",
    "Qwen/Qwen2.5-32B-Instruct", "Qwen/Qwen3-0.6B", "Qwen/Qwen3-1.7B", "HuggingFaceTB/SmolLM2-135M",
    "HuggingFaceTB/SmolLM2-360M", "HuggingFaceTB/SmolLM2-1.7B", "TinyLlama/TinyLlama-1.1B-Chat-v1.0",
    "allenai/OLMo-2-1124-7B", "allenai/OLMo-2-1124-13B", "allenai/OLMo-2-0325-32B",
)  # fmt: skip
"""Dense models whose feed-forward parts have three matrices."""
NAMED = (
    "meta-llama/Llama-2-7b-hf", "meta-llama/Llama-2-13b-hf", "meta-llama/Llama-2-70b-hf",
    "meta-llama/Meta-Llama-3.1-8B", "meta-llama/Llama-3.2-1B", "meta-llama/Llama-3.2-3B",
    "meta-llama/Llama-3.3-70B-Instruct", "meta-llama/Meta-Llama-3.1-405B", "Qwen/Qwen2.5-3B",
    "Qwen/Qwen2.5-7B-Instruct", "Qwen/Qwen2.5-14B", "Qwen/Qwen2.5-72B", "Qwen/Qwen3-4B", "Qwen/Qwen3-8B",
    "Qwen/Qwen3-14B", "Qwen/Qwen3-32B", "Qwen/Qwen3-30B-A3B", "Qwen/Qwen3-235B-A22B",
    "mistralai/Mistral-7B-v0.3", "google/gemma-2-2b-it", "google/gemma-2-9b-it", "google/gemma-2-27b-it",
    "google/gemma-3-4b-it", "google/gemma-3-12b-it", "google/gemma-3-27b-it", "allenai/OLMo-2-1124-7B",
    "allenai/OLMo-2-1124-13B", "tiiuae/falcon-40b",
)  # fmt: skip
TIED = (
    "meta-llama/Llama-3.2-1B", "meta-llama/Llama-3.2-3B", "Qwen/Qwen2.5-0.5B", "Qwen/Qwen2.5-1.5B",
    "Qwen/Qwen2.5-3B", "Qwen/Qwen3-0.6B", "Qwen/Qwen3-1.7B", "Qwen/Qwen3-4B", "google/gemma-2-2b-it",
    "google/gemma-2-9b-it", "google/gemma-2-27b-it", "google/gemma-3-4b-it", "google/gemma-3-12b-it",
    "google/gemma-3-27b-it",
)  # fmt: skip
QUANTS = ("Q2_K", "Q3_K", "Q4_0", "Q4_1", "Q4_K", "Q5_0", "Q5_1", "Q5_K", "Q6_K", "Q8_0")
KIB = (28, 56, 64, 128, 144, 160, 192, 256, 320, 512)  # of cache a token, as models of 7 to 72 billion have


def printed(drawn: SimpleNamespace) -> int:
    """Return the MiB that the driver's tool prints."""
    return int(devices()[drawn.device].printed_mib or 0)


def said(drawn: SimpleNamespace) -> int:
    """Return the billions that a model's name says."""
    (found,) = re.findall(r"-([0-9]+)[bB]\b", drawn.model.replace("-A3B", "").replace("-A22B", ""))
    return int(found)


TEMPLATES = (
    Template(
        id="gb-to-gib", topic="units", subject="Units", difficulty="easy", by_hand=True,
        title="How many GiB are so many GB?",
        draws={"size": (*range(12, 100, 4), *range(100, 400, 20))},
        question="A file of weights has {size} GB, as its page says. How many GiB of memory is that?",
        steps="file = size * 10**9", unit="GiB",
        wrong=(Wrong("file = size * 2**30", "a GB is 10^9 bytes, a GiB 2^30: 7.4 % more"),),
        hints=("How many bytes is a GB, and how many a GiB?", "Divide by 1.074."),
        further="By how much do TB and TiB differ? (By 10 %.)",
        source="IEC 80000-13; nvidia-smi and PyTorch count in binary units", chapter="bytes",
    ),
    Template(
        id="log-says-gb", topic="units", subject="What tools print", difficulty="easy", by_hand=True,
        title="A log says GB and means GiB. How large are the weights?",
        draws={"taken": tuple(Fraction(n, 100) for n in range(1207, 6500, 187))},
        question="vLLM of early 2025 prints: Model loading took {taken} GB. It divides bytes by 2^30. "
        "How many GB of 10^9 bytes are the weights?", steps="weights = taken * 2**30", unit="GB",
        wrong=(Wrong("weights = taken * 10**9", "it says GB, but counts GiB"),),
        hints=("What does the log really count in?", "Multiply by 1.074."),
        further="How can one tell? (The same log calls it GiB in another line; arithmetic on the weights "
        "does, too.)", source="vllm#15340: 19.5904 GB and 19.59GiB of the same weights", chapter="bytes",
    ),
    Template(
        id="driver-in-gb", topic="units", subject="What tools print", difficulty="easy",
        title="How many GB is what nvidia-smi prints?",
        draws={"device": NVIDIA}, facts={"mebibytes": printed},
        question="nvidia-smi prints {mebibytes} MiB for a card ({device}). How many GB of 10^9 bytes is "
        "that?", steps="memory = mebibytes * 2**20", unit="GB", ledger=lambda drawn: printed(drawn) * 2**20,
        wrong=(Wrong("memory = mebibytes * 10**6", "a MiB is 2^20 bytes"),
               Wrong("memory = mebibytes * 10**9 / 1024", "this is GiB, called GB")),
        hints=("How many bytes is a MiB?", "Multiply by 1.0486, divide by 1,000."),
        further="Why is it more than the box says? (The box says GB; makers build in powers of two.)",
        source="public logs of nvidia-smi, named in memcalc list machines", chapter="bytes",
    ),
    Template(
        id="largest-of-three", topic="units", subject="What tools print", difficulty="easy", kind="choice",
        title="The box, the driver or PyTorch: which number of bytes is largest?",
        draws={"device": ("h100-80g", "a100-80g", "rtx-pro-6000-blackwell", "rtx-3090", "v100-32g",
                          "h20-141g")},
        facts={"mebibytes": printed,
               "nominal": lambda drawn: int(devices()[drawn.device].nominal.split()[0])},
        question="A card is sold with {nominal} GB. Three numbers are around. Which is the most bytes?",
        options=(Option("{mebibytes} MiB, as nvidia-smi prints"),
                 Option("{capacity:GiB}, as PyTorch sees", "the driver keeps a part of what it prints"),
                 Option("{nominal} GB, as the box says", "a GB has fewer bytes than a GiB or 1,024 MiB"),
                 Option("They are the same bytes", "PyTorch sees less than the driver prints")),
        because="{mebibytes} × 2^20 bytes are more than {capacity:GB}, and that is more than {nominal} GB.",
        hints=("Turn all three into bytes.",),
        further="Which one does a budget start from? (From what the framework sees.)",
        source="public logs of nvidia-smi and vLLM", chapter="bytes",
    ),
    Template(
        id="share-of-what", topic="units", subject="What tools print", difficulty="medium",
        title="Nine tenths of which number may vLLM use?",
        draws={"device": SEEN, "percent": (80, 85, 90, 92)}, facts={"mebibytes": printed},
        question="nvidia-smi prints {mebibytes} MiB for a card ({device}); PyTorch sees {capacity:MiB} of "
        "it. vLLM may use {percent} % (--gpu-memory-utilization). How many GiB is that?",
        steps="usable = capacity * percent / 100", unit="GiB",
        wrong=(Wrong("usable = mebibytes * 10**6 * percent / 100", "MiB are no MB, and vLLM asks PyTorch"),
               Wrong("usable = capacity", "the share is not yet taken")),
        hints=("Whom does vLLM ask for the size?",),
        further="Is the share one of free or of all memory? (Of all; what others hold has to fit beside "
        "it.)", source="vLLM, --gpu-memory-utilization", chapter="bytes",
    ),
    Template(
        id="tokens-lost-to-ecc", topic="units", subject="ECC", difficulty="medium",
        title="How many tokens of cache does ECC cost?",
        draws={"model": SMALL, "size": (16, 24, 48)},
        facts={"token": lambda drawn: int(serve(drawn.model, context=1).cache_bytes)},
        question="On cards with GDDR6, ECC takes a sixteenth of the memory. A card of {size} GiB serves "
        "{model}, of which a token takes {token} bytes of cache. How many whole tokens fewer does it hold "
        "with ECC on?", steps="lost = size * 2**30 / 16; tokens = lost // token", unit="tokens",
        wrong=(Wrong("tokens = size * 10**9 / 16 // token", "the card has GiB"),),
        hints=("How many bytes are a sixteenth?", "Divide by the bytes of a token."),
        further="And on an A100 or H100? (Nothing: HBM keeps the check bits apart.)",
        source="public logs: RTX A6000 prints 49140 MiB without ECC and 46068 MiB with it", chapter="bytes",
    ),
    Template(
        id="matrix-in-gguf", topic="units", subject="GGUF types", difficulty="medium", by_hand=True,
        title="How large is a matrix in a GGUF type?",
        draws={"type": QUANTS, "rows": (1024, 4096, 8192), "columns": (4096, 8192)},
        facts={"block": lambda drawn: GGUF_TYPES[drawn.type].columns_per_scale or 0,
               "block_bytes": lambda drawn: GGUF_TYPES[drawn.type].block_bytes or 0,
               "digit": lambda drawn: int(drawn.type[1])},
        question="llama.cpp stores {type} in blocks of {block} numbers, which take {block_bytes} bytes with "
        "their scales; the name says {digit} bits. How many MiB is a matrix of {rows} × {columns}?",
        steps="blocks = rows * columns / block; matrix = blocks * block_bytes", unit="MiB",
        ledger=lambda drawn: int(GGUF_TYPES[drawn.type].bytes(drawn.rows, drawn.columns)),
        wrong=(Wrong("matrix = rows * columns * digit / 8", "scales are stored, too"),),
        hints=("How many blocks does the matrix have?", "Blocks times bytes of a block."),
        further="How many bits is that a weight? (8 × bytes of a block / numbers of a block.)",
        source="ggml-org/llama.cpp, ggml/src/ggml-common.h", chapter="handbook_gguf",
    ),
    Template(
        id="cache-in-q8-0", topic="units", subject="GGUF types", difficulty="easy", by_hand=True,
        title="How small does a quantised KV cache get?",
        draws={"type": ("q8_0", "q5_1", "q5_0", "q4_1", "q4_0"), "size": (1, 2, 3, 4, 5, 6, 8, 10, 12)},
        facts={"block_bytes": lambda drawn: GGUF_TYPES[drawn.type.upper()].block_bytes or 0},
        question="llama.cpp keeps a KV cache of {size} GiB in f16. With --cache-type-k and -v {type}, 32 "
        "numbers take {block_bytes} bytes. How many GiB is it then?",
        steps="numbers = size * 2**30 / 2; cache = numbers / 32 * block_bytes", unit="GiB",
        ledger=lambda drawn: int(GGUF_TYPES[drawn.type.upper()].bytes(1, drawn.size * 2**29)),
        wrong=(Wrong("cache = size * 2**30 / 2", "a block has a scale; and the type need not have 8 bits"),),
        hints=("How many bytes do 32 numbers take in f16?", "64: so multiply by bytes of a block / 64."),
        further="Which flag do the values need in most builds? (Flash attention.)",
        source="ggml-org/llama.cpp, ggml/src/ggml-common.h", chapter="handbook_gguf",
    ),
    Template(
        id="parameters-from-bpw", topic="units", subject="GGUF types", difficulty="medium", by_hand=True,
        title="How many parameters does a file of so many bits a weight have?",
        draws={"size": tuple(Fraction(n, 100) for n in (458, 795, 1728, 2310, 4047, 6990)),
               "bpw": tuple(Fraction(n, 100) for n in (450, 486, 521, 569, 656, 850))},
        question="llama.cpp prints: file size = {size} GiB ({bpw} BPW). How many billion parameters does the "
        "model have?", steps="parameters = size * 2**30 * 8 / bpw / 10**9", unit="billion parameters",
        wrong=(Wrong("parameters = size * 8 / bpw", "a GiB has 1.074 billion bytes"),
               Wrong("parameters = size * 2**30 / bpw / 10**9", "BPW are bits, eight to a byte")),
        hints=("How many bits are in the file?", "Divide them by the bits of a weight."),
        further="Why is it no round number of bits? (Types are mixed, and scales count.)",
        source="llama.cpp's log: file size = 17.28 GiB (4.86 BPW)", chapter="handbook_gguf",
    ),
    Template(
        id="context-from-smi", topic="units", subject="What tools print", difficulty="medium", by_hand=True,
        title="How much of what nvidia-smi shows is not PyTorch's?",
        draws={"reserved": (6, 8, 12, 16, 20, 24), "cached": (1, 2), "shown": tuple(range(6500, 26000, 50))},
        where=lambda drawn: 300 < drawn.shown - 1024 * drawn.reserved < 1200,
        facts={"allocated": lambda drawn: drawn.reserved - drawn.cached},
        question="nvidia-smi shows {shown} MiB for a process. In it, torch.cuda.memory_allocated is "
        "{allocated} GiB and torch.cuda.memory_reserved {reserved} GiB. How many MiB do CUDA's context and "
        "libraries hold outside of PyTorch?", steps="outside = shown * 2**20 - reserved * 2**30", unit="MiB",
        wrong=(Wrong("outside = shown * 2**20 - allocated * 2**30", "what is reserved is PyTorch's, too"),),
        hints=("Which of PyTorch's numbers does the driver see?", "Reserved: allocated is part of it."),
        further="What else may be outside? (NCCL's buffers, CUDA graphs' own memory, other libraries.)",
        source="PyTorch's notes on CUDA memory management", chapter="bytes",
    ),
    Template(
        id="oom-message", topic="units", subject="What tools print", difficulty="medium", by_hand=True,
        title="An out-of-memory message: who has the rest?",
        draws={"total": (Fraction(7915, 100), Fraction(2364, 100)), "free": (Fraction(4, 10), Fraction(9,
                                                                                                       10)),
               "allocated": (15, 16, Fraction(175, 10), 58, Fraction(625, 10), 66, Fraction(685, 10)),
               "idle": (Fraction(38, 10), Fraction(52, 10), Fraction(86, 10), Fraction(112, 10), 13, 16,
                        18)},
        where=lambda drawn: 0 < drawn.total - drawn.free - drawn.allocated - drawn.idle < 6,
        question="GPU 0 has a total capacity of {total} GiB of which {free} GiB is free. {allocated} GiB is "
        "allocated by PyTorch, and {idle} GiB is reserved by PyTorch but unallocated. How many GiB are "
        "outside of PyTorch?", steps="outside = (total - free - allocated - idle) * 2**30", unit="GiB",
        wrong=(Wrong("outside = (total - free - allocated) * 2**30", "reserved memory is PyTorch's, too"),),
        hints=("Capacity = free + allocated + reserved but unallocated + the rest.",),
        further="What do many GiB of the third kind mean? (Fragments: try expandable_segments:True.)",
        source="PyTorch 2, c10/cuda/CUDACachingAllocator.cpp", chapter="bytes",
    ),
    Template(
        id="rounded-to-512", topic="units", subject="The allocator", difficulty="medium", by_hand=True,
        title="How much do many small tensors take?",
        draws={"count": (64, 100, 256, 1000), "numbers": (4, 16, 100, 130, 200, 300, 500)},
        question="PyTorch's allocator rounds every tensor on the GPU up to a multiple of 512 bytes. By how "
        "many KiB does memory_allocated grow for {count} fp32 tensors of {numbers} numbers each?",
        steps="each = 512 * ceil(4 * numbers / 512); allocated = count * each", unit="KiB",
        wrong=(Wrong("allocated = count * 4 * numbers", "each one is rounded up to 512 bytes"),),
        hints=("How many bytes does one take, rounded up?",),
        further="Where does it matter? (Rarely: norms and biases are few beside matrices.)",
        source="PyTorch, c10/cuda/CUDACachingAllocator.cpp: kMinBlockSize", chapter="handbook_saved",
    ),
    Template(
        id="segment-of-two-mib", topic="units", subject="The allocator", difficulty="hard", by_hand=True,
        title="By how much does memory_reserved grow for one matrix?",
        draws={"rows": (3000, 4096, 5000, 6000, 8000, 9000), "columns": (2000, 2880, 3500, 5120, 7000)},
        where=lambda drawn: 2 * drawn.rows * drawn.columns >= 10 * 2**20,
        question="PyTorch's cache is empty. A BF16 matrix of {rows} × {columns}, more than 10 MiB, is made: "
        "it gets a segment of its own, a multiple of 2 MiB. By how many MiB does memory_reserved grow?",
        steps="matrix = 2 * rows * columns; segment = 2**21 * ceil(matrix / 2**21)", unit="MiB",
        wrong=(Wrong("segment = 2 * rows * columns", "a segment is a multiple of 2 MiB"),
               Wrong("segment = 20 * 2**20 * ceil(2 * rows * columns / (20 * 2**20))",
                     "segments of 20 MiB are for what is smaller than 10 MiB")),
        hints=("How many MiB does the matrix take?", "Round up to an even number of MiB."),
        further="And a matrix of 3 MiB? (It takes a part of a segment of 20 MiB.)",
        source="PyTorch, c10/cuda/CUDACachingAllocator.cpp: kRoundLarge", chapter="handbook_saved",
    ),
    Template(
        id="still-full-after-del", topic="units", subject="The allocator", difficulty="easy", kind="choice",
        title="The model is deleted and nvidia-smi still shows it. Why?",
        draws={"shown": (12433, 15120, 31860)},
        question="A notebook runs del model, and torch.cuda.memory_allocated() is 0. nvidia-smi still shows "
        "{shown} MiB for the process. Why?",
        options=(Option("PyTorch keeps freed memory for itself"),
                 Option("The tensors are still alive", "then memory_allocated would not be 0"),
                 Option("nvidia-smi is late by minutes", "it shows what the driver has given away now"),
                 Option("It is all CUDA's context", "a context takes some hundred MiB")),
        because="The allocator reserves memory and does not give it back by itself.",
        hints=("Allocated, reserved, used by the driver: which are shown?",),
        further="How does one give it back? (torch.cuda.empty_cache(); the context stays.)",
        source="pytorch#37250: 12433 MiB after the model was deleted", chapter="bytes",
    ),
    Template(
        id="twelve-l-h-squared", topic="units", subject="Parameters from shapes", difficulty="easy",
        by_hand=True,
        title="How many parameters do the layers of a GPT have?",
        draws={"depth": (12, 24, 32, 40, 48, 80), "width": (768, 1024, 2048, 4096, 5120, 8192)},
        question="A GPT has {depth} layers of width {width}: q, k, v and output are width × width, and the "
        "two feed-forward matrices are four times as wide. How many billion parameters do the matrices of "
        "all layers have?", steps="parameters = 12 * depth * width**2 / 10**9", unit="billion parameters",
        wrong=(Wrong("parameters = 4 * depth * width**2 / 10**9",
                     "the feed-forward part is twice as much again"),
               Wrong("parameters = 8 * depth * width**2 / 10**9", "attention has four matrices besides")),
        hints=("Count in units of width²: attention, then feed-forward.", "4 + 8 = 12."),
        further="What is missing? (Embeddings, biases, norms.)", source="arXiv 2001.08361, section 2.1",
        chapter="transformer_in_shapes",
    ),
    Template(
        id="where-twelve-fails", topic="units", subject="Parameters from shapes", difficulty="hard",
        title="By which factor does 12Lh² miss a modern model?",
        draws={"model": GATED},
        question="A layer of {model} is {width} wide: {heads} query heads and {kv_heads} key/value heads of "
        "{head_dim} numbers, and three feed-forward matrices of {width} × {ffn_width}. What multiple of "
        "12h² (h: the width) are its matrices?",
        steps="attention = 2 * width * (heads + kv_heads) * head_dim\n"
        "times = (attention + 3 * width * ffn_width) / (12 * width**2)", unit="times",
        wrong=(Wrong("times = (2 * width * (heads + kv_heads) * head_dim + 2 * width * ffn_width) / (12 * "
                     "width**2)", "a gated part has three matrices"),),
        hints=("q and output: width × heads × head. k and v: width × KV heads × head.",
               "Add gate, up and down."),
        further="Where is it near 1? (Llama-2-7B: 3 × 2.69 makes up for 2 × 4.)",
        source="the model's config.json; arXiv 2001.08361", chapter="transformer_in_shapes",
    ),
    Template(
        id="name-rounds", topic="units", subject="Names that round", difficulty="easy",
        title="By how much do the weights miss what the model's name says?",
        draws={"model": NAMED}, facts={"billions": said},
        question="{model} has {parameters} parameters; its name says {billions} billion. By how many GB do 2 "
        "bytes × the name and its weights in BF16 differ? (Leave out the sign.)",
        steps="named = 2 * billions * 10**9; weights = 2 * parameters; "
        "gap = max(named, weights) - min(named, weights)", unit="GB",
        ledger=lambda drawn: abs(2 * load_model(drawn.model).parameters - 2 * said(drawn) * 10**9),
        wrong=(Wrong("gap = max(billions * 10**9, parameters) - min(billions * 10**9, parameters)",
                     "BF16 takes two bytes each"),),
        hints=("Two bytes for each parameter, once by name and once by count.",),
        further="Why do names round? (They are names. Some leave out embeddings, too.)",
        source="the shapes of the model's config.json", chapter="handbook_parameters",
    ),
    Template(
        id="b-is-no-byte", topic="units", subject="Names that round", difficulty="easy", kind="choice",
        title="How large is the file if a page says so many B?",
        draws={"billions": (3, 7, 8, 13, 14, 32, 70)},
        question="A page says: model size {billions}B params, tensor type BF16. How large are the files?",
        steps="files = billions * 10**9 * 2",
        options=(Option("About {files:GB}"),
                 Option("About {billions} GB: B are bytes", "B are billions of parameters"),
                 Option("About {billions} Gbit", "B are billions of parameters, of 16 bits each"),
                 Option("It does not say", "the type gives the bytes of each parameter")),
        hints=("What is counted in B?", "How many bytes is a number in BF16?"),
        further="And in Int4? (A little more than half a byte each: scales, and what stays in 16 bits.)",
        source="model pages of the Hugging Face Hub", chapter="bytes",
    ),
    Template(
        id="packed-words", topic="units", subject="Names that round", difficulty="medium", by_hand=True,
        title="Why does a page show fewer parameters for a 4-bit repository?",
        draws={"quantised": (2, 6, 7, 12, 13, 30, 70), "rest": (Fraction(5, 10), 1, Fraction(15, 10), 2,
                                                                Fraction(25, 10))},
        question="A GPTQ repository holds {quantised} billion weights in 4 bits, eight to an int32, and "
        "{rest} billion in 16 bits. A page counts elements of stored tensors as parameters. How many billion "
        "does it show? (Leave out scales and zero points.)", steps="shown_there = quantised / 8 + rest",
        unit="billion parameters",
        wrong=(Wrong("shown_there = quantised + rest", "eight codes are one element"),
               Wrong("shown_there = quantised / 2 + rest", "eight codes to an element, not two to a byte")),
        hints=("How many elements are the 4-bit weights?",),
        further="Which figure is safe? (The bytes of the tensors: total_size in the index.)",
        source="huggingface.js#1770: the Hub counted so until September 2025",
        chapter="handbook_checkpoints",
    ),
    Template(
        id="untied-head", topic="units", subject="Tied embeddings", difficulty="medium",
        title="What does a head of its own cost?",
        draws={"model": TIED, "bits": (16, 32)},
        question="{model} ties its output head to the embedding of {vocab} × {width}. A program stores the "
        "head as a matrix of its own, in {bits} bits. How many MB more is that?",
        steps="head = vocab * width * bits / 8", unit="MB",
        ledger=lambda drawn: load_model(drawn.model).embedding_parameters * drawn.bits // 8,
        wrong=(Wrong("head = 2 * vocab * width * bits / 8", "the embedding was there before"),),
        hints=("How many numbers does the head have?",),
        further="Who does so? (Some FP8 and AWQ files of tied models hold an untied 16-bit head.)",
        source="the model's config.json: tie_word_embeddings", chapter="handbook_parameters",
    ),
    Template(
        id="characters-to-cache", topic="units", subject="Tokens", difficulty="easy", kind="estimate",
        by_hand=True,
        title="How much cache does a text of so many characters take?",
        draws={"characters": (50000, 100000, 200000, 400000, 800000), "token": KIB}, tolerance=0.5,
        question="An English text has {characters} characters. A token takes {token} KiB of KV cache. About "
        "how many GiB does the text take, at four characters a token?",
        steps="tokens = characters / 4; cache = tokens * token * 2**10", unit="GiB",
        wrong=(Wrong("cache = characters * token * 2**10", "a token is about four characters"),),
        hints=("How many tokens are that?", "Tokens × KiB, then to GiB."),
        further="And a Chinese text? (A token is one to two characters: two to four times as many.)",
        source="OpenAI's help page: a token is about four characters of English", chapter="on_a_napkin",
    ),
    Template(
        id="eight-thousand-or-8192", topic="units", subject="Tokens", difficulty="easy", by_hand=True,
        title="What is a k of tokens, and does it matter?",
        draws={"thousands": (4, 8, 16, 32, 64, 128), "token": KIB},
        question="A note says {thousands}k tokens, and a token takes {token} KiB of cache. By how many MiB "
        "does the cache differ between a k of 1,000 and one of 1,024?",
        steps="gap = thousands * (1024 - 1000) * token * 2**10", unit="MiB",
        wrong=(Wrong("gap = thousands * 1024 * token * 2**10", "this is the cache, not the difference"),),
        hints=("How many tokens lie between?", "24 for each k."),
        further="Which do config.json files mean? (1,024: 8,192, 32,768, 131,072.)",
        source="the definition of Ki in IEC 80000-13", chapter="bytes",
    ),
    Template(
        id="hccl-buffers", topic="units", subject="Communication buffers", difficulty="medium", by_hand=True,
        title="How much memory do HCCL's buffers take?",
        draws={"groups": (3, 4, 5, 6, 8, 10, 12), "size": (100, 120, 200, 400, 512)},
        question="On an Ascend NPU each communicator has a buffer for sending and one for receiving, each of "
        "HCCL_BUFFSIZE = {size} (MB of 2^20 bytes). A job opens {groups} communicators: TP, DP, EP and so "
        "on. How many MiB of each NPU do they take?", steps="buffers = 2 * groups * size * 2**20",
        unit="MiB",
        wrong=(Wrong("buffers = groups * size * 2**20", "sending and receiving have one each"),
               Wrong("buffers = 2 * size * 2**20", "every communicator has its own")),
        hints=("How many buffers does a communicator have?", "Times communicators."),
        further="Where does PyTorch show them? (Nowhere: they are outside of its allocator.)",
        source="hiascend.com, CANN: HCCL_BUFFSIZE (default 200)", chapter="servers_of_npus",
    ),
    Template(
        id="cublas-workspace", topic="units", subject="Workspaces", difficulty="medium", by_hand=True,
        title="How large is the workspace of cuBLAS?",
        draws={"large": (2048, 4096), "count": (2, 4, 8), "streams": (2, 3, 4, 5, 6)},
        question="CUBLAS_WORKSPACE_CONFIG lists sizes in KiB with counts: here {count} × {large} KiB and 8 × "
        "16 KiB. PyTorch makes such a workspace for each stream on which it multiplies. How many MiB do "
        "{streams} streams take?", steps="workspace = (count * large + 8 * 16) * 2**10 * streams",
        unit="MiB",
        wrong=(Wrong("workspace = (count * large + 8 * 16) * 2**10", "each stream has its own"),),
        hints=("KiB times count, for both pairs.", "Add, then times streams."),
        further="Does memory_allocated count it? (Yes. By default it is :4096:2:16:8, on Hopper 32 MiB.)",
        source="PyTorch's CUDA notes: CUBLAS_WORKSPACE_CONFIG", chapter="what_does_one_step_hold",
    ),
    Template(
        id="foreach-copy", topic="units", subject="Workspaces", difficulty="medium", by_hand=True,
        title="The states fit. Why does the optimizer's step not?",
        draws={"billions": (1, 2, 3, 4, 7, 8, 9, 12, 13, 14, 20, 27, 32), "bits": (16, 32)},
        question="PyTorch's AdamW trains {billions} billion parameters: weights, gradients and two moments, "
        "all in {bits} bits. By default (foreach) the step makes a temporary copy as large as the weights. "
        "How many GB are there at most, without activations?",
        steps="peak = 5 * billions * 10**9 * bits / 8", unit="GB",
        wrong=(Wrong("peak = 4 * billions * 10**9 * bits / 8", "the copy of the step is missing"),
               Wrong("peak = 3 * billions * 10**9 * bits / 8", "there are two moments, and a copy")),
        hints=("How many arrays as large as the weights are kept?", "And one more during the step."),
        further="How is it avoided? (fused=True, or foreach=False.)",
        source="PyTorch's documentation of AdamW: foreach; meta-pytorch/torchtune#389",
        chapter="what_does_one_step_hold",
    ),
    Template(
        id="order-of-formats", topic="units", subject="Formats", difficulty="easy", kind="order",
        title="Which weights are largest?",
        items=tuple({"billions": size, "bits": bits} for size in (1, 4, 8, 14, 70) for bits in (4, 8, 16)),
        question="Order these weights by memory, the smallest first. Scales are not counted.",
        item="{billions} billion parameters in {bits} bits", steps="bytes = billions * 10**9 * bits / 8",
        unit="GB", hints=("Parameters times bits, divided by eight.",),
        further="What do scales add to a 4-bit format? (0.125 to 0.5 bits a parameter.)",
        source="the definition of a byte", chapter="bytes",
    ),
    Template(
        id="weights-that-fit", topic="units", subject="Rules of thumb", difficulty="easy", kind="fits",
        title="Which weights fit on this card?",
        draws={"device": ("rtx-3090", "rtx-5090", "a100-80g", "h200-141g")},
        items=tuple({"billions": size, "bits": bits} for size in (4, 8, 14, 70, 120) for bits in (4, 8, 16)),
        question="A card has {capacity:GiB}. Which of these weights fit into nine tenths of it?",
        item="{billions} billion parameters in {bits} bits", steps="bytes = billions * 10**9 * bits / 8",
        unit="GiB", capacity="capacity * 0.9", hints=("Parameters times bits, divided by eight.",),
        further="What else needs room? (The KV cache, a pass, and the driver.)",
        source="public logs of nvidia-smi for the card's size", chapter="on_a_napkin",
    ),
    Template(
        id="mistakes-in-printed-units", topic="units", subject="What tools print", difficulty="medium",
        kind="mistakes",
        title="Find the mistakes: which line names a unit that it does not mean?", take=5,
        question="Each line was printed or published so. Which say MB or GB and mean MiB or GiB? (Qwen3-32B "
        "has 32.76 billion parameters.)",
        rows=(Row("npu-smi, an NPU of 64 GB: 65536 MB", "64 × 1,024: these are MiB"),
              Row("vLLM, March 2025: Model loading took 19.5904 GB", "its next lines say 19.59GiB"),
              Row("Qwen's table, Qwen3-32B in BF16: 64,583 MB", "in MB this is less than the weights alone"),
              Row("SGLang: 367,404 tokens, K size: 8.23 GB at 24,064 B a token", "8.84 × 10^9 bytes: GiB"),
              Row("nvidia-smi, RTX 4090 of 24 GB: 24564MiB"),
              Row("llama.cpp, M4 Max of 128 GB: recommendedMaxWorkingSetSize = 115448.73 MB"),
              Row("vLLM 0.11, Qwen3-32B in BF16: Model loading took 61.03 GiB")),
        hints=("Multiply out what you know: cards are built in powers of two.",),
        further="And the Hub? (GB of 10^9 bytes.)", chapter="bytes",
        source="vllm-ascend#264, vllm#15340 and #21348; Qwen3's speed_benchmark.md; book/record",
    ),
    Template(
        id="mistakes-in-a-72b-note", topic="units", subject="Published claims", difficulty="medium",
        kind="mistakes",
        title="Find the mistakes: a note on Qwen2.5-72B in Int4", take=5,
        question="A note on Qwen2.5-72B-Instruct in Int4 says so. The model has 80 layers, 64 query heads "
        "and 8 KV heads of 128 numbers; its cache is in FP16. Which lines are wrong?",
        rows=(Row("8k tokens of KV cache take about 16 GB", "with 8 KV heads it is 2.5 GiB"),
              Row("Int4 usually is GPTQ, AWQ or SmoothQuant", "SmoothQuant is W8A8 (arXiv 2211.10438)"),
              Row("KV ≈ 2 × layers × seq_len × hidden_size × bytes", "KV heads × width count: an eighth"),
              Row("32k tokens need 105 to 115 GB in all", "41.6 GB of weights and 10.7 GB of cache"),
              Row("32k tokens are hardly realistic on one card", "they fit on one of 96 GB"),
              Row("72B × 4 bits are about 36 GB"), Row("in practice Int4 weights take 40 to 44 GB"),
              Row("hidden size: 8192"), Row("a number of the cache in FP16 takes 2 bytes")),
        hints=("Which heads leave something in the cache?", "A token is 327,680 bytes."),
        further="Where do 36 GB become 41.6? (Embedding and head in 16 bits, scales and zero points.)",
        source="the notes of book/record/notes.json, section 72B", chapter="the_notes_judged",
    ),
    Template(
        id="mistakes-about-deepseek", topic="units", subject="Published claims", difficulty="hard",
        kind="mistakes",
        title="Find the mistakes: what programs say of DeepSeek-V3", take=5,
        question="Programs and pages say so of DeepSeek-V3 (61 layers, MLA with 512 + 64 numbers a token and "
        "layer; caches of 32,768 tokens in 16 bits). Which lines are wrong?",
        rows=(Row("hf-mem 0.5.6: 57.3 GB of cache", "taken for multi-head attention; it is 2.30 GB"),
              Row("llm-checker 3.8.1: 234.5 GB of cache", "it follows the parameters; it is 2.30 GB"),
              Row("llm-analysis 0.2.2: 38.5 billion parameters", "the experts are missing"),
              Row("llm-d-planner 0.3.3: 2.30 GB of cache"),
              Row("hf-vram-calc 1.0.9: 671.03 billion parameters"),
              Row("Hub page: 685B parameters (with the MTP module)"), Row("README: 671B total parameters")),
        hints=("61 × 576 × 2 bytes a token.",),
        further="Why do so many take it for MHA? (They read num_key_value_heads, which MLA does not use.)",
        source="book/record/other_calculators.json; DeepSeek-V3's README", chapter="other_calculators",
    ),
    Template(
        id="mistakes-of-cache-calculators", topic="units", subject="Published claims", difficulty="hard",
        kind="mistakes",
        title="Find the mistakes: caches by other calculators", take=5,
        question="Programs give these KV caches for 32,768 tokens in 16 bits. L layers attend, with k KV "
        "heads of d numbers. Which are wrong by more than 10 %?",
        rows=(Row("canirun 1.0.1, Qwen3-32B (L 64, k 8, d 128): 5.37 GB", "it takes 5,120 / 64 for d: 8.59"),
              Row("hf-mem 0.5.6, Qwen3.5-27B (L 16, k 4, d 256): 8.59 GB", "it counts all 64 layers: 2.15"),
              Row("llm-checker 3.8.1, Llama-2-7B (L 32, k 32, d 128): 4.81 GB", "no heads are read: 17.18"),
              Row("hf-mem 0.5.6, Llama-3.1-8B (L 32, k 8, d 128): 4.29 GB"),
              Row("llmfit 1.1.17, Qwen3-235B-A22B (L 94, k 4, d 128): 6.31 GB"),
              Row("vramcalc 0.1.2, Qwen2.5-7B (L 28, k 4, d 128): 1.88 GB")),
        hints=("4 × L × k × d bytes a token.",),
        further="Which error is the dangerous one? (Too small: memory is promised that is not there.)",
        source="book/record/other_calculators.json", chapter="other_calculators",
    ),
    Template(
        id="mistakes-of-parameter-counts", topic="units", subject="Published claims", difficulty="medium",
        kind="mistakes",
        title="Find the mistakes: parameters by other calculators", take=5,
        question="Programs count these parameters. All models but Gemma have an output head of their own. "
        "Which are wrong by more than 5 %?",
        rows=(Row("accelerate 1.15, Llama-3.1-8B: 7.50 billion", "it builds no output head: 8.03"),
              Row("hf-vram-calc 1.0.9, gemma-2-9b: 10.16 billion", "the tied head counts twice: 9.24"),
              Row("llm-analysis 0.2.2, Mixtral-8x7B: 5.77 billion", "one expert instead of eight: 46.70"),
              Row("llm-analysis 0.2.2, Llama-3.3-70B: 56.1 billion", "it takes 4h for the width: 70.55"),
              Row("vramcalc 0.1.2, gemma-2-9b: 9.24 billion"),
              Row("hf-vram-calc 1.0.9, Qwen3-32B: 32.76 billion"),
              Row("hf-vram-calc 1.0.9, Mixtral-8x7B: 46.70 billion")),
        hints=("How large is a head of 128,256 × 4,096?", "8 × 7 is not 56: experts share attention."),
        further="What is exact without shapes? (The header of a safetensors file.)",
        source="book/record/other_calculators.json", chapter="other_calculators",
    ),
    Template(
        id="why-units-differ", topic="units", subject="Units", difficulty="easy", kind="explain",
        title="Why do two tools print two sizes for one file?",
        question="A page says 65.5 GB, and a tool says 61.0 GiB for the same file. Explain in one line.",
        because="One counts in 10^9 bytes and the other in 2^30; the bytes are the same.",
        points=("GB is 10^9 bytes", "GiB is 2^30 bytes"), hints=("How many bytes is a GB?",),
        further="Which of them does nvidia-smi print? (MiB.)", source="IEC 80000-13", chapter="bytes",
    ),
    Template(
        id="why-smi-exceeds-allocated", topic="units", subject="What tools print", difficulty="medium",
        kind="explain",
        title="Why does nvidia-smi show more than max_memory_allocated?",
        question="A run ends with torch.cuda.max_memory_allocated() of 60 GiB, and nvidia-smi showed 70 GiB. "
        "Explain in one line where the rest is.",
        because="In what the allocator reserved beyond living tensors, and outside of PyTorch: CUDA's "
        "context, NCCL's buffers, graphs and libraries.",
        points=("reserved is more than allocated", "the context is outside",
                "so are NCCL and other libraries"),
        hints=("Allocated, reserved, and what the driver has given to the process.",),
        further="Which of the three decides on running out? (What the driver can still give.)",
        source="PyTorch's notes on CUDA memory management", chapter="bytes",
    ),
    Template(
        id="why-4-bits-are-more", topic="units", subject="Formats", difficulty="easy", kind="explain",
        title="Why is a 4-bit file more than half a byte a parameter?",
        question="Qwen2.5-72B-Instruct-GPTQ-Int4 has 72.96 billion parameters and 41.6 GB of tensors. "
        "Explain in one line why it is not 36.5 GB.",
        because="Embedding and output head stay in 16 bits, and each group of 128 codes brings a scale and a "
        "zero point.",
        points=("some tensors stay in 16 bits", "scales and zero points",
                "the name is that of most matrices"),
        hints=("What is stored beside codes?",),
        further="Which part is larger? (The 16-bit tensors: 3.7 of the 5.1 GB.)",
        source="arXiv 2210.17323; the model's config.json", chapter="handbook_formats",
    ),
    Template(
        id="why-the-hub-says-685b", topic="units", subject="Names that round", difficulty="medium",
        kind="explain",
        title="Two parameter counts of DeepSeek-V3: which is right?",
        question="DeepSeek-V3's paper says 671B, its page on the Hub 685B. Explain in one line who is right.",
        because="Both: the files also hold a module that predicts a further token (MTP) with copies of "
        "embedding and head, 14B, which most engines do not load.",
        points=("the model has 671B", "the files hold the MTP module as well", "an engine may leave it out"),
        hints=("What may be in a file that is not loaded?",),
        further="How much of the FP8 files is that? (15.4 GB: the copies of embedding and head are BF16.)",
        source="DeepSeek-V3's README; arXiv 2412.19437", chapter="bytes",
    ),
    Template(
        id="why-loaded-is-not-the-file", topic="units", subject="File and loaded", difficulty="hard",
        kind="explain",
        title="Why does an engine load more, or less, than the file has?",
        question="gpt-oss-120b has 60.8 GiB of tensors; vLLM prints 64.4 GiB after loading it on an H100. "
        "DeepSeek-V3 loads as less than its files. Explain both in one line.",
        because="Kernels want padded shapes, so MXFP4 experts grow when they are repacked; and layers for "
        "predicting further tokens are in the files, but not loaded.",
        points=("padding and repacking", "layers that are not loaded", "file and loaded are two figures"),
        hints=("What does a kernel ask of a matrix's shape?",),
        further="Which of the two counts for a budget? (What is loaded.)",
        source="vLLM's log: Model loading took 64.38 GiB; gpt-oss-120b's index", chapter="bytes",
    ),
)  # fmt: skip
