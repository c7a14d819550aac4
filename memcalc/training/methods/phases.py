"""The lines of all models and of the engine, at the moments of each phase."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from memcalc.data.constants import TRAINING_CUDA_CONTEXT
from memcalc.ledger.budget import Line
from memcalc.training.autograd.base import everything_trained
from memcalc.training.methods.forward import forward_pass
from memcalc.training.methods.losses import LOG_PROBABILITIES, logits_of_loss
from memcalc.training.methods.others import frozen_line
from memcalc.training.methods.setup import ENGINES
from memcalc.training.plan import PHASES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from memcalc.training.estimate import StageEstimate
    from memcalc.training.methods.rollout import Rollout
    from memcalc.training.methods.setup import Setup
    from memcalc.training.plan import TrainingPlan

__all__ = ["LOG_PROBS", "ROLLOUT", "Parts", "Timeline", "lines_by_model", "timeline_of"]

ROLLOUT, LOG_PROBS, REWARDS, UPDATE, CRITIC = PHASES
RESERVE = "allocator reserve"
TOKENS = 32  # vectors of 4 bytes a token that an objective may hold at once: ratios, advantages, masks


class Parts(NamedTuple):
    """The plans and estimates that a method is composed of; None where it has no such model."""

    policy: TrainingPlan
    stage: StageEstimate
    reward: TrainingPlan | None
    critic: TrainingPlan | None
    critic_stage: StageEstimate | None
    rollout: Rollout


class Timeline(NamedTuple):
    """The phases in their order, each with its moments."""

    phases: dict[str, tuple[str, ...]]

    @property
    def moments(self) -> tuple[str, ...]:
        """All moments in order."""
        return tuple(moment for moments in self.phases.values() for moment in moments)

    def of(self, *names: str) -> tuple[str, ...]:
        """Return the moments of some phases."""
        return tuple(moment for name in names for moment in self.phases.get(name, ()))


def timeline_of(plan: TrainingPlan, setup: Setup) -> Timeline:
    """Return the phases of a method.

    Answers are generated, then scored, then learnt from; preferences are given, and the reference answers
    within the step, while the policy's activations are there.
    """
    compares = setup.reference in ("copy", "adapter")
    phases: dict[str, tuple[str, ...]] = {}
    if setup.is_rewarded:
        if setup.engine is not None:
            phases[ROLLOUT] = (ROLLOUT,)
        if compares or setup.method == "ppo" or setup.engine != "transformers" or lags(plan, setup):
            phases[LOG_PROBS] = (LOG_PROBS,)
        if scores(plan):
            phases[REWARDS] = (REWARDS,)
        phases[UPDATE] = plan.moments
        if setup.method == "ppo":
            phases[CRITIC] = tuple(f"critic_{moment}" for moment in plan.moments)
    elif compares:
        phases = {LOG_PROBS: (LOG_PROBS,), UPDATE: plan.moments}
    else:
        phases = {UPDATE: (LOG_PROBS, *plan.moments)}
    return Timeline(phases)


def lags(plan: TrainingPlan, setup: Setup) -> bool:
    """Say whether the policy takes optimizer steps between generating answers and learning from the last.

    Then TRL's GRPO computes log-probabilities of the policy that generated them, whatever generates.
    Source: huggingface/trl f2cd577, grpo_trainer.py, _generate_and_score_completions; one iteration.
    """
    return plan.options.accumulate * int(plan.micro_batch.batch) % setup.generations != 0


def scores(plan: TrainingPlan) -> bool:
    """Say whether a model scores answers on these devices."""
    asked = plan.options
    return asked.reward_model != "none" and (asked.method == "ppo" or asked.reward_model is not None)


def lines_by_model(parts: Parts, setup: Setup, time: Timeline) -> dict[str, list[Line]]:
    """Return the lines of the device by the model that they belong to; ``process`` has what all share."""
    plan = parts.policy
    found = {"policy": [*policy_lines(parts, setup, time), objective_line(plan, time)]}
    if setup.reference == "copy":
        own = time.of(LOG_PROBS) if "reference" in setup.offloaded else time.moments
        found["reference"] = [frozen_line(plan, "reference", own)]
    whose = "reference" if "reference" in found else "policy"
    found[whose] += asked_lines(plan, setup, time, whose)
    if parts.reward is not None:
        own = time.of(REWARDS) if "reward" in setup.offloaded else time.moments
        found["reward"] = [frozen_line(parts.reward, "reward model", own)]
    if parts.critic is not None and parts.critic_stage is not None:
        found["critic"] = list(critic_lines(parts.critic, parts.critic_stage, setup, time))
    scored = [one for one in (parts.reward, parts.critic) if one is not None]
    if scored and time.of(REWARDS):
        passes = [forward_pass(one, setup.logprob_batch) for one in scored]
        name = "critic" if parts.reward is None else "reward"
        most = max(one.peak for one in passes)
        words = f"{name}: forward pass without gradients"
        found[name].append(passing(words, most, max(one.open for one in passes), time.of(REWARDS)))
    engine = list(engine_lines(parts.rollout, time))
    if engine:
        whose = "policy" if setup.engine == "transformers" else "engine"
        found[whose] = [*found.get(whose, ()), *engine]
    found["process"] = [line for line in parts.stage.device.lines if is_process(line)]
    found["process"] += doubts(parts, setup)
    if parts.critic_stage is not None:
        found["policy"].append(update_at_once(plan, parts.critic_stage))
    return found


def doubts(parts: Parts, setup: Setup) -> Iterator[Line]:
    """Yield what other processes hold, where each model has one of its own, and the critic's own doubts.

    verl runs an engine beside the models, OpenRLHF each model in a process of its own; TRL all in one.
    """
    models = sum(one is not None for one in (parts.reward, parts.critic))
    others = models + (setup.reference == "copy") + (setup.engine in ENGINES)
    if others and setup.is_rewarded:
        context = TRAINING_CUDA_CONTEXT
        yield Line(
            "runtime",
            "contexts of other processes",
            0,
            evidence="measured",
            source=f"{context.source}, {context.date}",
            low=0,
            high=others * context.typical,
        )
    for line in () if parts.critic_stage is None else parts.critic_stage.device.lines:
        if is_process(line) and line.bytes == 0:  # a range about nothing: buckets, imbalance
            yield line._replace(name=f"critic: {line.name}")


def update_at_once(plan: TrainingPlan, stage: StageEstimate) -> Line:
    """Return what the critic adds to the policy's update in TRL's PPO, which runs both at once."""
    lines = [line for line in stage.device.lines if line.component != "runtime"]
    lasting = sum(line.bytes for line in lines if set(plan.moments) <= set(line.moments))
    high = stage.allocated_bytes - lasting
    source = "huggingface/trl f2cd577, trl/experimental/ppo/ppo_trainer.py: PolicyAndValueWrapper"
    line = Line("activations", "the critic's, where both are updated at once", 0, moments=plan.moments)
    return line._replace(evidence="assumed", source=source, low=0, high=high)


def is_process(line: Line) -> bool:
    """Say whether a line belongs to the process: contexts and doubts; the reserve is that of phases."""
    return line.component == "runtime" and line.name != RESERVE


def passing(name: str, size: int, on_top: int, moments: tuple[str, ...]) -> Line:
    """Return a line of what lives for a moment, with what may come on top."""
    high = size + on_top if on_top else None
    evidence = "measured" if on_top else "exact"
    return Line("temporaries", name, size, moments=moments, evidence=evidence, low=high and size, high=high)


# ---- the policy --------------------------------------------------------------------------------------------


def policy_lines(parts: Parts, setup: Setup, time: Timeline) -> Iterator[Line]:
    """Yield the lines of the policy's update, each at the moments of other phases, too, if it lives then."""
    plan = parts.policy
    logits = logits_of_loss(plan, setup.method, setup.answer)
    for line in parts.stage.device.lines:
        if line.component == "runtime" or line.name == "labels" or is_loss(line):
            continue
        yield line._replace(moments=policy_moments(line, plan, setup, time))
    end, loss = plan.moments[:2]
    compared = () if setup.is_rewarded else (LOG_PROBS,)
    name, how, source = LOG_PROBABILITIES.id, LOG_PROBABILITIES.note, LOG_PROBABILITIES.source
    kept, back = f"{name}: kept", f"{name}: at most, running backwards"
    for words, moments, low, size, high in (
        (kept, (*compared, end), logits.kept, logits.kept, logits.high_kept),
        (back, (loss,), logits.low_back, logits.back, logits.high_back),
    ):
        line = Line("logits", words, size, formula=how, moments=moments, source=source)
        yield line._replace(evidence="measured", low=low, high=high)
    wide = logits.kept >= logits.made  # the loss keeps the logits themselves
    if compared and not wide:
        yield Line("logits", "returned, and held until the loss is", logits.made, moments=compared)


