"""Megatron-Core: the formulas of its authors follow from the tensors, and its own measurements from the plan.

The measured values are Megatron-LM's: its functional tests keep them as golden values, at
https://github.com/NVIDIA/Megatron-LM/tree/d98e8a64/tests/functional_tests/test_cases (2026-08-22), logged by
the last pipeline stage. Those of eight B200 are SimuMax's,
https://github.com/MooreThreads/SimuMax/blob/main/docs/b200/b200_release_v1.2_summary.md (2026-05-01).
"""

from __future__ import annotations

import statistics
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import sympy

from memcalc.errors import BadInputError
from memcalc.evidence.predict_training import source_of
from memcalc.evidence.training import trained_models, training_observations
from memcalc.files.readers import read
from memcalc.files.source import Source
from memcalc.ledger.model import Layer, Model
from memcalc.ledger.parts import GQA, MLP, Embedding, MoE, Norm
from memcalc.training.api import train
from memcalc.training.autograd.base import MicroBatch
from memcalc.training.autograd.megatron import MEGATRON
from memcalc.training.autograd.tape import Tape
from memcalc.training.megatron_arguments import model_and_options
from memcalc.training.parallelism import TrainingParallelism

if TYPE_CHECKING:
    from memcalc.training.estimate import TrainingEstimate

b, s, h, a, f, t, L, V, p, v, k = sympy.symbols("b s h a f t L V p v k", positive=True)
GPT = {"num-layers": 12, "hidden-size": 512, "num-attention-heads": 8, "vocab-size": 50257}


def gpt_layer(width=h, heads=a, ffn_width=4 * h, *, gated: bool = False, kv_heads=None) -> Layer:
    """Return a layer of the paper's model: LayerNorms, GELU, biases, no rotation."""
    groups = heads if kv_heads is None else kv_heads
    attention = GQA(width, heads, groups, width / heads, qkv_bias=True, out_bias=True, rope_dim=0)
    norms = (
        ("input_layernorm", Norm(width, bias=True)),
        ("post_attention_layernorm", Norm(width, bias=True)),
    )
    return Layer((("self_attn", attention), ("mlp", MLP(width, ffn_width, gated, bias=True)), *norms))


def setting(**how) -> MicroBatch:
    """Return the paper's setting, on symbols."""
    return MicroBatch(b, s, **{"attention": "eager", "dropout": 0.1} | how)


def kept(held: Layer, asked: MicroBatch, recomputed=None):
    """Return what a layer keeps, without statistics of norms and softmax: the paper leaves them out."""
    tape = asked.tape()
    MEGATRON.layer(tape, asked, held, tape.value("x", (asked.batch, asked.seq, h), 2, grad=True))
    small = ("statistics", "log-sum-exp")
    return [value for value in tape.kept(recomputed) if not value.name.endswith(small)]


def total(values):
    """Return their bytes."""
    return sum(value.bytes for value in values)


def equal(one, other) -> bool:
    """Say whether two expressions are the same, as SymPy proves it."""
    return sympy.simplify(sympy.expand(one - other)) == 0


def test_a_layer_keeps_what_the_paper_says() -> None:
    """Equations 1, 2 and 4, by summing the tensors: Korthikanti et al. 2022, arXiv:2205.05198."""
    alone = total(kept(gpt_layer(), setting()))
    assert equal(alone, s * b * h * (34 + 5 * a * s / h))
    cut = {"inner": t}
    assert equal(total(kept(gpt_layer(), setting(cut=cut))), s * b * h * (10 + 24 / t + 5 * a * s / (h * t)))
    both = {"inner": t, "hidden": t}
    assert equal(total(kept(gpt_layer(), setting(cut=both))), s * b * h / t * (34 + 5 * a * s / h))


