"""The step of a plan, really taken, and each of its moments beside what was predicted."""

from __future__ import annotations

import logging
import warnings
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, NamedTuple

from memcalc.data.units import GIB, MIB, amount
from memcalc.errors import BadInputError, MemcalcError
from memcalc.evidence.measure.plan import run_fields

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from memcalc.data.units import Amount
    from memcalc.training.estimate import TrainingEstimate

    Marks = Mapping[str, Mapping[str, int]]

__all__ = ["Measurement", "Moment", "by_moment", "measure", "ran"]

FAKE = "fake tensors: shapes and dtypes without numbers, on the CPU"
NEEDED = ("torch", "transformers", "peft")


class Moment(NamedTuple):
    """A moment of the step: what was measured, and what was predicted for the same."""

    at: str
    measured_bytes: Amount
    predicted_bytes: Amount

    @property
    def difference(self) -> int:
        """What was measured beyond what was predicted."""
        return int(self.measured_bytes) - int(self.predicted_bytes)


class Measurement(NamedTuple):
    """A step that was taken: on which device, with which versions, and its moments.

    `reserved_bytes` is the most that the device's allocator had reserved, None without a device.
    """

    step: TrainingEstimate
    device: str
    versions: Mapping[str, str]
    seed: int
    date: str
    moments: tuple[Moment, ...]
    reserved_bytes: Amount | None

    @property
    def is_fake(self) -> bool:
        """Whether nothing was computed, for want of a GPU."""
        return self.device == FAKE

    @property
    def allocated_bytes(self) -> Amount:
        """The largest moment."""
        return max(one.measured_bytes for one in self.moments)

    def __str__(self) -> str:
        using = ", ".join(f"{name} {said}" for name, said in self.versions.items())
        head = f"{self.step.model.name}: one step on {self.device}\n  {using}; seed {self.seed}, {self.date}"
        rows = [f"  {'':<14} {'measured':>12} {'predicted':>12} {'difference':>16}"]
        for one in self.moments:
            sizes = f"{in_its_unit(one.measured_bytes)} {in_its_unit(one.predicted_bytes)}"
            rows.append(f"  {one.at:<14} {sizes} {one.difference:>+14,} B")
        if self.reserved_bytes is not None:
            rows.append(f"  reserved       {in_its_unit(self.reserved_bytes)}")
        return "\n".join([head, *rows])


def in_its_unit(size: int) -> str:
    """Return a size in GiB, or where it is less than one, in MiB.

    >>> in_its_unit(2**31), in_its_unit(2**20 + 2**19)
    ('    2.00 GiB', '    1.50 MiB')
    """
    return f"{size / GIB:>8.2f} GiB" if size >= GIB else f"{size / MIB:>8.2f} MiB"


def measure(step: TrainingEstimate, seed: int = 0) -> Measurement:
    """Take the step of an estimate on this machine's GPU; without one, on fake tensors.

    Weights are random. The second step is measured: its optimizer has states.

    Parameters
    ----------
    step : TrainingEstimate
        What is predicted: the answer of `memcalc.train`.
    seed : int, default 0
        The number from which the random weights and tokens are drawn.

    Returns
    -------
    Measurement
        Each moment, measured and predicted.

    Raises
    ------
    BadInputError
        torch, transformers or PEFT is missing, or the plan is none of one device that they run: whatever they
        raise of it is said in a line.

    """
    run = run_fields(step)
    versions = installed()
    import torch
    import transformers

    from memcalc.files.by_transformers import config_of

    torch.manual_seed(seed)
    fields = {name: value for name, value in step.plan.source.fields.items() if name not in ASIDE}
    config, family = config_of(transformers, fields), transformers.AutoModelForCausalLM
    if config.model_type not in transformers.models.auto.modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        expected = (
            f"a type that AutoModelForCausalLM of transformers {transformers.__version__} has a class for"
        )
        raise BadInputError("SOURCE", expected, config.model_type, "`memcalc train` predicts it")
    if config.model_type in CHOSEN_WHEN_BUILT and run["attention"] != "eager":
        remedy = "its class takes no kernel but its own; `memcalc train` predicts it"
        raise BadInputError(
            "--attention", f"eager to measure {config.model_type}", step.plan.options.attention, remedy
        )
    is_fake = not torch.cuda.is_available()
    if not is_fake and run["attention"] != "eager" and run["weights"] == "fp32" and not run["autocast"]:
        raise BadInputError(
            "--attention", "eager with fp32 on a GPU", run["attention"], "its kernel has 16 bits"
        )
    marks, trained = ran(config, family, run, torch)
    reserved = [at["reserved"] for at in marks.values() if "reserved" in at]
    return Measurement(
        step=step,
        device=FAKE if is_fake else torch.cuda.get_device_name(),
        versions=versions,
        seed=seed,
        date=datetime.now(UTC).date().isoformat(),
        moments=tuple(beside_predictions(step, marks, trained, is_fake=is_fake)),
        reserved_bytes=amount(max(reserved)) if reserved else None,
    )


