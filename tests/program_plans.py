"""The plan of a recorded run of tests/oracles/program_cases.py, and how it differs from the record."""

from __future__ import annotations

from memcalc.files.source import Source
from memcalc.training.api import train

# fields of configs whose layers keep a state
STATES = (
    "linear_num_key_heads",
    "linear_num_heads",
    "linear_attn_config",
    "mamba_num_heads",
    "mamba_n_heads",
)


def planned(fields, run):
    """The plan of a recorded run."""
    attention, text = run.get("attention", "flash"), fields.get("text_config", fields)
    options = {
        "seq": run.get("sequence", 64),
        "micro_batch": run.get("batch", 1),
        "regime": ("amp" if "autocast" in run else "fp32") if "weights" in run else "pure-bf16",
        "recompute": "full" if "recompute" in run else "none",
        "experts": run.get("experts"),
        "state_kernels": "torch" if any(name in text for name in STATES) else None,
        "autocast": "autocast" in run,
    }
    options |= {"repeat_kv": True} if attention == "repeated" else {"attention": attention}
    optimizer, _, how = run.get("optimizer", "adamw foreach").partition(" ")
    options |= {"optimizer": {"none": "sgd"}.get(optimizer, optimizer), "optimizer_step": how or None}
    trained = run.get("trained", "all")
    if trained.startswith("lora"):
        _, rank, targets, dtype = trained.split(" ")
        options |= {"lora_rank": int(rank), "lora_targets": tuple(targets.split(",")), "adapter_dtype": dtype}
    elif trained.startswith("named"):
        options["trainable"] = (trained.removeprefix("named "),)
    source = Source(
        "a recorded config", {**fields, "torch_dtype": "bfloat16"}, "tests/recorded/programs.json"
    )
    return train(source, **options)


def differences(plan, at):
    """Bytes of the plan less those of the record, which has no towers, at each moment that both have."""
    towers = sum(line.bytes for line in plan.device.lines if "towers" in line.name)
    end = "layers backward" in at  # else no gradient reaches the embedded tokens
    stream = next((name for name in ("stream backward", "layers backward") if name in at), "")
    back = [at[name][1] for name in ("head backward", stream) if name in at]
    back += [] if end else [at["backward"][1]]
    loss = max(at["forward"][1], at["loss backward"][1])
    kept = at["forward"][0]
    if plan.plan.options.recompute == "none":  # where layers have more while they run, that is counted
        kept = max(kept, at.get("layers forward", [0, 0])[1])
    said = {"forward_end": kept, "loss": loss, plan.moments[2]: max(back)}
    last = max(at[name][1] for name in ("layers backward", "backward")) if stream[:6] == "stream" else 0
    said |= {"backward_end": last or at["backward"][1]} if end else {}
    said |= {"step": at["step"][1]} if "step" in at else {}
    return {moment: sum(plan.at(moment).values()) - towers - size for moment, size in said.items()}