def is_loss(line: Line) -> bool:
    """Say whether a line is of the loss that stands in for one of log-probabilities."""
    return line.component == "logits" and line.name.startswith(f"{LOG_PROBABILITIES.id}:")


def policy_moments(line: Line, plan: TrainingPlan, setup: Setup, time: Timeline) -> tuple[str, ...]:
    """Return when a line of the policy lives: states always, unless they leave the device between phases."""
    lasting = set(plan.moments) <= set(line.moments)
    passing_away = line.component == "gradients" and not keeps_gradients(plan) and line.name != "DDP buckets"
    if lasting and not passing_away:
        if "optimizer" in setup.offloaded and line.component in ("optimizer", "master"):
            return plan.moments
        if "parameters" in setup.offloaded and line.component == "weights":
            generates = (ROLLOUT,) if setup.engine == "transformers" else ()
            return time.of(*generates, LOG_PROBS, UPDATE)
        return time.moments
    forward = plan.moments[0] in line.moments
    if forward and (line.component == "gathered" or not setup.is_rewarded):
        return (*time.of(LOG_PROBS)[:1], *line.moments) if LOG_PROBS in time.moments else line.moments
    return line.moments


def keeps_gradients(plan: TrainingPlan) -> bool:
    """Say whether gradients outlive the step: zeroed, and not freed."""
    return plan.options.keep_gradients or plan.implementation.gradients is not None


