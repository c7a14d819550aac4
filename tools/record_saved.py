"""Record what torch and transformers hold at each moment of small training steps: tests/recorded/saved.json.

    python tools/record_saved.py    (in the environment of requirements-oracles.txt)

The tracing itself is that of tests/oracles/train.py; this file says which steps are traced, and what is kept.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "oracles"))

import train  # noqa: E402  # it stands where pytest looks for it, not in a package
import train_cases  # noqa: E402

USED = ("forward", "loss backward", "head backward", "layers backward", "backward", "step")
REGIMES = ({}, {"weights": "fp32"}, {"weights": "fp32", "autocast": True})


def runs():
    """Yield a family and a run: every regime, kernel, way to recompute and part that is trained."""
    small = {"sequence": 33, "optimizer": "none"}
    for family in ("qwen2", "qwen3", "llama"):
        for number, regime in enumerate(REGIMES):
            for again in (False, True):
                for attention in ("flash", "eager", "repeated")[: 1 if family == "llama" else 3]:
                    yield (
                        family,
                        train.Run(
                            **small,
                            **regime,
                            batch=1 + (number + again) % 3,
                            recompute=again,
                            attention=attention,
                            hold_logits=attention == "eager",
                            keep_gradients=attention == "repeated",
                        ),
                    )
    small["batch"] = 2
    for again in (False, True):
        for trained in ("embedding", "head", "attention", "mlp", "norms"):
            if not (again and trained == "head"):
                yield "llama", train.Run(**small, trained=trained, recompute=again)
        for targets in ("q_proj,v_proj", "all-linear"):
            for dtype in ("fp32", "bf16"):
                yield "llama", train.Run(**small, trained=f"lora 8 {targets} {dtype}", recompute=again)
        yield "llama", train.Run(**small, **REGIMES[2], trained="lora 8 q_proj,v_proj fp32", recompute=again)
        yield "qwen3", train.Run(**small, trained="lora 8 all-linear fp32", recompute=again)
        for family in ("qwen3_moe", "mixtral"):
            for experts in ("grouped_mm", "batched_mm"):
                yield family, train.Run(**small, experts=experts, recompute=again)
        for attention in ("flash", "eager"):
            for regime in REGIMES:
                yield "gpt2", train.Run(**small, **regime, attention=attention, recompute=again)


def cases():
    """Yield a config and a run: those above with two layers, and drawn ones."""
    for family, run in runs():
        yield train_cases.with_depth(train_cases.FAMILIES[family], 2), run
    for seed in range(4):
        for family in train_cases.DRAWN:
            yield train_cases.drawn_config(family, seed), train_cases.drawn_run(family, seed)


def recorded(fields, run):
    """One step: the bytes held at each moment and their peak since the one before, without ids and scalars."""
    moments = train.step(fields, run)
    model = train.build(fields, run)
    scalars = 4 * sum(item.requires_grad for item in model.parameters()) if "adamw" in run.optimizer else 0
    beside = 8 * run.batch * run.sequence + scalars
    used = {name: moments[name] for name in USED if name in moments}
    return {
        "config": fields,
        "run": run.stated(),
        "moments": {name: [at["held"] - beside, at["peak"] - beside] for name, at in used.items()},
    }


def main():
    """Write the file."""
    versions = {name: version(name) for name in ("torch", "transformers", "peft")}
    steps = [recorded(*case) for case in cases()]
    lines = ",\n".join(json.dumps(step) for step in steps)
    path = ROOT / "tests" / "recorded" / "saved.json"
    path.write_text(f'{{"versions": {json.dumps(versions)}, "steps": [\n{lines}\n]}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()
