"""What ranks hold of a matrix in 4 bits, and of adapters on matrices that are cut; they talk through gloo.

Nothing here knows memcalc.
"""

from __future__ import annotations

import os
import sys
import traceback

import bitsandbytes
import torch
import torch.distributed as dist
from torch import multiprocessing, nn
from train_ranks import TIMEOUT, free_port

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


def work(rank, world, port, answers, asked):
    """One rank: what is asked; what fails is told, not swallowed."""
    torch.set_num_threads(1)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), WORLD_SIZE=str(world))
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank))
    if sys.platform == "linux":
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"  # else gloo asks what the machine's own name means
    try:
        dist.init_process_group("gloo", rank=rank, world_size=world)
        ask, given = asked
        answers.put(ask(*given))
        dist.barrier()
        dist.destroy_process_group()
    except Exception:
        answers.put(traceback.format_exc())
        raise


def ranks(world, ask, *given):
    """What each rank says when it is asked, in any order.

    Raises:
        RuntimeError: a rank failed.

    """
    start = multiprocessing.get_context("spawn")
    answers, port = start.Queue(), free_port()
    processes = [
        start.Process(target=work, args=(rank, world, port, answers, (ask, given))) for rank in range(world)
    ]
    for process in processes:
        process.start()
    try:
        said = [answers.get(timeout=TIMEOUT) for _ in processes]
    finally:
        for process in processes:
            process.join(10)
            process.kill()
    failed = [answer for answer in said if isinstance(answer, str)]
    if failed:
        raise RuntimeError(failed[0])
    return said
