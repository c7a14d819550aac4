"""What engines have in common where layers remember states of fixed size instead of tokens."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from memcalc.errors import BadInputError
from memcalc.ledger.parts.kinds import keeps_state

if TYPE_CHECKING:
    from memcalc.ledger.model import Layer, Model
    from memcalc.ledger.parts import Part

__all__ = ["DTYPES", "has_states", "refuse_cut_states", "refuse_unserved", "state_bits", "without_tables"]

TABLES = "decay_block"
DTYPES = {"auto": 0, "float32": 32, "bfloat16": 16, "float16": 16}


def has_states(model: Model) -> bool:
    """Say whether layers of a model remember states."""
    return any(keeps_state(part) for layer in model.groups for _, part in layer.remembering)


def without_tables(model: Model) -> Model:
    """Return a model without tables of lightning attention's decay, which transformers alone holds."""
    if not any(getattr(part, TABLES, None) for layer in model.groups for _, part in layer.parts):
        return model

    def bare(layer: Layer, _: object) -> Layer:
        return replace(layer, parts=tuple((name, without_table(part)) for name, part in layer.parts))

    return model.map_layers(bare)


def without_table(part: Any) -> Part:
    """Return a part without such tables."""
    return replace(part, decay_block=None) if hasattr(part, TABLES) else part


def refuse_unserved(model: Model, types: frozenset[str], engine: str) -> None:
    """Refuse types of which an engine's source shows no class, and text models that stand alone.

    Raises:
        BadInputError: this is one of them.

    """
    alone = () if model.vision else (model.text_type,)
    named = next((one for one in (model.model_type, *alone) if one in types), None)
    if named:
        expected, remedy = f"a type that {engine} has a class for", "choose another engine or release"
        raise BadInputError("--engine", expected, named, remedy)


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
