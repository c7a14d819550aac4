"""Hugging Face's Llama, Mistral, Qwen2 and Qwen3, as transformers 5.23 runs them, operation by operation.

Read in transformers/models/llama/modeling_llama.py and qwen3/modeling_qwen3.py; held against autograd on
fake tensors in tests/oracles/test_train.py.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from memcalc.data.constants import TRAINING_CUBLAS_WORKSPACE, TRAINING_CUBLAS_WORKSPACE_HOPPER, Measured
from memcalc.errors import BadInputError
from memcalc.ledger.parts import GQA, MLP, Norm
from memcalc.ledger.parts.kinds import is_gqa, is_moe
from memcalc.ledger.registry import Registry
from memcalc.ledger.tensor import ceil_div
from memcalc.training.autograd.base import Implementation, Loss
from memcalc.training.autograd.tape import AUTOCAST, MatrixStorage

if TYPE_CHECKING:
    from collections.abc import Callable

    from memcalc.ledger.model import Layer, Model
    from memcalc.ledger.parts import Part
    from memcalc.ledger.tensor import Tensor
    from memcalc.training.autograd.base import MicroBatch
    from memcalc.training.autograd.tape import Tape, Value
    from memcalc.training.parallelism import TrainingParallelism

    Body = Callable[[Tape, MicroBatch, Any, Value], Value]

__all__ = ["TRANSFORMERS", "Transformers", "matrix"]


def matrix(
    tape: Tape,
    micro: MicroBatch,
    name: str,
    x: Value,
    columns: int,
    *,
    bias: bool = False,
    region: str | None = None,
    cut: str | None = None,
) -> Value:
    """Multiply by a matrix of the model, with autocast's copies and an adapter where there are any."""
    stored = MatrixStorage(
        AUTOCAST if micro.copies_matrices else (), packed=micro.quantised and name != "lm_head"
    )
    trained = micro.trained(name)
    out = tape.linear(name, x, columns, trained=trained, bias=bias, region=region, cut=cut, stored=stored)
    if micro.adapter(name) is None:
        return out
    from memcalc.training.autograd.adapters import beside

    return beside(tape, micro, name, (x, out), region=region, cut=cut, packed=stored.packed)


def attend(tape: Tape, micro: MicroBatch, part: GQA, inputs: tuple[Value, Value, Value]) -> Value:
    """Attention itself: one kernel that keeps its inputs, its output and a number a row; or step by step."""
    tape.module = "core_attn"
    q, k, v = inputs
    views = part.kv_heads == 1 and micro.attention != "eager"  # one head serves as many without a copy
    if micro.repeat_kv and part.kv_heads != part.heads and not views:
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
    if micro.attention == "eager":
        by_products(tape, micro, (q, k, v), out, square=(batch, heads, seq, seq))
    else:
        rows = tape.value("log-sum-exp", (batch, seq, heads), 4, grad=False, region="inner")
        keeps = [q, k, v, out, rows]
        if micro.attention == "flash":
            keeps.append(tape.value("state of the random numbers", (24,), 1, grad=False, region="whole"))
        tape.record("attention", (q, k, v), out, keeps)
    tape.module = "self_attn"
    return out


def by_products(
    tape: Tape,
    micro: MicroBatch,
    inputs: tuple[Value, Value, Value],
    out: Value,
    *,
    square: tuple[int, int, int, int],
) -> None:
    """Attend step by step: all scores, their softmax in fp32, weights as wide as the stream, dropout."""
    q, k, v = inputs
    scores = tape.value("scores", square, q.element_bytes, grad=q.grad or k.grad, region="inner")
    keeps = [*((k,) if q.grad else ()), *((q,) if k.grad else ())]
    tape.record("scores", (q, k), scores, keeps, beside=scores.bytes)
    wide = tape.like(scores, "softmax in fp32", 4)
    tape.record("softmax", (scores,), wide, (wide,), beside=wide.bytes)
    weights = tape.cast(wide, q.element_bytes, "attention weights")
    if micro.dropout:
        mask = tape.value("attention dropout mask", square, 1, grad=False, region="inner")
        dropped = tape.like(weights, "attention weights after dropout")
        weights = tape.record("dropout", (weights,), dropped, (mask,))
    keeps = [*((v,) if weights.grad else ()), *((weights,) if v.grad else ())]
    tape.record("weigh", (weights, v), out, keeps)


