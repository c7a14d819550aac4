"""What engines have in common where layers remember states of fixed size instead of tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.errors import BadInputError

if TYPE_CHECKING:
    from memcalc.ledger.model import Model
    from memcalc.ledger.parts import Part

__all__ = ["has_states", "keeps_state", "refuse_cut_states", "state_bits"]

DTYPES = {"auto": 0, "float32": 32, "bfloat16": 16, "float16": 16}


def keeps_state(part: Part) -> bool:
    """Say whether a part remembers a state of fixed size instead of tokens."""
    return part.counted == "state_depth"


def has_states(model: Model) -> bool:
    """Say whether layers of a model remember states."""
    return any(keeps_state(part) for layer in model.groups for _, part in layer.remembering)


def state_bits(field: str, named: object) -> int:
    """Return the bits of a number of a recurrent state, by the name of the dtype; 0 for the engine's own.

    >>> state_bits("mamba_ssm_dtype", "float32"), state_bits("mamba_ssm_dtype", "auto")
    (32, 0)

    Raises:
        BadInputError: no such state can be.

    """
    if not isinstance(named, str) or named not in DTYPES:
        expected = f"one of {', '.join(DTYPES)}"
        raise BadInputError(f"--engine-option {field}", expected, named, "correct the value")
    return DTYPES[named]


def refuse_cut_states(model: Model, ranks: int, engine: str) -> None:
    """Refuse ranks that do not divide the heads of a state, or the numbers of a convolution.

    Raises:
        BadInputError: they do not.

    """
    for tensor in model.cache(1, 1) if ranks > 1 else ():
        if tensor.kind == "state" and tensor.shard_axis is not None:
            axis = tensor.shape[tensor.shard_axis]
            number = axis[0] if isinstance(axis, tuple) else axis
            if number % ranks:
                expected = f"a divisor of the {number} heads or numbers of {tensor.name}"
                raise BadInputError("--tp", expected, ranks, f"{engine} cuts them whole")
