"""How a measured figure of training becomes a plan, and the plan what memcalc says of the figure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from memcalc.errors import BadInputError
from memcalc.evidence.prediction import Prediction, exactly, sum_of_lines, whole_device
from memcalc.evidence.training import trained_models
from memcalc.files.readers import read
from memcalc.files.readers.megatron import described
from memcalc.files.source import Source
from memcalc.files.sources import load_model
from memcalc.training.plan import train
from memcalc.training.precision import states
from memcalc.training.stage import runtime_lines

if TYPE_CHECKING:
    from collections.abc import Callable

    from memcalc.evidence.training import TrainedModel, TrainingObservation
    from memcalc.training.stage import Training

__all__ = ["predict_training", "training_estimate"]

SAME_CAPABILITY = {"A100": "a100-80g", "GB200": "b200"}  # cards that the record of machines has, by hardware
OF_STATES = ("regime", "gradients", "shard", "world")  # what decides the states, of all options


def training_estimate(row: TrainingObservation) -> Training:
    """Return the estimate of the plan that a row was measured with, on the device of its hardware.

    Where the record of machines does not hold the hardware, a card of the same CUDA capability stands for it
    if only the allocator's bytes were read: no capacity matters to them.

    Parameters
    ----------
    row : TrainingObservation
        A measured figure; options that its plan does not name have their defaults.

    Raises
    ------
    MemcalcError
        memcalc refuses the plan.

    Examples
    --------
    >>> from memcalc.evidence.training import training_observations
    >>> (row,) = training_observations(id="fms-full-none-mistral-7b-v0.1-1gpu-8-peak")
    >>> training_estimate(row).machine.device.id, training_estimate(row).setting.batch
    ('a100-80g', 8)

    """
    plan: dict[str, Any] = dict(row.plan)
    if "compile" in plan:
        plan["compiled"] = plan.pop("compile")
    if "pipeline_layout" in plan:
        plan["pipeline_layout"] = ",".join(map(str, plan["pipeline_layout"]))
    card = SAME_CAPABILITY.get(row.hardware.split()[-1])
    if "on" not in plan and card is not None and row.quantity.startswith("allocated"):
        plan["on"] = f"{plan['world']}x {card}"
    model = trained_models().get(row.model)
    if model is None:
        return train(row.model, **plan)
    if model.parameters is not None:
        expected = "a model with dimensions"
        raise BadInputError("model", expected, model.name, "a count of parameters has states, and no step")
    if model.fields is not None:
        plan.setdefault("vocab_multiple", 1)  # its vocabulary is padded already
    return train(source_of(model), **plan)


def source_of(model: TrainedModel) -> Source:
    """Return a model of the record as a source: its config.json, or Megatron's arguments."""
    fields = described(model.fields) if model.fields is not None else dict(model.config or {})
    return Source(model.name, fields, model.source)


def predict_training(row: TrainingObservation) -> Prediction:
    """Return what memcalc says of the quantity that a row measured.

    Raises
    ------
    MemcalcError
        memcalc refuses the plan.

    """
    if row.quantity == "states":
        return of_states(row)
    return OF_A_STEP[row.quantity](training_estimate(row))


def of_states(row: TrainingObservation) -> Prediction:
    """Return the states of AdamW, or the component that a row names.

    Raises
    ------
    BadInputError
        The row's optimizer is another one.

    """
    if row.plan["optimizer"] != "adamw":
        remedy = "other states follow from a plan with dimensions"
        raise BadInputError("optimizer", "adamw for a row of states", row.plan["optimizer"], remedy)
    found = states(parameters_of(row), **{name: row.plan[name] for name in OF_STATES if name in row.plan})
    return exactly(found.total_bytes if row.component is None else found.components[row.component])


def parameters_of(row: TrainingObservation) -> int:
    """Return the parameters of a row's model, which need not have dimensions."""
    model = trained_models().get(row.model)
    if model is None:
        return load_model(row.model).parameters
    return model.parameters or read(source_of(model).fields, model.name).parameters


def peak(estimate: Training) -> Prediction:
    """Return what the allocator holds at the fullest moment."""
    device = estimate.fullest.budgets[0]
    return sum_of_lines(line for line in device.lines if device.fullest in line.moments)


def after_step(estimate: Training) -> Prediction:
    """Return what the allocator holds once the step is done: the moment of the step without its copies."""
    lines = estimate.fullest.budgets[0].lines
    return sum_of_lines(line for line in lines if "step" in line.moments and line.component != "temporaries")


def on_device(estimate: Training) -> Prediction:
    """Return what a device holds in all: the fullest moment, what the allocator keeps, and the context."""
    return whole_device(estimate.fullest.budgets[0])


def reserved(estimate: Training) -> Prediction:
    """Return what the allocator has taken of a device: all but the context and the communicators."""
    outside = {line.name for line in runtime_lines(estimate)}
    device = estimate.fullest.budgets[0]
    lines = tuple(line for line in device.lines if line.name not in outside)
    return whole_device(replace(device, lines=lines))


def kept(estimate: Training) -> Prediction:
    """Return what is kept for the backward pass."""
    lines = estimate.fullest.budgets[0].lines
    parts = ("activations", "logits")
    return sum_of_lines(line for line in lines if "forward_end" in line.moments and line.component in parts)


OF_A_STEP: dict[str, Callable[[Training], Prediction]] = {
    "allocated": peak,
    "allocated_after_step": after_step,
    "reserved": reserved,
    "device": on_device,
    "activations": kept,
}
