"""Megatron-LM's own arguments, as its launch scripts and tests state them: a JSON object is a model too.

Names may have hyphens (``num-layers``, the command line) or underscores (``num_layers``, its own files).
Source: NVIDIA/Megatron-LM at d98e8a64 (2026-08-22), megatron/training/arguments.py.
"""

from __future__ import annotations

from math import prod
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

__all__ = ["OPTIONS", "described", "is_megatron", "megatron", "plain", "run"]

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
            raise BadInputError(field, expected, given, f"leave it out and say --{option.replace('_', '-')}")
    for field in HARMLESS:
        config.has(field)
    config.restates("position_embedding_type", "learned_absolute", "rope", "none")
    config.restates("normalization", "LayerNorm", "RMSNorm")
    config.restates("transformer_impl", "transformer_engine")  # of the local one more is kept than is listed
    width, biased = config.size("hidden_size"), not said(config, "disable_bias_linear")
    layernorm = config.values.get("normalization", "LayerNorm") == "LayerNorm"
    latent = said(config, "multi_latent_attention")
    attention = (
        latents(config, biased=biased) if latent else heads(config, biased=biased, layernorm=layernorm)
    )
    gated = said(config, "swiglu")
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
    learned = config.values.get("position_embedding_type", "learned_absolute") == "learned_absolute"
    if learned:
        outside.append(
            ("model.embed_positions", PositionTable((config.size("max_position_embeddings"),), width))
        )
    outside.append(("model.norm", Norm(width, layernorm)))
    tied = not said(config, "untie_embeddings_and_output_weights")
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


def said(config: Config, field: str) -> bool:
    """Return a switch, off where it is not named."""
    return config.has(field) and config.flag(field)


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
    groups = config.size("num_query_groups") if said(config, "group_query_attention") else number
    if number % groups:
        expected = "a divisor of num_attention_heads"
        raise BadInputError("num_query_groups", expected, groups, "every group serves as many heads")
    if not config.has("kv_channels") and width % number:
        expected, remedy = "a divisor of hidden_size, or kv_channels beside it", "add kv_channels"
        raise BadInputError("num_attention_heads", expected, number, remedy)
    head_dim = config.size("kv_channels") if config.has("kv_channels") else width // number
    qkv_biased = said(config, "add_qkv_bias")
    return GQA(
        width,
        number,
        groups,
        head_dim,
        qkv_bias=biased or qkv_biased,
        out_bias=biased,
        qk_norm=said(config, "qk_layernorm"),
        qk_norm_bias=layernorm,
        rope_dim=rotated(config, head_dim),
    )


def rotated(config: Config, head_dim: int) -> int | None:
    """Return how many numbers of a head are rotated.

    Raises:
        BadInputError: the share is no number above 0 and at most 1.

    """
    share = config.values.get("rotary_percent", 1) if config.has("rotary_percent") else 1
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
        raise BadInputError("rotary_percent", "a number above 0 and at most 1", share, "leave it out for 1")
    if config.values.get("position_embedding_type", "learned_absolute") != "rope":
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
        latent_norms=said(config, "qk_layernorm"),
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
        score_bias=said(config, "moe_router_enable_expert_bias"),
        gated=gated,
        expert_bias=biased,
    )


def pattern(config: Config, depth: int) -> list[bool]:
    """Return which layers have experts: ``moe_layer_freq`` is a period, a list, or ``([0]*3+[1]*11)``.

    Raises:
        BadInputError: it is none of them, or not as long as the model is deep.

    """
    freq = config.values.get("moe_layer_freq", 1) if config.has("moe_layer_freq") else 1
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


def described(fields: Mapping[str, object]) -> dict[str, object]:
    """Return Megatron's arguments for a model that the record of training runs describes in its own words.

    >>> words = {"hidden_size": 512, "num_hidden_layers": 12, "tie": True, "positions": "rope", "norm": "rms"}
    >>> described(words)["position_embedding_type"], described(words)["untie_embeddings_and_output_weights"]
    ('rope', False)
    """
    words = {
        "num_hidden_layers": "num_layers",
        "num_key_value_heads": "num_query_groups",
        "head_dim": "kv_channels",
        "intermediate_size": "ffn_hidden_size",
        "gated": "swiglu",
        "qk_norm": "qk_layernorm",
        "q_rank": "q_lora_rank",
        "kv_rank": "kv_lora_rank",
        "nope_dim": "qk_head_dim",
        "rope_dim": "qk_pos_emb_head_dim",
        "v_dim": "v_head_dim",
        "experts": "num_experts",
        "top_k": "moe_router_topk",
        "expert_width": "moe_ffn_hidden_size",
        "shared_width": "moe_shared_expert_intermediate_size",
        "mtp_layers": "mtp_num_layers",
    }
    told = ("tie", "norm", "bias", "qkv_bias", "positions", "dense_layers")
    found = {words.get(name, name): value for name, value in fields.items() if name not in told}
    found["untie_embeddings_and_output_weights"] = not fields["tie"]
    found["normalization"] = "RMSNorm" if fields["norm"] == "rms" else "LayerNorm"
    found["disable_bias_linear"] = not fields.get("bias")
    found["add_qkv_bias"] = bool(fields.get("qkv_bias"))
    found["position_embedding_type"] = "rope" if fields["positions"] == "rope" else "learned_absolute"
    found["group_query_attention"] = True
    found["multi_latent_attention"] = "kv_rank" in fields
    dense = fields.get("dense_layers", 0)
    if dense:
        found["moe_layer_freq"] = (
            f"([0]*{dense}+[1]*{number(fields, 'num_hidden_layers') - number(fields, 'dense_layers')})"
        )
    return found


