"""A training step on one rank: what it keeps beside each weight, what it keeps of each token, and when."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, reduce
from math import prod
from typing import TYPE_CHECKING, NamedTuple

from memcalc.errors import BadInputError
from memcalc.ledger.budget import COMPONENTS, Line, PoolBudget
from memcalc.ledger.tensor import ceil_div, greatest, product, share
from memcalc.training.autograd.tape import Pass

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from memcalc.files.source import Source
    from memcalc.ledger.machine import Machine
    from memcalc.ledger.model import Layer, Model
    from memcalc.ledger.parallel import Layout
    from memcalc.ledger.polynomial import Points
    from memcalc.ledger.tensor import Tensor
    from memcalc.training.autograd.base import Adapter, Implementation, Loss, Setting
    from memcalc.training.autograd.tape import Tape
    from memcalc.training.optimizers import Optimizer
    from memcalc.training.precision import Regime

__all__ = ["MOMENTS", "Training"]

MOMENTS = (
    "forward_end",
    "loss",
    "recompute",
    "backward_end",
    "step",
)  # "backward" where nothing is recomputed
QUANTISED = ("matrix", "expert", "shared")
NOTHING = Pass(0, 0)


class Held(NamedTuple):
    """A weight on one rank: how many numbers, in how many bytes, and what training keeps beside it.

    FSDP's shares are taken already. ZeRO cuts one long list of numbers, so that its shares are taken of the
    sum: `ranks` are those that hold the same weight. `shape` is that of the array which holds it, None where
    it is part of another's.
    """

    name: str
    count: int  # type: ignore[assignment]  # the word every reader expects, and no tuple's
    bytes: int
    master: int
    gradient: int
    moments: int
    updated: int
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
    unit: int  # numbers of its weights, whole
    unit_trained: int  # those that get a gradient
    routed: int  # of what is kept or made again: tokens that were sent to experts
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

    >>> from memcalc.training.plan import train
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
    points: Points | None
    named: Mapping[str, object]
    source: Source

    @property
    def moments(self) -> tuple[str, ...]:
        """The moments of a step; in the backward pass layers are recomputed, or not."""
        return (
            MOMENTS
            if self.recompute != "none"
            else ("forward_end", "loss", "backward", "backward_end", "step")
        )

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
                count * self.updated_bytes if trained else 0,
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
            rows = ceil_div(shape[0], ranks) if self.layout.shard == "fsdp" else shape[0]
            numbers = tensor.copies * rows * shape[1]
            moments = tensor.copies * sum(size for _, size in self.optimizer.states((rows, shape[1]), width))
            name = f"{tensor.name.removesuffix('.weight')}.{letter}"
            size = numbers * width
            yield Held(
                name,
                tensor.copies * prod(shape),
                size,
                0,
                size,
                moments,
                size,
                trained=True,
                ranks=ranks,
                shape=shape,
                inside=True,
            )

    def stored(self, tensor: Tensor, count: int, *, trained: bool) -> int:
        """Return the bytes of a weight as it lies on the device."""
        if tensor.kind == "buffer":
            return 4 * tensor.count
        if self.base_format is not None and tensor.kind in QUANTISED:
            from memcalc.ledger.formats import format_named, tensor_bytes

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
            "head": layout.tp,
            "logits": layout.tp if self.loss.parallel else 1,
            "routed": hidden,
            "expert": layout.etp,
        }
        return replace(
            self.setting,
            trained=self.trains,
            adapters=self.adapters,
            fused_head=self.loss.fused,
            quantised=self.base_format is not None,
            cut={region: ranks for region, ranks in cut.items() if ranks > 1},
            fresh=self.fresh and not self.sharded[1],
            routed_share=(layout.ep, layout.etp),
            context_ranks=layout.cp,
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
            run, grad_after = self.one_layer(one, grad=grad)
            found.append((key, run._replace(times=one.times)))
            if grad_after != grad and one.times > 1:
                more, _ = self.one_layer(one, grad=grad_after)
                found[-1] = key, run
                found.append(((id(one.parts), grad_after), more._replace(times=one.times - 1)))
            grad = grad_after
        return [run for _, run in found], grad

    def one_layer(self, one: Layer, *, grad: bool) -> tuple[Run, bool]:
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
                sum(item.count for item in weights if item.trained),
                sum(value.bytes for value in (*kept, *whole) if value.region == "routed"),
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
        if self.model.mtp:  # after the last layer; it looks tokens up and gives logits of its own
            end, table = chunks[-1], (EMBEDDING, dict(self.model.outside)[EMBEDDING])
            outside = tuple({table[0]: table[1], **dict(end.outside)}.items())
            chunks[-1] = replace(end, layers=(*end.layers, *self.model.mtp), outside=outside)
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
        return sum((value.bytes for value in tape.rope or ()), 0)

    @property
    def stages_wanted(self) -> range:
        """The pipeline stages among which the fullest is looked for."""
        pp = self.layout.pp
        return {"first": range(1), "last": range(pp - 1, pp)}.get(self.rank, range(pp))

    @cached_property
    def stages(self) -> list[StageMoments]:
        """The stages among which the fullest is looked for."""
        return [StageMoments(self, stage) for stage in self.stages_wanted]

    @cached_property
    def fullest(self) -> StageMoments:
        """The moments of the stage that holds most."""
        return max(self.stages, key=lambda one: one.allocated_bytes)

    @property
    def allocated_bytes(self) -> int:
        """The largest moment: what torch.cuda.max_memory_allocated reports. Of arrays it is an array."""
        found = largest(one.allocated_bytes for one in self.stages)
        return found if self.points is None else self.points.value(found)

    def at(self, moment: str) -> dict[str, int]:
        """Return the components of a moment on the fullest stage; they add up to it.

        Raises:
            BadInputError: in a sweep it is another stage at each point.

        """
        if self.points is None:
            return self.fullest.components(moment)
        if len(self.stages) > 1:
            remedy = "the fullest stage is another one at each point"
            raise BadInputError("--rank", "first or last in a sweep with --pp", self.rank, remedy)
        components = self.stages[0].components(moment)
        return {name: self.points.value(size) for name, size in components.items()}

    @property
    def ranks_of_host(self) -> int:
        """Ranks whose offloaded states lie in one machine's memory: all of them."""
        return self.layout.world

    @property
    def fits(self) -> bool | None:
        """Whether what is held at once fits, with the context; None where no machine was named.

        Raises:
            BadInputError: there is an answer for each point of a sweep.

        """
        if self.points is not None:
            remedy = "compare allocated_bytes with what the device has"
            raise BadInputError("--on", "a single plan", "a sweep", remedy)
        device, *host = self.fullest.budgets
        if self.machine is None or device.capacity_bytes is None:
            return None
        room = self.machine.host_bytes
        needed = self.ranks_of_host * sum(pool.total_bytes for pool in host)
        beside = sum(line.bytes for line in runtime_lines(self))
        enough = self.allocated_bytes + beside <= device.capacity_bytes
        return enough and (room is None or needed <= room)

    @property
    def assumed(self) -> tuple[str, ...]:
        """What no plan can say, and what was taken for it."""
        found = []
        if self.model.groups and any(
            hasattr(part, "experts") for one in self.model.groups for _, part in one.parts
        ):
            found.append("every expert gets as many tokens; the rank that gets more holds more")
        stored = self.source.fields.get("quantization_config")
        if stored and self.base_format is None:
            how = stored.get("quant_method", "?") if isinstance(stored, dict) else "?"
            found.append(
                f"the checkpoint's {how} weights are read as numbers of the regime before they train"
            )
        if self.offload and self.machine is not None and self.machine.host_bytes is None:
            found.append("the host has room for what is offloaded; say it, as in + 512GiB host")
        return tuple(found)


