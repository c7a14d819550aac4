"""Megatron-LM's own arguments, as its launch scripts and tests state them: a JSON object is a model too.

Names may have hyphens (``num-layers``, the command line) or underscores (``num_layers``, its own files).
Source: NVIDIA/Megatron-LM at d98e8a64 (2026-08-22), megatron/training/arguments.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.errors import BadInputError
from memcalc.files.config import MOST_LAYERS
from memcalc.files.readers.common import stack
from memcalc.ledger.model import Layer, Model
from memcalc.ledger.parts import GQA, MLA, MLP, Embedding, Linear, MoE, Norm, PositionTable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memcalc.files.config import Config
    from memcalc.ledger.parts import Part

__all__ = ["OPTIONS", "is_megatron", "megatron", "plain"]

# what says how a run goes and not what the model is -> the option that says it here
OPTIONS = {
    "seq_length": "seq",
    "micro_batch_size": "micro_batch",
    "global_batch_size": "accumulate",
    "tensor_model_parallel_size": "tp",
    "pipeline_model_parallel_size": "pp",
    "context_parallel_size": "cp",
    "expert_model_parallel_size": "ep",
    "expert_tensor_parallel_size": "expert_tp",
    "num_layers_per_virtual_pipeline_stage": "vpp",
    "num_virtual_stages_per_pipeline_rank": "vpp",
    "sequence_parallel": "sequence_parallel",
    "use_distributed_optimizer": "shard",
    "attention_dropout": "dropout",
    "hidden_dropout": "dropout",
    "attention_backend": "attention",
    "cross_entropy_loss_fusion": "loss",
    "cross_entropy_fusion_impl": "loss",
    "recompute_granularity": "recompute",
    "recompute_modules": "recompute_modules",
    "make_vocab_size_divisible_by": "vocab_multiple",
    "moe_token_dispatcher_type": "experts",
    "moe_grouped_gemm": "experts",
    "no_gradient_accumulation_fusion": "gradient_fusion",
    "cp_comm_type": "context_exchange",
}
# Arguments of a model that cannot change the bytes of its weights or of what autograd keeps.
HARMLESS = (
    "rotary_base",
    "rotary_scaling_factor",
    "norm_epsilon",
    "init_method_std",
    "mscale",
    "mscale_all_dim",
    "moe_router_load_balancing_type",
    "moe_aux_loss_coeff",
    "moe_router_pre_softmax",
    "moe_router_num_groups",
    "moe_router_group_topk",
    "moe_router_topk_scaling_factor",
    "moe_router_score_function",
    "moe_router_bias_update_rate",
    "mtp_loss_scaling_factor",
    "bf16",
    "use_mcore_models",
    "overlap_grad_reduce",
    "overlap_param_gather",
)


def plain(fields: Mapping[str, object]) -> dict[str, object]:
    """Return the arguments with underscores in their names, without those that say nothing.

    >>> plain({"num-layers": 12, "--swiglu": True, "num-experts": None})
    {'num_layers': 12, 'swiglu': True}
    """
    return {
        name.removeprefix("--").replace("-", "_"): value
        for name, value in fields.items()
        if value is not None and value is not False
    }


def is_megatron(fields: Mapping[str, object]) -> bool:
    """Say whether fields are Megatron's arguments: no other config counts layers and width in these words.

    >>> is_megatron({"num-layers": 12, "hidden-size": 512}), is_megatron({"num_hidden_layers": 12})
    (True, False)
    """
    return "model_type" not in fields and {"num_layers", "hidden_size"} <= plain(fields).keys()


def megatron(config: Config, name: str) -> Model:
    """Read a model.

    Raises:
        BadInputError: an argument says how a run goes, or something that is not understood.

    """
    for field, option in OPTIONS.items():
        if field in config.fields:
            expected, given = "only the model's own arguments", config.fields[field]
            raise BadInputError(field, expected, given, f"leave it out, and add --{option.replace('_', '-')}")
    for field in HARMLESS:
        config.has(field)
    config.restates("position_embedding_type", "learned_absolute", "rope", "none")
    config.restates("normalization", "LayerNorm", "RMSNorm")
    config.restates("transformer_impl", "transformer_engine")  # of the local one more is kept than is listed
    width, biased = config.size("hidden_size"), not config.flag("disable_bias_linear")
    layernorm = config.fields.get("normalization", "LayerNorm") == "LayerNorm"
    latent = config.flag("multi_latent_attention")
    attention = (
        latents(config, biased=biased) if latent else heads(config, biased=biased, layernorm=layernorm)
    )
    gated = config.flag("swiglu")
    ffn_width = (
        config.size("ffn_hidden_size") if config.has("ffn_hidden_size") else default_width(width, gated=gated)
    )
    dense = MLP(width, ffn_width, gated, bias=biased)
    depth = config.size("num_layers")
    norms = tuple(
        (which, Norm(width, layernorm)) for which in ("input_layernorm", "post_attention_layernorm")
    )

    def block(part: Part) -> Layer:
        return Layer((("self_attn", attention), ("mlp", part), *norms))

    vocab = config.size("vocab_size")
    outside: list[tuple[str, Part]] = [("model.embed_tokens", Embedding(vocab, width))]
    learned = config.fields.get("position_embedding_type", "learned_absolute") == "learned_absolute"
    if learned:
        outside.append(
            ("model.embed_positions", PositionTable((config.size("max_position_embeddings"),), width))
        )
    outside.append(("model.norm", Norm(width, layernorm)))
    tied = not config.flag("untie_embeddings_and_output_weights")
    if not tied:
        outside.append(("lm_head", Embedding(vocab, width, "head")))
    limit = config.optional("max_position_embeddings")
    sparse = pattern(config, depth)
    routed = experts(config, ffn_width, gated=gated, biased=biased) if any(sparse) else dense
    layers = tuple(stack([routed if one else dense for one in sparse], block))
    ahead = config.size("mtp_num_layers") if config.has("mtp_num_layers") else 0
    mtp = (predictor(layers[-1], width, layernorm=layernorm),) * ahead
    return Model(name, "megatron", layers, tuple(outside), tied, limit, limit, mtp)


def predictor(last: Layer, width: int, *, layernorm: bool) -> Layer:
    """Return a layer for multi-token prediction: one like the last, three norms, what joins streams."""
    norms = [(name, Norm(width, layernorm)) for name in ("enorm", "hnorm", "shared_head.norm")]
    return Layer((*last.parts, *norms, ("eh_proj", Linear(width, 2 * width, cut=True))))


def default_width(width: int, *, gated: bool) -> int:
    """Return the inner width that Megatron takes where none is stated: 4h, or 8h/3 in steps of 64.

    >>> default_width(4096, gated=False), default_width(4096, gated=True)
    (16384, 10880)
    """
    return 4 * width * 2 // 3 // 64 * 64 if gated else 4 * width


def heads(config: Config, *, biased: bool, layernorm: bool) -> GQA:
    """Read attention of heads.

    Raises:
        BadInputError: the heads do not divide each other or the width.

    """
    width, number = config.size("hidden_size"), config.size("num_attention_heads")
    config.has("num_query_groups")
    groups = config.size("num_query_groups") if config.flag("group_query_attention") else number
    if number % groups:
        expected = "a divisor of num_attention_heads"
        raise BadInputError("num_query_groups", expected, groups, "every group serves as many heads")
    if not config.has("kv_channels") and width % number:
        expected, remedy = "a divisor of hidden_size, or kv_channels", "add kv_channels"
        raise BadInputError("num_attention_heads", expected, number, remedy)
    head_dim = config.size("kv_channels") if config.has("kv_channels") else width // number
    qkv_biased = config.flag("add_qkv_bias")
    return GQA(
        width,
        number,
        groups,
        head_dim,
        qkv_bias=biased or qkv_biased,
        out_bias=biased,
        qk_norm=config.flag("qk_layernorm"),
        qk_norm_bias=layernorm,
        rope_dim=rotated(config, head_dim),
    )


def rotated(config: Config, head_dim: int) -> int | None:
    """Return how many numbers of a head are rotated.

    Raises:
        BadInputError: the share is no number above 0 and at most 1.

    """
    stated = config.value("rotary_percent")
    share = 1 if stated is None else stated
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
        raise BadInputError(
            "rotary_percent", "a number above 0 and at most 1", share, "write 1 for all of a head"
        )
    if config.fields.get("position_embedding_type", "learned_absolute") != "rope":
        return 0
    return None if share == 1 else int(head_dim * share)


def latents(config: Config, *, biased: bool) -> MLA:
    """Read attention of latents; sizes that are left out are those of Megatron's MLATransformerConfig."""
    for field in ("kv_channels", "group_query_attention", "num_query_groups", "add_qkv_bias"):
        config.has(field)  # no class of latents reads them
    sizes = {"kv_lora_rank": 512, "qk_head_dim": 128, "qk_pos_emb_head_dim": 64, "v_head_dim": 128}
    kv_rank, nope, rope, value = (
        config.size(field) if config.has(field) else default for field, default in sizes.items()
    )
    return MLA(
        config.size("hidden_size"),
        config.size("num_attention_heads"),
        kv_rank,
        nope,
        rope,
        value,
        config.optional("q_lora_rank"),
        latent_norms=config.flag("qk_layernorm"),
        out_bias=biased,
    )


