"""The cheat sheet: each rule with its formula, one case that memcalc computes, and when the rule breaks."""

from __future__ import annotations

from typing import NamedTuple

import memcalc
from memcalc.data.units import Amount
from memcalc.show.tables import table

LLAMA, QWEN, QWEN3_8B = "meta-llama/Meta-Llama-3.1-8B", "Qwen/Qwen3-32B", "Qwen/Qwen3-8B"
GPTQ, EXPERTS = "Qwen/Qwen2.5-72B-Instruct-GPTQ-Int4", "Qwen/Qwen3-235B-A22B"
LATENT = "deepseek-ai/DeepSeek-V3"
SEQUENCE = 4096  # tokens of every training example


class Rule(NamedTuple):
    """A rule: its name, its formula as a pen writes it, a case, and when it breaks."""

    rule: str
    formula: str
    example: str
    breaks: str


def units() -> list[Rule]:
    """Return what is true of units."""
    card = memcalc.devices()["rtx-4090"].capacity_bytes
    dense, quantised = (memcalc.serve(name, context=1).weights_file_bytes for name in (QWEN, GPTQ))
    half = memcalc.model(GPTQ).parameters / 2e9
    return [
        Rule("GB and GiB 单位", "GB = 10⁹ B, GiB = 2³⁰ B", "80 GB = 74.5 GiB",
             f"the vendor's “24 GB” of an RTX 4090 is {card.gib:.2f} GiB: there GB means GiB"),
        Rule("Weights 权重", "parameters × bits ÷ 8",
             f"Qwen3-32B, BF16: {dense.gib:.2f} GiB",
             f"quantised files: 72B in Int4 is {quantised.gb:.1f} GB, not {half:.1f}: "
             "scales, and a 16-bit embedding and head"),
    ]  # fmt: skip


def serving() -> list[Rule]:
    """Return the rules of serving."""
    token = memcalc.serve(QWEN, context=1).cache_bytes
    latent = memcalc.serve(LATENT, context=1).cache_bytes
    whole, on_eight = (
        memcalc.serve(EXPERTS, context=32768, engine="vllm", engine_version="0.33", tp=tp).device.components[
            "kv_cache"
        ]
        for tp in (1, 8)
    )
    total = memcalc.model(EXPERTS).parameters
    served = memcalc.serve(QWEN3_8B, context=8192, engine="vllm", engine_version="0.33", on="1x rtx-4090")
    pool = served.kv_pool
    return [
        Rule("KV cache a token 键值缓存", "2 · L · k · d · bytes",
             f"Qwen3-32B: 2 · 64 · 8 · 128 · 2 = {token:,} B; 8,192 tokens: {(8192 * token).gib:.0f} GiB",
             "MLA, sliding windows, layers with a state: they keep other things, or fewer tokens"),
        Rule("MLA a token 多头潜在注意力", "L · (r + d_rope) · bytes",
             f"DeepSeek-V3: 61 · (512 + 64) · 2 = {latent:,} B",
             "transformers before 5.15 caches the heads themselves, 71 times as much"),
        Rule("A rank of TP 张量并行", "weights ÷ t; KV heads ⌈k ÷ t⌉",
             f"Qwen3-235B (k = 4), 32,768 tokens: {whole.gib:.2f} GiB alone, {on_eight.gib:.2f} on each of 8",
             "t > k: heads are copied. MLA: every rank keeps the whole latent"),
        Rule("Experts 混合专家", "memory: all experts; work: the active ones",
             f"Qwen3-235B-A22B, BF16: {2 * total / 1e9:.0f} GB", "experts that lie in the host's memory"),
        Rule("vLLM's pool", "share × card − weights − profile run − graphs",
             f"Qwen3-8B on an RTX 4090: room for {pool.tokens if pool else 0:,} tokens",
             "`nvidia-smi` shows the share as taken, however few requests there are"),
        Rule("A pass 前向", "largest layer × tokens of the pass; logits of the last token",
             "chunks of 2,048 tokens: their size, not the prompt's",
             "prompt log-probs: logits of all tokens"),
        Rule("Time a token 带宽下限", "bytes read ÷ bandwidth",
             "16 GB at 1 TB/s: at least 16 ms", "batches: weights are read once for all of them"),
    ]  # fmt: skip


