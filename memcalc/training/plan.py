"""A plan for training as data: what was asked for, with everything that was left open filled in."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from memcalc.data.record import Record, record
from memcalc.errors import BadInputError, Faults, Sound
from memcalc.ledger.parts import Embedding
from memcalc.ledger.tensor import ceil_div
from memcalc.options import checked, options_of
from memcalc.training.adapters import EMBEDDED, adapters_of
from memcalc.training.autograd import IMPLEMENTATIONS
from memcalc.training.autograd.architectures import (
    architecture_of,
    keeps_states,
    kernels_read_matrices,
    words_of,
)
from memcalc.training.autograd.base import MicroBatch, everything_trained
from memcalc.training.autograd.dropout import NOTHING, Dropouts, dropouts_of
from memcalc.training.checkpoints import own_base
from memcalc.training.defaults import filled
from memcalc.training.devices import runs_flash
from memcalc.training.head import with_head_apart
from memcalc.training.optimizers import optimizer_named
from memcalc.training.options import TrainingOptions
from memcalc.training.parallelism import TrainingParallelism
from memcalc.training.precision import GRADIENTS, PRECISIONS, gradients_of, state_widths
from memcalc.training.releases import ASKS_SINCE, REENTRANT_BEFORE, release_number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from os import PathLike

    from memcalc.files.machines import Machine
    from memcalc.files.source import Source
    from memcalc.ledger.model import Model
    from memcalc.training.autograd.base import Adapter, Implementation, Loss
    from memcalc.training.optimizers import Optimizer
    from memcalc.training.options import FilledOptions
    from memcalc.training.polynomial import Points
    from memcalc.training.precision import Precision, StateWidths

__all__ = ["EMBEDDING", "TrainingPlan", "plan_fields", "resolve", "stated_gradients"]

EMBEDDING = "model.embed_tokens"
MOMENTS = ("forward_end", "loss", "backward", "backward_end", "step")
MOMENTS_RECOMPUTED = ("forward_end", "loss", "recompute", "backward_end", "step")
MOMENTS_BESIDE = ("load", "evaluate", "save")
PHASES = ("rollout", "log_probs", "rewards", "update", "critic_update")  # of methods beside sft


@record
class TrainingPlan(Record):
    """Everything that decides how much memory a training step needs.

    `asked` is what was asked for, `options` the same with the defaults for what is trained; the other fields
    are what follows from them and the model. `model` has its vocabulary padded; `named` are the weights that
    ``trainable`` names, None where it is open; `micro_batch` is what the implementation's programs are given;
    `points` are those of a sweep, else None.
    """

    asked: TrainingOptions
    options: FilledOptions
    source: Source
    model: Model
    machine: Machine | None
    implementation: Implementation
    parallelism: TrainingParallelism
    precision: Precision
    gradients: str
    widths: StateWidths
    optimizer: Optimizer
    optimizer_step: str
    loss: Loss
    recompute_modules: tuple[str, ...]
    adapters: Mapping[str, Adapter]
    named: frozenset[str] | None
    pipeline_layout: tuple[int, ...]
    vocab_multiple: int
    micro_batch: MicroBatch
    points: Points | None

    def __repr__(self) -> str:
        return f"<plan for {self.source.name}: {self.asked!r}>"

    @property
    def moments(self) -> tuple[str, ...]:
        """The moments of a step; in the backward pass layers are recomputed, or not."""
        return MOMENTS if self.options.recompute == "none" else MOMENTS_RECOMPUTED

    @property
    def defaults(self) -> tuple[str, ...]:
        """What was chosen where an option was left open, in words."""
        return tuple(default_words(self))

    @property
    def fresh_gradients(self) -> bool:
        """Whether gradients are made in the backward pass; otherwise they live through the forward pass."""
        return makes_gradients(self.options, self.implementation)

    def is_trained(self, name: str) -> bool:
        """Say whether a weight of the model itself is trained; beside adapters it is a copy that is."""
        frozen = name.endswith(self.micro_batch.architecture.frozen) or self.is_unreached(name)
        return not frozen and (not self.adapters if self.named is None else name in self.named)

    def is_unreached(self, name: str) -> bool:
        """Say whether no gradient reaches a weight that asks for one; ZeRO has its states in flat arrays."""
        words = self.micro_batch.architecture
        in_flat_arrays = isinstance(self.options.shard, int) and self.options.shard > 0
        return not in_flat_arrays and any(f".{one}." in f"{name}." for one in words.unreached)

    @property
    def loads_towers(self) -> bool:
        """Whether towers that see and hear may be loaded with the text model."""
        return bool(self.model.vision) and self.implementation.id == "transformers"

    @property
    def input_grad(self) -> bool:
        """Whether a gradient flows into the first layer.

        Where the embedding is frozen, and layers train, recomputed ones are given one: transformers'
        enable_input_require_grads makes it.
        """
        return self.embeds_trained or self.micro_batch.embeds_grad

    @property
    def trains_embedding(self) -> bool:
        """Whether the embedding itself is trained, not an adapter of it."""
        return self.is_trained(f"{EMBEDDING}.weight")

    @property
    def embeds_trained(self) -> bool:
        """Whether a gradient reaches the embedding, or its adapter."""
        return self.trains_embedding or EMBEDDED in self.adapters

    @property
    def tied(self) -> bool:
        """Whether embedding and head have one gradient; adapters and copies belong to one of the two."""
        return self.model.tied and not self.adapters

    @property
    def apart(self) -> Model:
        """The model, its head by itself where adapters may belong to it alone."""
        return with_head_apart(self.model) if self.adapters else self.model

    @property
    def layers_train(self) -> bool:
        """Whether the layers have something to train: adapters, or weights of their own."""
        inside = (weight.name for weight in self.model.weights() if "{layer}" in weight.name)
        return bool(self.adapters) or any(map(self.is_trained, inside))

    @property
    def holds_inputs(self) -> bool:
        """Whether layers that ran backwards leave their input behind, and its gradient, until all have.

        FSDP 1 puts a hook on the input of each unit that has nothing to train, as layers with adapters of
        their own units; of a reentrant checkpoint, the default of transformers 4, the input is a leaf, whose
        gradient is kept, and the hook holds it until the backward pass ends. Source:
        torch 2.4 and 2.13, distributed/fsdp/_runtime_utils.py, _register_post_backward_reshard_only_hook.
        """
        release = self.options.engine_version
        reentrant = release is not None and release_number(release) < REENTRANT_BEFORE
        units = self.parallelism.shard == "fsdp" and self.parallelism.states_ranks > 1
        return reentrant and units and bool(self.adapters) and self.options.recompute == "full"

    def recomputed(self, module: str) -> str | None:
        """Return the unit in which the operations of a module are run again; None if they are not."""
        if self.options.recompute == "full":
            return "layer" if module else None
        return module if module in self.recompute_modules else None


def resolve(
    source: str | PathLike[str] | Source,
    options: TrainingOptions,
    checks: Iterable[Callable[[TrainingPlan], None]] = (),
) -> TrainingPlan:
    """Return the plan that options ask for, held against checks: what is wrong is said at once.

    Parameters
    ----------
    source : str, path or Source
        The model.
    options : TrainingOptions
        What is asked for.
    checks : iterable of callables, optional
        Each refuses one thing, as those of `memcalc.training.checks` do.

    Returns
    -------
    TrainingPlan
        The same with everything that was left open filled in.

    Raises
    ------
    BadInputError
        A value is of another kind than its option, or ranks do not divide each other.
    UnknownNameError
        A name without a record.

    """
    faults = Faults()
    plan = filled_in(source, options, faults)
    for check in checks:
        faults.of(check, plan)
    faults.refuse()
    return plan


def filled_in(source: str | PathLike[str] | Source, options: TrainingOptions, faults: Faults) -> TrainingPlan:
    """Return the plan with everything that was left open filled in; what is faulty is missing in it."""
    from memcalc.files.sources import source as find_source

    of, given = faults.of, checked(options, faults)
    found = of(find_source, source)
    machine = of(machine_of, given)
    asked = of(filled, given, settled(of(own_base, found), machine, given, faults))
    points = of(points_of, asked)
    implementation = of(lambda: IMPLEMENTATIONS[asked.implementation])
    optimizer = of(lambda: optimizer_named(asked.optimizer))
    precision, parallelism = of(lambda: PRECISIONS[asked.regime]), of(parallelism_of, asked)
    loss = of(lambda: implementation.loss(loss_named(asked, implementation), asked.engine_version))
    multiple = of(lambda: asked.vocab_multiple or default_multiple(implementation, parallelism))
    model = of(trained_model, found, 1 if multiple is faults.MISSING else multiple, implementation)
    attended = of(with_attention, asked, given, implementation, model)
    asked = asked if attended is faults.MISSING else attended  # without a model all else is still checked
    adapters = of(lambda: adapters_of(asked, found.model, model))
    named = of(named_weights, asked, found, model)
    gradients = of(gradients_named, asked, implementation, precision, adapters)
    micro = of(micro_batch, asked, implementation, parallelism, loss, points)
    return TrainingPlan(
        asked=given,
        options=asked,
        source=found,
        model=model,
        machine=machine,
        implementation=implementation,
        parallelism=parallelism,
        precision=precision,
        gradients=gradients,
        widths=of(lambda: state_widths(precision, gradients, fsdp=asked.shard == "fsdp")),
        optimizer=optimizer,
        optimizer_step=of(lambda: asked.optimizer_step or default_step(implementation, optimizer)),
        loss=of(lambda: as_told(loss, implementation, model)),
        recompute_modules=of(modules_of, asked, implementation),
        adapters=adapters,
        named=named,
        pipeline_layout=of(chunks_of_layers, asked, model, parallelism),
        vocab_multiple=multiple,
        micro_batch=of(
            lambda: replace(
                dropouts(asked, model, found.fields).of(micro),
                trained=trains(named, adapters),
                adapters=adapters,
                embeds_grad=asks_for_gradient(asked, implementation, named, adapters),
                architecture=architecture_of(
                    model,
                    found.fields,
                    swept=points is not None,
                    whole=is_whole(asked, parallelism),
                    widens_norms=micro.autocast and micro.element_bytes < 4,
                ),
                state_kernels=asked.state_kernels
                or ("torch" if micro.quantised and kernels_read_matrices(model) else "fused"),
            )
        ),
        points=points,
    )


def stated_dropout(micro: MicroBatch) -> float | None:
    """Return the share that is dropped, if it is one wherever a model drops: a config may state several."""
    both = micro.hidden_dropout or micro.architecture.dropped
    shares = {micro.dropout, *((micro.hidden_dropout,) if both else ())}
    return shares.pop() if len(shares) == 1 else None


def dropouts(options: FilledOptions, model: Model, fields: Mapping[str, object]) -> Dropouts:
    """Return what is dropped: as a config of transformers says, unless it is stated for the model."""
    of_adapters = options.lora_rank is not None
    if options.implementation == "transformers":
        return dropouts_of(model, fields, None if of_adapters else options.dropout)
    own = IMPLEMENTATIONS[options.implementation].dropout
    share = own if options.dropout is None else options.dropout
    return NOTHING if of_adapters else NOTHING._replace(attention=share)


def loss_named(asked: FilledOptions, implementation: Implementation) -> str:
    """Return the name of the loss: the implementation's own where none was named."""
    return implementation.default_loss if asked.loss is None else asked.loss