def experts(config: Config, ffn_width: int, *, gated: bool, biased: bool) -> MoE:
    """Read a mixture of experts.

    Raises:
        BadInputError: a token would use more experts than there are.

    """
    number = config.size("num_experts")
    top_k = config.size("moe_router_topk") if config.has("moe_router_topk") else 2
    if top_k > number:
        raise BadInputError("moe_router_topk", "at most num_experts", f"{top_k} of {number}", "correct one")
    return MoE(
        config.size("hidden_size"),
        config.size("moe_ffn_hidden_size") if config.has("moe_ffn_hidden_size") else ffn_width,
        number,
        top_k,
        config.optional("moe_shared_expert_intermediate_size"),
        score_bias=config.flag("moe_router_enable_expert_bias"),
        gated=gated,
        expert_bias=biased,
    )


def pattern(config: Config, depth: int) -> list[bool]:
    """Return which layers have experts: ``moe_layer_freq`` is a period, a list, or ``([0]*3+[1]*11)``.

    Raises:
        BadInputError: it is none of them, or not as long as the model is deep.

    """
    freq = config.value("moe_layer_freq") or 1
    if not config.has("num_experts"):
        return [False] * depth
    if type(freq) is int and freq >= 1:
        return [index % freq == 0 for index in range(depth)]
    listed = freq if isinstance(freq, list) else spelled(freq)
    if len(listed) != depth or not all(one in (0, 1) for one in listed):
        expected = f"a period, or {depth} zeros and ones as in ([0]*3+[1]*11)"
        raise BadInputError("moe_layer_freq", expected, freq, "one for each layer")
    return [one == 1 for one in listed]


def spelled(freq: object) -> list[int]:
    """Return the list that a sum of repeated lists spells; an empty one where it is something else.

    >>> spelled("([0]*1+[1]*3)")
    [0, 1, 1, 1]
    """
    found: list[int] = []
    for term in str(freq).replace(" ", "").removeprefix("(").removesuffix(")").split("+"):
        digit, _, times = term.partition("*")
        number = times or "1"
        if digit not in ("[0]", "[1]") or not number.isdecimal() or len(number) > 5:
            return []
        found += [int(digit[1])] * int(number)
        if len(found) > MOST_LAYERS:
            return []
    return found
