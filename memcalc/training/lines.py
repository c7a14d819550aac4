"""The lines of a stage's budget: what a rank holds, and at which moments of the step."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Any

from memcalc.data.constants import ZERO_3_STEP_NUMBERS, ZERO_BUCKETS
from memcalc.ledger.budget import Line
from memcalc.ledger.tensor import ceil_div, greatest, least, share
from memcalc.training.adapters import EMBEDDED
from memcalc.training.autograd.architectures import COPY_TOKENS
from memcalc.training.backward import (
    SCALARS,
    embedding_gradient,
    fullest_point,
    head_gradient,
    held_logits,
    tied_here,
)
from memcalc.training.host import gradient_buffer
from memcalc.training.layers import BEFORE_LAYERS, EMBED_NORM, is_normed, last_normal
from memcalc.training.plan import EMBEDDING
from memcalc.training.weights import shared_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from memcalc.training.plan import TrainingPlan
    from memcalc.training.stage import StageTensors
    from memcalc.training.weights import WeightShard

__all__ = ["KEPT_BY_LAYERS", "SCALES", "stage_lines"]

KEPT_BY_LAYERS = "kept by the layers"
LEFT_BEHIND = "gradients of the inputs of layers that ran, held by hooks"
FSDP_1 = "torch 2.4 to 2.13, distributed/fsdp/_runtime_utils.py: _register_post_backward_reshard_only_hook"
SCALES = "scales of quantised matrices"
END = ("backward_end",)
COLUMNS = ("component", "name", "count", "bytes", "formula", "moments")


def table(rows: Iterable[tuple[Any, ...]], **all_of_them: Any) -> Iterator[Line]:
    """Yield the rows of a table as lines; what all of them share is named once."""
    for row in rows:
        yield Line(**dict(zip(COLUMNS, row, strict=True)), **all_of_them)


def stage_lines(plan: TrainingPlan, stage: StageTensors) -> Iterator[Line]:
    """Yield everything that a rank of a stage holds of its own, with the moments at which it does."""
    yield from state_lines(plan, stage)
    if plan.parallelism.shares_weights:
        from memcalc.training.gathering import gathered_lines

        yield from gathered_lines(plan, stage)
    yield from activation_lines(plan, stage)
    yield from loss_lines(plan, stage)
    yield from backward_lines(plan, stage)
    yield from step_lines(plan, stage)


# ---- states ------------------------------------------------------------------------------------------------


def state_lines(plan: TrainingPlan, stage: StageTensors) -> Iterator[Line]:
    """Yield weights, master copy, optimizer states and gradients."""
    parallel, optimizer, always = plan.parallelism, plan.optimizer, plan.moments
    trained = stage.trained
    weights = shared_bytes(plan, stage.shards, "dealt_out", shared=parallel.shares_weights)
    master, moments = (
        shared_bytes(plan, trained, what, shared=parallel.shares_optimizer) for what in ("master", "moments")
    )
    paged = sum(one.paged for one in trained)
    buffers = plan.implementation.buffers(plan.model, plan.micro_batch)
    numbers, number_trained = counted(stage.shards), counted(trained)
    form, rope = "bytes a number x share", "inverse frequencies of RoPE, twice"
    if plan.micro_batch.architecture.rows:
        rope = "a table of sines and cosines in each layer"
    yield from table(
        [
            ("weights", "weights", numbers, weights, "bytes as stored x share", always),
            ("weights", SCALES, None, sum(one.scales for one in stage.shards), "whole on each rank", always),
            ("weights", "buffers", buffers // 4, buffers, rope, always),
        ]
    )
    yield from persistent_lines(plan, stage)
    yield from table(
        [
            ("master", "fp32 master copy", number_trained, master, form, always),
            ("optimizer", f"{optimizer.id} states", number_trained, moments - paged, form, always),
        ],
        source=optimizer.source,
    )
    gradients = shared_bytes(plan, trained, "gradient", shared=parallel.shares_gradients)
    when = ("backward_end", "step") if plan.fresh_gradients else always
    yield from table([("gradients", "gradients", number_trained, gradients, form, when)])
    if parallel.shard == 0 and parallel.states_ranks > 1 and plan.implementation.gradients is None:
        alike = [one for one in trained if one.ranks > 1]  # an expert may have no other rank
        size = sum(one.gradient for one in alike)
        form = "a copy of all gradients that ranks add up, unless gradient_as_bucket_view"
        yield from table(
            [("gradients", "DDP buckets", counted(alike), size, form, always)],
            source="torch.nn.parallel.DistributedDataParallel 2.13",
        )


def counted(shards: Iterable[WeightShard]) -> int:
    """Return how many numbers weights have."""
    return sum(one.count for one in shards)


def persistent_lines(plan: TrainingPlan, stage: StageTensors) -> Iterator[Line]:
    """Yield what the implementation allocates once and keeps from step to step."""
    layers = tuple(layer for chunk in stage.chunks for layer in chunk.layers)
    capability = None if plan.machine is None else plan.machine.device.capability
    whole = replace(plan.model, layers=layers)
    yield from gradient_buffer(plan, stage)
    for one in plan.implementation.persistent(plan.micro_batch, whole, capability):
        row = ("workspace", one.name, None, one.bytes, "allocated once", plan.moments)
        yield from table([row], source=one.source)


# ---- activations -------------------------------------------------------------------------------------------


def activation_lines(plan: TrainingPlan, stage: StageTensors) -> Iterator[Line]:
    """Yield what the forward pass keeps for the backward pass."""
    of_ends = 0 if stage.ends is None else stage.ends.kept
    shared = stage.shared_kept + (SCALARS if stage.is_last else 0)
    labels = labels_kept(plan) if stage.is_last else 0
    end, kept = ("forward_end",), ("forward_end", "loss")
    at_end = (
        stage.layers_kept
        + shared
        + of_ends
        + 8 * labels
        + sum(one.bytes for one in loss_lines(plan, stage) if "forward_end" in one.moments)
    )
    more = greatest(fullest_forward(plan, stage) - at_end, 0)
    yield from table(
        [
            ("activations", KEPT_BY_LAYERS, None, stage.layers_kept, "operation by operation", kept),
            ("activations", "RoPE, positions, scalars", None, shared, "once", kept),
            ("activations", "kept by norm and head", None, of_ends, "operation by operation", kept),
            ("activations", "labels", labels, 8 * labels, "8 B a token", end),
            (
                "temporaries",
                "fullest point of the forward pass, beyond its end",
                None,
                more,
                "simulated",
                end,
            ),
        ]
    )


def fullest_forward(plan: TrainingPlan, stage: StageTensors) -> int:
    """Return the most that is held of activations while layers run forward that have more than they keep.

    Beside what is kept there are the embedded tokens, the stream that a layer is given, ids of positions, the
    mask that all layers are given, what an earlier layer chose, and autocast's copies.
    """
    groups, most = stage.groups[stage.in_flight[-1]], 0
    there = stage.layers_kept - sum(group.kept * group.times for group in groups)
    for group in groups:
        before = there + (group.kept + group.cast) * (group.times - 1)
        if group.ran:
            most = greatest(most, before + group.ran)
        there = before + group.kept + group.cast
    if not any(group.ran for group in groups):
        return 0
    micro, layer = plan.micro_batch, stage.chunks[-1].layers[-1]
    if stage.ends is not None:
        most = greatest(most, there + stage.ends.ran)
    kept = micro.element_bytes == 4  # norms keep what they are given as it is
    masks = sum(plan.implementation.masks(micro, layer).values())
    if micro.architecture.handed_on and len(plan.model.layers) > 1:
        from memcalc.training.autograd.indexed import chosen_bytes

        masks += chosen_bytes(micro)
    return most + stage.shared_kept + stage.stream * (1 if kept else 2) + masks + 8 * micro.seq


def labels_kept(plan: TrainingPlan) -> int:
    """Return how many labels the loss keeps: shifted, so padded by one, or copied if rows are many."""
    batch, seq, single = plan.micro_batch.batch, plan.micro_batch.seq, alone(plan)
    if plan.loss.shifted:  # a copy without the first token; of one sequence it is a part of the tokens
        return batch * (seq - 1) * (1 - single)
    return batch * seq + single


def alone(plan: TrainingPlan) -> int:
    """Return 1 where a micro-batch is one sequence, else 0."""
    batch: Any = plan.micro_batch.batch
    return int(batch == 1) if type(batch) is int else batch.is_one()


def loss_lines(plan: TrainingPlan, stage: StageTensors) -> Iterator[Line]:
    """Yield the logits: kept from the forward pass on, made by the loss, held by the caller."""
    if stage.ends is None:
        return
    loss, logits = plan.loss, stage.logits - (stage.last_logits if plan.loss.shifted else 0)
    kept = loss.kept * logits * (1 + len(plan.model.mtp))
    back = share(loss.backward * logits, loss.chunks)
    both, at = ("forward_end", "loss"), ("loss",)
    rows: list[tuple[Any, ...]] = [
        ("logits", f"{loss.id}: kept", logits, kept, f"{loss.kept} B a logit", both),
        ("logits", f"{loss.id}: gradients", logits, back, f"{loss.backward} B a logit", at),
    ]
    if loss.id == "plain":
        more, name = greatest(copied_logits(plan, stage), back) - back, "copies while the loss runs forward"
        rows.append(("temporaries", name, None, more, "beyond its gradients", at))
    if loss.fused:
        made, chunk = stage.ends.result + head_gradient(plan, stage), logits_of_a_chunk(plan, stage)
        name = f"{loss.id}: gradients of stream and head"
        rows += [
            ("logits", name, None, made, "made in the forward pass", both),
            ("logits", f"{loss.id}: a chunk of logits", None, chunk, "16 bits each", at),
        ]
    yield from table(rows, source=loss.source)
    held, with_them = held_logits(plan, stage), 4 if plan.options.hold_logits else 0
    while_held, name = (*both, "backward_end", "step"), "the loss, held with them"
    yield from table(
        [
            ("logits", "held by the caller", logits, held, "until the next step", while_held),
            ("logits", name, 1, with_them, "one number of 32 bits", ("step",)),
        ]
    )


def copied_logits(plan: TrainingPlan, stage: StageTensors) -> int:
    """Return the bytes that the plain loss has beside what it keeps while it runs forward.

    The head's logits unless they are gone, the same in 32 bits, without the last tokens where a copy is
    needed for that, the labels, and autocast's copies of weights; what the caller holds has its own line.
    """
    own, held, loss = plan.micro_batch.low_bytes, plan.options.hold_logits, plan.loss
    wide = 0 if held and (loss.made_wide or own == 4) else 4 * stage.logits
    narrow = 0 if held or loss.made_wide or own == 4 else own * stage.logits
    shorter = 4 * (stage.logits - stage.last_logits) * (1 - alone(plan)) if loss.shifted else 0
    cast = sum(group.cast * group.times for groups in stage.groups for group in groups)
    cast += 0 if stage.ends is None else stage.ends.cast
    cast += cast_tokens(plan, stage)
    return wide + narrow + shorter + 8 * labels_made(plan) + cast + last_stream(plan, stage)


def cast_tokens(plan: TrainingPlan, stage: StageTensors) -> int:
    """Return the bytes of the embedded tokens in 16 bits, where autocast holds them as it does weights.

    It holds copies of leaves in 32 bits that ask for a gradient, as the tokens of a frozen embedding below
    recomputed layers do, if no norm stands between them and a matrix.
    Source: torch 2.13, aten/src/ATen/autocast_mode.cpp, cached_cast.
    """
    micro, words = plan.micro_batch, plan.micro_batch.architecture
    asked = micro.embeds_grad and micro.copies_matrices and micro.adapter(EMBEDDING) is None
    moved = words.moved_tokens or any(name in BEFORE_LAYERS for name, _ in plan.model.outside)
    reached = words.branches[0].before is None and not moved and stage.number == 0
    return stage.stream // 2 if asked and reached else 0


def labels_made(plan: TrainingPlan) -> int:
    """Return the labels that exist while the loss runs forward: those that it keeps, and the padded ones."""
    batch, seq = plan.micro_batch.batch, plan.micro_batch.seq
    if plan.loss.shifted:
        return labels_kept(plan)
    return batch * (seq + 1) + batch * seq * (1 - alone(plan))


def last_stream(plan: TrainingPlan, stage: StageTensors) -> int:
    """Return the bytes of the last norm's result, which the model holds, where the head does not keep it."""
    head, normal = EMBEDDING if plan.tied else "lm_head", last_normal(plan, stage.chunks[-1])
    micro = plan.micro_batch
    kept = micro.trained(head) and normal.element_bytes == micro.low_bytes  # else autocast's copy is
    return 0 if kept else normal.bytes