def test_each_part_keeps_what_the_paper_says() -> None:
    """Section 4.1: attention 11sbh + 5as2b, the feed-forward part 19sbh, the norms 4sbh."""
    values = kept(gpt_layer(), setting())
    names = {value.name: value for value in values}
    assert len(names) == len(values)
    norms = [names["x"], names["stream after self_attn"]]
    mlp = [
        names["post_attention_layernorm output"],
        names["mlp.up output"],
        names["mlp activation"],
        names["mlp output dropout mask"],
    ]
    attention = [value for value in values if value not in norms and value not in mlp]
    assert equal(total(norms), 4 * s * b * h)
    assert equal(total(mlp), 19 * s * b * h)
    assert equal(total(attention), 11 * s * b * h + 5 * a * s**2 * b)


def test_selective_and_full_recomputation() -> None:
    """Equations 5 and 6: without the scores 34sbh/t; a layer's input alone 2sbh."""

    def scores(module: str) -> str | None:
        return "core_attn" if module == "core_attn" else None

    both = setting(cut={"inner": t, "hidden": t})
    assert equal(total(kept(gpt_layer(), both, scores)), 34 * s * b * h / t)
    assert equal(
        total(kept(gpt_layer(), setting(), lambda module: "layer" if module else None)), 2 * s * b * h
    )


GPT3 = {h: 12288, a: 96, s: 2048, L: 96, V: 51200}
MT_NLG = {h: 20480, a: 128, s: 2048, L: 105, V: 51200}


@pytest.mark.parametrize(("sizes", "saved", "again"), [(GPT3, 70, 2.7), (MT_NLG, 65, 1.6)])
def test_what_selective_recomputation_saves_and_costs(sizes, saved: int, again: float) -> None:
    """Section 5 and table 3: memory saved, and extra work, in percent.

    The work of a step is that of the matrices and of the scores, forwards and twice that backwards (appendix
    A); the paper counts the work of the scores once more for recomputation, all three passes of it.
    """
    alone = total(kept(gpt_layer(), setting()))
    scores = [value for value in kept(gpt_layer(), setting()) if value.shape[-2:] == (s, s)]
    assert round(float((total(scores) / alone).subs(sizes) * 100)) == saved
    forward = 2 * b * s * (4 * h**2 + 2 * 4 * h**2)  # two operations a number of each matrix and token
    attention = 2 * 2 * b * s**2 * h  # queries with keys, scores with values
    step = 3 * (L * (forward + attention) + 2 * b * s * h * V)
    assert equal(step, 72 * b * L * s * h**2 * (1 + s / (6 * h) + V / (12 * h * L)))
    assert round(float((3 * L * attention / step).subs(sizes) * 100), 1) == again


def test_scores_are_80_of_114_in_gpt3() -> None:
    """Section 5: 5as/h is 80 for GPT-3."""
    assert (5 * a * s / h).subs(GPT3) == 80


def megatron_estimate(width, ffn_width, vocab):
    """Return what theoretical_memory_usage.py says: of a layer, before it, at the end of the last stage."""
    sbh = s * b * width
    return sbh * (18 + 4 * ffn_width / width), 8 * s * b + sbh, 4 * sbh * (1 + vocab / width)


def test_megatrons_own_estimate_follows_and_its_gaps_show() -> None:
    """A layer, the embedding and the last stage; what the estimate leaves out is a difference of tensors."""
    per_layer, before, after = megatron_estimate(h, f, V)
    flash = setting(attention="flash", cut={"inner": t, "hidden": t})
    assert equal(total(kept(gpt_layer(ffn_width=f), flash)), per_layer / t)
    apart = setting(attention="flash", cut={"inner": t})
    assert equal(total(kept(gpt_layer(), apart)), s * b * h * (10 + 24 / t))
    model = Model(
        "gpt", "megatron", (), (("model.embed_tokens", Embedding(V, h)), ("model.norm", Norm(h, bias=True)))
    )
    tape = Tape()
    MEGATRON.start(tape, setting(), model)
    assert equal(tape.kept_bytes(), before)
    tape = Tape()
    logits = MEGATRON.ends(tape, setting(), model, tape.value("x", (b, s, h), 2, grad=True))
    values = [value for value in tape.kept() if not value.name.endswith("statistics")]
    assert equal(total(values) + 4 * b * s * V, after)
    assert logits.shape == (b, s, V)
    assert MEGATRON.losses["megatron"].kept == 4
    # SwiGLU: one more number of the inner width is kept as the kernel's argument
    swiglu = total(kept(gpt_layer(ffn_width=f, gated=True), flash))
    assert equal(swiglu - per_layer / t, 2 * s * b * f / t)
    # grouped queries: fewer keys and values
    grouped = total(kept(gpt_layer(ffn_width=f, kv_heads=k), flash))
    assert equal(per_layer / t - grouped, 4 * s * b * (h - k * h / a) / t)
    # experts: each of the k chosen keeps its rows; the estimate sees one dense part
    routed = Layer(
        (*gpt_layer(ffn_width=f).parts[:1], ("mlp", MoE(h, f, 64, k, gated=False)), *gpt_layer().parts[2:])
    )
    rows = [
        value
        for value in kept(routed, replace(flash, cut={**flash.cut, "routed": t}))
        if value.region == "routed" and value.shape[-1] != 1
    ]
    assert equal(total(rows), s * b * k * (2 * h + 6 * f) / t)


