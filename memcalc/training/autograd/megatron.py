"""Megatron-Core with Transformer Engine, operation by operation.

Read in NVIDIA/Megatron-LM at d98e8a64 (2026-08-22): megatron/core/transformer/ (attention.py,
multi_latent_attention.py, mlp.py, moe/router.py, moe/token_dispatcher.py, moe/moe_utils.py, moe/experts.py),
megatron/core/fusions/ and megatron/core/tensor_parallel/; and in NVIDIA/TransformerEngine,
transformer_engine/pytorch/module/layernorm_linear.py. Held against the values that Megatron-LM's own
functional tests record, in tests/test_megatron.py.

Norm and matrix are one kernel, which keeps the norm's input and its output. Heads are cut by tensor
parallelism (``inner``), the stream by sequence parallelism (``hidden``), and the rows that were sent to
experts lie as the stream does (``routed``).
"""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING

from memcalc.data.constants import (
    MEGATRON_WORKSPACE,
    TRANSFORMER_ENGINE_STREAMS,
    TRANSFORMER_ENGINE_WORKSPACE,
    TRANSFORMER_ENGINE_WORKSPACE_HOPPER,
    Measured,
)
from memcalc.errors import BadInputError, UnknownNameError
from memcalc.ledger.parts import GQA, MLA, MLP, Linear, MoE, Norm
from memcalc.ledger.registry import Registry
from memcalc.ledger.tensor import share
from memcalc.training.autograd.base import Implementation, Loss, PersistentBuffer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from memcalc.ledger.model import Layer, Model
    from memcalc.ledger.parts import Part
    from memcalc.training.autograd.base import MicroBatch
    from memcalc.training.autograd.tape import Tape, Value
    from memcalc.training.parallelism import TrainingParallelism

    Body = Callable[[Tape, MicroBatch, Any, Norm, Value], Value]

__all__ = ["MEGATRON", "Megatron"]

CORE = "https://github.com/NVIDIA/Megatron-LM, d98e8a64 (2026-08-22), megatron/core/"
ENGINE = "https://github.com/NVIDIA/TransformerEngine, transformer_engine/pytorch/"


def matrix(
    tape: Tape,
    micro: MicroBatch,
    name: str,
    x: Value,
    columns: int,
    *,
    weights: Iterable[str] = (),
    region: str = "hidden",
    cut: str | None = None,
    copies: int = 1,
) -> Value:
    """Multiply by a matrix, or by one for each expert (`copies` on this rank): x is kept if it is trained.

    With gradient fusion the product adds to the 32-bit gradient itself; otherwise a 16-bit gradient exists
    while it is added. Sequence parallelism gathers x again for its gradient.
    """
    trained = any(map(micro.trained, weights or (name,)))
    out = tape.value(
        f"{name} output", (*x.shape[:-1], columns), x.element_bytes, grad=x.grad or trained, region=region
    )
    mine = copies * share(x.shape[-1] * columns, tape.cut.get(cut or "", 1))
    gathered = x.region == "hidden" and cut in ("inner", "head") and "hidden" in tape.cut
    whole = prod(x.shape) * x.element_bytes if gathered else 0
    gradient = 0 if micro.gradient_fusion else mine * x.element_bytes
    return tape.record(
        name,
        (x,),
        out,
        (x,) if trained else (),
        weight_bytes=gradient if trained else 0,
        beside=whole + (whole if trained else 0),
    )


def normalise(tape: Tape, micro: MicroBatch, name: str, part: Part, x: Value) -> Value:
    """Normalise in one kernel: it keeps its input and one number a row, a LayerNorm two.

    Raises:
        BadInputError: there is no norm of this kind.

    """
    if not isinstance(part, Norm):
        raise unknown(name, part)
    rows = tape.value(
        f"{name} statistics", (*x.shape[:-1], 2 if part.bias else 1), 4, grad=False, region=x.region
    )
    out = tape.like(x, f"{name} output", grad=x.grad or micro.trained(name))
    return tape.record(name, (x,), out, (x, rows))


def dropout(tape: Tape, micro: MicroBatch, name: str, x: Value) -> Value:
    """Drop numbers of the stream: a byte a number says which."""
    if not micro.dropout:
        return x
    mask = tape.like(x, f"{name} dropout mask", 1, grad=False)
    return tape.record("dropout", (x,), tape.like(x, f"{name} after dropout"), (mask,))


