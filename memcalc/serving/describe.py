"""An estimate of serving as a card: what the shell and Jupyter show of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.ledger.amount import gib
from memcalc.ledger.search import LIMIT
from memcalc.show.card import Card

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memcalc.serving.estimate import ServingEstimate

__all__ = ["card"]


def card(served: ServingEstimate) -> Card:
    """Return an estimate as a card.

    Parameters
    ----------
    served : ServingEstimate
        What was estimated.

    Returns
    -------
    Card
        Its title, facts, pools and notes.

    """
    plan, engine = served.plan, served.engine
    tokens = f"{plan.batch:,} x {plan.context:,} tokens"
    facts = []
    if served.model.not_read:
        facts.append(f"not read: {', '.join(served.model.not_read)}")
    if plan.unmatched:
        facts.append(f"names in quantization_config that match no module: {', '.join(plan.unmatched)}")
    if plan.assumed:
        facts.append(f"derived, under these assumptions: {plan.assumed}")
    pools = [(f"fullest of {served.device.devices:,} device(s)", served.device)]
    if served.host is not None:
        pools.append(("host memory", served.host))
    return Card(
        title=f"{served.model.name}: {tokens}, weights {plan.weights}, {engine.id} {engine.release}",
        facts=tuple(facts),
        pools=tuple(pools),
        notes=tuple(notes(served)),
    )


def notes(served: ServingEstimate) -> Iterator[str]:
    """Yield what follows: the verdict, the pool of the cache, the largest load, what is not counted."""
    if served.plan.machine is not None:
        yield verdict(served)
    if served.kv_pool is not None:
        left = served.kv_pool
        span = f"({left.low_tokens:,} to {left.high_tokens:,})"
        yield f"pool for the KV cache {gib(left.bytes)} a device: {left.tokens:,} tokens {span}"
    if served.plan.machine is not None:
        limit = served.model.max_context
        own = "" if limit is None else f"; the model's own limit is {limit:,} tokens"
        longest = "any" if served.max_context == LIMIT else f"{served.max_context or 0:,}"
        yield f"largest context {longest}, largest batch {served.max_batch or 0:,} (memory alone{own})"
    if served.model.vision_parameters:
        yield f"vision tower: {served.model.vision_parameters:,} parameters (not included above)"


def verdict(served: ServingEstimate) -> str:
    """Return whether a plan fits, and whether the ranges of what was measured leave a doubt."""
    pools = served.budget.pools
    if served.fits is None:
        return 'fits the devices; the size of the host\'s memory is not known: --on "... + 512GiB host"'
    if not served.fits:
        least = all(pool.fits_at_least is not False for pool in pools)
        return "does not fit" + ("; with every range at its lower end it does" if least else "")
    most = all(pool.fits_at_most for pool in pools)
    return "fits" if most else "fits; with every range at its upper end it does not"