def objective_line(plan: TrainingPlan, time: Timeline) -> Line:
    """Return the numbers of the objective, a few for each token: how many at once is the trainer's."""
    micro = plan.micro_batch
    most = 4 * TOKENS * micro.batch * micro.seq
    return Line(
        "activations",
        "numbers of the objective, one for each token",
        0,
        moments=time.of(UPDATE),
        evidence="assumed",
        source=f"up to {TOKENS} vectors of 32 bits",
        low=0,
        high=most,
    )


# ---- who is asked for log-probabilities --------------------------------------------------------------------


def asked_lines(plan: TrainingPlan, setup: Setup, time: Timeline, whose: str) -> Iterator[Line]:
    """Yield what answering for log-probabilities without gradients holds, of reference or policy."""
    if LOG_PROBS not in time.moments:
        return
    rewarded = setup.is_rewarded
    rows = setup.logprob_batch if rewarded else plan.micro_batch.batch
    sized = replace(plan, micro_batch=replace(plan.micro_batch, batch=rows))
    logits = logits_of_loss(sized, setup.method, setup.answer)
    shown = logits.row * (rows // 2) if setup.method == "dpo" else 0  # those of chosen answers, for a mean
    if not rewarded and setup.reference not in ("copy", "adapter"):
        if shown:
            yield Line("temporaries", "logits of chosen answers, copied", shown, moments=(LOG_PROBS,))
        return
    asked = plan
    if whose == "reference":  # a copy's weights ask for gradients, though none is computed
        asked = replace(plan, micro_batch=replace(plan.micro_batch, trained=everything_trained))
    run = forward_pass(asked, rows, plan.micro_batch.head_tokens, adapted=whose == "policy" and rewarded)
    wide = logits.kept >= logits.made
    of_rows = logits.row * (1 if wide else min(2, rows))
    prefix = "" if whose == "policy" else f"{whose}: "
    beside = max(run.peak - run.logits, of_rows, shown)
    copies = 0 if wide else 2 * run.logits  # where a trainer makes them 32 bits wide
    yield Line("logits", f"{prefix}logits without gradients", run.logits, moments=(LOG_PROBS,))
    yield passing(f"{prefix}forward pass without gradients", beside, run.open + copies, (LOG_PROBS,))


# ---- critic and engine -------------------------------------------------------------------------------------


def critic_lines(plan: TrainingPlan, stage: StageEstimate, setup: Setup, time: Timeline) -> Iterator[Line]:
    """Yield the lines of the critic's own update; its states live through all phases."""
    own = time.of(CRITIC)
    moved = dict(zip(plan.moments, own, strict=True))
    for line in stage.device.lines:
        if line.component == "runtime":
            continue
        lasting = set(plan.moments) <= set(line.moments)
        here = tuple(moved[moment] for moment in line.moments)
        if lasting and not (line.component == "gradients" and not keeps_gradients(plan)):
            states = line.component in ("optimizer", "master", "weights")
            here = (*time.of(REWARDS), *own) if states and "critic" in setup.offloaded else time.moments
        if line.name == "library workspaces":
            continue  # the policy's own
        yield line._replace(name=f"critic: {line.name}", moments=here)


def engine_lines(rollout: Rollout, time: Timeline) -> Iterator[Line]:
    """Yield the engine awake in the rollout, and as it is left in the other phases."""
    others = tuple(moment for moment in time.moments if moment != ROLLOUT)
    if rollout.awake == rollout.asleep:
        yield from at(rollout.awake, time.moments)
        return
    yield from at(rollout.awake, time.of(ROLLOUT))
    yield from at(rollout.asleep, others)


def at(lines: Iterable[Line], moments: tuple[str, ...]) -> Iterator[Line]:
    """Yield lines at other moments."""
    for line in lines:
        yield line._replace(moments=moments)
