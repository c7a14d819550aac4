"""An estimate of preferences or rewards: all models, and the engine, on the fullest device, in phases."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, NamedTuple

from memcalc.data.units import Amount, amount, gib
from memcalc.ledger.budget import Line, PoolBudget
from memcalc.training.checks import CHECKS
from memcalc.training.estimate import TrainingEstimate, estimate_stage
from memcalc.training.host import program_lines
from memcalc.training.layer_runs import LayerRuns
from memcalc.training.methods.others import options_of_sft, scored_plan
from memcalc.training.methods.phases import RESERVE, ROLLOUT, Parts, lines_by_model, scores, timeline_of
from memcalc.training.methods.rollout import rollout_of
from memcalc.training.methods.setup import CHECKS_OF_METHODS, policy_plan, setup_of
from memcalc.training.overheads import reserve_line
from memcalc.training.plan import plan_fields, resolve
from memcalc.training.stage import chunks_of, stage_tensors

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from os import PathLike

    from memcalc.files.source import Source
    from memcalc.show.card import Card
    from memcalc.show.explanation import Explanation
    from memcalc.show.remedy import Remedy
    from memcalc.training.estimate import StageEstimate
    from memcalc.training.methods.phases import Timeline
    from memcalc.training.methods.setup import Setup
    from memcalc.training.options import TrainingOptions
    from memcalc.training.plan import TrainingPlan

__all__ = ["MethodEstimate", "Phase", "estimate"]

ENDS = ("least_bytes", "bytes", "most_bytes")
EMPTIED = "trainers empty the allocator's cache between phases (torch.cuda.empty_cache)"


class Phase(NamedTuple):
    """A phase on the fullest device: its moments, its total with its range, and whose the bytes are.

    `components` are those of each model at its fullest moment, and ``process``: context, communicators, what
    the allocator keeps. They add up to the total.
    """

    name: str
    moments: tuple[str, ...]
    fullest: str
    total_bytes: Amount
    low_bytes: Amount
    high_bytes: Amount
    components: Mapping[str, Amount]

    @property
    def fields(self) -> dict[str, object]:
        """All of it by name, as JSON shows it."""
        return {**self._asdict(), "components": dict(self.components)}


class MethodEstimate(TrainingEstimate):
    """How much memory preferences or rewards need: the moments of all phases on one device.

    >>> from memcalc.training import train
    >>> step = train("Qwen/Qwen3-0.6B", seq=1024, method="dpo", regime="pure-bf16")
    >>> step.fullest_phase, [phase.name for phase in step.phases]
    ('log_probs', ['log_probs', 'update'])
    """

    def __init__(
        self,
        plan: TrainingPlan,
        stages: tuple[StageEstimate, ...],
        *,
        setup: Setup,
        phases: tuple[Phase, ...],
        lines: Mapping[str, list[Line]],
        cause: str | None,
    ) -> None:
        super().__init__(plan, stages)
        self.setup, self.phases, self._cause = setup, phases, cause
        self._lines = lines

    def held_by(self, model: str, moment: str) -> dict[str, Amount]:
        """Return what a model, or the engine, holds at a moment, by component.

        Parameters
        ----------
        model : str
            One that a phase has among its components.
        moment : str
            One of `moments`.

        """
        sizes: dict[str, int] = {}
        for line in self._lines.get(model, ()):
            if moment in line.moments:
                sizes[line.component] = sizes.get(line.component, 0) + line.bytes
        return {name: amount(size) for name, size in sizes.items() if size}

    @property
    def moments(self) -> tuple[str, ...]:
        """The moments of all phases, in order."""
        return tuple(moment for phase in self.phases for moment in phase.moments)

    @property
    def fullest_phase(self) -> str:
        """The phase that needs most."""
        return max(self.phases, key=lambda phase: phase.total_bytes).name

    @property
    def card(self) -> Card:
        """What the shell and Jupyter show of it: phases before the verdict."""
        card = super().card
        fact = f"{self.setup.method}: {', '.join(words(self.setup.fields))}"
        return card._replace(facts=(*card.facts, fact), notes=(*phase_notes(self), *card.notes))

    def lacking(self, end: str) -> str | None:
        """Say what is too small: the engine's share, the device or the host; None if nothing is."""
        return self._cause or super().lacking(end)

    @cached_property
    def remedies(self) -> tuple[Remedy, ...]:
        """The smallest changes, three at most, with which it fits if it does not, or may not."""
        if self.verdict in (None, "fits"):
            return ()
        from memcalc.training.methods.remedies import remedies

        return remedies(self.plan, self.setup, partial(estimate, self.plan.source))

    def changed(self, source: Source, options: Mapping[str, Any]) -> TrainingEstimate:
        """Return the same asked again of a source, with some options in another way.

        Parameters
        ----------
        source : Source
            The model: the plan's own, or another.
        options : mapping of str to object
            What is asked for in another way, by name.

        """
        return estimate(source, replace(self.plan.asked, **options))

    @property
    def settings(self) -> dict[str, object]:
        """Every option by name, with what was left open filled in."""
        return {**plan_fields(self.plan), **self.setup.fields}

    @property
    def defaults(self) -> tuple[str, ...]:
        """What was chosen where an option was left open, in words."""
        given = vars(self.plan.asked)
        left = {name: value for name, value in self.setup.fields.items() if given[name] is None}
        return (*self.plan.defaults, *words(left))

    @property
    def phase_fields(self) -> dict[str, object]:
        """The phases as JSON shows them, and the one that needs most."""
        return {"phases": [phase.fields for phase in self.phases], "fullest_phase": self.fullest_phase}

    @property
    def explanation(self) -> Explanation:
        """Where its numbers come from: the lines of the device, and of the host."""
        from memcalc.show.explanation import Explanation
        from memcalc.show.steps import pool_section

        card, stage = self.card, self.stage
        sections = [pool_section(card.pools[0][0], stage.device, None)]
        if stage.host is not None:
            sections.append(pool_section("one rank's part of the host's memory", stage.host, None))
        return Explanation(
            "train",
            card.title,
            sections,
            model=self.model.name,
            defaults=self.defaults,
            facts=card.facts,
            conclusion=card.notes,
            answer=stage.device.total_bytes,
            said=f"{self.fullest_phase} is the fullest phase, and the fullest device holds {{}} bytes in all",
        )

    @property
    def assumed(self) -> tuple[str, ...]:
        """What no plan can say, and what was taken for it."""
        return (*super().assumed, *assumptions(self.setup, self.plan))


