"""SGLang: weights and pool share a fraction of what was free at the start; the rest is left for the passes.

pool = fraction x (visible - runtime) - weights. Source: sgl-project/sglang, model_executor/model_runner.py,
profile_max_num_token, read 2026-11. The pool holds one token more than it gives out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.data.constants import (
    SGLANG_GRAPHS,
    SGLANG_LOADING,
    SGLANG_NON_TORCH,
    SGLANG_NON_TORCH_ON_RANKS,
    SGLANG_REQUESTS,
)
from memcalc.errors import BadInputError
from memcalc.ledger.budget import Line
from memcalc.ledger.formats import tensor_bytes
from memcalc.ledger.tensor import least
from memcalc.serving.engines.base import (
    WHILE_SERVING,
    Engine,
    cuda_evidence,
    last_logits,
    measured_line,
    refuse_cut_blocks,
    refuse_states,
    refuse_uneven,
)
from memcalc.serving.engines.shared import absorbed_copies, inner_width, rotary_table, weight_rounding
from memcalc.serving.engines.sparse_cache import (
    FP8_DS_MLA,
    INDEX_KEYS,
    is_sparse,
    refuse_dense,
    stored_as,
    with_layouts,
)
from memcalc.serving.parallelism import ServingParallelism

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from memcalc.files.machines import Device
    from memcalc.ledger.formats import Format, Rule
    from memcalc.ledger.model import Model
    from memcalc.ledger.tensor import Tensor
    from memcalc.serving.engines.base import RankContext

__all__ = ["SGLang"]

UNMEASURED = "the count of vLLM's passes, for which no figure of SGLang was found"

INDEXERS_APART = "0.5.3"  # the first with sparse attention: its pool was sized without the indexers' keys


class SGLang(Engine):
    """Tokens one by one in a pool; KV heads are replicated where ranks exceed them."""

    id = "sglang"
    title = "SGLang"
    version = "0.5"
    versions: Mapping[str, str] = {"0.4": "0.5", "0.5": "0.5"}
    reserves = True
    note = (
        "--utilization is its mem-fraction-static (its own default is a little lower, by the device); "
        "options: chunked_prefill_size (8192 tokens), disable_cuda_graph (false), plain_fp8 (false: sparse "
        "attention's fp8 cache is fp8_ds_mla; true with the backend trtllm)"
    )
    defaults: Mapping[str, int] = {
        "chunked_prefill_size": 8192,
        "disable_cuda_graph": False,
        "plain_fp8": False,
    }
    chunk_option = "chunked_prefill_size"
    cache_formats: Mapping[str, Format] = with_layouts(FP8_DS_MLA)
    counted: Mapping[str, str] = {"chunked_prefill_size": "tokens a pass"}

    def default_parallelism(self, devices: int) -> ServingParallelism:
        """Cut every matrix over all devices."""
        return ServingParallelism(tp=devices)

    def check(self, model: Model, parallelism: ServingParallelism, rule: Rule) -> None:
        """Refuse ranks that do not divide, and windows: their pools are of sizes of their own.

        Raises:
            BadInputError: the ranks are not possible, or a layer attends to a window of the tokens only.

        """
        refuse_uneven(model, parallelism, self.id, replicates=True)
        refuse_cut_blocks(model, parallelism, rule, self.id)
        for layer in model.groups:
            for _, part in layer.parts:
                window = getattr(part, "window", None)
                if window is not None:
                    expected = "a model without sliding windows"
                    remedy = "sglang gives windowed layers a pool of their own, which is not understood yet"
                    raise BadInputError("--engine sglang", expected, f"a window of {window}", remedy)

    def prepare(self, model: Model) -> Model:
        """Refuse models that remember states."""
        refuse_states(model, self.id)
        return model

    def default_cache_format(self, model: Model, device: Device | None) -> str | None:
        """Store the cache of sparse attention in fp8 on Blackwell and later.

        Source: sgl-project/sglang, server_args.py (KV cache dtype for DeepSeek DSA), 2026-11.
        """
        capability = None if device is None else device.capability
        blackwell = capability is not None and int(capability.partition(".")[0]) >= 10
        return FP8_DS_MLA.id if blackwell and is_sparse(model) else None

    def cache_layout(self, model: Model, form: Format, options: Mapping[str, int]) -> Format:
        """Take fp8 of sparse attention for DeepSeek's layout; the backend trtllm alone has plain fp8.

        Source: sgl-project/sglang, calculate_mla_kv_cache_dim, 2026-11.
        """
        deepseeks = form.id == "fp8" and not options["plain_fp8"] and is_sparse(model)
        return FP8_DS_MLA if deepseeks else form

    def cache_format(self, tensor: Tensor, layout: Format) -> Format:
        """Return how a tensor of a cache is stored: sparse attention has layouts of its own."""
        return stored_as(tensor, layout)

    def check_cache_formats(self, model: Model, keys: Format, values: Format) -> None:
        """Refuse a layout of sparse attention for another model."""
        refuse_dense(model, keys, values, self.id)

    def cache(self, stage: Model, batch: int, tokens: int, options: Mapping[str, int]) -> Iterator[Tensor]:
        """Yield the pool's cells: before sgl-project/sglang#11309 the keys of indexers were not in them."""
        for tensor in super().cache(stage, batch, tokens, options):
            if not (self.release.startswith(INDEXERS_APART) and tensor.name.endswith(INDEX_KEYS)):
                yield tensor

    def kept(self, context: int, window: int | None) -> int:
        """Keep everything."""
        return context

    def constant_lines(self, rank: RankContext) -> Iterator[Line]:
        """Yield what is loaded besides the weights, the runtime in its two shares, and the graphs."""
        yield from rotary_table(rank)
        yield from absorbed_copies(rank)
        yield weight_rounding(rank)
        yield from non_torch(rank)
        yield measured_line(
            "loading workspaces", SGLANG_LOADING, formula="workspaces", evidence=cuda_evidence(rank)
        )
        yield from request_table(rank)
        if not rank.options["disable_cuda_graph"]:
            yield measured_line(
                "CUDA graphs",
                SGLANG_GRAPHS,
                formula="captured graphs",
                evidence=cuda_evidence(rank),
                outside=True,
            )

    def growing_lines(self, rank: RankContext, batch: int, prompt: int) -> Iterator[Line]:
        """Yield a pass's temporaries and the last tokens' logits, on top of the share."""
        width, element = inner_width(rank), rank.element_bytes
        tokens = least(batch * prompt, rank.options["chunked_prefill_size"])
        yield Line(
            component="activations",
            name="widest part of a prefill pass",
            count=tokens * width,
            bytes=width * element * tokens,
            formula=f"{tokens} tokens x {width} numbers x {element} B",
            moments=("prefill",),
            evidence="assumed",
            source=UNMEASURED,
            outside=True,
        )
        if rank.stage.logits_width is not None:
            yield last_logits(rank, batch, outside=True)
        if self.release.startswith(INDEXERS_APART):
            yield from index_keys(rank, batch, prompt)


