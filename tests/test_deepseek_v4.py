"""DeepSeek-V4: entries that stand for several tokens, experts by hash, formats of its checkpoints."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from memcalc.errors import BadInputError
from memcalc.files.readers import read
from memcalc.files.sources import source
from memcalc.files.tensor_names import listed
from memcalc.formula import derive, lift, symbols
from memcalc.ledger.formats import tensor_bytes
from memcalc.ledger.model import cache_growth, everything
from memcalc.serving import serve
from memcalc.serving.engines import ENGINES, engine
from memcalc.serving.engines.compressed import keeping

if TYPE_CHECKING:
    from memcalc.ledger.model import Model

RECORDED = json.loads((Path(__file__).parent / "recorded" / "models.json").read_text(encoding="utf-8"))
FLASH, NVFP4 = "deepseek-ai/DeepSeek-V4-Flash", "nvidia/DeepSeek-V4-Pro-NVFP4"
CONFIGS = {name: RECORDED["models"][name]["config"] for name in (FLASH, NVFP4)}
SMALL = {
    "model_type": "deepseek_v4",
    "vocab_size": 50,
    "hidden_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "head_dim": 32,
    "q_lora_rank": 16,
    "o_lora_rank": 8,
    "o_groups": 2,
    "moe_intermediate_size": 24,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "index_n_heads": 2,
    "index_head_dim": 32,
    "num_hash_layers": 1,
    "compress_ratios": [0, 4, 128, 4, 0],
    "sliding_window": 20,
}


@pytest.fixture(scope="module")
def flash() -> Model:
    return read(CONFIGS[FLASH], FLASH)


def written(tmp_path: Path, **fields: object) -> str:
    """A config.json in a folder of its own."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps(fields), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(("tokens", "entries"), [(24, 6), (40, 10), (64, 16), (72, 18), (128, 32)])
def test_entries_come_every_so_many_tokens(flash: Model, tokens: int, entries: int) -> None:
    """21 layers have one for four tokens, 20 for 128; transformers 5.23 on the meta device."""
    held = [one for one in flash.cache(1, tokens) if one.name.endswith("index_keys")]
    assert {one.stored_shape for one in held} == {(1, entries, 128)}
    assert sum(one.layers for one in held) == 21


def test_what_a_token_adds_is_the_mean_of_a_period(flash: Model) -> None:
    """21 x (512 + 128) / 4 + 20 x 512 / 128 numbers; the windows of 43 layers before they are full."""
    growth = cache_growth(flash)
    assert growth["bytes_per_token"] == 6_880
    assert growth["bytes_per_token_in_window"] == 6_880 + 43 * 512 * 2
    assert growth["state_bytes_per_sequence"] == 4 * (20 * 2 * 128 * 512 + 21 * 2 * 8 * 2 * (512 + 128))


def test_a_fraction_of_a_byte_is_rounded_up() -> None:
    """Three layers' numbers a token: 2 x 64 / 3 + 32 / 50, of two bytes each."""
    rates = {"compressed_sparse_attention": 3, "heavily_compressed_attention": 50}
    model = read({**SMALL, "compress_rates": rates})
    exact = 2 * (2 * 64 / 3 + 32 / 50)
    assert cache_growth(model)["bytes_per_token"] == int(exact) + 1 == 87
    held = [sum(2 * one.count for one in model.cache(1, n) if one.kind == "cache") for n in (3000, 3150)]
    assert held[1] - held[0] == round(150 * exact)


def test_transformers_keeps_what_waits(flash: Model) -> None:
    """After 130 tokens two wait in every layer; of four that overlap the next entry a half is kept."""
    held = keeping(flash, "now").cache(1, 130)
    waiting = {(one.name.rpartition(".")[2], one.stored_shape) for one in held if one.kind == "state"}
    assert {("buffer_kv", (1, 2, 512)), ("buffer_kv", (1, 2, 1024)), ("overlap_gate", (1, 4, 128))} < waiting