@pytest.mark.parametrize(("stages", "turns"), [(4, 1), (4, 2), (8, 3), (2, 5)])
def test_interleaving_costs_what_megatron_says(stages: int, turns: int) -> None:
    """The first stage keeps 1 + (p - 1)/(pv) of the layers of all stages, as Megatron's estimate says."""
    layout = TrainingParallelism(world=stages, pp=stages, vpp=turns)
    chunks = layout.in_flight(0, 1000)
    if turns == 1:
        assert chunks == stages
    else:
        assert sympy.Rational(chunks, stages * turns) == 1 + sympy.Rational(stages - 1, stages * turns)
        assert layout.in_flight(stages - 1, 1000) == (turns - 1) * stages + 1
    assert equal((2 * (p - 1) + (v - 1) * p + 1) / (p * v), 1 + (p - 1) / (p * v))


ASSUMED = MEGATRON.workspace(None).typical  # in a plan whose devices nobody named


def planned(arguments: dict[str, object], world: int, **how) -> TrainingEstimate:
    """Return the plan of a run that Megatron's arguments state."""
    model, asked = model_and_options(arguments, world)
    return train(Source("m", model, ""), **{**asked, **how})


SHORT = {
    **GPT,
    "seq-length": 1024,
    "max-position-embeddings": 1024,
    "micro-batch-size": 4,
    "global-batch-size": 32,
    "no-gradient-accumulation-fusion": True,
}
UNTIED = {"untie-embeddings-and-output-weights": True}
LATENT = {
    "multi-latent-attention": True,
    "q-lora-rank": 192,
    "kv-lora-rank": 64,
    "qk-head-dim": 16,
    "qk-pos-emb-head-dim": 8,
    "v-head-dim": 16,
    "num-layers": 4,
}


def ranks(tp: int, pp: int, **more: object) -> dict[str, object]:
    """Return arguments for how a model is cut."""
    cut = {"tensor-model-parallel-size": tp, "pipeline-model-parallel-size": pp}
    return {**cut, **{name.replace("_", "-"): value for name, value in more.items()}}


