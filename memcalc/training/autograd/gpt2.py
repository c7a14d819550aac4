"""GPT-2's layer as transformers 5.23 runs it: LayerNorm, one matrix for q, k and v, gelu step by step.

Read in transformers/models/gpt2/modeling_gpt2.py, activations.py (NewGELUActivation) and pytorch_utils.py
(Conv1D); held against autograd in tests/test_saved.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.errors import BadInputError
from memcalc.ledger.parts import GQA, MLP, Norm
from memcalc.training.autograd.feedforward import bent_step_by_step
from memcalc.training.autograd.tape import MatrixStorage

if TYPE_CHECKING:
    from memcalc.ledger.model import Layer
    from memcalc.training.autograd.base import MicroBatch
    from memcalc.training.autograd.tape import Tape, Value

__all__ = ["run_layer"]

ADDMM = ("weight", "x", "bias")  # its arguments from the last to the first, as autocast copies them


def matrix(tape: Tape, micro: MicroBatch, name: str, x: Value, columns: int) -> Value:
    """Multiply by a matrix that is stored inputs first (Conv1D), and add its bias.

    Raises:
        BadInputError: it has an adapter, or autocast meets numbers of 16 bits.

    """
    if micro.autocast and not micro.copies_matrices:
        remedy = "what its norms and powers, which run in fp32 there, keep is not modelled"
        raise BadInputError("--autocast", "no, or --regime amp, with GPT-2", "yes", remedy)
    if micro.adapter(name) is not None:
        remedy = "what autograd keeps of adapters of Conv1D is not modelled"
        raise BadInputError("--lora-rank", "a model with linear layers", "GPT-2's Conv1D", remedy)
    stored = MatrixStorage(ADDMM if micro.copies_matrices else ())
    return tape.linear(name, x, columns, trained=micro.trained(name), bias=True, stored=stored)


def one_matrix(tape: Tape, micro: MicroBatch, part: GQA, x: Value) -> Value:
    """Multiply by one matrix for q, k and v."""
    return matrix(tape, micro, "self_attn.q_proj", x, 3 * part.width)


def attention(tape: Tape, micro: MicroBatch, part: GQA, x: Value) -> Value:
    """Project, attend by one kernel or step by step, project back."""
    heads = (micro.batch, micro.seq, part.heads, part.head_dim)
    together = one_matrix(tape, micro, part, x)
    q, k, v = tape.split(together, {"queries": heads, "keys": heads, "values": heads})
    tape.module = "core_attn"
    if micro.attention == "eager":
        out = by_products(tape, micro, together, (q, k, v))
    else:
        out = tape.value("attention output", heads, q.element_bytes, grad=together.grad)
        rows = tape.value("log-sum-exp", heads[:-1], 4, grad=False)
        state = tape.value("state of the random numbers", (24,), 1, grad=False, region="whole")
        keeps = [q, k, v, out, rows, *((state,) if micro.attention == "flash" else ())]
        tape.record("attention", (q, k, v), out, keeps)
    tape.module = "self_attn"
    out.shape = (micro.batch, micro.seq, part.heads * part.head_dim)
    return matrix(tape, micro, "self_attn.o_proj", out, part.width)


def by_products(tape: Tape, micro: MicroBatch, together: Value, inputs: tuple[Value, Value, Value]) -> Value:
    """Attend step by step: copies of queries, keys and values, all scores, their softmax, weighed values."""
    q, k, v = inputs
    batch, seq, heads, _ = q.shape
    viewed = {}
    # gradients of queries and values are copied into the order of the storage
    for name, one in (("queries", q), ("values", v)):
        view = tape.like(one, f"{name} by heads")
        view.of = together
        viewed[name] = tape.record("view", (one,), view)
    q, v = viewed["queries"], viewed["values"]
    copies = [
        tape.record("copy", (one,), tape.like(one, f"{one.name}, copied"), aliased=True) for one in (q, k)
    ]
    scores = tape.value("scores", (batch, heads, seq, seq), q.element_bytes, grad=together.grad)
    tape.record("scores", copies, scores, copies)
    scaled = tape.record("scale", (scores,), tape.like(scores, "scores, scaled"))
    # the mask is as wide as the stream
    masked = tape.cast(scaled, micro.element_bytes, "scores with the mask")
    weights = tape.like(masked, "softmax")
    tape.record("softmax", (masked,), weights, (weights,))
    weights = tape.cast(weights, v.element_bytes, "attention weights")
    weights = tape.dropout(weights, micro.dropout, "attention weights after dropout")
    v = tape.record("copy", (v,), tape.like(v, "values, copied"), aliased=True)
    weighed = tape.value("weighed values", v.shape, v.element_bytes, grad=together.grad)
    tape.record("weigh", (weights, v), weighed, (weights, v))
    return tape.record("copy", (weighed,), tape.like(weighed, "attention output"))


def mlp(tape: Tape, micro: MicroBatch, part: MLP, x: Value) -> Value:
    """Two matrices, and between them gelu step by step."""
    x = matrix(tape, micro, "mlp.up_proj", x, part.ffn_width)
    bent = bent_step_by_step(tape, x, wide=micro.autocast)
    return matrix(tape, micro, "mlp.down_proj", bent, part.width)


BRANCHES = (("input_layernorm", "self_attn", GQA, attention), ("post_attention_layernorm", "mlp", MLP, mlp))


def run_layer(tape: Tape, micro: MicroBatch, layer: Layer, x: Value) -> Value:
    """Run a layer: two branches, each normalised before, dropped in part, and added to the stream.

    Raises:
        BadInputError: a part is not GPT-2's.

    """
    parts = dict(layer.parts)
    for norm, name, kind, body in BRANCHES:
        part, before = parts.pop(name, None), parts.pop(norm, None)
        if not isinstance(part, kind) or not isinstance(before, Norm) or not before.bias:
            raise BadInputError(
                "SOURCE", "a layer as in GPT-2", name, "what autograd keeps of others is not modelled"
            )
        tape.module = norm
        inside = tape.layer_norm(norm, x, trained=micro.trained(norm))
        tape.module = name
        result = body(tape, micro, part, inside)  # type: ignore[arg-type]
        for value in x, inside:
            tape.refer(value)
        result = tape.dropout(result, micro.hidden_dropout, f"{name} after dropout")
        x = tape.add(x, result, f"stream after {name}")
    return x
