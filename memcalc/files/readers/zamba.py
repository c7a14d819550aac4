"""Zamba and Zamba2: Mamba in every layer, and before some of them a block of attention that they share."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from memcalc.data.record import record
from memcalc.errors import BadInputError
from memcalc.files.readers.common import decoder
from memcalc.ledger.model import Layer
from memcalc.ledger.parts import GQA, MLP, Linear, Mamba2, Norm, Part
from memcalc.ledger.tensor import IN, OUT, Tensor, linear

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from memcalc.files.config import Config
    from memcalc.ledger.model import Model
    from memcalc.ledger.parts.plain import Kept

__all__ = ["HeadedMamba", "SharedAttention", "SharedMLP", "zamba", "zamba2"]


@record
class SharedAttention(GQA):
    """Attention of a block that several layers use: it sees the stream beside the embedding, twice as wide.

    Its weights stand where it is used first; keys and values are remembered at each use.
    Source: Glorioso et al. 2024, arXiv:2405.16712 (Zamba) and arXiv:2411.15242 (Zamba2), whose uses have
    adapters of low rank of their own; names as in transformers' Zamba2Attention.

    Parameters
    ----------
    seen : int
        Numbers of a token that it sees.
    again : bool, default False
        Whether it has been used before: its weights stand there.
    adapters : tuple of int, default ()
        The uses of the block, counted over all blocks; each has adapters, if it has a rank.
    adapter_rank : int, optional
        Their rank.

    """

    seen: int = 0
    again: bool = False
    adapters: tuple[int, ...] = ()
    adapter_rank: int | None = None

    def weights(self) -> Iterator[Tensor]:
        """Yield four matrices, and the adapters of all uses, where the block is used first."""
        if self.again:
            return
        heads, kv = (self.heads, self.head_dim), (self.kv_heads, self.head_dim)
        for letter, out in (("q", heads), ("k", kv), ("v", kv)):
            yield from linear(f"{letter}_proj", out, self.seen, shard_axis=OUT)
        yield from linear("o_proj", self.width, heads, shard_axis=IN)
        for letter in "qkv" if self.adapter_rank else "":
            for use in self.adapters:
                name, rank = f"linear_{letter}_adapter_list.{use}", self.adapter_rank or 0
                yield from linear(f"{name}.0", rank, self.seen)
                yield from linear(f"{name}.1", self.seen, rank, shard_axis=OUT)


@record
class SharedMLP(MLP):
    """The feed-forward part of such a block, with adapters of its own for each use in Zamba2."""

    again: bool = False
    adapters: tuple[int, ...] = ()
    adapter_rank: int | None = None

    def weights(self) -> Iterator[Tensor]:
        """Yield three matrices, and the adapters of all uses, where the block is used first."""
        if self.again:
            return
        yield from super().weights()
        for use in self.adapters if self.adapter_rank else ():
            name, rank = f"gate_up_proj_adapter_list.{use}", self.adapter_rank or 0
            yield from linear(f"{name}.0", rank, self.width)
            yield from linear(f"{name}.1", (2, self.ffn_width), rank, shard_axis=OUT)


@record
class HeadedMamba(Part):
    """Mamba in heads: each has a selection of its own.

    Source: arXiv:2405.16712; names as in transformers' ZambaMambaMixer.

    Parameters
    ----------
    width, conv_kernel : int
        Width of the residual stream, and tokens that the convolution reads.
    ssm_heads, ssm_head_dim, ssm_state, step_rank : int
        Heads, numbers of each, numbers of a state, and rank of the projection to time steps.
    conv_bias, bias : bool
        Whether the convolution, and the two projections, have a bias.

    """

    counted = "state_depth"
    width: int
    conv_kernel: int
    ssm_heads: int
    ssm_head_dim: int
    ssm_state: int
    step_rank: int
    conv_bias: bool = True
    bias: bool = False

    def weights(self) -> Iterator[Tensor]:
        """Yield the projections, the convolution, and what each head has of its own."""
        heads, size = self.ssm_heads, self.ssm_head_dim
        inner = (heads, size)
        yield from linear("in_proj", (heads, 2 * size), self.width, bias=self.bias, shard_axis=OUT)
        yield Tensor("conv1d.weight", (inner, 1, self.conv_kernel), "conv", shard_axis=0)
        if self.conv_bias:
            yield Tensor("conv1d.bias", (inner,), "bias", shard_axis=0)
        chosen = self.step_rank + 2 * self.ssm_state
        yield Tensor("x_proj_weight", (heads, chosen, size), shard_axis=0)
        yield Tensor("dt_proj_weight", (heads, size, self.step_rank), shard_axis=0)
        yield Tensor("dt_proj_bias", (heads, size), "bias", shard_axis=0)
        # the class makes it in fp32, whatever the model's dtype
        yield Tensor("A_log", (heads, size, self.ssm_state), "bias", shard_axis=0, format="fp32")
        yield Tensor("D", (heads, size), "bias", shard_axis=0)
        yield from linear("out_proj", self.width, inner, bias=self.bias, shard_axis=IN)

    def cache(self, batch: int, context: int, kept: Kept) -> Iterator[Tensor]:
        """Yield the convolution's inputs, as transformers keeps them, and the states."""
        del context, kept
        inner = (self.ssm_heads, self.ssm_head_dim)
        yield Tensor("conv_state", (batch, inner, self.conv_kernel), "state", shard_axis=1)
        state = (batch, self.ssm_heads, self.ssm_head_dim, self.ssm_state)
        yield Tensor("recurrent_state", state, "state", shard_axis=1, format="fp32")


