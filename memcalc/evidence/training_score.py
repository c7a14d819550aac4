"""Training predicted beside training measured: one function predicts every row of the record."""

from __future__ import annotations

from dataclasses import replace
from statistics import mean, median
from typing import TYPE_CHECKING, Any, NamedTuple

from memcalc.errors import BadInputError, MemcalcError
from memcalc.evidence.score import Prediction, exactly, nine_tenths, span
from memcalc.evidence.training import trained_models
from memcalc.files.readers import read
from memcalc.files.source import Source
from memcalc.files.sources import load_model
from memcalc.training.api import train
from memcalc.training.overheads import runtime_lines
from memcalc.training.zero import states

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from memcalc.evidence.training import TrainedModel, TrainingObservation
    from memcalc.training.estimate import TrainingEstimate

__all__ = [
    "Refusal",
    "TrainingFamily",
    "TrainingScore",
    "by_family",
    "family",
    "planned",
    "predict",
    "scores",
]

SAME_CAPABILITY = {"A100": "a100-80g", "GB200": "b200"}  # cards that the record of machines has, by hardware
STATES = ("regime", "gradients", "shard", "world")  # what decides the states, of all options


class TrainingScore(NamedTuple):
    """A row of the record beside its prediction."""

    row: TrainingObservation
    predicted: Prediction

    @property
    def off(self) -> int:
        """Measured less predicted bytes."""
        return self.row.value_bytes - self.predicted.bytes

    @property
    def error(self) -> float:
        """The same as a share of what was measured."""
        return self.off / self.row.value_bytes

    @property
    def percent(self) -> float:
        """The error in hundredths, with two decimals and without a minus before zero."""
        return round(100 * self.error, 2) + 0.0

    @property
    def width(self) -> float:
        """The width of the range, as a share of what was measured."""
        return (self.predicted.high - self.predicted.low) / self.row.value_bytes

    @property
    def inside(self) -> bool:
        """Whether the measurement lies in the range, as precisely as it was printed."""
        step = self.row.printed_to
        return self.predicted.low - step <= self.row.value_bytes <= self.predicted.high + step

    @property
    def cells(self) -> dict[str, object]:
        """The row of a table: how far off, what was printed, what is predicted, and where it was read."""
        row, gib = self.row, 2**30
        return {
            "model": row.model,
            "off, %": self.percent,
            "in range": self.inside,
            "measured, GiB": row.value_bytes / gib,
            "predicted, GiB": self.predicted.bytes / gib,
            "from, GiB": self.predicted.low / gib,
            "to, GiB": self.predicted.high / gib,
            "hardware": row.hardware,
            "role": row.role,
            "row, and source": f"[`{row.id}`]({row.source})",
        }


class Refusal(NamedTuple):
    """A row of the record that memcalc does not predict, and the line with which it refuses."""

    row: TrainingObservation
    reason: str


class TrainingFamily(NamedTuple):
    """What the rows of one family say together; errors and widths are shares of what was measured."""

    name: str
    quantity: str
    rows: int
    median_error: float
    p90_error: float
    inside: float
    mean_width: float
    worst: TrainingScore


