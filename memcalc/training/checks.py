"""What a plan for training must not be: each check refuses one thing, with the option to state."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from memcalc.errors import (
    NOTHING,
    BadInputError,
    Described,
    Faults,
    RefusalError,
    UnknownNameError,
    choices,
    nearest,
)
from memcalc.files.readers import READERS
from memcalc.ledger.tensor import product
from memcalc.training.adapters import (
    EMBEDDED,
    HEAD,
    adapter_of,
    has_adapters_of_experts,
    linear_names,
    names_beside_experts,
    names_here,
    stacked_names,
)
from memcalc.training.autograd.architectures import keeps_states, kernels_read_matrices, words_of
from memcalc.training.checkpoints import BASES, held_as_stored, own_base
from memcalc.training.devices import runs_bitsandbytes, runs_flash
from memcalc.training.plan import stated_gradients
from memcalc.training.precision import gradients_of
from memcalc.training.releases import PADDED_SINCE, release_number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from memcalc.training.plan import TrainingPlan

__all__ = ["CHECKS", "FOUR_BITS", "OF_CHECKPOINTS", "against_quantised_experts"]

SHIFTED = ("llama", "mistral", "mixtral", "qwen2")  # models whose loss before 4.49 was read
# whose classes in transformers 5.23 have no use_experts_implementation: they multiply in a loop, or a batch
UNGROUPED = frozenset({
    *("dbrx", "doge", "jetmoe", "llama4", "llama4_text", "longcat_flash", "step3p7", "step3p7_text"),
})  # fmt: skip
ROW_BYTES = 16  # of what torch groups, rows are a multiple of so many long
SIZES = re.compile(r"hidden_size|intermediate|latent|ffn")  # words of fields that say an expert's sides
FOUR_BITS = ("nf4", "nf4-dq", "fp4", "fp4-dq")
UNQUANTISED = "name the model before it was quantised, with --quantize-base nf4"
OFFLOADS = ("optimizer", "parameters", "activations")
# what a part of the model has that runs as this module
FIELD_OF_MODULE = {"moe": "experts", "shared_experts": "shared_width"}


# ---- ranks -------------------------------------------------------------------------------------------------


def world_has_a_rank_in_each_direction(plan: TrainingPlan) -> None:
    """Refuse a world that is no multiple of the ranks of a model."""
    ranks = plan.parallelism
    inside = ranks.tp * ranks.pp * ranks.cp
    if ranks.world % inside:
        expected = f"a multiple of tp x pp x cp = {inside}"
        raise BadInputError("--world", expected, ranks.world, "every rank has a place in each direction")


def ranks_of_experts_divide_a_stage(plan: TrainingPlan) -> None:
    """Refuse ranks of experts that do not divide the ranks of a pipeline stage."""
    ranks = plan.parallelism
    of_a_stage = ranks.world // ranks.pp
    if ranks.expert_tp is not None and of_a_stage % ranks.expert_tp:
        expected = f"a divisor of the {of_a_stage} ranks of a stage"
        raise BadInputError("--expert-tp", expected, ranks.expert_tp, "use fewer, or a larger --world")
    if ranks.ep > 1 and of_a_stage % (ranks.etp * ranks.ep):
        expected = f"a divisor of the {of_a_stage} ranks of a stage, {ranks.etp} for each expert"
        raise BadInputError("--ep", expected, ranks.ep, "experts are split over the ranks of a stage")


def schedule_has_a_pipeline(plan: TrainingPlan) -> None:
    """Refuse a schedule, or chunks of stages, without the pipeline that they belong to."""
    ranks = plan.parallelism
    if ranks.schedule == "gpipe" and (ranks.pp == 1 or ranks.vpp > 1):
        expected, given = "--pp above 1 and --vpp of 1 with gpipe", f"pp {ranks.pp}, vpp {ranks.vpp}"
        raise BadInputError("--schedule", expected, given, "add --pp, or use 1f1b")
    if ranks.vpp > 1 and ranks.pp == 1:
        raise BadInputError("--vpp", "1 without --pp", ranks.vpp, "chunks belong to pipeline stages")


def positions_have_a_row_each(plan: TrainingPlan) -> None:
    """Refuse sequences longer than a table of positions that are learned."""
    most, seq = plan.model.max_context, plan.options.seq
    longest = int(seq.max()) if plan.points is not None and hasattr(seq, "max") else seq
    learned = any(tensor.kind == "positions" for tensor in plan.model.weights())
    if learned and most is not None and longest > most:
        remedy = "the model learns positions, and has a row for no more"
        raise BadInputError("--seq", f"at most {most:,}", f"{longest:,}", remedy)


def sequence_parallelism_has_tensor_parallelism(plan: TrainingPlan) -> None:
    """Refuse to share what tensor parallelism leaves whole where there is none."""
    ranks = plan.parallelism
    if ranks.sequence_parallel and ranks.tp == 1:
        remedy = "it shares what tensor parallelism leaves whole; add --tp, or leave it out"
        raise BadInputError("--sequence-parallel", "--tp above 1", ranks.tp, remedy)


# ---- the machine and the model -----------------------------------------------------------------------------


def machine_has_the_devices(plan: TrainingPlan) -> None:
    """Refuse a machine with fewer devices than the plan has ranks."""
    world = plan.parallelism.world
    if plan.machine is not None and plan.machine.count < world:
        expected = f"at least {world} devices for --world {world}"
        raise BadInputError("--on", expected, plan.options.on, "name more, or use a smaller --world")


def device_has_the_kernels(plan: TrainingPlan) -> None:
    """Refuse FlashAttention and bitsandbytes on devices that they do not run on."""
    asked, faults = plan.options, Faults()
    for device in () if plan.machine is None else plan.machine.kinds:
        if asked.attention == "flash" and not runs_flash(device):
            other = "eager" if plan.implementation.id == "megatron" else "sdpa"
            expected, remedy = f"one that runs on {device.id}", f"FlashAttention does not: write {other}"
            faults.found.append(BadInputError("--attention", expected, asked.attention, remedy))
        base, states = asked.quantize_base, plan.optimizer
        eight = base == "int8"
        if base in (*FOUR_BITS, "int8") and not runs_bitsandbytes(device, in_8_bits=eight):
            remedy = "bitsandbytes, which multiplies by them, does not run there; leave it out"
            if runs_bitsandbytes(device):
                remedy = "its products in 8 bits want capability 7.5 or higher; write nf4"
            faults.found.append(
                BadInputError("--quantize-base", f"a format that runs on {device.id}", base, remedy)
            )
        if "bitsandbytes" in states.source and not runs_bitsandbytes(device):
            expected, remedy = f"one that runs on {device.id}", "bitsandbytes does not; write adamw"
            faults.found.append(BadInputError("--optimizer", expected, states.id, remedy))
    faults.refuse()


def ranks_divide_the_model(plan: TrainingPlan) -> None:
    """Refuse ranks that do not divide heads, inner widths or experts."""
    parallel = plan.parallelism
    divided = (
        ("heads", "tp", parallel.tp),
        ("kv_heads", "tp", parallel.tp),
        ("ffn_width", "tp", parallel.tp),
        ("expert_width", "tp" if parallel.expert_tp is None else "expert-tp", parallel.etp),
        ("experts", "ep", parallel.ep),
    )
    found: dict[str, BadInputError] = {}
    for part in (part for layer in plan.model.groups for _, part in layer.parts):
        for what, option, ranks in divided:
            number = getattr(part, what, None)
            if option not in found and type(number) is int and number % ranks:
                expected = f"a divisor of the model's {number} {what.replace('_', ' ')}"
                found[option] = BadInputError(f"--{option}", expected, ranks, "every rank gets as many")
    Faults(found.values()).refuse()


def there_are_experts_to_deal_out(plan: TrainingPlan) -> None:
    """Refuse ranks, or a way to compute, for experts that the model does not have."""
    if plan.model.has_experts:
        return
    faults = Faults()
    for option, given in (("ep", plan.parallelism.ep), ("expert-tp", plan.parallelism.expert_tp)):
        if given not in (None, 1):
            remedy = "it changes nothing there; leave it out"
            faults.found.append(BadInputError(f"--{option}", "a model with experts", given, remedy))
    faults.refuse()


def ranks_divide_the_sequence(plan: TrainingPlan) -> None:
    """Refuse a sequence that is no multiple of the ranks which share it."""
    seq, parallel = plan.options.seq, plan.parallelism
    shares = parallel.cp * (parallel.tp if parallel.sequence_parallel else 1)
    if shares > 1 and (seq % shares if type(seq) is int else (seq % shares).any()):  # type: ignore[attr-defined]  # an array
        expected = f"a multiple of {shares}, the ranks that share a sequence"
        raise BadInputError("--seq", expected, seq, "pad the sequence, as the run would have to")


# ---- what the implementation can run -----------------------------------------------------------------------


def there_are_experts_to_compute(plan: TrainingPlan) -> None:
    """Refuse a way to compute experts that the model does not have."""
    if plan.options.experts is not None and not plan.model.has_experts:
        raise BadInputError("--experts", "a model with experts", plan.options.experts, "leave it out")


def groups_products(plan: TrainingPlan) -> bool:
    """Say whether torch multiplies by all experts at once: not in transformers 4, where each is a layer."""
    release, how = plan.options.engine_version, plan.options.experts or plan.implementation.experts
    if plan.implementation.id != "transformers" or not plan.model.has_experts or how != "grouped_mm":
        return False
    layers = release is not None and release_number(release) < (5, 0)
    return not layers and plan.model.model_type in READERS and plan.model.model_type not in UNGROUPED


def sides_of_experts_are_grouped(plan: TrainingPlan) -> None:
    """Refuse experts whose rows torch cannot group: each is a multiple of 16 bytes long, on CPU and GPU.

    Source: torch 2.13, torch/_meta_registrations.py (check_valid_strides) and
    aten/src/ATen/native/GroupedMMUtils.h.
    """
    if not groups_products(plan):
        return
    whole = ROW_BYTES // plan.micro_batch.element_bytes
    for tensor in plan.model.weights():
        for side in () if tensor.active_experts is None else map(product, tensor.shape):
            if side % whole:
                field, remedy = config_field(plan, side), "torch groups no others; add --experts batched_mm"
                raise BadInputError(field, f"a multiple of {whole}, of experts' matrices", side, remedy)


def experts_have_16_bits(plan: TrainingPlan) -> None:
    """Refuse experts in 32 bits: torch does not group their products, and of copies nothing is modelled."""
    asked, grouped = plan.options, groups_products(plan)
    copied = asked.experts == "batched_mm" and plan.micro_batch.architecture.listed
    if plan.micro_batch.element_bytes == 2 or asked.upcast or not plan.model.has_experts:
        return
    if plan.implementation.id != "transformers" or not (grouped or copied):
        return
    given: object = plan.precision.id
    if plan.asked.regime is None and asked.like is not None:
        from memcalc.training.trainers import trainers

        given = Described(f"{given}, the default of {trainers()[asked.like].called}")
    why = (
        "torch groups products in bf16 only"
        if grouped
        else "what copies of matrices in 32 bits hold is not modelled"
    )
    expected = "16-bit weights with experts"
    raise BadInputError("--regime", expected, given, f"{why}; add --regime pure-bf16")


def config_field(plan: TrainingPlan, size: int) -> str:
    """Return the field of a config that says a size of its experts, as far as it is known by its value."""
    from memcalc.files.by_transformers import of_text

    found = [name for name, value in of_text(plan.source.fields).items() if value == size]
    return next((name for name in sorted(found, reverse=True) if SIZES.search(name)), "width of experts")


def sweeps_have_no_range(plan: TrainingPlan) -> None:
    """Refuse a sweep of what is a range in a single plan: a sweep has one figure a point."""
    counted = plan.implementation.id != "transformers" or plan.micro_batch.architecture.listed
    if plan.points is not None and not counted:
        name = plan.model.text_type or plan.model.model_type
        expected = "one length and one micro-batch for a model whose activations are a range in a sweep"
        remedy = "a sweep has no ranges: ask for each point by itself"
        raise BadInputError("--seq", expected, f"a sweep of {name}", remedy)


def there_are_states_to_compute(plan: TrainingPlan) -> None:
    """Refuse a way to compute states that the model does not keep, that is not listed, or that cannot run."""
    given = plan.options.state_kernels
    if given is not None and not (keeps_states(plan.model) and plan.micro_batch.architecture.listed):
        expected = "a model whose layers keep a state, by operations that are listed"
        raise BadInputError("--state-kernels", expected, given, "leave it out")
    micro, read = plan.micro_batch, kernels_read_matrices(plan.model) and plan.micro_batch.architecture.listed
    if not read or micro.state_kernels != "fused":
        return
    remedy = "mamba-ssm's kernel multiplies by out_proj as it is stored, without its adapter"
    if micro.quantised:
        raise BadInputError("--state-kernels", "torch with a quantised base", "fused", remedy)
    if {*plan.adapters} == {"out_proj"} <= {*linear_names(plan.model)}:
        expected = "others too, or --state-kernels torch"
        raise BadInputError("--lora-targets", expected, "out_proj", remedy)


def options_mean_something(plan: TrainingPlan) -> None:
    """Refuse options that another implementation has; to switch off what is not there changes nothing."""
    faults = Faults()
    for name, harmless in (
        ("repeat_kv", (None, False)),
        ("engine_version", (None,)),
        ("autocast", (None, False)),
        ("context_exchange", ("p2p",)),
    ):
        if name not in plan.implementation.options:
            faults.of(refuse_option_of_another, plan, name, harmless)
    faults.refuse()


def refuse_option_of_another(plan: TrainingPlan, name: str, harmless: tuple[object, ...]) -> None:
    """Refuse an option that the implementation does not have, if it was given and is not harmless."""
    given = getattr(plan.asked, name)
    if given in harmless:
        return
    shown = "yes" if given is True else given
    expected = f"no such option with --implementation {plan.implementation.id}"
    remedy = "it changes nothing there; leave it out"
    raise BadInputError(f"--{name.replace('_', '-')}", expected, shown, remedy)


def there_are_ranks_that_exchange(plan: TrainingPlan) -> None:
    """Refuse a way to exchange where no ranks share a sequence."""
    asked = plan.options
    if asked.context_exchange != "p2p" and plan.parallelism.cp == 1:
        remedy = "it has no effect without; leave it out"
        raise BadInputError("--context-exchange", "--cp above 1", asked.context_exchange, remedy)


def ranks_exchange_whole_heads(plan: TrainingPlan) -> None:
    """Refuse an exchange of heads for sequences where a rank's heads, or those of its keys, are not divided.

    Source: NVIDIA/TransformerEngine, context_parallel.py (AttnFuncWithCPAndQKVOA2A: heads of queries and of
    keys, both divisible by the ranks), read 2026-12.
    """
    cp, tp = plan.parallelism.cp, plan.parallelism.tp
    if plan.options.context_exchange != "a2a":
        return
    for part in (part for layer in plan.model.groups for _, part in layer.parts):
        for what in ("heads", "kv_heads"):
            number = getattr(part, what, None)
            if type(number) is int and number // tp % cp:
                held = f"{number // tp} {what.replace('_', ' ')}"
                expected = f"a divisor of the {held} that a rank has, with --context-exchange a2a"
                remedy = "every rank gets as many; take --context-exchange p2p"
                raise BadInputError("--cp", expected, cp, remedy)


def ranks_of_a_sequence_keep_no_scores(plan: TrainingPlan) -> None:
    """Refuse eager attention of ranks that share a sequence."""
    if plan.parallelism.cp > 1 and plan.options.attention == "eager":
        remedy = "what ranks of a sequence keep of all scores is not modelled"
        raise BadInputError("--attention", "flash or sdpa with --cp above 1", plan.options.attention, remedy)


def implementation_runs_on_these_ranks(plan: TrainingPlan) -> None:
    """Refuse ranks that the implementation does not list for this model."""
    plan.implementation.check_parallelism(plan.model, plan.parallelism)


def autocast_is_that_of_the_regime(plan: TrainingPlan) -> None:
    """Refuse autocast where the regime says the opposite: 32-bit weights under autocast are amp."""
    regime, asked = plan.precision.id, plan.options.autocast
    if regime == "amp" and asked is False:
        raise BadInputError("--autocast", "yes with amp", "no", "32-bit weights without autocast are fp32")
    if regime == "fp32" and asked:
        raise BadInputError("--autocast", "no with fp32", "yes", "32-bit weights under autocast are amp")


def implementation_has_the_regime(plan: TrainingPlan) -> None:
    """Refuse a regime for which the implementation's program is not modelled."""
    regimes, chosen = plan.implementation.regimes, plan.implementation.id
    if regimes is not None and plan.precision.id not in regimes:
        expected = f"{', '.join(sorted(regimes))} with --implementation {chosen}"
        raise BadInputError("--regime", expected, plan.precision.id, "its copies in 16 bits are not modelled")