def inner(tape: Tape, name: str, shape: tuple[int, ...], element_bytes: int, *, grad: bool) -> Value:
    """Make a storage between the matrices that tensor parallelism cuts."""
    return tape.value(name, shape, element_bytes, grad=grad, region="inner")


def attend(
    tape: Tape,
    micro: MicroBatch,
    inputs: tuple[Value, Value, Value],
    *,
    heads: tuple[int, int],
    widths: tuple[int, int],
) -> Value:
    """Attention itself: one kernel, or (`eager`) products and a fused softmax of all scores.

    `heads` are those of queries and of keys, `widths` those of a key and of a value. Two of q, k and v may
    lie in one storage, which is then kept once.

    Raises
    ------
    BadInputError
        Megatron has no such attention.

    """
    tape.module = "core_attn"
    q, k, v = inputs
    batch, seq, grad = q.shape[0], q.shape[1], q.grad or k.grad or v.grad
    out = inner(tape, "attention output", (batch, seq, heads[0] * widths[1]), q.element_bytes, grad=grad)
    if micro.attention == "flash":
        by_kernel(tape, micro, inputs, out, heads=heads, widths=widths)
    elif micro.attention == "eager":
        by_products(tape, micro, inputs, out, heads=heads, widths=widths)
    else:
        expected = "flash or eager with --implementation megatron"
        raise BadInputError("--attention", expected, micro.attention, "it has no other")
    tape.module = "self_attn"
    return out


def by_kernel(
    tape: Tape,
    micro: MicroBatch,
    inputs: tuple[Value, Value, Value],
    out: Value,
    *,
    heads: tuple[int, int],
    widths: tuple[int, int],
) -> None:
    """Attend in one kernel: it keeps its inputs, its output and a number a row."""
    q, k, v = inputs
    batch, seq = q.shape[0], q.shape[1]
    rows = inner(tape, "log-sum-exp", (batch, seq, heads[0]), 4, grad=False)
    if micro.context_ranks == 1:
        given = tuple({id(value): value for value in inputs}.values())
        tape.record("attention", given, out, (*given, out, rows))
    elif micro.context_exchange == "p2p":  # keys and values travel from rank to rank in one storage
        shape = (batch, seq, heads[1], sum(widths))
        pair = inner(tape, "keys with values", shape, k.element_bytes, grad=k.grad or v.grad)
        tape.record("pair", (k,) if k is v else (k, v), pair)
        tape.record("attention", (q, pair), out, (q, pair, out, rows))
    else:  # whole sequences of some heads, and back again
        of_heads = ((heads[0], widths[0]), (heads[1], widths[0]), (heads[1], widths[1]))
        here = tape.like(out, "attention output of whole sequences")
        exchanged = []
        for x, each in zip(inputs, of_heads, strict=True):
            other = inner(tape, f"{x.name}, exchanged", (batch, seq, *each), 2, grad=x.grad)
            exchanged.append(tape.record("exchange", (x,), other))
        tape.record("attention", exchanged, here, (*exchanged, here, rows))
        tape.record("exchange back", (here,), out)


def by_products(
    tape: Tape,
    micro: MicroBatch,
    inputs: tuple[Value, Value, Value],
    out: Value,
    *,
    heads: tuple[int, int],
    widths: tuple[int, int],
) -> None:
    """Attend by products: as many keys and values as queries, all scores, a fused softmax, dropout."""
    q, k, v = inputs
    batch, seq = q.shape[0], q.shape[1]
    if heads[0] != heads[1]:
        many = [
            inner(tape, f"{x.name}, repeated", (batch, seq, heads[0], width), x.element_bytes, grad=x.grad)
            for x, width in zip((k, v), widths, strict=True)
        ]
        k, v = (tape.record("repeat", (x,), wide) for x, wide in zip((k, v), many, strict=True))
    scores = inner(tape, "scores", (batch, heads[0], seq, seq), q.element_bytes, grad=q.grad or k.grad)
    keeps = (*((k,) if q.grad else ()), *((q,) if k.grad else ()))
    tape.record("scores", (q,) if k is q else (q, k), scores, keeps)
    weights = tape.like(scores, "softmax")
    tape.record("softmax", (scores,), weights, (weights,))
    if micro.dropout:
        mask = tape.like(scores, "attention dropout mask", 1, grad=False)
        weights = tape.record("dropout", (weights,), tape.like(weights, "softmax after dropout"), (mask,))
    keeps = (*((v,) if weights.grad else ()), *((weights,) if v.grad else ()))
    tape.record("weigh", (weights, v), out, keeps)


