"""What layers of Gemma 4 E2B and E4B are given beside the stream: short vectors, and others' keys and values.

Read in transformers 5.23, models/gemma4/modeling_gemma4.py: get_per_layer_inputs, project_per_layer_inputs,
Gemma4TextDecoderLayer, Gemma4TextAttention.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memcalc.training.autograd.feedforward import activate
from memcalc.training.autograd.matrices import matrix
from memcalc.training.autograd.norms import norm
from memcalc.training.autograd.tape import VECTORS

if TYPE_CHECKING:
    from memcalc.ledger.model import Model
    from memcalc.ledger.parts import Part
    from memcalc.training.autograd.base import MicroBatch
    from memcalc.training.autograd.tape import Tape, Value

__all__ = ["own_vector", "vectors_of_layers", "with_vector"]

TABLES = ("embed_tokens_per_layer", "per_layer_model_projection", "per_layer_projection_norm")
GATE, BACK, BEHIND = "per_layer_input_gate", "per_layer_projection", "post_per_layer_input_norm"


def vectors_of_layers(tape: Tape, micro: MicroBatch, model: Model, x: Value) -> None:
    """Make a vector of each token for each layer, looked up and made of the stream, and hand them out."""
    parts: dict[str, Any] = dict(model.outside)
    table, projection, last = (f"model.{name}" for name in TABLES)
    if table not in parts:
        return
    columns, width = parts[table].width, parts[last].width
    shape = (*x.shape[:-1], columns)
    trained = micro.trained(table)
    found = tape.value("tokens looked up for layers", shape, micro.element_bytes, grad=trained)
    gradient = parts[table].vocab * columns * micro.element_bytes
    tape.record("look up", (), found, weight_bytes=gradient)
    found = tape.record("scale", (found,), tape.like(found, "tokens for layers, scaled"))
    made = matrix(tape, micro, projection, x, columns)
    made = tape.record("scale", (made,), tape.like(made, "stream for layers, scaled"))
    for one in found, made:
        one.shape = (*x.shape[:-1], columns // width, width)
    before, made = made, norm(tape, micro, last, made)
    tape.refer(before)
    both = tape.add(made, found, "both for layers")
    vectors = tape.record("scale", (both,), tape.like(both, "vectors of layers"))
    tape.handed[VECTORS] = (vectors,)


def own_vector(tape: Tape) -> Value:
    """Return the vectors of one layer: a view, whose gradient is as large as those of all layers."""
    (vectors,) = tape.handed[VECTORS]
    tape.module = ""
    return tape.slice(vectors, (*vectors.shape[:2], vectors.shape[-1]), "vectors of the layer")


def with_vector(tape: Tape, micro: MicroBatch, parts: dict[str, Part], x: Value, vector: Value) -> Value:
    """Multiply what a gate lets through of the stream by the layer's vectors, and add it to the stream."""
    for name in GATE, BACK, BEHIND:
        parts.pop(name)
    tape.module = GATE
    inner = matrix(tape, micro, GATE, x, vector.shape[-1])
    product = tape.multiply(
        activate(tape, micro, inner, "activated gate of the vectors"), vector, "gated vectors"
    )
    tape.module = BACK
    result = matrix(tape, micro, BACK, product, x.shape[-1])
    tape.module = BEHIND
    normal = norm(tape, micro, BEHIND, result)
    for value in x, result:
        tape.refer(value)
    return tape.add(x, normal, "stream after the vectors")
