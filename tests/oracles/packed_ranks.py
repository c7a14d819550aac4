"""What two ranks hold of a matrix in 4 bits: bitsandbytes under FSDP, processes that talk through gloo.

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


def work(rank, world, port, answers):
    """One rank: every kind in turn; what fails is told, not swallowed."""
    torch.set_num_threads(1)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    if sys.platform == "linux":
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"  # else gloo asks what the machine's own name means
    try:
        dist.init_process_group("gloo", rank=rank, world_size=world)
        answers.put({name: held(double=double) for name, double in KINDS.items()})
        dist.barrier()
        dist.destroy_process_group()
    except Exception:
        answers.put(traceback.format_exc())
        raise


def ranks(world):
    """What each rank says, in any order.

    Raises:
        RuntimeError: a rank failed.

    """
    start = multiprocessing.get_context("spawn")
    answers, port = start.Queue(), free_port()
    processes = [start.Process(target=work, args=(rank, world, port, answers)) for rank in range(world)]
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
