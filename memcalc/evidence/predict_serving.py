"""How a measured figure of serving becomes a plan, and the plan what memcalc says of the figure."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, cast

from memcalc.data.constants import TRANSFORMERS_UNEXPLAINED
from memcalc.errors import BadInputError, UnknownNameError
from memcalc.evidence.inference import QUANTITIES
from memcalc.evidence.prediction import Prediction, exactly, sum_of, sum_of_lines, whole_device
from memcalc.files.catalogue import canonical_name
from memcalc.options import value_of
from memcalc.serving import estimate as serving
from memcalc.serving.options import ServingOptions
from memcalc.serving.stage import (
    allocated_cache_bytes,
    cache_bytes,
    cache_tensors,
    device_budget,
    growing_lines,
    placed_stages,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from memcalc.evidence.inference import Observation
    from memcalc.ledger.budget import Line, PoolBudget
    from memcalc.serving.engines import EngineName
    from memcalc.serving.estimate import ServingEstimate

__all__ = ["predict_serving", "serving_estimate", "stage_budgets"]

UNVERSIONED = {"llama.cpp": None, "ktransformers": "0.2"}  # threads name builds, dates, or nothing
UNKNOWN = "unknown"  # a version that the source does not give


@cache
def serving_estimate(row: Observation) -> ServingEstimate:
    """Return the estimate of the plan that a row was measured with.

    Parameters
    ----------
    row : Observation
        A measured figure; where its source gives no version, the engine's default behaviour is taken.

    Raises
    ------
    MemcalcError
        memcalc refuses the plan, for instance because it knows no such version of the engine.

    Examples
    --------
    >>> from memcalc.evidence.inference import observations
    >>> (row,) = observations(id="qwen3-32b-bf16-6144")
    >>> serving_estimate(row).engine.version
    '4.51'

    """
    asked = ServingOptions(
        context=row.context or 1,
        prompt=row.prompt,
        weights=row.weights,
        kv=row.kv,
        on=row.on,
        tp=row.tp,
        pp=row.pp,
        ep=row.ep,
        dp=row.dp,
        attention_dp=row.attention_dp if row.attention_dp > 1 else None,
        engine=cast("EngineName", row.rules),
        engine_version=UNVERSIONED.get(row.rules, None if row.version == UNKNOWN else row.version),
        engine_options=engine_options(row),
        utilization=row.utilization,
        offload=row.offload,
    )
    return serving.estimate(row.shape or row.model, asked)


def engine_options(row: Observation) -> dict[str, int]:
    """Return the engine's own options that a row states."""
    stated = {
        "block_size": row.block_size,
        "max_num_seqs": row.seqs,
        "max_num_batched_tokens": row.batched_tokens,
        "enforce_eager": row.eager,
    }
    pairs = (pair.partition("=") for pair in row.options.split())
    return {name: value for name, value in stated.items() if value is not None} | {
        name: cast("int", value_of(value)) for name, _, value in pairs
    }


def predict_serving(row: Observation) -> Prediction:
    """Return what memcalc says of the quantity, the plan and the moment of a row.

    Raises
    ------
    MemcalcError
        The row does not state enough, or memcalc refuses its plan.
    LookupError
        No line of the plan is the quantity.

    """
    refuse_incomplete(row)
    estimate = serving_estimate(row)
    if row.quantity in OF_LINES:
        (pool,) = estimate.budget.pools
        lines = list(filter(OF_LINES[row.quantity], pool.lines))
        if not lines:  # a line under another name must not become a prediction of nothing
            raise LookupError(f"{row.id}: no line of the plan is {row.quantity}")
        return sum_of_lines(lines)
    return OF_AN_ESTIMATE[row.quantity](estimate, row)


