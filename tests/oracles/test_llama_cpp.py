"""A real llama.cpp against memcalc: the type of every tensor in every mix, the size of every cache.

Files have true shapes and no numbers. That the library loads them shows that names and shapes are right: it
refuses a file that lacks a tensor or has one too many.
"""

from __future__ import annotations

import random

import pytest

from memcalc.errors import BadInputError
from memcalc.files.catalogue import catalogue, record
from memcalc.files.gguf.model import gguf_model
from memcalc.files.gguf.names import ARCHITECTURES, has_names
from memcalc.files.gguf.presets import PRESETS
from memcalc.files.readers import read
from memcalc.ledger.formats import FORMATS, GGUF_KV_FORMATS, tensor_bytes, uniform_rule
from memcalc.serving.engines import engine
from memcalc.serving.engines.base import RankContext, activation_width
from memcalc.serving.engines.llama_cpp import compute_buffers
from memcalc.serving.parallelism import ServingParallelism
from tests import gguf_small
from tests.gguf_files import model_file, types_of

MIB = 2**20
ENGINE = engine("llama.cpp")
NAMES = [name for name in catalogue() if has_names(record(name).fields["model_type"])]
# the same files as others
ALIKE = {"gemma3", "gemma4", "kimi_k2", "kimi_k25", "llama4", "mistral", "mistral3", "qwen3_5", "qwen3_5_moe"}
ALIKE |= {"falcon_mamba", "qwen2_5_omni_text", "qwen2_5_vl_text", "qwen3_omni_moe_text", "kimi_k3"}
ALIKE |= {"gemma3n", "gemma4_unified", "gemma4_unified_text", "minimax_m3_vl", "minimax_m3_vl_text"}
KINDS = sorted(set(ARCHITECTURES) - ALIKE)
SEEDS = range(8)
CACHES = ["f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl"]


def drawn(kind, seed):
    """A config whose rows are whole blocks of 32, sometimes of 256; many layers, small vocabularies."""
    draw = random.Random(f"llama.cpp {kind} {seed}")
    heads = draw.choice((2, 4, 8, 16))
    experts = draw.choice((2, 3, 4, 8, 12))
    head_dim = draw.choice((32, 64, 96, 128, 256))
    config = {
        "model_type": kind,
        "vocab_size": draw.randint(100, 3000),
        "hidden_size": draw.choice((32 * heads, 256, 512, 64 * heads, 2048)),
        "intermediate_size": 32 * draw.choice((3, 8, 11, 16, 45)),
        "num_hidden_layers": draw.choice((1, 2, 5, 16, 31, 48, 80)),
        "num_attention_heads": heads,
        "num_key_value_heads": draw.choice([number for number in (1, 2, 4, 8, 16) if heads % number == 0]),
        "head_dim": head_dim,
        "max_position_embeddings": 4096,
        "tie_word_embeddings": draw.random() < 0.4,
    }
    if kind in gguf_small.DRAWN:
        return gguf_small.DRAWN[kind](draw, config, experts)
    routed = {
        "num_experts_per_tok": draw.randint(1, experts),
        "moe_intermediate_size": 32 * draw.randint(1, 9),
    }
    if kind == "llama":
        config["attention_bias"] = draw.random() < 0.5
    match kind:
        case "qwen2" | "phi3":  # the library takes no width of a head from the file
            del config["head_dim"]
            config["hidden_size"] = heads * head_dim
        case "mixtral" | "gpt_oss":
            config |= {"num_local_experts": experts, "num_experts_per_tok": routed["num_experts_per_tok"]}
            config |= {"sliding_window": draw.choice((128, 1000))} if kind == "gpt_oss" else {}
            config["tie_word_embeddings"] = False
        case "gemma2" | "gemma3_text":
            config |= {"sliding_window": draw.choice((512, 1000, 4096)), "tie_word_embeddings": True}
        case "qwen3_moe":
            config |= {"num_experts": experts, **routed}
        case "qwen3_next" | "qwen3_5_text" | "qwen3_5_moe_text":
            keys = draw.choice((1, 2))
            config["num_hidden_layers"] = draw.choice((4, 16, 31, 48))
            shared = {"shared_expert_intermediate_size": 32 * draw.randint(1, 9)}
            config |= {} if kind == "qwen3_5_text" else {"num_experts": experts, **routed, **shared}
            config |= {"linear_num_key_heads": keys, "linear_num_value_heads": keys * draw.choice((1, 2))}
            config |= {"linear_key_head_dim": 64, "linear_value_head_dim": 64, "linear_conv_kernel_dim": 4}
        case "deepseek_v2" | "deepseek_v3":
            config = latent(draw, config, {"n_routed_experts": experts, **routed})
        case "deepseek_v32" | "glm_moe_dsa" | "glm4_moe":
            config |= behind_dense(draw, kind, config, {"n_routed_experts": experts, **routed})
    return config


