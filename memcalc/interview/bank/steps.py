"""What questions about training ask of the ledger: steps, layers, and single weights."""

from __future__ import annotations

from bisect import bisect_left
from functools import cache
from typing import TYPE_CHECKING, Any

from memcalc.files.api import model
from memcalc.ledger import FORMATS, GQA, MLP, Layer, Norm
from memcalc.training import IMPLEMENTATIONS, MicroBatch, train

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memcalc.training import TrainingEstimate

__all__ = ["first_with_more_scores", "gpt_layer", "layer_kept", "line", "numbers", "step", "stored"]

OUTSIDE = ("statistics", "log-sum-exp")  # a few numbers a token, which the paper leaves out


@cache
def step(name: str, **options: Any) -> TrainingEstimate:
    """Return a training step: each is asked for once.

    >>> step("Qwen/Qwen3-0.6B", seq=512, regime="fp32").trainable_parameters
    596049920
    """
    return train(name, **options)


def line(asked: TrainingEstimate, *names: str) -> int:
    """Return the bytes of lines by their names, of the device and of the host.

    >>> line(step("Qwen/Qwen3-0.6B", seq=512, regime="fp32"), "adamw states") // 8
    596049920
    """
    pools = filter(None, (asked.device, asked.host))
    found = {one.name: one.bytes for pool in pools for one in pool.lines}
    return sum(found[name] for name in names)


@cache
def numbers(name: str, *kinds: str) -> int:
    """Return how many numbers a model has in weights of some kinds.

    >>> numbers("meta-llama/Llama-2-7b-hf", "embedding", "head") == 2 * 32_000 * 4_096
    True
    """
    return sum(weight.count for weight in model(name).weights() if weight.kind in kinds)


def stored(form: str, rows: int, columns: int) -> int:
    """Return the bytes of a matrix in a format: its codes and scales, without the table of their values.

    >>> 8 * stored("nf4", 4096, 4096) / 4096**2
    4.5
    """
    pieces = FORMATS[form].pieces(rows, columns)
    return sum(piece.bits for piece in pieces if piece.name in ("codes", "scales")) // 8


@cache
def layer_kept(name: str, **options: Any) -> Mapping[str, int]:
    """Return what the first layer of a model keeps for the backward pass: bytes by the names of arrays.

    >>> layer_kept("Qwen/Qwen3-0.6B", seq=512)["mlp.up_proj output"] == 2 * 512 * 3_072
    True
    """
    asked = step(name, **{"regime": "pure-bf16", **options})
    plan, micro = asked.plan, asked.plan.micro_batch
    tape = micro.tape()
    stream = tape.value("x", asked.stage.tensors.stream_shape, 2, grad=True)
    plan.implementation.layer(tape, micro, plan.model.layers[0], stream)
    return {value.name: value.bytes for value in tape.kept()}


@cache
def gpt_layer(
    context: int, width: int, heads: int, *, selective: bool = False, inner: int = 1, hidden: int = 1
) -> int:
    """Return the bytes that Megatron keeps of a layer of GPT with dropout, eager attention, in 16 bits.

    As in arXiv 2205.05198, without the few numbers a token that belong to norms.

    Parameters
    ----------
    context, width, heads : int
        Tokens, numbers of a token, heads.
    selective : bool
        Whether scores are computed again.
    inner, hidden : int
        Ranks that share what lies between two matrices of tensor parallelism, and what lies outside.

    Examples
    --------
    >>> gpt_layer(2048, 12288, 96) == 34 * 2048 * 12288 + 5 * 96 * 2048**2
    True

    """
    attention = GQA(width, heads, heads, width // heads, qkv_bias=True, out_bias=True, rope_dim=0)
    feed = MLP(width, 4 * width, gated=False, bias=True)
    norm = Norm(width, bias=True)
    parts = ("input_layernorm", "self_attn", "post_attention_layernorm", "mlp")
    gpt = Layer(tuple(zip(parts, (norm, attention, norm, feed), strict=True)))
    cut = {"inner": inner, "hidden": hidden}
    micro = MicroBatch(1, context, attention="eager", dropout=0.1, cut=cut)
    tape = micro.tape()
    stream = tape.value("x", (1, context, width), 2, grad=True)
    IMPLEMENTATIONS["megatron"].layer(tape, micro, gpt, stream)
    kept = tape.kept({"core_attn": "core_attn"}.get if selective else None)
    return sum(value.bytes for value in kept if not any(word in value.name for word in OUTSIDE))


def first_with_more_scores(width: int, heads: int) -> int:
    """Return the tokens from which on scores take more than all else in a layer of GPT.

    >>> first_with_more_scores(12288, 96)
    871
    """

    def more(context: int) -> bool:
        rest = gpt_layer(context, width, heads, selective=True)
        return gpt_layer(context, width, heads) > 2 * rest

    return bisect_left(range(2**16), x=True, key=more)
