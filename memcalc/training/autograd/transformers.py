"""Hugging Face's Llama, Mistral, Qwen2 and Qwen3, as transformers 5.23 runs them, operation by operation.

Read in transformers/models/llama/modeling_llama.py and qwen3/modeling_qwen3.py; held against autograd on
fake tensors in tests/oracles/test_train.py.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from memcalc.errors import BadInputError
from memcalc.ledger.parts import GQA, MLP, MoE, Norm
from memcalc.ledger.tensor import ceil_div
from memcalc.training.autograd import gpt2
from memcalc.training.autograd.base import Implementation, Loss
from memcalc.training.autograd.routing import EXPERTS, mixture

if TYPE_CHECKING:
    from collections.abc import Callable

    from memcalc.ledger.model import Layer, Model
    from memcalc.ledger.tensor import Tensor
    from memcalc.training.autograd.base import Setting
    from memcalc.training.autograd.tape import Tape, Value

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

    PEFT's adapter copies the input to its own numbers, each adapter for itself, and adds its output in
    them. Beside a matrix that is quantised (peft/tuners/lora/bnb.py) it copies that one's output first, and
    narrows its own before it adds; bitsandbytes' MatMul4Bit keeps nothing of the input, and makes the
    matrix's numbers again to run backwards.
    """
    cast = setting.autocast
    packed = setting.quantised and name != "lm_head"
    out = tape.linear(
        name,
        x,
        columns,
        trained=setting.trained(name),
        bias=bias,
        cast=cast,
        region=region,
        cut=cut,
        unpacked=packed,
    )
    adapter = setting.adapter(name)
    if adapter is None:
        return out
    if packed:
        out = tape.record("clone", (out,), tape.like(out, f"{name} output, copied"), aliased=True)
    rank, width = adapter
    own = tape.cast(x, width, f"{name} input for its adapter")
    inner = cut if region == "inner" else None  # the thin matrix beside the one that is cut is cut with it
    down = tape.linear(f"{name}.lora_A", own, rank, trained=True, cast=cast, region="hidden", width=width)
    up = tape.linear(
        f"{name}.lora_B", down, columns, trained=True, cast=cast, region=region, cut=inner, width=width
    )
    up = tape.record("scale", (up,), tape.like(up, f"{name}.lora_B scaled"))
    if packed:
        up = tape.cast(up, out.element_bytes, f"{name}.lora_B as wide as the output")
    return tape.cast(tape.add(out, up, f"{name} with its adapter"), out.element_bytes, f"{name} result")


def attend(tape: Tape, setting: Setting, part: GQA, inputs: tuple[Value, Value, Value]) -> Value:
    """Attention itself: one kernel that keeps its inputs, its output and a number a row; or step by step."""
    tape.module = "core_attn"
    q, k, v = inputs
    spread = part.kv_heads == 1 and setting.attention != "eager"  # one head is seen as many without a copy
    if setting.repeat_kv and part.kv_heads != part.heads and not spread:
        shape = (*q.shape[:-1], part.head_dim)
        repeated = []
        for x, name in ((k, "keys"), (v, "values")):
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
    outer = partial(
        matrix, tape, setting, x=x, columns=part.ffn_width, bias=part.bias, region="inner", cut="inner"
    )
    active = tape.apply("silu", outer("mlp.gate_proj"), "silu(gate)")
    product = tape.multiply(active, outer("mlp.up_proj"), "silu(gate) x up")
    return matrix(
        tape, setting, "mlp.down_proj", product, part.width, bias=part.bias, region="hidden", cut="inner"
    )


BODIES: dict[type, Body] = {GQA: attention, MLP: mlp, MoE: mixture}
BRANCHES = (("input_layernorm", "self_attn"), ("post_attention_layernorm", "mlp"))


def layer(tape: Tape, setting: Setting, held: Layer, x: Value) -> Value:
    """Run a layer: two branches, each normalised before and added to the stream after.

    Raises:
        BadInputError: the layer has a part that this implementation does not know.

    """
    parts = dict(held.parts)
    if getattr(parts.get("input_layernorm"), "bias", False):
        return gpt2.layer(tape, setting, held, x)
    for norm, name in BRANCHES:
        part, before = parts.pop(name, None), parts.pop(norm, None)
        body: Body | None = BODIES.get(type(part))
        gated = getattr(part, "gated", None)  # of attention it would be Qwen3-Next's gate
        if (
            body is None
            or not isinstance(before, Norm)
            or before.bias
            or bool(gated) is not isinstance(part, MLP | MoE)
        ):
            raise unknown(name, part)
        tape.module = norm
        inside = tape.rms_norm(norm, x, trained=setting.trained(norm))
        tape.module = name
        result = body(tape, setting, part, inside)
        for value in x, inside:
            tape.refer(value)
        x = tape.add(x, result, f"stream after {name}")
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
    trained = setting.trained("model.norm")
    if parts["model.norm"].bias:  # type: ignore[attr-defined]
        x = tape.layer_norm("model.norm", x, trained=trained)
    else:
        x = tape.rms_norm("model.norm", x, trained=trained)
    if setting.fused_head:
        return x
    head = "lm_head" if "lm_head" in parts else "model.embed_tokens"
    vocab: int = parts[head].vocab  # type: ignore[attr-defined]
    tape.module = "lm_head"
    tape.fresh = tape.fresh or model.tied  # the gradient of a tied head waits until the embedding's has come
    return matrix(tape, setting, head, x, vocab, region="logits", cut="head")