def latent(draw, config, routed):
    """The fields of models with latent attention."""
    del config["head_dim"]
    config |= {**routed, "num_key_value_heads": config["num_attention_heads"]}
    config |= {"kv_lora_rank": draw.choice((64, 256, 512)), "q_lora_rank": draw.choice((96, 256))}
    if draw.random() < 0.3:  # "lite" by the count of its layers
        config |= {"num_hidden_layers": 27, "q_lora_rank": None}
    config |= {"qk_nope_head_dim": draw.choice((64, 128)), "v_head_dim": draw.choice((64, 128))}
    config |= {"qk_rope_head_dim": draw.choice((32, 64)), "n_shared_experts": draw.randint(1, 2)}
    config["first_k_dense_replace"] = draw.randint(0, min(3, config["num_hidden_layers"] - 1))
    config["tie_word_embeddings"] = False
    return config


def behind_dense(draw, kind, config, routed):
    """The fields of models whose first layers are dense, and which may predict several tokens."""
    depth, heads = config["num_hidden_layers"], config["num_attention_heads"]
    found = {
        **routed,
        "n_shared_experts": draw.randint(1, 2),
        "first_k_dense_replace": draw.randint(0, min(3, depth - 1)),
        "num_nextn_predict_layers": draw.randint(0, 1),
    }
    if kind == "glm4_moe":
        return found | {"attention_bias": draw.random() < 0.5, "use_qk_norm": draw.random() < 0.5}
    del config["head_dim"]
    found |= {"kv_lora_rank": draw.choice((64, 256, 512)), "q_lora_rank": draw.choice((96, 256))}
    found |= {"qk_nope_head_dim": draw.choice((64, 128)), "v_head_dim": draw.choice((64, 128))}
    found |= {"qk_rope_head_dim": draw.choice((32, 64)), "num_key_value_heads": heads}
    found |= {"index_n_heads": draw.choice((2, 8, 32)), "index_head_dim": draw.choice((64, 128))}
    found |= {"index_topk": 256, "tie_word_embeddings": False}
    if kind == "glm_moe_dsa" and draw.random() < 0.5:  # GLM-5.2's kind
        found["indexer_types"] = ["full", *(draw.choice(("full", "shared")) for _ in range(depth - 1))]
    return found


def ours(config, mix, *, old=False):
    """The type of every tensor as memcalc says it; None if it refuses the mix."""
    try:
        return types_of(read(config), mix, old=old)
    except BadInputError:
        return None


# never quantised: here it stays F16, as the file has it, while a converter writes what is asked
AS_IT_WAS = (
    "per_layer_model_proj.",
    "altup_proj.",
    "altup_unembd_proj.",
    "altup_router.",
    "laurel_l.",
    "laurel_r.",
)


# a converter has them in full whatever is asked
IN_FULL = ("hc_attn_fn.weight", "hc_ffn_fn.weight", "output_hc_fn.weight")


def differing(said, ours):
    """Name -> (library, memcalc) where they differ."""
    if said is None or ours is None:
        return said != ours
    pairs = {name: (said.get(name), ours.get(name)) for name in {*said, *ours}}
    kept = {("F16", "F32"), ("F16", "BF16")}
    return {
        name: pair
        for name, pair in pairs.items()
        if pair[0] != pair[1]
        and not (pair in kept and any(one in name for one in AS_IT_WAS))
        and not (pair[1] == "F32" and pair[0] in ("F16", "BF16") and name.endswith(IN_FULL))
    }


@pytest.mark.sampled
@pytest.mark.parametrize("name", NAMES)
def test_every_tensor_of_the_catalogue_in_every_mix(llama, tmp_path, name):
    config = record(name).fields
    path = model_file(tmp_path / "model.gguf", config)
    llama.free(llama.model(path))
    for mix in PRESETS:
        assert not differing(llama.types(path, mix), ours(config, mix)), mix


