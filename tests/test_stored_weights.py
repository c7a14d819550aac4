"""A header alone: exact weights of any architecture; the cache where a GGUF's keys leave no doubt."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING

import pytest
from jsonschema import Draft202012Validator

from memcalc import serve, train
from memcalc.__main__ import main
from memcalc.cli.schema import schema
from memcalc.errors import MemcalcError
from memcalc.files import model, stored_weights
from tests.gguf_files import write

if TYPE_CHECKING:
    from pathlib import Path

TENSORS = {
    "backbone.embed.weight": ("BF16", [100, 8]),
    "backbone.layers.0.mixer.A_log": ("F32", [4]),
    "backbone.layers.0.mixer.in_proj.weight": ("BF16", [16, 8]),
    "backbone.layers.1.mixer.in_proj.weight": ("BF16", [16, 8]),
}
BYTES, NUMBERS = 1600 + 16 + 2 * 256, 800 + 4 + 256


def safetensors(path: Path, tensors=TENSORS) -> Path:
    """Write a file of zeros."""
    fields, at = {}, 0
    for name, (dtype, shape) in tensors.items():
        size = {"BF16": 2, "F32": 4, "I32": 4, "F8_E4M3": 1}[dtype]
        for axis in shape:
            size *= axis
        fields[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(fields).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"\0" * at)
    return path


def gguf(path: Path, *, name="newarch", blocks=2, added=None, rows=(4, 4), **changed) -> Path:
    """Write a file of an architecture that nobody knows: 2 key/value heads of 2 numbers."""
    values = {
        "general.architecture": name,
        f"{name}.block_count": blocks,
        f"{name}.embedding_length": 8,
        f"{name}.attention.head_count": 4,
        f"{name}.attention.head_count_kv": 2,
        f"{name}.context_length": 4096,
        f"{name}.rope.freq_base": 1e4,
        **{f"{name}.{key}": value for key, value in changed.items()},
    }
    tensors = [("token_embd.weight", (100, 32), "F32"), ("output_norm.weight", (32,), "F32")]
    for block in range(blocks):
        tensors += [
            (f"blk.{block}.attn_q.weight", (8, 32), "Q8_0"),
            (f"blk.{block}.attn_k.weight", (rows[0], 32), "Q8_0"),
            (f"blk.{block}.attn_v.weight", (rows[1], 32), "Q8_0"),
            (f"blk.{block}.ffn_up.weight", (16, 32), "Q8_0"),
        ]
    return write(path, values, tensors + (added or []))


def told(capsys, *words: str) -> dict:
    """Return the JSON of `memcalc model`, which keeps to its schema."""
    assert main(["model", *map(str, words), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    Draft202012Validator(schema("model")).validate(found)
    return found


def test_weights_of_any_architecture(tmp_path: Path, capsys) -> None:
    """A file alone, its folder, and beside a config.json of a type that no reader knows."""
    path = safetensors(tmp_path / "model.safetensors")
    for given in (path, tmp_path):
        found = told(capsys, given)
        assert (found["header"]["bytes"], found["parameters"], found["model_type"]) == (BYTES, NUMBERS, None)
        assert set(found["cache"].values()) == {None}
        assert "config.json" in found["cache_unknown"]
        assert {one["name"]: (one["dtype"], one["shape"]) for one in found["weights"]} == TENSORS
        assert sum(one["bytes"] for one in found["weights"]) == BYTES
    (tmp_path / "config.json").write_text('{"model_type": "not_known_yet"}')
    for given in (path, tmp_path):
        found = told(capsys, given)
        assert (found["header"]["bytes"], found["model_type"]) == (BYTES, "not_known_yet")


def test_text_says_why_the_cache_is_unknown(tmp_path: Path, capsys) -> None:
    assert main(["model", str(safetensors(tmp_path / "a.safetensors"))]) == 0
    text = capsys.readouterr().out
    assert "cache a token      unknown, because a header does not say" in text
    assert "2 x backbone.layers.{layer}.mixer.in_proj.weight  BF16 [16, 8], 512 B" in text


def test_one_file_alone_in_a_folder_is_meant(tmp_path: Path, capsys) -> None:
    safetensors(tmp_path / "adapter_of_no_known_name.safetensors")
    assert told(capsys, tmp_path)["header"]["bytes"] == BYTES
    safetensors(tmp_path / "another.safetensors")
    assert main(["model", str(tmp_path)]) == 2
    assert "model.safetensors.index.json" in capsys.readouterr().err


def test_packed_numbers_are_no_parameters(tmp_path: Path, capsys) -> None:
    packed = TENSORS | {"x.qweight": ("I32", [1, 16]), "x.scale": ("F8_E4M3", [8])}
    found = told(capsys, safetensors(tmp_path / "a.safetensors", packed))
    assert (found["header"]["bytes"], found["parameters"]) == (BYTES + 64 + 8, None)


def test_an_index_alone_has_names(tmp_path: Path, capsys) -> None:
    index = {"metadata": {"total_size": BYTES}, "weight_map": dict.fromkeys(TENSORS, "a-1.safetensors")}
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(json.dumps(index))
    found = told(capsys, path)
    assert (found["header"]["bytes"], found["parameters"]) == (BYTES, None)
    assert {one["name"] for one in found["weights"]} == set(TENSORS)
    assert main(["model", str(path)]) == 0


def test_serve_and_train_refuse(tmp_path: Path) -> None:
    path = safetensors(tmp_path / "a.safetensors")
    for refused in (lambda: serve(path, context=64), lambda: train(path, seq=64), lambda: model(path)):
        with pytest.raises(MemcalcError, match=r"expected a config\.json beside the weights"):
            refused()
    with pytest.raises(MemcalcError, match=r"general\.architecture: .*given .newarch.; `memcalc model`"):
        serve(gguf(tmp_path / "a.gguf"), context=64)
    with pytest.raises(MemcalcError, match="SOURCE: expected weights with a header"):
        stored_weights("Qwen/Qwen3-0.6B")
    assert main(["model", str(path), "--engine", "vllm"]) == 2


def test_a_gguf_of_an_architecture_without_a_reader(tmp_path: Path, capsys) -> None:
    """Two layers, two heads, two numbers each for keys and values, of two bytes: 32."""
    path = gguf(tmp_path / "a.gguf")
    for given in (path, tmp_path):
        found = told(capsys, given)
        assert found["model_type"] == "newarch"
        assert found["cache"] == {
            "bytes_per_token": 32,
            "bytes_per_token_in_window": 32,
            "state_bytes_per_sequence": 0,
        }
        assert found["parameters"] == 101 * 32 + 2 * 32 * 32
        assert found["header"]["bytes"] == 4 * 101 * 32 + 2 * 32 * 34
    assert main(["model", str(path)]) == 0
    assert "cache a token      32 B (16-bit)" in capsys.readouterr().out


def test_heads_may_differ_from_layer_to_layer(tmp_path: Path) -> None:
    wide = {"attention.key_length": 4, "attention.value_length": 2, "attention.head_count_kv": [2, 2]}
    found = stored_weights(gguf(tmp_path / "a.gguf", rows=(8, 4), **wide))
    assert found.cache is not None
    assert found.cache["bytes_per_token"] == 2 * 2 * 2 * 6


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"attention.sliding_window": 512}, "sliding_window may change it"),
        ({"ssm.state_size": 128}, r"ssm\.state_size may change it"),
        ({"attention.kv_lora_rank": 4}, "kv_lora_rank may change it"),
        ({"attention.causal": False}, "causal may change it"),
        ({"name": "smallthinker"}, "windows of smallthinker that no key states"),
        ({"rows": (8, 4)}, r"blk\.0: expected 2 key/value heads of 2 and 2"),
        ({"attention.head_count_kv": [2, 2, 2]}, "one for each of 2 layers"),
        ({"added": [("blk.1.ssm_in.weight", (4, 32), "F32")]}, "ssm_in.weight may remember"),
        ({"added": [("v.blk.0.attn_k.weight", (4, 32), "F32")]}, "may belong to another"),
        ({"added": [("blk.7.attn_k.weight", (4, 32), "F32")]}, "in none of 2 layers"),
    ],
)
def test_any_doubt_leaves_the_cache_unknown(tmp_path: Path, how, why) -> None:
    found = stored_weights(gguf(tmp_path / "a.gguf", **how))
    assert found.cache is None
    with pytest.raises(AssertionError, match=why):
        raise AssertionError(found.unknown)
