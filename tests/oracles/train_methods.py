"""What updates of DPO, KTO, ORPO, GRPO and PPO hold, real models on fake tensors: recorded/methods.json.

    python tests/oracles/train_methods.py    (in the environment of requirements-oracles.txt)

Nothing here knows memcalc. The operations and what the trainer's functions hold while they run are those of
TRL 1.10 (2026-07), trl/trainer/dpo_trainer.py, kto_trainer.py, grpo_trainer.py and trl/experimental/orpo and
ppo: logits of 16 bits go through log_softmax a sequence at a time, those of 32 bits through logsumexp. Under
autocast accelerate's prepare_model makes the outputs of a model 32 bits wide. What follows the
log-probabilities are a few numbers a token, or one a sequence: their sum stands for it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch
import train
import train_cases
from torch._subclasses.fake_tensor import FakeTensorMode

RECORDED = Path(__file__).resolve().parent.parent / "recorded" / "methods.json"


@dataclass(frozen=True)
class Update:
    """How a method asks its models: `completion` are the last tokens, None all of them."""

    method: str = "dpo"
    reference: str = "copy"  # none, copy, adapter
    completion: int | None = None


def log_probabilities(logits, labels):
    """Those of the labels, a sequence at a time."""
    labels = labels.unsqueeze(-1)
    if logits.dtype == torch.float32:
        spread = torch.stack([torch.logsumexp(row, -1) for row in logits])
        return (torch.gather(logits, -1, labels) - spread.unsqueeze(-1)).squeeze(-1)
    rows = []
    for row, at in zip(logits, labels, strict=True):
        spread = torch.log_softmax(row, -1)  # the one before lives until this one is there
        rows.append(spread.gather(-1, at))
    return torch.stack(rows).squeeze(-1)


def asked(model, ids, run, keep=0):
    """The logits of a model as a trainer gets them: 32 bits wide where autocast is on."""
    with train.casting(run):
        logits = model(input_ids=ids, use_cache=False, logits_to_keep=keep).logits
    return logits.float() if run.autocast else logits


def pairs(policy, ids, run, update, after):
    """DPO, or KTO, which has no pairs: policy, then reference, then a copy of logits that is looked at."""
    logits = asked(policy, ids, run)
    result = log_probabilities(logits[:, :-1], ids[:, 1:]).sum()
    held = after(ids)  # until the function returns
    if update.method == "dpo":
        shown = logits[: len(ids) // 2, :-1].detach()
        torch.empty((len(ids) // 2 * shown.shape[1], shown.shape[2]), dtype=shown.dtype)
    del held
    return result


def odds(policy, ids, run, update, after):
    """ORPO: the cross-entropy of the first half, and the log-probabilities of all."""
    logits = asked(policy, ids, run)
    half = len(ids) // 2
    chosen = logits[:half, :-1].contiguous().view(-1, logits.shape[-1])
    entropy = torch.nn.functional.cross_entropy(chosen, ids[:half, 1:].reshape(-1))
    return entropy + log_probabilities(logits[:, :-1], ids[:, 1:]).sum()


def generations(policy, ids, run, update, after):
    """GRPO: the logits of completions alone, divided in place by a temperature."""
    keep = update.completion or ids.shape[1] - 1
    logits = asked(policy, ids, run, keep + 1)[:, :-1][:, -keep:]
    logits.div_(0.9)
    return log_probabilities(logits, ids[:, -keep:]).sum()


def answers(policy, ids, run, update, after):
    """PPO: all logits, those of completions divided in place; the output is held."""
    output = asked(policy, ids, run)
    keep = update.completion or ids.shape[1] - 1
    logits = output[:, -keep - 1 : -1]
    logits /= 0.9
    return log_probabilities(logits, ids[:, -keep:]).sum()


LOSSES = {"dpo": pairs, "kto": pairs, "orpo": odds, "grpo": generations, "ppo": answers}


def reference_of(policy, fields, run, update, ledger):
    """What asks the reference: a copy of the policy, or the policy without its adapters."""

    def after(ids):
        ledger.mark("policy")
        logits = frozen(ids)
        log_probabilities(logits[:, :-1], ids[:, 1:])
        ledger.mark("reference")
        return logits

    if update.reference == "none":
        return lambda ids: None
    if update.reference == "adapter":

        def frozen(ids):
            with torch.no_grad(), policy.disable_adapter():
                return asked(policy, ids, run)

        return after
    copy = train.build(fields, train.Run(**{**run.stated(), "trained": "all", "recompute": False}))
    train.faked(copy)
    for item in (*copy.parameters(), *copy.buffers()):
        ledger.take(item)

    def frozen(ids):
        with torch.no_grad():
            return asked(copy, ids, run)

    return after


def step(fields, run, update):
    """Every moment of an update as `train.step` names them; `policy`, `reference` lie before `forward`."""
    ledger, policy = train.Ledger(), train.build(fields, run)
    with FakeTensorMode():
        train.faked(policy)
        for item in (*policy.parameters(), *policy.buffers()):
            ledger.take(item)
        after = reference_of(policy, fields, run, update, ledger)
        optimizer = train.optimizer_of(policy, run)
        ids = torch.zeros(
            (run.batch * (2 if update.method in ("dpo", "orpo") else 1), run.sequence), dtype=torch.long
        )
        ledger.take(ids)
        train.watch(policy, ledger)
        with ledger:
            for _ in range(2):
                ledger.mark("start")
                loss = LOSSES[update.method](policy, ids, run, update, after)
                ledger.mark("forward")
                loss.backward()
                ledger.mark("backward")
                del loss
                if optimizer:
                    optimizer.step()
                    ledger.mark("step")
                policy.zero_grad()
    return ledger.moments


SIZES = {"sequence": 33, "optimizer": "none"}
REGIMES = ({}, {"weights": "fp32"}, {"weights": "fp32", "autocast": True})
USED = ("policy", "reference", "forward", "loss backward", "head backward", "layers backward", "backward")


def cases():
    """Yield a family, a run and an update: each method in each regime, with and without recomputation."""
    for family in ("llama", "qwen2"):
        for number, regime in enumerate(REGIMES):
            for batch in (1, 2, 3):
                run = train.Run(**SIZES, **regime, batch=batch, recompute=(number + batch) % 2 == 0)
                for method in LOSSES:
                    rewarded = method in ("grpo", "ppo")
                    for completion in (None, 10) if rewarded else (None,):
                        reference = "copy" if method in ("dpo", "kto") else "none"
                        yield family, run, Update(method, reference, completion)
    for batch in (1, 2):
        run = train.Run(**SIZES, batch=batch, recompute=batch == 2, trained="lora 8 all-linear fp32")
        for method in ("dpo", "kto"):
            yield "llama", run, Update(method, "adapter")


def recorded(family, run, update):
    """One update: bytes held at each moment and their peak since the one before, without ids."""
    fields = train_cases.with_depth(train_cases.FAMILIES[family], 2)
    moments = step(fields, run, update)
    ids = 8 * run.sequence * run.batch * (2 if update.method in ("dpo", "orpo") else 1)
    used = {name: moments[name] for name in USED if name in moments}
    if update.reference == "adapter":  # the same model is asked twice: the marks within are the reference's
        within = ("layers forward", "head forward", "reference")
        used["reference"] = {**used["reference"], "peak": max(moments[name]["peak"] for name in within)}
    return {
        "config": fields,
        "run": run.stated(),
        "update": vars(update),
        "moments": {name: [at["held"] - ids, at["peak"] - ids] for name, at in used.items()},
    }


def main():
    """Write the file."""
    versions = {name: version(name) for name in ("torch", "transformers", "peft")}
    steps = ",\n".join(json.dumps(recorded(*case)) for case in cases())
    RECORDED.write_text(
        f'{{"versions": {json.dumps(versions)},\n"steps": [\n{steps}\n]}}\n', encoding="utf-8"
    )


if __name__ == "__main__":
    main()
