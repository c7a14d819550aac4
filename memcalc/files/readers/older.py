"""Falcon, GPT-Neo and GPT-NeoX Japanese: what one layer has and another has not. Held by tests/oracles."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING

from memcalc.data.record import record
from memcalc.errors import BadInputError
from memcalc.files.readers.common import check_head_width
from memcalc.files.readers.plain import CLASSIC, ONE_NORM, decoder_of
from memcalc.ledger.parts.attention import GQA
from memcalc.ledger.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memcalc.files.config import Config
    from memcalc.ledger.model import Layer, Model
    from memcalc.ledger.parts.plain import Kept

__all__ = ["SpreadGQA", "falcon", "gpt_neo", "gpt_neox_japanese"]


@record
class SpreadGQA(GQA):
    """Attention of which transformers keeps more than it needs.

    Falcon 40B's class repeats keys and values for every query head before it keeps them, and GPT-Neo's keeps
    all tokens where a layer looks at the last 256 only. Other engines keep what attention needs.
    Source: huggingface/transformers v5.23, models/falcon and models/gpt_neo, 2026-11.

    Parameters
    ----------
    spread : bool, default False
        Whether keys and values of all query heads and of all tokens are kept.

    Examples
    --------
    >>> part = SpreadGQA(width=8192, heads=128, kv_heads=8, head_dim=64)
    >>> [sum(tensor.count for tensor in one.cache(1, 1, lambda context, window: context))
    ...  for one in (part, part.in_transformers())]
    [1024, 16384]

    """

    spread: bool = False

    def in_transformers(self) -> SpreadGQA:
        """Return the part as transformers keeps its keys and values."""
        return replace(self, spread=True, window=None)

    def cache(self, batch: int, context: int, kept: Kept) -> Iterator[Tensor]:
        """Yield one key and one value a token and KV head, or query head."""
        if not self.spread:
            yield from super().cache(batch, context, kept)
            return
        for name in ("keys", "values"):
            shape = (batch, self.heads, kept(context, self.window), self.head_dim)
            yield Tensor(name, shape, "cache", shard_axis=1)


def with_attention(layer: Layer, attention: GQA) -> Layer:
    """Return a layer with other attention."""
    others = (pair for pair in layer.parts if pair[0] != "self_attn")
    return replace(layer, parts=(("self_attn", attention), *others))


def spread(attention: GQA, **changes: object) -> SpreadGQA:
    """Return attention of which transformers keeps more than it needs."""
    same = {each.name: getattr(attention, each.name) for each in fields(GQA)}
    return SpreadGQA(**{**same, **changes})


def falcon(config: Config, name: str) -> Model:
    """Read Falcon: one key/value head, or some, or as many as query heads; rotated, or with ALiBi."""
    check_head_width(config)
    new, alibi, biased = (config.flag(one) for one in ("new_decoder_architecture", "alibi", "bias"))
    heads, single = config.size("num_attention_heads"), config.flag("multi_query") and not new
    stated = config.optional("num_kv_heads") or heads
    if heads % stated or not (new or single or stated == heads):
        expected = "a divisor of num_attention_heads" if new else f"{heads}, as many as query heads"
        raise BadInputError("num_kv_heads", expected, stated, "correct config.json")
    words = CLASSIC._replace(
        norms=norms_of_falcon(config, new=new),
        qkv_bias=biased,
        out_bias=biased,
        mlp_bias=biased,
        ffn="ffn_hidden_size",
        rotated=not alibi,
        kv_heads=lambda _: 1 if single else stated,
        harmless=("activation", "apply_residual_connection_post_layernorm"),
    )
    inner = config.optional("ffn_hidden_size")
    config.restates("ff_factor", inner / config.size("hidden_size") if inner else 4)
    model = decoder_of(config, name, words)
    if not new:
        return model
    whole = spread(model.layers[0].parts[0][1])  # type: ignore[arg-type]
    return replace(model, layers=(with_attention(model.layers[0], whole),) * model.depth)


def norms_of_falcon(config: Config, *, new: bool) -> tuple[str, ...]:
    """Return the norms of a layer: one for each part, or one for both where they stand side by side."""
    stated, parallel = config.optional("num_ln_in_parallel_attn"), config.flag("parallel_attn")
    if not parallel:
        return CLASSIC.norms
    return ("ln_attn", "ln_mlp") if (stated or (2 if new else 1)) == 2 else ONE_NORM


def gpt_neo(config: Config, name: str) -> Model:
    """Read GPT-Neo: layers that see all tokens and layers that see the last ones, in turn."""
    check_head_width(config)
    depth, window = config.size("num_hidden_layers"), config.size("window_size")
    listed: list[str] = []
    for item in kinds_of_gpt_neo(config):
        listed += item
    if len(listed) != depth or not set(listed) <= {"global", "local"}:
        expected = f"{depth} layers, each global or local"
        raise BadInputError(
            "attention_types", expected, config.value("attention_types"), "correct config.json"
        )
    config.restates("attention_layers", listed)
    model = decoder_of(config, name, CLASSIC._replace(qkv_bias=False, positions=0))
    layer = model.layers[0]
    plain = layer.parts[0][1]
    local = with_attention(layer, spread(plain, window=window))  # type: ignore[arg-type]
    return replace(model, layers=tuple(layer if kind == "global" else local for kind in listed))


def kinds_of_gpt_neo(config: Config) -> Iterator[list[str]]:
    """Yield the kinds of layers: lists of them, and how often each is repeated."""
    stated = config.value("attention_types")
    for item in stated if isinstance(stated, list) else [[["global", "local"], 12]]:
        if not (isinstance(item, list) and len(item) == 2 and isinstance(item[0], list)) or (
            type(item[1]) is not int or not 0 <= item[1] <= config.size("num_hidden_layers")
        ):
            expected = "lists of kinds, each with a number of times"
            raise BadInputError("attention_types", expected, stated, "correct config.json")
        yield [str(kind) for kind in item[0]] * item[1]


def gpt_neox_japanese(config: Config, name: str) -> Model:
    """Read GPT-NeoX Japanese: the output of attention has a bias in the last layer alone."""
    check_head_width(config)
    width, times = config.size("hidden_size"), config.size("intermediate_multiple_size")
    for field in ("rotary_pct", "rotary_emb_base"):
        config.has(field)
    words = CLASSIC._replace(
        qkv_bias=False, out_bias=False, mlp_bias=False, ffn=lambda _: times * width, rotated=True
    )
    model = decoder_of(config, name, words)
    last = model.layers[-1]
    biased = replace(last.parts[0][1], out_bias=True)
    return replace(model, layers=(*model.layers[:-1], with_attention(last, biased)))  # type: ignore[arg-type]