def attention(tape: Tape, micro: MicroBatch, part: GQA, norm: Norm, x: Value) -> Value:
    """Norm and one matrix for queries, keys and values; then norms of heads and rotation, if there are any.

    Where all three are as the matrix has left them, one head beside the other, they stay in its storage.
    Otherwise (groups of several queries, norms, rotation) each is copied to a storage of its own, which
    Transformer Engine's get_qkv_layout asks for.
    """
    batch, seq = x.shape[0], x.shape[1]
    numbers = {"q": part.heads, "k": part.kv_heads, "v": part.kv_heads}
    x = normalise(tape, micro, "input_layernorm", norm, x)
    tape.module = "self_attn"
    names = [f"self_attn.{letter}_proj" for letter in "qkv"]
    columns = (part.heads + 2 * part.kv_heads) * part.head_dim
    mixed = matrix(tape, micro, "self_attn.qkv", x, columns, weights=names, region="inner", cut="inner")
    held = dict.fromkeys(numbers, mixed)

    def own(letter: str) -> Value:
        shape = (batch, seq, numbers[letter], part.head_dim)
        return inner(tape, f"{letter} alone", shape, x.element_bytes, grad=mixed.grad)

    if part.heads != part.kv_heads:
        held["q"] = tape.record("copy", (mixed,), own("q"))
    for letter in "qk":
        if part.qk_norm:
            shape = (batch, seq, numbers[letter], 2 if part.qk_norm_bias else 1)
            rows = inner(tape, f"{letter}_norm statistics", shape, 4, grad=False)
            given = held[letter]
            held[letter] = tape.record(f"{letter}_norm", (given,), own(letter), (given, rows))
        if part.rope_dim is None or part.rope_dim:
            held[letter] = tape.record("rope", (held[letter],), own(letter))
    if held["q"] is not mixed:
        for letter, given in held.items():
            held[letter] = given if given is not mixed else tape.record("copy", (mixed,), own(letter))
    heads, widths = (part.heads, part.kv_heads), (part.head_dim, part.head_dim)
    out = attend(tape, micro, (held["q"], held["k"], held["v"]), heads=heads, widths=widths)
    return matrix(tape, micro, "self_attn.o_proj", out, part.width, cut="inner")


def latent_attention(tape: Tape, micro: MicroBatch, part: MLA, norm: Norm, x: Value) -> Value:
    """Down to the latents, up to the heads; queries, keys and values are made in storages of their own."""
    batch, seq = x.shape[0], x.shape[1]
    key_dim = part.nope_dim + part.rope_dim
    x = normalise(tape, micro, "input_layernorm", norm, x)
    tape.module = "self_attn"

    def up(name: str, latent: Value, rank: int, columns: int) -> Value:
        if part.latent_norms:
            shape = (batch, seq, rank)
            rows = tape.value(f"{name} statistics", (batch, seq, 1), 4, grad=False)
            normal = tape.value(f"{name} normalised", shape, x.element_bytes, grad=latent.grad)
            latent = tape.record(f"{name} norm", (latent,), normal, (latent, rows))
        return matrix(tape, micro, name, latent, columns, region="inner", cut="inner")

    if part.q_rank is None:
        q = matrix(tape, micro, "self_attn.q_proj", x, part.heads * key_dim, region="inner", cut="inner")
    else:
        latent = matrix(tape, micro, "self_attn.q_a_proj", x, part.q_rank)
        q = up("self_attn.q_b_proj", latent, part.q_rank, part.heads * key_dim)
    latent = matrix(tape, micro, "self_attn.kv_a_proj_with_mqa", x, part.kv_rank + part.rope_dim)
    both = up("self_attn.kv_b_proj", latent, part.kv_rank, part.heads * (part.nope_dim + part.value_dim))
    made = []
    for name, given, width in (("q", q, key_dim), ("k", both, key_dim), ("v", both, part.value_dim)):
        shape = (batch, seq, part.heads, width)
        value = inner(tape, f"{name} of all heads", shape, x.element_bytes, grad=given.grad)
        made.append(tape.record("rope and join", (given,), value))
    q, k, v = made
    widths = (key_dim, part.value_dim)
    out = attend(tape, micro, (q, k, v), heads=(part.heads, part.heads), widths=widths)
    return matrix(tape, micro, "self_attn.o_proj", out, part.width, cut="inner")