# ---- gradients, optimizer, loss ----------------------------------------------------------------------------


def gradients_fit_the_regime(plan: TrainingPlan) -> None:
    """Refuse gradients of another width than the parameters, where PyTorch keeps them alike."""
    fsdp = plan.options.shard == "fsdp"
    own = gradients_of(plan.precision, fsdp=fsdp)
    stated = stated_gradients(plan.options, plan.implementation, plan.precision)
    if (plan.precision.master is None or fsdp) and stated not in (None, own):
        expected = f"{own} with {'FSDP and ' if fsdp else ''}{plan.precision.id}"
        remedy = "PyTorch keeps gradients in the parameter's dtype"
        raise BadInputError("--gradients", expected, stated, remedy)


def release_has_the_loss(plan: TrainingPlan) -> None:
    """Refuse a former loss of models for which it is not modelled."""
    since = ".".join(map(str, PADDED_SINCE))
    given, remedy = plan.options.engine_version, "its loss before that is not modelled"
    if plan.loss.shifted and plan.model.model_type not in SHIFTED:
        raise BadInputError(
            "--engine-version", f"{since} or newer with {plan.model.model_type}", given, remedy
        )


def optimizer_steps_in_this_way(plan: TrainingPlan) -> None:
    """Refuse a way to step that the optimizer does not have."""
    optimizer, how = plan.optimizer, plan.optimizer_step
    if how not in optimizer.steps:
        expected = f"{' or '.join(optimizer.steps)} with {optimizer.id}"
        raise BadInputError("--optimizer-step", expected, how, "PyTorch has no other for it")


