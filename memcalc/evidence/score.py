"""Predictions beside measurements: one function predicts every row of the record."""

from __future__ import annotations

from functools import cache
from statistics import median, quantiles
from typing import TYPE_CHECKING, NamedTuple

from memcalc.files.catalogue import canonical_name
from memcalc.ledger.parallel import stages
from memcalc.serving.engines import ENGINES, engine
from memcalc.serving.engines.transformers import LEFT_HIGH, LEFT_LOW, MIB
from memcalc.serving.estimate import Serving, plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from memcalc.evidence.inference import Observation
    from memcalc.ledger.budget import Line, PoolBudget

__all__ = [
    "FAMILIES",
    "Family",
    "Prediction",
    "Score",
    "by_kind",
    "exactly",
    "family",
    "nine_tenths",
    "predict",
    "predictable",
    "scores",
    "serving_of",
    "span",
]

GIB = 2**30
UNVERSIONED = ("llama.cpp", "ktransformers")  # one law each; threads name builds, dates, or nothing
FORKS = {"ik_llama.cpp": "llama.cpp"}  # engines whose caches and files follow the rules of another
SEVERAL = "memory of several"
UNKNOWN = "unknown"  # a version that nobody said
FAMILIES = {
    "weights_bytes_per_rank": "weights a rank",
    "kv_bytes_per_token": "KV cache a token",
    "kv_needed_one_request": "KV cache a request",
    "memory": "total used",
    SEVERAL: "total used, several GPUs",
    "kv_bytes_per_rank": "pool for the KV cache",
    "activation_peak_bytes": "activation peak",
    "non_torch_bytes": "outside the allocator",
    "graph_bytes": "CUDA graphs",
    "kv_bytes": "KV cache of a context",
    "gguf_tensor_bytes": "tensors of a GGUF file",
    "device_bytes": "device in all, with its context",
    "host_bytes": "host memory",
}


class Prediction(NamedTuple):
    """Bytes, and the ends of their range; both are the bytes where nothing measured is part of them."""

    bytes: int
    low: int
    high: int


class Score(NamedTuple):
    """A row of the record beside its prediction."""

    row: Observation
    predicted: Prediction

    @property
    def off(self) -> int:
        """Measured less predicted bytes."""
        return (self.row.value_bytes or 0) - self.predicted.bytes

    @property
    def error(self) -> float:
        """The same as a share of what was measured."""
        return self.off / (self.row.value_bytes or 1)

    @property
    def percent(self) -> float:
        """The error in hundredths, with two decimals and without a minus before zero."""
        return round(100 * self.error, 2) + 0.0

    @property
    def kind(self) -> str:
        """The family's word: the quantity, with sums over the stages of several devices apart."""
        return SEVERAL if self.row.what == "memory" and self.row.pp > 1 else self.row.what

    @property
    def has_range(self) -> bool:
        """Whether something that was only measured is part of the prediction."""
        return self.predicted.low < self.predicted.high

    @property
    def inside(self) -> bool:
        """Whether the measurement lies in the range, as precisely as it was printed."""
        step = self.row.printed_to
        return self.predicted.low - step <= (self.row.value_bytes or 0) <= self.predicted.high + step

    def shown(self, size: int) -> str:
        """Return bytes in the unit that the row's source prints.

        >>> from memcalc.evidence.inference import observations
        >>> (score,) = scores(observations(id="qwen3-32b-bf16-6144"))
        >>> score.shown(score.predicted.bytes)
        '64,570 MiB'
        """
        if self.row.what == "kv_bytes_per_token":
            return f"{size:,} B"
        return f"{size / MIB:,.0f} MiB" if "MiB" in self.row.printed else f"{size / GIB:,.3f} GiB"

    @property
    def cells(self) -> dict[str, object]:
        """The row of a table: how far off, what was printed, what is predicted, and where it was read."""
        row, (_, low, high) = self.row, self.predicted
        ends = unbroken(f"{self.shown(low).partition(' ')[0]} to {self.shown(high)}")
        return {
            "model": row.model,
            "off, %": self.percent,
            "in range": self.inside,
            "printed": row.printed.partition(" (its column says")[0].replace(" GiB", unbroken(" GiB")),
            "predicted": unbroken(self.shown(self.predicted.bytes)),
            "range": ends if self.has_range else None,
            "version": f"{row.engine} {row.version}",
            "hardware": row.hardware,
            "moment": row.moment,
            "role": row.role,
            "row, and source": f"[`{row.id}`]({row.source})",
        }


