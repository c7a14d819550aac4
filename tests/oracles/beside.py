"""What loading, evaluation and saving hold: transformers' own functions, on fake tensors, meta, or for real.

Nothing here knows memcalc. What the head of `train.py` says of its figures is true of these, too.
"""

from __future__ import annotations

import subprocess
import sys

import ask
import torch
import train
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import AutoModelForCausalLM
from transformers.core_model_loading import revert_weight_conversion
from transformers.trainer_pt_utils import EvalLoopContainer

# one of each type with experts
MIXTURES = (
    "MiniMaxAI/MiniMax-M2.5",
    "Qwen/Qwen3-30B-A3B",
    "Qwen/Qwen3-Next-80B-A3B-Instruct",
    "Qwen/Qwen3-VL-30B-A3B-Instruct",
    "Qwen/Qwen3.5-35B-A3B",
    "baidu/ERNIE-4.5-21B-A3B-PT",
    "deepseek-ai/DeepSeek-V2-Lite",
    "google/gemma-4-26B-A4B",
    "ibm-granite/granite-4.0-h-small",
    "mistralai/Mixtral-8x7B-v0.1",
    "nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16",
    "openai/gpt-oss-20b",
    "zai-org/GLM-4.5-Air",
)
# two layers, with and without a head of its own
SMALL = {
    "vocab_size": 32_000,
    "hidden_size": 256,
    "intermediate_size": 768,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "max_position_embeddings": 4096,
    "torch_dtype": "bfloat16",
}
EVALUATED = {
    "qwen3": {"model_type": "qwen3", **SMALL, "tie_word_embeddings": True},
    "llama": {"model_type": "llama", **SMALL, "tie_word_embeddings": False},
}
BATCH, TOKENS, BATCHES = 2, 256, 4


def copied_by_saving(fields):
    """The bytes that save_pretrained copies of experts to write them as files have them."""
    state = ask.on_meta(fields).state_dict()
    own = {tensor.untyped_storage()._cdata for tensor in state.values()}
    written = revert_weight_conversion(ask.on_meta(fields), dict(state))
    storages = {
        tensor.untyped_storage()._cdata: tensor.untyped_storage().nbytes()
        for name, tensor in written.items()
        if "expert" in name
    }
    return sum(size for key, size in storages.items() if key not in own)


def evaluated(fields):
    """Peaks of an evaluation beside the model: of the loss alone, and with the logits of batches kept.

    The loop is that of Trainer.evaluation_loop: while a batch runs, the logits of the one before are there.
    """
    asked = [(autocast, batches) for autocast in (False, True) for batches in (0, 1, 2, BATCHES)]
    found = []
    for autocast, batches in asked:
        with FakeTensorMode(), torch.no_grad():
            said = peak(fields, train.Run(), batches, autocast=autocast)
        found.append({"autocast": autocast, "batches": batches, "bytes": said})
    return {"config": fields, "batch": BATCH, "tokens": TOKENS, "peaks": found}


def peak(fields, run, batches, *, autocast):
    """The most that is held beside the model while so many batches are evaluated and kept."""
    ledger, model = train.Ledger(), train.build(fields, run).eval()
    train.faked(model)
    for item in (*model.parameters(), *model.buffers()):
        ledger.take(item)
    kept, logits, before = EvalLoopContainer(), None, ledger.held
    ids = torch.zeros((BATCH, TOKENS), dtype=torch.long)
    with ledger:
        for _ in range(max(1, batches)):
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
                output = model(input_ids=ids, labels=ids, use_cache=False)
            found = output.logits.float() if autocast else output.logits
            del output
            logits = found
            del found
            if batches:
                kept.add(logits)
    del logits
    return ledger.peak - before


# What malloc keeps of freed memory, in arenas of its threads, is given back before it is counted.
PROGRAM = """
import ctypes
import gc
import sys
from pathlib import Path
import torch
from transformers import AutoModelForCausalLM
def own():
    (line,) = (one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith("RssAnon"))
    return 1024 * int(line.split()[1])
before = own()
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=getattr(torch, sys.argv[2]))
gc.collect()
ctypes.CDLL(None).malloc_trim(0)
print(own() - before)
"""


def loaded(folder, dtype):
    """The bytes of its own, no pages of files, that a fresh process gets by from_pretrained, on the host."""
    asked = [sys.executable, "-c", PROGRAM, folder, dtype]
    return int(subprocess.run(asked, check=True, capture_output=True, text=True).stdout)


def gathered(folder):
    """What a rank gets of a model that FSDP 2 shares out, of its weights and its optimizer's states.

    As accelerate asks for them: widened to 32 bits first, all of it, to the host, on the first rank.
    """
    from torch.distributed.checkpoint.state_dict import (
        StateDictOptions,
        get_model_state_dict,
        get_optimizer_state_dict,
    )
    from torch.distributed.fsdp import fully_shard

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    for item in model.parameters():
        item.data = item.data.to(torch.float32)
    for layer in model.model.layers:
        fully_shard(layer)
    fully_shard(model)
    optimizer = torch.optim.AdamW(model.parameters())
    model(input_ids=torch.zeros((1, 8), dtype=torch.long)).logits.sum().backward()
    optimizer.step()
    options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True, cpu_offload=True)
    weights = get_model_state_dict(model, options=options)
    states = get_optimizer_state_dict(model, optimizer, options=options)
    moments = [one for state in states.get("state", {}).values() for one in state.values() if one.dim()]
    return stored(weights.values()), stored(moments)


def stored(tensors):
    """The bytes of the storages behind tensors, each once."""
    storages = {one.untyped_storage()._cdata: one.untyped_storage().nbytes() for one in tensors}
    return sum(storages.values())
