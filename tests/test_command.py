"""The command line: answers, and refusals of one line."""

from __future__ import annotations

import contextlib
import io
import json
import tomllib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings, strategies as st

import memcalc
from memcalc.__main__ import main
from memcalc.errors import MemcalcError
from memcalc.files.sources import source
from tests.test_schema import faults

if TYPE_CHECKING:
    from pathlib import Path

QWEN3 = source("Qwen/Qwen3-32B").fields
GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": 128, "desc_act": False, "sym": True}
FP8 = {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128]}


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    assert main([*arguments, "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    found: dict[str, object] = json.loads(out)
    assert faults(arguments[0], found) == []
    return found


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(list(arguments)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("memcalc: error: ")
    assert err.count("\n") == 1
    assert "expected" in err
    assert "given" in err
    return err


def test_model(capsys: pytest.CaptureFixture[str]) -> None:
    """`memcalc model` answers as the contract says."""
    found = answer(capsys, "model", "Qwen/Qwen3-32B")
    assert found["parameters"] == 32_762_123_264
    cache = {"bytes_per_token": 262_144, "bytes_per_token_in_window": 262_144, "state_bytes_per_sequence": 0}
    assert found["cache"] == cache


def test_a_path_a_folder_and_a_name_say_the_same(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The three ways to name a model give the same parameters."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps(QWEN3))
    counts = {answer(capsys, "model", text)["parameters"] for text in (str(path), str(tmp_path), "Qwen3-32B")}
    assert counts == {32_762_123_264}


def test_a_mark_before_the_text_is_no_damage(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Some editors put a byte order mark before a file's first character."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps(QWEN3), encoding="utf-8-sig")
    assert answer(capsys, "model", str(path))["parameters"] == 32_762_123_264


def test_a_plan_says_what_it_leaves_out(capsys: pytest.CaptureFixture[str]) -> None:
    """A vision tower is named where its text model is planned."""
    asked = ["serve", "google/gemma-3-27b-it", "--context", "8"]
    seen = answer(capsys, "model", asked[1])["extra"]["vision_parameters"]  # type: ignore[index]
    assert seen > 0
    assert answer(capsys, *asked)["plan"]["parameters_not_counted"] == 0  # type: ignore[index]
    assert main(asked) == 0
    assert f"vision tower: {seen:,} parameters (included above)" in capsys.readouterr().out
    asked += ["--weights", "Q4_K_M"]
    assert answer(capsys, *asked)["plan"]["parameters_not_counted"] == seen  # type: ignore[index]
    assert main(asked) == 0
    assert f"vision tower: {seen:,} parameters (not included above)" in capsys.readouterr().out


def test_check_says_whether_it_fits(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 1 only with --check, and only if it does not fit."""
    plan = ["serve", "Qwen/Qwen3-32B", "--context", "8192", "--on", "ascend-910b-64g"]
    assert main([*plan, "--check"]) == 1
    assert main(plan) == 0
    capsys.readouterr()


@pytest.mark.parametrize("what", ["models", "machines", "formats", "engines"])
def test_list(capsys: pytest.CaptureFixture[str], what: str) -> None:
    """Everything that is listed has an id."""
    assert main(["list", what, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) >= 7
    assert all(row["id"] for row in rows)


SIZES = ["hidden_size", "num_attention_heads", "num_key_value_heads", "vocab_size", "head_dim"]
WRONG = [(field, value) for field in SIZES for value in (-1, 0, "8", 8.0, None, True)]


@pytest.mark.parametrize(
    ("field", "value"),
    [one for one in WRONG if one != ("num_key_value_heads", None)],  # as many as queries
)
def test_a_wrong_size_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, field: str, value: object
) -> None:
    """Every size that is read is a whole number >= 1."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**QWEN3, field: value}))
    assert field in refusal(capsys, "model", str(path))


def test_what_was_not_read_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """In the answer of each command, and nowhere if there is nothing to name."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**QWEN3, "some_unused_size": "8", "surprise": -1}))
    named = ["some_unused_size '8'", "surprise -1"]
    for command in ("model",), ("serve", "--context", "8"), ("train", "--seq", "8"):
        asked = [command[0], str(path), *command[1:]]
        assert answer(capsys, *asked)["not_read"] == named
        assert main(asked) == 0
        warned, other = [line for line in capsys.readouterr().out.splitlines() if "not read" in line]
        assert warned.endswith("not read, may change memory: some_unused_size '8'")
        assert other.endswith("surprise -1")
    assert "not_read" not in answer(capsys, "model", "Qwen/Qwen3-32B")


@pytest.mark.parametrize(
    "named",
    [
        ("mlp_type", "gelu_mlp"),
        ("attn_gate", "sigmoid"),
        ("norm_type", "layernorm"),
        ("kv_compression", 0.25),
        ("low_rank_ratio", 0.5),
        ("share_ratio", 0.5),
    ],
)
def test_what_may_be_a_part_is_a_warning(named, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Words and fractions pass; where their names speak of a part the answer warns in a line of its own."""
    path, (field, value) = tmp_path / "config.json", named
    path.write_text(json.dumps({**QWEN3, field: value, "release_kind": "b", "router_dtype": "float32"}))
    for command in ("model",), ("serve", "--context", "8"), ("train", "--seq", "8"):
        assert main([command[0], str(path), *command[1:]]) == 0
        lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
        assert f"not read, may change memory: {field} {value!r}" in lines
        assert not [line for line in lines if "may change" in line and ("kind" in line or "dtype" in line)]


def test_a_model_is_no_source() -> None:
    """What `memcalc.read` gives has tensors alone: no format, no place."""
    found = memcalc.read(QWEN3)
    for model in (found, dict(QWEN3)):
        with pytest.raises(
            MemcalcError, match=r"give the path of its config.json, or memcalc.source\(path\)"
        ):
            memcalc.serve(model, context=64)


def test_sizes_that_a_config_does_not_state_are_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """They are the class's, as transformers takes them: an answer about half a config says so."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"model_type": "llama", "hidden_size": 2048}), encoding="utf-8")
    for asked in (["model"], ["serve", "--context", "8"], ["train", "--seq", "8"]):
        asked.insert(1, str(path))
        assert "num_hidden_layers 32" in answer(capsys, *asked)["class_defaults"]  # type: ignore[operator]
        assert main(asked) == 0
        assert "class defaults" in capsys.readouterr().out
    assert "class_defaults" not in answer(capsys, "model", "Qwen/Qwen3-32B")


@pytest.mark.parametrize("content", [b"", b"[1]", b'{"a": ', b"\xff\x00\x80", b"[" * 99_999])
def test_a_broken_file_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path, content: bytes) -> None:
    """Empty, a list, cut, binary, absurdly nested: one line."""
    path = tmp_path / "config.json"
    path.write_bytes(content)
    refusal(capsys, "model", str(path))


@pytest.mark.parametrize("content", [b"[" * 200_000, b'{"a":' * 101 + b"1" + b"}" * 101])
def test_what_is_nested_deeply_is_refused_by_name(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    assert "at most 100 objects and lists within each other" in refusal(capsys, "model", str(path))


@pytest.mark.parametrize(
    "changed",
    [
        {"model_type": "nobody_knows"},
        {"model_type": None},
        {"layer_types": ["full_attention"] * 63 + ["holographic_attention"]},
        {"layer_types": ["full_attention"]},
        {"num_key_value_heads": 7},
        {"surprise": 3},
        {"tie_word_embeddings": "yes"},
        {"attention_bias": None},
        {"num_hidden_layers": 10**9},
        {"rope_scaling": "yarn"},
        {"rope_scaling": {"rope_type": "yarn", "factor": 1e308}},
        {"rope_scaling": {"rope_type": "yarn", "factor": float("nan")}},
        {"rope_scaling": {"rope_type": "holographic", "factor": 4.0}},
        {"rope_scaling": {"rope_type": "yarn", "factor": "4"}},
        {"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 0}},
    ],
)
def test_what_is_not_understood_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, changed: dict[str, object]
) -> None:
    """An unknown model type, layer type or field is refused by name, never counted as zero."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**QWEN3, **changed}))
    assert next(iter(changed)) in refusal(capsys, "model", str(path))


@pytest.mark.parametrize(
    "options",
    [
        ["--context", "0"],
        ["--context", "many"],
        ["--context", "8", "--batch", "0"],
        ["--context", "8", "--on", "abacus"],
        ["--context", "8", "--on", "0x rtx-a6000"],
        ["--context", "8", "--on", "-1x rtx-a6000"],
        ["--context", "8", "--weights", "int3"],
        ["--context", "8", "--kv", "int3"],
        ["--context", "8", "--engine", "steam"],
        ["--context", "8", "--engine", "vllm", "--tp", "3"],
        ["--context", "8", "--tp", "16"],
        ["--context", "8", "--on", "4x rtx-a6000", "--tp", "2"],
        ["--context", "8", "--prompt", "9"],
        ["--context", "8", "--utilization", "1.5"],
        ["--context", "8", "--utilization", "nan"],
        ["--context", "8", "--utilization", "most"],
        ["--context", "8", "--tp", "two"],
        ["--context", "8.0"],
        ["--context", "8", "--check"],
        ["--context", "8", "--on", "9" * 5000 + "x rtx-a6000"],
        ["--context", "8", "--engine", "vllm", "--engine-option", "block_size=" + "9" * 5000],
        [],
        ["--context", "8", "--engine-option", "block_size"],
    ],
)
def test_a_plan_that_cannot_be_is_refused(capsys: pytest.CaptureFixture[str], options: list[str]) -> None:
    """One line that names the option, what was expected, what was given, and what to do."""
    refusal(capsys, "serve", "Qwen/Qwen3-32B", *options)


@pytest.mark.parametrize(
    "options",
    [
        ["--seq", "0"],
        ["--world", "many"],
        ["--world", "0"],
        ["--shard", "4"],
        ["--shard", "x"],
        ["--shard", "²"],
        ["--regime", "int1"],
        ["--gradients", "int1"],
        ["--regime", "amp", "--gradients", "bf16"],
        ["--optimizer", "gravity"],
    ],
)
def test_a_training_plan_that_cannot_be_is_refused(
    capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    """The same one line for the states of training; it begins with the option."""
    plan = options if "--seq" in options else ["--seq", "4096", *options]
    assert options[-2] in refusal(capsys, "train", "Qwen/Qwen3-32B", *plan)


@pytest.mark.parametrize("text", ["2x rtx-a6000", "2xrtx-a6000", "2 x rtx-a6000", " 2x  rtx-a6000 "])
def test_a_count_is_understood_however_it_is_spaced(capsys: pytest.CaptureFixture[str], text: str) -> None:
    """The same machine, with and without spaces."""
    found = answer(capsys, "serve", "Qwen/Qwen3-32B", "--context", "8", "--on", text)
    assert [pool["devices"] for pool in found["pools"]] == [2]  # type: ignore[attr-defined]


def test_a_missing_file_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """A path that is not there is no model."""
    refusal(capsys, "model", "nowhere/config.json")
    refusal(capsys, "model", "nobody/knows-this")


def test_an_unknown_command_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """No command, a wrong one, and an option that the command has not."""
    refusal(capsys)
    refusal(capsys, "modelled", "Qwen/Qwen3-32B")
    refusal(capsys, "list")
    refusal(capsys, "list", "everything")
    refusal(capsys, "model", "Qwen/Qwen3-32B", "--context", "8")


@pytest.mark.parametrize("command", ["model", "list", "serve", "train"])
def test_help(capsys: pytest.CaptureFixture[str], command: str) -> None:
    """Every command explains itself."""
    assert main([command, "--help"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"usage: memcalc {command}")
    assert "--json" in said


@pytest.mark.parametrize("asked", ["--help", "-h", "help"])
def test_the_program_lists_its_commands(capsys: pytest.CaptureFixture[str], asked: str) -> None:
    assert main([asked]) == 0
    said = capsys.readouterr().out
    assert said.startswith("usage: memcalc COMMAND")
    assert all(f"\n  {name} " in said for name in ("model", "list", "serve", "train"))


@pytest.mark.parametrize("asked", ["--version", "version"])
def test_the_version_is_that_of_the_package(
    capsys: pytest.CaptureFixture[str], root: Path, asked: str
) -> None:
    assert main([asked]) == 0
    stated = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert capsys.readouterr().out == f"memcalc {stated}\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            [],
            "expected one of model, serve, train, which, check, explain, compare, measure, ask, list, given",
        ),
        (["sevre", "x"], "given 'sevre'; did you mean serve?"),
        (["serve", "x", "--contxt", "8"], "given '--contxt'; did you mean --context"),
        (["serve", "Qwen/Qwen3-32B", "--context", "8", "--engine", "VLM"], "did you mean vllm"),
        (["train", "Qwen/Qwen3-32B", "--seq", "8", "--optimizer", "adam"], "did you mean adamw"),
        (["list", "model"], "given 'model'; did you mean models?"),
        (["serve", "Qwen/Qwen3-32B"], "as in 8192 or 8k, given nothing; add it: "),
    ],
)
def test_a_near_miss_is_answered_with_a_question(
    capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert main(words) == 2
    line = capsys.readouterr().err
    assert line.startswith("memcalc: error: ")
    assert line.count("\n") == 1
    assert said in line


def test_lines_add_up_to_the_components(capsys: pytest.CaptureFixture[str]) -> None:
    """The lines that live at the fullest moment, and the runtime, are the components."""
    found = answer(capsys, "serve", "Qwen/Qwen3-32B", "--context", "8192", "--prompt", "4096", "--batch", "2")
    (pool,) = found["pools"]  # type: ignore[misc]
    fullest = max(pool["moments"], key=pool["moments"].get)
    sums: dict[str, int] = {}
    for line in found["lines"]:  # type: ignore[attr-defined]
        if fullest in line["moments"] or line["component"] == "runtime":
            sums[line["component"]] = sums.get(line["component"], 0) + line["bytes"]
    assert sums == pool["components"]
    assert sum(sums.values()) == pool["total_bytes"]


@pytest.mark.parametrize(
    "changed",
    [
        {"torch_dtype": "auto"},
        {"torch_dtype": ["bfloat16"]},
        {"torch_dtype": "bfloat16", "dtype": "float32"},
        {"quantization_config": "gptq"},
        {"quantization_config": {"quant_method": "awq", "bits": 4}},
        {"quantization_config": GPTQ | {"bits": 5}},
        {"quantization_config": GPTQ | {"group_size": 0}},
        {"quantization_config": GPTQ | {"lm_head": "yes"}},
        {"quantization_config": GPTQ | {"dynamic": {"+:.*": {"bits": 5}}}},
        {"quantization_config": FP8 | {"weight_block_size": [64, 64]}},
        {"quantization_config": FP8 | {"modules_to_not_convert": ["re:("]}},
        {"quantization_config": FP8 | {"modules_to_not_convert": ["mlp.experts.7.up_proj"]}},
        {"quantization_config": FP8 | {"modules_to_not_convert": 7}},
        {"quantization_config": FP8 | {"kv_cache_scheme": {"num_bits": 8}}},
        {"kv_cache_scheme": "INT4"},
    ],
)
def test_how_it_is_stored_is_never_guessed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, changed: dict[str, object]
) -> None:
    """A dtype or a quantization_config that says more than the known formats is refused."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**QWEN3, **changed}))
    said = refusal(capsys, "serve", str(path), "--context", "8")
    assert any(word in said for word in ("torch_dtype", "quantization_config", "kv_cache_scheme"))


def test_names_of_what_stays_in_16_bits_anyway_are_no_exceptions(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Published FP8 checkpoints list their norms and their head."""
    path = tmp_path / "config.json"
    kept_out = ["lm_head", "model.layers.0.input_layernorm", "model.layers.63.post_attention_layernorm"]
    fields = QWEN3 | {"quantization_config": FP8 | {"modules_to_not_convert": kept_out}}
    path.write_text(json.dumps(fields))
    assert answer(capsys, "serve", str(path), "--context", "8")["weights_file_bytes"] == 34_326_243_328


def test_a_field_that_stands_twice_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Nobody knows which of the two holds."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps(QWEN3)[:-1] + ', "hidden_size": 4096}')
    assert "hidden_size" in refusal(capsys, "model", str(path))


def test_a_folder_without_a_config_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """It says that the folder has none."""
    assert "a folder that holds a config.json" in refusal(capsys, "model", str(tmp_path))


ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=4,
)
NESTED = {
    "rope_scaling": ["rope_type", "type", "factor", "original_max_position_embeddings"],
    "quantization_config": ["quant_method", "bits", "group_size", "weight_block_size", "lm_head"],
}


@pytest.mark.slow
@settings(max_examples=300, derandomize=True)
@given(
    data=st.data(), name=st.sampled_from(["Qwen/Qwen3-32B", "deepseek-ai/DeepSeek-V3", "Qwen/Qwen3-30B-A3B"])
)
def test_no_config_ends_in_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, name: str
) -> None:
    """Whatever stands in a field: an answer, or one line and exit status 2."""
    fields = dict(source(name).fields)
    field = data.draw(st.sampled_from([*sorted(fields), *NESTED]))
    fields[field] = data.draw(ODD)
    if field in NESTED and data.draw(st.booleans()):
        key = data.draw(st.sampled_from(NESTED[field]))
        fields[field] = {
            "rope_type": "yarn",
            "quant_method": "gptq",
            "bits": 4,
            "group_size": 128,
            key: data.draw(ODD),
        }
    path = tmp_path_factory.getbasetemp() / "odd.json"
    path.write_text(json.dumps(fields))
    said, complained = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(complained):
        status = main(
            ["serve", str(path), "--context", "8", "--on", "h100-80g", "--engine", "vllm", "--json"]
        )
    assert status in (0, 2)
    assert bool(said.getvalue()) == (status == 0)
    assert complained.getvalue().count("\n") == (status == 2)
