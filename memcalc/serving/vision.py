"""The vision tower where an engine loads it, in 16 bits, and what an engine keeps of what it has seen.

Sources, read 2026-11: vllm-project/vllm, model_executor/models/siglip.py (cut among tensor-parallel ranks
unless mm_encoder_tp_mode is "data"), v1/core/encoder_cache_manager.py and v1/worker/gpu_model_runner.py (the
profile run fills the encoder cache: as many tokens as max_num_batched_tokens, or those of one image if they
are more; logs print it as a budget); ggml-org/llama.cpp, tools/mtmd (--mmproj, a file beside the model's).
What the tower needs on its way is not counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.ledger.budget import Line
from memcalc.serving.engines.base import ALWAYS, WHILE_SERVING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memcalc.ledger.tensor import Tensor
    from memcalc.serving.engines.base import Engine, RankContext

__all__ = ["vision_lines"]

SOURCES = {
    "vllm": "vllm-project/vllm model_executor/models, 2026-11",
    "sglang": "sgl-project/sglang srt/models, 2026-11",
    "llama.cpp": "ggml-org/llama.cpp convert_hf_to_gguf.py (MmprojModel): f16, and f32 for one axis, 2026-11",
}
CUT = ("vllm", "vllm-ascend", "mindie", "sglang")  # engines that cut the tower among ranks
DEEPSTACK = "deepstack."  # mergers of inner layers, as readers name them
CACHING = ("vllm", "vllm-ascend")
ENCODER_CACHE = "vllm-project/vllm v1/core/encoder_cache_manager.py, 2026-11"


def vision_lines(engine: Engine, rank: RankContext) -> Iterator[Line]:
    """Yield the vision tower on one device, and vLLM's encoder cache.

    Parameters
    ----------
    engine : Engine
        What serves the model, and loads its tower.
    rank : RankContext
        The device, and the stage that it holds; the tower stands on the first one.

    """
    whole = list(rank.stage.vision_weights())
    if not whole:
        return
    ranks, cut = rank.parallelism, engine.id in CUT
    mine = [ranks.on_rank(tensor) if cut else tensor for tensor in whole]
    size, most = (sum(array_bytes(engine, rank, one) for one in tensors) for tensors in (mine, whole))
    yield Line(
        component="weights",
        name="vision tower",
        count=sum(tensor.count for tensor in mine),
        bytes=size,
        formula=f"{rank.stage.vision_parameters} parameters in 16 bits, what ranks share of them once",
        moments=ALWAYS,
        evidence="exact" if size == most and engine.id not in SOURCES else "assumed",
        source=SOURCES.get(engine.id, "derived from the tensors' shapes"),
        high=most if size != most else None,
    )
    if engine.id in CACHING and engine.since(0, 8):  # V1
        levels = sum(each.times for each in rank.stage.vision if each.parts[0][0].startswith(DEEPSTACK))
        yield encoder_cache(rank, levels)
        if levels:
            yield deepstack_buffers(rank, levels)


def array_bytes(engine: Engine, rank: RankContext, tensor: Tensor) -> int:
    """Return the bytes of a tensor of the tower: llama.cpp's files hold what has one axis in 32 bits."""
    single = engine.id == "llama.cpp" and len(tensor.shape) == 1
    return tensor.count * (4 if single else rank.element_bytes)


def stream_width(rank: RankContext) -> int:
    """Return the width of the text model's stream."""
    width: int = dict(rank.stage.outside)["model.embed_tokens"].width  # type: ignore[attr-defined]
    return width


def deepstack_buffers(rank: RankContext, levels: int) -> Line:
    """Return where the tower's inner vectors wait to be added to the first layers of the text model."""
    tokens, width = rank.options["max_num_batched_tokens"], stream_width(rank)
    return Line(
        component="activations",
        name="deepstack buffers",
        count=levels * tokens * width,
        bytes=levels * tokens * width * rank.element_bytes,
        formula=f"{levels} x {tokens} tokens x {width} x {rank.element_bytes} B",
        moments=ALWAYS,
        source="vllm-project/vllm model_executor/models/qwen3_vl.py (deepstack_input_embeds), 2026-11",
    )


def encoder_cache(rank: RankContext, levels: int) -> Line:
    """Return what the profile run keeps of the images that it has seen: embeddings as wide as the model.

    Vectors from `levels` inner layers of the tower stand beside each.
    """
    tokens = rank.options["max_num_batched_tokens"]
    width = (1 + levels) * stream_width(rank)
    size = tokens * width * rank.element_bytes
    return Line(
        component="activations",
        name="encoder cache",
        count=tokens * width,
        bytes=size,
        formula=f"{tokens} tokens x {width} x {rank.element_bytes} B at most",
        moments=WHILE_SERVING,
        evidence="assumed",
        source=ENCODER_CACHE,
        low=0,
        high=size,
    )
