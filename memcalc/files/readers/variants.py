"""What single decoders of the table in plain.py have of their own: where layers are dense, further parts.

Held against transformers 5.23 in tests/oracles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.data.record import record
from memcalc.errors import BadInputError
from memcalc.files.readers.common import head_counts, layer_types, moe, rope_parameters, windows_by_layer_type
from memcalc.ledger.parts import GQA, Linear
from memcalc.ledger.parts.plain import Norm, Part
from memcalc.ledger.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from memcalc.files.config import Config
    from memcalc.ledger.parts import MoE
    from memcalc.ledger.parts.plain import Kept
    from memcalc.ledger.tensor import Axis

    Named = Iterable[tuple[str, Part]]
    Windows = tuple[int | None, ...]


@record
class Values(Part):
    """Numbers beside a matrix, such as a scale: a `shape` of them (none is a single number), of a `kind`.

    >>> [tensor.count for tensor in Values((5120,)).weights()]
    [5120]
    """

    shape: tuple[Axis, ...]
    kind: str = "norm"

    def weights(self) -> Iterator[Tensor]:
        """Yield them."""
        yield Tensor("value", self.shape, self.kind)


@record
class UnevenHeads(GQA):
    """Grouped-query attention whose values have heads of a width of their own, as in MiMo-V2.

    Parameters
    ----------
    value_dim : int
        Numbers of a value head; those of queries and keys have `head_dim`.

    Examples
    --------
    >>> part = UnevenHeads(width=4096, heads=64, kv_heads=4, head_dim=192, value_dim=128)
    >>> sum(tensor.count for tensor in part.cache(1, 1, lambda context, window: context))
    1280

    """

    value_dim: int = 0

    def weights(self) -> Iterator[Tensor]:
        """Yield the tensors, those of values and of the output in their own width."""
        for tensor in super().weights():
            if tensor.name == "v_proj.weight":
                yield tensor._replace(shape=((self.kv_heads, self.value_dim), self.width))
            elif tensor.name == "v_proj.bias":
                yield tensor._replace(shape=((self.kv_heads, self.value_dim),))
            elif tensor.name == "o_proj.weight":
                yield tensor._replace(shape=(self.width, (self.heads, self.value_dim)))
            else:
                yield tensor

    def cache(self, batch: int, context: int, kept: Kept) -> Iterator[Tensor]:
        """Yield keys and values, each in its own width."""
        for tensor in super().cache(batch, context, kept):
            own = (*tensor.shape[:-1], self.value_dim)
            yield tensor._replace(shape=own) if tensor.name == "values" else tensor


# Windows


def full_where(config: Config, full: Callable[[int, int], bool]) -> Windows:
    """Return each layer's window as ``layer_types`` says, or else none where `full` says so.

    `full` is asked for the layer's number, from 0 on, and the number of layers.
    """
    depth = config.size("num_hidden_layers")
    kinds = layer_types(config) or tuple(
        "full_attention" if full(index, depth) else "sliding_attention" for index in range(depth)
    )
    window = config.optional("sliding_window")
    return windows_by_layer_type(kinds, window, "a sliding layer needs sliding_window")


def every_nth_full(config: Config, field: str) -> Windows:
    """Return each layer's window where every n-th has none: the field says n, unless kinds are listed."""
    listed = config.has("layer_types")
    config.has(field)
    period = 1 if listed else config.size(field)
    return full_where(config, lambda index, _: (index + 1) % period == 0)


def exaone_moe_windows(config: Config) -> Windows:
    """Return each layer's window in EXAONE-MoE; files that list them may write the pattern in letters."""
    return every_nth_full(config, "sliding_window_pattern")


def cohere2_moe_windows(config: Config) -> Windows:
    """Return each layer's window in Cohere 2 MoE: dense layers in front have a pattern of their own."""
    first, period = config.count("first_k_dense_replace"), config.size("sliding_window_pattern")
    ahead = config.size("prefix_dense_sliding_window_pattern")
    return full_where(
        config,
        lambda index, _: (index + 1) % ahead == 0 if index < first else (index - first + 1) % period == 0,
    )


def afmoe_windows(config: Config) -> Windows:
    """Return each layer's window in AFMoE."""
    return every_nth_full(config, "global_attn_every_n_layers")