def test_a_plan_has_room_for_the_most_that_waits(tmp_path: Path) -> None:
    """So more tokens never need less, and the largest context is the last that fits."""
    name = written(tmp_path, **CONFIGS[FLASH])
    totals = [serve(name, context=tokens, prompt=16).device.total_bytes for tokens in range(120, 140)]
    assert all(a <= b for a, b in pairwise(totals))
    plan = serve(name, context=4096, on="8x h200-141g", prompt=1024)
    most = plan.max_context
    assert serve(name, context=most, on="8x h200-141g", prompt=1024).fits
    assert not serve(name, context=most + 1, on="8x h200-141g", prompt=1024).fits


def test_sweeps_are_single_plans(tmp_path: Path) -> None:
    name, contexts = written(tmp_path, **CONFIGS[FLASH]), np.array([1, 3, 4, 127, 128, 129, 5000, 100_000])
    swept = serve(name, context=contexts)
    single = [serve(name, context=int(one)) for one in contexts]
    assert swept.device.total_bytes.tolist() == [one.device.total_bytes for one in single]
    assert swept.cache_bytes.tolist() == [one.cache_bytes for one in single]


@pytest.mark.parametrize("waiting", ["fixed", "now", "most"])
def test_the_formula_is_the_number(flash: Model, waiting: str) -> None:
    """Entries are a quotient rounded down: floor in SymPy, whole division with numbers."""
    model = keeping(flash, waiting)
    batch, context = symbols("batch context")
    lifted = lift(model)
    formula = derive(lifted.model.cache(batch, context, everything))
    for tokens in (3, 128, 5001):
        numbers = {**lifted.numbers, "batch": 2, "context": tokens}
        assert formula.value(**numbers) == sum(one.count for one in model.cache(2, tokens))
    assert derive(lifted.model.weights()).value(**lifted.numbers) == flash.parameters
    assert r"\lfloor" in formula.latex


def test_a_checkpoint_has_the_size_that_is_published(tmp_path: Path) -> None:
    """Tensors of 159,609,485,896 B; vLLM says 148.66 GiB of the files, whose headers are the rest.

    vllm-project/vllm#40802, 2026-04. With experts in NVFP4 913.09 GB: vllm-project/recipes#779, 2026-08.
    """
    sizes, headers = [], []
    for config in CONFIGS.values():
        stored = source(written(tmp_path, **config)).stored()
        layers = (*stored.model.layers, *stored.model.mtp)
        outside = (one for _, part in stored.model.outside for one in part.weights())
        every = [*(one for layer in layers for one in layer.weights()), *outside]
        sizes.append(sum(tensor_bytes(one, stored.rule(one)) for one in every))
        headers.append(sum(len(name) for name in listed(stored.model)) * 2)
    assert sizes[0] == 159_609_485_896
    assert abs(sizes[0] + 120 * 2 * 35_000 - 148.66 * 2**30) < 0.01 * 2**30
    assert sizes[1] == 913_061_485_688
    assert 0 < 913.09e9 - sizes[1] < 40e6
    assert all(headers)


def test_formats_are_the_makers_own(tmp_path: Path) -> None:
    """Experts of 4 bits, scales of 8; hyper-connections and sinks in 32 bits, a table in 64."""
    stored = source(written(tmp_path, **CONFIGS[FLASH])).stored()
    forms = {one.name.split("{layer}.")[-1]: stored.rule(one) for one in stored.model.weights()}
    assert forms["mlp.experts.{expert}.up_proj.weight"].id == "mxfp4"
    assert (forms["self_attn.q_b_proj.weight"].id, forms["self_attn.q_b_proj.weight"].scale_bits) == (
        "fp8-block128",
        8,
    )
    assert forms["self_attn.compressor.kv_proj.weight"].id == "bf16"
    assert forms["attn_hc.fn"].id == forms["self_attn.sinks"].id == "fp32"
    assert forms["mlp.gate.tid2eid"].bits == 64
    ahead = [
        one
        for layer in source(written(tmp_path, **CONFIGS[NVFP4])).stored().model.mtp
        for one in layer.weights()
    ]
    assert {one.format for one in ahead if one.kind == "expert"} == {"mxfp4"}