WORDS = {"mamba": "linear_attention", "linear_attention": "linear_attention", "hybrid": "hybrid"}


def hybrids(config: Config, usual: Sequence[bool]) -> list[bool]:
    """Return which layers use a shared block: as listed, or as the class lists them."""
    depth = config.size("num_hidden_layers")
    listed = config.words("layers_block_type", tuple(WORDS), depth)
    found = list(usual) if listed is None else [kind == "hybrid" for kind in listed]
    if len(found) != depth:
        remedy = "list layers_block_type"
        raise BadInputError("num_hidden_layers", f"{len(found)}, which the class lists", depth, remedy)
    where = [index for index, one in enumerate(found) if one]
    if not where:
        remedy = "the class wants a layer that attends"
        raise BadInputError("layers_block_type", "at least one hybrid", "none", remedy)
    config.restates("hybrid_layer_ids", where)
    config.restates("tie_word_embeddings", True)  # noqa: FBT003 (blocks are shared by the same switch)
    return found


def block_of(config: Config, again: bool, **own: Any) -> tuple[tuple[str, Part], ...]:  # noqa: FBT001
    """Return one use of a block of attention and feed-forward part, the first with its weights."""
    width, heads = config.size("hidden_size"), config.size("num_attention_heads")
    kv_heads = config.optional("num_key_value_heads") or heads
    seen, head_dim, rope = own["seen"], own["head_dim"], own["rope_dim"]
    if heads % kv_heads or heads * head_dim != seen:
        expected, given = f"heads that make up {seen} numbers", f"{heads} of {head_dim}, {kv_heads} of keys"
        raise BadInputError("num_attention_heads", expected, given, "correct config.json")
    attention = SharedAttention(
        width, heads, kv_heads, head_dim, rope_dim=rope, seen=seen, again=again,
        adapters=own["adapters"], adapter_rank=own["attention_rank"],
    )  # fmt: skip
    mlp = SharedMLP(
        width,
        own["inner"],
        bias=own["biased"],
        again=again,
        adapters=own["adapters"],
        adapter_rank=own["rank"],
    )
    norms = () if again else (("input_layernorm", Norm(seen)), ("pre_ff_layernorm", Norm(width)))
    return (("self_attn", attention), ("feed_forward", mlp), *norms)


def layers(
    config: Config,
    where: Sequence[bool],
    mixer: Part,
    uses: Sequence[tuple[tuple[str, Part], ...]],
    block: str,
) -> list[Layer]:
    """Return the layers: Mamba behind a norm, and the uses of blocks before it where there are some."""
    width = config.size("hidden_size")
    norm, left = Norm(width), iter(uses)
    plain = Layer((("mamba", mixer), ("input_layernorm", norm)))
    found = []
    for one in where:
        if not one:
            found.append(plain)
            continue
        used = tuple((f"{block}.{name}", part) for name, part in next(left))
        behind = (("mamba_decoder.mamba", mixer), ("mamba_decoder.input_layernorm", norm))
        found.append(Layer((*behind, *used, ("linear", Linear(width, width)))))
    return found


