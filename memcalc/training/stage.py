"""The tensors of one pipeline stage: weights on a rank, and what the micro-batches in flight keep."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from memcalc.data.record import Record, record
from memcalc.training.layer_runs import tables_bytes
from memcalc.training.layers import Ends, LayerGroup, run_ends, stream_bytes, stream_shape
from memcalc.training.plan import EMBEDDING
from memcalc.training.weights import WeightShard, weight_shards

if TYPE_CHECKING:
    from collections.abc import Iterable

    from memcalc.ledger.model import Model
    from memcalc.training.layer_runs import LayerRuns
    from memcalc.training.plan import TrainingPlan

__all__ = ["StageTensors", "checkpoint_bytes", "chunks_of", "kept_by", "stage_tensors", "stages_asked"]


@record
class StageTensors(Record):
    """What each rank of a pipeline stage holds and keeps.

    `chunks` are the models of the stage's chunks of layers, `groups` their layers as groups of equal ones.
    `in_flight` lists the chunks whose activations are kept when most are, in the order in which they were
    run. `layers_kept` are the bytes that layers keep of all of these, `shared_kept` those beside the layers:
    what precedes the first one, RoPE's tables, positions that checkpoints hold on to. `ends` are None but for
    the last stage. `logits` are the numbers of one micro-batch's logits, `last_logits` those of the last
    token of each sequence, `stream_shape` the sequences, tokens and width of its residual stream, `stream`
    its bytes.
    """

    number: int
    chunks: tuple[Model, ...]
    shards: tuple[WeightShard, ...]
    groups: tuple[list[LayerGroup], ...]
    in_flight: list[int]
    layers_kept: int
    shared_kept: int
    ends: Ends | None
    logits: int
    last_logits: int
    stream_shape: tuple[int, int, int]
    stream: int

    @property
    def is_last(self) -> bool:
        """Whether the stage ends in the loss."""
        return self.ends is not None

    @property
    def trained(self) -> list[WeightShard]:
        """The weights that get a gradient."""
        return [one for one in self.shards if one.trained]

    @property
    def vocab(self) -> int:
        """Rows of the head."""
        return self.chunks[-1].logits_width or 0


def stages_asked(plan: TrainingPlan) -> range:
    """Return the numbers of the stages among which the fullest is looked for."""
    pp = plan.parallelism.pp
    return {"first": range(1), "last": range(pp - 1, pp)}.get(plan.options.rank, range(pp))


def chunks_of(plan: TrainingPlan) -> list[tuple[Model, ...]]:
    """Return the chunks of each stage: models with fewer layers, ends where they belong."""
    pp, vpp = plan.parallelism.pp, plan.parallelism.vpp
    chunks, first = [], 0
    for number in plan.pipeline_layout:
        chunks.append(plan.apart.stage(first, first + number))
        first += number
    if plan.model.mtp:  # after the last layer; it looks tokens up and gives logits of its own
        end, table = chunks[-1], dict(plan.model.outside)[EMBEDDING]
        outside = tuple({EMBEDDING: table, **dict(end.outside)}.items())
        chunks[-1] = replace(end, layers=(*end.layers, *plan.model.mtp), outside=outside)
    return [tuple(chunks[stage + pp * turn] for turn in range(vpp)) for stage in range(pp)]


def in_flight(plan: TrainingPlan, number: int) -> list[int]:
    """Return the chunks of a stage whose activations are kept when most are, in the order of their run."""
    parallel, accumulate = plan.parallelism, plan.options.accumulate
    at_once = min(parallel.pp, accumulate)  # micro-batches that a chunk runs before the next one
    steps = range(parallel.in_flight(number, accumulate))
    return [(step // at_once) % parallel.vpp for step in steps]


def kept_by(groups: Iterable[LayerGroup]) -> int:
    """Return the bytes that groups of layers keep of one micro-batch."""
    return sum(group.kept * group.times for group in groups)


def stage_tensors(
    plan: TrainingPlan, number: int, chunks: tuple[Model, ...], runs: LayerRuns
) -> StageTensors:
    """Return what each rank of a stage holds and keeps."""
    grad, groups = number > 0 or plan.input_grad, []
    for chunk in chunks:
        found, grad = runs.groups(chunk.layers, grad=grad)
        groups.append(found)
    flows = any(group.differentiated for found in groups for group in found)
    flight, is_last = in_flight(plan, number), number == plan.parallelism.pp - 1
    batch, seq, _ = of_stream = stream_shape(plan)
    of_head, tape = plan.micro_batch.head_tokens, plan.micro_batch.tape()
    vocab, rows = chunks[-1].logits_width or 0, seq if of_head is None else of_head
    logits, last = (
        tape.value("logits", (batch, tokens, vocab), 1, grad=True, region="logits").bytes
        for tokens in (rows, 1)
    )
    handed = sum(group.handed * group.times for chunk in flight for group in groups[chunk])
    started = started_bytes(plan, chunks[0]) * flight.count(0) if number == 0 else 0
    tables = tables_bytes(group for found in groups for group in found)
    return StageTensors(
        number=number,
        chunks=chunks,
        shards=tuple(one for chunk in chunks for one in weight_shards(plan, chunk)),
        groups=tuple(groups),
        in_flight=flight,
        layers_kept=sum(kept_by(groups[chunk]) for chunk in flight),
        shared_kept=started + tables + (checkpoint_bytes(plan) if flows else 0) + handed,
        ends=run_ends(plan, chunks[-1], grad=plan.input_grad or flows) if is_last else None,
        logits=logits,
        last_logits=last,
        stream_shape=of_stream,
        stream=stream_bytes(plan),
    )


def started_bytes(plan: TrainingPlan, first: Model) -> int:
    """Return the bytes kept of what precedes the first layer, of one micro-batch."""
    tape = plan.micro_batch.tape()
    plan.implementation.start(tape, plan.micro_batch, first)
    return tape.kept_bytes()


def checkpoint_bytes(plan: TrainingPlan) -> int:
    """Return the bytes that all checkpoints hold together, besides their inputs."""
    if plan.options.recompute != "full":
        return 0
    return plan.implementation.checkpointed(plan.micro_batch, plan.model)
