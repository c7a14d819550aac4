"""Families of models: what is special in each, what is refused, and how their checkpoints spell names."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from memcalc.errors import BadInputError, UnknownNameError
from memcalc.files.api import model as load_model
from memcalc.files.readers import read
from memcalc.files.readers.vision import Patches
from memcalc.files.source import Source
from memcalc.files.sources import source
from memcalc.files.tensor_names import header, listed
from memcalc.formula import derive, lift, prove, symbols
from memcalc.ledger.parts import GQA, MLP, MoE, PositionTable
from memcalc.ledger.tensor import count
from memcalc.serving import serve

if TYPE_CHECKING:
    from pathlib import Path

    from memcalc.ledger.model import Model

L, w, h, a, k, d, f = symbols("window_depth window width heads kv_heads head_dim ffn_width")
B, T, L_A, E, f_e, top = symbols("batch context attention_depth experts expert_width top_k")

SMALL = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 100,
}
EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}


def small(model_type: str, **fields: object) -> Model:
    return read({"model_type": model_type, **SMALL, **fields})


def fields_of(name: str) -> dict[str, object]:
    """A copy that a test may change."""
    copy: dict[str, object] = json.loads(json.dumps(source(name).fields))
    return copy


def windows(model: Model) -> list[int | None]:
    """Each layer's window."""
    found = (part for layer in model.layers for _, part in layer.parts)
    return [part.window for part in found if isinstance(part, GQA)]


@pytest.mark.parametrize(
    ("name", "parameters", "active", "vision"),
    [
        ("mistralai/Mistral-7B-v0.1", 7_241_732_096, 7_241_732_096, 0),
        ("mistralai/Mistral-7B-v0.3", 7_248_023_552, 7_248_023_552, 0),
        ("mistralai/Mixtral-8x7B-v0.1", 46_702_792_704, 12_879_925_248, 0),
        ("google/gemma-3-27b-it", 27_009_346_304, 27_009_346_304, 423_060_336),
        ("openai/gpt-oss-120b", 116_829_156_672, 5_711_982_912, 0),
        ("zai-org/GLM-4.5-Air", 106_852_245_504, 13_424_123_904, 0),
        ("moonshotai/Kimi-K2-Instruct", 1_026_408_209_408, 32_861_477_888, 0),
        ("moonshotai/Kimi-K2.5", 1_026_408_209_408, 32_861_477_888, 471_143_920),
    ],
)
def test_published_counts(name: str, parameters: int, active: int, vision: int) -> None:
    """What sees stands beside the text model, and is in no other figure."""
    model = load_model(name)
    assert (model.parameters, model.active_parameters, model.vision_parameters) == (
        parameters,
        active,
        vision,
    )


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("mistralai/Mistral-7B-v0.1", 131_072, 0),  # a window in every layer: once full, nothing grows
        ("mistralai/Mistral-7B-v0.3", 131_072, 131_072),
        ("google/gemma-3-27b-it", 507_904, 81_920),
        ("openai/gpt-oss-120b", 73_728, 36_864),
    ],
)
def test_what_a_token_adds_before_and_after_its_windows_are_full(name: str, before: int, after: int) -> None:
    """16 bits, all layers."""
    model, far = load_model(name), 10**6
    assert 2 * count(model.cache(1, 1)) == before
    assert 2 * (count(model.cache(1, far + 1)) - count(model.cache(1, far))) == after


def test_patterns_of_windows() -> None:
    """Every second layer is full in Gemma 2 and gpt-oss, every sixth in Gemma 3; a list overrides it."""
    assert windows(small("gemma2", sliding_window=7)) == [7, None, 7, None]
    assert windows(small("gpt_oss", **EXPERTS)) == [128, None, 128, None]
    assert windows(small("gemma3_text", num_hidden_layers=7)) == [4096] * 5 + [None, 4096]
    assert windows(small("gemma3_text", sliding_window_pattern=2)) == [4096, None, 4096, None]
    kinds = ["full_attention", "full_attention", "sliding_attention", "full_attention"]
    assert windows(small("gemma2", layer_types=kinds)) == [None, None, 4096, None]
    assert windows(small("mistral")) == [4096] * 4
    assert windows(small("mixtral")) == windows(small("phi3")) == [None] * 4