MEASURED = {
    "gpt3_mcore_te_tp1_pp1_uniform_full_recompute": (
        "8.0",
        {**ranks(1, 1), "recompute-granularity": "full", "attention-backend": "unfused"},
        (1232487936, 2534070272),
    ),
    "gpt3_mcore_te_tp2_pp2": (
        "8.0",
        {**ranks(2, 2), "attention-backend": "unfused"},
        (487096832, 1900158464),
    ),
    "gpt3_mcore_te_tp4_pp1_qk_layernorm_test_mode": (
        "8.0",
        {**ranks(4, 1), "attention-backend": "unfused", "qk-layernorm": True},
        (368387584, 1643008512),
    ),
    "gpt3_mcore_te_tp2_pp1_te_8experts2parallel_dist_optimizer": (
        "8.0",
        {
            **ranks(
                2, 1, expert_model_parallel_size=2, sequence_parallel=True, num_experts=8, moe_router_topk=1
            ),
            "use-distributed-optimizer": True,
            "disable-bias-linear": True,
            "attention-backend": "unfused",
        },
        (865124864, 3099980800),
    ),
    "gpt3_mcore_te_tp1_pp1_resume_torch_dist_dist_optimizer": (
        "9.0",
        {**ranks(1, 1), "use-distributed-optimizer": True},
        (581489664, 2691792384),
    ),
    "gpt3_mcore_te_tp1_pp4_resume_torch_dist_swiglu": (
        "9.0",
        {**ranks(1, 4), "swiglu": True},
        (745732608, 2211485184),
    ),
    "gpt3_mcore_te_tp1_pp4_vp1": (
        "9.0",
        {**ranks(1, 4, num_layers_per_virtual_pipeline_stage=1), "attention-backend": "unfused"},
        (776656384, 4161191424),
    ),
    "gpt3_mcore_te_tp2_pp2_cross_entropy_loss_fusion": (
        "9.0",
        {**ranks(2, 2), "cross-entropy-loss-fusion": True},
        (514359808, 1837640192),
    ),
    "gpt3_mcore_te_tp2_pp2_mla": (
        "9.0",
        {**ranks(2, 2, sequence_parallel=True), **LATENT, **UNTIED, "attention-backend": "unfused"},
        (388269568, 1248256512),
    ),
    "gpt3_mcore_te_tp2_pp2_resume_torch_dist_cp2_nondeterministic": (
        "9.0",
        {
            **ranks(2, 2, context_parallel_size=2, sequence_parallel=True),
            "attention-dropout": 0.0,
            "hidden-dropout": 0.0,
        },
        (511214080, 936825344),
    ),
}


@pytest.mark.parametrize("name", MEASURED)
def test_megatrons_own_tests_measure_what_is_derived(name: str) -> None:
    """What is measured after a step, and at its peak, exceeds what is derived by the workspaces."""
    capability, arguments, (after, peak) = MEASURED[name]
    plan = planned({**SHORT, **arguments}, 8, rank="last")
    low, _, high, *_ = MEGATRON.workspace(capability)
    assert low <= after - sum(plan.at("step").values()) + ASSUMED <= high
    assert low <= peak - plan.allocated_bytes + ASSUMED <= high


LLAMA = {
    "group-query-attention": True,
    "swiglu": True,
    "normalization": "RMSNorm",
    "position-embedding-type": "rope",
    "untie-embeddings-and-output-weights": True,
    "disable-bias-linear": True,
    "vocab-size": 128256,
    "micro-batch-size": 1,
    "attention-dropout": 0.0,
    "hidden-dropout": 0.0,
    "use-distributed-optimizer": True,
    "sequence-parallel": True,
    "cross-entropy-loss-fusion": True,
    "cross-entropy-fusion-impl": "te",
}
LLAMA_70B = {
    **LLAMA,
    "num-layers": 12,
    "hidden-size": 8192,
    "ffn-hidden-size": 28672,
    "num-attention-heads": 64,
    "num-query-groups": 8,
}
LLAMA_405B = {
    **LLAMA,
    "num-layers": 4,
    "hidden-size": 16384,
    "ffn-hidden-size": 53248,
    "num-attention-heads": 128,
    "num-query-groups": 16,
}
B200 = {
    "llama3_70b_tp2_pp1_dp4_l12_mbc8_cef": (LLAMA_70B, {**ranks(2, 1), "seq-length": 4096}, 60.68),
    "llama3_70b_l12_tp8_pp1_dp1_mbc32_cef": (LLAMA_70B, {**ranks(8, 1), "seq-length": 4096}, 28.29),
    "llama3_405b_l4_tp4_pp1_dp2_mbc8_cef": (LLAMA_405B, {**ranks(4, 1), "seq-length": 4096}, 52.89),
    "llama3_70b_l12_tp2_cp4_pp1_dp1_seq131072_mbc4_cef": (
        LLAMA_70B,
        {**ranks(2, 1, context_parallel_size=4), "seq-length": 131072},
        112.67,
    ),
}