def two_matrices(tape: Tape, micro: MicroBatch, name: str, part: MLP, x: Value) -> Value:
    """Up, the activation in one kernel, down: the kernel keeps its argument, gate and up in one storage."""
    wide = (2 if part.gated else 1) * part.ffn_width
    names = [f"{name}.{word}_proj" for word in (("gate", "up") if part.gated else ("up",))]
    argument = matrix(tape, micro, f"{name}.up", x, wide, weights=names, region="inner", cut="inner")
    shape = (*x.shape[:-1], part.ffn_width)
    active = inner(tape, f"{name} activation", shape, x.element_bytes, grad=argument.grad)
    tape.record("activation", (argument,), active, (argument,))
    return matrix(tape, micro, f"{name}.down_proj", active, part.width, cut="inner")


def mlp(tape: Tape, micro: MicroBatch, part: MLP, norm: Norm, x: Value) -> Value:
    """Norm and a dense feed-forward part."""
    x = normalise(tape, micro, "post_attention_layernorm", norm, x)
    tape.module = "mlp"
    return two_matrices(tape, micro, "mlp", part, x)


SCORES, INDEX = 4, 8  # bytes: the router computes in 32 bits, PyTorch counts rows in 64


def route(tape: Tape, micro: MicroBatch, part: MoE, x: Value) -> Value:
    """Score all experts, and return the probabilities of those that each token uses."""
    tokens, trained = x.shape[:-1], micro.trained("mlp.gate")
    scores = tape.value("router scores", (*tokens, part.experts), SCORES, grad=x.grad or trained)
    tape.record("router", (x,), scores, (x,) if trained else ())
    odds = tape.value("probabilities of the chosen", (*tokens, part.top_k), SCORES, grad=scores.grad)
    chosen = tape.like(odds, "which were chosen", INDEX, grad=False)
    balance = tape.like(scores, "scores for the balancing loss", grad=False)
    where = tape.like(scores, "which expert has which token", 1, grad=False)
    return tape.record("choose", (scores,), odds, (scores, odds, chosen, balance, where))


def moe(tape: Tape, micro: MicroBatch, part: MoE, norm: Norm, x: Value) -> Value:
    """Norm, router, experts on the rows that were sent to them, shared experts.

    Of each token `top_k` rows are sent, evenly: that is what balanced routing gives, and what a plan can
    know. All ranks that share an expert get all of its rows. Sending keeps where rows went, and no rows: the
    experts' first product keeps its input.
    """
    x = normalise(tape, micro, "post_attention_layernorm", norm, x)
    tape.module = "moe"
    odds = route(tape, micro, part, x)
    rows = (*x.shape[:-1], part.top_k * micro.routed_share[1])
    sent = routed(tape, "rows sent to experts", (*rows, part.width), x.element_bytes, grad=x.grad)
    places = routed(tape, "places of rows", (*rows, 1), INDEX, grad=False)
    tape.record("send", (x,), sent, (places,))
    weigh = routed(tape, "probabilities of rows", (*rows, 1), SCORES, grad=odds.grad)
    tape.record("send odds", (odds,), weigh)
    down = experts_answer(tape, micro, part, sent, weigh)
    back = tape.record("gather", (down,), tape.like(x, "experts' sum", grad=down.grad), (places,))
    if part.shared_width is None:
        return back
    tape.module = "shared_experts"
    shared = MLP(part.width, part.shared_width, part.gated, kind="shared")
    beside = two_matrices(tape, micro, "mlp.shared_experts", shared, x)
    tape.module = "moe"
    return tape.add(back, beside, "experts' sum with the shared ones")


def routed(tape: Tape, name: str, shape: tuple[int, ...], element_bytes: int, *, grad: bool) -> Value:
    """Make a storage of rows that were sent to experts."""
    return tape.value(name, shape, element_bytes, grad=grad, region="routed")