def estimate(source: str | PathLike[str] | Source, options: TrainingOptions) -> TrainingEstimate:
    """Return the estimate of a method that has more models than one.

    Parameters
    ----------
    source : str, path or Source
        The policy.
    options : TrainingOptions
        What is asked for; `method` is any but ``sft``.

    Raises
    ------
    BadInputError
        A number that cannot be, or a plan that is not modelled.
    UnknownNameError
        A name without a record.

    """
    asked = resolve(source, options, (*CHECKS, *CHECKS_OF_METHODS))
    setup = setup_of(asked)
    plan = policy_plan(asked, setup)
    parts, time = parts_of(plan, setup), timeline_of(plan, setup)
    lines = lines_by_model(parts, setup, time)
    phases, device = composed(plan, lines, time)
    stage = parts.stage._replace(device=device, host=host_of(plan, parts, setup))
    return MethodEstimate(plan, (stage,), setup=setup, phases=phases, lines=lines, cause=parts.rollout.cause)


def parts_of(plan: TrainingPlan, setup: Setup) -> Parts:
    """Return the plans and estimates that a method is composed of."""
    asked = plan.options
    options = replace(options_of_sft(asked), quantize_base=plan.asked.quantize_base)
    reward = critic = of_critic = None
    if scores(plan):
        reward = scored_plan(asked.reward_model or plan.source, options, "reward")
    if setup.method == "ppo":
        critic = scored_plan(asked.critic or plan.source, options, "critic")
        of_critic = stage_of(critic)
    return Parts(plan, stage_of(plan), reward, critic, of_critic, rollout_of(plan, setup))


