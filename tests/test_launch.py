"""`--engine-command`: the engine's own command says what the plan takes for granted."""

from __future__ import annotations

import ast
import json
import math
import re
import shlex

import pytest

import memcalc
from memcalc.__main__ import main
from memcalc.errors import BadInputError
from memcalc.files.catalogue import record
from memcalc.serving import serve
from memcalc.serving.engines import ENGINES, engine
from memcalc.serving.launch import LINES, LLAMA_FLAGS, SGLANG_FLAGS, VLLM_FLAGS, launch_line

QWEN = "Qwen/Qwen3-32B"
FLAGS = {
    "transformers": {},
    "vllm": VLLM_FLAGS,
    "vllm-ascend": VLLM_FLAGS,
    "sglang": SGLANG_FLAGS,
    "ktransformers": SGLANG_FLAGS,
    "llama.cpp": LLAMA_FLAGS,
}
SAID_OTHERWISE = {
    *(
        "prefix_caching",
        "async_scheduling",
        "mamba_ssm_cache_dtype",
        "mamba_ssm_dtype",
        "server",
        "n_seq_max",
        "kv_unified",
        "cudagraph_capture_sizes",
    ),
    # no option of the command: which layout or which files there are
    *(
        "plain_fp8",
        "mmproj",
        "mmproj_mib",
        "rs_seq",
        "gpu_layers",
        "layerwise_prefill",
        "language_model_only",
    ),
}


def words(**asked):
    return shlex.split(serve(QWEN, **asked).launch_line)


def value(line, flag):
    return line[line.index(flag) + 1]


def test_vllm():
    line = words(context=8192, on="2x h100-80g", engine="vllm", kv="fp8")
    plan = serve(QWEN, context=8192, on="2x h100-80g", engine="vllm").plan
    assert line[:3] == ["vllm", "serve", QWEN]
    assert value(line, "--max-model-len") == "8192"
    assert value(line, "--gpu-memory-utilization") == f"{plan.utilization:g}"
    assert value(line, "--tensor-parallel-size") == "2"
    assert value(line, "--max-num-seqs") == str(plan.engine_options["max_num_seqs"])
    assert value(line, "--max-num-batched-tokens") == str(plan.engine_options["max_num_batched_tokens"])
    assert value(line, "--kv-cache-dtype") == "fp8"
    assert "--enforce-eager" not in line
    assert "--enforce-eager" in words(context=8, engine="vllm", engine_options={"enforce_eager": True})
    assert value(words(context=8, engine="vllm", weights="fp8"), "--quantization") == "fp8"


def test_vllms_draft_and_adapters():
    line = words(
        context=8192, engine="vllm", draft="Qwen/Qwen3-0.6B", draft_tokens=3, lora_slots=2, tp=4, pp=2, dp=2
    )
    said = json.loads(value(line, "--speculative-config"))
    assert said == {"method": "draft_model", "model": "Qwen/Qwen3-0.6B", "num_speculative_tokens": 3}
    assert (value(line, "--max-loras"), value(line, "--max-lora-rank")) == ("2", "16")
    ranks = ("--tensor-parallel-size", "--pipeline-parallel-size", "--data-parallel-size")
    assert [value(line, flag) for flag in ranks] == ["4", "2", "2"]


def test_sglang():
    """Its copies of attention lie within the tensor-parallel ranks."""
    line = shlex.split(
        serve("Qwen/Qwen3-30B-A3B", context=8192, engine="sglang", tp=1, dp=8, ep=8, kv="fp8").launch_line
    )
    assert line[:5] == ["python", "-m", "sglang.launch_server", "--model-path", "Qwen/Qwen3-30B-A3B"]
    assert [value(line, flag) for flag in ("--tp-size", "--dp-size", "--ep-size")] == ["8", "8", "8"]
    assert "--enable-dp-attention" in line
    assert value(line, "--kv-cache-dtype") == "fp8_e4m3"
    assert value(line, "--context-length") == "8192"


FLAGS_OF_RANKS = {
    "vllm": {
        "tp": "--tensor-parallel-size",
        "pp": "--pipeline-parallel-size",
        "dp": "--data-parallel-size",
        "dcp": "--decode-context-parallel-size",
    },
    "sglang": {"tp": "--tp-size", "pp": "--pp-size", "dp": "--dp-size", "dcp": "--dcp-size"},
}


