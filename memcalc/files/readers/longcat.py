"""LongCat-Flash. Held against transformers 5.23 in tests/oracles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.data.record import record
from memcalc.errors import BadInputError
from memcalc.files.readers.common import decoder, head_counts
from memcalc.ledger.model import Layer
from memcalc.ledger.parts import MLA, MLP, MoE, Norm

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memcalc.files.config import Config
    from memcalc.ledger.model import Model
    from memcalc.ledger.tensor import Tensor

__all__ = ["longcat_flash"]


@record
class WithIdleExperts(MoE):
    """A mixture in which a token may go to experts that compute nothing: the router alone knows them.

    Source: Meituan 2025, LongCat-Flash, arXiv:2509.01322. A token that goes to some of them uses fewer
    parameters than are counted as active.

    Parameters
    ----------
    idle_experts : int, default 0
        How many there are beside the routed ones.

    Examples
    --------
    >>> part = WithIdleExperts(width=8, expert_width=4, experts=2, top_k=1, idle_experts=3)
    >>> next(part.weights()).stored_shape
    (5, 8)

    """

    idle_experts: int = 0

    def weights(self) -> Iterator[Tensor]:
        """Yield the tensors, the router with a row for each expert that computes nothing."""
        rows = self.experts + self.idle_experts
        for tensor in super().weights():
            of_router = tensor.name.startswith("gate.")
            yield tensor._replace(shape=(rows, *tensor.shape[1:])) if of_router else tensor


def longcat_flash(config: Config, name: str) -> Model:
    """Read LongCat-Flash: a layer has two attentions and two dense parts, and experts beside all of them."""
    width, depth = config.size("hidden_size"), config.size("num_layers")
    heads, _, _ = head_counts(config)
    nope, rope = config.size("qk_nope_head_dim"), config.size("qk_rope_head_dim")
    config.restates("head_dim", rope)
    for field in ("mla_scale_q_lora", "mla_scale_kv_lora"):
        config.has(field)  # the class scales both latents, and its factors are no weights
    config.restates("qk_head_dim", nope + rope)
    # attentions, each of which has a cache; with the layers' number the class would halve it
    published = (depth,) if config.fields.get("auto_map") else ()
    config.restates("num_hidden_layers", 2 * depth, *published)
    attention = MLA(
        width,
        heads,
        config.size("kv_lora_rank"),
        nope,
        rope,
        config.size("v_head_dim"),
        config.size("q_lora_rank"),
        bias=config.flag("attention_bias"),
    )
    number, top_k = config.size("n_routed_experts"), config.size("moe_topk")
    idle = config.count("zero_expert_num")
    if top_k > number:
        given = f"{top_k} of {number}"
        raise BadInputError("moe_topk", "at most n_routed_experts", given, "correct config.json")
    sparse = WithIdleExperts(
        width, config.size("expert_ffn_hidden_size"), number, top_k, score_bias=True, idle_experts=idle
    )
    plain, norm = MLP(width, config.size("ffn_hidden_size")), Norm(width)
    twice = tuple(
        pair
        for half in (0, 1)
        for pair in (
            (f"input_layernorm.{half}", norm),
            (f"self_attn.{half}", attention),
            (f"post_attention_layernorm.{half}", norm),
            (f"mlps.{half}", plain),
        )
    )
    return decoder(config, name, (Layer((*twice, ("mlp", sparse))),) * depth)
