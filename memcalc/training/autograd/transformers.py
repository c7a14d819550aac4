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
from memcalc.ledger.parts.kinds import is_gqa, is_mla, is_moe, keeps_state
from memcalc.ledger.registry import Registry
from memcalc.ledger.tensor import ceil_div
from memcalc.training.autograd.architecture import LLAMA
from memcalc.training.autograd.architectures import COPY_TOKENS, words_of
from memcalc.training.autograd.attention import attention, is_still
from memcalc.training.autograd.base import Implementation, Loss
from memcalc.training.autograd.feedforward import mlp
from memcalc.training.autograd.matrices import matrix
from memcalc.training.autograd.norms import norm, softcapped
from memcalc.training.autograd.rotation import OWN_TABLES
from memcalc.training.releases import release_number

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from typing_extensions import TypeIs

    from memcalc.ledger.model import Layer, Model
    from memcalc.ledger.parts import DeltaNet, Mamba2, Part
    from memcalc.ledger.tensor import Tensor
    from memcalc.training.autograd.architecture import Architecture, Aside, Branch
    from memcalc.training.autograd.base import MicroBatch
    from memcalc.training.autograd.tape import Tape, Value
    from memcalc.training.parallelism import TrainingParallelism

    Body = Callable[[Tape, MicroBatch, Any, Value], Value]

__all__ = ["TRANSFORMERS", "Transformers"]


PLAIN = "transformers/loss/loss_utils.py: logits.float(), then torch's cross_entropy (log_softmax, nll_loss)"
LIGER = "https://github.com/linkedin/Liger-Kernel, commit 00eba634, src/liger_kernel/ops/"
TORCHTUNE = (
    "https://github.com/meta-pytorch/torchtune, torchtune/modules/loss/ce_chunked_output_loss.py, 2026-11"
)


def is_mamba2(part: object) -> TypeIs[Mamba2]:
    """Say whether a part is Mamba-2, by its quantities: a plan without one loads no class of it."""
    return hasattr(part, "ssm_heads")


def is_delta_net(part: object) -> TypeIs[DeltaNet]:
    """Say the same of a gated delta rule, Kimi's too."""
    return hasattr(part, "linear_value_heads")


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
FORMER = (  # before which release, and the loss that "plain" was then
    (
        (4, 46),
        Loss(
            "plain",
            kept=4,
            backward=8,
            note="logits in 32 bits without the last token, log_softmax, then two gradients",
            source="transformers v4.38.2 and v4.45.2, models/llama/modeling_llama.py, read 2026-12",
            shifted=True,
            made_wide=True,
        ),
    ),
    (
        (4, 49),
        Loss(
            "plain",
            kept=4,
            backward=8,
            note="the same, and the head's own logits live until it is done",
            source="transformers v4.46.0 and v4.48.0, loss/loss_utils.py, read 2026-12",
            shifted=True,
        ),
    ),
)
LOSSES: Registry[Loss] = Registry("--loss", {one.id: one for one in OF_TRANSFORMERS})
SCALED = ("model.embed_tokens", "model.embed_tokens_per_layer")
BY_LAYER = "per_layer_input_gate"  # of what multiplies a layer's vectors
STATES = ("linear_attn", "mamba")  # names of what stands in place of attention, where a layer keeps a state
LATENT = ("fc1_latent_proj", "fc2_latent_proj")  # between the stream and what experts see
INSTEAD = (*STATES, "mlp")  # of what does, where a layer has one branch
BODIES: dict[type, Body] = {GQA: attention, MLP: mlp}


def body_of(part: Part | None) -> Body | None:
    """Return the program of a part between norm and stream; None if there is none."""
    if is_moe(part):
        from memcalc.training.autograd.routing import mixture

        return mixture
    if is_mla(part):
        from memcalc.training.autograd.latent import latent_attention

        return latent_attention
    if is_mamba2(part):
        from memcalc.training.autograd.mamba import mamba2

        return mamba2
    if is_delta_net(part):
        return delta_rule(part)
    return next((body for kind, body in BODIES.items() if isinstance(part, kind)), None)


