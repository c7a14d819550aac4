"""The options of ``memcalc which``: those of ``memcalc serve`` without a machine, in a module of its own.

An answer of ``serve`` does not pay for a second dataclass.
"""

from __future__ import annotations

from dataclasses import fields, make_dataclass

from memcalc.options import OptionSet
from memcalc.serving.options import ServingOptions

__all__ = ["WhichOptions"]


WhichOptions = make_dataclass(
    "WhichOptions",
    [(one.name, one.type, one) for one in fields(ServingOptions) if one.name != "on"],
    bases=(OptionSet,),
    init=False,
    eq=False,
    repr=False,
)
"""The same without a machine: ``memcalc which`` looks at all of them."""