EMBEDDING = "model.embed_tokens"
KEPT_BY_LAYERS = "kept by the layers"
SCALARS = 8  # the loss and the weight of its mean, or the loss and its gradient: two numbers of 32 bits
DEEPSPEED = "https://github.com/deepspeedai/DeepSpeed, runtime/zero/stage_1_and_2.py, 2026-11"


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
        at_once = min(plan.layout.pp, plan.accumulate)  # micro-batches that a chunk runs before the next one
        return [(step // at_once) % turns for step in range(number)]

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
        held = (
            checkpointed(plan.asked, plan.model)
            if plan.recompute == "full" and checkpointed is not None
            else 0
        )
        flows = any(run.passed is not NOTHING for runs in self.runs for run in runs)
        return self.started + (plan.rope_bytes + held if flows else 0)

    @cached_property
    def started(self) -> int:
        """Bytes kept of what precedes the first layer, of all micro-batches in flight."""
        plan, begin = self.plan, self.plan.implementation.start
        if begin is None or self.stage > 0:
            return 0
        tape = plan.tape()
        begin(tape, plan.asked, self.chunks[0])
        return tape.kept_bytes() * self.in_flight.count(0)

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
        """Labels that the loss keeps: shifted, so padded by one, or copied if rows are many."""
        batch, seq, _ = self.plan.stream_shape
        alone = int(batch == 1) if type(batch) is int else batch.is_one()  # type: ignore[attr-defined]
        return batch * seq + alone

    # ---- the backward pass -------------------------------------------------------------------------------

    def instants(self) -> Iterator[Instant]:
        """Yield the points of the backward pass at which a rank may hold most."""
        plan, fresh = self.plan, self.plan.fresh
        stream = plan.stream_bytes
        in_layers = 0 if "activations" in plan.offload else 1
        activations = in_layers * self.layers_kept + self.beside_layers + (SCALARS if self.is_last else 0)
        held = self.held_logits
        gradients = 0
        if self.is_last:
            kept, passed, result, own = self.ends
            wide = self.head_input(result)
            yield Instant("head", 0, activations + kept, wide + held, passed.peak)
            gradients = own if fresh else self.waiting
        elif not self.runs[self.in_flight[-1]]:  # a stage may have no layers, beside the embedding
            yield Instant("stage without layers", 0, activations, held, stream)
        for run in reversed(self.runs[self.in_flight[-1]]):
            steps = {0, run.times - 1}
            for step in sorted(steps):
                done = gradients + (step * run.gradients if fresh else 0)
                fetched = 0 if in_layers else run.kept  # the checkpoint of the layer that runs again
                left = activations - in_layers * step * run.kept + fetched + run.again
                first = step == run.times - 1 and run is self.runs[self.in_flight[-1]][0]
                passed = run.last_passed if first and plan.recompute != "full" else run.passed
                yield Instant("layer", done, left, held, stream + passed.peak - run.again)
            gradients = gradients + (run.times * run.gradients if fresh else 0)
            activations = activations - in_layers * run.times * run.kept

    @cached_property
    def fullest_instant(self) -> Instant:
        """The point of the backward pass at which a rank holds most."""
        found = list(self.instants())
        if all(type(one.total) is int for one in found):
            return max(found, key=lambda one: one.total)
        return Instant(
            "of each", 0, 0, 0, largest(one.total for one in found)
        )  # arrays: another one for each

    def head_input(self, result: int) -> int:
        """Bytes that lie ready when the head runs backwards: the gradient of the logits, and what waits."""
        form = self.plan.loss
        if form.fused:
            return result + self.head_gradient
        if not form.backward:  # it lies where the logits were
            return form.kept * self.logits
        left = form.kept * self.logits - share(form.kept * self.logits, form.chunks)
        return left + share(result, form.chunks)

    @cached_property
    def head_gradient(self) -> int:
        """Bytes of the gradient of the head's matrix as a fused loss makes it: as wide as the logits."""
        head = EMBEDDING if self.plan.model.tied else "lm_head"
        numbers = sum(item.count for item in self.trained if item.name.startswith(head))
        return numbers * self.plan.setting.low_bytes

    @property
    def fused_chunk(self) -> int:
        """Bytes of the logits that a fused loss makes at once."""
        plan, (batch, seq, width) = self.plan, self.plan.stream_shape
        if plan.loss.chunk is None:
            return 0
        return plan.loss.chunk(batch * seq, self.vocab, width) * self.vocab * plan.setting.low_bytes

    @cached_property
    def embedding_gradient(self) -> int:
        """Bytes of the gradient of the embedding as autograd makes it, if it is trained.

        Where gradients lie in a buffer of the implementation's own, it is as wide as the weight, and added.
        """
        items = [item for item in self.trained if item.name.startswith(EMBEDDING)]
        if self.plan.implementation.gradients is None:
            return sum(item.gradient for item in items)
        return sum(item.count for item in items) * self.plan.setting.element_bytes

    @property
    def tied_here(self) -> bool:
        """Whether embedding and head are one weight of this stage: pipelines keep one at either end."""
        return self.plan.model.tied and self.stage == 0 and self.is_last

    @property
    def waiting(self) -> int:
        """Bytes of the gradient of a tied head: autograd adds it only when the embedding's has come, too."""
        return self.embedding_gradient if self.tied_here else 0

    @cached_property
    def held_logits(self) -> int:
        """Bytes of the logits that the caller does not let go."""
        return self.logits * self.plan.setting.low_bytes if self.plan.hold_logits and self.is_last else 0

    # ---- lines -------------------------------------------------------------------------------------------

    @cached_property
    def budgets(self) -> tuple[PoolBudget, ...]:
        """The device, and the host's memory where something lies there."""
        plan, where = self.plan, self.plan.machine
        capacity = None if where is None else where.device.capacity_bytes
        placed: dict[str, list[Line]] = {"gpu": [], "host": []}
        for line in self.lines():
            if not is_nothing(line):
                placed["host" if self.in_host(line) else "gpu"].append(line)
        pool = PoolBudget("gpu", plan.layout.world, capacity, capacity, (), plan.moments)
        device = replace(pool, lines=tuple(placed["gpu"]))
        if plan.points is None:
            unknown = uncertain_lines(plan, self)
            device = replace(pool, lines=(*device.lines, reserve_line(device), *unknown))
        if not placed["host"]:
            return (device,)
        room = None if where is None else where.host_bytes
        return device, PoolBudget("host", 1, room, room, tuple(placed["host"]), plan.moments)

    @property
    def allocated_bytes(self) -> int:
        """The largest moment."""
        return largest(self.budgets[0].moments.values())

    def components(self, moment: str) -> dict[str, int]:
        """Return the bytes of each component at a moment."""
        found: dict[str, int] = {}
        for line in self.budgets[0].lines:
            if moment in line.moments:
                found[line.component] = found.get(line.component, 0) + line.bytes
        return {name: found[name] for name in sorted(found, key=COMPONENTS.index)}

    def in_host(self, line: Line) -> bool:
        """Say whether a line lies in the host's memory: states by --offload, and their step with them."""
        offload, step = self.plan.offload, self.plan.moments[-1:]
        of_states = line.component in ("master", "optimizer") or line.moments == step
        if "activations" in offload and line.name == KEPT_BY_LAYERS:
            return True
        if "parameters" in offload:
            return of_states or line.name in ("weights", "gradients")
        return "optimizer" in offload and of_states

    def lines(self) -> Iterator[Line]:
        """Yield everything that a rank holds, with the moments at which it does."""
        yield from self.state_lines()
        yield from self.gathered_lines()
        yield from self.activation_lines()
        yield from self.step_lines()
        yield workspace_line(self.plan)
        yield from runtime_lines(self.plan)

    def state_lines(self) -> Iterator[Line]:
        """Yield weights, master copy, gradients and optimizer states."""
        plan = self.plan
        always = plan.moments
        of_weights, _, of_states = plan.sharded
        numbers = sum(item.count for item in self.held)
        trained = sum(item.count for item in self.trained)
        weights = plan.share_of(self.held, "bytes", cut=of_weights)
        yield Line(
            component="weights",
            name="weights",
            count=numbers,
            bytes=weights,
            formula="bytes as stored x share",
            moments=always,
        )
        buffers = plan.implementation.buffers(plan.model)
        yield Line(
            component="weights",
            name="buffers",
            count=buffers // 4,
            bytes=buffers,
            formula="inverse frequencies of RoPE, twice",
            moments=always,
        )
        if plan.implementation.lasting is not None:
            layers = tuple(layer for chunk in self.chunks for layer in chunk.layers)
            whole = replace(plan.model, layers=layers)
            capability = plan.machine and plan.machine.device.capability
            for one in plan.implementation.lasting(plan.asked, whole, capability):
                yield Line(
                    component="workspace",
                    name=one.name,
                    bytes=one.bytes,
                    formula="allocated once",
                    moments=always,
                    source=one.source,
                )
        for component, what, name in (
            ("master", "master", "fp32 master copy"),
            ("optimizer", "moments", f"{plan.optimizer.id} states"),
        ):
            size = plan.share_of(self.trained, what, cut=of_states)
            yield Line(
                component=component,
                name=name,
                count=trained,
                bytes=size,
                formula="bytes a number x share",
                moments=always,
                source=plan.optimizer.source,
            )
        when = ("backward_end", "step") if plan.fresh else always
        yield Line(
            component="gradients",
            name="gradients",
            count=trained,
            bytes=self.gradient_bytes,
            formula="bytes a number x share",
            moments=when,
        )
        if plan.layout.shard == 0 and plan.layout.states_ranks > 1 and plan.implementation.gradients is None:
            alike = [item for item in self.trained if item.ranks > 1]  # an expert may have no other rank
            yield Line(
                component="gradients",
                name="DDP's buckets",
                count=sum(item.count for item in alike),
                bytes=sum(item.gradient for item in alike),
                formula="a copy of all gradients that ranks add up, unless gradient_as_bucket_view",
                moments=always,
                source="torch.nn.parallel.DistributedDataParallel 2.13",
            )

    def gathered_lines(self) -> Iterator[Line]:
        """Yield what ranks gather for a while: whole layers, and gradients that are not shared out yet."""
        plan = self.plan
        _, _, backward, end, _ = plan.moments
        if not plan.sharded[0] or plan.layout.states_ranks == 1:
            return
        width = plan.setting.element_bytes
        layers = [run for runs in self.runs for run in runs]
        largest = max((run.unit for run in layers), default=0)
        root = sum(item.count for item in self.held if "{layer}" not in item.name)
        source = "torch.distributed.fsdp.fully_shard 2.13: one unit a layer, the next one gathered ahead"
        evidence = "assumed"  # how far ahead ranks gather is the library's choice
        for name, numbers, when in (
            ("embedding, norm and head, whole", root, plan.moments[:4]),
            ("two layers, whole", 2 * largest, (backward,)),
        ):
            size, form = numbers * width, f"{width} B a number"
            yield Line(
                component="gathered",
                name=name,
                count=numbers,
                bytes=size,
                formula=form,
                moments=when,
                evidence=evidence,
                source=source,
            )
        wide = sum(plan.gradient_widths)
        of_root = sum(item.count for item in self.trained if "{layer}" not in item.name)
        numbers = max([of_root, *(run.unit_trained for run in layers)])
        copies = width + (wide if wide != width else 0)
        yield Line(
            component="gathered",
            name="gradients of one unit before they are shared out",
            count=numbers,
            bytes=copies * numbers,
            formula=f"{copies} B a number",
            moments=(backward, end),
            evidence=evidence,
            source=source,
        )

    def activation_lines(self) -> Iterator[Line]:
        """Yield what the forward pass keeps, the loss, and the fullest point of the backward pass."""
        plan = self.plan
        ends = self.ends[0] if self.is_last else 0
        end, loss = ("forward_end",), ("loss",)
        labels = self.labels if self.is_last else 0
        scalars = SCALARS if self.is_last else 0
        yield Line(
            component="activations",
            name=KEPT_BY_LAYERS,
            bytes=self.layers_kept,
            formula="operation by operation",
            moments=(*end, *loss),
        )
        beside = self.beside_layers + scalars
        yield Line(
            component="activations",
            name="RoPE, positions, scalars",
            bytes=beside,
            formula="once",
            moments=(*end, *loss),
        )
        yield Line(
            component="activations",
            name="kept by norm and head",
            bytes=ends,
            formula="see `kept`",
            moments=(*end, *loss),
        )
        yield Line(
            component="activations",
            name="labels",
            count=labels,
            bytes=8 * labels,
            formula="8 B a token",
            moments=end,
        )
        if self.is_last:
            form, source = plan.loss, plan.loss.source
            kept = form.kept * self.logits * (1 + len(plan.model.mtp))
            back = share(form.backward * self.logits, form.chunks)
            yield Line(
                component="logits",
                name=f"{form.id}: kept",
                count=self.logits,
                bytes=kept,
                formula=f"{form.kept} B a logit",
                moments=(*end, *loss),
                source=source,
            )
            yield Line(
                component="logits",
                name=f"{form.id}: gradients",
                count=self.logits,
                bytes=back,
                formula=f"{form.backward} B a logit",
                moments=loss,
                source=source,
            )
            if form.fused:
                made = self.ends[2] + self.head_gradient
                name = f"{form.id}: gradients of stream and head"
                yield Line(
                    component="logits",
                    name=name,
                    bytes=made,
                    formula="made in the forward pass",
                    moments=(*end, *loss),
                    source=source,
                )
                name = f"{form.id}: a chunk of logits"
                yield Line(
                    component="logits",
                    name=name,
                    bytes=self.fused_chunk,
                    formula="16 bits each",
                    moments=loss,
                    source=source,
                )
            held = (*end, *loss, "backward_end", "step")
            yield Line(
                component="logits",
                name="held by the caller",
                count=self.logits,
                bytes=self.held_logits,
                formula="until the next step",
                moments=held,
            )
            loss_too = 4 if plan.hold_logits else 0
            yield Line(
                component="logits",
                name="the loss, held with them",
                count=1,
                bytes=loss_too,
                formula="one number of 32 bits",
                moments=("step",),
            )
        instant = self.fullest_instant
        for component, size in (
            ("gradients", instant.gradients),
            ("activations", instant.activations),
            ("logits", instant.logits),
            ("temporaries", instant.temporaries),
        ):
            yield Line(
                component=component,
                name=f"fullest point of the backward pass ({instant.name})",
                bytes=size,
                formula="simulated",
                moments=(plan.moments[2],),
            )
        stream = plan.stream_bytes if self.stage > 0 or plan.input_grad else 0
        yield from self.embedding_lines(stream)
        yield Line(
            component="activations",
            name="scalars",
            count=2,
            bytes=scalars,
            formula="the loss and its gradient",
            moments=("backward_end",),
        )

    def embedding_lines(self, stream: int) -> Iterator[Line]:
        """Yield what the embedding's backward pass needs: the last, which may meet gradients that exist."""
        plan, at = self.plan, ("backward_end",)
        one = self.embedding_gradient if self.stage == 0 else 0
        made = one * (self.tied_here + (not plan.fresh))
        both = greatest(stream + made, made + one if self.tied_here else 0)
        yield Line(
            component="temporaries",
            name="gradient of the stream",
            bytes=stream,
            formula="batch x seq x width",
            moments=at,
        )
        if self.stage == 0 and plan.input_grad and not plan.is_trained(EMBEDDING):
            name = "embedded tokens, as long as the loss lives"
            yield Line(
                component="activations", name=name, bytes=stream, formula="batch x seq x width", moments=at
            )
        name = "gradient of the embedding, added to those that exist"
        yield Line(
            component="temporaries", name=name, bytes=both - stream, formula="vocab x width", moments=at
        )

    def step_lines(self) -> Iterator[Line]:
        """Yield what the optimizer needs beside the states while it steps."""
        plan, step = self.plan, self.plan.moments[-1:]
        form, source = plan.optimizer, plan.optimizer.source
        of_states = plan.sharded[2]
        updated = plan.share_of(self.trained, "updated", cut=of_states)
        if plan.optimizer_step == "foreach":
            size, what = form.copies * updated, "as wide as what is updated"
            yield Line(
                component="temporaries",
                name="foreach: a copy of all",
                bytes=size,
                formula=what,
                moments=step,
                source=source,
            )
        elif plan.optimizer_step == "for-loop":
            size, what = self.for_loop_bytes, "the largest of all weights"
            yield Line(
                component="temporaries",
                name="for-loop: arrays of one weight",
                bytes=size,
                formula=what,
                moments=step,
                source=source,
            )
        if plan.master_bytes and plan.gradient_widths == (2,):
            name, source = "gradients in fp32 for the master copy", DEEPSPEED
            yield Line(
                component="temporaries",
                name=name,
                bytes=updated,
                formula="4 B a number of the share",
                moments=step,
                source=source,
            )

    @property
    def for_loop_bytes(self) -> int:
        """Bytes for one array in turn, and what is left of the one before it."""
        optimizer = self.plan.optimizer
        largest, before = 0, 0
        for item in in_order(self.trained):
            if item.shape is not None and optimizer.loop is not None:
                width = item.gradient // item.count if self.plan.adapters else self.plan.updated_bytes
                vector = optimizer.inside_only and not item.inside
                shape = (prod(item.shape),) if vector else item.shape
                largest = max(largest, optimizer.loop(shape, width, before))
                before = prod(item.shape)
        return largest


def is_nothing(line: Line) -> bool:
    """Say whether a line holds nothing, at either end of its range."""
    sizes = (line.bytes, line.least_bytes, line.most_bytes)
    return all(type(size) is int and size == 0 for size in sizes)  # arrays are never left out


def largest(sizes: Iterable[int]) -> int:
    """Return the largest of some sizes, element by element where they are arrays."""
    return reduce(greatest, sizes)


def workspace_line(plan: Training) -> Line:
    """Return what the libraries allocate for their own use, inside of what PyTorch counts."""
    device = plan.machine and plan.machine.device
    evidence = "measured" if device is None or device.vendor == "NVIDIA" else "assumed"
    low, usual, high = plan.implementation.workspace(device and device.capability)
    source = plan.implementation.workspace_source
    name = "workspaces of the libraries"
    return Line(
        component="workspace",
        name=name,
        bytes=usual,
        moments=plan.moments,
        evidence=evidence,
        source=source,
        low=low,
        high=high,
    )


CONTEXT = (300 * 10**6, 500 * 10**6, 10**9)  # lazy loading of kernels, to all of them loaded
COMMUNICATOR = (500 * 10**6, 800 * 10**6, 1600 * 10**6)


def runtime_lines(plan: Training) -> Iterator[Line]:
    """Yield what lies beside the allocator's memory."""
    device = plan.machine and plan.machine.device
    evidence = "measured" if device is None or device.vendor == "NVIDIA" else "assumed"
    found = [("context of the driver", CONTEXT, "pytorch/pytorch#107667 and published logs, 2026-11")]
    if plan.layout.world > 1:
        found.append(("communicators", COMMUNICATOR, "NVIDIA/nccl#964, #864, #1685, 2026-11"))
    for name, (low, usual, high), source in found:
        yield Line(
            component="runtime", name=name, bytes=usual, evidence=evidence, source=source, low=low, high=high
        )


RESERVED = 8  # per cent: of the two rows that set it one lies 8 % above the sum, one is bound by its device
RESERVE = "https://github.com/foundation-model-stack/fms-acceleration, refs/a100_80gb.csv, 2025-02"


def reserve_line(device: PoolBudget) -> Line:
    """Return what PyTorch's allocator keeps beyond what is held at once: segments that fit no other use.

    What is held for a while (kept activations, the loss, gathered layers, copies of a step) lies in segments
    of its own size. If all of them are there at once, the device must have room for their sum; where it has
    not, the allocator gives some back, and what is reserved lies anywhere between.
    """
    beside = sum(line.bytes for line in device.lines if line.component == "runtime")
    held = max(device.moments.values())
    always = sum(line.bytes for line in device.lines if set(device.moment_names) <= set(line.moments))
    passing: dict[str, int] = {}
    for line in device.lines:
        if line.moments and not set(device.moment_names) <= set(line.moments):
            key = line.component if line.component != "temporaries" else line.name
            at_most = max(
                sum(one.bytes for one in device.lines if one_kind(one, line) and moment in one.moments)
                for moment in device.moment_names
            )
            passing[key] = at_most
    everything = always + sum(passing.values())
    room = None if device.capacity_bytes is None else max(device.capacity_bytes - beside, held)
    ends = [everything * (100 + part) // 100 for part in (-RESERVED, 0, RESERVED)]
    if room is not None and everything > room:
        ends = [held, (held + room) // 2, room]
    low, usual, high = (max(0, (end if room is None else min(end, room)) - held) for end in ends)
    name = "kept by the allocator beyond that"
    return Line(
        component="runtime", name=name, bytes=usual, evidence="measured", source=RESERVE, low=low, high=high
    )


DEEPSPEED_BUCKET = 5 * 10**8  # numbers: reduce_bucket_size and allgather_bucket_size by default
ZERO_BUCKETS = 4  # bytes a number: two buckets of 16 bits, one on its way while the other is filled
FUSED_AWAY = 31  # per cent of what layers keep: 9.0 GiB of 29.8 were not kept in a published pair of runs
COMPILE = "https://github.com/meta-pytorch/torchtune, README at bd2a0fc7: 60.0 GiB, compiled 51.0 GiB"


def uncertain_lines(plan: Training, stage: StageMoments) -> Iterator[Line]:
    """Yield what no plan can say, as ranges about nothing: what a compiler fuses, how routing turns out."""
    if plan.named["compile"]:
        again = max((run.again for runs in stage.runs for run in runs), default=0)
        kept = again if plan.recompute == "full" else stage.layers_kept
        name, least = "what torch.compile does not keep", -(kept * FUSED_AWAY // 100)
        yield Line(
            component="runtime", name=name, bytes=0, evidence="measured", source=COMPILE, low=least, high=0
        )
    stages = plan.layout.shard in (1, 2) and plan.layout.states_ranks > 1
    if stages and plan.implementation.gradients is None:
        name, most = (
            "buckets of ZeRO",
            ZERO_BUCKETS * min(DEEPSPEED_BUCKET, sum(x.count for x in stage.trained)),
        )
        yield Line(
            component="runtime", name=name, bytes=0, evidence="assumed", source=DEEPSPEED, low=0, high=most
        )
    routed = sum(
        run.routed * (run.times if plan.recompute != "full" else 1) for runs in stage.runs for run in runs
    )
    if plan.layout.ep > 1 and routed:
        name, most = "more tokens than an even share", routed * (plan.layout.ep - 1)
        source = "the bound: every token is sent to the experts of one rank"
        yield Line(
            component="runtime", name=name, bytes=0, evidence="assumed", source=source, low=0, high=most
        )


def one_kind(a: Line, b: Line) -> bool:
    """Say whether two lines use the same segments: a component's, but each temporary its own."""
    return a.component == b.component and (a.component != "temporaries" or a.name == b.name)


def in_order(items: list[Held]) -> list[Held]:
    """Return weights as a model lists its parameters: the embedding first, norm and head last."""
    return sorted(
        items, key=lambda item: (item.name.startswith("model.embed_"), "{layer}" in item.name), reverse=True
    )


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
