"""What a forward pass holds while it reads a prompt: fake tensors, transformers' own layers and cache.

Nothing here knows memcalc. What the head of `train.py` says of its figures is true of these, too: what a
kernel allocates for itself while it runs is not seen.
"""

from __future__ import annotations

import torch
import train
from torch._subclasses.fake_tensor import FakeTensorMode

TOKENS = 1024
# Those whose training steps are traced, those of which Qwen published peaks, and two with experts.
MODELS = (
    "meta-llama/Meta-Llama-3.1-8B",
    "meta-llama/Llama-2-7b-hf",
    "Qwen/Qwen3-0.6B",
    "Qwen/Qwen3-8B",
    "Qwen/Qwen3-32B",
    "Qwen/Qwen2.5-0.5B",
    "Qwen/Qwen2.5-7B-Instruct",
    "Qwen/Qwen2.5-32B-Instruct",
    "Qwen/Qwen3-30B-A3B",
    "mistralai/Mixtral-8x7B-v0.1",
)
PARTS = {"self_attn": "attention", "mlp": "feed-forward"}


def watched(model, ledger):
    """Mark where attention and feed-forward part of the last layer begin and end."""
    last = model.get_decoder().layers[-1]
    for attribute, part in PARTS.items():
        module = getattr(last, attribute)
        module.register_forward_pre_hook(lambda *_, part=part: ledger.mark(f"before {part}"))
        module.register_forward_hook(lambda *_, part=part: ledger.mark(part))


def prefill(fields, tokens=TOKENS):
    """One pass over a prompt as `generate` makes it: a growing cache, the logits of the last token.

    Bytes: `weights` with buffers; the `peak` of the pass, all included; the peaks while attention of the last
    layer runs, when the cache of every layer exists, and while its feed-forward part does.
    """
    ledger, model = train.Ledger(), train.build(fields, train.Run()).eval()
    watched(model, ledger)
    with FakeTensorMode(), torch.no_grad():
        train.faked(model)
        for item in (*model.parameters(), *model.buffers()):
            ledger.take(item)
        weights = ledger.held
        ids = torch.zeros((1, tokens), dtype=torch.long)
        ledger.take(ids)
        with ledger:
            ledger.mark("start")
            output = model(input_ids=ids, use_cache=True, logits_to_keep=1)
            ledger.mark("end")
    peak = {moment: said["peak"] for moment, said in ledger.moments.items()}
    del output  # it holds the cache, up to here
    last = {part: peak[part] for part in PARTS.values()}
    return {"tokens": tokens, "weights": weights, "peak": max(peak.values()), **last}