def optimizer_gets_whole_matrices(plan: TrainingPlan) -> None:
    """Refuse an optimizer of matrices on a master copy, or on shares of it, which are long lists.

    Adapters have no 32-bit copy in any regime: what is frozen needs none, and they are updated themselves.
    """
    optimizer, parallel = plan.optimizer, plan.parallelism
    if optimizer.elementwise:
        return
    if plan.widths.master and plan.options.lora_rank is None:
        expected = f"an optimizer with a number for each weight under {plan.precision.id}"
        remedy = "its 32-bit copy lies in one long list, without matrices; use pure-bf16, amp or fp32"
        raise BadInputError("--optimizer", expected, optimizer.id, remedy)
    if parallel.shard == "fsdp" and optimizer.blockwise:
        return  # rows of a matrix have states of their own
    if parallel.shard != 0 and parallel.states_ranks > 1:
        expected = f"an optimizer with a number for each weight under --shard {parallel.shard}"
        raise BadInputError("--optimizer", expected, optimizer.id, "it needs whole matrices; use --shard 0")


def fused_loss_is_listed(plan: TrainingPlan) -> None:
    """Refuse a loss that multiplies by the head itself where its bytes are not modelled."""
    regime, hold_logits = plan.precision.id, plan.options.hold_logits
    if plan.loss.fused and (hold_logits or regime in ("amp", "fp32")):
        given = "--hold-logits" if hold_logits else regime
        expected = f"pure-bf16 or bf16-mixed, and no --hold-logits, with {plan.loss.id}"
        remedy = "it makes no logits to hold, and what it keeps is modelled for 16-bit weights"
        raise BadInputError("--loss", expected, given, remedy)
    if plan.loss.fused and plan.points is not None:
        remedy = "its chunks are powers of 2, no polynomials; ask for single plans"
        raise BadInputError("--loss", "another loss in a sweep", plan.loss.id, remedy)