def test_layers_ahead_are_named_apart() -> None:
    names = listed(read(SMALL))
    assert {"mtp.0.e_proj.weight", "mtp.0.hc_head_fn", "layers.3.attn.indexer.compressor.ape"} < set(names)
    assert not any(name.startswith(("model.", "layers.4.")) for name in names)


def test_the_reference_name_is_the_same_model() -> None:
    """sgl-project/DeepSeek-V4-Pro-FP8 calls itself so; aiconfigurator-core 0.12.0 on PyPI, 2026-11."""
    one, other = read(SMALL), read({**SMALL, "model_type": "deepseek_ref"})
    assert one.layers == other.layers
    assert list(one.weights()) == list(other.weights())


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"compress_ratios": [0, 4, 8, 4]}, "compress_ratios"),
        ({"compress_ratios": [0, 4, 128]}, "compress_ratios"),
        ({"compress_rates": {"compressed_sparse_attention": 0}}, "compress_rates"),
        ({"compress_rates": {"compressed_sparse_attention": 4}}, "compress_rates"),
        ({"o_groups": 3}, "o_groups"),
        ({"mlp_bias": True}, "mlp_bias"),
        ({"num_key_value_heads": 2}, "num_key_value_heads"),
        ({"layer_types": ["full_attention"] * 4}, "layer_types"),
    ],
)
def test_what_is_not_understood_is_refused(fields: dict[str, object], field: str) -> None:
    with pytest.raises(BadInputError) as caught:
        read({**SMALL, **fields})
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("stated", "field"),
    [
        ({"expert_dtype": "int4"}, "expert_dtype"),
        ({"weight_block_size": [64, 64]}, "quantization_config.weight_block_size"),
        ({"quant_algo": "FP8"}, "quantization_config.quant_algo"),
        ({"other": True}, "quantization_config.other"),
    ],
)
def test_storage_that_is_not_understood_is_refused(
    tmp_path: Path, stated: dict[str, object], field: str
) -> None:
    config = {**CONFIGS[FLASH]["quantization_config"], **stated}
    with pytest.raises(BadInputError) as caught:
        source(written(tmp_path, **{**CONFIGS[FLASH], "quantization_config": config})).stored()
    assert caught.value.field == field


VLLM = json.loads((Path(__file__).parent / "recorded" / "vllm.json").read_text(encoding="utf-8"))
ON_VLLM = {"engine": "vllm", "on": "8x h200-141g", "weights": "bf16"}