def test_the_formula_of_a_model_with_two_kinds_of_layers() -> None:
    """gpt-oss: half of the layers stop growing at the window."""
    lifted = lift(load_model("openai/gpt-oss-120b"))
    prove(derive(lifted.model.cache(B, T)), 2 * B * k * d * (L_A * T + L * lowest(T, w)))
    assert lifted.numbers["window_depth"] == lifted.numbers["attention_depth"] == 18


def lowest(*numbers: object) -> object:
    from sympy import Min

    return Min(*numbers)


def test_what_the_variants_of_a_part_add() -> None:
    """A sink a head; a bias for every output of an expert, and for the router; nothing for rotating less."""
    plain = GQA(h, a, k, d)
    prove(derive(GQA(h, a, k, d, sinks=True).weights()) + derive(plain.weights()) * -1, a)
    assert derive(GQA(h, a, k, d, rope_dim=d).weights()).latex == derive(plain.weights()).latex
    biases = derive(MoE(h, f_e, E, top, bias=True).weights()) + derive(MoE(h, f_e, E, top).weights()) * -1
    prove(biases, E + E * (2 * f_e + h))
    prove(derive(MLP(h, f, gated=False, bias=True).weights()), 2 * h * f + f + h)


def test_pictures() -> None:
    """SigLIP's patches and places in Gemma 3, and MoonViT's grid, which is stored as a grid."""
    assert count(Patches(width=1152, channels=3, patch=14).weights()) == 1152 * 3 * 14 * 14 + 1152
    flat, square = PositionTable(((64, 64),), 1152), PositionTable((64, 64), 1152)
    assert [next(part.weights()).stored_shape for part in (flat, square)] == [(4096, 1152), (64, 64, 1152)]
    assert count(flat.weights()) == count(square.weights())


@pytest.mark.parametrize(
    ("model", "spelled"),
    [
        (small("phi3"), {"self_attn.qkv_proj.weight": (128, 64), "mlp.gate_up_proj.weight": (192, 64)}),
        (
            small("mixtral", **EXPERTS),
            {
                "block_sparse_moe.gate.weight": (4, 64),
                "block_sparse_moe.experts.3.w1.weight": (96, 64),
                "block_sparse_moe.experts.3.w2.weight": (64, 96),
            },
        ),
        (
            small("gpt_oss", **EXPERTS),
            {
                "self_attn.sinks": (4,),
                "mlp.router.bias": (4,),
                "mlp.experts.gate_up_proj": (4, 64, 192),
                "mlp.experts.gate_up_proj_bias": (4, 192),
                "mlp.experts.down_proj": (4, 96, 64),
            },
        ),
        (small("gemma2"), {"pre_feedforward_layernorm.weight": (64,)}),
    ],
    ids=["phi3", "mixtral", "gpt_oss", "gemma2"],
)
def test_each_family_has_its_spelling(model: Model, spelled: dict[str, tuple[int, ...]]) -> None:
    """Fused, renamed or stacked: no number is lost on the way."""
    found = header(model)
    assert {name: found[f"model.layers.1.{name}"] for name in spelled} == spelled
    assert sum(map(product, found.values())) == model.parameters


def product(shape: tuple[int, ...]) -> int:
    from math import prod

    return prod(shape)


@pytest.mark.parametrize("name", ["google/gemma-3-27b-it", "moonshotai/Kimi-K2.5"])
def test_a_checkpoint_holds_what_sees_as_well(name: str) -> None:
    """Text model, vision tower and buffers together are the header."""
    model = load_model(name)
    stored = model.parameters + model.vision_parameters + model.buffer_values
    assert sum(map(product, header(model).values())) == stored