def parallel_loss_has_ranks(plan: TrainingPlan) -> None:
    """Refuse a loss over the ranks' parts of the vocabulary where one rank has all of it."""
    if plan.loss.id == "vocabulary-parallel" and plan.parallelism.tp == 1:
        expected = "--tp above 1 with vocabulary-parallel"
        raise BadInputError("--loss", expected, plan.parallelism.tp, "add --tp, or use --loss plain")


def liger_has_16_bit_logits(plan: TrainingPlan) -> None:
    """Refuse Liger's loss on logits of 32 bits."""
    if plan.loss.id == "liger" and plan.precision.id == "fp32":
        remedy = "fp32 logits are not modelled; use plain"
        raise BadInputError("--loss", "16-bit logits with liger", plan.precision.id, remedy)


# ---- recomputation, adapters, what is trained --------------------------------------------------------------


def biases_have_their_weights(plan: TrainingPlan) -> None:
    """Refuse biases that are trained without the weight beside them: what flows to them is not modelled."""
    trainable = plan.options.trainable
    if not trainable:
        return
    trained = {one.name: plan.is_trained(one.name) for one in plan.model.weights()}
    for name, alone in trained.items():
        if alone and name.endswith(".bias") and not trained.get(f"{name.removesuffix('bias')}weight", True):
            expected = "weights beside the biases that are trained"
            remedy = "name modules, as in q_proj: biases alone are not modelled"
            raise BadInputError("--trainable", expected, ",".join(trainable), remedy)


def modules_are_recomputed(plan: TrainingPlan) -> None:
    """Refuse modules of selective recomputation where nothing is recomputed selectively."""
    asked = plan.options
    if asked.recompute != "selective" and asked.recompute_modules is not None:
        expected = "--recompute selective"
        is_open = plan.asked.recompute is None and asked.recompute == "none"
        given: object = NOTHING if is_open else asked.recompute
        raise BadInputError("--recompute-modules", expected, given, "add --recompute selective")


def modules_are_known(plan: TrainingPlan) -> None:
    """Refuse modules that the implementation, or the model, does not have."""
    for module in plan.recompute_modules:
        if module not in plan.implementation.modules:
            chosen = plan.implementation
            known = f"some of {', '.join(chosen.modules)} with --implementation {chosen.id}"
            remedy = nearest(module, chosen.modules, "--recompute-modules") or "separate them by commas"
            raise UnknownNameError("--recompute-modules", known, module, remedy)
        field = FIELD_OF_MODULE.get(module)
        parts = (part for layer in plan.model.groups for _, part in layer.parts)
        if field is not None and all(getattr(part, field, None) is None for part in parts):
            raise BadInputError("--recompute-modules", "modules of the model", module, "it has none of these")


def adapters_have_a_rank(plan: TrainingPlan) -> None:
    """Refuse what is stated of adapters without their rank."""
    asked = plan.options
    if asked.lora_rank is None:
        targets = None if asked.lora_targets is None else ",".join(asked.lora_targets)
        for name, given in (("lora-targets", targets), ("adapter-dtype", asked.adapter_dtype)):
            if given is not None:
                remedy = "add --lora-rank"
                raise BadInputError(f"--{name}", "--lora-rank as well", given, remedy)


def adapters_have_matrices(plan: TrainingPlan) -> None:
    """Refuse adapters of matrices that the model does not have."""
    asked, known = plan.options.lora_targets, (*linear_names(plan.model), HEAD, EMBEDDED)
    if plan.options.lora_rank is None or (asked in (None, ("all-linear",)) and plan.adapters):
        return
    for name in asked or ("nothing",):
        if not {*names_here((name,), plan.options, plan.source.model, plan.model)} <= {*known}:
            expected = f"all-linear, or some of {', '.join(known)}"
            if name == "all-linear" and asked is not None:
                named = dict.fromkeys([*linear_names(plan.model), *(one for one in asked if one in known)])
                remedy = f"it stands alone; with others write {','.join(named)}"
                raise BadInputError("--lora-targets", expected, ",".join(asked), remedy)
            remedy = nearest(name, ["all-linear", *known], "--lora-targets") or "separate them by commas"
            raise UnknownNameError("--lora-targets", expected, name, remedy)


