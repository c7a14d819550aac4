"""GPT-2's layer as transformers 5.23 runs it: LayerNorm, one matrix for q, k and v, gelu step by step.

Read in transformers/models/gpt2/modeling_gpt2.py, activations.py (NewGELUActivation) and pytorch_utils.py
(Conv1D); held against autograd in tests/test_saved.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.errors import BadInputError
from memcalc.ledger.parts import GQA, MLP, Norm

if TYPE_CHECKING:
    from memcalc.ledger.model import Layer
    from memcalc.training.autograd.base import Setting
    from memcalc.training.autograd.tape import Tape, Value

__all__ = ["layer"]


def matrix(tape: Tape, setting: Setting, name: str, x: Value, columns: int) -> Value:
    """Multiply by a matrix that is stored inputs first (Conv1D), and add its bias.

    Raises:
        BadInputError: there is an adapter beside it.

    """
    if setting.adapter(name) is not None:
        remedy = "what autograd keeps of adapters beside Conv1D is not listed"
        raise BadInputError("--lora-rank", "a model with linear layers", "GPT-2's Conv1D", remedy)
    return tape.linear(
        name, x, columns, trained=setting.trained(name), bias=True, cast=setting.autocast, bias_first=True
    )


def together(tape: Tape, setting: Setting, part: GQA, x: Value) -> Value:
    """Multiply by one matrix for q, k and v.

    Raises:
        BadInputError: only some of the three are trained.

    """
    names = [f"self_attn.{letter}_proj" for letter in "qkv"]
    if len({setting.trained(name) for name in names}) > 1:
        raise BadInputError(
            "--trainable", "q, k and v together", "some of them", "GPT-2 has one matrix for the three"
        )
    return matrix(tape, setting, names[0], x, 3 * part.width)


def attention(tape: Tape, setting: Setting, part: GQA, x: Value) -> Value:
    """Project, attend by one kernel or step by step, project back."""
    batch, seq, heads = setting.batch, setting.seq, (setting.batch, setting.seq, part.heads, part.head_dim)
    both = together(tape, setting, part, x)
    q, k, v = tape.split(both, {"queries": heads, "keys": heads, "values": heads})
    grad = both.grad
    tape.module = "core_attn"
    if setting.attention != "eager":
        out = tape.value("attention output", heads, q.element_bytes, grad=grad)
        rows = tape.value("log-sum-exp", heads[:-1], 4, grad=False)
        state = tape.value("state of the random numbers", (24,), 1, grad=False, region="whole")
        keeps = [q, k, v, out, rows, *((state,) if setting.attention == "flash" else ())]
        tape.record("attention", (q, k, v), out, keeps)
    else:
        viewed = {}
        for name, one in (
            ("queries", q),
            ("values", v),
        ):  # their gradients are copied into the order of the storage
            view = tape.like(one, f"{name} by heads")
            view.of = both
            viewed[name] = tape.record("view", (one,), view)
        q, v = viewed["queries"], viewed["values"]
        copies = [
            tape.record("copy", (one,), tape.like(one, f"{one.name}, copied"), aliased=True) for one in (q, k)
        ]
        square = (batch, part.heads, seq, seq)
        scores = tape.value("scores", square, q.element_bytes, grad=grad)
        tape.record("scores", copies, scores, copies)
        scaled = tape.record("scale", (scores,), tape.like(scores, "scores, scaled"))
        masked = tape.cast(
            scaled, setting.element_bytes, "scores with the mask"
        )  # which is as wide as the stream
        weights = tape.like(masked, "softmax")
        tape.record("softmax", (masked,), weights, (weights,))
        weights = tape.cast(weights, v.element_bytes, "attention weights")
        weights = tape.dropout(weights, setting.dropout, "attention weights after dropout")
        v = tape.record("copy", (v,), tape.like(v, "values, copied"), aliased=True)
        weighed = tape.value("weighed values", heads, v.element_bytes, grad=grad)
        tape.record("weigh", (weights, v), weighed, (weights, v))
        out = tape.record("copy", (weighed,), tape.like(weighed, "attention output"))
    tape.module = "self_attn"
    out.shape = (batch, seq, part.heads * part.head_dim)
    return matrix(tape, setting, "self_attn.o_proj", out, part.width)


def mlp(tape: Tape, setting: Setting, part: MLP, x: Value) -> Value:
    """Two matrices, and between them x/2 (1 + tanh(c (x + 0.044715 x^3))), each step a storage of its own."""
    x = matrix(tape, setting, "mlp.up_proj", x, part.ffn_width)
    half = tape.record("scale", (x,), tape.like(x, "half of the inner width"))
    cube = tape.record("cube", (x,), tape.like(x, "cube"), (x,), beside=2 * x.bytes)
    small = tape.record("scale", (cube,), tape.like(x, "cube, scaled"))
    inner = tape.record("scale", (tape.add(x, small, "argument"),), tape.like(x, "argument, scaled"))
    bent = tape.like(x, "tanh")
    tape.record("tanh", (inner,), bent, (bent,))
    raised = tape.record("add", (bent,), tape.like(x, "1 + tanh"), aliased=True)
    return matrix(tape, setting, "mlp.down_proj", tape.multiply(half, raised, "gelu"), part.width)


BRANCHES = (("input_layernorm", "self_attn", GQA, attention), ("post_attention_layernorm", "mlp", MLP, mlp))


def layer(tape: Tape, setting: Setting, held: Layer, x: Value) -> Value:
    """Run a layer: two branches, each normalised before, dropped in part, and added to the stream.

    Raises:
        BadInputError: a part is not GPT-2's.

    """
    parts = dict(held.parts)
    if tape.rope is None:  # of all layers: the positions of the tokens, and what was dropped of the embedding
        tape.rope = [tape.value("positions", (setting.seq,), 8, grad=False, region="whole")]
        if setting.dropout:
            tape.rope.append(tape.value("embedding dropout mask", x.shape, 1, grad=False))
        for one in tape.rope:
            one.shared = True
    for norm, name, kind, body in BRANCHES:
        part, before = parts.pop(name, None), parts.pop(norm, None)
        if not isinstance(part, kind) or not isinstance(before, Norm) or not before.bias:
            raise BadInputError(
                "SOURCE", "a layer as in GPT-2", name, "what autograd keeps of others is not listed"
            )
        tape.module = norm
        inside = tape.layer_norm(norm, x, trained=setting.trained(norm))
        tape.module = name
        result = body(tape, setting, part, inside)  # type: ignore[arg-type]
        for value in x, inside:
            tape.refer(value)
        result = tape.dropout(result, setting.dropout, f"{name} after dropout")
        x = tape.add(x, result, f"stream after {name}")
    return x
