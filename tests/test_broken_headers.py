"""Headers that are cut, contradict themselves or say odd things: an answer, or one line and status 2."""

from __future__ import annotations

import copy
import json
import random
import struct

import pytest

from memcalc.__main__ import main
from memcalc.files.readers import read
from tests.gguf_files import described, write

SIZES = {"BF16": 2, "F32": 4, "I32": 4}
TENSORS = {
    "model.embed_tokens.weight": ("BF16", [100, 8]),
    "model.layers.0.mlp.up_proj.weight": ("BF16", [16, 8]),
    "model.layers.0.mlp.up_proj.qweight": ("I32", [4, 8]),
    "model.norm.weight": ("F32", [8]),
}
ODD = {
    "dtype": ["X9", "", None, 5, "F8_E4M3", "U4"],
    "shape": [[], [0], [-1], ["a"], None, [2**60], [1.5], "x", [True], [10**400], [1] * 50],
    "data_offsets": [[0], [5, 1], None, [0, 0], [0, 10**400], ["a", "b"], [-1, 4], [0, 1, 2], [0.5, 1]],
}
TWICE = ', "model.norm.weight": {"dtype": "F32", "shape": [8], "data_offsets": [0, 32]}}'
FILES = ("none", "[]", "null", "1", '"a"', "{}", "")
QWEN3 = {"model_type": "qwen3", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 1}
QWEN3 |= {"num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 320}


def entries():
    """What a sound header says of each tensor, and how many bytes follow."""
    found, at = {}, 0
    for name, (dtype, shape) in TENSORS.items():
        size = SIZES[dtype]
        for axis in shape:
            size *= axis
        found[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    return found, at


def broken_text(draw, found):
    """The header's text with an entry changed, or the text itself: cut, doubled, or of another kind."""
    name, field = draw.choice(sorted(found)), draw.choice(sorted(ODD))
    way = draw.choice(
        ("value", "value", "value", "less", "entry", "hostile", "cut", "twice", "other", "deep")
    )
    if way == "value":
        found[name][field] = draw.choice(ODD[field])
    elif way == "less":
        del found[name][field]
    elif way == "entry":
        found[draw.choice((name, "__metadata__"))] = draw.choice((None, [], 3, "x", {}, {"a": 1}))
    elif way == "hostile":
        found[f"{name}\x1b[31m"] = found[name]
    text = json.dumps(found)
    if way == "cut":
        return text[: draw.randrange(len(text))]
    return {"twice": text[:-1] + TWICE, "other": draw.choice(FILES), "deep": "[" * 50_000}.get(way, text)


def safetensors(draw):
    """A .safetensors file with one or two things wrong."""
    found, size = entries()
    text = broken_text(draw, copy.deepcopy(found)).encode()
    length, data = len(text), b"\0" * size
    if draw.random() < 0.1:
        length = draw.choice((0, 1, length + 1, length * 2, 2**63, 2**64 - 1, max(length - 1, 0)))
    if draw.random() < 0.2:
        data = draw.choice((data[:-7], data + b"\0" * 7, b""))
    whole = struct.pack("<Q", length) + text + data
    return whole[: draw.randrange(12)] if draw.random() < 0.1 else whole


def index(draw):
    """An index with one thing wrong, before the files that it names."""
    found = {"metadata": {"total_size": 2016}}
    found["weight_map"] = dict.fromkeys(TENSORS, "model-00001-of-00002.safetensors")
    odd = (None, 3, "", "../x", "/etc/passwd", "a\x1b[31m", "x" * 5000, ["a"])
    way = draw.choice(("map", "file", "metadata", "cut", "other"))
    if way == "map":
        found["weight_map"] = draw.choice((None, [], {}, "x", 3))
    elif way == "file":
        found["weight_map"][draw.choice(sorted(TENSORS))] = draw.choice(odd)
    elif way == "metadata":
        found["metadata"] = draw.choice((None, [], {"total_size": "x"}, {"total_size": -1}))
    text = json.dumps(found)
    cut = text[: draw.randrange(len(text))]
    return {"cut": cut, "other": draw.choice(FILES)}.get(way, text).encode()


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """The bytes of a sound GGUF file."""
    tensors = [("token_embd.weight", (320, 64), "F32"), ("blk.0.attn_q.weight", (512, 64), "Q8_0")]
    path = tmp_path_factory.mktemp("gguf") / "model.gguf"
    return write(path, described(QWEN3, read(QWEN3)), tensors).read_bytes()


def gguf(draw, whole):
    """A GGUF file that is cut, or with bytes changed, taken out or put in."""
    changed, at = bytearray(whole), draw.randrange(1200)
    way = draw.choice(("cut", "change", "change", "out", "in"))
    if way == "cut":
        return whole[: draw.randrange(len(whole))]
    if way == "change":
        for _ in range(draw.choice((1, 1, 4, 20))):
            changed[draw.randrange(1200)] = draw.choice((0, 1, 255, draw.randrange(256)))
    elif way == "out":
        del changed[at : at + draw.randrange(1, 9)]
    else:
        changed[at:at] = draw.randbytes(8)
    return bytes(changed)


@pytest.mark.parametrize("kind", ["model.safetensors", "model.safetensors.index.json", "model.gguf"])
def test_a_broken_header_is_one_line(kind, tmp_path, capsys, sound, pytestconfig):
    refused = 0
    for seed in range(2000 if pytestconfig.getoption("full") else 200):
        draw = random.Random(f"{kind} {seed}")
        makers = {"model.safetensors": safetensors, "model.safetensors.index.json": index}
        whole = gguf(draw, sound) if kind == "model.gguf" else makers[kind](draw)
        (tmp_path / kind).write_bytes(whole)
        status, printed = main(["model", str(tmp_path / kind), "--json"]), capsys.readouterr()
        assert status in (0, 2), seed
        refused += status == 2
        if status == 0:
            said = json.loads(printed.out)
            assert said["parameters"] != 0, seed
            continue
        line = printed.err.removeprefix("memcalc: error: ").removesuffix("\n")
        assert (printed.out, line.isprintable(), "report it" in line) == ("", True, False), (seed, line)
        assert len(line) <= 300, (seed, line)
    assert refused > 20
