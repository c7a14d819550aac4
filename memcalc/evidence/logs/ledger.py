"""What the ledger says of a figure of a log, and what a difference is likely to come from."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from memcalc.evidence.logs.wordings import TOOLS
from memcalc.evidence.predict_serving import stage_budgets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from memcalc.evidence.logs.reading import Told
    from memcalc.ledger.budget import Line, PoolBudget
    from memcalc.serving.estimate import ServingEstimate
    from memcalc.serving.search import KVPool

__all__ = ["Compared", "Ledger"]

CLOSE = 0.01  # what two decimals of a log and rounding up to blocks come to
STAGE = re.compile(r"(?<![A-Za-z])PP(\d+)(?!\d)")
PROFILED = re.compile(r"^(?!.*snapshot).*non[-_ ]torch")  # of a profile run: a process begins with another
OUTSIDE = r"^outside PyTorch's allocator"
UNCOUNTED = {  # quantities of which the ledger has no figure, and why
    "free": "what is left at that moment: compare the parts",
    "in_use": "what all together hold at that moment: compare the parts",
    "in_use_process": "what a process holds at that moment: compare the parts",
    "total": "the size that the log prints, with which the rest was computed",
    "budget": "the share of the card that the engine may use",
    "utilization": "an option of the plan",
    "estimate": "the engine's own prediction, before it loads anything",
    "projected": "the engine's own projection, before it loads anything",
    "load_peak": "a moment of loading, of which the ledger has none",
    "kv_blocks_gpu": "a number of blocks: the pool's bytes are compared",
    "kv_k": "a part of the cache, which is compared as a whole",
    "kv_v": "a part of the cache, which is compared as a whole",
    "kv_tokens_window": "tokens of the layers with a window: the pool's bytes are compared",
    "kv_needed": "what the longest request needs, where the log's plan has none",
    "max_tokens": "the engine's own conclusion from its pool",
    "state_slots": "a number of slots: the states' bytes are compared",
    "block_tokens": "a rule of the engine's pages",
    "output_buffer": "too small for a line of the ledger",
    "oom_requested": "one allocation: the ledger has what is held for long",
    "oom_capacity": "the size of the card",
}
OF_THE_MOMENT = "what PyTorch held when it failed: compare the ledger's moments"
HOST = "host memory, not on a device"
PROJECTOR = re.compile(r"\balloc_compute_meta: |\bclip_\w+: |\bmtmd_\w+: ")
OF_PROJECTOR = "of a projector (mmproj), which the log's plan does not hold"
UNNAMED = "a total of what devices hold, which the line does not name"
NAME_IT = ": add --on with the card's name"
BY_DEVICE = ("weights", "kv_pool", "kv_indexer", "state", "compute_buffer")  # llama.cpp prints them of each
SPLIT = "a device of several: llama.cpp splits by what is free, which is not derived"
NO_POOL = "the pool is what a card leaves, and the log does not print its size: add --on MACHINE"
WITHIN = "inside the measured range"
SEVERAL = "one of several caches, of which the ledger has the sum"


class Compared(NamedTuple):
    """A figure of the log, what memcalc says of it (None: nothing), and the cause if they differ."""

    told: Told
    ledger: int | float | None
    cause: str

    @property
    def difference(self) -> int | float | None:
        """The log's figure less the ledger's."""
        return None if self.ledger is None else self.told.amount - self.ledger


class Ledger:
    """The estimate of a log's plan, as figures of the log are held against it.

    Parameters
    ----------
    served : ServingEstimate
        The estimate.
    told : tuple of Told
        All figures of the log: where caches have several, none of them is the whole.
    stated : bool
        Whether the machine was stated; else its size is the log's own, and proves nothing.
    capped : bool
        Whether an option limits the pool, which then is not what is left.

    """

    def __init__(
        self, served: ServingEstimate, told: tuple[Told, ...], *, stated: bool, capped: bool = False
    ) -> None:
        self.served, self.stated, self.capped = served, stated, capped
        self.by_gguf = served.engine.reads_gguf
        self.several = several_caches(told)
        self.named = {one.scope for one in told if one.quantity in BY_DEVICE} - {
            "host",
            "all",
            "device",
            "rank",
        }
        self.stages = tuple(stage_budgets(served)) if served.plan.parallelism.pp > 1 else ()

    def beside(self, told: Told) -> Compared:
        """Return a figure beside the ledger's."""
        found = self.of_gguf(told) if self.by_gguf else self.of_rank(told)
        if found is None:
            return Compared(told, None, self.why_not(told))
        return Compared(told, found, self.cause(told, found))

    def why_not(self, told: Told) -> str:
        """Return why the ledger has no such figure."""
        return next(filter(None, self.reasons(told)))

    def reasons(self, told: Told) -> Iterator[str]:
        """Yield each reason in its order, empty where it does not hold; the last always does."""
        of_pool = told.quantity in OF_POOL
        yield HOST if told.scope == "host" else ""
        yield "a card's own figure, whoever holds it: compare the parts" if told.engine in TOOLS else ""
        yield "an option limits the pool" if of_pool and self.capped else ""
        yield SEVERAL if told.quantity == "kv_pool" and told.scope in self.several else ""
        yield NO_POOL if of_pool and not self.by_gguf and self.served.kv_pool is None else ""
        by_stage = of_pool and self.stages and not self.by_gguf
        yield "each pipeline stage has a pool of its own" if by_stage else ""
        yield SEVERAL if of_pool and self.several and not self.by_gguf else ""
        is_of_process = told.quantity == "in_use" and told.engine == "pytorch"
        yield UNCOUNTED["in_use_process"] if is_of_process else ""
        yield UNCOUNTED.get(told.quantity, OF_THE_MOMENT if told.quantity.startswith("oom_") else "")
        if self.by_gguf:
            yield OF_PROJECTOR if PROJECTOR.search(told.text) else ""
            yield UNNAMED if told.scope == "device" else ""
            yield "of all devices and the host: each device's is compared" if told.scope == "all" else ""
            is_graph = told.engine == "ollama" and told.quantity == "compute_buffer"
            yield "ollama's own graph, which is not derived" if is_graph else ""
            yield "" if self.is_alone else SPLIT
        else:
            yield "the line does not say of which pipeline stage" if self.budget(told) is None else ""
            is_early = told.quantity == "non_torch" and not PROFILED.search(told.text)
            yield "before the engine has loaded anything" if is_early else ""
        yield "the ledger has no such line for this plan"

    def of_rank(self, told: Told) -> int | float | None:
        """Return the ledger's figure of an engine of ranks, or None."""
        if told.scope not in ("rank", "all", "device") or told.engine in TOOLS:
            return None
        if told.quantity in OF_POOL:
            return self.of_pool(told)
        if told.quantity == "total":
            return self.served.device.capacity_bytes if self.stated else None
        budget = self.budget(told)
        if budget is None or told.quantity not in OF_A_BUDGET:
            return None
        if told.quantity == "non_torch" and not PROFILED.search(told.text):
            return None
        return OF_A_BUDGET[told.quantity](budget) or None

    def of_pool(self, told: Told) -> int | float | None:
        """Return a figure of the pool that an engine takes; None where stages or caches have one each."""
        pool = self.served.kv_pool
        if pool is None or self.capped or (told.quantity == "kv_pool" and self.stages):
            return None
        if told.quantity != "concurrency" and self.several:
            return None
        return OF_POOL[told.quantity](pool)

    def budget(self, told: Told) -> PoolBudget | None:
        """Return the budget of the stage that a line is from; None where a log of stages does not say."""
        if not self.stages:
            return self.served.device
        stage = STAGE.search(told.text)
        return self.stages[int(stage[1])] if stage and int(stage[1]) < len(self.stages) else None

    def of_gguf(self, told: Told) -> int | None:
        """Return llama.cpp's figure: of all devices together, of the host, or of the only device."""
        of_all = {"kv_pool": "kv_cache", "state": "state"}
        host = () if self.served.host is None else (self.served.host,)
        pools = (*(self.stages or self.served.devices), *host)
        if told.scope == "all" and told.quantity in of_all and told.scope not in self.several:
            return sum(component(pool, of_all[told.quantity]) for pool in pools) or None
        if told.scope in ("all", "host", "device") or not self.is_alone or told.scope in self.several:
            return None
        if PROJECTOR.search(told.text):
            return None
        names = {**of_all, "weights": "weights"}
        if told.quantity in names:
            return component(self.served.device, names[told.quantity]) or None
        if told.quantity == "compute_buffer" and told.engine != "ollama":
            return of_lines(MEASURED["compute_buffer"])(self.served.device) or None
        return None

    @property
    def is_alone(self) -> bool:
        """Whether the plan has one device, and the log names no other."""
        machine = self.served.plan.machine
        is_one = len(self.served.devices) == 1 and (machine is None or machine.count == 1)
        return is_one and len(self.named) < 2

    def cause(self, told: Told, ledger: float) -> str:
        """Return what a difference is likely to come from, or nothing where there is none."""
        if abs(told.amount - ledger) <= max(CLOSE * max(abs(ledger), 1), half_a_digit(told)):
            return ""
        if told.quantity in ("weights", "consumed"):
            return self.cause_of_weights(told)
        if told.quantity in OF_POOL and not self.by_gguf:
            low, high = self.ends(told)
            if low <= told.amount <= high:
                return WITHIN
            return "the pool is what the rest leaves: look at weights, activation and share first"
        if told.quantity in MEASURED:
            low, high = self.measured(told)
            return WITHIN if low <= told.amount <= high else "measured on other machines, not derived"
        return "another context, format or parallelism than the log's plan says"

    def cause_of_weights(self, told: Told) -> str:
        """Return why weights differ: kernels of some cards want them padded, else they are others."""
        form, budget = self.served.plan.weights, self.budget(told) or self.served.device
        lines = [line for line in budget.lines if line.component == "weights"]
        low, high = sum(line.least_bytes for line in lines), sum(line.most_bytes for line in lines)
        if low == high:
            return f"weights as {form} assumed: another format, another model or another parallelism"
        padded = f"weights as {form}, padded as the card's kernels want it"
        return WITHIN if low <= told.amount <= high else padded + ("" if self.stated else NAME_IT)

    def measured(self, told: Told) -> tuple[float, float]:
        """Return the ends of the range of what was measured on other machines."""
        budget = self.budget(told) or self.served.device
        lines = [line for line in budget.lines if MEASURED[told.quantity](line)]
        return sum(line.least_bytes for line in lines), sum(line.most_bytes for line in lines)

    def ends(self, told: Told) -> tuple[float, float]:
        """Return the ends of a pool's range in the unit of a figure."""
        pool = self.served.kv_pool
        if pool is None:
            return (0, 0)
        if told.quantity == "kv_pool":
            return pool.low_bytes, pool.high_bytes
        whole: float = self.served.plan.context if told.quantity == "concurrency" else 1
        if pool.tokens:  # requests of a model with windows take fewer tokens than their context
            whole = pool.tokens / (OF_POOL[told.quantity](pool) or 1)
        return pool.low_tokens / whole, pool.high_tokens / whole


