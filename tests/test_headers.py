"""Headers of safetensors files, written here by hand, against the ledger that comes from the config.json."""

from __future__ import annotations

import contextlib
import io
import json
import os
from math import prod

import pytest
from hypothesis import given, settings, strategies as st

from memcalc.__main__ import main
from memcalc.errors import BadInputError
from memcalc.files.readers import read
from memcalc.files.sources import source
from memcalc.files.tensor_names import header
from memcalc.serving import serve
from tests.test_schema import faults
from tests.yardstick import at_most, milliseconds_of

SIZES = {"F8_E4M3": 1, "I8": 1, "U8": 1, "BF16": 2, "F16": 2, "F32": 4, "I32": 4, "U32": 4, "I64": 8}
CONFIG = {
    "hidden_size": 256,
    "intermediate_size": 384,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "vocab_size": 320,
    "torch_dtype": "bfloat16",
}
MATRICES = {  # of a dense layer: outputs and inputs
    "self_attn.q_proj": (256, 256),
    "self_attn.k_proj": (128, 256),
    "self_attn.v_proj": (128, 256),
    "self_attn.o_proj": (256, 256),
    "mlp.gate_proj": (384, 256),
    "mlp.up_proj": (384, 256),
    "mlp.down_proj": (256, 384),
}
NORMS = ("input_layernorm", "post_attention_layernorm")


def write(path, tensors, cut=0):
    """A safetensors file whose numbers are a hole; `cut` bytes are missing at its end."""
    entries, end = {"__metadata__": {"format": "pt"}}, 0
    for name, (dtype, *shape) in tensors.items():
        begin, end = end, end + SIZES[dtype] * prod(shape)
        entries[name] = {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(entries).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end - cut)
    return end


def outside(dtype="BF16"):
    """What stands before and after the layers."""
    return {
        "model.embed_tokens.weight": (dtype, 320, 256),
        "model.norm.weight": (dtype, 256),
        "lm_head.weight": (dtype, 320, 256),
    }


def model(arrays, dtype="BF16", matrices=MATRICES):
    """Two layers, each matrix stored as `arrays(name, outputs, inputs)`."""
    tensors = outside(dtype)
    for layer in ("model.layers.0.", "model.layers.1."):
        tensors |= {f"{layer}{norm}.weight": (dtype, 256) for norm in NORMS}
        for name, shape in matrices.items():
            tensors |= arrays(layer + name, *shape)
    return tensors


def plain(name, out, inp):
    return {f"{name}.weight": ("BF16", out, inp)}


def llama():
    return {"model_type": "llama"}, model(plain)


def phi3():
    fused = {
        "self_attn.qkv_proj": (512, 256),
        "self_attn.o_proj": (256, 256),
        "mlp.gate_up_proj": (768, 256),
        "mlp.down_proj": (256, 384),
    }
    return {"model_type": "phi3"}, model(plain, matrices=fused)


def mixtral():
    attention = {name: shape for name, shape in MATRICES.items() if name.startswith("self_attn")}
    experts = {
        f"block_sparse_moe.experts.{expert}.{name}": shape
        for expert in range(3)
        for name, shape in (("w1", (384, 256)), ("w2", (256, 384)), ("w3", (384, 256)))
    }
    router = {"block_sparse_moe.gate": (3, 256)}
    fields = {"model_type": "mixtral", "num_local_experts": 3, "num_experts_per_tok": 2}
    return fields, model(plain, matrices=attention | router | experts)