def logits_of_a_chunk(plan: TrainingPlan, stage: StageTensors) -> int:
    """Return the bytes of the logits that a fused loss makes at once."""
    if plan.loss.chunk is None:
        return 0
    batch, seq, width = stage.stream_shape
    return plan.loss.chunk(batch * seq, stage.vocab, width) * stage.vocab * plan.micro_batch.low_bytes


def backward_lines(plan: TrainingPlan, stage: StageTensors) -> Iterator[Line]:
    """Yield the fullest point of the backward pass, and its end: the embedding, which runs last."""
    point = fullest_point(plan, stage)
    name, at, end = (f"fullest point of the backward pass ({point.name})", (plan.moments[2],), END)
    yield from table(
        (part, name, None, getattr(point, part), "simulated", at)
        for part in ("gradients", "activations", "logits", "temporaries")
    )
    behind = ("activations", LEFT_BEHIND, None, point.left_behind, "batch x seq x width, layer by layer", at)
    yield from table([behind], source=FSDP_1)
    stream = stage.stream if stage.number > 0 or plan.input_grad else 0
    width = "batch x seq x width"
    yield from table([("temporaries", "gradient of the stream", None, stream, width, end)])
    if stage.number == 0 and EMBEDDED in plan.adapters:
        yield from embedding_adapter_lines(plan, stage)
    elif stage.number == 0 and plan.input_grad and not plan.trains_embedding and is_normed(plan):
        yield from embedding_norm_lines(plan, stage)
    elif stage.number == 0 and plan.input_grad and not plan.trains_embedding:
        name = "embedded tokens, as long as the loss lives"
        yield from table([("activations", name, None, stream, width, end)])
    scalars = SCALARS if stage.is_last else 0
    added, name = added_gradients(plan, stage, stream), "gradient of the embedding, added to those that exist"
    yield from table(
        [
            ("temporaries", name, None, added, "vocab x width", end),
            ("activations", "scalars", 2, scalars, "the loss and its gradient", end),
        ]
    )


