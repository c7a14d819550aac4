"""A plan for training becomes moments: what one rank holds when it holds most."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, NamedTuple

from memcalc.budget import Line, PoolBudget
from memcalc.errors import BadInputError, UnknownNameError, at_least_one
from memcalc.machine import machine
from memcalc.optimizers import optimizer as optimizer_named
from memcalc.saved import implementation as implementation_named
from memcalc.saved.base import Adapter, Setting
from memcalc.saved.tape import Pass
from memcalc.sources import source as source_named
from memcalc.split import Layout
from memcalc.states import GRADIENTS, REGIMES
from memcalc.tensor import ceil_div, product

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from memcalc.machine import Machine
    from memcalc.model import Layer, Model
    from memcalc.optimizers import Optimizer
    from memcalc.saved.base import Implementation, Loss
    from memcalc.saved.tape import Tape
    from memcalc.sources import Source
    from memcalc.states import Regime
    from memcalc.tensor import Tensor

__all__ = ["MOMENTS", "Training", "train"]

MOMENTS = ("forward_end", "loss", "recompute", "backward_end", "step")  # "backward" where nothing is recomputed
RECOMPUTE = ("none", "selective", "full")
ATTENTION = ("flash", "sdpa", "eager")
OFFLOADS = ("optimizer", "parameters", "activations")
QUANTISED = ("matrix", "expert", "shared")
NOTHING = Pass(0, 0)


class Held(NamedTuple):
    """A weight on one rank: how many numbers, in how many bytes, and what training keeps beside it.

    FSDP's shares are taken already. ZeRO cuts one long list of numbers, so that its shares are taken of the
    sum: `ranks` are those that hold the same weight. `shape` is that of the array which holds it, None where it
    is part of another's.
    """

    name: str
    count: int  # type: ignore[assignment]  # the word every reader expects, and no tuple's
    bytes: int
    master: int
    gradient: int
    moments: int
    trained: bool
    ranks: int
    shape: tuple[int, ...] | None
    inside: bool


class Run(NamedTuple):
    """Equal layers that follow each other: what one of them keeps and does, and how many there are."""

    kept: int
    again: int  # of what is kept when it is recomputed
    passed: Pass
    last_passed: Pass  # where it is the last one to run backwards
    gradients: int
    largest_unit: int
    times: int


class Instant(NamedTuple):
    """A point in the backward pass."""

    name: str
    gradients: int
    activations: int
    logits: int
    temporaries: int

    @property
    def total(self) -> int:
        """Bytes that the backward pass adds to what lives throughout."""
        return self.gradients + self.activations + self.logits + self.temporaries


@dataclass(frozen=True, eq=False)
class Training:
    """Everything that decides how much memory a training step needs.

    >>> plan = train("Qwen/Qwen3-0.6B", seq=4096, regime="pure-bf16")
    >>> plan.at("step")["optimizer"] == 4 * plan.trainable_parameters
    True
    """

    model: Model
    implementation: Implementation
    layout: Layout
    regime: Regime
    gradient_widths: tuple[int, ...]
    optimizer: Optimizer
    optimizer_step: str
    setting: Setting
    recompute: str
    recompute_modules: tuple[str, ...]
    loss: Loss
    hold_logits: bool
    keep_gradients: bool
    accumulate: int
    adapters: Mapping[str, Adapter]
    trainable: tuple[str, ...]
    base_format: str | None
    pieces: tuple[int, ...]
    rank: str
    offload: tuple[str, ...]
    machine: Machine | None
    named: Mapping[str, object]
    source: Source

    @property
    def moments(self) -> tuple[str, ...]:
        """The moments of a step; in the backward pass layers are recomputed, or not."""
        return MOMENTS if self.recompute != "none" else ("forward_end", "loss", "backward", "backward_end", "step")

    # ---- what is trained ---------------------------------------------------------------------------------

    def is_trained(self, name: str) -> bool:
        """Say whether a weight of the model itself is trained; adapters always are."""
        if self.adapters:
            return False
        return not self.trainable or any(part in name for part in self.trainable)

    def trains(self, name: str) -> bool:
        """Say the same of a matrix or norm by its name inside of a layer, or outside of all."""
        inside = f"model.layers.{{layer}}.{name}.weight"
        return self.is_trained(inside if inside in self.weight_names else f"{name}.weight")

    @cached_property
    def weight_names(self) -> frozenset[str]:
        """Names of all weights."""
        return frozenset(one.name for one in self.model.weights())

    @cached_property
    def input_grad(self) -> bool:
        """Whether a gradient flows into the first layer.

        Where the embedding is frozen, recomputed layers could not run backwards without one: transformers'
        enable_input_require_grads makes it.
        """
        return self.is_trained(EMBEDDING) or self.recompute == "full"

    @cached_property
    def parameters(self) -> int:
        """Numbers of the model and of its adapters, tied ones once."""
        return self.model.parameters + sum(self.adapter_shapes.values())

    @cached_property
    def trainable_parameters(self) -> int:
        """Numbers that get a gradient."""
        trained = (one for one in self.model.weights() if one.kind != "buffer" and self.is_trained(one.name))
        return sum(one.count for one in trained) + sum(self.adapter_shapes.values())

    @cached_property
    def adapter_shapes(self) -> dict[str, int]:
        """Numbers of the adapters beside each matrix, all layers together."""
        return {
            tensor.name: tensor.copies * beside.lora_rank * sum(tensor.stored_shape)
            for tensor in self.model.weights()
            if (beside := adapter_of(self.adapters, tensor)) is not None
        }

    # ---- weights and states on one rank ------------------------------------------------------------------

    @property
    def sharded(self) -> tuple[bool, bool, bool]:
        """Whether ranks share the weights, the gradients, the optimizer's numbers."""
        stage = 3 if self.layout.shard == "fsdp" else self.layout.shard
        return stage >= 3, stage >= 2, stage >= 1  # type: ignore[operator]

    @property
    def weight_bytes(self) -> int:
        """Bytes of a number of a weight that is trained, as it is stored."""
        wide = self.layout.shard == "fsdp" and self.regime.master is not None
        return 4 if wide else self.regime.weight  # FSDP shards the 32-bit numbers; 16-bit ones are gathered

    @property
    def master_bytes(self) -> int:
        """Bytes of a number of the copy that the optimizer updates; 0 where it updates the weight."""
        return 0 if self.layout.shard == "fsdp" or self.regime.master is None else self.regime.master

    @property
    def updated_bytes(self) -> int:
        """Bytes of a number of what the optimizer updates: its moments are as wide."""
        return self.master_bytes or self.weight_bytes

    def ranks_of(self, tensor: Tensor) -> int:
        """Return how many ranks hold the same weight, and could share its states."""
        return self.layout.states_ranks if tensor.chosen is None else self.layout.expert_states_ranks

    def mine(self, tensor: Tensor, ranks: int) -> int:
        """Return how many numbers of a weight a rank keeps: FSDP deals out rows, in chunks rounded up."""
        if ranks == 1 or self.layout.shard != "fsdp":
            return tensor.count
        shape = tensor.stored_shape
        return tensor.copies * ceil_div(shape[0], ranks) * prod(shape[1:])

    def held(self, stage: Model) -> Iterator[Held]:
        """Yield the weights of a rank, adapters among them."""
        for whole in stage.weights():
            tensor = self.layout.on_rank(whole)
            ranks = self.ranks_of(tensor)
            count = self.mine(tensor, ranks)
            trained = tensor.kind != "buffer" and self.is_trained(tensor.name)
            moments = 0
            shape, arrays = self.implementation.stored(self.model, tensor)
            inside = tensor.kind not in ("embedding", "head", "positions")
            if trained and self.optimizer.elementwise:
                moments = count * self.updated_bytes * len(self.optimizer.moments)
            elif trained and shape is not None:
                kept = self.optimizer.states(shape, self.updated_bytes, inside=inside)
                moments = arrays * sum(size for _, size in kept)
            yield Held(
                tensor.name,
                tensor.count,
                self.stored(tensor, count, trained=trained),
                count * self.master_bytes if trained else 0,
                count * sum(self.gradient_widths) if trained else 0,
                moments,
                trained,
                ranks,
                shape,
                inside,
            )
            beside = adapter_of(self.adapters, tensor)
            if beside is not None:
                yield from self.adapter_held(tensor, beside, ranks)

    def adapter_held(self, tensor: Tensor, beside: Adapter, ranks: int) -> Iterator[Held]:
        """Yield the two thin matrices beside a matrix: their states are as wide as they are."""
        width = beside.element_bytes
        for letter, shape in lora_shapes(tensor, beside):
            numbers = tensor.copies * prod(shape)
            moments = tensor.copies * sum(size for _, size in self.optimizer.states(shape, width))
            name = f"{tensor.name.removesuffix('.weight')}.{letter}"
            size = numbers * width
            yield Held(name, numbers, size, 0, size, moments, trained=True, ranks=ranks, shape=shape, inside=True)

    def stored(self, tensor: Tensor, count: int, *, trained: bool) -> int:
        """Return the bytes of a weight as it lies on the device."""
        if tensor.kind == "buffer":
            return 4 * tensor.count
        if self.base_format is not None and tensor.kind in QUANTISED:
            from memcalc.formats import format_named, tensor_bytes

            return tensor_bytes(tensor, format_named(self.base_format))
        frozen_width = self.setting.element_bytes  # nothing is updated, so that no 32-bit numbers are needed
        return count * (self.weight_bytes if trained else frozen_width)

    def share_of(self, items: list[Held], what: str, *, cut: bool) -> int:
        """Return the bytes of one rank: of a list that ZeRO cuts, whole numbers, rounded up."""
        if not cut or self.layout.shard == "fsdp":
            return sum(getattr(item, what) for item in items)
        lists: dict[tuple[int, int], int] = {}
        for item in items:
            size = getattr(item, what)
            if size:
                key = item.ranks, size // item.count
                lists[key] = lists.get(key, 0) + item.count
        return sum(ceil_div(count, ranks) * width for (ranks, width), count in lists.items())

    # ---- activations -------------------------------------------------------------------------------------

    @property
    def fresh(self) -> bool:
        """Whether gradients are made in the backward pass; otherwise they live through the forward pass."""
        lasting = self.implementation.gradients is not None  # a buffer of the implementation's own
        return not (self.keep_gradients or self.accumulate > 1 or lasting or self.layout.pp > 1)

    @cached_property
    def units(self) -> tuple[str, ...]:
        """The modules that are run again before their backward pass."""
        return {"none": (), "full": ("layer",)}.get(self.recompute, self.recompute_modules)

    def recomputed(self, module: str) -> str | None:
        """Return the unit in which the operations of a module are run again."""
        if self.recompute == "full":
            return "layer" if module else None
        return module if module in self.recompute_modules else None

    @cached_property
    def asked(self) -> Setting:
        """What the programs of the implementation are told."""
        layout = self.layout
        hidden = layout.tp if layout.sequence_parallel else 1
        cut = {
            "inner": layout.tp,
            "hidden": hidden,
            "logits": layout.tp,
            "routed": hidden,
            "expert": layout.etp * layout.ep,
        }
        return replace(
            self.setting,
            trained=self.trains,
            adapters=self.adapters,
            fused_head=self.loss.fused,
            quantised=self.base_format is not None,
            cut={region: ranks for region, ranks in cut.items() if ranks > 1},
            fresh=self.fresh and not self.sharded[1],
            gradient_bytes=None if self.regime.weight == self.setting.element_bytes else self.regime.gradient,
        )

    def tape(self) -> Tape:
        """Return an empty tape, in no module."""
        return self.asked.tape()

    @cached_property
    def stream_shape(self) -> tuple[int, int, int]:
        """Sequences, tokens and width of the residual stream."""
        width = dict(self.model.outside)["model.embed_tokens"].width  # type: ignore[attr-defined]
        return self.setting.batch, self.setting.seq, width

    @cached_property
    def stream_bytes(self) -> int:
        """Bytes of the residual stream of one micro-batch on one rank."""
        return self.tape().value("x", self.stream_shape, self.setting.element_bytes, grad=True).bytes

    def runs(self, layers: tuple[Layer, ...], *, grad: bool) -> tuple[list[Run], bool]:
        """Return the layers as runs of equal ones, and whether a gradient flows out of the last."""
        found: list[tuple[tuple[object, ...], Run]] = []
        for one in layers:
            key = (id(one.parts), grad)
            if found and found[-1][0] == key:
                found[-1] = key, found[-1][1]._replace(times=found[-1][1].times + one.times)
                continue
            run, grad_after = self.one_layer(one, grad)
            found.append((key, run._replace(times=one.times)))
            if grad_after != grad and one.times > 1:
                more, _ = self.one_layer(one, grad_after)
                found[-1] = key, run
                found.append(((id(one.parts), grad_after), more._replace(times=one.times - 1)))
            grad = grad_after
        return [run for _, run in found], grad

    def one_layer(self, one: Layer, grad: bool) -> tuple[Run, bool]:
        """Run one layer forward and backward on shapes."""
        key = (id(one.parts), grad)
        if key not in self._layers:
            tape = self.tape()
            x = tape.value("x", self.stream_shape, self.setting.element_bytes, grad=grad)
            out = self.implementation.layer(tape, self.asked, one, x)
            how = self.recomputed if self.units else None
            kept = tape.kept(how)
            if self.recompute == "full" and not any(value is x for value in kept):
                kept.append(x)  # a checkpoint keeps its input, whether or not a gradient flows through it
            whole = [value for value in tape.kept() if not any(value is other for other in kept)]
            nothing = not tape.operations
            weights = self.held_of(one)
            forward = tape.forward_peak(x) if self.recompute == "full" else 0
            run = Run(
                sum(value.bytes for value in kept) if not nothing or self.recompute == "full" else 0,
                sum(value.bytes for value in whole) if self.recompute == "full" else 0,
                NOTHING if nothing else tape.backward(how, forward=forward),
                NOTHING if nothing else tape.backward(how, final=True, forward=forward),
                self.share_of(weights, "gradient", cut=self.sharded[1]),
                sum(item.count for item in weights),
                1,
            )
            self._layers[key] = run, out.grad
        return self._layers[key]

    @cached_property
    def _layers(self) -> dict[tuple[int, bool], tuple[Run, bool]]:
        """Layers that were run already: equal ones are run once."""
        return {}

    def held_of(self, one: Layer) -> list[Held]:
        """Return the weights of one layer."""
        alone = replace(self.model, layers=(replace(one, times=1),), outside=())
        return list(self.held(alone))

    # ---- stages and what is in flight --------------------------------------------------------------------

    @cached_property
    def stage_models(self) -> list[tuple[Model, ...]]:
        """The chunks of each pipeline stage: models with fewer layers, ends where they belong."""
        pp, vpp = self.layout.pp, self.layout.vpp
        chunks, first = [], 0
        for number in self.pieces:
            chunks.append(self.model.stage(first, first + number))
            first += number
        return [tuple(chunks[stage + pp * turn] for turn in range(vpp)) for stage in range(pp)]

    def ends_run(self, stage: Model, *, grad: bool) -> tuple[int, Pass, int, int]:
        """Return what norm and head keep, their pass, the gradient of the logits, and their own gradients."""
        tape = self.tape()
        x = tape.value("x", self.stream_shape, self.setting.element_bytes, grad=grad)
        logits = self.implementation.ends(tape, self.asked, stage, x)
        if not tape.operations:
            return 0, NOTHING, logits.bytes, 0
        passed = tape.backward()
        first = ("model.embed_positions", *(() if stage.tied else (EMBEDDING,)))  # they run backwards last
        outside = tuple(one for one in stage.outside if one[0] not in first)
        alone = replace(stage, layers=(), outside=outside)
        gradients = self.share_of(list(self.held(alone)), "gradient", cut=self.sharded[1])
        return tape.kept_bytes(), passed, logits.bytes, gradients

    @cached_property
    def rope_bytes(self) -> int:
        """Bytes of the cosines and sines that all layers share."""
        tape = self.tape()
        x = tape.value("x", self.stream_shape, self.setting.element_bytes, grad=True)
        self.implementation.layer(tape, self.asked, self.model.layers[0], x)
        return sum(value.bytes for value in tape.rope or ())

    @property
    def stages_wanted(self) -> range:
        """The pipeline stages among which the fullest is looked for."""
        pp = self.layout.pp
        return {"first": range(1), "last": range(pp - 1, pp)}.get(self.rank, range(pp))

    @cached_property
    def fullest(self) -> StageMoments:
        """The moments of the stage that holds most."""
        found = [StageMoments(self, stage) for stage in self.stages_wanted]
        return max(found, key=lambda one: one.allocated_bytes)

    @property
    def allocated_bytes(self) -> int:
        """The largest moment: what torch.cuda.max_memory_allocated reports."""
        return self.fullest.allocated_bytes

    def at(self, moment: str) -> dict[str, int]:
        """Return the components of a moment; they add up to it."""
        return self.fullest.components(moment)