def test_moonshot_and_transformers_name_the_same_tower() -> None:
    """Kimi-K2.5 under either names of its fields."""
    fields = fields_of("moonshotai/Kimi-K2.5")
    names = {
        "hidden_size": 1152,
        "intermediate_size": 4304,
        "num_attention_heads": 16,
        "num_hidden_layers": 27,
        "patch_size": 14,
        "pos_emb_height": 64,
        "pos_emb_width": 64,
        "merge_kernel_size": [2, 2],
    }
    assert read(fields | {"vision_config": names}).vision_parameters == 471_143_920


def test_half_a_head_is_rotated() -> None:
    """GLM-4.5 and Phi-4-mini rotate a part of each head: vLLM tabulates no more than that."""
    serving = serve("zai-org/GLM-4.5-Air", context=16, engine="vllm", on="8x h20-96g")
    [table] = [line for line in serving.budget.pools[0].lines if line.name == "rotary table"]
    assert table.bytes == 131_072 * 64 * 2
    phi = small("phi3", partial_rotary_factor=0.75, original_max_position_embeddings=4096)
    assert {part.rope_dim for layer in phi.layers for _, part in layer.parts if isinstance(part, GQA)} == {12}


def test_gemma_3_has_a_table_for_each_kind_of_layer() -> None:
    """Linear scaling holds for full layers alone; a config may say so in the old way or in the new one."""
    old = {"rope_scaling": {"rope_type": "linear", "factor": 8.0}, "max_position_embeddings": 1024}
    kinds = {"full_attention": old["rope_scaling"], "sliding_attention": {"rope_type": "default"}}
    new = {"rope_parameters": kinds, "max_position_embeddings": 1024}
    for fields in old, new:
        assert small("gemma3_text", num_hidden_layers=6, **fields).rotary_positions == 1024 + 8192
        assert small("gemma3_text", num_hidden_layers=5, **fields).rotary_positions == 1024


def test_phi_states_the_length_before_scaling_beside_it() -> None:
    """Longrope tables both lengths."""
    scaling = {"type": "longrope", "short_factor": [1.0], "long_factor": [1.0]}
    fields = {"rope_scaling": scaling, "max_position_embeddings": 131_072}
    assert small("phi3", original_max_position_embeddings=4096, **fields).rotary_positions == 135_168


def test_layers_for_multi_token_prediction_stand_beside_the_model() -> None:
    """GLM-4.5-Air has one: a sparse layer, three norms and the matrix that joins two streams."""
    model = load_model("zai-org/GLM-4.5-Air")
    assert model.mtp_parameters == count(model.layers[-1].weights()) + 3 * 4096 + 2 * 4096 * 4096


WITH_TOWER: dict[str, object] = {"model_type": "gemma3", "text_config": {**SMALL}}
TOWER = {
    "hidden_size": 8,
    "intermediate_size": 9,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
    "vision_use_head": False,
}