def embedding_adapter_lines(plan: TrainingPlan, stage: StageTensors) -> Iterator[Line]:
    """Yield what the embedding's adapter keeps to the end, and needs while its gradients are made."""
    tape = plan.micro_batch.tape()
    plan.implementation.start(tape, plan.micro_batch, stage.chunks[0])
    own = sum(one.gradient for one in stage.trained if one.name.startswith(f"{EMBEDDING}."))
    made = tape.backward().peak - (own if plan.fresh_gradients else 0)
    yield from table(
        [
            ("activations", "kept by the embedding's adapter", None, tape.kept_bytes(), "once", END),
            ("temporaries", "gradients of the embedding's adapter", None, made, "simulated", END),
        ]
    )


def embedding_norm_lines(plan: TrainingPlan, stage: StageTensors) -> Iterator[Line]:
    """Yield embedded tokens, what their norm keeps of them, and what it makes when it runs backwards."""
    kept, made = norm_of_tokens(plan, stage)
    yield from table(
        [
            ("activations", "embedded tokens and their norm", None, kept, "once", END),
            ("temporaries", "gradient of the norm's input", None, made, "simulated", END),
        ]
    )


def norm_of_tokens(plan: TrainingPlan, stage: StageTensors) -> tuple[int, int]:
    """Return what the norm of the embedded tokens keeps, and makes beside the gradients of its weights."""
    tape = plan.micro_batch.tape()
    plan.implementation.start(tape, plan.micro_batch, stage.chunks[0])
    own = sum(one.gradient for one in stage.trained if one.name.startswith(f"{EMBED_NORM}."))
    return tape.kept_bytes(), tape.backward().peak - (own if plan.fresh_gradients else 0)