# classes of transformers 5.23 that choose how to attend while they are built, before a step states its kernel
CHOSEN_WHEN_BUILT = ("falcon", "gpt_neo", "gptj")
ASIDE = ("quantization_config", "auto_map", "architectures")


def installed() -> dict[str, str]:
    """Return the versions of what a step needs.

    Raises:
        BadInputError: one of them is not installed.

    """
    from importlib.util import find_spec

    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        remedy = "pip install 'llm-memcalc[measure]'"
        raise BadInputError("measure", ", ".join(NEEDED), f"no {', '.join(missing)}", remedy)
    return {name: version(name) for name in NEEDED}


def ran(config: Any, family: Any, run: dict[str, Any], torch: Any) -> tuple[Marks, int]:
    """Return what a step that is taken held, with nothing but its own words where it fails.

    Raises:
        BadInputError: torch, transformers or PEFT cannot build or run the model.

    """
    try:
        with quiet():
            return taken(config, family, run, torch)
    except MemcalcError:
        raise
    except Exception as error:
        said = (str(error).splitlines() or [""])[0]
        field = f"the model of transformers {version('transformers')}"
        given = f"{type(error).__name__}: {said}"
        remedy = "correct the config or the plan; `memcalc train` predicts without running it"
        raise BadInputError(field, "a step that runs", given, remedy) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what libraries log and warn of to themselves: torch logs the traceback of what it cannot fake."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(before)


def taken(config: Any, family: Any, run: dict[str, Any], torch: Any) -> tuple[Marks, int]:
    """Return what was held at each mark of a step, and how many arrays were trained."""
    from memcalc.evidence.measure.step import DeviceMemory, Run, build, real_step, traced_step

    how = Run(**run)
    if torch.cuda.is_available():
        model = build(config, family, how, "cuda")
        marks = real_step(model, how, DeviceMemory(torch.cuda))
    else:
        model = build(config, family, how)
        marks = traced_step(model, how)
    return marks, sum(item.requires_grad for item in model.parameters())


def beside_predictions(step: TrainingEstimate, marks: Marks, trained: int, *, is_fake: bool) -> list[Moment]:
    """Return each moment, measured and predicted.

    Predictions are of a GPU: on fake tensors there are no library's workspaces. Beside the tensors of a step
    lie the token ids, 8 bytes each, and on the CPU the counters of AdamW, 4 bytes a weight.
    """
    options = step.plan.options
    beside = 8 * options.micro_batch * options.seq
    beside += 4 * trained if is_fake and options.optimizer == "adamw" else 0
    found = []
    for at, measured in by_moment(marks, step.moments).items():
        parts = step.at(at)
        predicted = sum(size for name, size in parts.items() if not (is_fake and name == "workspace"))
        found.append(Moment(at, amount(measured), amount(predicted + beside)))
    return found


def by_moment(marks: Marks, names: tuple[str, ...]) -> dict[str, int]:
    """Return the bytes of the moments of a plan, from the marks of a step.

    What is held after the forward pass, and peaks from there on. Where no gradient reaches the embedded
    tokens, the end of the backward pass is no moment of its own.
    """
    end, loss, backward, finish, update = names
    capped = marks.get("capped backward")  # the class scales or caps its logits: that belongs to the head
    of_loss = marks["loss backward"] if capped is None else capped
    back = [marks[name]["peak"] for name in ("head backward", "layers backward") if name in marks]
    back += [] if capped is None else [marks["loss backward"]["peak"]]
    found = {end: marks["forward"]["held"], loss: max(marks["forward"]["peak"], of_loss["peak"])}
    if "layers backward" in marks:
        found |= {backward: max(back), finish: marks["backward"]["peak"]}
    else:
        found[backward] = max(*back, marks["backward"]["peak"])
    return found | {update: marks["step"]["peak"]}