@pytest.mark.sampled
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_tensor_of_small_models_in_every_mix(llama, tmp_path, kind, seed):
    config = drawn(kind, seed)
    old = kind in ("deepseek_v2", "deepseek_v3") and seed % 2 == 1  # as older files hold MLA
    path = model_file(tmp_path / "model.gguf", config, old=old)
    llama.free(llama.model(path))
    for mix in PRESETS:
        assert not differing(llama.types(path, mix), ours(config, mix, old=old)), mix


def contexts(seed):
    """Options of contexts, from a seed; the library aborts where there are more sequences than tokens."""
    draw = random.Random(f"contexts {seed}")
    for _ in range(12):
        keys = draw.choice(CACHES)
        yield (
            draw.choice((draw.randint(64, 2000), draw.randint(64, 60_000))),
            (keys, keys if draw.random() < 0.5 else draw.choice(CACHES)),
            {
                "n_seq_max": draw.choice((1, 1, 2, 3, 5, 8, 40)),
                "kv_unified": draw.random() < 0.4,
                "swa_full": draw.random() < 0.4,
                "n_ubatch": draw.choice((32, 100, 512, 700, 4096)),
                "n_batch": draw.choice((300, 2048)),
            },
        )


def aborts(kind, n_ctx, options):
    """Whether the library may abort: a pass has not as many tokens of each sequence, or too many streams."""
    most = min(options["n_ubatch"], options["n_batch"])
    passes = {most, min(most, n_ctx), min(most, -(-n_ctx // 256) * 256)}
    streams = 1 if options["kv_unified"] else options["n_seq_max"]
    if kind == "minimax_m3":
        return streams > 8
    return kind in ("kimi_linear", "minimax", "minimax_m1") and any(one % streams for one in passes)


def predicted(model, n_ctx, cache, options):
    """MiB of cache and of states."""
    sizes = {"cache": 0, "state": 0}
    forms = [GGUF_KV_FORMATS[name] for name in cache]
    for tensor in ENGINE.cache(model, 1, n_ctx, {**ENGINE.defaults, **options}):
        form = FORMATS["fp32"] if tensor.kind == "state" else forms[tensor.name.endswith("values")]
        sizes[tensor.kind] += tensor_bytes(tensor, form)
    return sizes["cache"] / MIB, sizes["state"] / MIB


def rank_of(model, options):
    """One device with a whole model: only the options and the widths of its parts count here."""
    alone = ServingParallelism()
    return RankContext(
        stage=model,
        parallelism=alone,
        rule=uniform_rule(FORMATS["bf16"]),
        device=None,
        prefill_chunk=None,
        element_bytes=2,
        options=options,
        share=(1, 1),
        formats={},
        widths={part: activation_width(part, alone) for layer in model.groups for _, part in layer.parts},
    )


def is_refused(model, cache):
    try:
        ENGINE.check_cache_formats(model, *(GGUF_KV_FORMATS[name] for name in cache))
    except BadInputError:
        return True
    return False


@pytest.mark.sampled
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", KINDS)
def test_caches_of_small_models_under_any_options(llama, tmp_path, kind, seed):
    """To the log's hundredths of a MiB: keys and values of up to two caches are four roundings.

    Of the compute buffers only the lower end is a bound here: the upper one was set by models of real sizes.
    """
    config = drawn(kind, seed)
    old = kind in ("deepseek_v2", "deepseek_v3") and seed % 2 == 1  # as older files hold MLA
    loaded = llama.model(model_file(tmp_path / "model.gguf", config, old=old))
    model, made = gguf_model(read(config), old=old), 0
    for n_ctx, cache, options in contexts(f"{kind} {seed}"):
        if aborts(kind, n_ctx, options):
            continue
        said = llama.context(loaded, n_ctx, cache, **options)
        if said is None:
            assert is_refused(model, cache), (n_ctx, cache, options)
            continue
        assert not is_refused(model, cache), (n_ctx, cache, options)
        made += 1
        mine = predicted(model, n_ctx, cache, options)
        assert mine == pytest.approx((said["cache_mib"], said["state_mib"]), abs=0.011), (
            n_ctx,
            cache,
            options,
        )
        low, _ = compute_buffers(rank_of(model, options), n_ctx)
        assert low <= (said["compute_mib"] + 0.005) * MIB, (n_ctx, cache, options)
    llama.free(loaded)
    assert made >= 2