def zamba2(config: Config, name: str) -> Model:
    """Read Zamba2: blocks that take turns, each use with adapters, and Mamba-2."""
    width, heads = config.size("hidden_size"), config.size("num_attention_heads")
    for field in (
        "use_mem_eff_path",
        "chunk_size",
        "num_logits_to_keep",
        "use_long_context",
        "use_conv_bias",
    ):
        config.has(field)  # how it is computed; the convolution has a bias whatever the config says
    pattern = [False, *[*[False] * 5, True] * 7, *[False] * 4, True, *[False] * 3, True, False, False]
    where = hybrids(config, pattern)
    blocks, count = config.size("num_mem_blocks"), sum(where)
    rank, adapted = config.size("adapter_rank"), config.flag("use_shared_attention_adapter")
    inner = config.optional("intermediate_size") or 4 * width
    for field, value in (
        ("attention_hidden_size", 2 * width),
        ("attention_head_dim", 2 * width // heads),
        ("kv_channels", width // heads),
        ("num_query_groups", heads),
        ("use_shared_mlp_adapter", True),
    ):
        config.restates(field, value)
    turns = config.flag("use_mem_rope")
    common = {
        "seen": 2 * width,
        "head_dim": 2 * width // heads,
        "inner": inner,
        "rope_dim": None if turns else 0,
        "biased": config.flag("add_bias_linear"),
        "rank": rank,
        "attention_rank": rank if adapted else None,
    }
    uses = [
        block_of(
            config, again=index >= blocks, adapters=tuple(range(index % blocks, count, blocks)), **common
        )
        for index in range(count)
    ]
    model = decoder(config, name, layers(config, where, mamba2_of(config), uses, "shared_transformer"))
    return model if turns else replace(model, rotary_positions=None)


def mamba2_of(config: Config) -> Mamba2:
    """Return Zamba2's Mamba-2.

    Raises
    ------
    BadInputError
        The heads do not make up the inner width, or the groups do not divide them.

    """
    width, heads, groups = map(config.size, ("hidden_size", "n_mamba_heads", "mamba_ngroups"))
    inner = config.size("mamba_expand") * width
    if inner % heads or heads % groups:
        expected, given = f"a divisor of {inner}, and a multiple of mamba_ngroups {groups}", heads
        raise BadInputError("n_mamba_heads", expected, given, "correct config.json")
    config.restates("mamba_headdim", inner // heads)
    biased = config.flag("add_bias_linear")
    kernel, state = config.size("mamba_d_conv"), config.size("mamba_d_state")
    return Mamba2(width, kernel, heads, inner // heads, state, groups, in_bias=biased, out_bias=biased)


def zamba(config: Config, name: str) -> Model:
    """Read Zamba: one block for all, and Mamba in heads."""
    width, heads, depth = map(config.size, ("hidden_size", "num_attention_heads", "num_hidden_layers"))
    for field in ("use_mamba_kernels", "use_associative_scan", "num_logits_to_keep", "hidden_mamba_act"):
        config.has(field)
    period, offset = config.size("attn_layer_period"), config.count("attn_layer_offset")
    later = [index % period == offset for index in range(max(depth - 3, 0))]
    where = hybrids(config, [False, False, True, *later])
    seen = config.optional("attention_hidden_size") or 2 * width
    common = {
        "seen": seen,
        "head_dim": config.optional("attention_head_dim") or 2 * width // heads,
        "inner": config.size("intermediate_size"),
        "rope_dim": 0,
        "biased": False,
        "rank": None,
        "attention_rank": None,
        "adapters": (),
    }
    uses = [block_of(config, again=index > 0, **common) for index in range(sum(where))]
    model = decoder(config, name, layers(config, where, headed_mamba(config), uses, "shared_transf"))
    return replace(model, rotary_positions=None)


def headed_mamba(config: Config) -> HeadedMamba:
    """Return Zamba's Mamba.

    Raises
    ------
    BadInputError
        The heads do not make up the inner width.

    """
    width, heads = config.size("hidden_size"), config.size("n_mamba_heads")
    inner = config.size("mamba_expand") * width
    if inner % heads:
        raise BadInputError("n_mamba_heads", f"a divisor of {inner}", heads, "correct config.json")
    rank = -(-width // 16) if config.value("mamba_dt_rank") == "auto" else config.size("mamba_dt_rank")
    return HeadedMamba(
        width,
        config.size("mamba_d_conv"),
        heads,
        inner // heads,
        config.size("mamba_d_state"),
        rank,
        conv_bias=config.flag("mamba_conv_bias"),
        bias=config.flag("mamba_proj_bias"),
    )