EMBEDDING = "model.embed_tokens"
SCALARS = 8  # the loss and the weight of its mean, or the loss and its gradient: two numbers of 32 bits
DEEPSPEED_BUCKET = 5 * 10**8  # numbers: reduce_bucket_size and allgather_bucket_size


@dataclass(frozen=True, eq=False)
class StageMoments:
    """What the ranks of one pipeline stage hold at each moment."""

    plan: Training
    stage: int

    @cached_property
    def chunks(self) -> tuple[Model, ...]:
        """The stage's layers, in the chunks in which they are run."""
        return self.plan.stage_models[self.stage]

    @cached_property
    def is_last(self) -> bool:
        """Whether the stage ends in the loss."""
        return self.stage == self.plan.layout.pp - 1

    @cached_property
    def held(self) -> list[Held]:
        """The weights of a rank."""
        return [item for chunk in self.chunks for item in self.plan.held(chunk)]

    @cached_property
    def trained(self) -> list[Held]:
        """Those that get a gradient."""
        return [item for item in self.held if item.trained]

    @cached_property
    def gradient_bytes(self) -> int:
        """Bytes of all gradients of a rank."""
        return self.plan.share_of(self.trained, "gradient", cut=self.plan.sharded[1])

    @cached_property
    def runs(self) -> list[list[Run]]:
        """Runs of equal layers, a list for each chunk; the embedding decides whether a gradient flows in."""
        grad, found = self.stage > 0 or self.plan.input_grad, []
        for chunk in self.chunks:
            runs, grad = self.plan.runs(chunk.layers, grad=grad)
            found.append(runs)
        return found

    @cached_property
    def in_flight(self) -> list[int]:
        """The chunks whose activations are kept when most are, in the order in which they were run."""
        plan = self.plan
        number = plan.layout.in_flight(self.stage, plan.accumulate)
        turns = len(self.chunks)
        return [(step // plan.layout.pp) % turns if turns > 1 else 0 for step in range(number)]

    def kept_by(self, chunk: int) -> int:
        """Bytes that the layers of a chunk keep of one micro-batch."""
        return sum(run.kept * run.times for run in self.runs[chunk])

    @cached_property
    def layers_kept(self) -> int:
        """Bytes that the layers keep of all micro-batches in flight."""
        return sum(map(self.kept_by, self.in_flight))

    @cached_property
    def beside_layers(self) -> int:
        """Bytes kept beside the layers: RoPE's tables, and the positions that checkpoints hold on to."""
        plan = self.plan
        checkpointed = plan.implementation.checkpointed
        held = checkpointed(plan.asked, plan.model) if plan.recompute == "full" and checkpointed is not None else 0
        return plan.rope_bytes + held if any(run.passed is not NOTHING for runs in self.runs for run in runs) else 0

    @cached_property
    def ends(self) -> tuple[int, Pass, int, int]:
        """What norm and head keep, their pass, the gradient of the logits, and their own gradients."""
        grad = self.plan.input_grad or any(run.passed is not NOTHING for runs in self.runs for run in runs)
        return self.plan.ends_run(self.chunks[-1], grad=grad)

    @cached_property
    def logits(self) -> int:
        """Numbers of the logits of one micro-batch on one rank."""
        tape, (batch, seq, _) = self.plan.tape(), self.plan.stream_shape
        return tape.value("logits", (batch, seq, self.vocab), 1, grad=True, region="logits").bytes

    @property
    def vocab(self) -> int:
        """Rows of the head."""
        width = self.chunks[-1].logits_width
        return 0 if width is None else width

    @cached_property
    def labels(self) -> int:
        """Bytes of the shifted labels that the loss keeps: padded by one, copied where there are several rows."""
        batch, seq, _ = self.plan.stream_shape
        return 8 * (batch * seq + (batch == 1))

    # ---- the backward pass -------------------------------------------------------------------------------

    def instants(self) -> Iterator[Instant]:
        """Yield the points of the backward pass at which a rank may hold most."""
        plan, fresh = self.plan, self.plan.fresh
        stream = plan.stream_bytes
        activations = self.layers_kept + self.beside_layers + (SCALARS if self.is_last else 0)
        held = self.held_logits
        gradients = 0
        if self.is_last:
            kept, passed, result, own = self.ends
            wide = self.head_input(result)
            yield Instant("head", 0, activations + kept, wide + held, passed.peak)
            gradients = own if fresh else self.waiting
        for run in reversed(self.runs[self.in_flight[-1]]):
            steps = {0, run.times - 1}
            for step in sorted(steps):
                done = gradients + (step * run.gradients if fresh else 0)
                left = activations - step * run.kept + run.again
                first = step == run.times - 1 and run is self.runs[self.in_flight[-1]][0]
                passed = run.last_passed if first and plan.recompute != "full" else run.passed
                yield Instant("layer", done, left, held, stream + passed.peak - run.again)
            gradients = gradients + (run.times * run.gradients if fresh else 0)
            activations = activations - run.times * run.kept

    @cached_property
    def fullest_instant(self) -> Instant:
        """The point of the backward pass at which a rank holds most."""
        return max(self.instants(), key=lambda one: one.total)

    def head_input(self, result: int) -> int:
        """Bytes that lie ready when the head runs backwards: the gradient of the logits, and what waits with it."""
        form = self.plan.loss
        if form.fused:
            return result + self.head_gradient
        if not form.backward:  # it lies where the logits were
            return form.kept * self.logits
        left = form.kept * self.logits * (form.chunks - 1) // form.chunks
        return left + ceil_div(result, form.chunks)

    @cached_property
    def head_gradient(self) -> int:
        """Bytes of the gradient of the head's matrix, if it is trained."""
        head = EMBEDDING if self.plan.model.tied else "lm_head"
        return sum(item.gradient for item in self.trained if item.name.startswith(head))

    @property
    def fused_chunk(self) -> int:
        """Bytes of the logits that a fused loss makes at once."""
        plan, (batch, seq, width) = self.plan, self.plan.stream_shape
        if plan.loss.chunk is None:
            return 0
        return plan.loss.chunk(batch * seq, self.vocab, width) * self.vocab * plan.setting.low_bytes

    @cached_property
    def embedding_gradient(self) -> int:
        """Bytes of the gradient of the embedding, if it is trained."""
        return sum(item.gradient for item in self.trained if item.name.startswith(EMBEDDING))

    @property
    def waiting(self) -> int:
        """Bytes of the gradient of a tied head: autograd adds it only when the embedding's has come, too."""
        return self.embedding_gradient if self.plan.model.tied and self.is_last else 0

    @cached_property
    def held_logits(self) -> int:
        """Bytes of the logits that the caller does not let go."""
        return self.logits * self.plan.setting.low_bytes if self.plan.hold_logits and self.is_last else 0

    # ---- lines -------------------------------------------------------------------------------------------

    @cached_property
    def budget(self) -> PoolBudget:
        """The lines of a device, and the moments that they add up to."""
        where = self.plan.machine
        capacity = None if where is None else where.device.capacity_bytes
        lines = tuple(line for line in self.lines() if line.bytes)
        return PoolBudget("gpu", self.plan.layout.world, capacity, capacity, lines, self.plan.moments)

    @property
    def allocated_bytes(self) -> int:
        """The largest moment."""
        return max(self.budget.moments.values())

    def components(self, moment: str) -> dict[str, int]:
        """Return the bytes of each component at a moment."""
        found: dict[str, int] = {}
        for line in self.budget.lines:
            if moment in line.moments:
                found[line.component] = found.get(line.component, 0) + line.bytes
        return found

    def lines(self) -> Iterator[Line]:
        """Yield everything that a rank holds, with the moments at which it does."""
        yield from self.state_lines()
        yield from self.gathered_lines()
        yield from self.activation_lines()
        yield from self.step_lines()

    def state_lines(self) -> Iterator[Line]:
        """Yield weights, master copy, gradients and optimizer states."""
        plan = self.plan
        always = plan.moments
        of_weights, _, of_states = plan.sharded
        numbers = sum(item.count for item in self.held)
        trained = sum(item.count for item in self.trained)
        weights = plan.share_of(self.held, "bytes", cut=of_weights)
        yield Line("weights", "weights", numbers, weights, "bytes as stored x share", always)
        buffers = plan.implementation.buffers(plan.model)
        yield Line("weights", "buffers", buffers // 4, buffers, "inverse frequencies of RoPE, twice", always)
        for component, what, name in (
            ("master", "master", "fp32 master copy"),
            ("optimizer", "moments", f"{plan.optimizer.id} states"),
        ):
            size = plan.share_of(self.trained, what, cut=of_states)
            yield Line(component, name, trained, size, "bytes a number x share", always, source=plan.optimizer.source)
        when = ("backward_end", "step") if plan.fresh else always
        yield Line("gradients", "gradients", trained, self.gradient_bytes, "bytes a number x share", when)
        if plan.layout.shard == 0 and plan.layout.states_ranks > 1 and plan.implementation.gradients is None:
            yield Line(
                "gradients",
                "DDP's buckets",
                trained,
                self.gradient_bytes,
                "a copy of all gradients, unless gradient_as_bucket_view",
                always,
                source="torch.nn.parallel.DistributedDataParallel 2.13",
            )

    def gathered_lines(self) -> Iterator[Line]:
        """Yield what ranks gather for a while: whole layers of weights, and their gradients before sharing."""
        plan = self.plan
        _, _, backward, end, _ = plan.moments
        if not plan.sharded[0] or plan.layout.states_ranks == 1:
            return
        width = plan.setting.element_bytes
        layers = [run for runs in self.runs for run in runs]
        largest = max(run.largest_unit for run in layers)
        root = sum(item.count for item in self.held if "{layer}" not in item.name)
        source = "torch.distributed.fsdp.fully_shard 2.13: one unit a layer, the next one gathered ahead"
        evidence = "exact" if plan.layout.shard == "fsdp" else "assumed"
        for name, numbers, when in (
            ("embedding, norm and head, whole", root, plan.moments[:4]),
            ("two layers, whole", 2 * largest, (backward,)),
        ):
            yield Line("gathered", name, numbers, numbers * width, f"{width} B a number", when, evidence, source)
        wide = sum(plan.gradient_widths)
        numbers = max(largest, root if any(item.trained and "{layer}" not in item.name for item in self.held) else 0)
        copies = width + (wide if wide != width else 0)
        trained = any(item.trained for item in self.held)
        yield Line(
            "gathered",
            "gradients of one unit before they are shared out",
            numbers,
            copies * numbers if trained else 0,
            f"{copies} B a number",
            (backward, end),
            evidence,
            source,
        )

    def activation_lines(self) -> Iterator[Line]:
        """Yield what the forward pass keeps, the loss, and the fullest point of the backward pass."""
        plan = self.plan
        ends = self.ends[0] if self.is_last else 0
        end, loss = ("forward_end",), ("loss",)
        labels = self.labels if self.is_last else 0
        scalars = SCALARS if self.is_last else 0
        yield Line("activations", "kept by the layers", 0, self.layers_kept, "see `kept`", (*end, *loss))
        beside = self.beside_layers + scalars
        yield Line("activations", "RoPE, positions, scalars", 0, beside, "once", (*end, *loss))
        yield Line("activations", "kept by norm and head", 0, ends, "see `kept`", (*end, *loss))
        yield Line("activations", "labels", labels // 8, labels, "8 B a token", end)
        if self.is_last:
            form, source = plan.loss, plan.loss.source
            kept, back = form.kept * self.logits, ceil_div(form.backward * self.logits, form.chunks)
            yield Line("logits", f"{form.id}: kept", self.logits, kept, f"{form.kept} B a logit", (*end, *loss), source=source)
            yield Line("logits", f"{form.id}: gradients", self.logits, back, f"{form.backward} B a logit", loss, source=source)
            if form.fused:
                made = self.ends[2] + self.head_gradient
                name = f"{form.id}: gradients of stream and head"
                yield Line("logits", name, 0, made, "made in the forward pass", (*end, *loss), source=source)
                name = f"{form.id}: a chunk of logits"
                yield Line("logits", name, 0, self.fused_chunk, "16 bits each", loss, source=source)
            held = (*end, *loss, "backward_end", "step")
            yield Line("logits", "held by the caller", self.logits, self.held_logits, "until the next step", held)
            loss_too = 4 if plan.hold_logits else 0
            yield Line("logits", "the loss, held with them", 1, loss_too, "one number of 32 bits", ("step",))
        instant = self.fullest_instant
        for component, size in (
            ("gradients", instant.gradients),
            ("activations", instant.activations),
            ("logits", instant.logits),
            ("temporaries", instant.temporaries),
        ):
            yield Line(component, f"fullest point of the backward pass ({instant.name})", 0, size, "simulated", (plan.moments[2],))
        stream = plan.stream_bytes if self.stage > 0 or plan.input_grad else 0
        yield from self.embedding_lines(stream)
        yield Line("activations", "scalars", 2, scalars, "the loss and its gradient", ("backward_end",))

    def embedding_lines(self, stream: int) -> Iterator[Line]:
        """Yield what the embedding's backward pass needs: it is the last, and may meet gradients that exist."""
        plan, at = self.plan, ("backward_end",)
        one = self.embedding_gradient if self.stage == 0 else 0
        made = one * (plan.model.tied + (not plan.fresh))
        both = max(stream + made, made + one if plan.model.tied else 0)
        yield Line("temporaries", "gradient of the stream", 0, stream, "batch x seq x width", at)
        if self.stage == 0 and plan.input_grad and not plan.is_trained(EMBEDDING):
            name = "embedded tokens, as long as the loss lives"
            yield Line("activations", name, 0, stream, "batch x seq x width", at)
        name = "gradient of the embedding, added to those that exist"
        yield Line("temporaries", name, 0, both - stream, "vocab x width", at)

    def step_lines(self) -> Iterator[Line]:
        """Yield what the optimizer needs beside the states while it steps."""
        plan, step = self.plan, ("step",)
        of_states = plan.sharded[2]
        width = plan.updated_bytes
        if plan.optimizer_step == "foreach":
            copies = plan.optimizer.copies
            numbers = plan.share_of([item._replace(gradient=item.count * (item.gradient // item.count and width)) for item in self.trained], "gradient", cut=of_states)
            yield Line("temporaries", "foreach: a copy of all", 0, copies * numbers, "as wide as what is updated", step, source=plan.optimizer.source)
        elif plan.optimizer_step == "for-loop":
            yield Line("temporaries", "for-loop: arrays of one weight", 0, self.for_loop_bytes, "the largest of all weights", step, source=plan.optimizer.source)
        if plan.regime.master is not None and plan.layout.shard != "fsdp" and plan.gradient_widths == (2,):
            numbers = plan.share_of(self.trained, "master", cut=of_states)
            name = "gradients in fp32 for the master copy"
            yield Line("temporaries", name, 0, numbers, "4 B a number of the share", step, source="DeepSpeed, runtime/zero/stage_1_and_2.py: single_grad_partition in fp32")

    @property
    def for_loop_bytes(self) -> int:
        """Bytes for one array in turn, and what is left of the one before it."""
        optimizer = self.plan.optimizer
        largest, before = 0, 0
        for item in in_order(self.trained):
            if item.shape is not None and optimizer.loop is not None:
                width = item.gradient // item.count if self.plan.adapters else self.plan.updated_bytes
                largest = max(largest, optimizer.loop(item.shape, item.inside, width, before))
                before = prod(item.shape)
        return largest


def in_order(items: list[Held]) -> list[Held]:
    """Return weights as a model lists its parameters: the embedding first, norm and head last."""
    return sorted(items, key=lambda item: (item.name.startswith("model.embed_"), "{layer}" in item.name), reverse=True)


def adapter_of(adapters: Mapping[str, Adapter], tensor: Tensor) -> Adapter | None:
    """Return the adapter beside a weight, if it is a matrix that has one."""
    if not adapters or "{layer}" not in tensor.name or not tensor.name.endswith(".weight"):
        return None
    return adapters.get(tensor.name.removesuffix(".weight").rpartition(".")[2])


def lora_shapes(tensor: Tensor, beside: Adapter) -> tuple[tuple[str, tuple[int, int]], ...]:
    """Return the two thin matrices beside a matrix.

    Source: Hu et al. 2021, arXiv:2106.09685; names as in PEFT's LoraLayer.
    """
    out, inner = map(product, tensor.shape)
    return ("lora_A.weight", (beside.lora_rank, inner)), ("lora_B.weight", (out, beside.lora_rank))


# ---- from words to a plan --------------------------------------------------------------------------------


def train(
    text: str | Source,
    *,
    seq: int,
    micro_batch: int = 1,
    accumulate: int = 1,
    world: int = 1,
    regime: str = "bf16-mixed",
    gradients: str | None = None,
    implementation: str = "transformers",
    attention: str = "flash",
    optimizer: str = "adamw",
    optimizer_step: str | None = None,
    keep_gradients: bool = False,
    loss: str | None = None,
    hold_logits: bool = False,
    shard: int | str = 0,
    tp: int = 1,
    pp: int = 1,
    vpp: int = 1,
    cp: int = 1,
    ep: int = 1,
    expert_tp: int | None = None,
    sequence_parallel: bool = False,
    schedule: str = "1f1b",
    pipeline_layout: str | None = None,
    rank: str = "fullest",
    recompute: str = "none",
    recompute_modules: str | None = None,
    experts: str | None = None,
    dropout: float | None = None,
    compiled: bool = False,
    lora_rank: int | None = None,
    lora_targets: str | None = None,
    adapter_dtype: str | None = None,
    trainable: str | None = None,
    vocab_multiple: int | None = None,
    repeat_kv: str | None = None,
    quantize_base: str | None = None,
    offload: str | None = None,
    on: str | None = None,
) -> Training:
    """Return the plan of a training step, with everything that was left open filled in.

    Sizes are those of a steady state: the optimizer's states exist while the forward pass runs. `seq` are
    the tokens of one sequence, padded as the run pads them, `micro_batch` the sequences of one forward pass
    on one data-parallel rank, `accumulate` the micro-batches of one step.

    Raises:
        BadInputError: a number that cannot be, or a plan that the implementation cannot run.
        UnknownNameError: a name without a record.

    """
    for name, value in (("seq", seq), ("micro-batch", micro_batch), ("accumulate", accumulate)):
        if isinstance(value, int | float | str) or value is None:  # arrays are asked by the sweep
            at_least_one(name, value)
    one_of("regime", regime, tuple(REGIMES))
    one_of("attention", attention, ATTENTION)
    one_of("recompute", recompute, RECOMPUTE)
    one_of("rank", rank, ("first", "last", "fullest"))
    one_of("schedule", schedule, ("1f1b", "gpipe"))
    if shard not in (0, 1, 2, 3, "fsdp"):
        raise UnknownNameError("--shard", "0, 1, 2, 3 or fsdp", shard, "0 shares nothing")
    chosen = implementation_named(implementation)
    found = source_named(text) if isinstance(text, str) else text
    where = None if on is None else machine(on)
    layout = Layout(world, tp, pp, vpp, cp, ep, expert_tp, shard, sequence_parallel, schedule)
    if where is not None and where.count < world:
        raise BadInputError("--on", f"at least {world} devices for --world {world}", on, "name more, or say a smaller world")
    model = padded(read_model(found), vocab_multiple or chosen.vocab_multiple * (tp if chosen.vocab_multiple > 1 else 1))
    refuse_model(chosen, model, layout, seq)
    widths = REGIMES[regime]
    stated = gradients or (chosen.gradients if widths.master is not None else None)
    gradient_widths = gradient_widths_of(widths, stated, fsdp=shard == "fsdp")
    step_named = optimizer_step or (chosen.step if optimizer in ("adamw", "sgd", "sgd-momentum") else None)
    stepper, how = optimizer_named(optimizer, step_named)
    refuse_optimizer(chosen, widths, layout, stepper)
    form = loss_of(chosen, loss)
    if form.fused and (hold_logits or regime != "pure-bf16"):
        given = "--hold-logits" if hold_logits else regime
        remedy = "it makes no logits to hold, and what it keeps is listed for 16-bit weights"
        raise BadInputError("--loss", f"pure-bf16 and no --hold-logits with {form.id}", given, remedy)
    if form.id == "liger" and regime == "fp32":
        raise BadInputError("--loss", "16-bit logits with liger", regime, "fp32 logits are not listed; use plain")
    modules = modules_of(chosen, recompute, recompute_modules)
    adapters = adapters_of(model, lora_rank, lora_targets, adapter_dtype)
    if adapters and (tp > 1 or pp > 1 or ep > 1):
        raise BadInputError("--lora-rank", "tp, pp and ep of 1", lora_rank, "how adapters are cut is not listed")
    names = trainable_of(model, trainable, adapters)
    base = base_of(quantize_base, adapters)
    pieces = pieces_of(model, layout, pipeline_layout)
    moved = offloads_of(offload, layout, recompute)
    dropped = chosen.dropout if dropout is None else dropout
    if not isinstance(dropped, int | float) or not 0 <= dropped < 1:
        raise BadInputError("--dropout", "a share from 0 to below 1", dropout, "0 switches it off")
    repeat = repeat_of(repeat_kv, attention)
    setting = Setting(
        micro_batch,
        ceil_div(seq, cp),
        element_bytes=widths.weight if widths.master is None else 2,
        autocast=regime == "amp",
        attention=attention,
        repeat_kv=repeat,
        dropout=dropped,
        experts=experts,
    )
    defaults = {
        "seq": seq,
        "micro_batch": micro_batch,
        "accumulate": accumulate,
        "world": world,
        "regime": regime,
        "gradients": "+".join(f"{'bf16' if width == 2 else 'fp32'}" for width in gradient_widths),
        "implementation": chosen.id,
        "attention": attention,
        "optimizer": stepper.id,
        "optimizer_step": how,
        "keep_gradients": keep_gradients,
        "loss": form.id,
        "hold_logits": hold_logits,
        "shard": shard,
        "tp": tp,
        "pp": pp,
        "vpp": vpp,
        "cp": cp,
        "ep": ep,
        "expert_tp": layout.etp,
        "dp": layout.dp,
        "sequence_parallel": sequence_parallel,
        "schedule": "interleaved" if vpp > 1 else schedule,
        "pipeline_layout": list(pieces),
        "rank": rank,
        "recompute": recompute,
        "recompute_modules": list(modules),
        "dropout": dropped,
        "compile": compiled,
        "lora_rank": lora_rank,
        "lora_targets": sorted(adapters),
        "adapter_dtype": None if not adapters else adapter_dtype or "fp32",
        "trainable": list(names),
        "vocab": model.logits_width,
        "repeat_kv": repeat,
        "quantize_base": base,
        "offload": list(moved),
    }
    return Training(
        model,
        chosen,
        layout,
        widths,
        gradient_widths,
        stepper,
        how,
        setting,
        recompute,
        modules,
        form,
        hold_logits,
        keep_gradients,
        accumulate,
        adapters,
        names,
        base,
        pieces,
        rank,
        moved,
        where,
        defaults,
        found,
    )


def one_of(name: str, given: object, known: tuple[str, ...]) -> None:
    """Refuse a word that is not one of those that are known.

    Raises:
        UnknownNameError: it is not.

    """
    if given not in known:
        raise UnknownNameError(f"--{name}", f"one of {', '.join(known)}", given, "leave it out for the default")


def read_model(found: Source) -> Model:
    """Return the model of a source."""
    from memcalc.readers import read

    return read(found.fields, found.name)


def padded(model: Model, multiple: int) -> Model:
    """Return the model with its vocabulary rounded up to a multiple, as Megatron does.

    Raises:
        BadInputError: the multiple is no whole number >= 1.

    """
    at_least_one("vocab-multiple", multiple)
    if multiple == 1:
        return model
    rounded = tuple(
        (name, replace(part, vocab=ceil_div(part.vocab, multiple) * multiple) if hasattr(part, "vocab") else part)  # type: ignore[type-var]
        for name, part in model.outside
    )
    return replace(model, outside=rounded)


def refuse_model(chosen: Implementation, model: Model, layout: Layout, seq: int) -> None:
    """Refuse models that the implementation has no program for, and ranks that do not divide them.

    Raises:
        BadInputError: it has none, or they do not.

    """
    types = chosen.model_types
    if types is not None and model.model_type not in types:
        expected = f"a model of type {', '.join(sorted(types))} with --implementation {chosen.id}"
        remedy = "what autograd keeps of others is not listed"
        raise BadInputError("SOURCE", expected, model.model_type, remedy)
    for layer in model.groups:
        for _, part in layer.parts:
            for what, option in (("heads", "tp"), ("kv_heads", "tp"), ("ffn_width", "tp"), ("experts", "ep")):
                number, ranks = getattr(part, what, None), getattr(layout, option)
                if type(number) is int and number % ranks:
                    expected = f"a divisor of the model's {number} {what.replace('_', ' ')}"
                    raise BadInputError(f"--{option}", expected, ranks, "every rank gets as many")
            if layout.ep > 1 and not any(hasattr(part, "experts") for one in model.groups for _, part in one.parts):
                raise BadInputError("--ep", "1: the model has no experts", layout.ep, "leave it out")
    shares = layout.cp * (layout.tp if layout.sequence_parallel else 1)
    if type(seq) is int and seq % shares:
        expected = f"a multiple of {shares}, the ranks that share a sequence"
        raise BadInputError("--seq", expected, seq, "pad the sequence, as the run would have to")


def gradient_widths_of(widths: Regime, stated: str | None, *, fsdp: bool) -> tuple[int, ...]:
    """Return the bytes of a gradient's number: one, or two where both are kept.

    Raises:
        BadInputError: the regime keeps no such gradient.
        UnknownNameError: no gradient has this name.

    """
    own = 4 if fsdp and widths.master is not None else widths.gradient
    if stated is None:
        return (own,)
    if stated not in GRADIENTS:
        raise UnknownNameError("--gradients", f"one of {', '.join(GRADIENTS)}", stated, "leave it out")
    found = GRADIENTS[stated]
    if (widths.master is None or fsdp) and found != (own,):
        expected = f"{'bf16' if own == 2 else 'fp32'} with {'FSDP and ' if fsdp else ''}{widths.id}"
        raise BadInputError("--gradients", expected, stated, "PyTorch keeps gradients in the parameter's dtype")
    return found


def refuse_optimizer(chosen: Implementation, widths: Regime, layout: Layout, stepper: Optimizer) -> None:
    """Refuse optimizers that the implementation does not have, or that cannot work on what they are given.

    Raises:
        BadInputError: this one is.

    """
    if chosen.optimizers is not None and stepper.id not in chosen.optimizers:
        expected = f"{', '.join(sorted(chosen.optimizers))} with --implementation {chosen.id}"
        raise BadInputError("--optimizer", expected, stepper.id, "it has no other")
    if stepper.elementwise:
        return
    if widths.master is not None and layout.shard != "fsdp":
        expected = f"an optimizer with a number for each weight under {widths.id}"
        remedy = "its 32-bit copy lies in one long list, without matrices; use pure-bf16, amp or fp32"
        raise BadInputError("--optimizer", expected, stepper.id, remedy)
    if layout.shard != 0 and layout.states_ranks > 1:
        expected = f"an optimizer with a number for each weight under --shard {layout.shard}"
        raise BadInputError("--optimizer", expected, stepper.id, "it needs whole matrices; use --shard 0")


def loss_of(chosen: Implementation, named: str | None) -> Loss:
    """Return a loss of the implementation by its name.

    Raises:
        UnknownNameError: it has none of this name.

    """
    name = named or chosen.default_loss
    if name not in chosen.losses:
        known = f"one of {', '.join(chosen.losses)} with --implementation {chosen.id}"
        raise UnknownNameError("--loss", known, name, "leave it out for the implementation's own")
    return chosen.losses[name]


def modules_of(chosen: Implementation, recompute: str, named: str | None) -> tuple[str, ...]:
    """Return the modules of selective recomputation.

    Raises:
        BadInputError: modules are named, and nothing is recomputed selectively.
        UnknownNameError: the implementation has no such module.

    """
    if recompute != "selective":
        if named is not None:
            raise BadInputError("--recompute-modules", "--recompute selective", recompute, "leave one out")
        return ()
    modules = chosen.default_modules if named is None else tuple(named.split(","))
    for module in modules:
        if module not in chosen.modules:
            known = f"some of {', '.join(chosen.modules)} with --implementation {chosen.id}"
            raise UnknownNameError("--recompute-modules", known, module, "separate them by commas")
    return modules


def adapters_of(
    model: Model, rank: int | None, targets: str | None, dtype: str | None
) -> Mapping[str, Adapter]:
    """Return the adapters by the names of the matrices beside which they stand.

    Raises:
        BadInputError: something of adapters is said, and not their rank.
        UnknownNameError: the model has no such matrix, or no number of this width.

    """
    if rank is None:
        for name, value in (("lora-targets", targets), ("adapter-dtype", dtype)):
            if value is not None:
                raise BadInputError(f"--{name}", "--lora-rank beside it", value, "say the rank of the adapters")
        return {}
    at_least_one("lora-rank", rank)
    one_of("adapter-dtype", dtype or "fp32", ("fp32", "bf16"))
    kinds = ("matrix", "shared")  # experts and routers are no linear layers in transformers 5.23
    known = {
        tensor.name.removesuffix(".weight").rpartition(".")[2]: None
        for layer in model.groups
        for tensor in layer.weights()
        if tensor.kind in kinds
    }
    named = list(known) if targets in (None, "all-linear") else (targets or "").split(",")
    for name in named:
        if name not in known:
            expected = f"all-linear, or some of {', '.join(known)}"
            raise UnknownNameError("--lora-targets", expected, name, "separate them by commas")
    return dict.fromkeys(named, Adapter(rank, 2 if dtype == "bf16" else 4))


def trainable_of(model: Model, named: str | None, adapters: Mapping[str, Adapter]) -> tuple[str, ...]:
    """Return the parts of names of the weights that are trained; none for all of them.

    Raises:
        BadInputError: there are adapters too.
        UnknownNameError: no weight has this in its name.

    """
    if named is None:
        return ()
    if adapters:
        remedy = "with adapters nothing else is trained; leave one out"
        raise BadInputError("--trainable", "no --lora-rank beside it", named, remedy)
    names = tuple(named.split(","))
    for name in names:
        if not name or not any(name in tensor.name for tensor in model.weights()):
            raise UnknownNameError("--trainable", "parts of names of weights", name, "as in self_attn,lm_head")
    return names


def base_of(named: str | None, adapters: Mapping[str, Adapter]) -> str | None:
    """Return the format of the frozen matrices beside which adapters stand.

    Raises:
        BadInputError: nothing is frozen.
        UnknownNameError: no format of bitsandbytes has this name.

    """
    if named is None:
        return None
    if not adapters:
        raise BadInputError("--quantize-base", "--lora-rank beside it", named, "quantised matrices are not trained")
    one_of("quantize-base", named, ("nf4", "nf4-dq", "fp4", "fp4-dq", "int8"))
    return named


def pieces_of(model: Model, layout: Layout, named: str | None) -> tuple[int, ...]:
    """Return the layers of each chunk, in the order of the model.

    Raises:
        BadInputError: the chunks do not hold the model's layers.

    """
    number, depth = layout.pp * layout.vpp, model.depth
    if named is None:
        if depth % number:
            expected = f"a number of chunks that divides {depth} layers"
            raise BadInputError("--pp", expected, number, "say --pipeline-layout, as in 16,16,15")
        return (depth // number,) * number
    parts = named.split(",")
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise BadInputError("--pipeline-layout", "whole numbers, as in 16,16,15", named, "separate by commas")
    pieces = tuple(map(int, parts))
    if len(pieces) != number or sum(pieces) != depth:
        expected = f"{number} numbers that add up to {depth} layers"
        raise BadInputError("--pipeline-layout", expected, named, "one for each chunk, first to last")
    return pieces


def offloads_of(named: str | None, layout: Layout, recompute: str) -> tuple[str, ...]:
    """Return what lies in the host's memory.

    Raises:
        BadInputError: nothing can be moved there.
        UnknownNameError: it is not known what that is.

    """
    if named is None:
        return ()
    parts = tuple(named.split(","))
    for part in parts:
        one_of("offload", part, OFFLOADS)
    if "parameters" in parts and layout.shard not in (3, "fsdp"):
        raise BadInputError("--offload", "--shard 3 or fsdp with parameters", named, "they are gathered from the host")
    if "activations" in parts and recompute != "full":
        raise BadInputError("--offload", "--recompute full with activations", named, "checkpoints are what is moved")
    return parts


def repeat_of(named: str | None, attention: str) -> bool:
    """Return whether keys and values are copied for all query heads before attention.

    Raises:
        UnknownNameError: it is neither yes nor no.
        BadInputError: eager attention cannot do without.

    """
    if named is None:
        return attention != "flash"
    one_of("repeat-kv", named, ("yes", "no"))
    if attention == "eager" and named == "no":
        raise BadInputError("--repeat-kv", "yes with eager", named, "its products need as many keys as queries")
    return named == "yes"