def devices_of(name, line):
    """The devices that an engine starts on, as it reads its own command."""
    flags = FLAGS_OF_RANKS[name]
    tp, pp, dp = (int(value(line, flags[one])) if flags[one] in line else 1 for one in ("tp", "pp", "dp"))
    return tp * pp * (1 if "--enable-dp-attention" in line else dp)


SPLITS = [
    *({"tp": 2}, {"dp": 2}, {"tp": 2, "dp": 2}, {"tp": 2, "pp": 2}, {"tp": 2, "ep": 2}),
    *({"dp": 2, "ep": 2}, {"tp": 2, "dp": 2, "ep": 4}, {"pp": 2, "dp": 2}),
]


@pytest.mark.parametrize(
    ("name", "ranks"),
    [
        *((name, ranks) for name in FLAGS_OF_RANKS for ranks in SPLITS),
        ("sglang", {"tp": 4, "attention_dp": 2}),
    ],
    ids=str,
)
def test_the_command_starts_on_as_many_devices_as_the_plan_has(name, ranks):
    plan = serve("Qwen/Qwen3-30B-A3B", context=8192, engine=name, **ranks).plan
    line = shlex.split(launch_line(plan))
    assert devices_of(name, line) == plan.parallelism.world
    copies = plan.parallelism.dp * plan.parallelism.attention_dp
    assert (FLAGS_OF_RANKS[name]["dp"] in line) == (copies > 1)


def test_sglangs_copies_of_the_model_have_ranks_of_their_own():
    """Source: sgl-project/sglang, docs/advanced_features/dp_dpa_smg_guide.md."""
    line = words(context=8192, engine="sglang", dp=2)
    assert (value(line, "--tp-size"), value(line, "--dp-size")) == ("1", "2")
    assert "--enable-dp-attention" not in line
    assert "--enable-dp-attention" in words(context=8192, engine="sglang", tp=2, attention_dp=2)
    with pytest.raises(BadInputError, match="a server for each"):
        launch_line(serve(QWEN, context=8, engine="sglang", tp=2, dp=2, attention_dp=2).plan)


def test_names_that_a_release_knows():
    """PR #25232 of vLLM, #8658 of SGLang."""
    asked = {"context": 8192, "engine": "vllm", "draft": "mtp", "tp": 8}
    for version, method in (("0.9.1", "deepseek_mtp"), ("0.10.2", "deepseek_mtp"), ("0.11", "mtp")):
        line = serve("deepseek-ai/DeepSeek-V3", **asked, engine_version=version).launch_line
        assert json.loads(value(shlex.split(line), "--speculative-config"))["method"] == method
    spread = {"context": 8192, "engine": "sglang", "tp": 2, "ep": 2}
    for version, flag in (("0.4.10", True), ("0.5", False)):
        line = serve("Qwen/Qwen3-30B-A3B", **spread, engine_version=version).launch_line
        assert ("--enable-ep-moe" in line) == flag


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"tp": 2, "engine_version": "4.38"}, "4.47 or newer"),
        ({"engine": "ktransformers", "engine_version": "0.2.4", "kv": "fp8", "tp": 2}, "--kv fp8, --tp 2"),
        ({"engine": "ktransformers", "engine_version": "0.2.4", "batch": 4}, "--batch 4"),
    ],
    ids=str,
)
def test_what_a_release_cannot_be_told_is_refused(asked, said):
    with pytest.raises(BadInputError, match=said):
        launch_line(serve("Qwen/Qwen3-30B-A3B", context=8192, **asked).plan)


def test_llama_cpp():
    asked = {"context": 8192, "engine": "llama.cpp", "weights": "Q4_K_M"}
    line = words(**asked, kv="q8_0/q4_0", engine_options={"n_gpu_layers": 20})
    assert line[:3] == ["llama-server", "--model", "path/to/Qwen3-32B-Q4_K_M.gguf"]
    assert (value(line, "--ctx-size"), value(line, "--parallel")) == ("8192", "1")
    assert (value(line, "--cache-type-k"), value(line, "--cache-type-v")) == ("q8_0", "q4_0")
    assert value(line, "--n-gpu-layers") == "20"
    assert "--parallel" not in words(**asked, engine_options={"server": True})
    assert "--cpu-moe" in shlex.split(
        serve("Qwen/Qwen3-30B-A3B", **asked, offload="experts", on="1x rtx-4090 + 64GiB host").launch_line
    )