def mimo_windows(config: Config) -> Windows:
    """Return each layer's window in MiMo-V2-Flash: the first layer and every sixth have none.

    ``sliding_window_size`` is the name of another program, which does not count the token itself.
    """
    window = config.optional("sliding_window_size")
    found = full_where(config, lambda index, _: index == 0 or (index + 1) % 6 == 0)
    return found if window is None else tuple(None if each is None else window + 1 for each in found)


def flint_windows(config: Config) -> Windows:
    """Return each layer's window in Flint: two in front, every fourth layer and the last one have none."""
    return full_where(config, lambda index, depth: index in {0, 1, depth - 1} or index % 4 == 1)


def window_or_list(config: Config) -> Windows:
    """Return each layer's window where all have the same, unless ``layer_types`` says otherwise."""
    return full_where(config, lambda *_: config.optional("sliding_window") is None)


# Where layers are dense


def listed_dense(config: Config) -> tuple[bool, ...]:
    """Say of each layer whether it is dense: ``mlp_layer_types``, or else those in front, by default one."""
    depth = config.size("num_hidden_layers")
    kinds = config.words("mlp_layer_types", ("dense", "sparse"), depth)
    stated = [field for field in ("first_k_dense_replace", "moe_layer_freq") if field in config.defaults]
    for field in stated:
        config.has(field)
    if kinds is not None:
        return tuple(kind == "dense" for kind in kinds)
    first = config.count("first_k_dense_replace") if "first_k_dense_replace" in stated else 1
    step = config.size("moe_layer_freq") if "moe_layer_freq" in stated else 1
    return tuple(index < first or index % step > 0 for index in range(depth))


def afmoe_dense(config: Config) -> tuple[bool, ...]:
    """Say of each layer of AFMoE whether it is dense: the first ones are."""
    first = config.count("num_dense_layers")
    return tuple(index < first for index in range(config.size("num_hidden_layers")))


def flint_dense(config: Config) -> tuple[bool, ...]:
    """Say of each layer of Flint whether it is dense: two in front unless others are named."""
    named = config.whole_numbers("mlp_only_layers") if config.has("mlp_only_layers") else (0, 1)
    step = config.size("decoder_sparse_step")
    return tuple(
        index in named or (index + 1) % step > 0 for index in range(config.size("num_hidden_layers"))
    )


# Mixtures of experts


def pass_over_widths(config: Config) -> None:
    """Take note of the widths of dense and of sparse layers: each is needed only where there are some."""
    for field in (
        *("intermediate_size", "moe_intermediate_size", "num_experts", "num_experts_per_tok"),
        *("n_routed_experts", "n_shared_experts", "shared_expert_intermediate_size"),
    ):
        config.has(field)


def experts(
    config: Config, number: str, shared: str = "", *, corrected: bool = False, trained: bool = False
) -> Part:
    """Return a mixture with `shared` experts as wide as the others (the field that counts them), if any."""
    width = "moe_intermediate_size"
    together = config.size(shared) * config.size(width) if shared else None
    return moe(config, number, width, shared_width=together, score_bias=corrected, score_trained=trained)


def cohere2_dense_width(config: Config) -> int:
    """Return the inner width of Cohere 2's dense layers."""
    return config.optional("prefix_dense_intermediate_size") or config.size("intermediate_size")


def beside_shared(config: Config, *, corrected: bool = False, trained: bool = False) -> MoE:
    """Return a mixture beside a shared expert of a width of its own."""
    shared = config.size("shared_expert_intermediate_size")
    return moe(config, "num_experts", shared_width=shared, score_bias=corrected, score_trained=trained)


def cohere2_experts(config: Config) -> Part:
    """Return Cohere 2's mixture: all experts have ``intermediate_size``, and there may be no shared ones."""
    width = "intermediate_size"
    together = config.count("num_shared_experts") * config.size(width) or None
    return moe(config, "num_experts", width, shared_width=together)


# Further parts of a layer


def xielu(config: Config, _kind: str) -> Named:
    """Return the four numbers of Apertus' activation: two are trained, two are kept as they are."""
    if config.value("hidden_act") == "xielu":
        yield from ((f"mlp.act_fn.{name}", Values((1,))) for name in ("alpha_p", "alpha_n"))
        yield from ((f"mlp.act_fn.{name}", Values((), "buffer")) for name in ("beta", "eps"))


def output_gate(config: Config, _kind: str) -> Named:
    """Return the matrix of a gate for each number that attention gives."""
    heads, _, head_dim = head_counts(config)
    yield "self_attn.gate_proj", Linear(heads * head_dim, config.size("hidden_size"), cut=True)


