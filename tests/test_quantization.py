"""A quantization_config decides the bytes: methods, groups, and lists of what stays in 16 bits."""

from __future__ import annotations

import json

import pytest

from memcalc.__main__ import main
from memcalc.errors import BadInputError, MemcalcError
from memcalc.files.catalogue import record
from memcalc.files.quantization import scheme
from memcalc.files.source import Source, quantised_by_name
from memcalc.files.sources import source
from memcalc.ledger.formats import format_named
from memcalc.serving import serve

QWEN3 = source("Qwen/Qwen3-32B").fields
MATRICES = 31_205_621_760  # of Qwen3-32B's layers
REST = 2 * (32_762_123_264 - MATRICES)
FP8 = {"quant_method": "fp8", "weight_block_size": [128, 128]}


def stored(tmp_path, stated, **changed):
    """The plan of Qwen3-32B with a quantization_config."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps(QWEN3 | changed | {"quantization_config": stated}))
    return serve(str(path), context=8)


GROUP = {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 32, "symmetric": True}


@pytest.mark.parametrize(
    ("stated", "bytes_of_matrices"),
    [
        ({"quant_method": "gptq", "bits": 8, "group_size": -1, "sym": False}, None),
        ({"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True}, 16_212_295_680),
        (
            {"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": GROUP}}},
            MATRICES * 9 // 16,
        ),
        ({"bits": 4, "group_size": 64}, None),
        ({"quant_algo": "NVFP4", "group_size": 16, "exclude_modules": ["lm_head"]}, None),
    ],
    ids=lambda value: None,
)
def test_a_method_is_a_format(tmp_path, stated, bytes_of_matrices):
    """What the config states is the format of that name."""
    serving = stored(tmp_path, stated)
    named = serve("Qwen/Qwen3-32B", context=8, weights=serving.plan.weights)
    assert serving.weights_file_bytes == named.weights_file_bytes
    if bytes_of_matrices is not None:
        assert serving.weights_file_bytes == bytes_of_matrices + REST


@pytest.mark.parametrize(
    ("stated", "name"),
    [
        ({"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}, "nf4"),
        (
            {
                "quant_method": "bitsandbytes",
                "load_in_4bit": True,
                "bnb_4bit_quant_type": "nf4",
                "bnb_4bit_use_double_quant": True,
            },
            "nf4-dq",
        ),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "fp4"),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "int8"),
        ({"quant_method": "fp8"}, "fp8"),
        ({"quant_method": "mxfp4", "modules_to_not_convert": ["lm_head"]}, "mxfp4"),
        ({"quant_method": "gptq", "bits": 4, "group_size": -1}, "gptq-int4-gc"),
    ],
)
def test_a_method_has_its_name(stated, name):
    assert scheme(stated).format.id == name


@pytest.mark.parametrize(
    ("name", "bits"), [("nf4", 4.5), ("nf4-dq", 4.126953125), ("mxfp4", 4.25), ("nvfp4", 4.5)]
)
def test_bits_a_number(name, bits):
    """Published: 4.5 and 4.127 bits for NF4 without and with double quantisation, 4.25 for MXFP4."""
    form = format_named(name)
    assert 8 * form.bytes(2**14, 2**14) - form.matrix_bits == bits * 2**28


def test_tables_of_codes_are_stored_once_a_matrix():
    """bitsandbytes keeps 16 fp32 codes, and 256 more with double quantisation."""
    assert [format_named(name).matrix_bits // 8 for name in ("nf4", "nf4-dq")] == [64, 64 + 1024]


UP = 5120 * 25_600  # numbers of one up_proj


@pytest.mark.parametrize(
    ("entries", "matrices"),
    [
        (["lm_head", "model.embed_tokens", "input_layernorm"], 0),
        (["model.layers.0.mlp.up_proj", "model.layers.63.mlp.up_proj"], 2),
        (["mlp.up_proj"], 64),
        (["up_proj"], 64),
        (["model.layers.7.mlp.up_proj*"], 1),
        (["model.layers.*.mlp.up_proj"], 64),
        (["re:.*mlp.up_proj.*"], 64),
        (["re:model.layers.1\\d.mlp.up_proj"], 10),
        (["language_model.model.layers.5.mlp.up_proj"], 1),
    ],
)
def test_a_list_keeps_modules_in_16_bits(tmp_path, entries, matrices):
    """By name, by layer, by pattern: each matrix costs two bytes a number instead of one and its scales."""
    none = stored(tmp_path, FP8)
    some = stored(tmp_path, FP8 | {"modules_to_not_convert": entries})
    difference = matrices * (2 * UP - format_named("fp8-block128").bytes(25_600, 5120))
    assert some.weights_file_bytes == none.weights_file_bytes + difference
    assert some.plan.unmatched == ()
    assert (
        sum(line.count for line in some.budget.pools[0].lines if line.component == "weights")
        == 32_762_123_264
    )


def test_what_matches_nothing_is_reported(tmp_path):
    found = stored(
        tmp_path, FP8 | {"modules_to_not_convert": ["mlp.side_proj", "model.layers.99.mlp", "lm_head"]}
    )
    assert found.plan.unmatched == ("mlp.side_proj", "model.layers.99.mlp")


CHECKPOINTS = {  # derived from shapes under the assumptions that the formats' notes state
    ("Qwen/Qwen3-32B", "awq-int4-g128"): 19_325_298_688,
    ("Qwen/Qwen3-30B-A3B", "gptq-int4-g128"): 16_924_176_384,
    ("Qwen/Qwen3-235B-A22B", "gptq-int4-g128"): 124_531_203_072,
    ("Qwen/Qwen2.5-72B", "gptq-int4-g128"): 41_489_965_056,
    ("Qwen/Qwen2.5-72B-Instruct-GPTQ-Int4", "awq-int4-g128"): 41_595_518_976,
}


@pytest.mark.parametrize(("name", "form"), CHECKPOINTS)
def test_checkpoints_of_other_formats(name, form):
    assert serve(name, context=1, weights=form).weights_file_bytes == CHECKPOINTS[name, form]


def test_mlx_quantises_embedding_and_head_too(tmp_path):
    """Published total_size of Qwen3-14B-MLX-4bit: github.com/root-hypercube/qwen3-mlx@30b5402."""
    shape = {
        "hidden_size": 5120,
        "num_hidden_layers": 40,
        "num_attention_heads": 40,
        "intermediate_size": 17_408,
    }
    serving = stored(tmp_path, {"bits": 4, "group_size": 64}, **shape, max_window_layers=40)
    assert serving.model.parameters == 14_768_307_200
    assert serving.weights_file_bytes == 8_307_783_680


def test_nvidia_says_it_in_a_file_of_its_own(tmp_path):
    """hf_quant_config.json beside the config.json, which says nothing itself."""
    said = {"quantization": {"quant_algo": "NVFP4", "group_size": 16, "exclude_modules": ["lm_head"]}}
    (tmp_path / "config.json").write_text(json.dumps(QWEN3))
    (tmp_path / "hf_quant_config.json").write_text(json.dumps(said))
    assert serve(str(tmp_path), context=1).plan.weights == "nvfp4"


@pytest.mark.parametrize("said", [{}, {"quant": {"quant_algo": "FP8"}}, {"quantization": {}}])
def test_a_file_of_nvidias_that_says_nothing_is_refused(tmp_path, said):
    (tmp_path / "config.json").write_text(json.dumps(QWEN3))
    (tmp_path / "hf_quant_config.json").write_text(json.dumps(said))
    with pytest.raises(MemcalcError, match=r"hf_quant_config\.json: quantization"):
        serve(str(tmp_path), context=1)


@pytest.mark.parametrize("said", [False, 0, "", [], {}, {"bits": 4}])
def test_a_config_that_says_nothing_is_not_taken_for_none(tmp_path, said):
    with pytest.raises(MemcalcError, match="quantization_config"):
        stored(tmp_path, said)


# what nothing states


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nvidia/Qwen3-30B-A3B-NVFP4", "NVFP4"),
        ("models/Qwen3-8B-FP8-dynamic/config.json", "FP8"),
        ("configs/nvidia__Llama-3.1-70B-Instruct-FP8.json", "FP8"),
        ("RedHatAI/Qwen3-8B-quantized.w4a16", "quantized"),
        ("unsloth/Qwen3-8B-bnb-4bit", "bnb"),
        ("Qwen/Qwen2.5-7B-Instruct-GPTQ-Int4", "GPTQ"),
        ("Qwen/Qwen3-8B-FP8_dynamic", "FP8_dynamic"),
        ("models/Qwen3-8B/config.json", None),
        ("Qwen-FP8-files/Qwen3-8B/config.json", None),
        ("meta-llama/Llama-3.1-8B-Instruct", None),
        ("config.json", None),
        ("test_fp8_of_nothing0/config.json", None),
    ],
)
def test_a_name_may_say_that_weights_are_quantised(name, says):
    assert quantised_by_name(name) == says


def test_what_only_a_name_states_is_refused_without_weights(tmp_path, capsys):
    """16 bits would be three times too many for NVFP4; a format, or NVIDIA's file, settles it."""
    folder = tmp_path / "Qwen3-0.6B-NVFP4"
    folder.mkdir()
    path = folder / "config.json"
    path.write_text(json.dumps(record("Qwen/Qwen3-0.6B").fields), encoding="utf-8")
    with pytest.raises(BadInputError, match=r"^quantization_config: .* says NVFP4.; add --weights"):
        serve(str(folder), context=8)
    named = serve(str(folder), context=8, weights="nvfp4").weights_file_bytes
    assert serve(str(path), context=8, weights="bf16").weights_file_bytes > named
    assert main(["model", str(folder), "--json"]) == 0
    assert "the name says NVFP4" in json.loads(capsys.readouterr().out)["quantization"]
    beside = {"quantization": {"quant_algo": "NVFP4", "group_size": 16, "exclude_modules": ["lm_head"]}}
    (folder / "hf_quant_config.json").write_text(json.dumps(beside), encoding="utf-8")
    assert serve(str(folder), context=8).weights_file_bytes == named