def run(arguments: Mapping[str, object], world: int) -> tuple[dict[str, object], dict[str, object]]:
    """Part the arguments of a run into those of its model and the keywords of `memcalc.training.plan.train`.

    What a script leaves open is as Megatron's own defaults: dropout 0.1, one micro-batch if no global batch
    is stated, attention in one kernel.

    >>> run({"num-layers": 12, "hidden-size": 512, "seq-length": 1024, "hidden-dropout": 0.0}, world=8)[1]
    {'implementation': 'megatron', 'world': 8, 'seq': 1024, 'dropout': 0.0}

    Raises:
        BadInputError: two kinds of dropout differ, or the batch is no multiple of what the ranks hold.

    """
    fields = plain(arguments)
    model = {name: value for name, value in fields.items() if name not in OPTIONS}
    asked: dict[str, object] = {"implementation": "megatron", "world": world}
    asked |= {OPTIONS[field]: fields[field] for field in OPTIONS if field in SAME and field in fields}
    if "seq" not in asked and "max_position_embeddings" in fields:
        asked["seq"] = fields["max_position_embeddings"]
    if number(asked, "tp") == 1:
        asked.pop("sequence_parallel", None)  # Megatron switches it off
    if number(asked, "cp") == 1:
        asked.pop("context_exchange", None)  # nobody exchanges
    asked |= translated(fields, number(asked, "tp"))
    if "global_batch_size" in fields:
        each = number(asked, "micro_batch") * (
            world // prod(number(asked, name) for name in ("tp", "pp", "cp"))
        )
        total = number(fields, "global_batch_size")
        if total % each:
            expected = f"a multiple of {each}, one micro-batch on each rank"
            raise BadInputError("global_batch_size", expected, total, "correct the run")
        asked["accumulate"] = total // each
    if "num_layers_per_virtual_pipeline_stage" in fields:
        held = number(fields, "num_layers_per_virtual_pipeline_stage") * number(asked, "pp")
        asked["vpp"] = number(fields, "num_layers") // held
    return model, asked


# the options that take Megatron's value as it is
SAME = {
    "seq_length",
    "micro_batch_size",
    "tensor_model_parallel_size",
    "pipeline_model_parallel_size",
    "context_parallel_size",
    "expert_model_parallel_size",
    "expert_tensor_parallel_size",
    "num_virtual_stages_per_pipeline_rank",
    "sequence_parallel",
    "recompute_granularity",
    "cp_comm_type",
}


def number(fields: Mapping[str, object], name: str) -> int:
    """Return a count that is 1 where nothing is said.

    Raises:
        BadInputError: it is no whole number >= 1.

    """
    value = fields.get(name, 1)
    if type(value) is not int or value < 1:
        raise BadInputError(name, "a whole number >= 1", value, "correct the run")
    return value


def translated(fields: Mapping[str, object], tp: int) -> dict[str, object]:
    """Return the options that say in other words what a run's arguments say.

    Raises:
        BadInputError: two kinds of dropout differ.

    """
    found: dict[str, object] = {}
    stated = [fields[name] for name in ("attention_dropout", "hidden_dropout") if name in fields]
    if stated:
        if stated[0] != stated[-1]:
            given = " and ".join(map(str, stated))
            raise BadInputError("hidden_dropout", "as attention_dropout", given, "a plan has one --dropout")
        found["dropout"] = stated[0]
    if "use_distributed_optimizer" in fields:
        found["shard"] = 1
    if "cross_entropy_loss_fusion" in fields:
        native = fields.get("cross_entropy_fusion_impl", "native") == "native"
        found["loss"] = "megatron-fused" if native else "te-fused"
    if fields.get("attention_backend") in ("unfused", "local"):
        found["attention"] = "eager"
    if "make_vocab_size_divisible_by" in fields:
        found["vocab_multiple"] = number(fields, "make_vocab_size_divisible_by") * tp
    if "recompute_modules" in fields:
        modules = fields["recompute_modules"]
        found["recompute_modules"] = ",".join(modules) if isinstance(modules, list) else modules
    words = [str(fields.get("moe_token_dispatcher_type", "allgather"))]
    if "num_experts" in fields:
        found["experts"] = ",".join([*words, "grouped"] if "moe_grouped_gemm" in fields else words)
    if "no_gradient_accumulation_fusion" in fields:
        found["gradient_fusion"] = False
    return found
