"""SGLang: weights and pool share a fraction of what was free at the start; the rest is left for the passes.

pool = fraction x (visible - runtime) - weights. Source: sgl-project/sglang, model_executor/model_runner.py,
profile_max_num_token, read 2026-11. The pool holds one token more than it gives out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.errors import BadInputError
from memcalc.ledger.budget import Line
from memcalc.ledger.parallel import Split
from memcalc.ledger.tensor import least
from memcalc.serving.engines.base import (
    Engine,
    cuda_evidence,
    refuse_cut_blocks,
    refuse_states,
    refuse_uneven,
)
from memcalc.serving.engines.shared import absorbed_copies, passing_width, rests_of_blocks, rotary_table
from memcalc.serving.engines.vllm import SWEEP

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from memcalc.ledger.formats import Rule
    from memcalc.ledger.model import Model
    from memcalc.serving.engines.base import Step

__all__ = ["SGLang"]

GIB = 2**30
# GiB beside PyTorch's allocator before weights are loaded, on one device and on several: least, typical, most
ALONE, TOGETHER = (0.37, 0.5, 0.82), (0.84, 2.1, 3.81)
LOADING = (0.11, 0.12, 0.13)  # GiB that are gone after loading, beside the weights
RUNTIME_SOURCE = (
    "logs of sgl-project.github.io (H100, 0.4.2 and 0.5), 2025; jerryzsj/my-deepseek-r1 (RTX 3090), 2025-02; "
    "several: vllm-project/vllm#21348 (4 x H100), most: 8 x MI355X, ajith-sirra-amd/Issues, 2026-02"
)
GRAPHS, GRAPHS_SOURCE = (
    (0.06, 0.9, 1.85),
    f"least: SGLang's own logs for 4 sequences; else as vLLM's, {SWEEP}",
)
REQUESTS = 2048, 4096  # rows of the table of requests: least and most
TABLE = "sgl-project/sglang mem_cache/memory_pool.py, ReqToTokenPool: int32, 2026-11"
UNMEASURED = "the count of vLLM's passes, for which no figure of SGLang was found"


class SGLang(Engine):
    """Tokens one by one in a pool; KV heads are replicated where ranks exceed them."""

    id = "sglang"
    version = "0.5"
    versions = (("0.4", "0.5"), ("0.5", "0.5"))
    reserves = True
    note = (
        "--utilization is its mem-fraction-static (its own default is a little lower, by the device); "
        "options: chunked_prefill_size (8192 tokens), disable_cuda_graph (false)"
    )
    defaults: Mapping[str, int] = {"chunked_prefill_size": 8192, "disable_cuda_graph": False}
    chunk_option = "chunked_prefill_size"

    def default_split(self, devices: int) -> Split:
        """Cut every matrix over all devices."""
        return Split(tp=devices)

    def check(self, model: Model, split: Split, rule: Rule) -> None:
        """Refuse ranks that do not divide, and windows: their pools are of sizes of their own.

        Raises:
            BadInputError: the split is not possible, or a layer sees a window of the tokens only.

        """
        refuse_uneven(model, split, self.id, replicates=True)
        refuse_cut_blocks(model, split, rule, self.id)
        for layer in model.groups:
            for _, part in layer.parts:
                window = getattr(part, "window", None)
                if window is not None:
                    expected = "a model whose layers see all tokens"
                    remedy = "sglang gives windowed layers a pool of their own, which is not understood yet"
                    raise BadInputError("--engine sglang", expected, f"a window of {window}", remedy)

    def kept(self, context: int, window: int | None) -> int:
        """Keep everything."""
        del window
        return context

    def held(self, model: Model) -> Model:
        """Refuse models that remember states."""
        refuse_states(model, self.id)
        return model

    def constant_lines(self, step: Step) -> Iterator[Line]:
        """Yield what is loaded beside the weights, the runtime in its two shares, and the graphs."""
        yield from rotary_table(step)
        yield from absorbed_copies(step)
        yield rests_of_blocks(step)
        sizes = ALONE if step.split.tp * step.split.pp == 1 else TOGETHER
        low, typical, high = (int(size * GIB) for size in sizes)
        evidence, share = cuda_evidence(step), step.share
        ends = [(size * share[0] // share[1], size) for size in (low, typical, high)]
        names = ("outside PyTorch's allocator, in the share", "outside PyTorch's allocator, on top of it")
        for name, outside in zip(names, (False, True), strict=True):
            low, typical, high = (whole - inside if outside else inside for inside, whole in ends)
            formula = "context + communicators"
            yield Line(
                component="runtime",
                name=name,
                bytes=typical,
                formula=formula,
                evidence=evidence,
                source=RUNTIME_SOURCE,
                low=low,
                high=high,
                outside=outside,
            )
        low, typical, high = (int(size * GIB) for size in LOADING)
        name, formula = "taken while loading", "workspaces"
        yield Line(
            component="runtime",
            name=name,
            bytes=typical,
            formula=formula,
            evidence=evidence,
            source=RUNTIME_SOURCE,
            low=low,
            high=high,
        )
        yield from requests(step)
        if not step.options["disable_cuda_graph"]:
            low, typical, high = (int(size * GIB) for size in GRAPHS)
            name, formula = "CUDA graphs", "captured graphs"
            yield Line(
                component="runtime",
                name=name,
                bytes=typical,
                formula=formula,
                evidence=evidence,
                source=GRAPHS_SOURCE,
                low=low,
                high=high,
                outside=True,
            )

    def growing_lines(self, step: Step, batch: int, prompt: int) -> Iterator[Line]:
        """Yield a pass's temporaries and the last tokens' logits, on top of the share."""
        wide = passing_width(step)
        passing = least(batch * prompt, step.options["chunked_prefill_size"])
        size = passing * wide * step.element_bytes
        formula = f"{passing} tokens x {wide} numbers x {step.element_bytes} B"
        name = "widest part of a prefill pass"
        yield Line(
            component="activations",
            name=name,
            count=passing * wide,
            bytes=size,
            formula=formula,
            moments=("prefill",),
            evidence="assumed",
            source=UNMEASURED,
            outside=True,
        )
        vocab = step.stage.logits_width
        if vocab is not None:
            size = batch * vocab * (step.element_bytes + 4)
            formula = f"{batch} x {vocab} x ({step.element_bytes} + 4) B: the last token, and its fp32 copy"
            name, live = "logits of the last token", ("prefill", "decode")
            yield Line(
                component="logits",
                name=name,
                count=batch * vocab,
                bytes=size,
                formula=formula,
                moments=live,
                outside=True,
            )


def requests(step: Step) -> Iterator[Line]:
    """Yield the table that says where each token of each request lies, on top of the share."""
    if step.stage.max_context is not None:
        low, high = (rows * (step.stage.max_context + 4) * 4 for rows in REQUESTS)
        formula = f"{REQUESTS[0]} to {REQUESTS[1]} requests x ({step.stage.max_context} + 4) positions x 4 B"
        name = "table of requests and positions"
        yield Line(
            component="runtime",
            name=name,
            bytes=low,
            formula=formula,
            evidence="assumed",
            source=TABLE,
            low=low,
            high=high,
            outside=True,
        )