def experts_answer(tape: Tape, micro: MicroBatch, part: MoE, sent: Value, weigh: Value) -> Value:
    """Multiply rows by their experts' two matrices, and by the router's probabilities between them.

    SwiGLU is one kernel; GELU is not, and its result is kept beside what it is multiplied by, the
    probabilities.
    """
    ranks, each = micro.routed_share
    local, width = share(part.experts, ranks), share(part.expert_width, each)
    wide = share((2 if part.gated else 1) * part.expert_width, each)
    names = [f"mlp.experts.{word}_proj" for word in (("gate", "up") if part.gated else ("up",))]
    up = matrix(tape, micro, "mlp.experts.up", sent, wide, weights=names, region="routed", copies=local)
    shape, element_bytes = (*sent.shape[:-1], width), sent.element_bytes
    product = routed(tape, "experts' activation", shape, element_bytes, grad=up.grad or weigh.grad)
    if part.gated:
        tape.record("swiglu", (up, weigh), product, (up, weigh))
    else:
        active = routed(tape, "gelu", shape, element_bytes, grad=up.grad)
        tape.record("gelu", (up,), active, (up,))
        tape.record("weigh", (active, weigh), product, (active, weigh))
    return matrix(tape, micro, "mlp.experts.down_proj", product, part.width, region="routed", copies=local)


BODIES: dict[type, Body] = {GQA: attention, MLA: latent_attention, MLP: mlp, MoE: moe}
BRANCHES = (("input_layernorm", "self_attn"), ("post_attention_layernorm", "mlp"))


def one_ahead(tape: Tape, micro: MicroBatch, parts: dict[str, Part], x: Value) -> Value:
    """Join the stream with the tokens one later: what a layer of multi-token prediction is given."""
    tape.module = "mtp"
    projection, *norms = (parts.pop(name) for name in ("eh_proj", "enorm", "hnorm"))
    if not isinstance(projection, Linear):
        raise unknown("eh_proj", projection)
    later = tape.like(x, "embedded tokens, one later", grad=micro.trained("model.embed_tokens"))
    pair = [
        normalise(tape, micro, name, norm, value)
        for name, norm, value in zip(("enorm", "hnorm"), norms, (later, x), strict=True)
    ]
    shape = (*x.shape[:-1], 2 * x.shape[-1])
    joined = tape.value("both streams", shape, x.element_bytes, grad=x.grad or later.grad)
    tape.record("join", pair, joined)
    return matrix(tape, micro, "eh_proj", joined, projection.rows, cut="inner")


def unknown(name: str, part: object) -> BadInputError:
    """Return the refusal of a part whose operations are not modelled."""
    return BadInputError(
        "SOURCE",
        "attention of heads or latents, dense or routed feed-forward parts, a norm before each",
        f"{name} ({type(part).__name__})",
        "what autograd keeps of it is not modelled for megatron",
    )


def attention_shapes(part: GQA | MLA, ranks: int) -> Iterator[tuple[int, int]]:
    """Yield the shapes of attention's matrices on a rank."""
    if isinstance(part, GQA):
        yield share((part.heads + 2 * part.kv_heads) * part.head_dim, ranks), part.width
        yield part.width, share(part.heads * part.head_dim, ranks)
        return
    queries = part.heads * (part.nope_dim + part.rope_dim)
    if part.q_rank is not None:
        yield part.q_rank, part.width
    yield share(queries, ranks), part.width if part.q_rank is None else part.q_rank
    yield part.kv_rank + part.rope_dim, part.width
    yield share(part.heads * (part.nope_dim + part.value_dim), ranks), part.kv_rank
    yield part.width, share(part.heads * part.value_dim, ranks)


def wide_shapes(micro: MicroBatch, model: Model) -> Iterator[tuple[int, int]]:
    """Yield the shapes of Transformer Engine's matrices on a rank."""
    inner, each = micro.cut.get("inner", 1), micro.routed_share[1]

    def pair(part: MLP | MoE, width: int, ranks: int) -> Iterator[tuple[int, int]]:
        yield share((2 if part.gated else 1) * width, ranks), part.width
        yield part.width, share(width, ranks)

    for _, part in (named for layer in model.groups for named in layer.parts):
        if isinstance(part, GQA | MLA):
            yield from attention_shapes(part, inner)
        elif isinstance(part, MLP):
            yield from pair(part, part.ffn_width, inner)
        elif isinstance(part, Linear):
            yield share(part.rows, inner), part.columns
        elif isinstance(part, MoE):
            yield from pair(part, part.expert_width, each)
            if part.shared_width is not None:
                yield from pair(part, part.shared_width, inner)