def attention(tape: Tape, micro: MicroBatch, part: GQA, x: Value) -> Value:
    """Project, normalise heads where the model does, rotate, attend, project back."""
    batch, seq = x.shape[0], x.shape[1]
    heads: dict[str, Value] = {}
    for name, number in (("q", part.heads), ("k", part.kv_heads), ("v", part.kv_heads)):
        flat = matrix(
            tape,
            micro,
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
                f"self_attn.{name}_norm", flat, trained=micro.trained(f"self_attn.{name}_norm")
            )
        heads[name] = flat
    tables = rope_tables(tape, micro, part)
    for name in "q", "k":
        turned = tape.like(heads[name], f"{name} after RoPE", micro.low_bytes)
        heads[name] = tape.record("rope", (heads[name],), turned, tables, beside=2 * turned.bytes)
    out = attend(tape, micro, part, (heads["q"], heads["k"], heads["v"]))
    out.shape = (batch, seq, part.heads * part.head_dim)
    name = "self_attn.o_proj"
    return matrix(tape, micro, name, out, part.width, bias=part.out_bias, region="hidden", cut="inner")


def rope_tables(tape: Tape, micro: MicroBatch, part: GQA) -> list[Value]:
    """Return the cosines and sines: in the stream's numbers, for all layers and sequences together."""
    if tape.rope is None:
        shape = (1, micro.seq, part.rope_dim or part.head_dim)
        tape.rope = [
            tape.value(f"RoPE {name}", shape, micro.element_bytes, grad=False, region="whole")
            for name in ("cosines", "sines")
        ]
        for table in tape.rope:
            table.shared = True
    return tape.rope


def mlp(tape: Tape, micro: MicroBatch, part: MLP, x: Value) -> Value:
    """SwiGLU step by step: gate, up, silu(gate) and the product are storages of their own."""
    outer = partial(
        matrix, tape, micro, x=x, columns=part.ffn_width, bias=part.bias, region="inner", cut="inner"
    )
    active = tape.apply("silu", outer("mlp.gate_proj"), "silu(gate)")
    product = tape.multiply(active, outer("mlp.up_proj"), "silu(gate) x up")
    return matrix(
        tape, micro, "mlp.down_proj", product, part.width, bias=part.bias, region="hidden", cut="inner"
    )


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


