"""The arguments of a Megatron-LM run as options of a training plan.

Source: NVIDIA/Megatron-LM at d98e8a64 (2026-08-22), megatron/training/arguments.py.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from memcalc.errors import BadInputError
from memcalc.files.readers.megatron import OPTIONS, plain

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["model_and_options"]

# the options that take Megatron's value as it is
SAME = {
    "seq_length",
    "micro_batch_size",
    "tensor_model_parallel_size",
    "pipeline_model_parallel_size",
    "context_parallel_size",
    "expert_model_parallel_size",
    "expert_tensor_parallel_size",
    "num_virtual_stages_per_pipeline_rank",
    "sequence_parallel",
    "recompute_granularity",
    "cp_comm_type",
}


def model_and_options(
    arguments: Mapping[str, object], world: int
) -> tuple[dict[str, object], dict[str, Any]]:
    """Part the arguments of a run into those of its model and the options of `memcalc.train`.

    What a script leaves open is as Megatron's own defaults: dropout 0.1, one micro-batch if no global batch
    is stated, attention in one kernel.

    >>> arguments = {"num-layers": 12, "hidden-size": 512, "seq-length": 1024, "hidden-dropout": 0.0}
    >>> model_and_options(arguments, world=8)[1]
    {'implementation': 'megatron', 'world': 8, 'seq': 1024, 'dropout': 0.0}

    Raises:
        BadInputError: two kinds of dropout differ, or the batch is no multiple of what the ranks hold.

    """
    fields = plain(arguments)
    model = {name: value for name, value in fields.items() if name not in OPTIONS}
    asked: dict[str, Any] = {"implementation": "megatron", "world": world}
    asked |= {OPTIONS[field]: fields[field] for field in OPTIONS if field in SAME and field in fields}
    if "seq" not in asked and "max_position_embeddings" in fields:
        asked["seq"] = fields["max_position_embeddings"]
    if number(asked, "tp") == 1:
        asked.pop("sequence_parallel", None)  # Megatron switches it off
    if number(asked, "cp") == 1:
        asked.pop("context_exchange", None)  # no ranks exchange
    asked |= translated(fields, number(asked, "tp"))
    if "global_batch_size" in fields:
        each = number(asked, "micro_batch") * (
            world // prod(number(asked, name) for name in ("tp", "pp", "cp"))
        )
        total = number(fields, "global_batch_size")
        if total % each:
            expected = f"a multiple of {each}, one micro-batch on each rank"
            raise BadInputError("global_batch_size", expected, total, "correct the run")
        asked["accumulate"] = total // each
    if "num_layers_per_virtual_pipeline_stage" in fields:
        held = number(fields, "num_layers_per_virtual_pipeline_stage") * number(asked, "pp")
        asked["vpp"] = number(fields, "num_layers") // held
    return model, asked


def number(fields: Mapping[str, object], name: str) -> int:
    """Return a count, 1 where none is stated.

    Raises:
        BadInputError: it is no whole number >= 1.

    """
    value = fields.get(name, 1)
    if type(value) is not int or value < 1:
        raise BadInputError(name, "a whole number >= 1", value, "correct the run")
    return value


def translated(fields: Mapping[str, object], tp: int) -> dict[str, object]:
    """Return the options that say in other words what a run's arguments say.

    Raises:
        BadInputError: two kinds of dropout differ.

    """
    found: dict[str, object] = {}
    stated = [fields[name] for name in ("attention_dropout", "hidden_dropout") if name in fields]
    if stated:
        if stated[0] != stated[-1]:
            given = " and ".join(map(str, stated))
            raise BadInputError("hidden_dropout", "as attention_dropout", given, "a plan has one --dropout")
        found["dropout"] = stated[0]
    if "use_distributed_optimizer" in fields:
        found["shard"] = 1
    if "cross_entropy_loss_fusion" in fields:
        native = fields.get("cross_entropy_fusion_impl", "native") == "native"
        found["loss"] = "megatron-fused" if native else "te-fused"
    if fields.get("attention_backend") in ("unfused", "local"):
        found["attention"] = "eager"
    if "make_vocab_size_divisible_by" in fields:
        found["vocab_multiple"] = number(fields, "make_vocab_size_divisible_by") * tp
    if "recompute_modules" in fields:
        modules = fields["recompute_modules"]
        found["recompute_modules"] = tuple(modules if isinstance(modules, list) else str(modules).split(","))
    words = [str(fields.get("moe_token_dispatcher_type", "allgather"))]
    if "num_experts" in fields:
        found["experts"] = ",".join([*words, "grouped"] if "moe_grouped_gemm" in fields else words)
    if "no_gradient_accumulation_fusion" in fields:
        found["gradient_fusion"] = False
    return found