def stage_of(plan: TrainingPlan) -> StageEstimate:
    """Return the one stage of a plan without a pipeline."""
    return estimate_stage(plan, stage_tensors(plan, 0, chunks_of(plan)[0], LayerRuns(plan)))


# ---- phases ------------------------------------------------------------------------------------------------


def composed(
    plan: TrainingPlan, lines: Mapping[str, list[Line]], time: Timeline
) -> tuple[tuple[Phase, ...], PoolBudget]:
    """Return the phases, and the device with all of their moments.

    What the allocator keeps beyond what is held is that of a phase: between phases trainers give it back.
    """
    machine = plan.machine
    capacity = None if machine is None else machine.device.capacity_bytes
    every = tuple(line for of_model in lines.values() for line in of_model)
    whole = PoolBudget(
        "gpu",
        plan.parallelism.world,
        capacity_bytes=capacity,
        usable_bytes=capacity,
        lines=every,
        moment_names=time.moments,
    )
    kept = {
        moment: reserve
        for name, moments in time.phases.items()
        for reserve in [reserve_of(whole, lines, time, name, plan.options.allocator)]
        for moment in moments
    }
    device = PhasedBudget(whole, every, kept)
    return tuple(phase_of(device, lines, name, at) for name, at in time.phases.items()), device


class PhasedBudget(PoolBudget):
    """A device whose allocator keeps something else in each phase: `kept` has it by moment.

    Among the lines is what it keeps at the fullest moment.
    """

    def __init__(self, whole: PoolBudget, lines: tuple[Line, ...], kept: Mapping[str, Line]) -> None:
        super().__init__(
            whole.name,
            whole.devices,
            capacity_bytes=whole.capacity_bytes,
            usable_bytes=whole.usable_bytes,
            lines=tuple(line for line in lines if line.name != RESERVE),
            moment_names=whole.moment_names,
        )
        self.kept = kept
        self.lines += (kept[self.fullest],) if kept[self.fullest].most_bytes else ()

    def holding(self, lines: tuple[Line, ...]) -> PoolBudget:
        """Return the same device with other lines."""
        return PhasedBudget(self, lines, self.kept)

    @cached_property
    def fullest(self) -> str:
        """The moment at which most is held, with what the allocator keeps in its phase."""
        return max(self.moment_names, key=lambda moment: self.moments[moment] + self.kept[moment].bytes)

    def held(self, end: str) -> tuple[int, int]:
        """Return the most that the device holds at a moment, with lines at one end."""
        most = max(self.held_at(moment, end) for moment in self.moment_names)
        return most, most

    def held_at(self, moment: str, end: str) -> int:
        """Return what the device holds at a moment, with lines at one end."""
        there = (line for line in self.lines if line.component == "runtime" or moment in line.moments)
        others: int = sum(getattr(line, end) for line in there if line.name != RESERVE)
        kept: int = getattr(self.kept[moment], end)
        return others + kept


def reserve_of(
    whole: PoolBudget, lines: Mapping[str, list[Line]], time: Timeline, name: str, allocator: str
) -> Line:
    """Return what the allocator keeps in a phase beyond what is held: the engine's memory is not its own.

    Where nothing is generated all phases lie within one step, and share what is kept.
    """
    moments = time.phases[name] if ROLLOUT in time.phases or len(time.phases) > 2 else time.moments
    if ROLLOUT in moments and "engine" in lines:
        return Line("runtime", RESERVE, 0)
    own = [line for name, of_model in lines.items() if name != "engine" for line in of_model]
    beside = max((held_by(lines.get("engine", []), moment) for moment in moments), default=0)
    capacity = whole.capacity_bytes
    trimmed = tuple(
        line._replace(moments=tuple(one for one in line.moments if one in moments))
        for line in own
        if line.component == "runtime" or set(line.moments) & set(moments)
    )
    room = None if capacity is None else capacity - beside
    alone = PoolBudget("gpu", 1, capacity_bytes=room, usable_bytes=room, lines=trimmed, moment_names=moments)
    line = reserve_line(alone, allocator)
    return line._replace(source=f"{line.source}; {EMPTIED}")


