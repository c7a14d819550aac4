"""Hugging Face's Llama, Mistral, Qwen2 and Qwen3, as transformers 5.23 runs them, operation by operation.

Read in transformers/models/llama/modeling_llama.py and qwen3/modeling_qwen3.py; held against autograd on
fake tensors in tests/oracles/test_train.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memcalc.errors import BadInputError
from memcalc.parts import GQA, MLP, Norm
from memcalc.saved.base import Implementation, Loss

if TYPE_CHECKING:
    from collections.abc import Callable

    from memcalc.model import Layer, Model
    from memcalc.saved.base import Setting
    from memcalc.saved.tape import Tape, Value

    Body = Callable[[Tape, Setting, Any, Value], Value]

__all__ = ["IMPLEMENTATION", "ends", "layer", "matrix"]

SOURCE = "https://github.com/huggingface/transformers, v5.23, src/transformers/models/llama/modeling_llama.py"


def matrix(
    tape: Tape,
    setting: Setting,
    name: str,
    x: Value,
    columns: int,
    *,
    bias: bool = False,
    region: str | None = None,
    cut: str | None = None,
) -> Value:
    """Multiply by a matrix of the model, with autocast's copies and an adapter where there are any.

    PEFT's adapter copies the input to its own numbers, each adapter for itself, and adds its output in them.
    """
    low = tape.cast(x, setting.low_bytes, f"{name} input in 16 bits")
    cast = setting.autocast
    trained = setting.trained(name)
    out = tape.linear(name, low, columns, trained=trained, bias=bias, cast=cast, region=region, cut=cut)
    adapter = setting.adapter(name)
    if adapter is None:
        return out
    rank, width = adapter
    own = tape.cast(x, width, f"{name} input for its adapter")
    own = tape.cast(own, 2, f"{name} input for its adapter in 16 bits") if cast else own
    inner = cut if region == "inner" else None  # the thin matrix beside the one that is cut is cut with it
    wide = cast and width != 2
    down = tape.linear(f"{name}.lora_A", own, rank, trained=True, cast=wide, region="hidden", width=width)
    up = tape.linear(
        f"{name}.lora_B", down, columns, trained=True, cast=wide, region=region, cut=inner, width=width
    )
    return tape.cast(tape.add(out, up, f"{name} with its adapter"), low.element_bytes, f"{name} result")


def attend(tape: Tape, setting: Setting, part: GQA, inputs: tuple[Value, Value, Value]) -> Value:
    """Attention itself: one kernel that keeps its inputs, its output and a number a row; or step by step."""
    tape.module = "core_attn"
    q, k, v = inputs
    if setting.repeat_kv and part.kv_heads != part.heads:
        every = q.shape[:-1]
        repeated = []
        for x, name in ((k, "keys"), (v, "values")):
            shape = (*every, part.head_dim)
            many = tape.value(f"{name} of all heads", shape, x.element_bytes, grad=x.grad, region="inner")
            repeated.append(tape.record("repeat", (x,), many))
        k, v = repeated
    grad = q.grad or k.grad or v.grad
    batch, seq, heads = q.shape[0], q.shape[1], part.heads
    out = tape.value(
        "attention output", (batch, seq, heads, part.head_dim), q.element_bytes, grad=grad, region="inner"
    )
    if setting.attention != "eager":
        rows = tape.value("log-sum-exp", (batch, seq, heads), 4, grad=False, region="inner")
        keeps = [q, k, v, out, rows]
        if setting.attention == "flash":
            keeps.append(tape.value("state of the random numbers", (24,), 1, grad=False, region="whole"))
        tape.record("attention", (q, k, v), out, keeps)
    else:
        square = (batch, heads, seq, seq)
        scores = tape.value("scores", square, q.element_bytes, grad=q.grad or k.grad, region="inner")
        keeps = [*((k,) if q.grad else ()), *((q,) if k.grad else ())]
        tape.record("scores", (q, k), scores, keeps, beside=scores.bytes)
        wide = tape.like(scores, "softmax in fp32", 4)
        tape.record("softmax", (scores,), wide, (wide,), beside=wide.bytes)
        weights = tape.cast(wide, q.element_bytes, "attention weights")
        if setting.dropout:
            mask = tape.value("attention dropout mask", square, 1, grad=False, region="inner")
            dropped = tape.like(weights, "attention weights after dropout")
            weights = tape.record("dropout", (weights,), dropped, (mask,))
        keeps = [*((v,) if weights.grad else ()), *((weights,) if v.grad else ())]
        tape.record("weigh", (weights, v), out, keeps)
    tape.module = "self_attn"
    return out


def attention(tape: Tape, setting: Setting, part: GQA, x: Value) -> Value:
    """Project, normalise heads where the model does, rotate, attend, project back."""
    batch, seq = x.shape[0], x.shape[1]
    heads: dict[str, Value] = {}
    for name, number in (("q", part.heads), ("k", part.kv_heads), ("v", part.kv_heads)):
        flat = matrix(
            tape,
            setting,
            f"self_attn.{name}_proj",
            x,
            number * part.head_dim,
            bias=part.qkv_bias,
            region="inner",
            cut="inner",
        )
        flat.shape = (batch, seq, number, part.head_dim)  # a view: the same storage
        if part.qk_norm and name != "v":
            flat = tape.rms_norm(
                f"self_attn.{name}_norm", flat, trained=setting.trained(f"self_attn.{name}_norm")
            )
        heads[name] = flat
    tables = rope_tables(tape, setting, part)
    for name in "q", "k":
        turned = tape.like(heads[name], f"{name} after RoPE", setting.low_bytes)
        heads[name] = tape.record("rope", (heads[name],), turned, tables, beside=2 * turned.bytes)
    out = attend(tape, setting, part, (heads["q"], heads["k"], heads["v"]))
    out.shape = (batch, seq, part.heads * part.head_dim)
    name = "self_attn.o_proj"
    return matrix(tape, setting, name, out, part.width, bias=part.out_bias, region="hidden", cut="inner")


def rope_tables(tape: Tape, setting: Setting, part: GQA) -> list[Value]:
    """Return the cosines and sines: in the stream's numbers, for all layers and sequences together."""
    if tape.rope is None:
        shape = (1, setting.seq, part.rope_dim or part.head_dim)
        tape.rope = [
            tape.value(f"RoPE {name}", shape, setting.element_bytes, grad=False, region="whole")
            for name in ("cosines", "sines")
        ]
        for table in tape.rope:
            table.shared = True
    return tape.rope


