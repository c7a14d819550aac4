"""How engines store the cache of sparse attention: latents in one of a few layouts, and the indexer's keys.

A token's row of a layer is its latent, its rotated key and, where the layer has an indexer of its own, the
indexer's key. Layouts: ``fp8_ds_mla`` is DeepSeek's own, 512 numbers in fp8 with a scale for each 128 of them
and the rotated key in 16 bits (656 B); ``nvfp4_ds_mla`` has 4-bit numbers with an fp8 scale for each 16, and
the rotated key in fp8 (352 B); plain ``fp8`` has one byte a number (576 B). The indexer's key is in fp8 with
one scale, 132 B, whatever the rest is.

Source: vllm-project/vllm, v1/attention/backends/mla/flashmla_sparse.py (656 bytes) and indexer.py;
sgl-project/sglang, mem_cache/memory_pool.py, DSATokenToKVPool, and calculate_mla_kv_cache_dim, read
2026-11. A log of sgl-project/sglang#11309 holds it: 43.67 GiB for 975,424 tokens of 61 layers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.errors import BadInputError
from memcalc.ledger.formats import FORMATS, KV_FORMATS, Format
from memcalc.ledger.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memcalc.ledger.model import Model
    from memcalc.ledger.tensor import Tensor

__all__ = [
    "FP8_DS_MLA",
    "INDEX_KEYS",
    "LAYOUTS",
    "NVFP4_DS_MLA",
    "is_sparse",
    "refuse_dense",
    "stored_as",
    "with_layouts",
]

FP8, BF16 = KV_FORMATS["fp8"], FORMATS["bf16"]
FP8_DS_MLA = Format(
    "fp8_ds_mla",
    8,
    1,
    128,
    scale_bits=32,
    note="sparse attention's latents: a scale for 128 numbers, the rotated key in 16 bits; vllm, sglang",
    source="vllm-project/vllm v1/attention/backends/mla/flashmla_sparse.py, 2026-11",
)
NVFP4_DS_MLA = Format(
    "nvfp4_ds_mla",
    4,
    1,
    16,
    scale_bits=8,
    note="sparse attention's latents: an fp8 scale for 16 numbers, the rotated key in fp8; vllm",
    source="vllm-project/vllm v1/kv_cache_interface.py, MLAAttentionSpec (352 bytes), 2026-11",
)
LAYOUTS = (FP8_DS_MLA, NVFP4_DS_MLA)
ROTATED_KEY: Mapping[str, Format] = {FP8_DS_MLA.id: BF16, NVFP4_DS_MLA.id: FP8}
INDEX_KEYS, INDEX_KEY = "index_keys", Format("fp8 with a scale", 8, 1, 128, scale_bits=32)


def with_layouts(*layouts: Format) -> Registry[Format]:
    """Return the formats of a cache that an engine knows beside the common ones, by name."""
    known = {form.id: form for form in (*KV_FORMATS.values(), *layouts)}
    return Registry("--kv", known, remedy="see `memcalc list formats`")


def is_sparse(model: Model) -> bool:
    """Say whether an indexer selects the tokens that the model's attention reads."""
    parts = [part for layer in model.groups for _, part in layer.parts]
    return any(hasattr(part, "index_dim") and not hasattr(part, "compress_rate") for part in parts)


def stored_as(tensor: Tensor, form: Format) -> Format:
    """Return how a tensor of a cache is stored if the cache as a whole is in this format.

    >>> from memcalc.ledger.tensor import Tensor
    >>> rotated = Tensor("self_attn.rotated_key", (1, 1, 64), "cache")
    >>> [stored_as(rotated, one).bits for one in (FP8, FP8_DS_MLA, NVFP4_DS_MLA)]
    [8, 16, 8]
    """
    if tensor.name.endswith(INDEX_KEYS):
        return INDEX_KEY
    if tensor.name.endswith("rotated_key"):
        return ROTATED_KEY.get(form.id, form)
    return form


def refuse_dense(model: Model, keys: Format, values: Format, engine: str) -> None:
    """Refuse a layout of sparse attention for other models, and two formats where there is one row.

    Raises:
        BadInputError: the format is sparse attention's, and the model has no indexer; or two are named.

    """
    sparse = is_sparse(model)
    if not sparse and not {keys, values}.isdisjoint(LAYOUTS):
        expected = "fp8 or a 16-bit format for a model without an indexer"
        raise BadInputError("--kv", expected, keys.id, f"{engine} has it for sparse attention alone")
    if sparse and keys.id != values.id:
        remedy = "a latent is both keys and values; name one"
        raise BadInputError("--kv", "one format for sparse attention", f"{keys.id}/{values.id}", remedy)