def as_told(loss: Loss, implementation: Implementation, model: Model) -> Loss:
    """Return a loss as it is of a model that hands on logits in 32 bits; a fused one multiplies by itself."""
    if implementation.id != "transformers" or loss.fused or not words_of(model).wide_logits:
        return loss
    return replace(loss, kept=4, made_wide=True)


def settled(base: Any, machine: Any, given: TrainingOptions, faults: Faults) -> dict[str, Any]:
    """Return what checkpoint and machine leave no choice about, by option; of what is faulty nothing."""
    found: dict[str, Any] = {}
    if base is not None and base is not faults.MISSING and faults.of(lambda: given.lora_rank) is not None:
        found["quantize_base"] = base
    by_torch = faults.of(lambda: given.implementation == "transformers") is True
    devices = () if machine is None or machine is faults.MISSING else machine.kinds
    if by_torch and not all(map(runs_flash, devices)):
        found["attention"] = "sdpa"
    return found


def trained_model(found: Source, vocab_multiple: int, implementation: Implementation) -> Model:
    """Return the model of a source with its vocabulary padded, as built, and without what is not trained."""
    model = implementation.as_built(padded(found.model, vocab_multiple), found.fields)
    if model.model_type != "megatron":  # of the others it is not known that multi-token prediction is trained
        model = replace(model, mtp=())
    return model


