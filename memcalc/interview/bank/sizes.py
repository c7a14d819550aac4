"""What the ledger says of a model that is served, in the pieces that questions ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memcalc.files.api import model as load_model
from memcalc.interview.facts import device_facts, model_facts
from memcalc.serving.api import serve

if TYPE_CHECKING:
    from types import SimpleNamespace

__all__ = ["cache", "experts", "is_within", "kib", "lines", "on_rank", "pool", "stored_in", "weights"]


def weights(model: str, form: str = "bf16", **options: Any) -> int:
    """Return the bytes of a model's weights in a format.

    >>> weights("Qwen/Qwen3-8B") == 2 * 8_190_735_360
    True
    """
    return serve(model, context=1, weights=form, **options).weights_file_bytes


def stored_in(model: str, form: str, found: str, **options: Any) -> int:
    """Return how many numbers of a model lie in one format, if its weights are stored in another.

    >>> stored_in("Qwen/Qwen3-8B", "gptq-int4-g128", "bf16") > 2 * 151_936 * 4096
    True
    """
    plan = serve(model, context=1, weights=form, **options).plan
    return sum(tensor.count for tensor in plan.model.weights() if plan.rule(tensor).id == found)


def cache(model: str, context: int, batch: int = 1, **options: Any) -> int:
    """Return the bytes of a KV cache, as the architecture needs it.

    >>> cache("Qwen/Qwen3-32B", 32_768) == 8 * 2**30
    True
    """
    return serve(model, context=context, batch=batch, **options).cache_bytes


def kib(drawn: SimpleNamespace) -> int:
    """Return the KiB of 16-bit cache that a token of the drawn model takes.

    >>> from types import SimpleNamespace
    >>> kib(SimpleNamespace(model="Qwen/Qwen3-32B"))
    256
    """
    return cache(drawn.model, 1) // 2**10


def on_rank(model: str, context: int, batch: int = 1, **options: Any) -> int:
    """Return the bytes of the cache on the fullest device of an engine, by default vLLM.

    >>> on_rank("Qwen/Qwen3-32B", 32_768, tp=8) == 2**30
    True
    """
    served = serve(model, context=context, batch=batch, **{"engine": "vllm", **options})
    return served.device.components["kv_cache"]


def pool(model: str, size: int) -> int:
    """Return the tokens for which vLLM has room in a pool of so many bytes.

    >>> pool("Qwen/Qwen3-32B", 20 * 2**30)
    81920
    """
    served = serve(
        model, context=16, engine="vllm", on="1x 1000GiB", engine_options={"kv_cache_memory": size}
    )
    return 0 if served.kv_pool is None else served.kv_pool.tokens


def lines(model: str, text: str, context: int = 16, **options: Any) -> int:
    """Return the bytes of those lines of a device whose names hold a text.

    >>> lines("Qwen/Qwen3-8B", "logits of the last token") == 6 * 151_936
    True
    """
    served = serve(model, context=context, **options)
    return sum(line.bytes for line in served.device.lines if text in line.name)


def experts(model: str, **options: Any) -> int:
    """Return the bytes of the routed experts of a model on a device, in 16 bits.

    >>> experts("Qwen/Qwen3-30B-A3B") == 48 * 128 * 3 * 2048 * 768 * 2
    True
    """
    return lines(model, "experts.{expert}", weights="bf16", **options)


def is_within(drawn: SimpleNamespace) -> bool:
    """Whether a model reads so long a context; and its 16-bit weights leave a tenth of a card that is drawn.

    >>> from types import SimpleNamespace
    >>> is_within(SimpleNamespace(model="Qwen/Qwen3-8B", context=100_000))
    False
    """
    limit = load_model(drawn.model).max_context
    asked = getattr(drawn, "context", 1)
    room = device_facts(drawn.device)["capacity"] if hasattr(drawn, "device") else None
    fits = room is None or 2 * model_facts(drawn.model)["parameters"] < 0.9 * room
    return fits and (limit is None or asked <= limit)