@pytest.mark.parametrize("name", B200)
def test_b200_runs_measure_what_is_derived(name: str) -> None:
    """SimuMax states the peak in hundredths of a GiB: half of one either way is its rounding."""
    model, how, peak = B200[name]
    plan = planned({**model, **how, "cp-comm-type": "a2a"}, 8, accumulate=8)
    low, _, high, *_ = MEGATRON.workspace("10.0")
    rounding = 2**30 / 200
    assert low - rounding <= peak * 2**30 - plan.allocated_bytes + ASSUMED <= high + rounding


def test_states_are_18_bytes_or_6_and_12_shared() -> None:
    """A 16-bit weight, a 32-bit gradient, a 32-bit copy, two moments; --shard 1 shares the last three."""
    whole = train("Qwen/Qwen3-0.6B", seq=1024, implementation="megatron", world=8)
    shared = train("Qwen/Qwen3-0.6B", seq=1024, implementation="megatron", world=8, shard=1)
    count = whole.model.parameters

    def states(plan: TrainingEstimate) -> int:
        at = plan.at("step")
        return sum(at[name] for name in ("weights", "gradients", "master", "optimizer")) - MEGATRON.buffers(
            plan.model, plan.plan.micro_batch
        )

    assert states(whole) == 18 * count
    assert states(shared) == 6 * count + 12 * count // 8


def test_gpt3_from_megatrons_arguments() -> None:
    """175 billion: 96 layers of 12h2 + 13h, embedding and learned positions, a LayerNorm."""
    gpt3 = {
        "num-layers": 96,
        "hidden-size": 12288,
        "num-attention-heads": 96,
        "vocab-size": 51200,
        "max-position-embeddings": 2048,
    }
    width = 12288
    expected = 96 * (12 * width**2 + 13 * width) + (51200 + 2048) * width + 2 * width
    assert read(gpt3).parameters == expected
    assert read({name.replace("-", "_"): value for name, value in gpt3.items()}).parameters == expected


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"tensor-model-parallel-size": 2}, "tensor_model_parallel_size"),
        ({"hidden-dropout": 0.0}, "hidden_dropout"),
        ({"mtp-num-layers": -1}, "mtp_num_layers"),
        ({"squared-relu": True}, "squared_relu"),
        ({"normalization": "DeepNorm"}, "normalization"),
        ({"num-experts": 4, "moe-router-topk": 8}, "moe_router_topk"),
        ({"num-experts": 4, "moe-layer-freq": "([0]*1+[1]*2)"}, "moe_layer_freq"),
        ({"num-experts": 4, "moe-layer-freq": "__import__('os')"}, "moe_layer_freq"),
        ({"group-query-attention": True, "num-query-groups": 3}, "num_query_groups"),
        ({"num-layers": 0}, "num_layers"),
        ({"swiglu": "yes"}, "swiglu"),
        ({"vocab-size": None}, "vocab_size"),
    ],
)
def test_arguments_that_are_not_understood_are_refused(more, field: str) -> None:
    """What may change memory is never counted as nothing; how a run goes belongs to the options."""
    with pytest.raises(BadInputError) as refused:
        read({**GPT, "max-position-embeddings": 1024, **more})
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("source", "how", "field"),
    [
        ("Qwen/Qwen3-0.6B", {"attention": "sdpa"}, "--attention"),
        ("Qwen/Qwen3-0.6B", {"lora_rank": 8}, "--lora-rank"),
        ("openai/gpt-oss-20b", {}, "SOURCE"),
        ("Qwen/Qwen3-Next-80B-A3B-Instruct", {}, "SOURCE"),
    ],
)
def test_what_megatron_cannot_run_is_refused(source: str, how, field: str) -> None:
    """A part or an option whose operations nobody has listed."""
    with pytest.raises(BadInputError) as refused:
        _ = train(source, seq=1024, implementation="megatron", **how).allocated_bytes
    assert refused.value.field == field