def norm_behind_experts(config: Config, kind: str) -> Named:
    """Return A.X-K1's norm behind a mixture."""
    if kind == "sparse":
        yield "post_mlp_layernorm", Norm(config.size("hidden_size"))


def inner_norms(config: Config, _kind: str) -> Named:
    """Return BitNet's norms before the last matrix of attention and of the feed-forward part."""
    yield "self_attn.attn_sub_norm", Norm(config.size("hidden_size"))
    yield "mlp.ffn_sub_norm", Norm(config.size("intermediate_size"))


def differences(config: Config, _kind: str) -> Named:
    """Return the vectors by which DiffLlama weighs the difference of two attentions."""
    width = head_counts(config)[2]
    yield from ((f"self_attn.lambda_{name}", Values((width,))) for name in ("q1", "k1", "q2", "k2"))


# Attention


def latent(config: Config, _window: int | None) -> Part:
    """Return latent attention."""
    from memcalc.files.readers.deepseek import latent_attention

    return latent_attention(config)


def rotated(config: Config, window: int | None, usual: float) -> int | None:
    """Return how many numbers of a head are rotated where layers with a window have a share of their own."""
    kinds, head_dim = rope_parameters(config) or {}, head_counts(config)[2]
    kind = kinds.get("full_attention" if window is None else "sliding_attention") or kinds
    share = kind.get("partial_rotary_factor", usual)
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
        expected = "a number above 0 and at most 1"
        raise BadInputError("partial_rotary_factor", expected, share, "correct config.json")
    return None if share == 1 else int(head_dim * share)


def mimo_attention(config: Config, window: int | None) -> Part:
    """Return MiMo-V2-Flash's attention: with a window it has twice the key/value heads, and sinks."""
    heads, kv_heads, head_dim = head_counts(config)
    return UnevenHeads(
        config.size("hidden_size"),
        heads,
        kv_heads if window is None else 2 * kv_heads,
        head_dim,
        window=window,
        qkv_bias=config.flag("attention_bias"),
        sinks=window is not None,
        rope_dim=rotated(config, window, 0.334),
        value_dim=config.size("v_head_dim"),
    )


def check_exaone(config: Config) -> None:
    """Check what published files of K-EXAONE say again of its dense layers, and the class does not read."""
    dense = listed_dense(config)
    config.restates("is_moe_layer", [not plain for plain in dense])
    config.restates("first_last_k_dense_replace", dense.index(False) if False in dense else len(dense))


def check_hy(config: Config) -> None:
    """Check what published files of Hy3 say again, and the class does not read."""
    config.restates("expert_hidden_dim", config.size("moe_intermediate_size"))


def check_ernie(config: Config) -> None:
    """Refuse a head of ERNIE 4.5 with a bias, which published code adds where everything else has one."""
    if config.flag("use_bias"):
        config.restates("weight_share_add_bias", False)  # noqa: FBT003 (a value that a field must have)
    config.has("weight_share_add_bias")


def check_mimo(config: Config) -> None:
    """Check what published files of MiMo-V2-Flash say again, and the class does not read."""
    heads, kv_heads, head_dim = head_counts(config)
    for field, size in (
        ("swa_num_attention_heads", heads),
        ("swa_num_key_value_heads", 2 * kv_heads),
        ("swa_head_dim", head_dim),
        ("swa_v_head_dim", config.size("v_head_dim")),
        ("add_swa_attention_sink_bias", True),
        ("hybrid_layer_pattern", [int(window is not None) for window in mimo_windows(config)]),
        ("moe_layer_freq", [int(not plain) for plain in listed_dense(config)]),
    ):
        config.restates(field, size)
    for field in ("attention_chunk_size", "swa_rope_theta"):
        config.has(field)  # a name of the window in another program, and an angle


def check_pairs(config: Config) -> None:
    """Refuse an odd number of key/value heads, as DiffLlama does: it subtracts one half from the other."""
    kv_heads = head_counts(config)[1]
    if kv_heads % 2:
        raise BadInputError("num_key_value_heads", "an even number", kv_heads, "correct config.json")


def needs_head_dim(config: Config) -> None:
    """Refuse a config without ``head_dim``, as the class does: its default is none, and it needs one."""
    if not config.has("head_dim"):
        raise BadInputError("head_dim", "a whole number >= 1", None, "add the field to config.json")