def adapters_have_gradients_of_their_own(plan: TrainingPlan) -> None:
    """Refuse gradients of another width than the adapters, which alone have any."""
    stated = plan.options.gradients
    if plan.adapters and stated not in (None, plan.gradients):
        remedy = "gradients are as wide as the adapters: say --adapter-dtype instead"
        raise BadInputError("--gradients", f"{plan.gradients} with these adapters", stated, remedy)


def adapters_are_cut_as_peft_cuts_them(plan: TrainingPlan) -> None:
    """Refuse adapters on ranks that share the stream, or deal out experts that have some."""
    parallel, given = plan.parallelism, plan.options.lora_rank
    if not plan.adapters:
        return
    if parallel.sequence_parallel:
        remedy = "PEFT cuts adapters with their matrices, and knows no stream that is cut; leave it out"
        raise BadInputError("--sequence-parallel", "no --lora-rank", given, remedy)
    experts = (one for one in plan.model.weights() if one.active_experts is not None)
    dealt = parallel.ep > 1 or parallel.etp > 1
    if dealt and any(adapter_of(plan.adapters, one) is not None for one in experts):
        remedy = "how adapters of experts are dealt out is not modelled; name others in --lora-targets"
        ranks = f"ep {parallel.ep}, tp {parallel.etp}"
        raise BadInputError("--ep", "1 rank an expert with adapters of experts", ranks, remedy)


def copies_are_of_embedding_and_head(plan: TrainingPlan) -> None:
    """Refuse to train others than embedding and head beside adapters, or what has an adapter itself.

    PEFT 0.21 trains copies of them (modules_to_save), or wraps them, and not both.
    """
    if plan.named is None or not plan.adapters:
        return
    from memcalc.training.class_names import ends_module, named, names_as_trained

    names = names_as_trained(plan.options, plan.source.model, plan.model)
    for part in plan.options.trainable:
        modules = {name.split(".")[-2] for name in named((part,), names, ends_module)}
        if not part or not modules or not modules <= {HEAD, EMBEDDED}:
            remedy = nearest(part, (EMBEDDED, HEAD)) if not modules else ""
            remedy = remedy or "PEFT trains copies of these two beside adapters (modules_to_save)"
            raise BadInputError("--trainable", f"{EMBEDDED} or {HEAD} with --lora-rank", part, remedy)
        if modules & plan.adapters.keys():
            remedy = "PEFT trains a copy of it or gives it an adapter: name it once"
            raise BadInputError("--trainable", "what is not among --lora-targets", part, remedy)


def copies_are_as_plain_peft_has_them(plan: TrainingPlan) -> None:
    """Refuse copies, and narrow adapters, whose precision DeepSpeed or a trainer changes.

    DeepSpeed keeps what it trains in 16 bits and a master copy in 32 (runtime/zero/stage3.py, 0.19.6): as
    many bytes as an adapter in 32 bits. LLaMA-Factory widens copies to 32 bits (model/adapter.py), TRL
    narrows those of 4-bit models (trainer/sft_trainer.py).
    """
    asked, zero = plan.options, plan.parallelism.shard in (1, 2, 3)
    if not plan.adapters:
        return
    if asked.trainable and zero:
        remedy = "the master copies that DeepSpeed keeps of them are not modelled; leave one out"
        raise BadInputError("--trainable", "--shard 0 or fsdp with --lora-rank", asked.shard, remedy)
    if asked.trainable and asked.like is not None:
        remedy = "in what precision it trains embedding and head beside adapters is not modelled"
        raise BadInputError("--like", "none with --trainable and --lora-rank", asked.like, remedy)
    if zero and plan.asked.adapter_dtype == "bf16":
        remedy = "DeepSpeed keeps a master copy of them in 32 bits: fp32 has as many bytes"
        raise BadInputError("--adapter-dtype", "fp32 with --shard 1, 2 or 3", "bf16", remedy)


def dora_is_of_matrices(plan: TrainingPlan) -> None:
    """Refuse magnitudes of what PEFT gives none, or of matrices whose numbers are not there.

    Source: peft 0.21.2 tuners/lora/layer.py, ParamWrapper: it does not work with use_dora.
    """
    if not plan.options.dora:
        return
    expected, given = "", ""
    if plan.options.lora_rank is None:
        expected, given, remedy = "--lora-rank as well", "yes", "magnitudes belong to adapters"
    elif EMBEDDED in plan.adapters:
        expected, given, remedy = "no embed_tokens among --lora-targets", EMBEDDED, "it is not modelled"
    elif stacked_names(plan.adapters):
        expected, given = "other --lora-targets than experts and router", "all of them"
        remedy = "PEFT has no DoRA for these; name others, as in q_proj,v_proj"
    elif plan.options.quantize_base is not None:
        expected, given = "no --quantize-base", plan.options.quantize_base
        remedy = "what a quantised matrix's norm holds is not modelled"
    elif plan.parallelism.tp > 1:
        expected, given, remedy = "--tp 1", f"{plan.parallelism.tp}", "norms of cut matrices are not modelled"
    if expected:
        raise BadInputError("--dora", expected, given, remedy)


def ends_with_adapters_are_whole(plan: TrainingPlan) -> None:
    """Refuse ranks that cut embedding or head where they have adapters or copies."""
    parallel, ends = plan.parallelism, {HEAD, EMBEDDED} & plan.adapters.keys()
    if plan.adapters and (ends or plan.options.trainable) and (parallel.tp > 1 or parallel.pp > 1):
        remedy = "what ranks hold of their adapters or copies is not modelled; use --shard"
        given = ",".join(sorted({*ends, *plan.options.trainable}))
        raise BadInputError("--tp", "1, and --pp 1, with embedding or head trained beside", given, remedy)