def half_a_digit(told: Told) -> float:
    """Return what rounding to the last printed digit can come to, in bytes: ollama prints 1.1 GiB of 1.125.

    >>> from memcalc.evidence.logs.reading import read
    >>> [round(half_a_digit(one) / 2**20) for one in read('msg="kv cache" device=CUDA0 size="1.1 GiB"').told]
    [51]
    """
    number = re.search(r"[\d,]+(?:\.(\d+))?", told.printed)
    if number is None or told.is_count or not (value := float(number[0].replace(",", ""))):
        return 0.0
    parts = len(re.findall(r"\d[\d,.]*", told.printed))
    unit = told.amount / value if parts == 1 else 2**30  # keys and values are printed apart, in GiB
    return parts * 0.5 * 10.0 ** -len(number[1] or "") * abs(unit)


def several_caches(told: tuple[Told, ...]) -> frozenset[str]:
    """Return the scopes in which a log tells of more than one cache: of layers with a window, of a draft.

    Ranks print the same line with figures of their own, so each rank is looked at alone.
    """
    seen: dict[tuple[str, str], set[str]] = {}
    for one in told:
        if one.quantity == "kv_pool" and re.search(r"KV Cache is allocated|llama_kv_cache\w*: ", one.text):
            rank = re.search(r"\b(?:TP|PP|DP)\d+[^\]]*", one.text)
            seen.setdefault((one.scope, rank[0] if rank else ""), set()).add(one.printed)
    return frozenset(scope for (scope, _), printed in seen.items() if len(printed) > 1)


