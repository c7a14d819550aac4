"""Mamba, Falcon-Mamba and Jamba. Held against transformers 5.23 in tests/oracles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.data.record import record
from memcalc.errors import BadInputError
from memcalc.files.readers.common import decoder, dense_mlp, gqa, moe, stack
from memcalc.ledger.model import Layer
from memcalc.ledger.parts import Norm, Part
from memcalc.ledger.tensor import IN, OUT, Tensor, linear, under

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memcalc.files.config import Config
    from memcalc.ledger.model import Model
    from memcalc.ledger.parts.plain import Kept

__all__ = ["Mamba", "jamba", "mamba"]


@record
class Mamba(Part):
    """Mamba: it remembers a short state for each number of its inner width, and a convolution's inputs.

    Source: Gu and Dao 2023, arXiv:2312.00752; names as in transformers' MambaMixer and JambaMambaMixer.

    Parameters
    ----------
    width, ssm_width : int
        Width of the residual stream, and the inner width.
    conv_kernel, ssm_state, step_rank : int
        Tokens that the convolution reads, numbers of each state, and rank of the projection to time steps.
    bias, conv_bias, normed : bool
        Whether the two projections and the convolution have a bias, and whether what is selected is normed.

    Examples
    --------
    >>> part = Mamba(width=2560, ssm_width=5120, conv_kernel=4, ssm_state=16, step_rank=160)
    >>> [tensor.stored_shape for tensor in part.cache(1, 8192, lambda context, window: context)]
    [(1, 5120, 4), (1, 5120, 16)]

    """

    counted = "state_depth"
    width: int
    ssm_width: int
    conv_kernel: int
    ssm_state: int
    step_rank: int
    bias: bool = False
    conv_bias: bool = True
    normed: bool = False

    def weights(self) -> Iterator[Tensor]:
        """Yield the projections, the convolution, and what a number of the inner width has of its own."""
        inner, chosen = self.ssm_width, self.step_rank + 2 * self.ssm_state
        yield from linear("in_proj", (2, inner), self.width, bias=self.bias, shard_axis=OUT)
        yield Tensor("conv1d.weight", (inner, 1, self.conv_kernel), "conv", shard_axis=0)
        if self.conv_bias:
            yield Tensor("conv1d.bias", (inner,), "bias", shard_axis=0)
        yield from linear("x_proj", chosen, inner, shard_axis=IN)
        yield from linear("dt_proj", inner, self.step_rank, bias=True, shard_axis=OUT)
        yield Tensor("A_log", (inner, self.ssm_state), "bias", shard_axis=0)
        yield Tensor("D", (inner,), "bias", shard_axis=0)
        sizes = (("dt", self.step_rank), ("b", self.ssm_state), ("c", self.ssm_state))
        for name, size in sizes if self.normed else ():
            yield from under(f"{name}_layernorm", Norm(size).weights())
        yield from linear("out_proj", self.width, inner, bias=self.bias, shard_axis=IN)

    def cache(self, batch: int, context: int, kept: Kept) -> Iterator[Tensor]:
        """Yield the convolution's inputs, as transformers keeps them, and the states."""
        del context, kept
        yield Tensor("conv_state", (batch, self.ssm_width, self.conv_kernel), "state", shard_axis=1)
        state = (batch, self.ssm_width, self.ssm_state)
        yield Tensor("recurrent_state", state, "state", shard_axis=1, format="fp32")


def step_rank(config: Config, field: str) -> int:
    """Return the rank of the projection to time steps: a 16th of the width where it is ``auto``."""
    return -(-config.size("hidden_size") // 16) if config.value(field) == "auto" else config.size(field)


def mamba(config: Config, name: str) -> Model:
    """Read Mamba and Falcon-Mamba: nothing else in any layer."""
    width = config.size("hidden_size")
    for field in ("use_mambapy", "use_associative_scan", "use_falcon_mambapy", "rescale_prenorm_residual"):
        config.has(field)  # how it is computed, and how it starts
    config.has("expand")  # where the width inside is not stated: Falcon Mamba's file has another `expand`
    inner = config.optional("intermediate_size") or config.size("expand") * width
    part = Mamba(
        width,
        inner,
        config.size("conv_kernel"),
        config.size("state_size"),
        step_rank(config, "time_step_rank"),
        bias=config.flag("use_bias"),
        conv_bias=config.flag("use_conv_bias"),
    )
    layer = Layer((("mixer", part), ("norm", Norm(width))))
    return decoder(config, name, [layer] * config.size("num_hidden_layers"))


def jamba(config: Config, name: str) -> Model:
    """Read Jamba: attention in one of `attn_layer_period` layers, experts in one of `expert_layer_period`."""
    width, depth = config.size("hidden_size"), config.size("num_hidden_layers")
    for field in ("use_mambapy", "use_associative_scan", "use_mamba_kernels"):
        config.has(field)
    state = Mamba(
        width,
        config.size("mamba_expand") * width,
        config.size("mamba_d_conv"),
        config.size("mamba_d_state"),
        step_rank(config, "mamba_dt_rank"),
        bias=config.flag("mamba_proj_bias"),
        conv_bias=config.flag("mamba_conv_bias"),
        normed=True,
    )
    attends, routed = every(config, "attn_layer", depth), every(config, "expert_layer", depth)
    experts = config.size("num_experts")
    config.has("num_experts_per_tok")
    sparse: Part = moe(config, "num_experts", "intermediate_size") if experts > 1 else dense_mlp(config)
    norm = Norm(width)

    def layer(kind: tuple[bool, bool]) -> Layer:
        first: tuple[str, Part] = ("mamba", state)
        if kind[0]:
            first = ("self_attn", gqa(config, rope_dim=0))
        mlp = sparse if kind[1] else dense_mlp(config)
        return Layer((first, ("feed_forward", mlp), ("input_layernorm", norm), ("pre_ff_layernorm", norm)))

    return decoder(config, name, stack(zip(attends, routed, strict=True), layer))


def every(config: Config, of: str, depth: int) -> list[bool]:
    """Return which layers are of a kind: one in so many, from an offset on.

    Raises
    ------
    BadInputError
        The offset is no smaller than the period.

    """
    period, offset = config.size(f"{of}_period"), config.count(f"{of}_offset")
    if offset >= period:
        expected = f"less than {of}_period {period}"
        raise BadInputError(f"{of}_offset", expected, offset, "correct config.json")
    return [index % period == offset for index in range(depth)]