def there_is_something_to_train(plan: TrainingPlan) -> None:
    """Refuse parts of names that no weight has, and weights that are one array with others left frozen."""
    if plan.named is None:
        return
    from memcalc.training.class_names import holds, named, names_as_trained, parts_alone

    names = names_as_trained(plan.options, plan.source.model, plan.model)
    for word in () if plan.adapters else plan.options.trainable:
        if not word or word.isdigit() or not named((word,), names, holds):
            parts = dict.fromkeys(
                part
                for each in names.values()
                for name in each
                for part in name.split(".")
                if part not in ("{layer}", "{expert}")
            )
            head = "embed_tokens, which is the head too" if plan.tied else "lm_head"
            remedy = nearest(word, parts) or f"as in self_attn,{head}"
            if re.search(r"(^|\.)\d+(\.|$)", word):
                remedy = f"single layers are not told apart; name parts of all, as in self_attn,{head}"
            raise UnknownNameError("--trainable", "parts of names of weights", word, remedy)
    if not any(map(plan.is_trained, plan.named)):
        remedy = "no gradient reaches these; name others as well"
        raise BadInputError(
            "--trainable", "weights that a gradient reaches", ",".join(plan.options.trainable), remedy
        )
    for array in parts_alone(plan.named, names):
        expected = f"all of {array.rpartition('{layer}.')[2]}, which is one array"
        remedy = f"name it, as in {array.removesuffix('.weight').rpartition('.')[2]}"
        raise BadInputError("--trainable", expected, ",".join(plan.options.trainable), remedy)


def base_is_frozen(plan: TrainingPlan) -> None:
    """Refuse quantised matrices without adapters."""
    asked, stored = plan.options, held_as_stored(plan.source)
    if plan.adapters:
        return
    if asked.quantize_base is not None:
        remedy = "quantised matrices are not trained"
        raise BadInputError("--quantize-base", "--lora-rank as well", asked.quantize_base, remedy)
    if stored is not None:
        expected, given = "adapters on weights that are quantised", Described(f"a {stored} checkpoint alone")
        remedy = "such matrices are not trained: add it, or name the model before it was quantised"
        raise BadInputError("--lora-rank", expected, given, remedy)


def stored_format_is_known(plan: TrainingPlan) -> None:
    """Refuse a config that says its weights are quantised, and not how."""
    field = "quantization_config"
    stated = plan.source.stated(field)
    if stated is None:
        return
    try:
        plan.source.scheme  # noqa: B018 (it is read)
    except RefusalError as error:
        named = isinstance(stated, dict) and "quant_method" in stated
        if not named or error.field == f"{field}.quant_method":
            remedy = "correct it, or remove it to train weights that are not quantised"
            raise BadInputError(error.field, error.expected, error.given, remedy) from None


def stored_base_is_modelled(plan: TrainingPlan) -> None:
    """Refuse a quantised checkpoint in whose own format no model is modelled that trains, or scores."""
    if held_as_stored(plan.source) is not None and own_base(plan.source) is None:
        expected = f"one of {', '.join(BASES)} for all linear layers"
        raise BadInputError("quantization_config", expected, plan.source.quantization, UNQUANTISED)


def quantised_checkpoint_is_trained(plan: TrainingPlan) -> None:
    """Refuse another base than a quantised checkpoint has, and GPTQ's and AWQ's matrices of experts.

    Those lie in stacks that their tools do not write. Source: transformers 5.23 quantizers/auto.py
    (merge_quantization_configs): what is stored by one method is not loaded by another.
    """
    base, own = plan.options.quantize_base, own_base(plan.source)
    if own is not None and plan.adapters and base != own:
        remedy = "a checkpoint is loaded as it is stored: leave it out, or name the model as it was before"
        raise BadInputError("--quantize-base", own, base, remedy)
    if plan.micro_batch.quantised in ("gptq", "awq") and plan.model.has_experts:
        remedy = (
            f"what trains with experts of this format is not modelled; {UNQUANTISED if own else 'use nf4'}"
        )
        raise BadInputError("--quantize-base", "a model without experts", base, remedy)


OF_CHECKPOINTS: tuple[Callable[[TrainingPlan], None], ...] = (
    stored_format_is_known,
    stored_base_is_modelled,
    base_is_frozen,
    quantised_checkpoint_is_trained,
)


def experts_are_one_array(plan: TrainingPlan) -> None:
    """Refuse quantised bases, and adapters of experts, where each expert is a layer: in transformers 4."""
    asked = plan.options
    if not plan.model.has_experts or asked.engine_version is None:
        return
    adapted = has_adapters_of_experts(plan.adapters)
    if release_number(asked.engine_version) < (5, 0) and (asked.quantize_base is not None or adapted):
        what = "--quantize-base" if asked.quantize_base is not None else "--lora-targets of experts"
        remedy = "in transformers 4 each expert is a layer, which is not modelled; leave out --engine-version"
        raise BadInputError(
            "--engine-version", f"5.0 or newer with experts and {what}", asked.engine_version, remedy
        )


def quantised_experts_are_run(plan: TrainingPlan) -> None:
    """Refuse to quantise experts that are not there, that have adapters, or that ranks deal out."""
    if not plan.options.quantize_experts:
        return
    not_modelled = "what others hold of experts made of codes is not modelled"
    for expected, given in against_quantised_experts(plan):
        raise BadInputError("--quantize-experts", expected, given, not_modelled)
    if has_adapters_of_experts(plan.adapters):
        remedy = f"write --lora-targets {','.join(names_beside_experts(plan.model))}: {not_modelled}"
        raise BadInputError("--quantize-experts", "--lora-targets without experts", "all-linear", remedy)


def against_quantised_experts(plan: TrainingPlan) -> Iterator[tuple[str, object]]:
    """Yield what a plan would need for quantised experts and does not have, with what it has."""
    asked, ranks = plan.options, plan.parallelism
    if asked.quantize_base not in FOUR_BITS:
        yield f"--quantize-base {' or '.join(FOUR_BITS)}", asked.quantize_base or NOTHING
    if not plan.model.has_experts:
        yield "a model with experts", plan.model.model_type
    if asked.experts not in (None, "grouped_mm"):
        yield "--experts grouped_mm", asked.experts
    if ranks.ep > 1 or ranks.etp > 1 or ranks.shares_weights:
        yield "one rank, or --shard 0, 1 or 2 without --ep and --tp", ranks.world


