"""The command line: answers, and refusals of one line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from memcalc.__main__ import main
from memcalc.sources import source

if TYPE_CHECKING:
    from pathlib import Path

QWEN3 = source("Qwen/Qwen3-32B").fields


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    assert main([*arguments, "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    found: dict[str, object] = json.loads(out)
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
    assert all(row["id"] for row in json.loads(capsys.readouterr().out))


SIZES = [
    "hidden_size",
    "num_attention_heads",
    "num_key_value_heads",
    "vocab_size",
    "head_dim",
    "some_unused_size",
    "topk_group",
]


@pytest.mark.parametrize("field", SIZES)
@pytest.mark.parametrize("value", [-1, 0, "8", 8.0, None, True])
def test_a_wrong_size_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, field: str, value: object
) -> None:
    """Every size-like field is a whole number >= 1, used or not."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**QWEN3, field: value}))
    assert field in refusal(capsys, "model", str(path))


@pytest.mark.parametrize("content", [b"", b"[1]", b'{"a": ', b"\xff\x00\x80", b"[" * 99_999])
def test_a_broken_file_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path, content: bytes) -> None:
    """Empty, a list, cut, binary, absurdly nested: one line."""
    path = tmp_path / "config.json"
    path.write_bytes(content)
    refusal(capsys, "model", str(path))


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
        ["--context", "8", "--on", "2x rtx-a6000 + 512GiB host"],
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
    assert options[-2] in refusal(capsys, "train", "Qwen/Qwen3-32B", *options)


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


@pytest.mark.parametrize("command", ["", "model", "list", "serve", "train"])
def test_help(capsys: pytest.CaptureFixture[str], command: str) -> None:
    """Every command explains itself; the program lists its commands."""
    with pytest.raises(SystemExit) as left:
        main([*command.split(), "--help"])
    assert left.value.code == 0
    said = capsys.readouterr().out
    assert said.startswith(f"usage: memcalc {command}")
    assert (
        ("--json" in said) if command else all(name in said for name in ("model", "list", "serve", "train"))
    )


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
