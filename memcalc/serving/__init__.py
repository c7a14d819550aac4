"""Serving: a plan for inference, and the memory that it needs."""

from __future__ import annotations

from memcalc.data.lazy import lazy_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from memcalc.serving.allocator import (
        Allocator as Allocator,
        segment as segment,
        unused_bytes as unused_bytes,
    )
    from memcalc.serving.api import serve as serve, which as which
    from memcalc.serving.engines import ENGINES as ENGINES, engine as engine
    from memcalc.serving.engines.base import activation_width as activation_width
    from memcalc.serving.estimate import ServingEstimate as ServingEstimate
    from memcalc.serving.options import ServingOptions as ServingOptions
    from memcalc.serving.parallelism import ServingParallelism as ServingParallelism, stages as stages
    from memcalc.serving.plan import ServingPlan as ServingPlan
    from memcalc.serving.search import KVPool as KVPool
    from memcalc.serving.stage import cache_bytes as cache_bytes, cache_tensors as cache_tensors
    from memcalc.serving.which_options import WhichOptions as WhichOptions

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "allocator": ("Allocator", "segment", "unused_bytes"),
        "api": ("serve", "which"),
        "engines": ("ENGINES", "engine"),
        "engines.base": ("activation_width",),
        "estimate": ("ServingEstimate",),
        "options": ("ServingOptions",),
        "which_options": ("WhichOptions",),
        "parallelism": ("ServingParallelism", "stages"),
        "plan": ("ServingPlan",),
        "search": ("KVPool",),
        "stage": ("cache_bytes", "cache_tensors"),
    },
)