def refuse_incomplete(row: Observation) -> None:
    """Refuse another quantity, a model outside the catalogue, and a pool on an unknown machine."""
    if row.quantity not in QUANTITIES:
        known = f"one of {', '.join(QUANTITIES)}"
        raise UnknownNameError("quantity", known, row.quantity, "no prediction of it is known")
    if canonical_name(row.shape or row.model) is None:
        remedy = "state a model of the same shapes"
        raise UnknownNameError("model", "a model of the catalogue", row.shape or row.model, remedy)
    if row.quantity == "kv_bytes_per_rank" and row.on is None:
        raise BadInputError("on", "a machine of the record", row.on, "a pool is a share of its device")


def total_used(estimate: ServingEstimate, row: Observation) -> Prediction:
    """Return what the allocators of all devices hold at the row's moment."""
    return sum_of(allocated(one, row.moment) for one in stage_budgets(estimate))


def bytes_per_token(estimate: ServingEstimate, row: Observation) -> Prediction:
    """Return the cache of the row's tokens, as one sequence, for each of them."""
    tokens = row.tokens or 1
    cache = cache_tensors(estimate.plan, estimate.model, 1, tokens)
    return exactly(cache_bytes(estimate.plan, cache) // tokens)


def pool_bytes(estimate: ServingEstimate, row: Observation) -> Prediction:
    """Return what the engine takes for the cache in advance.

    Raises
    ------
    BadInputError
        It takes nothing.

    """
    if estimate.kv_pool is None:
        raise BadInputError("engine", "an engine that takes a pool in advance", row.engine, "name another")
    return Prediction(*estimate.kv_pool[:3])


OF_LINES: dict[str, Callable[[Line], bool]] = {
    "weights_bytes_per_rank": lambda line: "load" in line.moments or line.name == "loading workspaces",
    "kv_needed_one_request": lambda line: line.component == "kv_cache",
    "activation_peak_bytes": lambda line: line.component == "activations",
    "non_torch_bytes": lambda line: line.name.startswith("outside PyTorch's allocator"),
    "graph_bytes": lambda line: line.name == "CUDA graphs",
}
OF_AN_ESTIMATE: dict[str, Callable[[ServingEstimate, Observation], Prediction]] = {
    "memory": total_used,
    "kv_bytes_per_token": bytes_per_token,
    "kv_bytes_per_rank": pool_bytes,
    "kv_bytes": lambda estimate, _: exactly(
        allocated_cache_bytes(estimate.plan, estimate.plan.engine_options)
    ),
    "gguf_tensor_bytes": lambda estimate, _: exactly(estimate.weights_file_bytes),
    "device_bytes": lambda estimate, _: of_pool(estimate, "gpu"),
    "host_bytes": lambda estimate, _: of_pool(estimate, "host"),
}


def of_pool(estimate: ServingEstimate, name: str) -> Prediction:
    """Return what a device of one pool holds in all."""
    (pool,) = (pool for pool in estimate.budget.pools if pool.name == name)
    return whole_device(pool)


def stage_budgets(estimate: ServingEstimate) -> Iterable[PoolBudget]:
    """Yield the budget of one device of every pipeline stage, in the stages' order.

    Unequal devices hold what the engine gives each: a stage is told by its layers and its device.
    """
    plan, loaded = estimate.plan, {(one.stage, one.rank.device): one for one in estimate.stages}
    for stage, device in placed_stages(plan):
        rank, weights, constant = loaded[stage, device]
        growing = growing_lines(plan, rank, plan.batch, plan.context)
        yield device_budget(plan, (*weights, *constant, *growing), device)


def allocated(pool: PoolBudget, moment: str) -> Prediction:
    """Return the allocator's bytes of a device at a moment; the peak is the fullest one.

    The allocator's remainder, which no line derives, is part of the runtime's range and not of a moment.
    """
    at = pool.fullest if moment == "peak" else moment
    lines = sum_of_lines(line for line in pool.lines if at in line.moments)
    rest = TRANSFORMERS_UNEXPLAINED
    return Prediction(lines.bytes, lines.low + rest.low, lines.high + rest.high)