EXPERTS = ("allgather", "alltoall", "grouped", "sequential")
USUAL = "allgather,sequential"


def how_experts(micro: MicroBatch) -> tuple[str, ...]:
    """Return how tokens are sent to experts, and whether all experts are multiplied at once.

    Raises
    ------
    UnknownNameError
        It is stated in other words.

    """
    words = tuple((micro.experts or USUAL).split(","))
    for one in words:
        if one not in EXPERTS:
            known = f"some of {', '.join(EXPERTS)} with --implementation megatron"
            raise UnknownNameError("--experts", known, micro.experts, "as in alltoall,grouped")
    return words


CROSS_ENTROPY = f"{CORE}tensor_parallel/cross_entropy.py"
OF_MEGATRON = (
    Loss(
        "megatron",
        kept=4,
        backward=2,
        note="softmax in fp32, in place; then a 16-bit gradient",
        source=CROSS_ENTROPY,
        parallel=True,
    ),
    Loss(
        "megatron-fused",
        kept=4,
        backward=6,
        note="softmax in fp32; its gradient in fp32 and in 16 bits",
        source=f"{CORE}fusions/fused_cross_entropy.py",
        parallel=True,
    ),
    Loss(
        "te-fused",
        kept=2,
        backward=0,
        note="the gradient is written over the 16-bit logits",
        source=f"{ENGINE}cross_entropy.py",
        parallel=True,
    ),
)
LOSSES: Registry[Loss] = Registry("--loss", {one.id: one for one in OF_MEGATRON})