def copied_tokens(plan: TrainingPlan) -> int:
    """Return the bytes of the tokens that some classes copy, until the embedding has run backwards."""
    copies = plan.implementation.id == "transformers" and plan.model.model_type in COPY_TOKENS
    return 8 * plan.micro_batch.batch * plan.micro_batch.seq if copies and plan.trains_embedding else 0


def added_gradients(plan: TrainingPlan, stage: StageTensors, stream: int) -> int:
    """Return the bytes beside the stream's gradient while the embedding's is added to one that exists."""
    tied, fresh = tied_here(plan, stage), plan.fresh_gradients
    one = embedding_gradient(plan, stage) if stage.number == 0 else 0
    made = one * (tied + (not fresh))
    copied = copied_tokens(plan) if stage.number == 0 else 0
    most = greatest(stream + made + copied, made + one if tied else 0) - stream
    if stage.number > 0 or not plan.trains_embedding:
        return most
    before = 0  # the gradient of the scaled tokens is multiplied back, or the norm runs backwards
    if plan.micro_batch.architecture.scaled_embedding:
        before = stream + copied
    elif is_normed(plan):
        before = sum(norm_of_tokens(plan, stage))
    # that of the embedding is not there yet
    return greatest(most, before + (0 if tied and fresh else -one if fresh else tied * one))