def test_drafts_embeddings_and_shared_tokens():
    """Each engine's own words for what stands beside the model."""
    latent = serve("deepseek-ai/DeepSeek-V3", context=8192, engine="sglang", tp=8, dcp=4, draft="mtp")
    line = shlex.split(latent.launch_line)
    assert line[line.index("--dcp-size") + 1] == "4"
    assert line[line.index("--speculative-algorithm") + 1] == "NEXTN"
    ahead = serve("zai-org/GLM-4.5-Air", context=8192, weights="Q4_K_M", draft="mtp")
    assert "--spec-type draft-mtp" in ahead.launch_line
    beside = serve(QWEN, context=8192, weights="Q4_K_M", draft="Qwen/Qwen3-0.6B")
    assert "--model-draft path/to/Qwen3-0.6B-BF16.gguf" in beside.launch_line
    assert "--runner pooling" in serve(QWEN, context=8, engine="vllm", task="embed").launch_line
    assert "AutoModel.from_pretrained" in serve(QWEN, context=8, task="embed").launch_line


@pytest.mark.parametrize("name", LINES)
def test_of_a_config_alone_the_folder_is_a_placeholder(name, tmp_path):
    """No engine loads a config.json; a folder that has the weights, too, is named."""
    folder = tmp_path / "mine"
    folder.mkdir()
    path = folder / "config.json"
    path.write_text(json.dumps(record("Qwen/Qwen3-0.6B").fields))
    for given in (folder, path):
        line = serve(given, context=8192, engine=name).launch_line
        assert "config.json" not in line
        assert str(tmp_path) not in line
        assert "path/to/mine" in line
    (folder / "other.json").write_text(path.read_text())
    assert "path/to/other" in serve(folder / "other.json", context=8192, engine=name).launch_line


def test_a_folder_with_weights_is_named(tmp_path):
    """What was read of them is what an engine loads."""
    (tmp_path / "config.json").write_text(json.dumps(record("Qwen/Qwen3-0.6B").fields))
    saved(tmp_path / "model.safetensors")
    line = shlex.split(serve(tmp_path, context=8192, engine="vllm").launch_line)
    assert line[:3] == ["vllm", "serve", str(tmp_path)]


def saved(path):
    """The small Qwen3 as it is published: a header, without its numbers."""
    model, place, entries = memcalc.model("Qwen/Qwen3-0.6B"), 0, {}
    for tensor in model.weights():
        names = [tensor.name.format(layer=layer) for layer in range(tensor.layers or 1)]
        size = 2 * tensor.count // len(names)
        for name in names:
            shape = [axis if isinstance(axis, int) else math.prod(axis) for axis in tensor.shape]
            entries[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [place, place + size]}
            place += size
    text = json.dumps(entries).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + place)


def test_experts_of_gguf_files_lie_beside_the_makers_checkpoint():
    """KTransformers takes attention from the one, and experts from the other."""
    r1 = "deepseek-ai/DeepSeek-R1"
    asked = {"context": 8192, "engine": "ktransformers", "on": "1x rtx-4090-48g + 512GiB host"}
    line = shlex.split(serve(r1, weights="Q4_K_M", **asked).launch_line)
    assert value(line, "--model-path") == r1
    assert value(line, "--kt-weight-path") == "path/to/DeepSeek-R1-Q4_K_M"
    assert value(line, "--kt-method") == "LLAMAFILE"
    native = shlex.split(serve(r1, **asked | {"on": "8x h100-80g + 1024GiB host"}).launch_line)
    assert (value(native, "--kt-weight-path"), value(native, "--kt-method")) == (r1, "NATIVE")


# as `arg_utils.py` of vLLM and `server_args.py` of SGLang have them, release by release
FIRST = [
    ("vllm", "0.5", "0.6", {}, "vllm serve"),
    ("vllm", "0.10", "0.11", {}, "--max-cudagraph-capture-size"),
    ("vllm", "0.9", "0.10", {"task": "embed"}, "--runner"),
    ("sglang", "0.4.9", "0.4.10", {}, "--swa-full-tokens-ratio"),
    ("sglang", "0.5.13", "0.5.14", {}, "--cuda-graph-max-bs-decode"),
]


@pytest.mark.parametrize(("name", "before", "since", "asked", "flag"), FIRST)
def test_a_flag_is_said_from_its_first_release_on(name, before, since, asked, flag):
    older, newer = (
        serve(QWEN, context=8, engine=name, engine_version=version, **asked).launch_line
        for version in (before, since)
    )
    assert flag not in older
    assert flag in newer