def gptq_arrays(name, out, inp):
    return {
        f"{name}.qweight": ("I32", inp // 8, out),
        f"{name}.qzeros": ("I32", inp // 128, out // 8),
        f"{name}.scales": ("F16", inp // 128, out),
        f"{name}.g_idx": ("I32", inp),
    }


def gptq():
    stated = {"quant_method": "gptq", "bits": 4, "group_size": 128, "desc_act": False, "sym": True}
    fields = {"model_type": "llama", "torch_dtype": "float16", "quantization_config": stated}
    return fields, model(gptq_arrays, "F16")


def fp8_arrays(scale):
    def arrays(name, out, inp):
        return {
            f"{name}.weight": ("F8_E4M3", out, inp),
            f"{name}.weight_scale_inv": (scale, -(-out // 128), -(-inp // 128)),
        }

    return arrays


def fp8(scale="BF16"):
    stated = {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128]}
    return {"model_type": "llama", "quantization_config": stated}, model(fp8_arrays(scale))


def awq():
    def arrays(name, out, inp):
        return {
            f"{name}.qweight": ("I32", inp, out // 8),
            f"{name}.qzeros": ("I32", inp // 128, out // 8),
            f"{name}.scales": ("F16", inp // 128, out),
        }

    stated = {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True, "version": "gemm"}
    fields = {"model_type": "llama", "torch_dtype": "float16", "quantization_config": stated}
    return fields, model(arrays, "F16")


def fp8_static():
    def arrays(name, out, inp):
        return {
            f"{name}.weight": ("F8_E4M3", out, inp),
            f"{name}.weight_scale": ("F32",),
            f"{name}.input_scale": ("F32",),
        }

    stated = {"quant_method": "fp8", "activation_scheme": "static"}
    return {"model_type": "llama", "quantization_config": stated}, model(arrays)


def nf4(double):
    def arrays(name, out, inp):
        blocks = out * inp // 64
        found = {
            f"{name}.weight": ("U8", out * inp // 2, 1),
            f"{name}.weight.quant_map": ("F32", 16),
            f"{name}.weight.quant_state.bitsandbytes__nf4": ("U8", 77),
        }
        if not double:
            return found | {f"{name}.weight.absmax": ("F32", blocks)}
        return found | {
            f"{name}.weight.absmax": ("U8", blocks),
            f"{name}.weight.nested_absmax": ("F32", -(-blocks // 256)),
            f"{name}.weight.nested_quant_map": ("F32", 256),
        }

    stated = {
        "quant_method": "bitsandbytes",
        "load_in_4bit": True,
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": double,
    }
    return {"model_type": "llama", "quantization_config": stated}, model(arrays)


def int8():
    def arrays(name, out, inp):
        return {
            f"{name}.weight": ("I8", out, inp),
            f"{name}.SCB": ("F32", out),
            f"{name}.weight_format": ("U8",),
        }

    stated = {"quant_method": "bitsandbytes", "load_in_8bit": True}
    return {"model_type": "llama", "quantization_config": stated}, model(arrays)


def compressed(layout, weights, arrays):
    groups = {"group_0": {"targets": ["Linear"], "weights": weights}}
    stated = {
        "quant_method": "compressed-tensors",
        "format": layout,
        "config_groups": groups,
        "ignore": ["lm_head"],
    }
    return {"model_type": "llama", "quantization_config": stated}, model(arrays)


def packed():
    def arrays(name, out, inp):
        return {
            f"{name}.weight_packed": ("I32", out, inp // 8),
            f"{name}.weight_scale": ("BF16", out, inp // 32),
            f"{name}.weight_shape": ("I64", 2),
        }

    weights = {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 32, "symmetric": True}
    return compressed("pack-quantized", weights, arrays)


def packed_asymmetric():
    def arrays(name, out, inp):
        return {
            f"{name}.weight_packed": ("I32", out, inp // 8),
            f"{name}.weight_scale": ("BF16", out, inp // 128),
            f"{name}.weight_zero_point": ("I32", out // 8, inp // 128),
            f"{name}.weight_shape": ("I64", 2),
        }

    weights = {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 128, "symmetric": False}
    return compressed("pack-quantized", weights, arrays)


def a_scale_a_row(layout, kind, dtype):
    def arrays(name, out, inp):
        return {f"{name}.weight": (dtype, out, inp), f"{name}.weight_scale": ("BF16", out, 1)}

    return compressed(layout, {"num_bits": 8, "type": kind, "strategy": "channel"}, arrays)


def modelopt(algorithm):
    def arrays(name, out, inp):
        numbers = {f"{name}.input_scale": ("F32",)}
        if algorithm == "FP8":
            return numbers | {f"{name}.weight": ("F8_E4M3", out, inp), f"{name}.weight_scale": ("F32",)}
        return numbers | {
            f"{name}.weight": ("U8", out, inp // 2),
            f"{name}.weight_scale": ("F8_E4M3", out, inp // 16),
            f"{name}.weight_scale_2": ("F32",),
        }

    stated = {"quant_algo": algorithm, "exclude_modules": ["lm_head"]}
    stated |= {"group_size": 16} if algorithm == "NVFP4" else {}
    return {"model_type": "llama", "quantization_config": stated}, model(arrays)


def mlx():
    def arrays(name, out, inp):
        return {
            f"{name}.weight": ("U32", out, inp // 8),
            f"{name}.scales": ("BF16", out, inp // 64),
            f"{name}.biases": ("BF16", out, inp // 64),
        }

    tensors = model(arrays)
    for name in ("model.embed_tokens", "lm_head"):
        tensors |= arrays(name, 320, 256)
    return {"model_type": "llama", "quantization": {"bits": 4, "group_size": 64}}, tensors


def gpt_oss():
    attention = {name: shape for name, shape in MATRICES.items() if name.startswith("self_attn")}
    tensors = model(plain, matrices=attention)
    for layer in ("model.layers.0.", "model.layers.1."):
        tensors |= {f"{layer}{name}.bias": ("BF16", shape[0]) for name, shape in attention.items()}
        tensors |= {
            f"{layer}self_attn.sinks": ("BF16", 4),
            f"{layer}mlp.router.weight": ("BF16", 3, 256),
            f"{layer}mlp.router.bias": ("BF16", 3),
            f"{layer}mlp.experts.gate_up_proj_blocks": ("U8", 3, 768, 8, 16),
            f"{layer}mlp.experts.gate_up_proj_scales": ("U8", 3, 768, 8),
            f"{layer}mlp.experts.gate_up_proj_bias": ("BF16", 3, 768),
            f"{layer}mlp.experts.down_proj_blocks": ("U8", 3, 256, 12, 16),
            f"{layer}mlp.experts.down_proj_scales": ("U8", 3, 256, 12),
            f"{layer}mlp.experts.down_proj_bias": ("BF16", 3, 256),
        }
    fields = {"model_type": "gpt_oss", "num_local_experts": 3, "num_experts_per_tok": 2}
    kept = ["model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"]
    stated = {"quant_method": "mxfp4", "modules_to_not_convert": kept}
    return fields | {"quantization_config": stated}, tensors


COUNT = 2 * len(MATRICES)
# a checkpoint, and its bytes beyond what formats count: texts, shapes, a mark
CHECKPOINTS = {
    "llama": (llama(), 0),
    "phi3": (phi3(), 0),
    "mixtral": (mixtral(), 0),
    "gptq": (gptq(), 0),
    "fp8 block": (fp8(), 0),
    "fp8 block, fp32 scales": (fp8("F32"), 0),
    "fp8 static": (fp8_static(), 0),
    "awq": (awq(), 0),
    "nf4": (nf4(double=False), 77 * COUNT),
    "nf4 double": (nf4(double=True), 77 * COUNT),
    "int8": (int8(), COUNT),
    "packed": (packed(), 16 * COUNT),
    "packed, zero points": (packed_asymmetric(), 16 * COUNT),
    "fp8 a row": (a_scale_a_row("float-quantized", "float", "F8_E4M3"), 0),
    "int8 a row": (a_scale_a_row("int-quantized", "int", "I8"), 0),
    "modelopt fp8": (modelopt("FP8"), 0),
    "modelopt nvfp4": (modelopt("NVFP4"), 0),
    "mlx": (mlx(), 0),
    "gpt_oss": (gpt_oss(), 0),
}


@pytest.fixture
def checkpoint(tmp_path):
    """Write a folder with a config.json and a header; the folder."""

    def make(fields, tensors, name="model.safetensors"):
        (tmp_path / "config.json").write_text(json.dumps(CONFIG | fields))
        write(tmp_path / name, tensors)
        return tmp_path

    return make


@pytest.fixture
def answer(capsys):
    """The JSON of a command."""

    def ask(*arguments):
        assert main([*map(str, arguments), "--json"]) == 0
        said = capsys.readouterr()
        assert said.err == ""
        found = json.loads(said.out)
        assert faults(arguments[0], found) == []
        return found

    return ask


@pytest.fixture
def refusal(capsys):
    """The one line of a command that cannot answer."""

    def ask(path):
        assert main(["model", str(path)]) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.startswith("memcalc: error: ")
        assert said.err.count("\n") == 1
        return said.err

    return ask


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_checkpoint_as_its_tool_writes_it_is_equal(checkpoint, answer, name):
    """No difference, and the plan's bytes of weights are the file's, but for what no format counts."""
    (fields, tensors), beside = CHECKPOINTS[name]
    folder = checkpoint(fields, tensors)
    said = answer("model", folder)
    assert said["differences"] == []
    size = sum(SIZES[dtype] * prod(shape) for dtype, *shape in tensors.values())
    assert said["header"] == {"tensors": len(tensors), "bytes": size, "ledger_bytes": size, "files": 1}
    planned = answer("serve", folder, "--context", 8)
    assert planned["header"] == said["header"]
    assert planned["differences"] == []
    assert planned["weights_file_bytes"] == size - beside


def one(answer, folder):
    (found,) = answer("model", folder)["differences"]
    return found


BROKEN = {
    "llama": ("model.layers.1.mlp.up_proj.weight", ("BF16", 384, 255), ("F16", 384, 256)),
    "phi3": ("model.layers.0.self_attn.qkv_proj.weight", ("BF16", 384, 256), ("F32", 512, 256)),
    "mixtral": ("model.layers.1.block_sparse_moe.experts.2.w2.weight", ("BF16", 256, 256), ("F16", 256, 384)),
    "gptq": ("model.layers.0.mlp.down_proj.qzeros", ("I32", 3, 33), ("F32", 3, 32)),
    "fp8 block": ("model.layers.1.self_attn.o_proj.weight", ("F8_E4M3", 256, 255), ("I8", 256, 256)),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_the_one_difference(checkpoint, answer, name):
    """A name missing, a wrong shape, a wrong dtype, a tensor too many."""
    (fields, tensors), _ = CHECKPOINTS[name]
    broken, shape, dtype = BROKEN[name]

    def stored(entry):
        return {"dtype": entry[0], "shape": list(entry[1:])}

    found = one(answer, checkpoint(fields, {key: item for key, item in tensors.items() if key != broken}))
    assert (found["name"], found["kind"], found["found"], found["count"]) == (broken, "missing", None, 1)
    assert found["expected"]["shape"] == list(tensors[broken][1:])
    for kind, entry in (("shape", shape), ("dtype", dtype)):
        found = one(answer, checkpoint(fields, tensors | {broken: entry}))
        assert (found["name"], found["kind"], found["found"]) == (broken, kind, stored(entry))
        assert found["expected"]["shape"] == list(tensors[broken][1:])
    found = one(answer, checkpoint(fields, tensors | {"model.extra.weight": ("BF16", 2)}))
    assert found == {
        "name": "model.extra.weight",
        "kind": "unexpected",
        "expected": None,
        "found": stored(("BF16", 2)),
        "count": 1,
    }


def test_equal_differences_of_layers_are_one(checkpoint, answer, capsys):
    """Stored inverse frequencies, as some old checkpoints have them."""
    fields, tensors = llama()
    for layer in (0, 1):
        tensors[f"model.layers.{layer}.self_attn.rotary_emb.inv_freq"] = ("F32", 32)
    folder = checkpoint(fields, tensors)
    found = one(answer, folder)
    assert found["name"] == "model.layers.{layer}.self_attn.rotary_emb.inv_freq"
    assert (found["kind"], found["count"]) == ("unexpected", 2)
    assert main(["model", str(folder)]) == 0
    said = capsys.readouterr().out
    assert f"header differs in 2 tensor(s): unexpected {found['name']}" in said


def test_a_copy_of_a_tied_head_is_a_difference(checkpoint, answer):
    fields, tensors = llama()
    folder = checkpoint(fields | {"tie_word_embeddings": True}, tensors)
    assert (one(answer, folder)["name"], one(answer, folder)["kind"]) == ("lm_head.weight", "unexpected")


def test_older_gptq_tools_store_zero_biases(checkpoint, answer):
    """They are no difference, and no bytes of the plan."""
    fields, tensors = gptq()
    without = answer("serve", checkpoint(fields, tensors), "--context", 8)["weights_file_bytes"]
    for layer in (0, 1):
        for name, shape in MATRICES.items():
            tensors[f"model.layers.{layer}.{name}.bias"] = ("F16", shape[0])
    said = answer("serve", checkpoint(fields, tensors), "--context", 8)
    assert said["differences"] == []
    assert said["header"]["bytes"] - said["weights_file_bytes"] == 2 * 2 * sum(
        shape[0] for shape in MATRICES.values()
    )
    assert said["weights_file_bytes"] == without


@pytest.mark.parametrize(("scale", "width"), [("BF16", 2), ("F32", 4)])
def test_the_header_says_how_wide_scales_are(checkpoint, capsys, scale, width):
    """Without a header the record's assumption holds, and is said."""
    folder = checkpoint(*fp8(scale))
    scales = 2 * sum(-(-out // 128) * -(-inp // 128) for out, inp in MATRICES.values())
    known = serve(str(folder), context=8)
    alone = serve(str(folder / "config.json"), context=8)
    assert alone.weights_file_bytes - known.weights_file_bytes == (4 - width) * scales
    assert (known.plan.assumed, alone.plan.assumed) == ("", "scales of 32 bits")
    assert main(["serve", str(folder / "config.json"), "--context", "8"]) == 0
    assert "derived, under these assumptions: scales of 32 bits" in capsys.readouterr().out
    assert main(["serve", str(folder), "--context", "8"]) == 0
    said = capsys.readouterr().out
    assert "header: equal" in said
    assert "derived" not in said


def test_scales_of_two_widths_are_differences(checkpoint, answer):
    """Then the record's width holds for all."""
    fields, tensors = fp8("F32")
    tensors["model.layers.0.mlp.up_proj.weight_scale_inv"] = ("BF16", 3, 2)
    found = one(answer, checkpoint(fields, tensors))
    assert (found["kind"], found["expected"]["dtype"], found["found"]["dtype"]) == ("dtype", "F32", "BF16")


def test_modules_in_16_bits_are_expected_so(checkpoint, answer):
    fields, tensors = fp8()
    kept = "model.layers.1.mlp.down_proj"
    fields["quantization_config"]["modules_to_not_convert"] = [kept]
    assert {item["kind"] for item in answer("model", checkpoint(fields, tensors))["differences"]} == {
        "dtype",
        "unexpected",
    }
    del tensors[f"{kept}.weight_scale_inv"]
    tensors[f"{kept}.weight"] = ("BF16", 256, 384)
    assert answer("model", checkpoint(fields, tensors))["differences"] == []


def test_a_vision_tower_under_its_older_name(tmp_path, answer):
    """Published Gemma 3 has a level more than version 5 of transformers writes; the tower may be left out."""
    vision = {
        "hidden_size": 8,
        "intermediate_size": 9,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 28,
        "patch_size": 14,
        "vision_use_head": False,
    }
    text = {key: value for key, value in CONFIG.items() if key != "torch_dtype"}
    fields = {"model_type": "gemma3", "torch_dtype": "bfloat16"}
    fields |= {"text_config": text, "vision_config": vision}
    (tmp_path / "config.json").write_text(json.dumps(fields))
    new = {name: ("BF16", *shape) for name, shape in header(read(fields)).items()}
    older = {
        name.replace("vision_tower.", "vision_tower.vision_model."): entry for name, entry in new.items()
    }
    alone = {name: entry for name, entry in new.items() if name.startswith("language_model.")}
    assert len(new) == len(older) > len(alone) > 0
    for tensors in (new, older, alone):
        write(tmp_path / "model.safetensors", tensors)
        assert answer("model", tmp_path)["differences"] == []


def test_a_tool_that_nobody_confirmed_is_not_compared(checkpoint, answer, capsys):
    """But what it leaves in 16 bits is."""
    weights = {"num_bits": 4, "type": "float", "strategy": "tensor_group", "group_size": 16}
    fields, tensors = compressed("nvfp4-pack-quantized", weights, lambda name, out, inp: {})
    tensors["model.layers.0.mlp.up_proj.weight_packed"] = ("U8", 384, 128)
    folder = checkpoint(fields, tensors)
    found = one(answer, folder)
    assert found["kind"] == "not compared"
    assert found["name"] == "the arrays of compressed-tensors nvfp4-pack-quantized"
    assert found["count"] == COUNT
    assert main(["model", str(folder)]) == 0
    assert f"not compared: {found['name']}" in capsys.readouterr().out
    del tensors["model.norm.weight"]
    kinds = [item["kind"] for item in answer("model", checkpoint(fields, tensors))["differences"]]
    assert kinds == ["missing", "not compared"]


def test_a_quantisation_that_is_not_understood_compares_nothing(checkpoint, answer):
    fields, tensors = llama()
    folder = checkpoint(fields | {"quantization_config": {"quant_method": "unheard"}}, tensors)
    said = answer("model", folder)
    assert said["header"]["ledger_bytes"] is None
    (found,) = said["differences"]
    assert found["kind"] == "not compared"
    assert "quant_method" in found["name"]


def indexed(folder, tensors, parts=2, size=None):
    """Shards and their index; what the index says of their bytes."""
    names = list(tensors)
    shards = [f"model-{part + 1:05}-of-{parts:05}.safetensors" for part in range(parts)]
    total = 0
    for part, shard in enumerate(shards):
        total += write(folder / shard, {name: tensors[name] for name in names[part::parts]})
    index = {
        "metadata": {"total_size": total if size is None else size},
        "weight_map": {name: shards[place % parts] for place, name in enumerate(names)},
    }
    path = folder / "model.safetensors.index.json"
    path.write_text(json.dumps(index))
    return path, shards


def test_an_index_and_its_shards(tmp_path, answer):
    """By its own path, or by the folder's."""
    fields, tensors = llama()
    (tmp_path / "config.json").write_text(json.dumps(CONFIG | fields))
    path, _ = indexed(tmp_path, tensors)
    for text in (path, tmp_path):
        said = answer("model", text)
        assert said["differences"] == []
        assert (said["header"]["tensors"], said["header"]["files"]) == (len(tensors), 2)


def test_an_index_alone_gives_names_and_a_sum(tmp_path, answer, capsys):
    fields, tensors = llama()
    (tmp_path / "config.json").write_text(json.dumps(CONFIG | fields))
    path, shards = indexed(tmp_path, tensors)
    for shard in shards:
        (tmp_path / shard).unlink()
    said = answer("model", path)
    assert said["differences"] == []
    assert said["header"]["files"] == 0
    assert said["header"]["bytes"] == said["header"]["ledger_bytes"]
    assert main(["model", str(path)]) == 0
    assert "names (no shard in the index's folder)" in capsys.readouterr().out
    index = json.loads(path.read_text())
    index["weight_map"]["model.extra"] = index["weight_map"].pop("model.norm.weight")
    index["metadata"]["total_size"] += 1
    path.write_text(json.dumps(index))
    found = {item["name"]: item["kind"] for item in answer("model", path)["differences"]}
    assert found == {
        "model.norm.weight": "missing",
        "model.extra": "unexpected",
        "metadata.total_size": "bytes",
    }


DIMENSIONS = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "vocab_size",
)
INDEXES = {  # model_type, dimensions, what else matters; names and total_size of the index, read 2026-11
    "fetchwiki/deepcogito-cogito-v1-preview-qwen-14B@3ebd2c0": (
        "qwen2",
        (5120, 13_824, 48, 40, 8, 151_665),
        {},
        (579, 29_531_895_808),
    ),
    "fetchwiki/mistralai-Devstral-Small-2507@bc3721c": (
        "mistral",
        (5120, 32_768, 40, 32, 8, 131_072),
        {"head_dim": 128, "sliding_window": None},
        (363, 47_144_806_400),
    ),
    "tbressers/WizardLM-2-8x22B@714c46d": (
        "mixtral",
        (6144, 16_384, 56, 48, 8, 32_000),
        {"num_local_experts": 8, "num_experts_per_tok": 2},
        (1739, 281_241_268_224),
    ),
    "root-hypercube/qwen3-mlx@3bdd51a": (
        "qwen3",
        (2048, 6144, 28, 16, 8, 151_936),
        {"head_dim": 128, "tie_word_embeddings": True},
        (310, 3_441_149_952),
    ),
}


@pytest.mark.parametrize("repository", INDEXES)
def test_published_indexes(tmp_path, answer, repository):
    """Their numbers of tensors and bytes, from indexes on GitHub; one alone states no shapes to compare."""
    model_type, dimensions, more, published = INDEXES[repository]
    fields = {"model_type": model_type, "torch_dtype": "bfloat16", **more}
    fields |= dict(zip(DIMENSIONS, dimensions, strict=True))
    names = header(read(fields))
    index = {"metadata": {"total_size": published[1]}, "weight_map": dict.fromkeys(names, "a.safetensors")}
    (tmp_path / "config.json").write_text(json.dumps(fields))
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    said = answer("model", tmp_path)
    assert said["differences"] == []
    assert (said["header"]["tensors"], said["header"]["ledger_bytes"]) == published


def test_an_index_that_states_another_sum_than_its_shards(tmp_path, answer, capsys):
    fields, tensors = llama()
    (tmp_path / "config.json").write_text(json.dumps(CONFIG | fields))
    path, _ = indexed(tmp_path, tensors, size=1000)
    found = one(answer, path)
    assert (found["name"], found["kind"], found["found"]) == ("metadata.total_size", "bytes", 1000)
    assert main(["model", str(path)]) == 0
    assert "the index states 1,000 bytes instead of" in capsys.readouterr().out


def change_index(path, change):
    index = json.loads(path.read_text())
    change(index)
    path.write_text(json.dumps(index))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda path, shard: shard.unlink(), "is missing"),
        (lambda path, shard: path.write_text("{"), "valid JSON"),
        (lambda path, shard: path.write_text("{}"), "weight_map"),
        (lambda path, shard: shard.write_bytes(b"12"), "2 bytes"),
        (lambda path, shard: write(shard, {"other": ("F32", 1)}), "no such tensor"),
        (lambda path, shard: write(shard, outside()), "in one file"),
        (
            lambda path, shard: change_index(
                path, lambda index: index["weight_map"].update({"model.norm.weight": "../up.safetensors"})
            ),
            "names of files in its folder",
        ),
        (
            lambda path, shard: change_index(path, lambda index: index["metadata"].update(total_size="much")),
            "total_size",
        ),
    ],
    ids=["no shard", "cut", "empty", "short shard", "other shard", "twice", "elsewhere", "no number"],
)
def test_an_index_and_shards_that_do_not_belong_together(tmp_path, refusal, spoil, says):
    fields, tensors = llama()
    (tmp_path / "config.json").write_text(json.dumps(CONFIG | fields))
    path, shards = indexed(tmp_path, tensors)
    spoil(path, tmp_path / shards[1])
    assert says in refusal(path)


GOOD = {"a": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]}}


def header_bytes(fields, numbers=12):
    text = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
    return len(text).to_bytes(8, "little") + text + bytes(numbers)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "0 bytes"),
        (b"1234567", "7 bytes"),
        (b"\xff" * 64, "at most 100000000 bytes"),
        ((100_000_001).to_bytes(8, "little") + b"{}", "at most 100000000 bytes"),
        ((50).to_bytes(8, "little") + b"{}", "a header of 50 bytes"),
        (header_bytes(b"not json at all"), "a header in JSON"),
        (header_bytes(b"\xff\xfe\x00"), "a header in JSON"),
        (header_bytes(b"[" * 99_999), "a header in JSON"),
        (header_bytes(b"[1]"), "a JSON object"),
        (header_bytes(b'{"a": 1, "a": 2}'), "each field once"),
        (header_bytes({"a": 3}), "dtype, shape and data_offsets"),
        (header_bytes({"a": GOOD["a"] | {"more": 1}}), "dtype, shape and data_offsets"),
        (header_bytes({"a": GOOD["a"] | {"dtype": "F7"}}), "a dtype among"),
        (header_bytes({"a": GOOD["a"] | {"dtype": None}}), "a dtype among"),
        (header_bytes({"a": GOOD["a"] | {"shape": [2, -3]}}), "a shape"),
        (header_bytes({"a": GOOD["a"] | {"shape": [2, 3.0]}}), "a shape"),
        (header_bytes({"a": GOOD["a"] | {"shape": "23"}}), "a shape"),
        (header_bytes({"a": GOOD["a"] | {"shape": [2, 4]}}), "16 bytes apart"),
        (header_bytes({"a": GOOD["a"] | {"dtype": "F4", "shape": [3]}}), "bytes apart"),
        (header_bytes({"a": GOOD["a"] | {"data_offsets": [12, 0]}}), "begin and end"),
        (header_bytes({"a": GOOD["a"] | {"data_offsets": [0]}}), "begin and end"),
        (header_bytes({"a": GOOD["a"] | {"data_offsets": [4, 16]}}, 16), "begins at byte 0"),
        (header_bytes(GOOD | {"b": GOOD["a"]}), "begins at byte 12"),
        (header_bytes(GOOD, 11), "that its header says"),
        (header_bytes(GOOD, 13), "that its header says"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, refusal, content, says):
    """Whatever is wrong, one line says it."""
    (tmp_path / "config.json").write_text(json.dumps(CONFIG | {"model_type": "llama"}))
    (tmp_path / "model.safetensors").write_bytes(content)
    assert says in refusal(tmp_path)
    assert says in refusal(tmp_path / "model.safetensors")


ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.sampled_from([*SIZES]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=4,
)


@pytest.mark.slow
@settings(max_examples=200, derandomize=True)
@given(data=st.data())
def test_no_header_ends_in_a_traceback(tmp_path_factory, data):
    """Whatever stands in it: an answer, or one line and exit status 2."""
    fields, tensors = fp8()
    folder = tmp_path_factory.getbasetemp() / "odd"
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG | fields))
    write(folder / "model.safetensors", tensors)
    content = (folder / "model.safetensors").read_bytes()
    entries = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    name = data.draw(st.sampled_from([*entries]))
    field = data.draw(st.sampled_from(["dtype", "shape", "data_offsets", None]))
    entries[name] = data.draw(ODD) if field is None else {**entries[name], field: data.draw(ODD)}
    (folder / "model.safetensors").write_bytes(header_bytes(entries, data.draw(st.integers(0, 9))))
    said, complained = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(complained):
        status = main(["serve", str(folder), "--context", "8", "--json"])
    assert status in (0, 2)
    assert bool(said.getvalue()) == (status == 0)
    assert complained.getvalue().count("\n") == (status == 2)


@pytest.mark.parametrize("dtype", ["F64", "U8", "F8_E4M3", "BOOL"])
def test_scales_of_another_kind_are_differences(checkpoint, answer, monkeypatch, dtype):
    monkeypatch.setitem(SIZES, "F64", 8)
    monkeypatch.setitem(SIZES, "BOOL", 1)
    found = answer("serve", checkpoint(*fp8(dtype)), "--context", 8)["differences"]
    assert {item["kind"] for item in found} == {"dtype"}
    assert sum(item["count"] for item in found) == COUNT


def test_a_good_header_of_one_tensor_is_read(tmp_path, answer):
    """The file that the damaged ones above were made from."""
    (tmp_path / "config.json").write_text(json.dumps(CONFIG | {"model_type": "llama"}))
    (tmp_path / "model.safetensors").write_bytes(header_bytes(GOOD))
    said = answer("model", tmp_path)
    assert (said["header"]["tensors"], said["header"]["bytes"]) == (1, 12)
    assert "a" in {item["name"] for item in said["differences"] if item["kind"] == "unexpected"}


def test_a_cut_download_is_refused(checkpoint, refusal):
    folder = checkpoint(*llama())
    write(folder / "model.safetensors", llama()[1], cut=1)
    assert "download the file again" in refusal(folder)


def test_a_folder_needs_a_config_or_weights(tmp_path, refusal, answer):
    """With weights alone they are counted: tests/test_stored_weights.py."""
    assert "a folder that holds a config.json or weights" in refusal(tmp_path)
    write(tmp_path / "model.safetensors", llama()[1])
    assert answer("model", tmp_path)["cache_unknown"]


def test_several_files_need_an_index(checkpoint, refusal, answer):
    folder = checkpoint(*llama(), name="one.safetensors")
    assert "one.safetensors" in refusal(folder)  # is it the model's, or an adapter's?
    assert answer("model", folder / "one.safetensors")["differences"] == []
    write(folder / "two.safetensors", {"x": ("F32", 1)})
    assert "2 .safetensors files" in refusal(folder)
    assert answer("model", folder / "config.json")["header"] is None
    write(folder / "model.safetensors", llama()[1])
    assert answer("model", folder)["header"]["tensors"] == len(llama()[1])


def test_one_shard_is_no_checkpoint(checkpoint, refusal):
    folder = checkpoint(*llama(), name="model-00001-of-00004.safetensors")
    assert "one shard of 4" in refusal(folder / "model-00001-of-00004.safetensors")


def test_what_is_no_file(tmp_path, refusal):
    (tmp_path / "config.json").write_text(json.dumps(CONFIG | {"model_type": "llama"}))
    assert "no file at" in refusal(tmp_path / "gone.safetensors")
    assert "a readable file" in refusal(tmp_path / "model.safetensors.index.json")
    assert "a readable file" in refusal(tmp_path / "model.gguf")


def deepseek_v3():
    """The tensors of deepseek-ai/DeepSeek-V3: 61 layers and one that predicts a token further."""
    tensors = {
        "model.embed_tokens.weight": ("BF16", 129_280, 7168),
        "model.norm.weight": ("BF16", 7168),
        "lm_head.weight": ("BF16", 129_280, 7168),
    }
    arrays = fp8_arrays("F32")
    attention = {
        "q_a_proj": (1536, 7168),
        "q_b_proj": (24_576, 1536),
        "kv_a_proj_with_mqa": (576, 7168),
        "kv_b_proj": (32_768, 512),
        "o_proj": (7168, 16_384),
    }
    for layer in range(62):
        here = f"model.layers.{layer}."
        for name, shape in attention.items():
            tensors |= arrays(f"{here}self_attn.{name}", *shape)
        norms = {"self_attn.q_a_layernorm": 1536, "self_attn.kv_a_layernorm": 512} | dict.fromkeys(
            NORMS, 7168
        )
        tensors |= {f"{here}{name}.weight": ("BF16", width) for name, width in norms.items()}
        mlps = {"mlp.": 18_432} if layer < 3 else {"mlp.shared_experts.": 2048}
        if layer >= 3:
            tensors[f"{here}mlp.gate.weight"] = ("BF16", 256, 7168)
            tensors[f"{here}mlp.gate.e_score_correction_bias"] = ("F32", 256)
            mlps |= {f"mlp.experts.{expert}.": 2048 for expert in range(256)}
        for name, width in mlps.items():
            for half in ("gate_proj", "up_proj"):
                tensors.update(arrays(f"{here}{name}{half}", width, 7168))
            tensors.update(arrays(f"{here}{name}down_proj", 7168, width))
    last = "model.layers.61."
    tensors |= {f"{last}{name}.weight": ("BF16", 7168) for name in ("enorm", "hnorm", "shared_head.norm")}
    tensors |= {
        f"{last}eh_proj.weight": ("BF16", 7168, 14_336),
        f"{last}embed_tokens.weight": ("BF16", 129_280, 7168),
        f"{last}shared_head.head.weight": ("BF16", 129_280, 7168),
    }
    return tensors


@pytest.mark.full
@pytest.mark.skipif(os.name == "nt", reason="a file of 688 GB is a hole only where holes are")
def test_the_whole_of_deepseek_v3(tmp_path, answer):
    """Published: 91,991 tensors, 688,574,839,360 bytes. github.com/simpx/model-inspect, README, 2025."""
    (tmp_path / "config.json").write_text(json.dumps(source("deepseek-ai/DeepSeek-V3").fields))
    tensors = deepseek_v3()
    write(tmp_path / "model.safetensors", tensors)
    answers = []

    def ask():
        answers.append(answer("model", tmp_path))

    at_most(4000, lambda: milliseconds_of(ask), rounds=(1, 2, 4))
    said = answers[-1]
    assert said["differences"] == []
    published = {"tensors": 91_991, "bytes": 688_574_839_360, "ledger_bytes": 688_574_839_360, "files": 1}
    assert said["header"] == published
    last = "model.layers.61."
    # without the layer that predicts further: it may be left out as a whole, but not by half
    kept = {name: entry for name, entry in tensors.items() if not name.startswith(last)}
    write(tmp_path / "model.safetensors", kept)
    assert answer("model", tmp_path)["differences"] == []
    half = kept | {"model.layers.61.enorm.weight": ("BF16", 7168)}
    write(tmp_path / "model.safetensors", half)
    missing = answer("model", tmp_path)["differences"]
    assert {item["kind"] for item in missing} == {"missing"}
    assert len(missing) < 40  # 256 experts are one line


def test_the_whole_of_qwen3_32b_fp8(tmp_path):
    """Scales of 16 bits and of 32 bits: the header decides, the record's assumption does not."""
    fields = source("Qwen/Qwen3-32B-FP8").fields
    (tmp_path / "config.json").write_text(json.dumps(fields))
    for scale, size in (("BF16", 34_322_434_048), ("F32", 34_322_434_048 + 3_809_280)):
        tensors = {
            "model.embed_tokens.weight": ("BF16", 151_936, 5120),
            "model.norm.weight": ("BF16", 5120),
            "lm_head.weight": ("BF16", 151_936, 5120),
        }
        shapes = {
            "self_attn.q_proj": (8192, 5120),
            "self_attn.k_proj": (1024, 5120),
            "self_attn.v_proj": (1024, 5120),
            "self_attn.o_proj": (5120, 8192),
            "mlp.gate_proj": (25_600, 5120),
            "mlp.up_proj": (25_600, 5120),
            "mlp.down_proj": (5120, 25_600),
        }
        norms = {"self_attn.q_norm": 128, "self_attn.k_norm": 128} | dict.fromkeys(NORMS, 5120)
        for layer in range(64):
            for name, shape in shapes.items():
                tensors |= fp8_arrays(scale)(f"model.layers.{layer}.{name}", *shape)
            tensors |= {
                f"model.layers.{layer}.{name}.weight": ("BF16", width) for name, width in norms.items()
            }
        assert write(tmp_path / "model.safetensors", tensors) == size
        assert serve(str(tmp_path), context=8).weights_file_bytes == size


def test_a_header_is_never_needed(tmp_path):
    """A config.json alone, a catalogue name."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps(CONFIG | {"model_type": "llama"}))
    assert source(str(path)).header is None
    assert source("Qwen/Qwen3-32B").header is None
    with pytest.raises(BadInputError):
        source(str(tmp_path / "other.json"))
