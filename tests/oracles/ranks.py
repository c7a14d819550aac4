"""Processes on this machine that talk through gloo, each a rank with its own memory: what each says.

Nothing here knows memcalc.
"""

from __future__ import annotations

import os
import socket
import sys
import traceback

import torch
import torch.distributed as dist
from torch import multiprocessing

TIMEOUT = 900  # seconds: ranks that wait for each other for ever, and not a busy machine


def free_port():
    """A port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def work(rank, world, port, answers, asked):
    """One rank: what is asked; what fails is told, not swallowed."""
    torch.set_num_threads(1)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), WORLD_SIZE=str(world))
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank))
    if sys.platform == "linux":
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"  # else gloo asks what the machine's own name means
    try:
        dist.init_process_group("gloo", rank=rank, world_size=world)
        question, given = asked
        answers.put((rank, question(*given)))
        dist.barrier()
        dist.destroy_process_group()
    except Exception:
        answers.put((rank, traceback.format_exc()))
        raise


def ask(world, question, *given):
    """What each rank of a world says to a function of a module, by rank.

    Raises:
        RuntimeError: a rank failed.
        queue.Empty: a rank did not answer in time.

    """
    start = multiprocessing.get_context("spawn")
    answers, port = start.Queue(), free_port()
    processes = [
        start.Process(target=work, args=(rank, world, port, answers, (question, given)))
        for rank in range(world)
    ]
    for process in processes:
        process.start()
    try:
        said = dict(answers.get(timeout=TIMEOUT) for _ in processes)
    finally:
        for process in processes:
            process.join(10)
            process.kill()
    failed = [answer for answer in said.values() if isinstance(answer, str)]
    if failed:
        raise RuntimeError(failed[0])
    return [said[rank] for rank in range(world)]
