"""A plan for training: words and numbers become a step whose moments can be asked."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from memcalc.errors import BadInputError, UnknownNameError, at_least_one
from memcalc.files.sources import source as source_named
from memcalc.ledger.machine import machine
from memcalc.ledger.parallel import Layout
from memcalc.ledger.parts import Embedding
from memcalc.ledger.polynomial import BATCH, SEQUENCE, Size, points
from memcalc.ledger.tensor import ceil_div
from memcalc.training.autograd import implementation as implementation_named
from memcalc.training.autograd.base import Adapter, Setting
from memcalc.training.optimizers import optimizer as optimizer_named
from memcalc.training.precision import GRADIENTS, REGIMES
from memcalc.training.stage import Training

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memcalc.files.source import Source
    from memcalc.ledger.model import Model
    from memcalc.training.autograd.base import Implementation, Loss
    from memcalc.training.optimizers import Optimizer
    from memcalc.training.precision import Regime

__all__ = ["train"]

RECOMPUTE = ("none", "selective", "full")
ATTENTION = ("flash", "sdpa", "eager")
OFFLOADS = ("optimizer", "parameters", "activations")


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
    gradient_fusion: bool = True,
    context_exchange: str = "p2p",
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
    swept = points(micro_batch, seq, cp)
    numbers = {"accumulate": accumulate} if swept else {"seq": seq, "micro-batch": micro_batch}
    for name, value in (numbers | {"accumulate": accumulate}).items():
        at_least_one(name, value)
    one_of("attention", attention, ATTENTION)
    one_of("recompute", recompute, RECOMPUTE)
    one_of("rank", rank, ("first", "last", "fullest"))
    one_of("schedule", schedule, ("1f1b", "gpipe"))
    one_of("context-exchange", context_exchange, ("p2p", "a2a"))
    refuse_flags(
        {
            "keep-gradients": keep_gradients,
            "hold-logits": hold_logits,
            "sequence-parallel": sequence_parallel,
            "compile": compiled,
            "gradient-fusion": gradient_fusion,
        }
    )
    if shard not in (0, 1, 2, 3, "fsdp") or type(shard) is bool:
        raise UnknownNameError("--shard", "0, 1, 2, 3 or fsdp", shard, "0 shares nothing")
    chosen = implementation_named(implementation)
    found = source_named(text) if isinstance(text, str) else text
    where = None if on is None else machine(on)
    layout = Layout(world, tp, pp, vpp, cp, ep, expert_tp, shard, sequence_parallel, schedule)
    if where is not None and where.count < world:
        raise BadInputError(
            "--on", f"at least {world} devices for --world {world}", on, "name more, or say a smaller world"
        )
    if vocab_multiple is None:
        vocab_multiple = chosen.vocab_multiple * (tp if chosen.vocab_multiple > 1 else 1)
    model = padded(read_model(found), vocab_multiple)
    if model.model_type != "megatron":  # of the others it is not said that multi-token prediction is trained
        model = replace(model, mtp=())
    refuse_model(chosen, model, layout, seq)
    refuse_options(
        chosen,
        model,
        layout,
        {
            "experts": experts,
            "repeat-kv": repeat_kv,
            "gradient-fusion": None if gradient_fusion else "no",
            "context-exchange": None if context_exchange == "p2p" else context_exchange,
        },
    )
    refuse_ranks(chosen, model, layout, attention)
    widths = regime_of(chosen, regime)
    stated = gradients or (chosen.gradients if widths.master is not None else None)
    gradient_widths = gradient_widths_of(widths, stated, fsdp=shard == "fsdp")
    step_named = optimizer_step or (chosen.step if optimizer in ("adamw", "sgd", "sgd-momentum") else None)
    stepper, how = optimizer_named(optimizer, step_named)
    refuse_optimizer(chosen, widths, layout, stepper, adapted=lora_rank is not None)
    form = loss_of(chosen, loss)
    refuse_loss(form, regime, tp=tp, hold_logits=hold_logits, swept=swept is not None)
    modules = modules_of(chosen, model, recompute, recompute_modules)
    adapters = adapters_of(model, lora_rank, lora_targets, adapter_dtype)
    if adapters:
        gradient_widths = gradients_of_adapters(gradients, adapters)
    if adapters and (tp > 1 or pp > 1 or ep > 1):
        raise BadInputError(
            "--lora-rank", "tp, pp and ep of 1", lora_rank, "how adapters are cut is not listed"
        )
    names = trainable_of(model, trainable, adapters)
    base = base_of(quantize_base, adapters, layout)
    pieces = pieces_of(model, layout, pipeline_layout)
    moved = offloads_of(offload, layout, recompute)
    dropped = dropout_of(chosen, dropout)
    repeat = repeat_of(repeat_kv, attention)
    tokens: Any = seq // cp if swept is None else Size.of(SEQUENCE)
    setting = Setting(
        micro_batch if swept is None else Size.of(BATCH),  # type: ignore[arg-type]
        tokens,
        element_bytes=widths.weight if widths.master is None else 2,
        autocast=regime == "amp",
        attention=attention,
        repeat_kv=repeat,
        dropout=dropped,
        experts=experts,
        context_exchange=context_exchange,
        gradient_fusion=gradient_fusion,
    )
    defaults = {
        "seq": seq,
        "micro_batch": micro_batch,
        "accumulate": accumulate,
        "world": world,
        "regime": regime,
        "gradients": numbers_of(gradient_widths),
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
        "experts": (experts or chosen.experts) if has_experts(model) else None,
        "dropout": dropped,
        "compile": compiled,
        "lora_rank": lora_rank,
        "lora_targets": sorted(adapters),
        "adapter_dtype": None if not adapters else adapter_dtype or "fp32",
        "trainable": list(names),
        "vocab_multiple": vocab_multiple,
        "vocab": model.logits_width,
        "repeat_kv": repeat,
        "quantize_base": base,
        "offload": list(moved),
        "gradient_fusion": gradient_fusion,
        "context_exchange": context_exchange,
        "on": on,
    }
    plan = Training(
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
        swept,
        defaults,
        found,
    )
    return understood(plan)


def understood(plan: Training) -> Training:
    """Return the plan, if the implementation has a program for all of it: it is refused here, not when asked.

    Raises:
        BadInputError: it has none.
        UnknownNameError: it knows no such experts.

    """
    for stage in plan.stages:
        _ = stage.runs
    return plan


def one_of(name: str, given: object, known: tuple[str, ...]) -> None:
    """Refuse a word that is not one of those that are known.

    Raises:
        UnknownNameError: it is not.

    """
    if given not in known:
        raise UnknownNameError(
            f"--{name}", f"one of {', '.join(known)}", given, "leave it out for the default"
        )


def refuse_flags(flags: Mapping[str, object]) -> None:
    """Refuse what is neither True nor False: a word would count as True.

    Raises:
        BadInputError: one of them is.

    """
    for name, value in flags.items():
        if type(value) is not bool:
            raise BadInputError(f"--{name}", "True or False", value, "leave it out for the default")


def listed(name: str, named: object) -> tuple[str, ...]:
    """Return the words of a list, as the command line writes it.

    >>> listed("offload", "optimizer,activations")
    ('optimizer', 'activations')

    Raises:
        BadInputError: it is no text.

    """
    if not isinstance(named, str):
        raise BadInputError(f"--{name}", "words separated by commas, as one text", named, "as in 'a,b'")
    return tuple(named.split(","))


def read_model(found: Source) -> Model:
    """Return the model of a source."""
    from memcalc.files.readers import read

    return read(found.fields, found.name)


def padded(model: Model, multiple: int) -> Model:
    """Return the model with its vocabulary rounded up to a multiple, as Megatron does.

    Raises:
        BadInputError: the multiple is no whole number >= 1.

    """
    at_least_one("vocab-multiple", multiple)
    if multiple == 1:
        return model
    rounded = [
        (name, replace(part, vocab=ceil_div(part.vocab, multiple) * multiple))
        for name, part in model.outside
        if isinstance(part, Embedding)
    ]
    return replace(model, outside=tuple({**dict(model.outside), **dict(rounded)}.items()))


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
            for what, option, ranks in (
                ("heads", "tp", layout.tp),
                ("kv_heads", "tp", layout.tp),
                ("ffn_width", "tp", layout.tp),
                ("expert_width", "tp" if layout.expert_tp is None else "expert-tp", layout.etp),
                ("experts", "ep", layout.ep),
            ):
                number = getattr(part, what, None)
                if type(number) is int and number % ranks:
                    expected = f"a divisor of the model's {number} {what.replace('_', ' ')}"
                    raise BadInputError(f"--{option}", expected, ranks, "every rank gets as many")
    if not has_experts(model):
        for option, given in (("ep", layout.ep), ("expert-tp", layout.expert_tp)):
            if given not in (None, 1):
                raise BadInputError(f"--{option}", "a model with experts", given, "leave it out")
    shares = layout.cp * (layout.tp if layout.sequence_parallel else 1)
    if shares > 1 and (seq % shares if type(seq) is int else (seq % shares).any()):  # type: ignore[attr-defined]
        expected = f"a multiple of {shares}, the ranks that share a sequence"
        raise BadInputError("--seq", expected, seq, "pad the sequence, as the run would have to")


def has_experts(model: Model) -> bool:
    """Say whether a layer of the model has experts."""
    return any(hasattr(part, "experts") for layer in model.groups for _, part in layer.parts)


def regime_of(chosen: Implementation, named: str) -> Regime:
    """Return a regime by its name.

    Raises:
        BadInputError: the implementation's program is not listed for it.
        UnknownNameError: no regime has this name.

    """
    one_of("regime", named, tuple(REGIMES))
    if chosen.regimes is not None and named not in chosen.regimes:
        expected = f"{', '.join(sorted(chosen.regimes))} with --implementation {chosen.id}"
        raise BadInputError("--regime", expected, named, "its copies in 16 bits are not listed")
    return REGIMES[named]


def gradients_of_adapters(named: str | None, adapters: Mapping[str, Adapter]) -> tuple[int, ...]:
    """Return the bytes of a gradient's number where adapters alone have gradients: theirs.

    Raises:
        BadInputError: others are wanted.

    """
    own = (next(iter(adapters.values())).element_bytes,)
    if named is not None and GRADIENTS[named] != own:
        remedy = "gradients are as wide as the adapters; leave it out, or say --adapter-dtype"
        raise BadInputError("--gradients", f"{numbers_of(own)} with these adapters", named, remedy)
    return own


def numbers_of(widths: tuple[int, ...]) -> str:
    """Return the name of numbers of some bytes: one, or two where both are kept."""
    return next(name for name, found in GRADIENTS.items() if found == widths)


def refuse_options(
    chosen: Implementation, model: Model, layout: Layout, stated: Mapping[str, object]
) -> None:
    """Refuse options that mean nothing in this plan.

    Raises:
        BadInputError: this is one.

    """
    for name, value in stated.items():
        if value is None:
            continue
        if name == "experts":
            if not has_experts(model):
                raise BadInputError("--experts", "a model with experts", value, "leave it out")
        elif name not in chosen.options:
            expected = f"no such option with --implementation {chosen.id}"
            raise BadInputError(f"--{name}", expected, value, "it changes nothing there; leave it out")
        elif name == "context-exchange" and layout.cp == 1:
            raise BadInputError(f"--{name}", "--cp above 1", value, "nobody exchanges; leave it out")


def refuse_ranks(chosen: Implementation, model: Model, layout: Layout, attention: str) -> None:
    """Refuse ranks that share what is not listed for them, or what the implementation does not share.

    Raises:
        BadInputError: they do.

    """
    if layout.cp > 1 and attention == "eager":
        remedy = "what ranks of a sequence keep of all scores is not listed"
        raise BadInputError("--attention", "flash or sdpa with --cp above 1", attention, remedy)
    if has_experts(model) and chosen.id == "transformers" and layout.sequence_parallel:
        remedy = "what ranks keep of tokens gathered for experts is not listed"
        expected = "a model without experts, or --implementation megatron"
        raise BadInputError("--sequence-parallel", expected, "experts with transformers", remedy)
    if has_experts(model) and chosen.id == "megatron" and layout.tp > 1 and not layout.sequence_parallel:
        expected = "--sequence-parallel beside it in a model with experts"
        raise BadInputError("--tp", expected, layout.tp, "Megatron-LM's MoELayer refuses to train without")


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
        raise BadInputError(
            "--gradients", expected, stated, "PyTorch keeps gradients in the parameter's dtype"
        )
    return found


def refuse_optimizer(
    chosen: Implementation, widths: Regime, layout: Layout, stepper: Optimizer, *, adapted: bool
) -> None:
    """Refuse optimizers that the implementation does not have, or that cannot work on what they are given.

    Adapters have no 32-bit copy in any regime: what is frozen needs none, and they are updated themselves.

    Raises:
        BadInputError: this one is.

    """
    if chosen.optimizers is not None and stepper.id not in chosen.optimizers:
        expected = f"{', '.join(sorted(chosen.optimizers))} with --implementation {chosen.id}"
        raise BadInputError("--optimizer", expected, stepper.id, "it has no other")
    if stepper.elementwise:
        return
    if widths.master is not None and layout.shard != "fsdp" and not adapted:
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


def refuse_loss(form: Loss, regime: str, *, tp: int, hold_logits: bool, swept: bool) -> None:
    """Refuse a loss whose bytes are not listed for these numbers.

    Raises:
        BadInputError: they are not.

    """
    if form.fused and (hold_logits or regime in ("amp", "fp32")):
        given = "--hold-logits" if hold_logits else regime
        expected = f"pure-bf16 or bf16-mixed, and no --hold-logits, with {form.id}"
        remedy = "it makes no logits to hold, and what it keeps is listed for 16-bit weights"
        raise BadInputError("--loss", expected, given, remedy)
    if form.fused and swept:
        remedy = "its chunks are powers of 2, no polynomials; ask for single plans"
        raise BadInputError("--loss", "another loss in a sweep", form.id, remedy)
    if form.id == "vocabulary-parallel" and tp == 1:
        raise BadInputError(
            "--loss", "--tp above 1 with vocabulary-parallel", tp, "say --tp, or leave it out"
        )
    if form.id == "liger" and regime == "fp32":
        raise BadInputError(
            "--loss", "16-bit logits with liger", regime, "fp32 logits are not listed; use plain"
        )


MODULES_OF = {"moe": "experts", "shared_experts": "shared_width"}  # what a part has that runs as this module


def modules_of(chosen: Implementation, model: Model, recompute: str, named: str | None) -> tuple[str, ...]:
    """Return the modules of selective recomputation.

    Raises:
        BadInputError: modules are named, and nothing is recomputed selectively, or the model lacks them.
        UnknownNameError: the implementation has no such module.

    """
    if recompute != "selective":
        if named is not None:
            raise BadInputError("--recompute-modules", "--recompute selective", recompute, "leave one out")
        return ()
    modules = chosen.default_modules if named is None else listed("recompute-modules", named)
    for module in modules:
        if module not in chosen.modules:
            known = f"some of {', '.join(chosen.modules)} with --implementation {chosen.id}"
            raise UnknownNameError("--recompute-modules", known, module, "separate them by commas")
        field = MODULES_OF.get(module)
        parts = (part for layer in model.groups for _, part in layer.parts)
        if field is not None and all(getattr(part, field, None) is None for part in parts):
            raise BadInputError("--recompute-modules", "modules of the model", module, "it has none of these")
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
                raise BadInputError(
                    f"--{name}", "--lora-rank beside it", value, "say the rank of the adapters"
                )
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
    named = tuple(known) if targets in (None, "all-linear") else listed("lora-targets", targets)
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
    names = listed("trainable", named)
    for name in names:
        if not name or not any(name in tensor.name for tensor in model.weights()):
            raise UnknownNameError(
                "--trainable", "parts of names of weights", name, "as in self_attn,lm_head"
            )
    return names


def base_of(named: str | None, adapters: Mapping[str, Adapter], layout: Layout) -> str | None:
    """Return the format of the frozen matrices beside which adapters stand.

    Raises:
        BadInputError: nothing is frozen, or ranks share the weights.
        UnknownNameError: no format of bitsandbytes has this name.

    """
    if named is None:
        return None
    if not adapters:
        raise BadInputError(
            "--quantize-base", "--lora-rank beside it", named, "quantised matrices are not trained"
        )
    one_of("quantize-base", named, ("nf4", "nf4-dq", "fp4", "fp4-dq", "int8"))
    if layout.shard in (3, "fsdp"):
        remedy = "published runs hold more of packed matrices than is listed; use --shard 0"
        raise BadInputError("--quantize-base", f"no --shard {layout.shard} beside it", named, remedy)
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
    parts = listed("pipeline-layout", named)
    if not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
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
    parts = listed("offload", named)
    for part in parts:
        one_of("offload", part, OFFLOADS)
    if "parameters" in parts and layout.shard not in (3, "fsdp"):
        raise BadInputError(
            "--offload", "--shard 3 or fsdp with parameters", named, "they are gathered from the host"
        )
    if "activations" in parts and recompute != "full":
        raise BadInputError(
            "--offload", "--recompute full with activations", named, "checkpoints are what is moved"
        )
    return parts


def dropout_of(chosen: Implementation, named: float | None) -> float:
    """Return the share of numbers that dropout sets to 0.

    Raises:
        BadInputError: it is no share.

    """
    if named is None:
        return chosen.dropout
    if type(named) not in (int, float) or not 0 <= named < 1:
        raise BadInputError("--dropout", "a share from 0 to below 1", named, "0 switches it off")
    return named


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
        raise BadInputError(
            "--repeat-kv", "yes with eager", named, "its products need as many keys as queries"
        )
    return named == "yes"
