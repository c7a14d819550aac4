"""What generates answers on the devices that train: an engine with its share, or the model itself."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from memcalc.data.constants import TRAINING_ENGINE_ASLEEP
from memcalc.ledger.budget import Line
from memcalc.serving.estimate import estimate as served_by
from memcalc.serving.options import ServingOptions
from memcalc.show.remedy import machine_text
from memcalc.training.methods.forward import forward_pass
from memcalc.training.weights import shared_bytes, weight_shards

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memcalc.serving.estimate import ServingEstimate
    from memcalc.training.methods.setup import Setup
    from memcalc.training.plan import TrainingPlan

__all__ = ["Rollout", "rollout_of"]

TRL = "huggingface/trl f2cd577 (1.10, 2026-07)"
SHARE = "utilization x capacity: vLLM and SGLang take it in advance"


class Rollout(NamedTuple):
    """What generates: its lines while it does, while others run, and its bytes in the host's memory then.

    `cause` says why the engine does not start within its share; None where it does.
    """

    awake: tuple[Line, ...] = ()
    asleep: tuple[Line, ...] = ()
    host: int = 0
    cause: str | None = None


def rollout_of(plan: TrainingPlan, setup: Setup) -> Rollout:
    """Return what generates for a policy."""
    if setup.engine is None:
        return Rollout()
    if setup.engine == "transformers":
        return Rollout(awake=tuple(generated_by_policy(plan, setup)))
    return engine_beside(plan, setup)


def engine_beside(plan: TrainingPlan, setup: Setup) -> Rollout:
    """Return an engine with weights of its own; on a machine it takes its share, else what answers need."""
    on = plan.options.on
    where = on and plan.machine and machine_text(on, plan.machine.device.id, setup.rollout_tp)
    served = served_by(
        plan.source,
        ServingOptions(
            context=plan.options.seq,
            batch=1 if where else setup.generations,
            engine=setup.engine,  # type: ignore[arg-type]
            utilization=setup.utilization,
            tp=setup.rollout_tp,
            engine_options={"max_num_seqs": setup.generations} if setup.engine == "vllm" else (),
            on=where or None,
        ),
    )
    of_policy = shared_bytes(
        plan, weight_shards(plan, plan.model), "bytes", shared=plan.parallelism.shares_weights
    )
    awake = tuple(share_lines(served, of_policy) if where else need_lines(served))
    low, typical, high, source, date = TRAINING_ENGINE_ASLEEP
    left = Line(
        component="workspace",
        name="engine: asleep",
        bytes=typical,
        evidence="measured",
        source=f"{source}, {date}",
        low=low,
        high=high,
    )
    weights = sum(line.bytes for line in served.device.lines if line.component == "weights")
    cause = served.cause if served.verdict == "does_not_fit" else None
    return Rollout(
        awake=awake,
        asleep=(left,) if setup.sleep else awake,
        host=weights if setup.sleep == 1 else 0,
        cause=cause and f"the engine's share is too small: {cause}",
    )


def share_lines(served: ServingEstimate, of_policy: int) -> Iterator[Line]:
    """Yield the engine's share: weights, what its passes need, and the pool that takes the rest.

    SGLang's share is one of what is free when it starts: at the least without the policy's weights.
    """
    held = served.device.at_fullest
    inside = [line for line in held if not line.outside and line.component not in ("kv_cache", "state")]
    weights = sum(line.bytes for line in inside if line.component == "weights")
    passes = sum(line.bytes for line in inside if line.component != "weights")
    usable = served.usable_bytes or 0
    yield Line(component="weights", name="engine: weights", bytes=weights)
    words = "engine: activations, graphs and context within its share"
    yield Line(component="activations", name=words, bytes=passes, evidence="measured", source=SHARE)
    pool = max(0, usable - weights - passes)
    above, below = served.plan.share
    fewer = max(0, pool - of_policy * above // below) if served.engine.shares_free else None
    yield Line(
        component="kv_cache",
        name="engine: pool for the KV cache, what its share leaves",
        bytes=pool,
        formula="share - weights - passes",
        evidence="exact" if fewer is None else "measured",
        source=SHARE,
        low=fewer,
        high=None if fewer is None else pool,
    )
    for line in held:
        if line.outside:
            yield line._replace(component="workspace", name=f"engine: {line.name}", outside=False, moments=())


def need_lines(served: ServingEstimate) -> Iterator[Line]:
    """Yield what answers need where no machine says how large a share is."""
    for line in served.device.at_fullest:
        component = "workspace" if line.component == "runtime" else line.component
        yield line._replace(component=component, name=f"engine: {line.name}", outside=False, moments=())


def frozen_copy(plan: TrainingPlan) -> int:
    """Return the bytes of the largest frozen matrix that autocast copies: each for its own product alone."""
    micro = plan.micro_batch
    if not micro.copies_matrices:
        return 0
    frozen = (one for one in plan.model.weights() if not micro.trained(one.name.removesuffix(".weight")))
    return max((2 * one.each for one in frozen if len(one.shape) > 1), default=0)


def generated_by_policy(plan: TrainingPlan, setup: Setup) -> Iterator[Line]:
    """Yield what the policy itself needs to generate, by transformers: cache, passes, gathered weights.

    Source: huggingface/trl f2cd577, models/utils.py: unwrap_model_for_generation gathers all parameters.
    """
    seq, answer = plan.options.seq, setup.answer
    served = served_by(
        plan.source,
        ServingOptions(
            context=seq,
            prompt=None if answer is None else seq - answer,
            batch=setup.generations,
            engine="transformers",
        ),
    )
    for line in served.device.at_fullest:
        if line.component in ("kv_cache", "state", "activations"):
            yield line._replace(moments=())
    if plan.parallelism.shares_weights and plan.parallelism.states_ranks > 1:
        unshared = replace(plan, parallelism=plan.parallelism._replace(shard=0))
        shards = list(weight_shards(plan, plan.model))
        whole = sum(one.bytes for one in weight_shards(unshared, plan.model))
        mine = shared_bytes(plan, shards, "bytes", shared=True)
        source = f"{TRL}, trl/models/utils.py: unwrap_model_for_generation"
        yield Line("gathered", "the whole policy", whole - mine, source=source)
    copies = forward_pass(plan, 1, adapted=True).copies
    if copies:
        yield Line("temporaries", "copies of the weights in 16 bits", copies)
    frozen = frozen_copy(plan)
    if frozen:
        yield Line("temporaries", "a frozen matrix in 16 bits, one at a time", frozen)
    if setup.method == "ppo":
        numbers = setup.generations * (seq if answer is None else answer) * (plan.model.logits_width or 0)
        source = f"{TRL}, trl/experimental/ppo/ppo_trainer.py: batch_generation; a stack of them is a copy"
        name = "scores of all generated tokens"
        yield Line("logits", name, 4 * numbers, numbers, "4 B each", source=source, high=8 * numbers)
