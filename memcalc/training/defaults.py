"""What is taken where an option was left open: by what is trained, or by the trainer that is named."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from memcalc.errors import Sound
from memcalc.training.releases import FUSED_SINCE, release_number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memcalc.training.options import FilledOptions, TrainingOptions

__all__ = ["chosen", "filled"]

OF_ALL: dict[str, Any] = {
    "micro_batch": 1,
    "accumulate": 1,
    "regime": "bf16-mixed",
    "optimizer": "adamw",
    "attention": "flash",
    "recompute": "none",
    "lengths": "packed",
    "allocator": "default",
}
OF_ADAPTERS = {**OF_ALL, "recompute": "full", "adapter_dtype": "fp32"}  # every trainer's recipes recompute


def chosen(options: TrainingOptions) -> Mapping[str, Any]:
    """Return the defaults for what options train, by name: all weights, or adapters; a trainer's go first.

    >>> from memcalc.training.options import TrainingOptions
    >>> [chosen(TrainingOptions(seq=1, lora_rank=rank))["recompute"] for rank in (None, 8)]
    ['none', 'full']
    """
    own = OF_ALL if options.lora_rank is None else OF_ADAPTERS
    own = own | beside_the_step(options)
    if options.engine_version is not None and release_number(options.engine_version) < FUSED_SINCE:
        own = own | ({"optimizer_step": "foreach"} if options.optimizer in (None, "adamw") else {})
    if options.like is not None:
        from memcalc.training.trainers import trainers

        facts = trainers()[options.like].defaults(options)
        own = own | {name: fact.value for name, fact in facts.items()}
    regime = options.regime or own["regime"]
    return {"autocast": autocasts(options, regime)} | own | ({"autocast": True} if regime == "amp" else {})


def beside_the_step(options: TrainingOptions) -> dict[str, Any]:
    """Return how transformers loads, evaluates and saves; others have no such defaults here."""
    if options.implementation != "transformers" or options.like == "deepspeed":
        return {}
    evaluated = {} if options.evaluate is None else {"eval_batch": 8}
    load = "host" if options.quantize_base is None else "device"  # bitsandbytes asks for the rank's device
    return {"load": load, "save": "full", **evaluated}


def autocasts(options: TrainingOptions, regime: str) -> bool:
    """Say whether the forward pass runs under torch.autocast where amp does not say so: adapters' do.

    Source: transformers 5.23 TrainingArguments: bf16, as every recipe for adapters has it; accelerate 1.15
    accelerator.py: native_amp, which is off where DeepSpeed runs the model.
    """
    by_trainer = options.lora_rank is not None and options.implementation == "transformers"
    return by_trainer and regime != "fp32" and options.shard not in (1, 2, 3)


def filled(options: TrainingOptions, own: Mapping[str, Any] = MappingProxyType({})) -> FilledOptions:
    """Return options with a default in the place of each that was left open and has one here.

    Parameters
    ----------
    options : TrainingOptions
        What was asked for; faulty values stay as they are.
    own : mapping of str to object, optional
        What the checkpoint, or the machine, leaves no choice about, by option.

    """
    record: Any = options.record if isinstance(options, Sound) else options
    record = replace(record, **{name: value for name, value in own.items() if getattr(record, name) is None})
    left = {name: value for name, value in chosen(record).items() if getattr(record, name) is None}
    whole: Any = replace(record, **left)
    settled: Any = Sound(whole, options.faulty) if isinstance(options, Sound) else whole
    return cast("FilledOptions", settled)