def held_by(lines: list[Line], moment: str) -> int:
    """Return the bytes of lines at a moment."""
    return sum(line.bytes for line in lines if moment in line.moments)


def phase_of(
    device: PhasedBudget, lines: Mapping[str, list[Line]], name: str, moments: tuple[str, ...]
) -> Phase:
    """Return a phase with whose its bytes are at its fullest moment."""
    fullest = max(moments, key=lambda moment: device.moments[moment])
    sizes = {model: held_by(of_model, fullest) for model, of_model in lines.items() if model != "process"}
    low, total, high = (max(device.held_at(moment, end) for moment in moments) for end in ENDS)
    process = total - sum(sizes.values())
    components = {model: amount(size) for model, size in sizes.items() if size} | {"process": amount(process)}
    return Phase(name, moments, fullest, Amount(total), Amount(low), Amount(high), components)


def host_of(plan: TrainingPlan, parts: Parts, setup: Setup) -> PoolBudget | None:
    """Return one rank's part of the host's memory: what is offloaded within a step, and between phases."""
    host = parts.stage.host
    lines = [] if host is None else [line for line in host.lines if line.component != "runtime"]
    lines += [line._replace(name=f"between phases: {line.name}") for line in leaving(parts, setup)]
    if parts.rollout.host:
        words = "engine: weights while it sleeps"
        lines.append(Line("weights", words, parts.rollout.host, moments=plan.moments[:1]))
    if not lines:
        return None
    lines += program_lines(plan, lines)
    room = None if plan.machine is None else plan.machine.host_bytes
    moments = plan.moments
    return PoolBudget(
        "host", 1, capacity_bytes=room, usable_bytes=room, lines=tuple(lines), moment_names=moments
    )


def leaving(parts: Parts, setup: Setup) -> Iterator[Line]:
    """Yield what lies in the host's memory but in its own phase, all of it at once at most."""
    plan = parts.policy
    at = plan.moments[:1]
    for line in parts.stage.device.lines:
        states = "optimizer" in setup.offloaded and line.component in ("optimizer", "master")
        if states or ("parameters" in setup.offloaded and line.component == "weights"):
            yield line._replace(moments=at)
    from memcalc.training.methods.others import frozen_line

    if "reference" in setup.offloaded and setup.reference == "copy":
        yield frozen_line(plan, "reference", at)
    if "reward" in setup.offloaded and parts.reward is not None:
        yield frozen_line(parts.reward, "reward model", at)
    if "critic" in setup.offloaded and parts.critic_stage is not None:
        for line in parts.critic_stage.device.lines:
            if line.component in ("optimizer", "master", "weights"):
                yield line._replace(name=f"critic: {line.name}", moments=at)


# ---- words -------------------------------------------------------------------------------------------------


def words(fields: Mapping[str, object]) -> Iterator[str]:
    """Yield options with their values in words, those that have one."""
    return (f"{name.replace('_', ' ')} {value}" for name, value in fields.items() if value is not None)


def phase_notes(step: MethodEstimate) -> Iterator[str]:
    """Yield a line for each phase, the fullest one marked."""
    for phase in step.phases:
        parts = ", ".join(f"{model} {gib(size)}" for model, size in phase.components.items())
        most = "  <- fullest phase" if phase.name == step.fullest_phase else ""
        yield f"phase {phase.name}: {gib(phase.total_bytes)} ({parts}){most}"


def assumptions(setup: Setup, plan: TrainingPlan) -> Iterator[str]:
    """Yield what was taken for what no plan says."""
    yield "log-probs as TRL 1.10 computes them, a sequence at a time"
    if setup.method == "ppo":
        yield "policy and critic are updated one after the other (OpenRLHF, verl)"
        if plan.options.critic is None:
            yield "the critic has the policy's shape, with one output"
    if setup.method == "ppo" and plan.options.reward_model is None:
        yield "the reward model has the policy's shape, with one output"
    if setup.is_rewarded and setup.engine is None:
        yield "answers are generated on other devices"