@pytest.mark.parametrize(
    ("model_type", "fields", "named"),
    [
        ("gemma2", {"sliding_window": None}, "layer_types"),
        ("gemma2", {"num_attention_heads": 6, "num_key_value_heads": 6}, "num_attention_heads"),
        ("gemma2", {"cache_implementation": "static"}, "cache_implementation"),
        ("gemma3_text", {"use_bidirectional_attention": 2}, "use_bidirectional_attention"),
        ("gemma3_text", {"rope_parameters": {"full_attention": "linear"}}, "rope_scaling"),
        ("mistral", {"layer_types": ["full_attention"] * 4}, "layer_types"),
        ("mistral", {"sliding_window_size": 128}, "sliding_window_size"),
        ("mixtral", {"num_experts_per_tok": 9}, "num_experts_per_tok"),
        ("phi3", {"partial_rotary_factor": 1.5}, "partial_rotary_factor"),
        ("phi3", {"full_attn_mod": 2}, "full_attn_mod"),
        ("phi3", {"lm_head_bias": True}, "lm_head_bias"),
        ("gpt_oss", {**EXPERTS, "experts_per_token": 3}, "experts_per_token"),
        ("gpt_oss", {**EXPERTS, "shared_expert_intermediate_size": 8}, "shared_expert_intermediate_size"),
    ],
)
def test_what_is_not_understood_is_refused_by_name(
    model_type: str, fields: dict[str, object], named: str
) -> None:
    """Rather than counted as something else."""
    with pytest.raises(BadInputError, match=named):
        small(model_type, **fields)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"text_config": None}, "text_config"),
        ({"text_config": {**SMALL, "model_type": "llama"}}, "text_config.model_type"),
        ({"text_config": {**SMALL, "surprise": 7}}, "surprise"),
        ({"vision_config": None}, "vision_config"),
        ({"vision_config": {**TOWER, "surprise": 7}}, "surprise"),
        ({"vision_config": {**TOWER, "vision_use_head": True}}, "vision_use_head"),
        ({"vision_config": {**TOWER, "num_attention_heads": 3}}, "num_attention_heads"),
        ({"surprise": 7}, "surprise"),
    ],
)
def test_what_sees_is_refused_by_name_as_well(changed: dict[str, object], named: str) -> None:
    """A vision tower that is not understood is no zero."""
    good = WITH_TOWER | {"vision_config": TOWER}
    assert read(good).vision_parameters
    with pytest.raises(BadInputError, match=named):
        read(good | changed)


@pytest.mark.parametrize(
    "changed",
    [{"hidden_size": 1024}, {"merge_type": "other"}, {"mm_hidden_size": 7}, {"text_hidden_size": 1}],
)
def test_a_tower_that_contradicts_itself_is_refused(changed: dict[str, object]) -> None:
    """Two names of one field with two numbers, or a kind of projection that is not known."""
    fields = fields_of("moonshotai/Kimi-K2.5")
    vision = fields["vision_config"]
    assert isinstance(vision, dict)
    vision |= changed
    with pytest.raises(BadInputError):
        read(fields)


def test_where_nothing_grows_the_context_has_no_end(tmp_path: Path) -> None:
    """Mistral-7B-v0.1 has a window in every layer, so that vLLM's cache stops growing."""

    def longest(source: str, on: str) -> int:
        return serve(source, context=16, engine="vllm", on=on).max_context or 0

    path = tmp_path / "config.json"
    path.write_text(json.dumps(fields_of("mistralai/Mistral-7B-v0.1") | {"sliding_window": None}))
    assert longest("mistralai/Mistral-7B-v0.1", "h100-80g") == 2**40
    assert 0 < longest(str(path), "h100-80g") < 2**20
    assert longest("moonshotai/Kimi-K2.5", "h100-80g") == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"model_type": "qwen9_moe"},
        {"model_type": "x" * 500},
        {"model_type": None},
        {"model_type": ["llama"] * 500},
        {"model_type": {"a": {"b": "c" * 500}}},
        {"model_type": "gemma9", "text_config": {"model_type": "gemma3_text"}},
    ],
)
def test_a_type_without_a_reader_is_refused_in_a_short_line(fields) -> None:
    """It names what is near, and two ways out."""
    with pytest.raises(UnknownNameError) as refused:
        read(fields)
    line = str(refused.value)
    assert len(line) <= 300
    assert "--via transformers" in line
    assert ".safetensors or .gguf alone" in line
    assert ("text_config (gemma3_text)" in line) is ("text_config" in fields)
    assert ("qwen3_moe" in line) is (fields["model_type"] == "qwen9_moe")


def test_a_record_whose_fields_were_changed_is_read_anew():
    """What was read of a catalogue's record is kept; a caller may change the fields of his own copy."""
    found = source("Qwen/Qwen3-8B")
    assert found.model is source("Qwen/Qwen3-8B").model
    found.fields["num_hidden_layers"] = 2
    assert found.model.depth == 2
    assert source("Qwen/Qwen3-8B").model.depth == 36


