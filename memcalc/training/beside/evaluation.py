"""What an evaluation between steps holds: a forward pass, the loss, and the logits that metrics ask for.

Source: huggingface/transformers v5.23, trainer.py (evaluation_loop, prediction_step), trainer_pt_utils.py
(EvalLoopContainer, nested_concat); TrainingArguments: use_cache is off, so that no cache is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.ledger.budget import Line
from memcalc.training.beside.moment import Beside, all_along, in_host, on_device
from memcalc.training.methods.forward import forward_pass

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memcalc.training.methods.forward import ForwardPass
    from memcalc.training.plan import TrainingPlan
    from memcalc.training.stage_estimate import StageEstimate

__all__ = ["evaluation"]

TRAINER = "huggingface/transformers v5.23, trainer.py: evaluation_loop, prediction_step; loss/loss_utils.py"
NUMPY = "huggingface/transformers v5.23, trainer_pt_utils.py: nested_numpify, EvalLoopContainer"
CONTAINER = "huggingface/transformers v5.23, trainer_pt_utils.py: EvalLoopContainer, nested_concat"
LOSS_ALONE = "--evaluate loss: prediction_loss_only, or no compute_metrics"
REDUCED = "preprocess_logits_for_metrics: what metrics need of the logits (argmax), before they are gathered"
SMALLER = "--eval-batch 1: per_device_eval_batch_size"
SOONER = "--eval-accumulation-steps 1: the logits of each batch move to the host's memory at once"


def evaluation(plan: TrainingPlan, held: StageEstimate) -> Iterator[Beside]:
    """Yield what the evaluation of a plan holds on a device, and in the host's memory if logits are kept."""
    options = plan.options
    sequences = options.eval_batch or 1
    ran = forward_pass(plan, sequences, adapted=True)
    metrics = options.evaluate == "metrics"
    lines = [*all_along(plan, held, "device"), *forward_lines(plan, held, ran, sequences)]
    if metrics:
        lines.append(kept_line(plan, ran))
    many = () if sequences == 1 else (SMALLER,)
    late = (SOONER,) if options.eval_accumulation_steps not in (None, 1) else ()
    yield on_device(plan, "evaluate", lines, ((LOSS_ALONE, REDUCED, *late) if metrics else ()) + many)
    if metrics:
        lines = [*all_along(plan, held, "host"), times_kept(plan, ran)]
        yield in_host(plan, "evaluate", lines, (LOSS_ALONE, REDUCED))


def forward_lines(
    plan: TrainingPlan, held: StageEstimate, ran: ForwardPass, sequences: int
) -> Iterator[Line]:
    """Yield the fullest point of the forward pass: in the layers, or while the loss looks at the logits."""
    most = max(ran.peak, loss_bytes(plan, ran, sequences))
    name, form = "forward pass without gradients, and the loss", "simulated; 2 + 4 + 4 B a logit"
    high = most + ran.open if ran.open else None
    yield Line("logits", name, most, None, form, source=TRAINER, high=high)
    gathered = [line for line in held.device.lines if line.component == "gathered"]
    always = set(plan.moments)
    for line in gathered:
        if plan.moments[0] in line.moments and not always <= set(line.moments):
            yield line
    layers = [group.gathered for groups in held.tensors.groups for group in groups]
    if plan.parallelism.shard == "fsdp" and gathered:  # a layer, and the next one ahead; at the loss none
        name = "two layers, whole, until the last has run"
        yield Line("gathered", name, 0, evidence="assumed", source=TRAINER, low=0, high=2 * max(layers))


def logits_of(plan: TrainingPlan, ran: ForwardPass) -> int:
    """Return how many logits a forward pass returns: under autocast accelerate widens them to 32 bits."""
    return ran.logits // (4 if plan.micro_batch.autocast else plan.micro_batch.element_bytes)


def loss_bytes(plan: TrainingPlan, ran: ForwardPass, sequences: int) -> int:
    """Return what the loss holds: the head's logits, the same in 32 bits, and their log-softmax; labels.

    The last norm's result lives beside it, and autocast's copies of weights.
    """
    micro, logits = plan.micro_batch, logits_of(plan, ran)
    made = micro.low_bytes if micro.autocast else micro.element_bytes
    narrow = 0 if made == 4 else made * logits
    labels = sequences * (micro.seq + 1) + (0 if sequences == 1 else sequences * micro.seq)
    width = held_width(plan)
    return ran.copies + narrow + 2 * 4 * logits + 8 * labels + sequences * micro.seq * width


def held_width(plan: TrainingPlan) -> int:
    """Return the bytes of a token in the residual stream."""
    from memcalc.training.layers import stream_shape

    return stream_shape(plan)[2] * plan.micro_batch.element_bytes


def gathered_logits(plan: TrainingPlan, ran: ForwardPass) -> int:
    """Return the bytes of a batch's logits of all ranks, which each rank gathers."""
    return plan.parallelism.world * ran.logits


def kept_line(plan: TrainingPlan, ran: ForwardPass) -> Line:
    """Return the logits of former batches, and what is more than the forward pass while others are added.

    While a batch runs, those before it are there, and the last one twice, as itself and among them; then each
    rank gathers all ranks', and puts them behind the others in a new array.
    """
    batches, one = plan.options.eval_accumulation_steps or 1, gathered_logits(plan, ran)
    before = (batches - 1) * one + (one if batches > 2 else 0)
    gather = (batches - 1) * one + one + (ran.logits if plan.parallelism.world > 1 else 0)
    joined = 2 * batches * one if batches > 1 else one
    forward = max(ran.peak, loss_bytes(plan, ran, plan.options.eval_batch or 1))
    more = max(before, gather - forward, joined - forward)
    name, form = "logits of batches that are kept", f"{batches:,} batches x {plan.parallelism.world:,} ranks"
    return Line("logits", name, max(0, more), None, form, source=CONTAINER)


def times_kept(plan: TrainingPlan, ran: ForwardPass) -> Line:
    """Return the logits that all ranks have moved to the host: those of the first batches alone.

    NumPy has no bf16: such logits are there once more while they are widened. Once more batches come, the
    arrays are joined, and all that were kept are there twice meanwhile.
    """
    batches, world = plan.options.eval_accumulation_steps or 1, plan.parallelism.world
    count, narrow = batches * world * world * logits_of(plan, ran), ran.logits < 4 * logits_of(plan, ran)
    further = "each further batch adds as much, and twice as much while arrays are joined"
    name, form = (
        f"logits of {batches:,} batches on every rank; {further}",
        "4 B each, 2 B while widened" if narrow else "4 B each",
    )
    return Line("logits", name, (6 if narrow else 4) * count, count, form, source=NUMPY)