def buffers(model: Model) -> int:
    """Return the bytes of RoPE's inverse frequencies: 32 bits for every second number of a head, twice."""
    if model.model_type == "gpt2":
        return 0
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


def checkpointed(setting: Setting, model: Model) -> int:
    """Return the bytes that all checkpoints share: the tokens' positions, and a mask if it is not built in.

    GPT-2 keeps the positions anyway, for the gradient of their embedding.
    """
    positions = 0 if model.model_type == "gpt2" else 8 * setting.seq
    mask = (
        setting.batch * setting.seq * setting.seq * setting.element_bytes
        if setting.attention == "eager"
        else 0
    )
    return positions + mask


def stored(model: Model, tensor: Tensor) -> tuple[tuple[int, ...] | None, int]:
    """Return the shape of the array that holds a weight, and how many there are; None if in another one.

    A layer's experts are one array, gate and up together; GPT-2's q, k and v are one matrix.
    """
    shape, name = tensor.stored_shape, tensor.name
    if tensor.chosen is not None:
        if ".up_proj." in name:
            return None, 0
        rows = 2 * shape[0] if ".gate_proj." in name else shape[0]
        return (tensor.experts, rows, *shape[1:]), tensor.layers
    if model.model_type == "gpt2" and "self_attn" in name and "o_proj" not in name:
        if "q_proj" not in name:
            return None, 0
        return (3 * shape[0], *shape[1:]), tensor.layers
    return shape, tensor.copies


PLAIN = "transformers/loss/loss_utils.py: logits.float(), then torch's cross_entropy (log_softmax, nll_loss)"
LIGER = "https://github.com/linkedin/Liger-Kernel, commit 00eba634, src/liger_kernel/ops/"
TORCHTUNE = (
    "https://github.com/meta-pytorch/torchtune, torchtune/modules/loss/ce_chunked_output_loss.py, 2026-11"
)


def liger_chunk(tokens: int, vocab: int, width: int) -> int:
    """Return the tokens of one chunk: about as many logits as the stream has numbers, a power of 2.

    >>> liger_chunk(16384, 32000, 4096)
    2048
    """
    wanted = ceil_div(tokens, ceil_div(vocab, width))
    return min(tokens, 1 << (wanted - 1).bit_length())


LOSSES = {
    one.id: one
    for one in (
        Loss("plain", kept=4, backward=8, note="log_softmax in fp32, then two gradients", source=PLAIN),
        Loss(
            "vocabulary-parallel",
            kept=4,
            backward=8,
            note="as plain, each rank with its part of the vocabulary",
            source="torch.distributed.tensor.parallel.loss_parallel, 2.13",
            parallel=True,
        ),
        Loss("chunked", kept=4, backward=8, note="as plain, 8 chunks of tokens", source=TORCHTUNE, chunks=8),
        Loss(
            "liger",
            kept=2,
            backward=0,
            note="the gradient is written over 16-bit logits",
            source=f"{LIGER}cross_entropy.py",
        ),
        Loss(
            "fused-linear",
            kept=0,
            backward=0,
            note="gradients of stream and head in the forward pass, chunk by chunk",
            source=f"{LIGER}fused_linear_cross_entropy.py",
            fused=True,
            chunk=liger_chunk,
        ),
    )
}
IMPLEMENTATION = Implementation(
    id="transformers",
    layer=layer,
    ends=ends,
    model_types=frozenset({"gpt2", "llama", "mistral", "mixtral", "qwen2", "qwen3", "qwen3_moe"}),
    losses=LOSSES,
    default_loss="plain",
    modules=("core_attn", "self_attn", "mlp", "input_layernorm", "post_attention_layernorm"),
    default_modules=("core_attn",),
    buffers=buffers,
    options=frozenset({"repeat-kv"}),
    experts=EXPERTS[0],
    checkpointed=checkpointed,
    stored=stored,
    workspace=workspace,
    workspace_source="pytorch/pytorch#120925, #95668; published runs on A100: 15 to 18 MB",
    source=SOURCE,
)