def delta_rule(part: DeltaNet) -> Body:
    """Return the program of a gated delta rule: Kimi's has decays of single numbers."""
    from memcalc.ledger.parts.recurrent import KimiDelta

    if isinstance(part, KimiDelta):
        from memcalc.training.autograd.kimi_delta import kimi_delta

        return kimi_delta
    from memcalc.training.autograd.delta import gated_delta

    return gated_delta


def beside_indexer(indexer: Any) -> Body:
    """Return the program of latent attention to what an indexer chose: the layer's, or (None) another's."""
    from memcalc.training.autograd.latent import latent_attention

    return partial(latent_attention, indexer=indexer)


def unknown(name: str, part: object) -> BadInputError:
    """Return the refusal of a part whose operations are not modelled."""
    return BadInputError(
        "SOURCE",
        "parts as in Llama, Mistral, Qwen2 or Qwen3",
        f"{name} ({type(part).__name__})",
        "what autograd keeps of it is not modelled for transformers",
    )


def run_branch(
    tape: Tape, micro: MicroBatch, parts: dict[str, Part], branch: Branch, given: dict[str | None, Value]
) -> Value:
    """Run a branch of a layer, whose parts are taken: what is added to the stream.

    `given` are the stream (None), and what norms give that branches share, by name.
    """
    before, name, behind, after, aside = branch
    name = name if name in parts else next((one for one in INSTEAD if one in parts), name)
    words = micro.architecture
    part, shifts = parts.pop(name, None), words.norm == "layer"
    for one in LATENT:
        parts.pop(f"{name}.{one}", None)  # the experts' program has them
    body = body_of(part)
    asked = () if words.norm == "bare" else (before, behind, after)
    norms = [parts.pop(one, None) for one in asked if one and one not in given]
    if body is None or not all(isinstance(one, Norm) and one.bias == shifts for one in norms):
        raise unknown(name, part)
    if words.index_rope and is_mla(part):
        body = beside_indexer(parts.pop(f"{name}.indexer", None))
    x = given[None]
    if before is not None and before not in given:
        tape.module = before
        given[before] = norm(tape, micro, before, x)
    inside = given[before]
    tape.module = name
    result = body(tape, micro, part, inside)
    let_go = words.inline_mlp and name == "mlp"
    for value in (x,) if let_go else (x, inside):
        tape.refer(value)
    if aside is not None and aside.part in parts:
        result = with_aside(tape, micro, parts, aside, (x, result))
    if behind is not None:
        tape.module = behind
        inside, result = result, norm(tape, micro, behind, result)
        tape.refer(inside)
        tape.refer(x)
    if words.scaled_branches:
        result = tape.record("scale", (result,), tape.like(result, f"{name}, scaled"))
    share = micro.hidden_dropout if name in words.dropped else 0
    return tape.dropout(result, share, f"{name} after dropout")


def run_branches(tape: Tape, micro: MicroBatch, parts: dict[str, Part], x: Value) -> Value:
    """Run the branches of a layer, whose parts are taken, one after the other or side by side."""
    words = micro.architecture
    results: list[Value] = []
    named: list[Value] = []
    given: dict[str | None, Value] = {None: x}
    for one in words.branches if words.norms_first else ():
        tape.module = str(one.before)
        given[one.before] = norm(tape, micro, tape.module, x)
        del parts[tape.module]
    for one in words.branches:
        result = run_branch(tape, micro, parts, one, given)
        named += (given[one.before], result) if words.named_branches else ()
        if words.parallel:
            results.append(result)
            continue
        x = tape.add(x, result, f"stream after {one.part}")
        if one.after is not None:
            tape.module = one.after
            x = norm(tape, micro, one.after, x)
        given[None] = x
    for value in named:
        tape.refer(value)
    if results:
        both = tape.add(results[1], results[0], "sum of the branches")
        if "sum" in words.dropped:
            both = tape.dropout(both, micro.hidden_dropout, "sum of the branches after dropout")
        x = tape.add(both, x, "stream after the layer")
    return x


