"""The options of ``memcalc train``, and its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.errors import UnknownNameError
from memcalc.training.estimate import estimate
from memcalc.training.options import TrainingOptions
from memcalc.training.plan import plan_fields

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from memcalc.cli.command import Answer
    from memcalc.training.estimate import TrainingEstimate

__all__ = ["add_options", "answer"]

NUMBERS = {
    "seq": "tokens of a sequence, padding included",
    "micro-batch": "sequences of one forward pass on one rank (1)",
    "accumulate": "micro-batches of one step (1)",
    "world": "devices in all (1)",
    "tp": "tensor-parallel ranks (1)",
    "pp": "pipeline stages (1)",
    "vpp": "chunks of layers of each stage, interleaved (1)",
    "cp": "context-parallel ranks, which share a sequence (1)",
    "ep": "ranks over which experts are dealt out (1)",
    "expert-tp": "ranks that share one expert's matrices (as --tp)",
    "lora-rank": "rank of adapters: the model itself is frozen",
    "vocab-multiple": "round the vocabulary up to a multiple",
}
WORDS = {
    "regime": "pure-bf16, bf16-mixed (default), amp or fp32",
    "gradients": "bf16, fp32 or bf16+fp32 (default: the regime's)",
    "implementation": "transformers (default) or megatron",
    "attention": "flash (default), sdpa or eager",
    "optimizer": "adamw (default), adamw-8bit, adafactor, sgd, sgd-momentum, lion, muon, ...",
    "optimizer-step": "foreach (default), fused or for-loop",
    "loss": "plain (default), or another of the implementation's",
    "shard": "0 (default), 1, 2, 3: ZeRO's stage, or fsdp",
    "schedule": "1f1b (default; interleaved with --vpp) or gpipe",
    "pipeline-layout": "layers of each chunk, as in 16,16,15",
    "rank": "first, last or fullest (default) pipeline stage",
    "recompute": "none (default), selective or full",
    "recompute-modules": "what selective recomputation runs again (core_attn)",
    "experts": "how experts are computed (megatron: allgather or alltoall, with grouped or sequential)",
    "lora-targets": "all-linear (default), or q_proj,v_proj,...",
    "adapter-dtype": "fp32 (default) or bf16",
    "trainable": "parts of names of weights that are trained (all)",
    "repeat-kv": "yes or no: keys and values copied for all query heads (yes, but for flash)",
    "quantize-base": "nf4, nf4-dq, fp4 or int8: of the matrices beside adapters",
    "context-exchange": "p2p (default) or a2a: what the ranks of --cp exchange (megatron)",
    "offload": "optimizer, parameters, activations: what lies in the host's memory",
    "on": '"COUNTx ID", and "+ 512GiB host"',
}
FLAGS = {
    "keep-gradients": "zero_grad(set_to_none=False): gradients live through the forward pass",
    "hold-logits": "the caller holds on to the logits",
    "sequence-parallel": "share what --tp leaves whole",
    "no-gradient-fusion": "products make 16-bit gradients before they are added up (megatron)",
    "compile": "torch.compile: widens the range",
}


def add_options(train: argparse.ArgumentParser, whole_number: Callable[[str], int | str]) -> None:
    """Add the options; those that nobody names keep the defaults of `memcalc.train`."""
    for name, text in NUMBERS.items():
        train.add_argument(f"--{name}", type=whole_number, metavar="N", help=text)
    for name, text in WORDS.items():
        train.add_argument(f"--{name}", metavar="NAME", help=text)
    train.add_argument("--dropout", metavar="P", help="share of numbers that dropout sets to 0 (0)")
    for name, text in FLAGS.items():
        train.add_argument(f"--{name}", action="store_true", help=text)


LISTS = ("recompute_modules", "lora_targets", "trainable", "offload")  # words separated by commas


def asked(given: argparse.Namespace) -> TrainingOptions:
    """Return the options that were named.

    Raises
    ------
    UnknownNameError
        An answer to yes or no is neither.

    """
    names = [name.replace("-", "_") for name in (*NUMBERS, *WORDS)]
    found = {name: value for name in names if (value := getattr(given, name)) is not None}
    flags = ("keep_gradients", "hold_logits", "sequence_parallel", "compile")
    found |= {name: True for name in flags if getattr(given, name)}
    found |= {"gradient_fusion": False} if given.no_gradient_fusion else {}
    found |= {name: tuple(found[name].split(",")) for name in LISTS if name in found}
    if found.get("shard") in ("0", "1", "2", "3"):
        found["shard"] = int(found["shard"])
    if "pipeline_layout" in found:
        parts = found["pipeline_layout"].split(",")
        if all(part.isascii() and part.isdigit() for part in parts):
            found["pipeline_layout"] = tuple(map(int, parts))
    if "repeat_kv" in found:
        if found["repeat_kv"] not in ("yes", "no"):
            remedy = "leave it out for the default"
            raise UnknownNameError("--repeat-kv", "one of yes, no", found["repeat_kv"], remedy)
        found["repeat_kv"] = found["repeat_kv"] == "yes"
    if given.dropout is not None:
        try:
            found["dropout"] = float(given.dropout)
        except ValueError:
            found["dropout"] = given.dropout
    return TrainingOptions(**{"seq": None, **found})


def answer(given: argparse.Namespace) -> Answer:
    """Answer ``memcalc train``."""
    step = estimate(given.source, asked(given))
    return 0, lambda: fields(step), lambda: text(step)


def fields(step: TrainingEstimate) -> dict[str, object]:
    """Return the answer as the contract writes it."""
    device, pools = step.device, [step.device, *([] if step.host is None else [step.host])]
    moments = [
        {"at": name, "total_bytes": device.moments[name], "components": step.at(name)}
        for name in step.moments
    ]
    return {
        "model": step.model.name,
        "plan": plan_fields(step.plan),
        "parameters": step.parameters,
        "trainable_parameters": step.trainable_parameters,
        "stage": step.stage.number,
        "moments": moments,
        "peak_at": device.fullest,
        "allocated_bytes": step.allocated_bytes,
        "device_bytes": device.total_bytes,
        "low_bytes": device.low_bytes,
        "high_bytes": device.high_bytes,
        "capacity_bytes": device.capacity_bytes,
        "host_bytes": step.host_bytes,
        "fits": step.fits,
        "assumed": list(step.assumed),
        "lines": [
            {"pool": pool.name, **{name: getattr(line, name) for name in line.__slots__}}
            for pool in pools
            for line in pool.lines
        ],
    }


def text(step: TrainingEstimate) -> str:
    """Return the answer for people."""
    from memcalc.ledger.amount import gib, thin

    device, plan, micro = step.device, step.plan, step.plan.micro_batch
    world, asked_for = plan.parallelism.world, plan.options
    ranks = "" if world == 1 else f" on {world} devices, stage {step.stage.number}"
    trained = f"{thin(step.trainable_parameters)} of {thin(step.parameters)} parameters trained"
    how = f"{asked_for.regime}, {plan.optimizer.id} ({plan.optimizer_step}), {asked_for.attention}"
    tokens = f"{thin(micro.batch)} x {thin(micro.seq)} tokens a rank"
    rows = [f"{step.model.name}: {trained}{ranks}", f"  {how}, recompute {asked_for.recompute}, {tokens}"]
    for moment in step.moments:
        mark = "  <- most" if moment == device.fullest else ""
        rows.append(f"  {moment:<13} {gib(device.moments[moment]):>14}{mark}")
    rows.append(f"  at {device.fullest}:")
    rows += [f"    {name:<12} {gib(size):>13}" for name, size in step.at(device.fullest).items()]
    span = f"{gib(device.low_bytes)} to {gib(device.high_bytes)}"
    rows.append(f"  on the device  {gib(device.total_bytes):>13}  ({span}, with context and allocator)")
    if step.host is not None:
        rows.append(f"  in the host    {gib(step.host_bytes):>13}")
    if step.fits is not None:
        room = f"{gib(device.capacity_bytes or 0)} a device"
        rows.append(f"  {'fits' if step.fits else 'does not fit'}: {room}")
    rows += [f"  assumed: {one}" for one in step.assumed]
    return "\n".join(rows)