@pytest.mark.parametrize(
    "source", ["meta-llama/Llama-3.1-8B", "mistralai/Mistral-7B-v0.1", "Qwen/Qwen3-30B-A3B"]
)
def test_models_of_configs_run_on_megatron(source: str) -> None:
    """Models that a config.json describes are cut and kept as those of arguments are."""
    one = train(source, seq=4096, implementation="megatron", dropout=0, shard=1, world=8)
    asked = {"dropout": 0, "shard": 1, "world": 8, "tp": 2, "expert_tp": 1, "sequence_parallel": True}
    cut = train(source, seq=4096, implementation="megatron", **asked)
    assert cut.at("forward_end")["activations"] * 2 == pytest.approx(
        one.at("forward_end")["activations"], rel=0.01
    )


CAPABILITY = {"8x A100": "8x a100-80g", "4x GB200": "4x b200"}  # of the same capability: nothing else is used
FAMILIES = {  # the median, nine of ten, and all of the errors of peaks, in per cent
    "megatron dense": (1.0, 4.0, 4.0),
    "megatron mla": (1.0, 1.5, 1.5),
    "megatron moe": (2.0, 5.0, 5.0),
    "megatron local": (1.5, 1.5, 1.5),
    "megatron moe mla": (6.0, 6.0, 6.0),
    "b200 dense": (0.1, 0.2, 0.2),
    "b200 moe mla": (0.5, 0.7, 0.7),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_peaks_of_the_record(family: str) -> None:
    """Every run of the record, with the usual workspace of its hardware and no other constant."""
    models, errors = trained_models(), []
    for row in training_observations(family=family, quantity="allocated"):
        plan = {**row.plan, "on": row.plan.get("on", CAPABILITY.get(row.hardware))}
        found = train(source_of(models[row.model]), **plan).allocated_bytes
        errors.append(abs(found / row.value_bytes - 1) * 100)
    errors.sort()
    median, most, worst = FAMILIES[family]
    assert statistics.median(errors) <= median
    assert errors[int(0.9 * len(errors))] <= most
    assert errors[-1] <= worst


def test_multi_token_prediction_lies_on_the_last_stage() -> None:
    """A layer, three norms and h x 2h more, an embedding of its own, and logits a second time."""
    arguments = {**SHORT, "position-embedding-type": "rope", **UNTIED, **ranks(1, 2)}
    alone = planned(arguments, 8, rank="last")
    ahead = planned({**arguments, "mtp-num-layers": 1}, 8, rank="last")
    width, rows = 512, 50304
    more = 12 * width**2 + 13 * width + 3 * 2 * width + 2 * width**2 + rows * width
    assert ahead.at("step")["weights"] - alone.at("step")["weights"] == 2 * more
    end = "forward_end"
    assert ahead.at(end)["logits"] == 2 * alone.at(end)["logits"]
    first = [planned({**arguments, **mtp}, 8, rank="first") for mtp in ({}, {"mtp-num-layers": 1})]
    assert first[0].allocated_bytes == first[1].allocated_bytes


@pytest.mark.parametrize(("stages", "copies"), [(1, 3), (2, 1)])
def test_the_embeddings_gradient_is_as_wide_as_its_weight(stages: int, copies: int) -> None:
    """It is added to the 32-bit buffer and freed; a tied head adds to it only where both are on one stage.

    On one stage the head's gradient has waited, the embedding's comes, and their sum is a third. Source:
    NVIDIA/Megatron-LM at d98e8a64, megatron/core/distributed/distributed_data_parallel.py.
    """
    model = {**GPT, "position-embedding-type": "none"}
    plan = train(
        Source("m", model, ""), seq=64, implementation="megatron", world=stages, pp=stages, rank="first"
    )
    size = {line.name: line.bytes for line in plan.device.lines if "backward_end" in line.moments}
    one = 2 * 50304 * 512
    made = size["gradient of the embedding, added to those that exist"] + size["gradient of the stream"]
    assert made == copies * one + (size["gradient of the stream"] if stages > 1 else 0)