# ---- the optimizer's step ----------------------------------------------------------------------------------


def step_lines(plan: TrainingPlan, stage: StageTensors) -> Iterator[Line]:
    """Yield what the optimizer needs besides the states: all at once, or (ZeRO-3) by groups."""
    optimizer, step = plan.optimizer, plan.moments[-1:]
    updated = shared_bytes(plan, stage.trained, "updated", shared=plan.parallelism.shares_optimizer)
    offloaded, in_groups = "optimizer" in plan.options.offload, plan.parallelism.shard == 3
    at_once = least(updated, 4 * ZERO_3_STEP_NUMBERS) if in_groups and not offloaded else updated
    if plan.optimizer_step == "foreach":
        copies, form = optimizer.copies * at_once, "as wide as what is updated"
        row = ("temporaries", "foreach: a copy of all", None, copies, form, step)
        yield from table([row], source=optimizer.source)
    elif plan.optimizer_step == "for-loop":
        arrays, form = for_loop_bytes(plan, stage), "the largest of all weights"
        row = ("temporaries", "for-loop: arrays of one weight", None, arrays, form, step)
        yield from table([row], source=optimizer.source)
    if any(one.master for one in stage.trained) and plan.widths.gradients == (2,):
        name, form = "gradients in fp32 for the master copy", "4 B a number of the share"
        source = f"{ZERO_BUCKETS.source}, {ZERO_BUCKETS.date}"
        yield from table([("temporaries", name, None, at_once, form, step)], source=source)
        if in_groups and not offloaded:
            from memcalc.training.gathering import ZERO_3

            name, form = "gradients of a group, one after the other", "2 B a number, at most sub_group_size"
            yield from table([("temporaries", name, None, at_once // 2, form, step)], source=ZERO_3)


def for_loop_bytes(plan: TrainingPlan, stage: StageTensors) -> int:
    """Return the bytes for one array in turn, and what is left of the one before it."""
    optimizer, most, before = plan.optimizer, 0, 0
    if optimizer.loop is None:
        return 0
    for one in in_order(stage.trained):
        if one.shape is None:
            continue
        ranks = one.ranks if plan.parallelism.shard == "fsdp" else 1
        mine = (ceil_div(one.shape[0], ranks), *one.shape[1:])
        flat = optimizer.inside_only and not one.inside
        most = max(most, optimizer.loop((prod(mine),) if flat else mine, one.width, before // one.width))
        before = prod(mine) * one.width
    return most


def in_order(shards: Iterable[WeightShard]) -> list[WeightShard]:
    """Return weights as a model lists its parameters: the embedding first, norm and head last."""

    def place(one: WeightShard) -> tuple[bool, bool]:
        return one.name.startswith("model.embed_"), "{layer}" in one.name

    return sorted(shards, key=place, reverse=True)