def component(pool: PoolBudget, name: str) -> int:
    """Return a component of a pool, for all its lines."""
    return sum(int(line.bytes) for line in pool.lines if line.component == name)


def outside(line: Line) -> bool:
    """Whether a line is memory outside PyTorch's allocator."""
    return line.name.startswith("outside PyTorch's allocator")


def graphs(line: Line) -> bool:
    """Whether a line is of CUDA graphs."""
    return line.name.startswith("CUDA graphs")


def of_lines(which: Callable[[Line], bool]) -> Callable[[PoolBudget], int]:
    """Return a function that sums the lines of a device that are of one kind."""
    return lambda pool: sum(int(line.bytes) for line in pool.lines if which(line))


MEASURED: dict[str, Callable[[Line], bool]] = {
    "activation": lambda line: line.component == "activations",
    "non_torch": outside,
    "graphs": graphs,
    "graphs_estimated": graphs,
    "compute_buffer": lambda line: line.name == "compute buffers",
}
OF_POOL: dict[str, Callable[[KVPool], int | float | None]] = {
    "kv_pool": lambda pool: pool.bytes,
    "kv_tokens": lambda pool: pool.tokens,
    "concurrency": lambda pool: pool.concurrency,
}
OF_A_BUDGET: dict[str, Callable[[PoolBudget], int]] = {
    "weights": lambda pool: component(pool, "weights"),
    "consumed": lambda pool: component(pool, "weights") + of_lines(outside)(pool),
    "activation": of_lines(MEASURED["activation"]),
    "non_torch": of_lines(outside),
    "graphs": of_lines(graphs),
    "graphs_estimated": of_lines(graphs),
    "kv_needed": lambda pool: component(pool, "kv_cache") + component(pool, "state"),
}