def training() -> list[Rule]:
    """Return the rules of training."""
    n = memcalc.model(LLAMA).parameters
    mixed, pure = memcalc.states(n).total_bytes, memcalc.states(n, regime="pure-bf16").total_bytes
    zero = [memcalc.states(7_500_000_000, shard=stage, world=64).total_bytes.gb for stage in (1, 2, 3)]
    fused, foreach = (
        memcalc.train(LLAMA, seq=SEQUENCE, optimizer_step=how).at("step")["temporaries"]
        for how in ("fused", "foreach")
    )
    kept, recomputed = (
        memcalc.train(LLAMA, seq=SEQUENCE, recompute=how).at("loss")["activations"]
        for how in ("none", "full")
    )
    logits = memcalc.train(LLAMA, seq=SEQUENCE).at("loss")["logits"]
    served = memcalc.serve(LLAMA, context=1, weights="nf4-dq")
    rest = Amount(sum(2 * one.count for one in served.model.weights() if one.kind != "matrix"))
    quantised = served.weights_file_bytes - rest
    lora = memcalc.train(LLAMA, seq=SEQUENCE, lora_rank=16).trainable_parameters
    return [
        Rule("States 训练状态", "mixed 2+2+4+4+4 = 16 B; Megatron 18; pure BF16 8",
             f"Llama-3.1-8B: {mixed.gb:.1f} GB, pure BF16 {pure.gb:.1f}",
             "8-bit Adam, Adafactor, LoRA: smaller or fewer moments"),
        Rule("The step itself 更新", "mixed: gradients in 32 bits, 4 B a parameter; foreach 4 more",
             f"Llama-3.1-8B: {fused.gib:.1f} GiB fused, {foreach.gib:.1f} with foreach",
             "pure BF16 with a fused step needs neither"),
        Rule("ZeRO on N ranks 分片", "4P + 12P/N · 2P + 14P/N · 16P/N",
             "7.5B on 64: {:.1f}, {:.1f}, {:.1f} GB".format(*zero),
             "what is gathered for a layer, and activations, are not divided"),
        Rule("Activations a layer 激活值", "34 · s · b · h (GPT in Megatron); Llama in transformers 49",
             f"Llama-3.1-8B, {SEQUENCE:,} tokens: {kept.gib:.1f} GiB",
             "attention step by step adds 5 · a · s² · b"),
        Rule("Recomputed 重计算", "2 · s · b · h · L, and one layer whole",
             f"the same: {recomputed.gib:.1f} GiB", "it costs a third more work; the logits stay"),
        Rule("Logits 输出", "12 · s · b · vocabulary",
             f"Llama-3.1-8B, {SEQUENCE:,} tokens: {logits.gib:.2f} GiB",
             "a fused loss (Liger) keeps chunks alone"),
        Rule("LoRA 低秩适配", "r · (d_in + d_out) a matrix, 16 B each in training",
             f"r = 16, all matrices of Llama-3.1-8B: {lora:,}",
             "activations stay: gradients flow through frozen layers"),
        Rule("QLoRA", "4.127 bits a number of the layers' matrices (NF4, double quantisation)",
             f"Llama-3.1-8B: {quantised.gb:.2f} GB, and {rest.gb:.2f} of embedding, head and norms",
             "experts stay in 16 bits in transformers 5"),
        Rule("Pipeline 流水线", "1F1B: the first of p stages holds p micro-batches",
             "p = 8: as many activations as without a pipeline", "interleaved: 1 + (p − 1)/(p·v) times that"),
    ]  # fmt: skip


def sheet() -> str:
    """Return the sheet as Markdown."""
    parts = (
        ("Units and weights 单位与权重", units()),
        ("Serving 推理", serving()),
        ("Training 训练", training()),
    )
    return "\n".join(f"## {title}\n\n{listed(rules)}" for title, rules in parts)


def listed(rules: list[Rule]) -> str:
    """Return rules as a table."""
    names = ("rule", "formula", "for example", "breaks when")
    return f"{table(dict(zip(names, one, strict=True)) for one in rules)!r}\n"