def test_a_flag_that_came_later_is_refused():
    asked = {"context": 8, "engine": "vllm", "engine_options": {"max_cudagraph_capture_size": 64}}
    line = "expected vLLM 0.11.1 or newer, which has --max-cudagraph-capture-size, given '0.10'"
    with pytest.raises(BadInputError, match=re.escape(f"--engine-command: {line}")):
        words(**asked, engine_version="0.10")
    assert value(words(**asked, engine_version="0.33"), "--max-cudagraph-capture-size") == "64"
    assert "--cuda-graph-max-bs " in serve(QWEN, context=8, engine="ktransformers").launch_line


def test_older_transformers_take_another_keyword():
    old, new = (
        words(context=8, engine="transformers", engine_version=version)[-1] for version in ("4.51", "5.24")
    )
    assert "torch_dtype=torch.bfloat16" in old
    assert old.startswith("import torch; ")
    assert 'dtype="bfloat16"' in new
    ast.parse(old)


@pytest.mark.parametrize("asked", [{}, {"weights": "nf4"}, {"weights": "int8"}, {"tp": 2}], ids=str)
def test_transformers_is_python(asked):
    line = words(context=8192, **asked)
    program = line[line.index("-c") + 1]
    ast.parse(program)
    assert repr(QWEN) in program
    assert ("BitsAndBytesConfig(" in program) == ("weights" in asked)
    assert ("torchrun" in line) == ("tp" in asked)


def test_what_an_engine_does_not_make_is_refused():
    """Of a checkpoint in that format it is the repository's name that counts."""
    with pytest.raises(BadInputError, match="--engine-command: expected weights as the source has them"):
        words(context=8, engine="vllm", weights="awq-int4-g128")
    with pytest.raises(BadInputError, match="--engine-command: expected an engine that has a command"):
        words(context=8, engine="mindie")
    own = serve("Qwen/Qwen3-32B-FP8", context=8, engine="vllm", weights="fp8-block128").launch_line
    assert "--quantization" not in own


def test_one_pass_at_a_time_is_said():
    line = words(context=8, engine="vllm", engine_options={"async_scheduling": False})
    assert "--no-async-scheduling" in line
    assert "--no-async-scheduling" not in words(context=8, engine="vllm")


@pytest.mark.parametrize("name", LINES)
def test_every_option_of_an_engine_has_a_word(name):
    assert set(engine(name).defaults) <= set(FLAGS[name]) | SAID_OTHERWISE
    assert set(LINES) | {"mindie"} == set(ENGINES)


def test_the_command(capsys):
    asked = ["serve", QWEN, "--context", "8192", "--engine", "vllm", "--engine-command"]
    assert main(asked) == 0
    line = capsys.readouterr().out.strip()
    assert line.startswith("vllm serve ")
    assert "\n" not in line
    assert main([*asked, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["command"] == line


@pytest.mark.parametrize(
    ("asked", "comment"),
    [
        ("--context 65536 --engine vllm", "# does not fit: the model's own limit is 40,960 tokens"),
        ("--context 8k --engine vllm --on '1x rtx-4090'", "# does not fit: "),
        ("--context 32k --engine vllm --on '1x h100-80g'", "# may not fit: "),
    ],
)
def test_a_plan_that_does_not_fit_says_so_in_a_comment(asked, comment, capsys):
    words = ["serve", QWEN, *shlex.split(asked)]
    assert main([*words, "--engine-command"]) == 0
    said, line = capsys.readouterr().out.splitlines()
    assert said.startswith(comment)
    assert line.startswith("vllm serve ")
    assert main([*words, "--engine-command", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["command"] == line
    assert found["verdict"] in (None, "does_not_fit", "may_not_fit")


def test_a_file_of_several_formats_has_a_name_of_one_word():
    line = shlex.split(serve("openai/gpt-oss-20b", context=8192, engine="llama.cpp").launch_line)
    assert value(line, "--model") == "path/to/gpt-oss-20b-BF16-experts-MXFP4.gguf"


def test_llama_cpp_s_cache_is_f16_in_the_plan_too():
    for name, activation in ((QWEN, "bf16"), ("openai/gpt-oss-20b", "bf16")):
        served = serve(name, context=8192, engine="llama.cpp")
        assert served.plan.activation.id == activation
        assert served.settings["kv"] == "fp16"
        assert "KV cache fp16 (the engine's own)" in served.defaults
        assert value(shlex.split(served.launch_line), "--cache-type-k") == "f16"
    assert "--cache-type-k bf16" in serve(QWEN, context=8, engine="llama.cpp", kv="bf16").launch_line
