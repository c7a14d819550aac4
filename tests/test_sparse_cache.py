"""The cache of sparse attention, in the layouts of vLLM and SGLang, against logs and sources."""

import pytest

from memcalc.errors import BadInputError, UnknownNameError
from memcalc.serving import serve

V32, GLM = "deepseek-ai/DeepSeek-V3.2", "zai-org/GLM-5"
PLAIN = {"plain_fp8": True}


def a_token(source=V32, context=131072, **asked):
    """Return the bytes of a token on one device, which hold the whole latent."""
    served = serve(source, context=context, **asked)
    held = served.device.components["kv_cache"]
    assert held % context == 0
    return held // context


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
@pytest.mark.parametrize(
    ("kv", "options", "size"),
    [("fp8", {}, 48_068), ("fp8_ds_mla", {}, 48_068), ("fp8", PLAIN, 43_188), ("bf16", {}, 78_324)],
)
def test_layouts_of_deepseek_v32(engine, kv, options, size):
    """61 layers of 656, 576 or 1,152 bytes, and 132 of an indexer: sglang#11309 prints the first."""
    assert a_token(engine=engine, kv=kv, engine_options=options) == size


@pytest.mark.parametrize(("options", "size"), [({}, 48_068), (PLAIN, 43_188)])
def test_vllms_own_format_is_fp8_in_the_backends_layout(options, size):
    """Where no format is named, a backend that reads plain fp8 has plain fp8."""
    assert a_token(engine="vllm", engine_options=options) == size


def test_the_log_of_sglang_11309():
    """43.67 GiB for 975,424 tokens, printed to 0.01 GiB; with the PR the indexer is counted."""
    size = a_token(engine="sglang", tp=1, dp=8, ep=8, on="8x b200", kv="fp8")
    assert abs(size * 975_424 / 2**30 - 43.67) <= 0.03  # the page of the pool's own on top


def test_the_pool_before_sglang_11309_left_the_indexer_out():
    """54.52 GiB for 1,462,784 tokens: 40,016 bytes a cell; the keys come on top of the share."""
    old = serve(
        V32, context=4096, engine="sglang", engine_version="0.5.3", kv="fp8", on="8x b200", dp=8, ep=8
    )
    new = serve(
        V32, context=4096, engine="sglang", engine_version="0.5.4", kv="fp8", on="8x b200", dp=8, ep=8
    )
    cell = sum(line.bytes for line in old.device.lines if line.component == "kv_cache" and not line.outside)
    assert cell == 4096 * 40_016
    assert old.device.components["kv_cache"] == new.device.components["kv_cache"] == 4096 * 48_068
    assert old.kv_pool.tokens > 1.1 * new.kv_pool.tokens


def test_nvfp4_is_vllms_alone():
    assert a_token(engine="vllm", kv="nvfp4_ds_mla") == 61 * (352 + 132)
    with pytest.raises(UnknownNameError, match="fp8_ds_mla"):
        serve(V32, context=8, engine="sglang", kv="nvfp4_ds_mla")


@pytest.mark.parametrize(
    ("engine", "on", "taken"),
    [
        ("vllm", "8x h200-141g", "fp8_ds_mla"),
        ("vllm", "8x b200", "fp8_ds_mla"),
        ("sglang", "8x h200-141g", "bf16"),
        ("sglang", "8x b200", "fp8"),
        ("vllm-ascend", None, "bf16"),
    ],
)
def test_the_engines_own_format(engine, on, taken):
    weights = "bf16" if engine == "vllm-ascend" else None
    served = serve(V32, context=8, engine=engine, on=on, weights=weights)
    assert {form.id for form in served.plan.kv} == {taken}
    assert any(f"KV cache {taken}" in words for words in served.plan.defaults)


def test_latent_attention_without_an_indexer_has_one_byte_a_number():
    assert a_token("deepseek-ai/DeepSeek-V3", engine="vllm", kv="fp8") == 61 * 576
    with pytest.raises(BadInputError, match="without an indexer"):
        serve("deepseek-ai/DeepSeek-V3", context=8, engine="vllm", kv="fp8_ds_mla")


def test_one_row_has_one_format():
    with pytest.raises(BadInputError, match="one format for sparse attention"):
        serve(V32, context=8, engine="vllm", kv="fp8/bf16")


def test_layers_that_share_an_indexer_keep_no_keys(tmp_path):
    """GLM-5.2: 21 of 78 layers have an indexer of their own."""
    import json
    from pathlib import Path

    import memcalc

    known = Path(memcalc.__file__).parent / "data" / "models" / "zai-org__GLM-5.json"
    config = json.loads(known.read_text())["config"]
    config.update(index_topk_freq=4, index_skip_topk_offset=3)
    (tmp_path / "config.json").write_text(json.dumps(config))
    own = sum(max(index - 2, 0) % 4 == 0 for index in range(78))
    assert own == 21
    assert a_token(tmp_path, engine="vllm") == 78 * 656 + 21 * 132
    assert a_token(GLM, engine="vllm") == 78 * (656 + 132)


def test_amds_kernels_read_plain_fp8():
    assert a_token(engine="sglang", on="8x mi300x", kv="fp8") == 43_188
    assert a_token(engine="sglang", on="8x mi300x") == 78_324


@pytest.mark.parametrize(
    ("ranks", "version", "size"),
    [
        ({"tp": 1, "dp": 8, "ep": 8}, None, 48_068),
        ({"tp": 8, "attention_dp": 8}, None, 48_068),
        ({"tp": 8}, None, 43_188),
        ({"tp": 8}, "0.5.8", 48_068),
    ],
)
def test_blackwell_reads_plain_fp8_where_attention_is_not_data_parallel(ranks, version, size):
    """The backend trtllm is SGLang's own there since 2026-02; with data-parallel attention flashmla_kv is."""
    asked = {"engine": "sglang", "engine_version": version, "on": "8x b200", **ranks}
    assert a_token(kv="fp8", **asked) == a_token(**asked) == size


@pytest.mark.parametrize(
    ("engine", "backend"),
    [("vllm", "--attention-backend FLASHINFER_MLA_SPARSE"), ("sglang", "--dsa-decode-backend trtllm")],
)
def test_the_command_names_the_backend_that_reads_plain_fp8(engine, backend):
    from memcalc.serving.launch import launch_line

    plain, own = (
        serve(V32, context=8, engine=engine, on="8x h200-141g", kv="fp8", engine_options=options).plan
        for options in (PLAIN, {})
    )
    assert backend in launch_line(plain)
    assert backend not in launch_line(own)