def with_aside(
    tape: Tape, micro: MicroBatch, parts: dict[str, Any], aside: Aside, so_far: tuple[Value, Value]
) -> Value:
    """Run experts beside a branch, of which the input and the result are given: both results are added."""
    from memcalc.training.autograd.routing import mixture_aside

    x, result = so_far
    first, before, name, behind = aside
    for one in before, behind, first, "router.scale", "router.per_expert_scale":
        parts.pop(one)
    tape.module = first
    own = norm(tape, micro, first, result)
    tape.module = name
    other = mixture_aside(tape, micro, parts.pop(name), x, before)
    tape.module = behind
    normal = norm(tape, micro, behind, other)
    both = tape.add(own, normal, "both branches")
    for value in result, other, own, normal:
        tape.refer(value)
    return both


def ended(tape: Tape, words: Architecture, parts: dict[str, Part], x: Value) -> Value:
    """Multiply the stream by a number of the layer, and hold what the next one is given, if there is such."""
    if words.handed_on:
        from memcalc.training.autograd.indexed import hand_on

        hand_on(tape)
    if not words.scaled_layers:
        return x
    parts.pop("layer_scalar")
    scaled = tape.like(x, "stream, scaled")
    scaled.of = x.storage
    number = tape.weight("layer_scalar", (1,), x.element_bytes, trained=False)
    return tape.record("scale in place", (x,), scaled, (number,))


def has_gates(model: Model) -> bool:
    """Say whether experts of a model have a gate, with which their first matrix is one array."""
    parts = (part for layer in model.groups for _, part in layer.parts)
    return any(is_moe(part) and part.gated for part in parts)