def unbroken(text: str) -> str:
    """Return text that stays on one line of a narrow column."""
    return text.replace(" ", "\u00a0")


class Family(NamedTuple):
    """What the rows of one kind say together: median, 90th percentile and worst error, the share inside."""

    name: str
    engine: str
    rows: int
    median_error: float
    p90_error: float
    inside: float
    worst: Score


@cache
def serving_of(row: Observation) -> Serving:
    """Return the plan that a row was measured with."""
    stated = {
        "block_size": row.block_size,
        "max_num_seqs": row.seqs,
        "max_num_batched_tokens": row.batched_tokens,
        "enforce_eager": None if row.eager is None else str(row.eager).lower(),
    }
    options = {name: str(value) for name, value in stated.items() if value is not None}
    for pair in row.options.split():
        name, _, value = pair.partition("=")
        options[name] = value
    return plan(
        row.shape or row.model,
        context=row.context or 1,
        prompt=row.prompt,
        weights=row.weights,
        kv=row.kv,
        on=row.on,
        tp=row.tp,
        pp=row.pp,
        ep=row.ep,
        dp=row.dp,
        engine_name=engine_of(row),
        engine_version=version_of(row),
        engine_options=options,
        utilization=row.utilization or 0.9,
        offload=row.offload,
    )


def engine_of(row: Observation) -> str:
    """Return the engine whose rules a row's program follows."""
    return FORKS.get(row.engine, row.engine)


def version_of(row: Observation) -> str | None:
    """Return the version whose law holds for a row; None for the engine's default law."""
    return None if row.version == UNKNOWN or engine_of(row) in UNVERSIONED else row.version


def predict(row: Observation) -> Prediction:
    """Return what memcalc says of the quantity, the plan and the moment of a row.

    >>> from memcalc.evidence.inference import observations
    >>> (row,) = observations(id="qwen3-32b-bf16-6144")
    >>> row.value_bytes // 2**20, predict(row).bytes // 2**20
    (64583, 64569)

    Raises:
        KeyError: no prediction of this quantity is known.

    """
    serving = serving_of(row)
    if row.what in LINES:
        (pool,) = serving.budget.pools
        return span(filter(LINES[row.what], pool.lines))
    return WHOLE[row.what](serving, row)


def total_used(serving: Serving, row: Observation) -> Prediction:
    """Return what the allocators of all devices hold at the row's moment."""
    return together([device_bytes(one, row.moment) for one in devices(serving)])


def bytes_per_token(serving: Serving, row: Observation) -> Prediction:
    """Return the cache of the row's tokens, as one sequence, for each of them."""
    tokens = row.tokens or 1
    size = sum(map(serving.cached, serving.cache_tensors(serving.model, 1, tokens))) // tokens
    return exactly(size)


def pool_bytes(serving: Serving, row: Observation) -> Prediction:
    """Return what the engine takes for the cache in advance.

    Raises:
        KeyError: the row names no machine, or an engine that takes nothing.

    """
    if serving.kv_pool is None:
        raise KeyError(row.id)
    return Prediction(*serving.kv_pool[:3])