@pytest.mark.parametrize("kind", ["ernie4_5_moe", "hunyuan_v1_moe"])
def test_routers_that_stay_in_32_bits(kind):
    """Whatever the model's dtype; their classes write them so."""
    model = read({"model_type": kind, "num_hidden_layers": 3, "num_experts": 4, "num_experts_per_tok": 2})
    assert {tensor.format for tensor in model.weights() if tensor.kind == "router"} == {"fp32"}


def test_a_router_that_takes_two_experts():
    """PhiMoE's, whatever `num_experts_per_tok` says."""
    assert read({"model_type": "phimoe", "num_hidden_layers": 2}).has_experts
    with pytest.raises(BadInputError, match="num_experts_per_tok"):
        read({"model_type": "phimoe", "num_hidden_layers": 2, "num_experts_per_tok": 3})


# tencent/Hy4-preview as its config.json has it, and what the headers of its 131 files hold: counts, types and
# names were read by https://github.com/wendadawen/dojo, wiki/hy4-preview-dataflow, 2026-09
HY4 = {
    "model_type": "hy_v4", "architectures": ["HYV4ForCausalLM"], "vocab_size": 120832, "hidden_size": 6144,
    "intermediate_size": 18432, "moe_intermediate_size": 2048, "num_hidden_layers": 78,
    "num_attention_heads": 64, "q_lora_rank": 2048, "kv_lora_rank": 512, "qk_nope_head_dim": 192,
    "qk_rope_head_dim": 64, "v_head_dim": 256, "index_n_heads": 32, "index_head_dim": 128, "index_topk": 2048,
    "n_routed_experts": 256, "num_experts_per_tok": 8, "n_shared_experts": 1, "hc_mult": 4,
    "enable_ihc": True, "enable_lm_head_fp32": True, "learnable_sink": True, "gated_mla": True,
    "gating_type": "elementwise",
    "layer_types": ["deepseek_sparse_attention"] * 78, "num_nextn_predict_layers": 1,
    "max_position_embeddings": 1048576, "tie_word_embeddings": False,
}  # fmt: skip


def test_the_headers_of_hy4() -> None:
    """2,006 tensors, 626 in fp32 (77 are biases of routers, which are buffers), 27 of a layer ahead."""
    model = read(HY4)
    held = listed(model)
    assert (model.parameters + model.buffer_values, model.mtp_parameters) == (769_907_408_797, 10_053_583_936)
    biases = [name for name, one in held.items() if one.tensor.kind == "buffer" and one.part == "text"]
    wide = [name for name, one in held.items() if one.tensor.format == "fp32"]
    assert (len(held), len(wide), len(biases)) == (2006, 626 - 77, 77)
    assert sum(name.startswith("model.mtp_layers.0.") for name in held) == 27
    assert {
        "model.layers.77.hc_attn_layer.hc_pre.hc_fn",
        "model.layers.0.mlp.gate_proj.weight",
        "model.layers.0.self_attn.linear_gate.weight",
        "model.layers.9.mlp.experts.gate_up_proj",
        "model.hc_head.hc_head_fn",
        "model.mtp_layers.0.eh_proj.weight",
    } <= set(held)


def test_what_transformers_has_of_hy4_in_32_bits() -> None:
    """Its class names the head and the indexers, which are BF16 in the files."""
    plan = serve(Source("hy4", HY4, ""), context=1, engine="transformers")
    lines = [line for pool in plan.budget.pools for line in pool.lines]
    rows = {line.name: line.bytes for line in lines if "in 32 bits" in line.name}
    assert rows["lm_head.weight, in 32 bits"] == 120832 * 6144 * 2
    assert len(rows) == 4


def test_hy4_without_what_its_class_always_builds_is_refused() -> None:
    for field in ("enable_ihc", "learnable_sink", "gated_mla"):
        with pytest.raises(BadInputError, match=f"{field}: expected True"):
            read({**HY4, field: False})
    with pytest.raises(BadInputError, match="gating_type"):
        read({**HY4, "gating_type": "headwise"})