OF_TRANSFORMERS = (
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
LOSSES: Registry[Loss] = Registry("--loss", {one.id: one for one in OF_TRANSFORMERS})
BODIES: dict[type, Body] = {GQA: attention, MLP: mlp}
BRANCHES = (("input_layernorm", "self_attn"), ("post_attention_layernorm", "mlp"))


def body_of(part: Part | None) -> Body | None:
    """Return the program of a part between norm and stream; None if there is none."""
    if is_moe(part):
        from memcalc.training.autograd.routing import mixture

        return mixture
    return BODIES.get(type(part))


def unknown(name: str, part: object) -> BadInputError:
    """Return the refusal of a part whose operations are not modelled."""
    return BadInputError(
        "SOURCE",
        "parts as in Llama, Mistral, Qwen2 or Qwen3",
        f"{name} ({type(part).__name__})",
        "what autograd keeps of it is not modelled for transformers",
    )


class Transformers(Implementation):
    """Models of transformers, in a training loop as it is written everywhere."""

    id = "transformers"
    source = (
        "https://github.com/huggingface/transformers, v5.23, src/transformers/models/llama/modeling_llama.py"
    )
    model_types = frozenset({"gpt2", "llama", "mistral", "mixtral", "qwen2", "qwen3", "qwen3_moe"})
    losses = LOSSES
    default_loss = "plain"
    modules = ("core_attn", "self_attn", "mlp", "input_layernorm", "post_attention_layernorm")
    default_modules = ("core_attn",)
    options = frozenset({"repeat_kv", "autocast"})
    experts = "grouped_mm"  # what transformers chooses

    def layer(self, tape: Tape, micro: MicroBatch, layer: Layer, x: Value) -> Value:
        """Run a layer: two branches, each normalised before and added to the stream after.

        Raises
        ------
        BadInputError
            The layer has a part that this implementation does not know.

        """
        parts = dict(layer.parts)
        if getattr(parts.get("input_layernorm"), "bias", False):
            from memcalc.training.autograd import gpt2

            return gpt2.run_layer(tape, micro, layer, x)
        for norm, name in BRANCHES:
            part, before = parts.pop(name, None), parts.pop(norm, None)
            body = body_of(part)
            gated = getattr(part, "gated", None)  # of attention it would be Qwen3-Next's gate
            if (
                body is None
                or not isinstance(before, Norm)
                or before.bias
                or bool(gated) is (body is attention)
            ):
                raise unknown(name, part)
            tape.module = norm
            inside = tape.rms_norm(norm, x, trained=micro.trained(norm))
            tape.module = name
            result = body(tape, micro, part, inside)
            for value in x, inside:
                tape.refer(value)
            x = tape.add(x, result, f"stream after {name}")
        for name, part in parts.items():
            raise unknown(name, part)
        return x

    def ends(self, tape: Tape, micro: MicroBatch, model: Model, x: Value) -> Value:
        """Run the final norm and the head."""
        parts = dict(model.outside)
        tape.module = "model.norm"
        trained = micro.trained("model.norm")
        if parts["model.norm"].bias:  # type: ignore[attr-defined]
            x = tape.layer_norm("model.norm", x, trained=trained)
        else:
            x = tape.rms_norm("model.norm", x, trained=trained)
        if micro.fused_head:
            return x
        if micro.head_tokens is not None:
            x = tape.last_tokens(x, micro.head_tokens)
        head = "lm_head" if "lm_head" in parts else "model.embed_tokens"
        vocab: int = parts[head].vocab  # type: ignore[attr-defined]
        tape.module = "lm_head"
        # the gradient of a tied head waits until the embedding's has come
        tape.fresh = tape.fresh or model.tied
        return matrix(tape, micro, head, x, vocab, region="logits", cut="head")

    def buffers(self, model: Model) -> int:
        """Return the bytes of RoPE's inverse frequencies: 32 bits for every second number, twice."""
        if model.model_type == "gpt2":
            return 0
        parts = [part for layer in model.groups for _, part in layer.parts if is_gqa(part)]
        return 4 * (parts[0].rope_dim or parts[0].head_dim) if parts else 0

    def workspace(self, capability: str | None) -> Measured:
        """Return what cuBLAS takes: a workspace for the thread of the forward pass, one for the backward's.

        >>> TRANSFORMERS.workspace("8.0").typical
        17039360
        """
        one = least = TRAINING_CUBLAS_WORKSPACE
        if capability is not None and float(capability) >= 9:
            one = TRAINING_CUBLAS_WORKSPACE_HOPPER
            least = one if float(capability) < 10 else least  # Blackwell: PyTorch of 2026-02, #175344
        source = "pytorch/pytorch#120925, #95668, #175344; published runs on A100: 15 to 18 MB"
        if capability is None:  # shapes alone are counted where it is not known which libraries run
            return Measured(0, 0, 4 * one, source, "2026-11")
        return Measured(least, 2 * one, 4 * one, source, "2026-11")

    def checkpointed(self, micro: MicroBatch, model: Model) -> int:
        """Return the bytes that all checkpoints share: the tokens' positions, a mask if it is not built in.

        GPT-2 keeps the positions anyway, for the gradient of their embedding.
        """
        positions = 0 if model.model_type == "gpt2" else 8 * micro.seq
        scores = micro.batch * micro.seq * micro.seq * micro.element_bytes
        return positions + (scores if micro.attention == "eager" else 0)

    def stored(self, model: Model, tensor: Tensor) -> tuple[tuple[int, ...] | None, int]:
        """Return the shape of the array that holds a weight, and how many there are; None if in another one.

        A layer's experts are one array, gate and up together; GPT-2's q, k and v are one matrix.
        """
        shape, name = tensor.stored_shape, tensor.name
        if tensor.active_experts is not None:
            if ".up_proj." in name:
                return None, 0
            rows = 2 * shape[0] if ".gate_proj." in name else shape[0]
            return (tensor.experts, rows, *shape[1:]), tensor.layers
        if model.model_type == "gpt2" and "self_attn" in name and "o_proj" not in name:
            if "q_proj" not in name:
                return None, 0
            return (3 * shape[0], *shape[1:]), tensor.layers
        return shape, tensor.copies

    def check_parallelism(self, model: Model, parallel: TrainingParallelism) -> None:
        """Refuse ranks that share the tokens of a model with experts.

        Raises
        ------
        BadInputError
            They do.

        """
        if parallel.sequence_parallel and model.has_experts:
            remedy = "what ranks keep of tokens gathered for experts is not modelled"
            expected = "a model without experts, or --implementation megatron"
            raise BadInputError("--sequence-parallel", expected, "experts with transformers", remedy)


TRANSFORMERS = Transformers()