LINES: dict[str, Callable[[Line], bool]] = {
    "weights_bytes_per_rank": lambda line: "load" in line.moments or line.name == "taken while loading",
    "kv_needed_one_request": lambda line: line.component == "kv_cache",
    "activation_peak_bytes": lambda line: line.component == "activations",
    "non_torch_bytes": lambda line: line.name.startswith("outside PyTorch's allocator"),
    "graph_bytes": lambda line: line.name == "CUDA graphs",
}
WHOLE: dict[str, Callable[[Serving, Observation], Prediction]] = {
    "memory": total_used,
    "kv_bytes_per_token": bytes_per_token,
    "kv_bytes_per_rank": pool_bytes,
    "kv_bytes": lambda serving, _: exactly(serving.cache_bytes),
    "gguf_tensor_bytes": lambda serving, _: exactly(serving.weights_file_bytes),
    "device_bytes": lambda serving, _: in_all(serving, "gpu"),
    "host_bytes": lambda serving, _: in_all(serving, "host"),
}


def exactly(size: int) -> Prediction:
    """Return a prediction in which nothing was measured."""
    return Prediction(size, size, size)


def in_all(serving: Serving, name: str) -> Prediction:
    """Return what a pool holds at its fullest moment, with all that is in no moment."""
    (pool,) = (pool for pool in serving.budget.pools if pool.name == name)
    return Prediction(pool.total_bytes, pool.low_bytes, pool.high_bytes)


def span(lines: Iterable[Line]) -> Prediction:
    """Return the sum of lines, and of the ends of their ranges."""
    held = list(lines)
    return Prediction(
        sum(line.bytes for line in held),
        sum(line.least_bytes for line in held),
        sum(line.most_bytes for line in held),
    )


def devices(serving: Serving) -> Iterable[PoolBudget]:
    """Yield the budget of one device of every stage."""
    loaded = {one.stage: one for one in serving.loaded}
    for stage in stages(serving.model, serving.split.pp):
        _, weights, beside = loaded[stage]
        yield serving.pool((*weights, *beside, *serving.growing_lines(stage, serving.batch, serving.context)))


def device_bytes(pool: PoolBudget, moment: str) -> Prediction:
    """Return the allocator's bytes of a device at a moment; the peak is the fullest one.

    What is left beside everything derived is part of the runtime's range, though it is the allocator's.
    """
    at = pool.fullest if moment == "peak" else moment
    held = span(line for line in pool.lines if at in line.moments)
    return Prediction(held.bytes, held.low + LEFT_LOW * MIB, held.high + LEFT_HIGH * MIB)


def together(parts: Iterable[Prediction]) -> Prediction:
    """Return the sum of predictions."""
    return Prediction(*(sum(ends) for ends in zip(*parts, strict=True)))


def predictable(row: Observation) -> bool:
    """Say whether a row states enough: a known engine, law and quantity, and for a pool the machine.

    Where nobody says which version it was, the engine's default law is taken.
    """
    stated = row.what != "kv_bytes_per_rank" or row.on is not None
    return (
        engine_of(row) in ENGINES
        and (version_of(row) is None or engine(row.engine).has_law(row.version))
        and row.what in FAMILIES
        and stated
        and canonical_name(row.shape or row.model) is not None
    )


def scores(rows: Iterable[Observation]) -> list[Score]:
    """Return every row that can be predicted with its prediction beside it."""
    return [Score(row, predict(row)) for row in rows if predictable(row)]


def by_kind(held: Iterable[Score]) -> dict[tuple[str, str], list[Score]]:
    """Return the scores by engine and kind, the families that are judged together."""
    found: dict[tuple[str, str], list[Score]] = {}
    for score in held:
        found.setdefault((engine_of(score.row), score.kind), []).append(score)
    return found


def family(name: str, engine: str, held: list[Score]) -> Family:
    """Return what the scores of one kind say together."""
    errors = sorted(abs(score.error) for score in held)
    share = sum(score.inside for score in held) / len(held)
    worst = max(held, key=lambda score: abs(score.error))
    return Family(name, engine, len(held), median(errors), nine_tenths(errors), share, worst)


def nine_tenths(errors: list[float]) -> float:
    """Return the 90th percentile of errors.

    >>> nine_tenths([0.0, 1.0]), nine_tenths([2.0])
    (0.9, 2.0)
    """
    return quantiles(errors, n=10, method="inclusive")[-1] if len(errors) > 1 else errors[0]