@pytest.mark.parametrize(
    ("file", "stated", "form"),
    [
        (
            "quantize_config.json",
            {"bits": 4, "group_size": 128, "desc_act": False, "sym": True},
            "gptq-int4-g128",
        ),
        (
            "quant_config.json",
            {"zero_point": True, "q_group_size": 128, "w_bit": 4, "version": "GEMM"},
            "awq-int4-g128",
        ),
    ],
)
def test_older_tools_state_it_in_a_file_of_their_own(file, stated, form, tmp_path):
    """AutoGPTQ's and AutoAWQ's, from before config.json had it."""
    (tmp_path / "config.json").write_text(json.dumps(record("Qwen/Qwen3-0.6B").fields), encoding="utf-8")
    (tmp_path / file).write_text(json.dumps(stated), encoding="utf-8")
    assert serve(str(tmp_path), context=8).plan.weights == form


@pytest.mark.parametrize(
    ("stated", "says"),
    [
        ({"quant_method": "hqq"}, "hqq, not understood (quantization_config.quant_method)"),
        ({"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION"}, "MIXED_PRECISION, not understood"),
        ("words", "a method, not understood (quantization_config)"),
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, "fp8-block128"),
        (None, None),
    ],
)
def test_a_model_names_its_quantisation_and_never_refuses_for_it(stated, says, tmp_path, capsys):
    fields = dict(record("Qwen/Qwen3-0.6B").fields)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(fields | ({} if stated is None else {"quantization_config": stated})))
    assert main(["model", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["quantization"]
    assert found == says or found.startswith(says)


def test_how_gptq_packs_changes_no_byte():
    assert scheme(
        {"quant_method": "gptq", "bits": 4, "group_size": 128, "pack_dtype": "int32"}
    ).format.id == ("gptq-int4-g128")


# AutoRound, EETQ, FBGEMM, BitNet

AUTO_ROUND = {"quant_method": "auto-round", "bits": 4, "group_size": 128, "sym": True, "data_type": "int"}
AUTO_ROUND |= {"packing_format": "auto_round:auto_gptq", "autoround_version": "0.14.2", "iters": 200}


def packed_by_auto_round(rows, columns, bits=4, group=128):
    """qweight, qzeros and scales as its class registers them (qlinear_torch_zp.py, intel/auto-round 2026-08).

    Without an index. Instances of that class held these bytes for six widths, 2026-11.
    """
    groups = -(-columns // group)
    return 4 * (columns // 32 * bits * rows + groups * (rows // 32 * bits)) + 2 * groups * rows


def in_every_layer(size):
    """The bytes of Qwen3-32B's matrices, each by a function of its rows and columns."""
    shapes = [(8192, 5120), (1024, 5120), (1024, 5120), (5120, 8192)]
    shapes += [(25_600, 5120), (25_600, 5120), (5120, 25_600)]
    return 64 * sum(size(rows, columns) for rows, columns in shapes)


@pytest.mark.parametrize(
    ("stated", "size"),
    [
        (AUTO_ROUND, packed_by_auto_round),
        (AUTO_ROUND | {"packing_format": "auto_round:auto_awq", "sym": False}, packed_by_auto_round),
        (AUTO_ROUND | {"bits": 2, "group_size": 64}, lambda r, c: packed_by_auto_round(r, c, 2, 64)),
        (AUTO_ROUND | {"block_name_to_quantize": "model.layers"}, packed_by_auto_round),
        ({"quant_method": "eetq", "weights": "int8"}, lambda r, c: r * c + 2 * r),
        ({"quant_method": "fbgemm_fp8", "activation_scale_ub": 1200.0}, lambda r, c: r * c + 4 * r),
        (
            {"quant_method": "bitnet", "linear_class": "autobitlinear", "quantization_mode": "offline"},
            lambda r, c: r * c // 4 + 2,
        ),
    ],
)
def test_these_tools_store_so_many_bytes(tmp_path, stated, size):
    assert int(stored(tmp_path, stated).weights_file_bytes) == REST + in_every_layer(size)


def test_auto_rounds_extra_config_gives_modules_other_bits(tmp_path):
    """Up-projections of one layer in 16 bits, all of the downward ones in 8, as a name or an expression."""
    extra = {"model.layers.3.mlp.up_proj": {"bits": 16, "data_type": "float"}, "lm_head": {"bits": 16}}
    extra |= {r".*mlp\.down_proj.*": {"bits": 8, "group_size": 64}}
    found = int(stored(tmp_path, AUTO_ROUND | {"extra_config": extra}).weights_file_bytes)
    up, down = (25_600, 5120), (5120, 25_600)
    eight = packed_by_auto_round(*down, 8, 64) - packed_by_auto_round(*down)
    kept = 2 * 25_600 * 5120 - packed_by_auto_round(*up)
    assert found == REST + in_every_layer(packed_by_auto_round) + 64 * eight + kept


@pytest.mark.parametrize(
    ("stated", "says"),
    [
        (AUTO_ROUND | {"data_type": "mx_fp"}, "data_type"),
        (AUTO_ROUND | {"act_bits": 8}, "act_bits"),
        (AUTO_ROUND | {"bits": 5}, "bits"),
        (AUTO_ROUND | {"packing_format": "auto_round:fp8_static"}, "packing_format"),
        (AUTO_ROUND | {"packing_format": "auto_round:gptqmodel"}, "packing_format"),
        (AUTO_ROUND | {"block_name_to_quantize": "model.visual.blocks"}, "block_name_to_quantize"),
        (AUTO_ROUND | {"extra_config": {"model.layers.0.mlp.up_proj": {"bits": 7}}}, "extra_config"),
        (AUTO_ROUND | {"extra_config": [1]}, "extra_config"),
        (AUTO_ROUND | {"rotation": "hadamard"}, "rotation"),
        ({"quant_method": "bitnet", "quantization_mode": "online"}, "quantization_mode"),
        ({"quant_method": "bitnet", "use_rms_norm": True}, "use_rms_norm"),
        ({"quant_method": "eetq", "weights": "int4"}, "weights"),
    ],
)
def test_what_they_store_otherwise_is_refused(tmp_path, stated, says):
    with pytest.raises(BadInputError, match=rf"quantization_config\.{says}"):
        stored(tmp_path, stated)


@pytest.mark.parametrize("method", ["eetq", "fbgemm_fp8", "bitnet", "auto-round"])
def test_experts_that_a_version_may_leave_out_are_not_guessed(method):
    """Routers of Qwen3-MoE were linear layers until transformers 5: extra_config says what they are."""
    fields = record("Qwen/Qwen3-30B-A3B").fields
    stated = AUTO_ROUND if method == "auto-round" else {"quant_method": method}
    with pytest.raises(BadInputError, match="depends on the tool's version"):
        serve(Source("x", {**fields, "quantization_config": stated}, "x"), context=8)
    gates = {f"model.layers.{layer}.mlp.gate": {"bits": 16} for layer in range(48)}
    named = AUTO_ROUND | {"extra_config": gates}
    assert serve(Source("x", {**fields, "quantization_config": named}, "x"), context=8).weights_file_bytes


TORCHAO = {
    "quant_method": "torchao",
    "modules_to_not_convert": None,
    "include_input_output_embeddings": False,
}
BY_ROW = {"_type": "PerRow", "_version": 1, "_data": {"dim": -1}}
SMALL = {
    "model_type": "llama",
    "hidden_size": 256,
    "intermediate_size": 640,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 1000,
    "dtype": "bfloat16",
}


def torchao(kind, version=2, **data):
    stated = {"default": {"_type": kind, "_version": version, "_data": data}}
    return {**TORCHAO, "quant_type": stated}


@pytest.mark.parametrize(
    ("stated", "size"),
    [
        (torchao("Float8WeightOnlyConfig", granularity=BY_ROW), 1_722_880),
        (torchao("Float8DynamicActivationFloat8WeightConfig", granularity=[BY_ROW, BY_ROW]), 1_722_880),
        (
            torchao("Float8DynamicActivationFloat8WeightConfig", granularity=[{"_type": "PerTensor"}]),
            1_713_692,
        ),
    ],
)
def test_torchao_s_fp8_is_as_its_files_have_it(stated, size):
    """What torchao 0.18 and transformers 5.23 wrote of this model, in bytes of tensors."""
    assert (
        serve(Source("x", {**SMALL, "quantization_config": stated}, "x"), context=8).weights_file_bytes
        == size
    )


def test_torchao_s_int4_has_a_scale_and_a_zero_of_16_bits(tmp_path):
    """Shapes of its Int4Tensor: codes (n, k / 2), scale and zero point (k / group, n)."""
    sized = {"hidden_size": 5120, "intermediate_size": 25600}
    assert sized.items() <= QWEN3.items()  # multiples of 1,024: no tile is filled up
    found = stored(tmp_path, torchao("Int4WeightOnlyConfig", group_size=128)).weights_file_bytes
    assert found == MATRICES // 2 + MATRICES // 128 * 4 + REST


@pytest.mark.parametrize(
    "stated",
    [
        torchao("Int8WeightOnlyConfig"),  # scales of 16 bits in 0.17, of 32 in 0.18
        torchao("Int4WeightOnlyConfig", version=1, group_size=128),
        torchao("Int4WeightOnlyConfig", int4_packing_format={"_data": "PRESHUFFLED"}, group_size=128),
        {**TORCHAO, "quant_type": "int8_weight_only"},
        {**torchao("Float8WeightOnlyConfig"), "modules_to_not_convert": ["q_proj"]},  # then the head is, too
        {"quant_method": "modelopt", "quant_algo": "W4A16_AWQ"},
    ],
)
def test_what_a_release_decides_is_refused(tmp_path, stated):
    with pytest.raises(MemcalcError) as found:
        stored(tmp_path, stated)
    assert str(found.value).startswith("quantization_config.")
    assert len(str(found.value)) <= 300


def test_torchao_pads_tiles():
    """2,560 columns are no multiple of 1,024."""
    fields = {
        **SMALL,
        "hidden_size": 2560,
        "quantization_config": torchao("Int4WeightOnlyConfig", group_size=128),
    }
    with pytest.raises(BadInputError, match="a multiple of 8 rows and of 1,024 columns"):
        serve(Source("x", fields, "x"), context=8)


@pytest.mark.parametrize("marlin", [{"is_marlin_format": True}, {"checkpoint_format": "marlin"}])
def test_marlin_s_gptq_has_neither_zero_points_nor_an_index(tmp_path, marlin):
    found = stored(tmp_path, {"quant_method": "gptq", "bits": 4, "group_size": 128, **marlin})
    assert found.weights_file_bytes == MATRICES // 2 + MATRICES // 128 * 2 + REST


@pytest.mark.parametrize(("mode", "bits", "size"), [("mxfp4", 4, 32), ("nvfp4", 4, 16), ("mxfp8", 8, 32)])
def test_mlx_s_floats_have_scales_of_eight_bits_and_no_biases(tmp_path, mode, bits, size):
    """Embedding and head too; norms stay in 16 bits."""
    found = stored(tmp_path, {"bits": bits, "group_size": size, "mode": mode}).weights_file_bytes
    matrices = MATRICES + 2 * 151_936 * 5120
    assert found == matrices * bits // 8 + matrices // size + 2 * (32_762_123_264 - matrices)
