"""``memcalc serve``: whether it fits, and what fills the memory."""

from __future__ import annotations

from argparse import SUPPRESS
from typing import TYPE_CHECKING

from memcalc.cli.command import (
    CHECK,
    Answer,
    Command,
    add_source,
    config_fields,
    header_fields,
    header_text,
    remedy_fields,
)
from memcalc.cli.options import add_options, options_from
from memcalc.errors import NOTHING, BadInputError, escaped
from memcalc.serving.estimate import estimate
from memcalc.serving.options import ServingOptions
from memcalc.serving.plan import plan_fields
from memcalc.serving.search import limited

if TYPE_CHECKING:
    import argparse

    from memcalc.cli.parser import Parser
    from memcalc.ledger.budget import PoolBudget
    from memcalc.serving.estimate import ServingEstimate
    from memcalc.serving.search import KVPool

__all__ = ["COMMAND", "fields"]


def add(parser: Parser) -> None:
    """Add the options."""
    add_source(parser)
    add_options(parser, ServingOptions)
    for name in ("max-context", "max-batch"):  # part of every answer on a machine: accepted, and not offered
        parser.add_argument(f"--{name}", action="store_true", help=SUPPRESS)
    parser.add_argument("--check", action="store_true", help=CHECK)
    launch = "print the engine's own command for this plan; with --json under `command`"
    parser.add_argument("--engine-command", action="store_true", help=launch)


def answer(given: argparse.Namespace) -> Answer:
    """Answer.

    Raises:
        BadInputError: --check has nothing to check against.

    """
    served = estimate(given.source, options_from(given, ServingOptions))
    if given.check and served.fits is None:
        remedy = 'add --on, as in "2x rtx-a6000"'
        raise BadInputError("--check", "a machine to check against", NOTHING, remedy)
    source, launch = served.plan.source, {"command": served.launch_line} if given.engine_command else {}

    def everything() -> dict[str, object]:
        beside = launch | header_fields(source) | config_fields(served.model)
        return fields(served) | remedy_fields(served.remedies) | beside

    return Answer(
        1 if given.check and served.verdict != "fits" else 0,
        everything,
        lambda: launched(served) if given.engine_command else "\n".join([str(served), *header_text(source)]),
    )


def launched(served: ServingEstimate) -> str:
    """Return the engine's command, after a shell's comment where the plan does not fit, or may not."""
    from memcalc.show.card import in_words

    beyond = served.plan.beyond_limit  # said without a machine, too: an engine refuses it
    if served.verdict not in (None, "fits"):
        return f"# {escaped(in_words(served.verdict, served.cause))}\n{served.launch_line}"
    return f"# does not fit: {beyond}\n{served.launch_line}" if beyond else served.launch_line


def fields(served: ServingEstimate) -> dict[str, object]:
    """Return an estimate as JSON shows it.

    Parameters
    ----------
    served : ServingEstimate
        What was estimated.

    Returns
    -------
    dict
        The names and numbers of the answer; sizes are whole bytes.

    """
    budget = served.budget
    return {
        "schema": 1,
        "model": served.model.name,
        "engine": served.engine.id,
        "plan": plan_fields(served.plan),
        "defaults": list(served.defaults),
        "pools": [pool_fields(pool, served) for pool in budget.pools],
        "weights_file_bytes": served.weights_file_bytes,
        "not_loaded_bytes": served.not_loaded_bytes,
        "cache_bytes": served.cache_bytes,
        "fits": served.fits,
        "verdict": served.verdict,
        "cause": served.cause,
        "max_context": limited(served.max_context),
        "max_batch": limited(served.max_batch),
        "model_max_context": served.model.max_context,
        "lines": [{"pool": pool.name, **line.fields} for pool in budget.pools for line in pool.lines],
    }


def pool_fields(pool: PoolBudget, served: ServingEstimate) -> dict[str, object]:
    """Return a pool, and what an engine takes of it in advance for the cache."""
    kv_pool = served.kv_pool if pool is served.device else None
    return {
        "name": pool.name,
        "devices": pool.devices,
        "capacity_bytes": pool.capacity_bytes,
        "usable_bytes": pool.usable_bytes,
        "components": pool.components,
        "moments": dict(pool.moments),
        "total_bytes": pool.total_bytes,
        "low_bytes": pool.low_bytes,
        "high_bytes": pool.high_bytes,
        "free_bytes": pool.free_bytes,
        "fits": pool.fits,
        "kv_pool": kv_pool and pool_in_advance(kv_pool),
    }


def pool_in_advance(pool: KVPool) -> dict[str, object]:
    """Return the pool for the cache; of its numbers of tokens those that memory does not limit are null."""
    ends = ("tokens", "low_tokens", "high_tokens")
    return {**pool._asdict(), **{name: limited(getattr(pool, name)) for name in ends}}


COMMAND = Command(add, answer)