@pytest.mark.parametrize("number", range(len(VLLM["compressed"])))
def test_vllms_own_classes_say_the_same(tmp_path: Path, number: int) -> None:
    """Bytes of a block, groups, blocks of a pool of 1 GiB, tokens: tests/oracles/record_vllm.py, 0.32."""
    case, said = VLLM["compressed"][number]["asked"], VLLM["compressed"][number]["said"]
    ratios = case["compress_ratios"]
    sizes = {"head_dim": 512, "qk_rope_head_dim": 64, "index_head_dim": 128, "sliding_window": case["window"]}
    config = {**SMALL, **sizes, "num_hidden_layers": len(ratios), "compress_ratios": ratios}
    options = {"max_num_batched_tokens": case["tokens_a_pass"] // 2, "kv_cache_memory": "1GiB"}
    served = serve(
        written(tmp_path, **config, max_position_embeddings=2**20),
        context=case["context"],
        engine="vllm",
        engine_version="0.32",
        on="1x h200-141g",
        engine_options=options,
    )
    pool, blocks = served.kv_pool, said["blocks"]
    assert pool is not None
    assert served.plan.engine_options["uniform_page"] == said["block_bytes"]
    assert pool.tokens - said["tokens"] in (0, 1)  # a float is cut off there: 517.8 x 100 are 51,779
    assert pool.concurrency == said["concurrency"]
    asked = served.plan.engine.request(served.plan.model, case["context"], served.plan.engine_options)
    assert asked is not None
    assert asked.groups == len(said["groups"])
    assert blocks / asked.blocks == said["concurrency"]
    assert served.device.components["kv_cache"] == asked.blocks * said["block_bytes"]


@pytest.mark.parametrize(("context", "gib"), [(30_000, "6.66"), (13_528, "5.44")])
def test_what_older_vllm_asked_for(tmp_path: Path, context: int, gib: str) -> None:
    """Two figures of one refusal of 0.22: needed for 30,000 tokens, and enough for 13,528 (vllm#44376)."""
    options = {"max_num_batched_tokens": 16_384}
    served = serve(
        written(tmp_path, **CONFIGS[FLASH]),
        context=context,
        tp=2,
        engine="vllm",
        engine_version="0.22",
        on="2x gh200-96g",
        engine_options=options,
    )
    assert f"{served.device.components['kv_cache'] / 2**30:.2f}" == gib


def test_a_block_of_v4_pro_in_vllm(tmp_path: Path) -> None:
    """1,315,008 B where the indexer's pages are in MXFP4, 4,608 B and not 8,640: vllm#48993, 2026-07."""
    served = serve(written(tmp_path, **CONFIGS[NVFP4]), context=8192, tp=8, engine="vllm", on="8x b200")
    assert served.plan.engine_options["uniform_page"] == 1_315_008 + 30 * (8_640 - 4_608)


@pytest.mark.parametrize(
    ("more", "match"),
    [
        ({"engine_version": "0.28"}, "0.21 or 0.22"),
        ({"pp": 2, "tp": 4}, "--pp"),
        ({"tp": 3, "on": "3x h200-141g"}, "heads"),
        ({"kv": "bf16"}, "fp8"),
        ({"engine_options": {"block_size": 64}}, "block_size"),
        ({"on": "8x rtx-pro-6000-blackwell"}, "other kernels"),
        ({"draft": "mtp"}, "draft"),
    ],
)
def test_what_vllm_does_otherwise_is_refused(tmp_path: Path, more: dict[str, object], match: str) -> None:
    with pytest.raises(BadInputError, match=match):
        serve(written(tmp_path, **CONFIGS[FLASH]), context=64, **{**ON_VLLM, **more})  # type: ignore[arg-type]


def test_other_widths_are_refused_in_vllm(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="no kernel"):
        serve(written(tmp_path, **SMALL), context=64, engine="vllm", on="1x h200-141g")


def test_sweeps_are_single_plans_in_vllm(tmp_path: Path) -> None:
    name, contexts = written(tmp_path, **CONFIGS[FLASH]), np.array([1, 64, 257, 30_000, 1_000_000])
    swept = serve(name, context=contexts, tp=8, **ON_VLLM)
    single = [serve(name, context=int(one), tp=8, **ON_VLLM) for one in contexts]
    assert swept.device.total_bytes.tolist() == [one.device.total_bytes for one in single]


ANSWERED = ("transformers", "vllm")


@pytest.mark.parametrize("name", [name for name in ENGINES if name not in ANSWERED])
def test_other_engines_refuse_it_by_name(flash: Model, name: str) -> None:
    """In one line; how they lay entries out is not understood."""
    with pytest.raises(BadInputError, match="entries"):
        engine(name).prepare(flash)


def test_transformers_cuts_experts_alone(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="experts alone"):
        serve(written(tmp_path, **CONFIGS[FLASH]), context=64, tp=2)


def test_qwen4_exp_keeps_positions_once() -> None:
    """Keys of an indexer in every layer that attends, and in transformers three positions of each token."""
    fields = {
        "model_type": "qwen4_exp_text",
        "num_hidden_layers": 8,
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.25},
        "indexer_n_heads": 4,
        "indexer_kv_heads": 1,
        "indexer_head_dim": 128,
        "indexer_budget": 64,
        "indexer_compress_ratio": 4,
    }
    model = read(fields)
    token = 2 * 2 * (2 * 2 * 256 + 128)
    assert cache_growth(model)["bytes_per_token"] == token
    assert cache_growth(engine("transformers").prepare(model))["bytes_per_token"] == token + 3 * 8
    with pytest.raises(BadInputError, match="blocks"):
        engine("vllm").prepare(model)
    with pytest.raises(BadInputError, match="n-grams"):
        read({**fields, "ple_layer_ids": [1]})