def is_whole(asked: FilledOptions, parallelism: TrainingParallelism) -> bool:
    """Say whether a rank has all layers with all their weights, and keeps what they keep on the device."""
    cut = parallelism.tp * parallelism.pp * parallelism.cp * parallelism.ep > 1
    return not cut and parallelism.zero_stage < 3 and "activations" not in asked.offload


def with_attention(
    asked: FilledOptions, given: TrainingOptions, implementation: Implementation, model: Model
) -> FilledOptions:
    """Return the options with products step by step where a class has no kernel, and none was named."""
    known = words_of(model).attentions
    if (
        isinstance(asked, Sound)
        or given.attention is not None
        or given.like is not None
        or implementation.id != "transformers"
    ):
        return asked
    return asked if asked.attention in known else replace(asked, attention=known[0])


def points_of(options: TrainingOptions) -> Points | None:
    """Return the points of a sweep; None where sequence and micro-batch are single numbers."""
    if type(options.seq) is type(options.micro_batch) is int:
        return None
    from memcalc.training.polynomial import points

    swept = points(options.micro_batch, options.seq, options.cp)
    if swept is None:
        raise BadInputError("--seq", "a whole number >= 1, or a NumPy array", options.seq, "cast it to one")
    return swept


def machine_of(options: TrainingOptions) -> Machine | None:
    """Return the machine, if one is named."""
    if options.on is None:
        return None
    from memcalc.files.machines import machine

    return machine(options.on)