def what_is_upcast_is_quantised(plan: TrainingPlan) -> None:
    """Refuse to widen what is not quantised where all is, or where experts are too wide for their products.

    Source: peft 0.21.2 utils/other.py, prepare_model_for_kbit_training: all of 16 bits but Params4bit.
    """
    asked = plan.options
    if not asked.upcast:
        return
    if asked.quantize_base is None:
        remedy = "it widens what is not quantised; of a whole model that is --regime amp or fp32"
        raise BadInputError("--upcast", "--quantize-base as well", NOTHING, remedy)
    if asked.quantize_base not in (*FOUR_BITS, "int8"):
        remedy = "PEFT widens nothing beside GPTQ, and what it does beside AWQ is not modelled; leave it out"
        raise BadInputError("--upcast", "bitsandbytes' formats", asked.quantize_base, remedy)
    if plan.model.has_experts:
        remedy = "it makes experts 32 bits wide, and torch groups their products in bf16 only; leave it out"
        raise BadInputError("--upcast", "a model without experts", plan.model.model_type, remedy)
    if asked.trainable:
        remedy = "copies that are trained would have 32 bits, too, which is not modelled"
        raise BadInputError("--upcast", "no --trainable", ",".join(asked.trainable), remedy)


def base_can_be_shared_out(plan: TrainingPlan) -> None:
    """Refuse quantised matrices that ranks cannot share out, or not keep in the host's memory."""
    asked = plan.options
    if asked.quantize_base is None or not plan.parallelism.shares_weights:
        return
    if asked.quantize_base not in FOUR_BITS:
        expected = f"4 bits of bitsandbytes with --shard {asked.shard}"
        remedy = "its codes are whole numbers, which are not shared out; use nf4, or --shard 0"
        raise BadInputError("--quantize-base", expected, asked.quantize_base, remedy)
    if asked.shard == 3 and "parameters" in asked.offload:
        remedy = "PEFT's documentation: it takes more of the device than without; use --shard fsdp"
        given = ",".join(asked.offload)
        raise BadInputError("--offload", "no parameters with --quantize-base and --shard 3", given, remedy)


# ---- pipeline, offload, kernels ----------------------------------------------------------------------------