class Megatron(Implementation):
    """Megatron-LM's training loop: gradients in a 32-bit buffer of its own."""

    id = "megatron"
    source = f"{CORE}transformer/"
    regimes = frozenset({"pure-bf16", "bf16-mixed", "fp32"})
    losses = LOSSES
    default_loss = "megatron"
    modules = ("core_attn", "mlp", "moe", "shared_experts")
    default_modules = ("core_attn",)
    options = frozenset({"gradient_fusion", "context_exchange"})
    experts = USUAL
    gradients = "fp32"
    optimizer_step = "fused"
    dropout = 0.1
    vocab_multiple = 128

    def layer(self, tape: Tape, micro: MicroBatch, layer: Layer, x: Value) -> Value:
        """Run a layer: two branches, each normalised before, dropped in part and added to the stream after.

        Raises
        ------
        BadInputError
            The layer has a part that this implementation does not know, or adapters.

        """
        if micro.adapters:
            given = ", ".join(micro.adapters)
            remedy = "what Transformer Engine keeps beside frozen matrices is not modelled; use transformers"
            raise BadInputError("--lora-rank", "no adapters with --implementation megatron", given, remedy)
        parts = dict(layer.parts)
        last = parts.pop("shared_head.norm", None)
        if "eh_proj" in parts:
            x = one_ahead(tape, micro, parts, x)
        for before, name in BRANCHES:
            part, norm = parts.pop(name, None), parts.pop(before, None)
            body = BODIES.get(type(part))
            refused = getattr(part, "sinks", False) or getattr(part, "shared_gate", False)
            if (
                body is None
                or refused
                or not isinstance(norm, Norm)
                or (isinstance(part, GQA) and part.gated)
            ):
                raise unknown(name, part)
            tape.module = before
            out = body(tape, micro, part, norm, x)
            tape.module = "stream"
            x = tape.add(dropout(tape, micro, f"{name} output", out), x, f"stream after {name}")
        for name, part in parts.items():
            raise unknown(name, part)
        if last is not None:
            tape.module = "shared_head.norm"
            out = normalise(tape, micro, "shared_head.norm", last, x)
            x = tape.record("head", (out,), tape.like(x, "what the head was given"), (out,))
        return x

    def start(self, tape: Tape, micro: MicroBatch, model: Model) -> None:
        """Look the tokens up: their numbers are kept, and which numbers of the stream are dropped."""
        tape.module = "model.embed_tokens"
        width: int = dict(model.outside)["model.embed_tokens"].width  # type: ignore[attr-defined]
        shape = (micro.batch, micro.seq)
        tokens = tape.value("tokens", shape, INDEX, grad=False, region="whole")
        trained = micro.trained("model.embed_tokens")
        x = tape.value("embedded", (*shape, width), micro.element_bytes, grad=trained)
        tape.record("look up", (), x, (tokens,))
        dropout(tape, micro, "embedding", x)

    def ends(self, tape: Tape, micro: MicroBatch, model: Model, x: Value) -> Value:
        """Run the final norm and the head, whose 16-bit gradient is never fused."""
        parts = dict(model.outside)
        tape.module = "model.norm"
        x = normalise(tape, micro, "model.norm", parts["model.norm"], x)
        head = "lm_head" if "lm_head" in parts else "model.embed_tokens"
        vocab: int = parts[head].vocab  # type: ignore[attr-defined]
        tape.module = "lm_head"
        apart = replace(micro, gradient_fusion=False)
        return matrix(tape, apart, head, x, vocab, region="logits", cut="head")

    def buffers(self, model: Model, micro: MicroBatch | None = None) -> int:
        """Return the bytes of RoPE's inverse frequencies: 32 bits for every second number that is rotated."""
        del micro
        for layer in model.groups:
            part = dict(layer.parts).get("self_attn")
            if isinstance(part, GQA):
                return 2 * (part.head_dim if part.rope_dim is None else part.rope_dim)
            if isinstance(part, MLA):
                return 2 * part.rope_dim
        return 0

    def workspace(self, capability: str | None) -> Measured:
        """Return what the libraries allocate inside of what PyTorch counts, by CUDA's capability.

        >>> [size // 2**20 for size in MEGATRON.workspace("9.0")[:3]]
        [96, 106, 137]
        """
        known = None if capability is None else MEGATRON_WORKSPACE.get(int(float(capability)))
        if known is not None:
            return known
        least, middles, most, sources, dates = zip(*MEGATRON_WORKSPACE.values(), strict=True)
        return Measured(min(least), sorted(middles)[1], max(most), sources[0], dates[0])

    def persistent(
        self, micro: MicroBatch, model: Model, capability: str | None
    ) -> Iterator[PersistentBuffer]:
        """Yield what is allocated once, for the layers of a stage.

        With gradient fusion autograd is handed an empty gradient of each matrix, one for all matrices of a
        shape. The dispatcher ``allgather`` gathers the tokens of all ranks that share experts into a buffer.
        ``grouped`` products run in four streams, each with a workspace.
        """
        if micro.gradient_fusion:
            shapes = dict.fromkeys(wide_shapes(micro, model))
            size = micro.element_bytes * sum(map(prod, shapes))
            source = f"{ENGINE}module/base.py: get_dummy_wgrad"
            yield PersistentBuffer("empty gradients, one a shape", size, source)
        experts = [part for layer in model.groups for _, part in layer.parts if isinstance(part, MoE)]
        ranks = micro.routed_share[0] * micro.routed_share[1]
        words = how_experts(micro)
        if experts and "grouped" in words and capability is not None:
            hopper = float(capability) >= 9
            one = TRANSFORMER_ENGINE_WORKSPACE_HOPPER if hopper else TRANSFORMER_ENGINE_WORKSPACE
            size = TRANSFORMER_ENGINE_STREAMS * one
            yield PersistentBuffer("workspaces of grouped products", size, f"{ENGINE}cpp_extensions/gemm.py")
        if experts and ranks > 1 and "alltoall" not in words:
            tokens = share(micro.batch * micro.seq, micro.cut.get("hidden", 1))
            size = ranks * tokens * experts[0].width * micro.element_bytes
            source = f"{CORE}transformer/moe/token_dispatcher.py"
            yield PersistentBuffer("tokens of all ranks", size, source)

    def check_parallelism(self, model: Model, parallel: TrainingParallelism) -> None:
        """Refuse tensor parallelism alone in a model with experts.

        Raises
        ------
        BadInputError
            Megatron-LM's MoELayer would refuse to train.

        """
        if model.has_experts and parallel.tp > 1 and not parallel.sequence_parallel:
            expected = "--sequence-parallel as well, in a model with experts"
            remedy = "Megatron-LM's MoELayer refuses to train without"
            raise BadInputError("--tp", expected, parallel.tp, remedy)


MEGATRON = Megatron()