def planned(row: TrainingObservation) -> TrainingEstimate:
    """Return the plan that a row was measured with, on the device of its hardware.

    Where the record of machines does not hold the hardware, a card of the same CUDA capability stands for it
    if only the allocator's bytes were read: no capacity matters to them.

    >>> from memcalc.evidence.training import training_observations
    >>> (row,) = training_observations(id="fms-full-none-mistral-7b-v0.1-1gpu-8-peak")
    >>> planned(row).plan.machine.device.id, planned(row).plan.micro_batch.batch
    ('a100-80g', 8)

    Raises:
        MemcalcError: memcalc refuses the plan.

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


def predict(row: TrainingObservation) -> Prediction:
    """Return what memcalc says of the quantity that a row measured.

    >>> from memcalc.evidence.training import training_observations
    >>> (row,) = training_observations(id="fms-full-none-mistral-7b-v0.1-1gpu-8-peak")
    >>> row.value_bytes // 2**20, predict(row).bytes // 2**20
    (69079, 69078)

    Raises:
        MemcalcError: memcalc refuses the plan.
        KeyError: no prediction of this quantity is known.

    """
    if row.quantity == "states":
        return of_states(row)
    return OF_A_STEP[row.quantity](planned(row))


def of_states(row: TrainingObservation) -> Prediction:
    """Return the states of AdamW, or the component that a row names.

    Raises:
        BadInputError: the row's optimizer is another one.

    """
    if row.plan["optimizer"] != "adamw":
        remedy = "other states follow from a plan with dimensions"
        raise BadInputError("optimizer", "adamw for a row of states", row.plan["optimizer"], remedy)
    model = trained_models().get(row.model)
    if model is None:
        parameters = load_model(row.model).parameters
    else:
        parameters = model.parameters or read(source_of(model).fields, model.name).parameters
    found = states(parameters, **{name: row.plan[name] for name in STATES if name in row.plan})
    return exactly(found.total_bytes if row.component is None else found.components[row.component])


def peak(step: TrainingEstimate) -> Prediction:
    """Return what the allocator holds at the fullest moment."""
    device = step.device
    return span(line for line in device.lines if device.fullest in line.moments)


def after_step(step: TrainingEstimate) -> Prediction:
    """Return what the allocator holds once the step is done: the moment of the step without its copies."""
    lines = step.device.lines
    return span(line for line in lines if "step" in line.moments and line.component != "temporaries")


def on_device(step: TrainingEstimate) -> Prediction:
    """Return what a device holds in all: the fullest moment, what the allocator keeps, and the context."""
    device = step.device
    return Prediction(device.total_bytes, device.low_bytes, device.high_bytes)


def reserved(step: TrainingEstimate) -> Prediction:
    """Return what the allocator has taken of a device: all but the context and the communicators."""
    beside = {line.name for line in runtime_lines(step.plan)}
    device = step.device
    lines = tuple(line for line in device.lines if line.name not in beside)
    without = replace(device, lines=lines)
    return Prediction(without.total_bytes, without.low_bytes, without.high_bytes)


def kept(step: TrainingEstimate) -> Prediction:
    """Return what is kept for the backward pass."""
    lines = step.device.lines
    parts = ("activations", "logits")
    return span(line for line in lines if "forward_end" in line.moments and line.component in parts)


OF_A_STEP: dict[str, Callable[[TrainingEstimate], Prediction]] = {
    "allocated": peak,
    "allocated_after_step": after_step,
    "reserved": reserved,
    "device": on_device,
    "activations": kept,
}


def scores(rows: Iterable[TrainingObservation]) -> tuple[list[TrainingScore], list[Refusal]]:
    """Return every row with its prediction, and those that memcalc refuses with the line that says why."""
    found, refused = [], []
    for row in rows:
        try:
            found.append(TrainingScore(row, predict(row)))
        except MemcalcError as error:
            refused.append(Refusal(row, str(error)))
    return found, refused


def by_family(held: Iterable[TrainingScore]) -> dict[tuple[str, str], list[TrainingScore]]:
    """Return the scores by family and quantity, which are judged together."""
    found: dict[tuple[str, str], list[TrainingScore]] = {}
    for score in held:
        found.setdefault((score.row.family, score.row.quantity), []).append(score)
    return found


def family(name: str, quantity: str, held: list[TrainingScore]) -> TrainingFamily:
    """Return what the scores of one family and quantity say together."""
    errors = sorted(abs(score.error) for score in held)
    return TrainingFamily(
        name,
        quantity,
        len(held),
        median(errors),
        nine_tenths(errors),
        mean(score.inside for score in held),
        mean(score.width for score in held),
        max(held, key=lambda score: abs(score.error)),
    )
