"""What others measured of training: each row with its model, its plan, its hardware, its source and its date.

A row states enough to be predicted: `plan` has the options of ``memcalc train`` by name. What was read and is
no such row is counted too, with the reason.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from memcalc.data.units import Amount, amount
from memcalc.evidence.records import PURPOSE, SOURCED, half_a_digit, load_left_out, load_records, matching

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memcalc.evidence.prediction import Prediction
    from memcalc.evidence.records import Checks, LeftOut

__all__ = [
    "CHECKS",
    "MODEL_CHECKS",
    "OPTIONS",
    "TRAINING_QUANTITIES",
    "TRAINING_REASONS",
    "TrainedModel",
    "TrainingObservation",
    "trained_models",
    "training_left_out",
    "training_observations",
]

FILE = "training_observations.json"
TRAINING_QUANTITIES = {  # what was read, and where
    "allocated": "torch.cuda.max_memory_allocated, or peak active memory: the largest of all moments",
    "allocated_after_step": "torch.cuda.memory_allocated once the step is done",
    "reserved": "torch.cuda.max_memory_reserved: with what the allocator rounds up and keeps",
    "device": "nvidia-smi: with the context, the communicators and the allocator's reserve",
    "states": "weights, gradients and optimizer states of a device, or the one that `component` names",
    "activations": "what is kept for the backward pass on a device",
}
STEP = ("seq", "micro_batch", "accumulate", "dropout", "compile", "keep_gradients", "offload", "lengths")
NUMBERS = ("regime", "autocast", "gradients", "optimizer", "optimizer_step", "adapter_dtype", "quantize_base")
KERNELS = ("implementation", "attention", "loss", "hold_logits", "experts", "repeat_kv", "vocab_multiple")
SUMS = ("gradient_fusion", "context_exchange", "allocator", "engine_version")
DEVICES = ("on", "world", "shard", "tp", "pp", "vpp", "cp", "ep", "expert_tp", "sequence_parallel")
PARTS = ("pipeline_layout", "rank", "recompute", "recompute_modules", "lora_rank", "lora_targets")
OPTIONS = frozenset(STEP + NUMBERS + KERNELS + SUMS + DEVICES + PARTS)  # of `memcalc train`, with underscores
SHAPES = ("config", "fields", "parameters")  # the three ways in which the record describes a model
TRAINING_REASONS = {  # why a published figure is no row of the record
    "a constant of a library": "no run: memcalc has it where it is used",
    "a formula": "memcalc derives its own; the book holds them against each other",
    "accuracy of another tool": "an error in per cent, no memory",
    "adapter not modelled": "a way of fine-tuning other than LoRA",
    "again": "the same run, listed a second time",
    "approximate": '"about", whole GB, or digits missing',
    "architecture not modelled": "memcalc does not read the model, or not how this library builds it",
    "contradiction": "the figure and the stated run exclude each other",
    "derived": "worked out from a figure that is itself a row",
    "ended early": "the run broke off: nothing was taken that could be predicted",
    "estimate, not a measurement": "what a tool or an author expects",
    "from memory, unverified": "not seen again in its source",
    "GPU count not stated": "the number of devices is not given",
    "hardware not stated": "the device is not given",
    "kernels not modelled": "fused kernels keep other tensors, and the peak depends on them",
    "length not stated": "nor can it be worked out",
    "model not stated": "its dimensions are not given",
    "moment not modelled": "taken outside the training step",
    "no bytes of a run": "ratios, dimensions, or the largest model that fits",
    "one kernel alone": "no training run around it",
    "optimizer not modelled": "its states, or their layout, are its own",
    "plan cannot say it": "the run has a setting, which changes memory, that no option expresses",
    "recompute policy not modelled": "chosen operation by operation",
    "settings not stated": "an optimizer, a recomputation or the like is not named",
    "sharding not stated": "several devices, and not what each holds",
    "variable lengths": "the longest batch decides, and its length is not given",
}
CHECKS: Checks = {
    **SOURCED,
    "quantity": lambda row: row.quantity in TRAINING_QUANTITIES,
    "value_bytes": lambda row: isinstance(row.value_bytes, Amount) and row.value_bytes > 0,
    "plan": lambda row: bool(row.plan) and row.plan.keys() <= OPTIONS,
    **PURPOSE,
}
MODEL_CHECKS: Checks = {
    **SOURCED,
    " or ".join(SHAPES): lambda model: sum(bool(getattr(model, name)) for name in SHAPES) == 1,
}


class TrainingObservation(NamedTuple):
    """One measured or published figure of one device, in bytes.

    `quantity` is one of `TRAINING_QUANTITIES`, `printed` how the source writes the figure. `model` is a name
    of the catalogue or of `trained_models`. `plan` has options of ``memcalc train`` (`OPTIONS`); an option
    that it does not name has its default. `family` groups rows with like assumptions, which `note` states.

    `role` tells rows that set a constant of memcalc (``calibration``) from rows that only test it (``test``).
    `grade` A is printed by the program or its makers, with the run described; in B a part is assumed.
    """

    id: str
    family: str
    model: str
    quantity: str
    printed: str
    value_bytes: Amount
    hardware: str
    plan: Mapping[str, Any]
    role: str
    grade: str
    source: str
    date: str
    version: str = ""
    component: str | None = None
    note: str = ""

    @property
    def printed_to(self) -> int:
        """Half a unit of the last printed digit, in bytes; what is printed in full is exact to a byte.

        >>> (row,) = training_observations(id="zero-figure-1-stage-1")
        >>> row.printed, row.printed_to
        ('31.4 GB', 50000000)
        """
        return half_a_digit(self.printed)

    @property
    def judged_with(self) -> tuple[str, str]:
        """The family and the quantity of the rows that are judged together with this one."""
        return self.family, self.quantity

    def columns(self, predicted: Prediction) -> dict[str, object]:
        """Return what a table shows of this row: what was measured, what is predicted, and on what."""
        return {
            "measured": self.value_bytes,
            "predicted": predicted.bytes,
            "from": predicted.low,
            "to": predicted.high,
            "hardware": self.hardware,
        }


class TrainedModel(NamedTuple):
    """A model that is not in the catalogue, as its run describes it, in one of three ways.

    `config` has the fields of a ``config.json``; `fields` are what the run's own arguments say (the
    vocabulary padded as the program pads it); `parameters` is all that is said.

    >>> trained_models()["megatron 12x512 v50432"].fields["vocab_size"]
    50432
    """

    name: str
    source: str
    date: str
    config: Mapping[str, Any] | None = None
    fields: Mapping[str, Any] | None = None
    parameters: int | None = None


def training_observations(**wanted: object) -> tuple[TrainingObservation, ...]:
    """Return the measured figures of training, in the record's order.

    Parameters
    ----------
    **wanted
        Values that fields of `TrainingObservation` must have; all rows without any.

    Returns
    -------
    tuple of TrainingObservation

    Raises
    ------
    BadInputError
        The package was installed without the repository around it.
    AttributeError
        No field has this name.

    Examples
    --------
    >>> [row.value_bytes for row in training_observations(family="fms full", role="calibration")]
    [67.46 GiB, 75.45 GiB, 52.33 GiB]

    """
    return matching(load_records(observation, FILE, CHECKS, part="observations"), wanted)


def observation(plan: Mapping[str, Any], value_bytes: int, **fields: Any) -> TrainingObservation:
    """Return a row from its fields as they are stored: an option with several values is a tuple."""
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in plan.items()}
    return TrainingObservation(plan=values, value_bytes=amount(value_bytes), **fields)


@cache
def trained_models() -> Mapping[str, TrainedModel]:
    """Return the models that rows refer to and the catalogue does not have, by name."""
    models = load_records(TrainedModel, FILE, MODEL_CHECKS, part="models")
    return {model.name: model for model in models}


def training_left_out() -> tuple[LeftOut, ...]:
    """Return the figures of training that were read and are not used, each with one of `TRAINING_REASONS`.

    >>> sum(one.rows for one in training_left_out() if one.reason == "one kernel alone")
    106
    """
    return load_left_out("training_left_out.json", TRAINING_REASONS)