def parallelism_of(options: TrainingOptions) -> TrainingParallelism:
    """Return the ranks in each direction."""
    names = ("world", "tp", "pp", "vpp", "cp", "ep", "expert_tp", "shard", "sequence_parallel", "schedule")
    found: TrainingParallelism = Sound.part(TrainingParallelism, names, options)
    return found


def default_multiple(implementation: Implementation, parallelism: TrainingParallelism) -> int:
    """Return what an implementation pads the vocabulary to a multiple of: each rank has its part."""
    return implementation.vocab_multiple * (parallelism.tp if implementation.vocab_multiple > 1 else 1)


def padded(model: Model, multiple: int) -> Model:
    """Return the model with its vocabulary rounded up to a multiple, as Megatron does."""
    if multiple == 1:
        return model
    rounded = {
        name: replace(part, vocab=ceil_div(part.vocab, multiple) * multiple)
        for name, part in model.outside
        if isinstance(part, Embedding)
    }
    return replace(model, outside=tuple({**dict(model.outside), **rounded}.items()))


def stated_gradients(
    options: TrainingOptions, implementation: Implementation, precision: Precision
) -> str | None:
    """Return the gradients asked for, or those that the implementation keeps with a master copy."""
    return options.gradients or (implementation.gradients if precision.master is not None else None)


def gradients_named(
    options: TrainingOptions,
    implementation: Implementation,
    precision: Precision,
    adapters: Mapping[str, Adapter],
) -> str:
    """Return the name of the gradients' numbers: where adapters alone have gradients, theirs."""
    if adapters:  # that of a router which is loaded in 32 bits may be wider than the others
        own_width = min(adapter.element_bytes for adapter in adapters.values())
        return next(name for name, widths in GRADIENTS.items() if widths == (own_width,))
    own = gradients_of(precision, fsdp=options.shard == "fsdp")
    return stated_gradients(options, implementation, precision) or own


def default_step(implementation: Implementation, optimizer: Optimizer) -> str:
    """Return how an optimizer steps: as the implementation has it, if it can; else in its own way."""
    how = implementation.optimizer_step
    return how if how in optimizer.steps else optimizer.steps[0]


