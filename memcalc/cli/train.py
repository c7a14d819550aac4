"""The options of ``memcalc train``, and its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memcalc.cli.command import SOURCE, Answer, Command, unread_fields
from memcalc.cli.parser import whole_number
from memcalc.errors import BadInputError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from memcalc.training.stage import Training

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


def asked(given: argparse.Namespace) -> dict[str, object]:
    """Return what was named, under the names of `memcalc.train`."""
    names = [name.replace("-", "_") for name in (*NUMBERS, *WORDS)]
    found = {name: value for name in names if (value := getattr(given, name)) is not None}
    found |= {
        name: True for name in ("keep_gradients", "hold_logits", "sequence_parallel") if getattr(given, name)
    }
    found |= {"compiled": True} if given.compile else {}
    found |= {"gradient_fusion": False} if given.no_gradient_fusion else {}
    if found.get("shard") in ("0", "1", "2", "3"):
        found["shard"] = int(str(found["shard"]))
    if given.dropout is not None:
        try:
            found["dropout"] = float(given.dropout)
        except ValueError:
            found["dropout"] = given.dropout
    if "seq" not in found:
        remedy = "activations grow with it; say how long sequences are padded"
        raise BadInputError("--seq", "a whole number >= 1", None, remedy)
    return found


def answer(given: argparse.Namespace) -> Any:
    """Answer ``memcalc train``."""
    from memcalc.training.plan import train

    plan = train(given.source, **asked(given))  # type: ignore[arg-type]
    return 0, lambda: fields(plan) | unread_fields(plan.model), lambda: text(plan)


def fields(plan: Training) -> dict[str, object]:
    """Return the answer as the contract writes it."""
    device, *host = plan.fullest.budgets
    moments = [
        {"at": name, "total_bytes": device.moments[name], "components": plan.at(name)}
        for name in plan.moments
    ]
    return {
        "model": plan.model.name,
        "plan": dict(plan.named),
        "parameters": plan.parameters,
        "trainable_parameters": plan.trainable_parameters,
        "stage": plan.fullest.stage,
        "moments": moments,
        "peak_at": device.fullest,
        "allocated_bytes": plan.allocated_bytes,
        "device_bytes": device.total_bytes,
        "low_bytes": device.low_bytes,
        "high_bytes": device.high_bytes,
        "capacity_bytes": device.capacity_bytes,
        "host_bytes": sum(pool.total_bytes for pool in host) * plan.ranks_of_host,
        "fits": plan.fits,
        "assumed": list(plan.assumed),
        "lines": [
            {"pool": pool.name, **{name: getattr(line, name) for name in line.__slots__}}
            for pool in plan.fullest.budgets
            for line in pool.lines
        ],
    }


def text(plan: Training) -> str:
    """Return the answer for people."""
    from memcalc.ledger.amount import gib, thin

    device, *host = plan.fullest.budgets
    named = plan.named
    ranks = "" if plan.layout.world == 1 else f" on {plan.layout.world} devices, stage {plan.fullest.stage}"
    trained = f"{thin(plan.trainable_parameters)} of {thin(plan.parameters)} parameters trained"
    how = f"{named['regime']}, {named['optimizer']} ({named['optimizer_step']}), {named['attention']}"
    tokens = f"{thin(plan.setting.batch)} x {thin(plan.setting.seq)} tokens a rank"
    rows = [f"{plan.model.name}: {trained}{ranks}", f"  {how}, recompute {named['recompute']}, {tokens}"]
    for moment in plan.moments:
        mark = "  <- most" if moment == device.fullest else ""
        rows.append(f"  {moment:<13} {gib(device.moments[moment]):>14}{mark}")
    rows.append(f"  at {device.fullest}:")
    rows += [f"    {name:<12} {gib(size):>13}" for name, size in plan.at(device.fullest).items()]
    span = f"{gib(device.low_bytes)} to {gib(device.high_bytes)}"
    rows.append(f"  on the device  {gib(device.total_bytes):>13}  ({span}, with context and allocator)")
    rows += [f"  in the host    {gib(pool.total_bytes * plan.ranks_of_host):>13}" for pool in host]
    if plan.fits is not None:
        room = f"{gib(device.capacity_bytes or 0)} a device"
        rows.append(f"  {'fits' if plan.fits else 'does not fit'}: {room}")
    rows += [f"  assumed: {one}" for one in plan.assumed]
    if plan.model.not_read:
        rows.append(f"  not read: {', '.join(plan.model.not_read)}")
    return "\n".join(rows)


def add(parser: Any) -> None:
    """Add the options."""
    parser.add_argument("source", metavar="SOURCE", help=SOURCE)
    add_options(parser, whole_number)


COMMAND = Command(add, lambda given: Answer(*answer(given)))
