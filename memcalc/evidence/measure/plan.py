"""A plan in the words of a run: what one device with transformers takes as it stands, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memcalc.errors import BadInputError
from memcalc.options import options_of
from memcalc.training.autograd.dropout import dropouts_of
from memcalc.training.options import TrainingOptions
from memcalc.training.plan import plan_fields

if TYPE_CHECKING:
    from memcalc.options import Option
    from memcalc.training.estimate import TrainingEstimate
    from memcalc.training.plan import TrainingPlan

__all__ = ["run_fields"]

# options that a run takes over as they are, and others with the values that it can have
CARRIED = {
    "seq",
    "micro_batch",
    "autocast",
    "keep_gradients",
    "hold_logits",
    "attention",
    "repeat_kv",
    "like",
}
CARRIED |= {"optimizer_step", "experts", "lora_rank", "lora_targets", "adapter_dtype", "dropout", "on"}
CARRIED |= {"recompute_modules", "rank"}  # they say nothing where the others are as they must be
# moments beside the step, which change nothing in it
CARRIED |= {"load", "save", "evaluate", "eval_batch", "eval_accumulation_steps"}
CARRIED |= {"allocator"}  # it changes what is reserved, and what is allocated not
ONLY: dict[str, tuple[object, ...]] = {
    "method": ("sft",),
    "implementation": ("transformers",),
    "engine_version": (None,),
    "accumulate": (1,),
    "lengths": (None, "packed"),
    "regime": ("pure-bf16", "amp", "fp32"),
    "loss": (None, "plain"),
    "recompute": ("none", "full"),
    "optimizer": ("adamw", "sgd", "sgd-momentum"),
}
ADAPTED = {**ONLY, "regime": ("pure-bf16", "bf16-mixed", "amp", "fp32")}  # a frozen base has no master copy
CALLED = {"sgd-momentum": "momentum"}


def run_fields(step: TrainingEstimate) -> dict[str, Any]:
    """Return the fields of the run (`memcalc.evidence.measure.step.Run`) that an estimate is of.

    Parameters
    ----------
    step : TrainingEstimate
        What is predicted.

    Raises
    ------
    BadInputError
        The plan is for several devices, or has what a run does not.

    Examples
    --------
    >>> from memcalc.training import train
    >>> run_fields(train("Qwen/Qwen3-0.6B", seq=64, regime="amp"))["weights"]
    'fp32'

    """
    plan = step.plan
    for option in options_of(TrainingOptions):
        refuse_beyond(plan, option)
    options, settled = plan.options, plan_fields(plan)
    repeated = "repeated" if plan.micro_batch.repeat_kv else "flash"
    as_named = options.attention == "eager" or bool(plan.micro_batch.architecture.index_rope)
    wide = options.regime in ("amp", "fp32")
    return {
        "batch": options.micro_batch,
        "sequence": options.seq,
        "weights": "fp32" if wide else "bf16",
        "autocast": plan.micro_batch.autocast,
        "attention": options.attention if as_named else repeated,
        "recompute": options.recompute == "full",
        "optimizer": f"{CALLED.get(plan.optimizer.id, plan.optimizer.id)} {plan.optimizer_step}",
        "keep_gradients": options.keep_gradients,
        "hold_logits": options.hold_logits,
        "trained": adapted(plan, settled) if plan.adapters else "all",
        "experts": settled["experts"] or "grouped_mm",
    }


def adapted(plan: TrainingPlan, settled: dict[str, object]) -> str:
    """Return what is trained of a model with adapters."""
    options = plan.options
    targets = ",".join(options.lora_targets or ()) or "all-linear"
    dropout = f" dropout={settled['dropout']}" if settled["dropout"] else ""
    return f"lora {options.lora_rank} {targets} {options.adapter_dtype}{dropout}"


def refuse_other_dropout(plan: TrainingPlan) -> None:
    """Refuse a dropout that is not the config's: what runs is built from that.

    Raises:
        BadInputError: another one is stated beside it.

    """
    stated, micro = dropouts_of(plan.model, plan.source.fields), plan.micro_batch
    if plan.options.dropout is not None and stated.of(micro) != micro:
        expected = f"{max(stated)}, as the config has it, to measure one device"
        remedy = "state it in the config, from which the model is built"
        raise BadInputError("--dropout", expected, plan.options.dropout, remedy)


def refuse_beyond(plan: TrainingPlan, option: Option) -> None:
    """Refuse what a run on one device does not have.

    Raises:
        BadInputError: the option is not at its default, or has a value that is not measured.

    """
    name, value = option.name, getattr(plan.options, option.name)
    allowed = (ADAPTED if plan.adapters else ONLY).get(name)
    if name == "dropout" and not plan.adapters:
        refuse_other_dropout(plan)
    if name in CARRIED:
        return
    if allowed is None:
        allowed = (option.default, None, 0)
    if value not in allowed:
        named = [str(one) for one in allowed if one not in (None, 0, False, ())]
        expected = f"{' or '.join(named) or 'none'}, to measure one device"
        given = ",".join(map(str, value)) if isinstance(value, tuple) else value
        remedy = "it is not measured yet; `memcalc train` predicts it"
        raise BadInputError(option.flag, expected, given, remedy)