class Transformers(Implementation):
    """Models of transformers, in a training loop as it is written everywhere."""

    id = "transformers"
    source = (
        "https://github.com/huggingface/transformers, v5.23, src/transformers/models/llama/modeling_llama.py"
    )
    losses = LOSSES
    default_loss = "plain"
    modules = ("core_attn", "self_attn", "mlp", "input_layernorm", "post_attention_layernorm")
    default_modules = ("core_attn",)
    options = frozenset({"repeat_kv", "engine_version", "autocast"})
    release = "5.23"
    experts = "grouped_mm"  # what transformers chooses

    def loss(self, name: str, release: str | None) -> Loss:
        """Return a loss by name; the plain one was another before 4.46, and before 4.49.

        >>> [TRANSFORMERS.loss("plain", release).shifted for release in ("4.45", "4.48", "4.49", None)]
        [True, True, False, False]
        """
        found = self.losses[name]
        if name != "plain" or release is None:
            return found
        number = release_number(release)
        return next((former for before, former in FORMER if number < before), found)

    def start(self, tape: Tape, micro: MicroBatch, model: Model) -> None:
        """Run what precedes the first layer: ids of positions, a norm, the embedding's adapter."""
        parts: dict[str, Any] = dict(model.outside)
        if "model.embed_norm" in parts:
            tape.module = "model.embed_norm"
            grad = micro.embeds_grad or micro.trained("model.embed_tokens")
            shape = (micro.batch, micro.seq, parts["model.embed_norm"].width)
            x = tape.value("embedded tokens", shape, micro.element_bytes, grad=grad)
            trained = micro.trained("model.embed_norm")
            if micro.embeds_grad:  # whoever asked holds them until it has come
                tape.record("ask for a gradient", (), x, (x,))
            tape.layer_norm("model.embed_norm", x, trained=trained, wide=micro.autocast)
        if "model.embed_positions" in parts and micro.trained("model.embed_positions"):
            rows = micro.batch if micro.architecture.positions == "each" else 1
            ids = tape.value("ids of positions", (rows, micro.seq), 8, grad=False)
            found = tape.value("embedded positions", (), micro.element_bytes, grad=True)
            tape.record("embedding", (), found, (ids,))
        made = micro.architecture.moved_tokens or "model.embed_positions" in parts
        moved = made or micro.embedding_dropout > 0
        if moved and micro.embeds_grad and micro.adapter("model.embed_tokens") is None:
            # layers are given what was made of the tokens, and whoever asked for a gradient holds these
            shape = (micro.batch, micro.seq, parts["model.embed_tokens"].width)
            x = tape.value("embedded tokens", shape, micro.element_bytes, grad=True)
            tape.record("ask for a gradient", (), x, (x,))
        if micro.embedding_dropout and (micro.embeds_grad or micro.trained("model.embed_tokens")):
            shape = (micro.batch, micro.seq, parts["model.embed_tokens"].width)
            x = tape.value("embedded tokens", shape, micro.element_bytes, grad=True)
            tape.dropout(x, micro.embedding_dropout, "embedded tokens after dropout")
        if model.model_type in COPY_TOKENS and micro.trained("model.embed_tokens"):
            tokens = tape.value("tokens, copied", (micro.batch, micro.seq), 8, grad=False, region="whole")
            tape.record("look up", (), tape.value("embedded tokens", (), 0, grad=True), (tokens,))
        if micro.adapter("model.embed_tokens") is not None:
            from memcalc.training.autograd.adapters import embed

            table = parts["model.embed_tokens"]
            embed(tape, micro, table.vocab, table.width)

    def hand_out(self, tape: Tape, micro: MicroBatch, model: Model, x: Value) -> None:
        """Run what gives each layer a vector of each token, before the first layer."""
        from memcalc.training.autograd import handed

        handed.vectors_of_layers(tape, micro, model, x)

    def layer(self, tape: Tape, micro: MicroBatch, layer: Layer, x: Value) -> Value:
        """Run a layer: two branches, each normalised before and added to the stream after.

        Raises
        ------
        BadInputError
            The layer has a part that this implementation does not know.

        """
        if not micro.architecture.listed:
            from memcalc.training.autograd.stand_in import run_stand_in

            return run_stand_in(tape, micro, layer, x)
        parts = dict(layer.parts)
        words = micro.architecture
        if getattr(parts.get("input_layernorm"), "bias", False) and words.norm != "layer":
            from memcalc.training.autograd import gpt2

            return gpt2.run_layer(tape, micro, layer, x)
        vector = None
        if BY_LAYER in parts:
            from memcalc.training.autograd import handed

            vector = handed.own_vector(tape)
        x = run_branches(tape, micro, parts, x)
        if vector is not None:
            x = handed.with_vector(tape, micro, parts, x, vector)
        x = ended(tape, words, parts, x)
        for name, part in parts.items():
            raise unknown(name, part)
        return x

    def ends(self, tape: Tape, micro: MicroBatch, model: Model, x: Value) -> Value:
        """Run the final norm and the head."""
        parts: dict[str, Any] = dict(model.outside)
        tape.module = "model.norm"
        last = parts.get("model.norm")
        if getattr(last, "bias", False):
            trained, size = micro.trained("model.norm"), micro.element_bytes
            x = tape.layer_norm("model.norm", x, trained=trained, wide=micro.autocast, stored=size)
        elif isinstance(last, Norm) or micro.architecture.norm == "bare":
            x = norm(tape, micro, "model.norm", x)
        if micro.fused_head:
            return x
        if micro.head_tokens is not None:
            x = tape.last_tokens(x, micro.head_tokens)
        head = "lm_head" if "lm_head" in parts else "model.embed_tokens"
        vocab, biased = parts[head].vocab, parts[head].bias
        tape.module = "lm_head"
        # the gradient of a tied head waits until the embedding's has come
        tape.fresh = tape.fresh or model.tied
        logits = matrix(tape, micro, head, x, vocab, bias=biased, region="logits", cut="head")
        if micro.architecture.wide_logits:
            logits = tape.cast(logits, 4, "logits in fp32")
        if micro.architecture.scaled_logits:
            logits = tape.record("scale", (logits,), tape.like(logits, "logits, scaled"))
        return softcapped(tape, logits) if micro.architecture.logits_softcap else logits

    def buffers(self, model: Model, micro: MicroBatch | None = None) -> int:
        """Return the bytes of RoPE's inverse frequencies: 32 bits for every second number, twice.

        Each table of tokens that are scaled has a number for that.
        """
        words = LLAMA if micro is None else micro.architecture
        tables = sum(name in dict(model.outside) for name in SCALED) if words.scaled_embedding else 0
        scale = micro.element_bytes * tables if micro is not None else 0
        return scale + self.frequencies(model, words)

    def frequencies(self, model: Model, words: Architecture) -> int:
        """Return the bytes of the inverse frequencies of RoPE, twice, or tables of positions."""
        if model.model_type == "gpt2" or words.rope == "none":
            return 0
        if words.rows:
            layers = sum(layer.times for layer in model.groups)
            return 4 * words.rows * (words.rotated or 0) * layers
        named = (part for layer in model.groups for _, part in layer.parts)
        parts: list[Any] = [part for part in named if is_gqa(part) or is_mla(part)]
        if words.tables_by_kind:
            windows = {part.window: part for part in parts}
            return sum(4 * (part.rope_dim or part.head_dim) for part in windows.values())
        if not parts or is_mla(parts[0]):
            return 4 * parts[0].rope_dim if parts else 0
        return 4 * (parts[0].rope_dim or parts[0].head_dim)

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
        """Return the bytes that all checkpoints share: positions, and tables that no derivative needs.

        GPT-2 keeps the positions anyway, for the gradient of their embedding.
        """
        words, tables = micro.architecture, 0
        positions = 0 if model.model_type == "gpt2" or words.positions == "none" else 8 * micro.seq
        if words.positions == "each":
            positions *= micro.batch
        if words.positions == "biases":
            heads: Any = dict(model.layers[0].parts)["self_attn"]
            size = 4 if micro.autocast else micro.element_bytes  # as the stream, which a norm gave
            positions = micro.batch * heads.heads * micro.seq * size
        if words.rope in OWN_TABLES and not words.keys_first:
            numbers = self.frequencies(model, words) // 4
            tables = 2 * micro.seq * numbers * (4 if words.wide_tables else micro.element_bytes)
        return positions + tables

    def masks(self, micro: MicroBatch, layer: Layer) -> dict[str, int]:
        """Return the bytes of the mask that checkpoints of equal windows share, if it is not built in.

        Those of layers that keep a state, or are not rotated, are handed cosines and sines, too, whose bytes
        others count.
        """
        words, part = micro.architecture, dict(layer.parts).get("self_attn")
        if part is None and any(name in STATES for name, _ in layer.parts):
            return {"RoPE": 0}
        if part is not None and keeps_state(part):
            return {}
        tables = {"RoPE": 0} if is_gqa(part) and words.rope != "none" and is_still(words, part) else {}
        as_kernels = 1 if words.index_rope else 0  # a byte says whether a token is seen
        width = micro.element_bytes if micro.attention == "eager" else as_kernels
        if not width or part is None:
            return tables
        size = micro.batch * micro.seq * micro.seq * width
        return {**tables, f"mask, window {getattr(part, 'window', None)}": size}

    def handed_on(self, micro: MicroBatch, layer: Layer) -> int:
        """Return the bytes of what the indexer of a layer chose: the layer behind it is given them."""
        if not micro.architecture.handed_on or "self_attn.indexer" not in dict(layer.parts):
            return 0
        from memcalc.training.autograd.indexed import chosen_bytes

        return chosen_bytes(micro)

    def stored(self, model: Model, tensor: Tensor) -> tuple[tuple[int, ...] | None, int]:
        """Return the shape of the array that holds a weight, and how many there are; None if in another one.

        A layer's experts are one array, gate and up together where there are gates; GPT-2's q, k and v are
        one matrix.
        """
        shape, name = tensor.stored_shape, tensor.name
        if tensor.active_experts is not None:
            if ".up_proj." in name and has_gates(model):
                return None, 0
            rows = 2 * shape[0] if ".gate_proj." in name else shape[0]
            return (tensor.experts, rows, *shape[1:]), tensor.layers
        if model.model_type == "gpt2" and "self_attn" in name and "o_proj" not in name:
            if "q_proj" not in name:
                return None, 0
            return (3 * shape[0], *shape[1:]), tensor.layers
        return shape, tensor.copies

    def as_built(self, model: Model, fields: Mapping[str, object]) -> Model:
        """Return the model with the matrices fused that its class fuses; some layers are not rotated."""
        words = words_of(model)
        if words.turns_by_layer:
            from memcalc.training.autograd.by_type import with_turns

            model = with_turns(model, fields)
        if not (words.fused or words.by_kind):
            return model
        from memcalc.training.autograd import fused

        return fused.as_built(model, words.fused, by_kind=words.by_kind)

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
