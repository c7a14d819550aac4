"""A plan for serving whose numbers know their names: the same estimate of it says how each was made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.show.named import named_format, named_model, named_ranks, named_rule

if TYPE_CHECKING:
    from memcalc.serving.plan import ServingPlan
    from memcalc.show.traced import Names

__all__ = ["named_plan"]


def named_plan(plan: ServingPlan, names: Names) -> ServingPlan:
    """Return a plan with named numbers: of its model, its formats, its tokens and its ranks."""
    keys, values = plan.kv
    named_keys = named_format(keys, names)
    return plan._replace(
        model=named_model(plan.model, names),
        rule=named_rule(plan.rule, names),
        kv=(named_keys, named_keys if values is keys else named_format(values, names)),
        context=names("context", plan.context),
        batch=names("batch", plan.batch),
        prompt=plan.prompt if plan.prompt is None else names("prompt", plan.prompt),
        prefill_chunk=plan.prefill_chunk and names("prefill_chunk", plan.prefill_chunk),
        parallelism=named_ranks(plan.parallelism, names),
    )
