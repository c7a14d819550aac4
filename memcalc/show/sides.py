"""A plan as it stands beside others: what it was asked, what it holds where, and the lines of that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from memcalc.ledger.model import Model, cache_growth
from memcalc.show.explain import explain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memcalc.ledger.budget import PoolBudget
    from memcalc.show.explanation import Explanation
    from memcalc.show.steps import Step

__all__ = ["HOST", "ON_DEVICE", "Side", "device_names", "flat", "held_at", "labels_of", "pools_of", "side_of"]

HOST = "host "  # stands before the components of the host's memory
ON_DEVICE = "total on "  # stands before the name of a device, where a plan has unequal ones


class Side(NamedTuple):
    """One plan: what it was asked, what it holds, and the lines of that.

    `rows` are bytes by component at the fullest moment, those of the host's memory behind; of a model its
    counts. `options` are all options with what was left open filled in, `asked` the names of those given.
    `pools` are the memories by name, of unequal devices with the device's `labels`; `pool` is the one that
    decides, and `answer` what was compared.
    """

    kind: str
    title: str
    explanation: Explanation
    model: str
    options: dict[str, object]
    asked: frozenset[str]
    rows: dict[str, int]
    pool: str
    moment: str
    total: int
    unit: str
    answer: Any
    pools: dict[str, PoolBudget]
    labels: dict[str, str]
    verdict: str | None = None
    cause: str | None = None
    max_context: int | None = None
    max_batch: int | None = None

    @property
    def deciding(self) -> PoolBudget | None:
        """The budget of the device that decides; None of a model."""
        return self.pools.get(self.pool)

    @property
    def at(self) -> str:
        """The moment of the numbers, and which of several devices or stages holds them."""
        place = self.labels.get(self.pool, "")
        return f"{self.moment} on {place}" if place else self.moment

    @property
    def by_device(self) -> dict[str, PoolBudget]:
        """The budgets by the names of their devices; nothing without a machine."""
        names = device_names(self.answer, self.pools) if self.pools else {}
        return {label: self.pools[name] for name, label in names.items()}

    @property
    def is_unequal(self) -> bool:
        """Whether its devices are of several kinds, each with a budget of its own."""
        return len(self.by_device) > 1

    @property
    def devices(self) -> int:
        """How many devices it has."""
        return sum(pool.devices for name, pool in self.pools.items() if name != "host")

    @property
    def together(self) -> int:
        """What all its devices hold at most: each as much as the fullest of its kind."""
        return sum(
            pool.devices * int(pool.total_bytes) for name, pool in self.pools.items() if name != "host"
        )

    def with_device_named(self) -> Side:
        """Return the same with its device named, as it is beside a plan on unequal devices."""
        names = device_names(self.answer, self.pools)
        return self._replace(labels=names | self.labels)

    def place(self, row: str) -> tuple[str, str]:
        """Return the memory and the moment that the bytes of a component are those of."""
        host = self.pools.get("host")
        return ("host", host.fullest) if row.startswith(HOST) and host else (self.pool, self.moment)

    def steps(self, row: str, place: tuple[str, str]) -> list[Step]:
        """Return the lines of a component at a moment of a memory."""
        pool, moment = place
        name = row.removeprefix(HOST)
        return [
            step
            for section in self.explanation.sections
            if section.pool and section.pool == pool
            for step in section.steps
            if step.component == name and (not step.moments or moment in step.moments or name == "runtime")
        ]


def held_at(pool: PoolBudget, moment: str) -> dict[str, int]:
    """Return the bytes of each component of a memory at a moment, with the runtime, which is always there."""
    found: dict[str, int] = {}
    for line in pool.lines:
        if line.component == "runtime" or moment in line.moments:
            found[line.component] = found.get(line.component, 0) + int(line.bytes)
    return found


def pools_of(answer: Any) -> dict[str, PoolBudget]:
    """Return the memories of a plan by name: of unequal devices each, and the host's where it is used."""
    devices = getattr(answer, "devices", (answer.device,))
    host = () if answer.host is None else (answer.host,)
    return {pool.name: pool for pool in (*devices, *host)}


def device_names(answer: Any, pools: Mapping[str, PoolBudget]) -> dict[str, str]:
    """Return the device of each memory but the host's; nothing without a machine."""
    names, machine = [name for name in pools if name != "host"], answer.plan.machine
    if machine is None:
        return {}
    kinds = machine.kinds if len(names) > 1 else (machine.device,)
    return {name: device.id for name, device in zip(names, kinds, strict=True)}


def labels_of(answer: Any, pools: Mapping[str, PoolBudget]) -> dict[str, str]:
    """Return what tells the devices of a plan apart: of unequal ones the device, of stages the number."""
    names = [name for name in pools if name != "host"]
    if len(names) > 1:
        return device_names(answer, pools)
    stage = getattr(answer, "stage", None)
    return {} if stage is None or answer.plan.parallelism.pp == 1 else {names[0]: f"stage {stage.number}"}


def given_options(plan: Any) -> Any:
    """Return the options of a plan as they were given: a training step has its defaults in `options`."""
    return getattr(plan, "asked", plan.options)


def side_of(answer: Any) -> Side:
    """Return one plan as it stands beside others."""
    said = explain(answer)
    if isinstance(answer, Model):
        return side_of_model(answer, said)
    asked = given_options(answer.plan).asked
    own = flat({"engine_options": dict(asked.get("engine_options", ()))})
    device, host, pools = answer.device, answer.host, pools_of(answer)
    rows = {name: int(size) for name, size in device.components.items()}
    if host is not None:
        rows |= {f"{HOST}{name}": int(size) for name, size in host.components.items()}
    return Side(
        kind=said.kind,
        title=said.title if said.kind == "serve" else f"{said.title}; {said.facts[0]}",
        explanation=said,
        model=said.model,
        options=flat(answer.settings),
        asked=frozenset((*asked, *own)),
        rows=rows,
        pool=device.name,
        moment=device.fullest,
        total=int(device.total_bytes),
        unit="bytes",
        answer=answer,
        pools=pools,
        labels=labels_of(answer, pools),
        verdict=answer.verdict,
        cause=answer.cause,
        max_context=getattr(answer, "max_context", None),
        max_batch=getattr(answer, "max_batch", None),
    )


def side_of_model(model: Model, said: Explanation) -> Side:
    """Return a model as it stands beside others: its counts, and what is cached of tokens."""
    rows = {
        "parameters": model.parameters,
        "active parameters": model.active_parameters,
        "embedding parameters": model.embedding_parameters,
        **{name.replace("_", " "): size for name, size in cache_growth(model).items()},
    }
    return Side(
        kind="model",
        title=said.title,
        explanation=said,
        model=model.name,
        options={"model type": model.model_type, "tied": model.tied, **said.numbers},
        asked=frozenset(),
        rows=rows,
        pool="",
        moment="",
        total=model.parameters,
        unit="parameters",
        answer=model,
        pools={},
        labels={},
    )


def flat(settings: Mapping[str, object]) -> dict[str, object]:
    """Return options with those of an engine one by one, as ``engine_option max_num_seqs``."""
    found: dict[str, object] = {}
    for name, value in settings.items():
        if name in ("engine_options", "engine_option") and isinstance(value, dict):
            found |= {f"engine_option {key}": one for key, one in value.items()}
        else:
            found[name] = value
    return found