def modules_of(options: TrainingOptions, implementation: Implementation) -> tuple[str, ...]:
    """Return the modules of selective recomputation."""
    if options.recompute != "selective":
        return ()
    named = options.recompute_modules
    return implementation.default_modules if named is None else named


def chunks_of_layers(
    options: TrainingOptions, model: Model, parallelism: TrainingParallelism
) -> tuple[int, ...]:
    """Return the layers of each chunk: as stated, or all as many."""
    if options.pipeline_layout is not None:
        return options.pipeline_layout
    chunks = parallelism.pp * parallelism.vpp
    return (model.depth // chunks,) * chunks


def named_weights(options: FilledOptions, found: Source, model: Model) -> frozenset[str] | None:
    """Return the weights that ``trainable`` names; None where it is open.

    A word is a part of a name; beside adapters the end of a module's, as in peft 0.21 (utils/other.py,
    _set_trainable).
    """
    if not options.trainable:
        return None
    from memcalc.training.class_names import ends_module, holds, named, names_as_trained

    beside = options.lora_rank is not None
    names = names_as_trained(options, found.model, model)
    return named(options.trainable, names, ends_module if beside else holds)


def trains(named: frozenset[str] | None, adapters: Mapping[str, Adapter]) -> Callable[[str], bool]:
    """Return whether a matrix or norm is trained, by its name inside of a layer, or outside of all."""
    if named is None:
        return frozenset[str]().__contains__ if adapters else everything_trained
    ends = ("", ".weight", ".value")
    inside = (name.removeprefix("model.layers.{layer}.") for name in named)
    return frozenset(name.removesuffix(end) for name in inside for end in ends).__contains__


def asks_for_gradient(
    options: FilledOptions,
    implementation: Implementation,
    named: frozenset[str] | None,
    adapters: Mapping[str, Adapter],
) -> bool:
    """Say whether embedded tokens that are not trained are asked for a gradient: recomputed layers need one.

    PEFT asks for it (peft 0.21, peft_model.py), transformers since 5.0 whatever is trained (modeling_utils.py
    of 4.57.6 and 5.0.0, activation_checkpointing_enable), and before whoever trains layers.
    """
    if options.recompute != "full" or adapters:
        return options.recompute == "full"
    if named is None or f"{EMBEDDING}.weight" in named:
        return False
    release = options.engine_version
    since = release is None or release_number(release) >= ASKS_SINCE
    return (implementation.id == "transformers" and since) or any("{layer}" in name for name in named)


def makes_gradients(options: FilledOptions, implementation: Implementation) -> bool:
    """Say whether gradients are made in the backward pass of each step, and end with it."""
    lasting = implementation.gradients is not None or options.shard == 3  # a buffer of the library's own
    return not (options.keep_gradients or options.accumulate > 1 or lasting or options.pp > 1)


def micro_batch(
    options: FilledOptions,
    implementation: Implementation,
    parallelism: TrainingParallelism,
    loss: Loss,
    points: Points | None,
) -> MicroBatch:
    """Return what the programs of the implementation are given, but for what is trained."""
    batch, seq = sizes(options, points)
    hidden = parallelism.tp if parallelism.sequence_parallel else 1
    cut = {
        "inner": parallelism.tp,
        "hidden": hidden,
        "head": parallelism.tp,
        "logits": parallelism.tp if loss.parallel else 1,
        "routed": hidden,
        "expert": parallelism.etp,
    }
    repeat, of_adapters = options.repeat_kv, options.lora_rank is not None
    dropout = implementation.dropout if options.dropout is None else options.dropout
    return MicroBatch(
        batch=batch,
        seq=seq,
        element_bytes=4 if options.upcast else PRECISIONS[options.regime].stream,
        autocast=options.autocast,
        attention=options.attention,
        repeat_kv=options.attention != "flash" if repeat is None else repeat,
        adapter_dropout=dropout if of_adapters else 0,
        experts=options.experts,
        cut={region: ranks for region, ranks in cut.items() if ranks > 1},
        routed_share=(parallelism.ep, parallelism.etp),
        context_ranks=parallelism.cp,
        context_exchange=options.context_exchange,
        gradient_fusion=options.gradient_fusion,
        quantised=quantiser(options.quantize_base),
        quantised_experts=options.quantize_experts,
        fused_head=loss.fused,
        fresh=makes_gradients(options, implementation) and not parallelism.shares_gradients,
    )


def quantiser(base: str | None) -> str | None:
    """Return whose code multiplies by quantised matrices.

    >>> quantiser("nf4-dq"), quantiser("awq-int4-g128")
    ('bitsandbytes', 'awq')
    """
    if base is None:
        return None
    return next((name for name in ("gptq", "awq") if base.startswith(name)), "bitsandbytes")


def sizes(options: FilledOptions, points: Points | None) -> tuple[Any, Any]:
    """Return the sequences and the tokens of each on one rank; in a sweep they are unknowns."""
    if points is None:
        return options.micro_batch, options.seq // options.cp
    from memcalc.training.polynomial import BATCH, SEQUENCE, Size

    return Size.of(BATCH), Size.of(SEQUENCE)


def default_words(plan: TrainingPlan) -> Iterator[str]:
    """Yield what was chosen where an option was left open, in words; what is off is left out.

    >>> from memcalc.training import train
    >>> list(default_words(train("Qwen/Qwen3-0.6B", seq=4096, micro_batch=2).plan))[:3]
    ['accumulate 1', 'lengths packed', 'implementation transformers']
    """
    settled = plan_fields(plan)
    if plan.options.like is not None:
        from memcalc.training.trainers import trainers

        yield f"as {trainers()[plan.options.like].called} has it"
    yield from plan.source.defaults
    if plan.machine is not None:
        yield from plan.machine.defaults
        if plan.machine.cards:
            yield f"unequal devices: each counts as the smallest, {plan.machine.device.id}"
    apart = {
        "parallelism": plan.parallelism.world > 1,
        "Megatron-LM": plan.implementation.gradients is not None,
        "preferences and rewards": plan.options.method != "sft",
        "loading, evaluation and saving": of_several_ranks_or_stated(plan),
    }
    for option in options_of(TrainingOptions):
        value = settled[option.name]
        matters = option.name == "world" or apart.get(option.group, True)
        off = value is None or value is False or value == ()
        if getattr(plan.asked, option.name) is option.default and matters and not off:
            value = ", ".join(map(str, value)) if isinstance(value, tuple) else value
            if option.name == "world" and plan.machine is not None and plan.machine.count > 1:
                value = f"1: one of {plan.machine.count:,} devices is used"
            yield option.name.replace("_", " ") + ("" if value is True else f" {value}")


def of_several_ranks_or_stated(plan: TrainingPlan) -> bool:
    """Say whether it is listed how weights are loaded and saved: one rank alone does it as everyone does."""
    return plan.parallelism.world > 1 or plan.options.like is not None or plan.options.evaluate is not None


def plan_fields(plan: TrainingPlan) -> dict[str, object]:
    """Return all options with what was filled in, as the answer shows them under ``plan``."""
    options, parallelism, micro = plan.options, plan.parallelism, plan.micro_batch
    adapters = bool(plan.adapters)
    experts = options.experts or plan.implementation.experts
    return {
        **vars(options),
        "implementation": plan.implementation.id,
        "engine_version": options.engine_version or plan.implementation.release,
        "optimizer": plan.optimizer.id,
        "autocast": micro.autocast,
        "gradients": plan.gradients,
        "optimizer_step": plan.optimizer_step,
        "loss": plan.loss.id,
        "expert_tp": parallelism.etp,
        "dp": parallelism.dp,
        "schedule": "interleaved" if parallelism.vpp > 1 else parallelism.schedule,
        "pipeline_layout": plan.pipeline_layout,
        "recompute_modules": plan.recompute_modules,
        "experts": experts if plan.model.has_experts else None,
        "state_kernels": micro.state_kernels
        if micro.architecture.listed and keeps_states(plan.model)
        else None,
        "dropout": micro.adapter_dropout if adapters else stated_dropout(micro),
        "lora_targets": tuple(sorted(plan.adapters)),
        "adapter_dtype": options.adapter_dtype if adapters else None,
        "vocab_multiple": plan.vocab_multiple,
        "vocab": plan.model.logits_width,
        "repeat_kv": micro.repeat_kv,
    }
