"""What ranks hold of a matrix in 4 bits, and of adapters on matrices that are cut: `ranks.ask` asks them.

Nothing here knows memcalc.
"""

from __future__ import annotations

import bitsandbytes
import torch
import torch.distributed as dist
from torch import nn

ROWS, COLUMNS = 320, 192
KINDS = {"nf4": False, "nf4-dq": True}


def quantised(*, double):
    """A layer of bitsandbytes, its codes stored as numbers of 16 bits."""
    layer = bitsandbytes.nn.Linear4bit(COLUMNS, ROWS, bias=False, compute_dtype=torch.bfloat16)
    layer.weight = bitsandbytes.nn.Params4bit(
        torch.randn(ROWS, COLUMNS, dtype=torch.bfloat16),
        requires_grad=False,
        quant_storage=torch.bfloat16,
        quant_type="nf4",
        compress_statistics=double,
        module=layer,
    ).to("cpu")
    return layer


def held(*, double):
    """Bytes of the codes on this rank, and of all tensors beside them, once FSDP has shared the layer out."""
    from torch.distributed.fsdp import fully_shard

    model = nn.Sequential(quantised(double=double))
    fully_shard(model)
    codes = model[0].weight.to_local().untyped_storage().nbytes()
    model(torch.randn(4, COLUMNS, dtype=torch.bfloat16))  # the root stays whole from here on
    state = model[0].weight.quant_state
    beside = [state.absmax, state.code]
    if state.nested:
        beside += [state.offset, state.state2.absmax, state.state2.code]
    return codes, sum(item.untyped_storage().nbytes() for item in beside)


def adapted(folder, rank_of_adapters):
    """Shapes on this rank of a model's weights and adapters, cut by transformers' own plan."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM
    from transformers.distributed import DistributedConfig

    cut = DistributedConfig(tp_size=dist.get_world_size())
    model = AutoModelForCausalLM.from_pretrained(folder, distributed_config=cut, dtype=torch.bfloat16)
    model = get_peft_model(model, LoraConfig(r=rank_of_adapters, target_modules="all-linear"))
    parts = {
        name: item.to_local() if hasattr(item, "to_local") else item
        for name, item in model.named_parameters()
    }
    ours = {
        name.replace("base_model.model.", "").replace("base_layer.", ""): part for name, part in parts.items()
    }
    return {name.replace(".default", ""): list(part.shape) for name, part in ours.items()}


def packed():
    """What `held` says of every kind."""
    return {name: held(double=double) for name, double in KINDS.items()}