def chunks_hold_the_layers(plan: TrainingPlan) -> None:
    """Refuse chunks that do not hold the model's layers."""
    ranks, depth, given = plan.parallelism, plan.model.depth, plan.pipeline_layout
    chunks = ranks.pp * ranks.vpp
    if ranks.pp == 1 and ranks.vpp > 1:
        return  # schedule_has_a_pipeline says so
    if plan.options.pipeline_layout is None and depth % chunks:
        expected = f"a number of chunks that divides {depth} layers"
        even = ",".join(str(depth // chunks + (number < depth % chunks)) for number in range(chunks))
        remedy = f"add --pipeline-layout, as in {even}" if chunks < depth else "use fewer"
        raise BadInputError("--pp", expected, chunks, remedy)
    if len(given) != chunks or sum(given) != depth or min(given) < 0:
        expected, layout = f"{chunks} numbers that add up to {depth} layers", ",".join(map(str, given))
        raise BadInputError("--pipeline-layout", expected, layout, "one for each chunk, first to last")


def offload_is_known(plan: TrainingPlan) -> None:
    """Refuse to move what has no name."""
    for part in plan.options.offload:
        if part not in OFFLOADS:
            remedy = nearest(part, OFFLOADS, "--offload") or "name one of these"
            raise UnknownNameError("--offload", choices(OFFLOADS), part, remedy)


def offload_moves_what_can_be_moved(plan: TrainingPlan) -> None:
    """Refuse to move parameters that ranks do not gather, or activations that are no checkpoints."""
    asked, given = plan.options.offload, ",".join(plan.options.offload)
    if "parameters" in asked and not plan.parallelism.shares_weights:
        expected = "--shard 3 or fsdp with parameters"
        raise BadInputError("--offload", expected, given, "they are gathered from the host")
    if "activations" in asked and plan.options.recompute != "full":
        expected = "--recompute full with activations"
        raise BadInputError("--offload", expected, given, "checkpoints are what is moved")


def dropout_is_a_share(plan: TrainingPlan) -> None:
    """Refuse a dropout that is no share."""
    given = plan.options.dropout
    if given is not None and not 0 <= given < 1:
        raise BadInputError("--dropout", "a share from 0 to below 1", given, "0 switches it off")


def arrays_of_experts_drop_nothing(plan: TrainingPlan) -> None:
    """Refuse dropout in front of adapters of stacked experts or their router, which PEFT does not build.

    Source: peft 0.21.2 tuners/lora/layer.py, ParamWrapper: it does not work with lora_dropout != 0.
    """
    share = plan.micro_batch.adapter_dropout
    if share and stacked_names(plan.adapters):
        others = ",".join(names_beside_experts(plan.model))
        remedy = f"PEFT drops nothing in front of these; write 0, or --lora-targets {others}"
        raise BadInputError("--dropout", "0 with adapters of experts or their router", share, remedy)


def eager_attention_repeats_keys(plan: TrainingPlan) -> None:
    """Refuse products of all query heads with fewer key heads."""
    if plan.options.attention == "eager" and plan.options.repeat_kv is False:
        remedy = "its products need as many keys as queries"
        raise BadInputError("--repeat-kv", "yes with eager", "no", remedy)


def class_has_the_attention(plan: TrainingPlan) -> None:
    """Refuse a kernel that a model's class does not have, or of which is not known what it keeps."""
    known, asked = words_of(plan.model).attentions, plan.options.attention
    if plan.implementation.id == "transformers" and asked not in known:
        remedy = (
            f"what the class of {plan.model.model_type} keeps with another is not modelled, if it has one"
        )
        raise BadInputError("--attention", " or ".join(known), asked, remedy)


# ---- loading, evaluation, saving ---------------------------------------------------------------------------

OF_MOMENTS = ("load", "save", "evaluate", "eval_batch", "eval_accumulation_steps")


def moments_beside_are_known(plan: TrainingPlan) -> None:
    """Refuse what is stated of loading, evaluation and saving where no rule of them is known."""
    from memcalc.training.beside.every import why_not

    stated = [name for name in OF_MOMENTS if getattr(plan.asked, name) is not None]
    if stated and (why := why_not(plan)) is not None:
        option = f"--{stated[0].replace('_', '-')}"
        expected = "a plan whose moments beside the step are known"
        raise BadInputError(option, expected, getattr(plan.asked, stated[0]), why)


def weights_are_loaded_as_ranks_can(plan: TrainingPlan) -> None:
    """Refuse a way to load that sharding ranks do not have, or one rank that loads what each has to.

    Source: huggingface/transformers v5.23, integrations/accelerate.py, check_and_set_device_map: ZeRO-3 takes
    no device_map; modeling_utils.py: of what is quantised each rank loads its own.
    """
    asked = plan.options
    if asked.load == "rank-0" and (asked.shard != "fsdp" or asked.quantize_base is not None):
        expected = "host or device without --shard fsdp, and with --quantize-base"
        raise BadInputError("--load", expected, asked.load, "only FSDP broadcasts what one rank has loaded")
    if plan.asked.load == "device" and asked.shard == 3:
        raise BadInputError("--load", "host with --shard 3", asked.load, "ZeRO-3 takes no device_map")


def shards_are_saved_where_there_are_some(plan: TrainingPlan) -> None:
    """Refuse shards of ranks that share no weights."""
    if plan.options.save == "sharded" and not plan.parallelism.shares_weights:
        remedy = "each rank has all weights; leave it out"
        raise BadInputError("--save", "--shard 3 or fsdp with sharded", plan.options.shard, remedy)


def evaluation_is_stated(plan: TrainingPlan) -> None:
    """Refuse an evaluation that does not say how many logits are kept, or whose loss is not modelled."""
    asked = plan.options
    for name in ("eval_batch", "eval_accumulation_steps"):
        value = getattr(plan.asked, name)
        if asked.evaluate is None and value is not None:
            remedy = "say which: loss or metrics"
            raise BadInputError(f"--{name.replace('_', '-')}", "--evaluate as well", value, remedy)
    if asked.evaluate == "metrics" and asked.eval_accumulation_steps is None:
        expected = "--eval-accumulation-steps as well"
        remedy = "without it the device keeps the logits of all batches: then say how many those are"
        raise BadInputError("--evaluate", expected, asked.evaluate, remedy)
    if asked.evaluate == "loss" and asked.eval_accumulation_steps is not None:
        remedy = "of the loss alone no logits are kept; leave it out"
        raise BadInputError("--eval-accumulation-steps", "--evaluate metrics", asked.evaluate, remedy)
    if asked.evaluate is not None and plan.loss.id != "plain":
        remedy = "what it holds without gradients was not read"
        raise BadInputError("--loss", "plain with --evaluate", plan.loss.id, remedy)


OF_METHODS = (
    *("reference", "reward_model", "critic", "completion_tokens", "num_generations", "logprob_batch"),
    *("rollout_engine", "rollout_utilization", "rollout_tp", "sleep_level", "offload_between"),
)


def options_of_methods_have_one(plan: TrainingPlan) -> None:
    """Refuse options of several models where one is trained on text."""
    for name in OF_METHODS if plan.options.method == "sft" else ():
        value = getattr(plan.options, name)
        if value not in (None, ()):
            given = ",".join(value) if isinstance(value, tuple) else value
            remedy = "say which: dpo, orpo, kto, ppo or grpo"
            raise BadInputError(f"--{name.replace('_', '-')}", "--method as well", given, remedy)


CHECKS: tuple[Callable[[TrainingPlan], None], ...] = (
    options_of_methods_have_one,
    world_has_a_rank_in_each_direction,
    ranks_of_experts_divide_a_stage,
    schedule_has_a_pipeline,
    sequence_parallelism_has_tensor_parallelism,
    positions_have_a_row_each,
    machine_has_the_devices,
    device_has_the_kernels,
    ranks_divide_the_model,
    there_are_experts_to_deal_out,
    ranks_divide_the_sequence,
    there_are_experts_to_compute,
    sides_of_experts_are_grouped,
    experts_have_16_bits,
    there_are_states_to_compute,
    options_mean_something,
    there_are_ranks_that_exchange,
    ranks_exchange_whole_heads,
    ranks_of_a_sequence_keep_no_scores,
    implementation_runs_on_these_ranks,
    autocast_is_that_of_the_regime,
    implementation_has_the_regime,
    gradients_fit_the_regime,
    release_has_the_loss,
    optimizer_steps_in_this_way,
    optimizer_gets_whole_matrices,
    fused_loss_is_listed,
    sweeps_have_no_range,
    parallel_loss_has_ranks,
    liger_has_16_bit_logits,
    biases_have_their_weights,
    modules_are_recomputed,
    modules_are_known,
    adapters_have_a_rank,
    adapters_have_matrices,
    adapters_have_gradients_of_their_own,
    adapters_are_cut_as_peft_cuts_them,
    dora_is_of_matrices,
    copies_are_of_embedding_and_head,
    copies_are_as_plain_peft_has_them,
    ends_with_adapters_are_whole,
    there_is_something_to_train,
    *OF_CHECKPOINTS,
    experts_are_one_array,
    quantised_experts_are_run,
    what_is_upcast_is_quantised,
    base_can_be_shared_out,
    chunks_hold_the_layers,
    offload_is_known,
    offload_moves_what_can_be_moved,
    dropout_is_a_share,
    arrays_of_experts_drop_nothing,
    eager_attention_repeats_keys,
    class_has_the_attention,
    moments_beside_are_known,
    weights_are_loaded_as_ranks_can,
    shards_are_saved_where_there_are_some,
    evaluation_is_stated,
)