def mlp(tape: Tape, setting: Setting, part: MLP, x: Value) -> Value:
    """SwiGLU step by step: gate, up, silu(gate) and the product are storages of their own."""
    wide = {
        name: matrix(
            tape,
            setting,
            f"mlp.{name}_proj",
            x,
            part.ffn_width,
            bias=part.bias,
            region="inner",
            cut="inner",
        )
        for name in ("gate", "up")
    }
    active = tape.apply("silu", wide["gate"], "silu(gate)")
    product = tape.multiply(active, wide["up"], "silu(gate) x up")
    return matrix(
        tape, setting, "mlp.down_proj", product, part.width, bias=part.bias, region="hidden", cut="inner"
    )


BODIES: dict[type, Body] = {GQA: attention, MLP: mlp}
BRANCHES = (("input_layernorm", "self_attn"), ("post_attention_layernorm", "mlp"))


def layer(tape: Tape, setting: Setting, held: Layer, x: Value) -> Value:
    """Run a layer: two branches, each normalised before and added to the stream after.

    Raises:
        BadInputError: the layer has a part that this implementation does not know.

    """
    parts = dict(held.parts)
    for norm, name in BRANCHES:
        part, before = parts.pop(name, None), parts.pop(norm, None)
        body: Body | None = BODIES.get(type(part))
        gated = getattr(part, "gated", None)  # of attention it would be Qwen3-Next's gate
        if body is None or not isinstance(before, Norm) or before.bias or gated is not isinstance(part, MLP):
            raise unknown(name, part)
        tape.module = norm
        inside = tape.rms_norm(norm, x, trained=setting.trained(norm))
        tape.module = name
        x = tape.add(x, body(tape, setting, part, inside), f"stream after {name}")
    for name, part in parts.items():
        raise unknown(name, part)
    return x


def unknown(name: str, part: object) -> BadInputError:
    """Return the refusal of a part whose operations nobody has listed."""
    return BadInputError(
        "SOURCE",
        "parts as in Llama, Mistral, Qwen2 or Qwen3",
        f"{name} ({type(part).__name__})",
        "what autograd keeps of it is not listed for transformers",
    )


def ends(tape: Tape, setting: Setting, model: Model, x: Value) -> Value:
    """Run the final norm and the head."""
    parts = dict(model.outside)
    tape.module = "model.norm"
    x = tape.rms_norm("model.norm", x, trained=setting.trained("model.norm"))
    head = "lm_head" if "lm_head" in parts else "model.embed_tokens"
    vocab: int = parts[head].vocab  # type: ignore[attr-defined]
    tape.module = "lm_head"
    return matrix(tape, setting, head, x, vocab, region="logits", cut="logits")


def buffers(model: Model) -> int:
    """Return the bytes of RoPE's inverse frequencies: 32 bits for every second number of a head, twice."""
    parts = [part for layer in model.groups for _, part in layer.parts if isinstance(part, GQA)]
    return 4 * (parts[0].rope_dim or parts[0].head_dim) if parts else 0


def workspace(capability: str | None) -> tuple[int, int, int]:
    """Return what cuBLAS takes: a workspace for the thread of the forward pass, one for the backward pass's.

    Source: https://github.com/pytorch/pytorch, v2.13, aten/src/ATen/cuda/CublasHandlePool.cpp.
    """
    if capability is None:  # shapes alone are counted where nobody knows which libraries run
        return 0, 0, 4 * 8_519_680
    one = 32 * 2**20 if float(capability) >= 9 else 8_519_680
    return one, 2 * one, 4 * one


PLAIN = "transformers/loss/loss_utils.py: logits.float(), then torch's cross_entropy (log_softmax, nll_loss)"
LOSSES = {
    one.id: one
    for one in (
        Loss("plain", kept=4, backward=8, note="log_softmax in fp32, then two gradients", source=PLAIN),
    )
}
IMPLEMENTATION = Implementation(
    id="transformers",
    layer=layer,
    ends=ends,
    model_types=frozenset({"llama", "mistral", "qwen2", "qwen3"}),
    losses=LOSSES,
    default_loss="plain",
    modules=("core_attn", "self_attn", "mlp", "input_layernorm", "post_attention_layernorm"),
    default_modules=("core_attn",),
    buffers=buffers,
    workspace=workspace,
    workspace_source="pytorch/pytorch#120925, #95668; published runs on A100: 15 to 18 MB",
    positions=True,
    source=SOURCE,
)
