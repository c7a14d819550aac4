"""What others measured of serving: each figure with its hardware, version, moment, source and date.

What was read and is not used is counted too, with the reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from memcalc.data.units import GIB, MIB, amount
from memcalc.evidence.records import PURPOSE, SOURCED, half_a_digit, load_left_out, load_records, matching

if TYPE_CHECKING:
    from memcalc.data.units import Amount
    from memcalc.evidence.prediction import Prediction
    from memcalc.evidence.records import Checks, LeftOut

__all__ = ["CHECKS", "QUANTITIES", "REASONS", "SEVERAL", "Observation", "left_out", "observations"]

SEVERAL = "memory of several"  # sums over the stages of several devices, which are judged apart
QUANTITIES = {  # what memcalc predicts, in words
    "weights_bytes_per_rank": "weights a rank",
    "kv_bytes_per_token": "KV cache a token",
    "kv_needed_one_request": "KV cache a request",
    "memory": "total used",
    SEVERAL: "total used, several GPUs",
    "kv_bytes_per_rank": "pool for the KV cache",
    "activation_peak_bytes": "activation peak",
    "non_torch_bytes": "outside the allocator",
    "graph_bytes": "CUDA graphs",
    "kv_bytes": "KV cache of a context",
    "gguf_tensor_bytes": "tensors of a GGUF file",
    "device_bytes": "device in all, with its context",
    "host_bytes": "host memory",
}
FORKS = {"ik_llama.cpp": "llama.cpp"}  # engines whose caches and files follow the rules of another
REASONS = {  # why a published figure is no row of the record
    "no engine": "memcalc does not model the engine yet",
    "no reader": "memcalc does not read the model yet, or its config was not at hand",
    "GGUF": "sizes of GGUF files are not compared yet",
    "own mix": "a GGUF file whose maker chose the types of its tensors, and does not list them",
    "other law": "an older version, whose cache follows other rules",
    "not stated": "not enough is stated to predict it",
    "contradiction": "the figures of the run do not add up",
    "refused": "the server refused to start: nothing was taken that could be predicted",
    "derived": "a difference or a ratio of figures that are themselves rows, or left out",
    "again": "the same figure again",
}
CHECKS: Checks = {
    **SOURCED,
    **PURPOSE,
    "value_bytes or value": lambda row: (row.value_bytes is None) != (row.value is None),
}


class Observation(NamedTuple):
    """One measured figure.

    `quantity` is what was measured, `printed` how the source writes it, `value_bytes` the same in bytes (or
    `value` where tokens were counted). `moment` is when it was taken; a ``peak`` is the largest of all
    moments. `prompt` and `context` are tokens, `block_size` those of a block, `visible_gib` what the engine
    saw; `tokens` are those that share a measured size. `on` is the machine as ``--on`` has it, where the
    record of machines holds it. `shape` is the catalogue model that has the shapes of `model`, if that is not
    one itself, and `weights` the format of its matrices, if the record does not say it. `seqs`,
    `batched_tokens` and `eager` are the server's options, where they are not its defaults; `options`
    (KEY=VALUE, spaces between them) and `offload` are those of engines that have others.

    `role` tells rows that set a constant of memcalc (``calibration``) from rows that only test it
    (``test``): no row is both. `grade` A is printed by the program or its makers, with the run described;
    B is inferred in part: from a thread, or from other printed figures.
    """

    id: str
    model: str
    engine: str
    version: str
    hardware: str
    quantity: str
    printed: str
    moment: str
    role: str
    grade: str
    source: str
    date: str
    value_bytes: Amount | None = None
    value: int | None = None
    shape: str | None = None
    weights: str | None = None
    kv: str | None = None
    on: str | None = None
    tokens: int | None = None
    seqs: int | None = None
    batched_tokens: int | None = None
    eager: bool | None = None
    prompt: int | None = None
    context: int | None = None
    tp: int = 1
    pp: int = 1
    ep: int = 1
    dp: int = 1
    attention_dp: int = 1
    block_size: int | None = None
    visible_gib: float | None = None
    utilization: float | None = None
    options: str = ""
    offload: str | None = None
    note: str = ""

    @property
    def printed_to(self) -> int:
        """Half a unit of the last printed digit, in bytes; what is quoted in full is exact to a byte.

        >>> observations(id="qwen2.5-7b-bf16-6144")[0].printed_to  # 0.005 GiB
        5368710
        """
        return half_a_digit(self.printed) // (self.tokens or 1)

    @property
    def rules(self) -> str:
        """The engine whose rules the program follows."""
        return FORKS.get(self.engine, self.engine)

    @property
    def judged_with(self) -> tuple[str, str]:
        """The engine and the quantity of the rows that are judged together with this one."""
        several = self.quantity == "memory" and self.pp > 1
        return self.rules, SEVERAL if several else self.quantity

    def in_its_unit(self, size: int) -> str:
        """Return bytes in the unit that the source prints.

        >>> observations(id="qwen3-32b-bf16-6144")[0].in_its_unit(67_707_076_608)
        '64,570 MiB'
        """
        if self.quantity == "kv_bytes_per_token":
            return f"{size:,} B"
        return f"{size / MIB:,.0f} MiB" if "MiB" in self.printed else f"{size / GIB:,.3f} GiB"

    def columns(self, predicted: Prediction) -> dict[str, object]:
        """Return what a table shows of this row: what was printed, what is predicted, how it was run."""
        low, high = (self.in_its_unit(size) for size in (predicted.low, predicted.high))
        ends = unbroken(f"{low.partition(' ')[0]} to {high}")
        return {
            "printed": self.printed.partition(" (its column says")[0].replace(" GiB", unbroken(" GiB")),
            "predicted": unbroken(self.in_its_unit(predicted.bytes)),
            "range": ends if predicted.low < predicted.high else None,
            "version": f"{self.engine} {self.version}",
            "hardware": self.hardware,
            "moment": self.moment,
        }


def unbroken(text: str) -> str:
    """Return text that stays on one line of a narrow column."""
    return text.replace(" ", "\u00a0")


def observations(**wanted: object) -> tuple[Observation, ...]:
    """Return the measured figures of serving, in the record's order.

    Parameters
    ----------
    **wanted
        Values that fields of `Observation` must have; all rows without any.

    Returns
    -------
    tuple of Observation

    Raises
    ------
    BadInputError
        The package was installed without the repository around it.
    AttributeError
        No field has this name.

    Examples
    --------
    >>> [row.value_bytes // 2**20 for row in observations(model="Qwen/Qwen3-32B", engine="transformers")]
    [64583, 66632, 70728, 62751]

    """
    return matching(load_records(observation, "observations.json", CHECKS), wanted)


def observation(value_bytes: int | None = None, **fields: Any) -> Observation:
    """Return a row from its fields as they are stored: its bytes are an amount."""
    return Observation(value_bytes=amount(value_bytes), **fields)


def left_out() -> tuple[LeftOut, ...]:
    """Return the figures of serving that were read and are not used, each with one of `REASONS`.

    >>> {one.reason for one in left_out()} == set(REASONS)
    True
    """
    return load_left_out("left_out.json", REASONS)
