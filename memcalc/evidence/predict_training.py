"""How a measured figure of training becomes a plan, and the plan what memcalc says of the figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memcalc.errors import BadInputError
from memcalc.evidence.prediction import Prediction, exactly, sum_of_lines, whole_device
from memcalc.evidence.training import trained_models
from memcalc.files.api import model as load_model
from memcalc.files.readers import read
from memcalc.files.source import Source
from memcalc.training.api import train
from memcalc.training.overheads import runtime_lines
from memcalc.training.zero import states

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from memcalc.evidence.training import TrainedModel, TrainingObservation
    from memcalc.training.estimate import TrainingEstimate

__all__ = ["predict_training", "training_estimate"]

SAME_CAPABILITY = {"A100": "a100-80g", "GB200": "b200"}  # cards that the record of machines has, by hardware
OF_STATES = ("regime", "gradients", "shard", "world")  # what decides the states, of all options


def training_estimate(row: TrainingObservation) -> TrainingEstimate:
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
    >>> plan = training_estimate(row).plan
    >>> plan.machine.device.id, plan.micro_batch.batch
    ('a100-80g', 8)

    """
    plan: dict[str, Any] = dict(row.plan)
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
    fields = dict(model.config or {}) if model.fields is None else megatron_arguments(model.fields)
    return Source(model.name, fields, model.source)


WORDS = {  # of the record -> Megatron's
    "num_hidden_layers": "num_layers",
    "num_key_value_heads": "num_query_groups",
    "head_dim": "kv_channels",
    "intermediate_size": "ffn_hidden_size",
    "gated": "swiglu",
    "qk_norm": "qk_layernorm",
    "q_rank": "q_lora_rank",
    "kv_rank": "kv_lora_rank",
    "nope_dim": "qk_head_dim",
    "rope_dim": "qk_pos_emb_head_dim",
    "v_dim": "v_head_dim",
    "experts": "num_experts",
    "top_k": "moe_router_topk",
    "expert_width": "moe_ffn_hidden_size",
    "shared_width": "moe_shared_expert_intermediate_size",
    "mtp_layers": "mtp_num_layers",
}


def megatron_arguments(fields: Mapping[str, Any]) -> dict[str, object]:
    """Return Megatron's arguments for a model that the record of training runs describes in its own words.

    >>> words = {"hidden_size": 512, "num_hidden_layers": 12, "tie": True, "positions": "rope", "norm": "rms"}
    >>> found = megatron_arguments(words)
    >>> found["position_embedding_type"], found["untie_embeddings_and_output_weights"]
    ('rope', False)
    """
    otherwise = ("tie", "norm", "bias", "qkv_bias", "positions", "dense_layers")
    found = {WORDS.get(name, name): value for name, value in fields.items() if name not in otherwise}
    found["untie_embeddings_and_output_weights"] = not fields["tie"]
    found["normalization"] = "RMSNorm" if fields["norm"] == "rms" else "LayerNorm"
    found["disable_bias_linear"] = not fields.get("bias")
    found["add_qkv_bias"] = bool(fields.get("qkv_bias"))
    found["position_embedding_type"] = "rope" if fields["positions"] == "rope" else "learned_absolute"
    found["group_query_attention"] = True
    found["multi_latent_attention"] = "kv_rank" in fields
    dense = fields.get("dense_layers", 0)
    if dense:
        found["moe_layer_freq"] = f"([0]*{dense}+[1]*{fields['num_hidden_layers'] - dense})"
    return found


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


def peak(estimate: TrainingEstimate) -> Prediction:
    """Return what the allocator holds at the fullest moment."""
    device = estimate.device
    return sum_of_lines(line for line in device.lines if device.fullest in line.moments)


def after_step(estimate: TrainingEstimate) -> Prediction:
    """Return what the allocator holds once the step is done: the moment of the step without its copies."""
    lines = estimate.device.lines
    return sum_of_lines(line for line in lines if "step" in line.moments and line.component != "temporaries")


def on_device(estimate: TrainingEstimate) -> Prediction:
    """Return what a device holds in all: the fullest moment, what the allocator keeps, and the context."""
    return whole_device(estimate.device)


def reserved(estimate: TrainingEstimate) -> Prediction:
    """Return what the allocator has taken of a device: all but the context and the communicators."""
    outside = {line.name for line in runtime_lines(estimate.plan)}
    device = estimate.device
    lines = tuple(line for line in device.lines if line.name not in outside)
    return whole_device(device.holding(lines))


def kept(estimate: TrainingEstimate) -> Prediction:
    """Return what is kept for the backward pass."""
    lines = estimate.device.lines
    parts = ("activations", "logits")
    return sum_of_lines(line for line in lines if "forward_end" in line.moments and line.component in parts)


OF_A_STEP: dict[str, Callable[[TrainingEstimate], Prediction]] = {
    "allocated": peak,
    "allocated_after_step": after_step,
    "reserved": reserved,
    "device": on_device,
    "activations": kept,
}