def non_torch(rank: RankContext) -> Iterator[Line]:
    """Yield what lies outside PyTorch's allocator: the pool is a share of what it leaves free."""
    several = rank.parallelism.tp * rank.parallelism.pp > 1
    whole = SGLANG_NON_TORCH_ON_RANKS if several else SGLANG_NON_TORCH
    above, below = rank.share
    inside = [size * above // below for size in whole[:3]]
    rest = [size - taken for size, taken in zip(whole[:3], inside, strict=True)]
    for name, sizes, outside in (("in the share", inside, False), ("on top of it", rest, True)):
        low, typical, high = sizes
        yield measured_line(
            f"outside PyTorch's allocator, {name}",
            whole._replace(low=low, typical=typical, high=high),
            formula="context + communicators",
            evidence=cuda_evidence(rank),
            outside=outside,
        )


def index_keys(rank: RankContext, batch: int, tokens: int) -> Iterator[Line]:
    """Yield the indexers' keys of sequences where the share does not count them."""
    for tensor in rank.stage.cache(batch, tokens):
        if tensor.name.endswith(INDEX_KEYS):
            form = stored_as(tensor, FP8_DS_MLA)
            yield Line(
                component="kv_cache",
                name=f"{tensor.name}, beside the pool",
                count=tensor.count,
                bytes=tensor_bytes(tensor, form),
                formula=f"{tensor.layers} x {tokens} tokens as {form.id}",
                moments=WHILE_SERVING,
                source="sgl-project/sglang#11309: 54.52 GiB for 1,462,784 tokens, 2025-10",
                outside=True,
            )


def request_table(rank: RankContext) -> Iterator[Line]:
    """Yield the table that says where each token of each request lies, on top of the share."""
    context, rows = rank.stage.max_context, SGLANG_REQUESTS
    if context is not None:
        low, typical, high = (number * (context + 4) * 4 for number in rows[:3])
        yield measured_line(
            "request-to-token table",
            rows._replace(low=low, typical=typical, high=high),
            formula=f"{rows.low} to {rows.high} requests x ({context} + 4) positions x 4 B",
            evidence="assumed",
            outside=True,
        )
