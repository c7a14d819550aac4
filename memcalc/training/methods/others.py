"""Models beside the policy: a frozen reference, a reward model, and a critic, which is trained as well."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from memcalc.files.sources import source as find_source
from memcalc.ledger.budget import Line
from memcalc.ledger.parts import Embedding
from memcalc.training.checkpoints import own_base
from memcalc.training.checks import OF_CHECKPOINTS
from memcalc.training.plan import EMBEDDING, resolve
from memcalc.training.weights import shared_bytes, weight_shards

if TYPE_CHECKING:
    from os import PathLike

    from memcalc.files.source import Source
    from memcalc.ledger.model import Model
    from memcalc.training.options import TrainingOptions
    from memcalc.training.plan import TrainingPlan

__all__ = ["frozen_line", "scored_plan"]

AS_LOADED = (
    "as wide as the policy's: huggingface/trl f2cd577; in 16 bits at least: verl, fsdp/transformer_impl.py"
)


def frozen_line(plan: TrainingPlan, name: str, moments: tuple[str, ...]) -> Line:
    """Return the weights of a model that is not trained, on one rank: TRL loads it as it does the policy."""
    alone = replace(plan, adapters={})
    shards = list(weight_shards(alone, plan.model))
    size = shared_bytes(alone, shards, "bytes", shared=plan.parallelism.shares_weights)
    narrow = plan.widths.weight == 4 and plan.options.quantize_base is None
    buffers = plan.implementation.buffers(plan.model, plan.micro_batch)
    return Line(
        component="weights",
        name=f"{name}: weights",
        bytes=size + buffers,
        count=sum(one.count for one in shards),
        formula="bytes as stored x share",
        moments=moments,
        evidence="measured" if narrow else "exact",
        source=AS_LOADED,
        low=size // 2 + buffers if narrow else None,
        high=size + buffers if narrow else None,
    )


def scored_plan(source: str | PathLike[str] | Source, options: TrainingOptions, role: str) -> TrainingPlan:
    """Return the plan of a model that gives one number for each token: a reward model, a critic.

    A reward model is not trained: of a quantised checkpoint its matrices stay as they are stored.
    """
    found, checks = find_source(source), OF_CHECKPOINTS
    if role == "reward":
        checks = OF_CHECKPOINTS[:1]
        own: Any = own_base(found)
        options = replace(options, quantize_base=own or options.quantize_base)
    plan = resolve(found, options, checks)
    return replace(plan, model=with_one_output(plan.model))


def with_one_output(model: Model) -> Model:
    """Return a model whose head has one row: AutoModelForSequenceClassification with one label."""
    width = dict(model.outside)[EMBEDDING].width  # type: ignore[attr-defined]
    others = tuple(one for one in model.outside if one[0] != "lm_head")
    head = Embedding(vocab=1, width=width, kind="head")
    return replace(model, outside=(*others, ("lm_head", head)), tied=False, headless=False)


def options_of_sft(options: TrainingOptions) -> TrainingOptions:
    """Return options without those of a method: what the model of another role is trained with."""
    return replace(
        options,
        method="sft",
        reference=None,
        reward_model=None,
        critic=None,
        completion_tokens=None,
        num_generations=None,
        logprob_batch=None,
        rollout_engine=None,
        rollout_utilization=None,
        rollout_tp=None,
        sleep_level=None,
        offload_between=(),
    )
