"""Command lines as people type them: answered, or refused with the right next step."""

from __future__ import annotations

import json
import re
import shlex
from itertools import combinations

import numpy as np
import pytest

import memcalc
from memcalc.__main__ import main
from memcalc.cli.command import parser_of
from memcalc.data import open_text
from memcalc.data.words import plain
from memcalc.errors import BadInputError, Faults, MemcalcError
from memcalc.options import whole_number

QWEN = "serve Qwen/Qwen3-32B --context 8k"
TRAIN = "train Qwen/Qwen3-8B --seq 4k"

# what is typed, and words of the answer's JSON
ANSWERED = [
    ("serve qwen3-32b --context 32k", '"context": 32768'),
    ("serve QWEN3-32B --context 8_192", '"context": 8192'),
    ("serve Qwen3-32B --context 32K --prompt 8k --prefill-chunk 2k", '"prompt": 8192'),
    ("serve Qwen3-32B --context=8k", '"context": 8192'),
    ("train Qwen3-8B --seq 4k", '"seq": 4096'),
    (f"{QWEN} --engine vLLM", '"engine": "vllm"'),
    (f"{QWEN} --engine SGLang", '"engine": "sglang"'),
    (f"{QWEN} --engine Llama.cpp --weights q4_k_m", '"weights": "Q4_K_M"'),
    (f"{QWEN} --weights BF16", '"engine": "transformers"'),
    (f"{QWEN} --weights F16", '"engine": "transformers"'),
    (f"{QWEN} --weights F16 --engine llama.cpp", '"weights": "F16"'),
    (f"{QWEN} --weights BF16 --engine llama.cpp", '"weights": "BF16"'),
    ("serve openai/gpt-oss-20b --context 8k --weights MXFP4", '"weights": "mxfp4"'),
    (f"{QWEN} --weights FP8", '"weights": "fp8"'),
    (f"{QWEN} --weights NF4", '"weights": "nf4"'),
    (f"{QWEN} --weights AWQ-int4-g128", '"weights": "awq-int4-g128"'),
    (f"{QWEN} --weights GPTQ-INT4-G128", '"weights": "gptq-int4-g128"'),
    (f"{QWEN} --kv FP8 --engine vllm", '"kv": "fp8"'),
    (f"{QWEN} --engine vllm --engine-option max_num_batched_tokens=8k", '"max_num_batched_tokens": 8192'),
    (f"{QWEN} --on 2x rtx-a6000", '"devices": 2'),
    ("serve Llama-3.1-8B-Instruct --context 8k", "is taken as meta-llama/Meta-Llama-3.1-8B"),
    ("model meta-llama/Llama-3.1-8B-Instruct", "is taken as meta-llama/Meta-Llama-3.1-8B"),
    ("model Qwen/Qwen2.5-7B", "Qwen/Qwen2.5-7B is taken as Qwen/Qwen2.5-7B-Instruct"),
    ("model gemma-3-27b", '"name": "google/gemma-3-27b-it"'),
    ("model https://huggingface.co/Qwen/Qwen3-32B", '"name": "Qwen/Qwen3-32B"'),
    (f"{QWEN} --weights Q4_K_M --on '1x rtx-4090 + 64GiB RAM'", '"capacity_bytes": 68719476736'),
    (f"{TRAIN} --optimizer AdamW --attention SDPA --recompute Full", '"optimizer": "adamw"'),
    (f"{TRAIN} --repeat-kv true", '"repeat_kv": true'),
    (f"{TRAIN} --on 1x 4090", '"fits": false'),
    (f"{TRAIN} --world 8 --shard 3 --on 8x h100", '"verdict": '),
    (f"{TRAIN} --world 8 --shard 3 --on 8x h200", '"fits": true'),
    (f"{TRAIN} --like TRL --lora-rank 8", '"like": "trl"'),
    (f"{TRAIN} --regime BF16-mixed", '"regime": "bf16-mixed"'),
]

# what is typed, and the next step, which the line names
REFUSED = [
    ("", "memcalc serve Qwen/Qwen3-32B --context 32k"),
    ("sevre Qwen/Qwen3-32B", "did you mean serve?"),
    ("finetune Qwen/Qwen3-8B", "did you mean train?"),
    ("serve Qwen/Qwen3-32B \u2014context 8k", "did you mean --context?"),
    (f"{QWEN} --offload none", "transformers has no rules for it, given 'none'; leave it out"),
    (f"{QWEN} --enforce-eager false --engine vllm", "did you mean --engine-option enforce_eager=false?"),
    (f"{QWEN} --no-enable-prefix-caching", "did you mean --engine-option prefix_caching=false?"),
    (f"{TRAIN} --gradient-checkpointing false", "did you mean --recompute none?"),
    (f"{TRAIN} --use-flash-attn false", "did you mean --attention sdpa or --attention eager?"),
    (f"{QWEN} --on ''", "given ''; give the memory of one device, as in 16GiB, or see"),
    ("serve gemma-3-9b --context 8k", "did you mean gemma-2-9b-it?"),
    ("model qwen3-235b-a22b-instruct-2511", "did you mean Qwen3-235B-A22B-Instruct-2507 or "),
    (f"{QWEN} --task rerank", "did you mean embed?"),
    (f"{TRAIN} --seed 0", "leave it out: it changes no memory"),
    (f"{TRAIN} --prediction_loss_only true", "did you mean --evaluate loss?"),
    (f"{TRAIN} --per_device_eval_batch_size 4", "did you mean --eval-batch?"),
    (f"{TRAIN} --low_cpu_mem_usage true", "transformers 5 always loads so; see --load"),
    (f"{TRAIN} --fsdp_cpu_ram_efficient_loading true", "did you mean --load rank-0?"),
    (f"{TRAIN} --save_only_model true", "did you mean --save weights?"),
    (f"{TRAIN} --stage3_gather_16bit_weights_on_model_save true", "did you mean --save full?"),
    (f"{TRAIN} --state_dict_type SHARDED_STATE_DICT", "did you mean --save full or --save sharded?"),
    (f"{TRAIN} --save SHARDED_STATE_DICT", "did you mean sharded?"),
    (f"{TRAIN} --load cpu", "did you mean host?"),
    (f"{TRAIN} --eval-accumulation-steps 4", "--evaluate as well, given 4; say which: loss or metrics"),
    (f"{TRAIN} --evaluate metrics", "--eval-accumulation-steps as well, given 'metrics'; "),
    ("infer Qwen/Qwen3-8B", "did you mean serve?"),
    ("Qwen/Qwen3-32B", "memcalc serve Qwen/Qwen3-32B --context 32k"),
    ("list gpus", "did you mean machines?"),
    ("list", "models, machines, formats, engines"),
    ("serve", "add it, as in Qwen/Qwen3-32B"),
    ("serve Qwen/Qwen3-32B", "--context: expected a whole number >= 1, as in 8192 or 8k, given nothing"),
    ("serve Qwen/Qwen3-32B --context", "write --context N"),
    ("serve Qwen/Qwen3-32B 32k", "did you mean --context 32k?"),
    ("serve Qwen/Qwen3-32B --context 1e3", "as in 8192 or 8k, given '1e3'"),
    ("serve Qwen/Qwen3-32B --context 8k5", "as in 8192 or 8k, given '8k5'"),
    ("serve Qwen/Qwen3-32B --context 3,2768", "as in 8192 or 8k, given '3,2768'"),
    ("serve Qwen/Qwen3-32B --context -5", "as in 8192 or 8k, given -5"),
    ("train Qwen/Qwen3-8B --seq 4.5k", "as in 8192 or 8k, given '4.5k'"),
    ("serve Qwen/Qwen3-32B --contxt 8k", "did you mean --context?"),
    ("serve --contxt 8k Qwen/Qwen3-32B", "did you mean --context?"),
    (f"{TRAIN} --microbatch 2", "did you mean --micro-batch?"),
    (f"{TRAIN} --micro 2", "did you mean --micro-batch?"),
    ("serve Qwen/Qwen3-32B --max-model-len 32768", "did you mean --context?"),
    (f"{QWEN} --tensor-parallel-size 2", "did you mean --tp?"),
    (f"{QWEN} --gpu-memory-utilization 0.9", "did you mean --utilization?"),
    (f"{QWEN} --mem-fraction-static 0.8", "did you mean --utilization?"),
    (f"{QWEN} --kv-cache-dtype fp8_e4m3 --engine vllm", "did you mean --kv?"),
    (f"{QWEN} --kv-cache-dtype fp8_e4m3 --engine vllm", "did you mean fp8?"),
    (f"{QWEN} -ngl 99 --engine llama.cpp", "did you mean --engine-option n_gpu_layers=99?"),
    (f"{QWEN} -ctk q8_0 --engine llama.cpp", "did you mean --kv?"),
    ("serve Qwen/Qwen3-32B -c 8192", "did you mean --context?"),
    (f"{QWEN} --load_in_4bit", "did you mean --weights nf4?"),
    (f"{QWEN} --weights 4bit", "expected one of nf4, awq-int4-g128, gptq-int4-g128, given '4bit'"),
    (f"{QWEN} --weights int4", "did you mean gptq-int4-g128 or awq-int4-g128 or nf4?"),
    (f"{QWEN} --weights 8bit", "did you mean int8 or fp8 or gptq-int8-g128?"),
    (f"{QWEN} --weights gptq", "expected gptq-int4-g128, given 'gptq'; did you mean gptq-int4-g128?"),
    (f"{QWEN} --weights q4", "--weights: expected Q4_K_M, given 'q4'; did you mean Q4_K_M?"),
    (f"{QWEN} --weights auto", "leave it out: it is the default"),
    (f"{QWEN} --weights nonsense", "llama.cpp's, as in Q4_K_M, given 'nonsense'; see `memcalc list"),
    (f"{QWEN} --weights awq", "did you mean awq-int4-g128?"),
    (f"{QWEN} --weights gguf", "did you mean Q4_K_M?"),
    (f"{QWEN} --weights q4_k_x", "did you mean Q4_K_"),
    (f"{QWEN} --weights bf-16", "did you mean bf16?"),
    (f"{QWEN} --kv auto", "leave it out: it is the default"),
    (f"{QWEN} --kv q8 --engine llama.cpp", "did you mean q8_0?"),
    (f"{QWEN} --engine VLM", "did you mean vllm?"),
    (f"{QWEN} --engine ollama", "did you mean llama.cpp?"),
    (f"{QWEN} --engine tensorrt-llm", "vllm, the nearest that is modelled"),
    (f"{QWEN} --engine vllm --engine-option max_num_seq=64", "did you mean max_num_seqs?"),
    (f"{QWEN} --engine vllm --max-num-seqs 64", "did you mean --engine-option max_num_seqs=64?"),
    (f"{QWEN} --trust-remote-code", "leave it out: it changes no memory"),
    (f"{QWEN} --utilization 4e-7", "a share from 0.000001 to 1"),
    (f"{QWEN} --utilization 90%", "a number, as in 0.9"),
    (f"{QWEN} --batch 2k", "--batch: expected a whole number >= 1, given '2k'"),
    (f"{TRAIN} --per-device-train-batch-size 2", "did you mean --micro-batch?"),
    (f"{TRAIN} --gradient_accumulation_steps 8", "did you mean --accumulate?"),
    (f"{TRAIN} --gradient-checkpointing", "did you mean --recompute full?"),
    (f"{TRAIN} --gradient_checkpointing true", "did you mean --recompute full?"),
    (f"{TRAIN} --bf16", "--regime pure-bf16"),
    (f"{TRAIN} --optim paged_adamw_8bit", "did you mean paged-adamw-8bit?"),
    (f"{TRAIN} --optimizer adamw_8bit", "did you mean adamw-8bit?"),
    (f"{TRAIN} --optimizer adam", "did you mean adamw?"),
    (f"{TRAIN} --shard zero3", "did you mean 3?"),
    (f"{TRAIN} --zero-stage 3", "did you mean --shard?"),
    (f"{TRAIN} --use-distributed-optimizer", "did you mean --shard 1?"),
    (f"{TRAIN} --tensor-model-parallel-size 2", "did you mean --tp?"),
    (f"{TRAIN} --recompute true", "did you mean full?"),
    (f"{TRAIN} --recompute", "did you mean --recompute full?"),
    (f"{TRAIN} --batch-size 2", "did you mean --micro-batch?"),
    ("train Qwen/Qwen3-8B --seq-len 4k", "did you mean --seq?"),
    (f"{TRAIN} --lora-r 16", "did you mean --lora-rank?"),
    (f"{TRAIN} --use-dora --lora-rank 8", "did you mean --dora?"),
    (f"{TRAIN} --lora-modules-to-save lm_head --lora-rank 8", "did you mean --trainable?"),
    (f"{TRAIN} --use_rslora true --lora-rank 8", "leave it out: it changes no memory"),
    (f"{TRAIN} --num-virtual-tokens 20", "of PEFT's methods LoRA and DoRA are modelled"),
    (f"{TRAIN} --load-in-4bit --lora-rank 8", "did you mean --quantize-base nf4?"),
    (f"{TRAIN} --quantize-base 4bit --lora-rank 8", "did you mean nf4?"),
    (f"{TRAIN} --quantize-base bitsandbytes --lora-rank 8", "did you mean nf4?"),
    (f"{TRAIN} --deepspeed zero3 --world 8", "did you mean --shard?"),
    (f"{TRAIN} --shard fsdp2 --world 8", "did you mean fsdp?"),
    (f"{TRAIN} --fsdp", "did you mean --shard fsdp?"),
    (f"{TRAIN} --optimizer adamw_torch_fused", "did you mean adamw?"),
    (f"{TRAIN} --regime fp16", "did you mean amp?"),
    (f"{TRAIN} --loss liger-fused", "did you mean fused-linear?"),
    (f"{TRAIN} --packing", "did you mean --lengths packed?"),
    (f"{TRAIN} --expandable-segments", "did you mean --allocator expandable?"),
    (f"{TRAIN} --trainer trl", "did you mean --like?"),
    (f"{TRAIN} --implementation trl", "did you mean transformers with --like trl?"),
    (f"{TRAIN} --like LLaMAFactory", "did you mean llama-factory?"),
    (f"{TRAIN} --transformers-version 4.45", "did you mean --engine-version?"),
    (f"{TRAIN} --auto-find-batch-size true", "did you mean --max-batch?"),
    ("train Qwen/Qwen3-8B --longest-seq", "did you mean --max-seq?"),
    (f"{TRAIN} --attention flash_attention_2", "did you mean flash?"),
    (f"{TRAIN} --loss liger-kernel", "did you mean liger?"),
    (f"{TRAIN} --lora_r 16 --target_modules q_proj", "--lora_r: did you mean --lora-rank?"),
    (f"{TRAIN} --lora-rank 8 --lora-targets all", "all-linear"),
    (f"{TRAIN} --implementation megatron-lm", "did you mean megatron?"),
    (f"{TRAIN} --regime bf16", "did you mean bf16-mixed or pure-bf16?"),
    (f"{TRAIN} --pipeline-layout 14,x --pp 2 --world 2", "whole numbers, as in 16,15, given 'x'"),
    (f"{TRAIN} --repeat-kv maybe", "yes or no"),
    (f"{TRAIN} --compile false", "remove --compile"),
    ("train Qwen/Qwen3-8B --context 4k", "did you mean --seq?"),
    ("serve --model Qwen/Qwen3-32B --context 8k", "did you mean SOURCE without an option?"),
    ("model mistral-7b", "did you mean Mistral-7B-v0.1 or Mistral-7B-v0.3?"),
    ("model Qwen3-32B-AWQ", "did you mean Qwen/Qwen3-32B with --weights awq-int4-g128?"),
    ("model gpt5", "see `memcalc list models`, or download its config.json"),
    ("serve ./no.gguf --context 8k", "check the path"),
]


@pytest.fixture
def said(capsys):
    """What a command writes: its answer, or the one line that it refuses with."""

    def ask(*words):
        status, printed = main([*words]), capsys.readouterr()
        if status != 2:
            assert printed.err == ""
            return printed.out
        assert printed.out == ""
        assert printed.err.startswith("memcalc: error: ")
        assert printed.err.count("\n") == 1
        assert len(printed.err) < 1000
        return printed.err

    return ask


@pytest.mark.parametrize(("typed", "found"), ANSWERED)
def test_what_is_understood_is_answered(said, typed, found):
    assert found in said(*shlex.split(typed), "--json")


@pytest.mark.parametrize(("typed", "step"), REFUSED)
def test_what_is_not_is_refused_with_the_next_step(said, typed, step):
    line = said(*shlex.split(typed))
    assert line.startswith("memcalc: error: ")
    assert step in line


def test_there_are_many_of_them():
    assert len(ANSWERED) + len(REFUSED) >= 90


# Everything at once

SEVERAL = [
    (
        'serve Qwen3-3B --context 0 --weights q9 --engine VLM --on "2x foo" --batch x',
        ("SOURCE", "--context", "--weights", "--engine", "--on", "--batch"),
    ),
    (
        "serve Qwen3-32B --contxt 8k --microbatch 2 --utilization 2 --on 2x rtx-a6000 --tp 3",
        ("--contxt", "--microbatch", "--utilization", "--tp x --pp x --dp"),
    ),
    ("serve --weights q9", ("SOURCE", "--context", "--weights")),
    ("serve Qwen3-32B --context 8k --prompt 9k --utilization 0", ("--prompt", "--utilization")),
    (
        "serve Qwen3-32B --context 8k --engine vllm --engine-option block=1 --kv fp9",
        ("--engine-option", "--kv"),
    ),
    (
        "train Qwen3-8B --seq 0 --optimizer adm --gradient-checkpointing --world 4 --tp 3",
        ("--seq", "adamw", "--recompute full", "--world", "--tp"),
    ),
    (
        "train Qwen3-8B --seq 4k --world 4 --tp 3 --lora-targets q_proj --schedule gpipe --dropout 2",
        ("--world", "--lora-targets", "--schedule", "--dropout", "--tp"),
    ),
    ("train Qwen3-8B --max_len 4k --optim adamw --lora_r 8", ("--seq", "--optimizer", "--lora-rank")),
    ("train --shard zero3", ("SOURCE", "--seq", "--shard")),
    ("which nothing --context x --weights q9", ("SOURCE", "--context", "--weights")),
]


@pytest.mark.parametrize(("typed", "faults"), SEVERAL)
def test_all_that_is_wrong_is_said_at_once(said, typed, faults):
    line = said(*shlex.split(typed))
    assert [fault for fault in faults if fault not in line] == []


# one fault each, of options that do not hang together: any two are said together
SERVE = {
    "--context": {"context": 0},
    "--batch": {"batch": 0},
    "--weights": {"weights": "q9"},
    "--kv": {"kv": "fp9"},
    "--on": {"on": "2x nothing"},
    "--ep": {"ep": 3},
    "--utilization": {"utilization": 2.0},
    "--engine-option": {"engine_options": {"block": 1}},
    "--tp": {"tp": 3},
    "SOURCE": {"source": "nothing"},
}
TRAINED = {
    "--seq": {"seq": 0},
    "--micro-batch": {"micro_batch": 0},
    "--optimizer": {"optimizer": "gravity"},
    "--loss": {"loss": "magic"},
    "--schedule": {"schedule": "gpipe"},
    "--lora-targets": {"lora_targets": ("q_proj",)},
    "--dropout": {"dropout": 1.0},
    "--offload": {"offload": ("weights",)},
    "--recompute-modules": {"recompute_modules": ("mlp",)},
    "--repeat-kv": {"attention": "eager", "repeat_kv": False},
    "--vocab-multiple": {"vocab_multiple": 0},
    "--pipeline-layout": {"pipeline_layout": (16, 15)},
    "--on": {"on": "2x nothing"},
    "SOURCE": {"source": "nothing"},
}
HANG_TOGETHER = ({"--ep", "--tp"}, {"SOURCE", "--tp"}, {"SOURCE", "--pipeline-layout"})


@pytest.mark.parametrize(
    ("ask", "plan", "faults"),
    [
        (memcalc.serve, {"source": "Qwen/Qwen3-32B", "context": 8192, "engine": "vllm"}, SERVE),
        (memcalc.train, {"source": "Qwen/Qwen3-8B", "seq": 4096}, TRAINED),
    ],
    ids=["serve", "train"],
)
def test_any_two_faults_are_said_together(ask, plan, faults):
    for one, other in combinations(faults, 2):
        if {one, other} in HANG_TOGETHER:
            continue
        with pytest.raises(MemcalcError) as refused:
            ask(**{**plan, **faults[one], **faults[other]})
        assert {each.field for each in (refused.value, *refused.value.others)} == {one, other}


def test_what_depends_on_a_fault_is_not_one_of_its_own(said):
    """Ranks are not held against a machine that is not known, nor a prompt against a context that is none."""
    line = said("serve", "Qwen3-32B", "--context", "8k", "--on", "3x nothing", "--tp", "2")
    assert "--tp" not in line
    for context in ("x", "0"):
        assert said("serve", "Qwen3-32B", "--context", context, "--prompt", "9").count("expected") == 1


def test_a_word_that_may_mean_several_options_is_read_as_none(said):
    """Its value is no fault of the first of them."""
    line = said("train", "Qwen3-8B", "--seq", "4k", "--weights", "nf4")
    assert "did you mean --regime or --quantize-base?" in line
    assert "pure-bf16" not in line


def test_the_same_holds_in_python():
    with pytest.raises(MemcalcError) as refused:
        memcalc.train("Qwen/Qwen3-8B", seq=4096, world=4, tp=3, dropout=2.0)
    assert [one.field for one in (refused.value, *refused.value.others)] == ["--world", "--tp", "--dropout"]
    with pytest.raises(TypeError, match=r"contxt.*did you mean context\?; .*tensor_parallel_size.*mean tp\?"):
        memcalc.serve("Qwen/Qwen3-8B", contxt=8, tensor_parallel_size=2)
    with pytest.raises(TypeError, match="did you mean recompute='full'"):
        memcalc.train("Qwen/Qwen3-8B", seq=8, gradient_checkpointing=True)


# Numbers


@pytest.mark.parametrize(
    ("text", "number"),
    [("32k", 32768), ("32K", 32768), ("1m", 2**20), ("8_192", 8192), ("8192", 8192), ("-1", -1), ("007", 7)],
)
def test_a_token_count(text, number):
    assert whole_number(text, scaled=True) == number


@pytest.mark.parametrize(
    "text", ["1e3", "8k5", "k", "", "8 k", "8__192", "_8", "8_", "8_k", "٨", "+8", "8.5k", "8kb"]
)
def test_no_token_count(text):
    assert whole_number(text, scaled=True) == text


def test_tokens_are_counted_in_python_too():
    served = memcalc.serve("Qwen/Qwen3-0.6B", context="32k", prompt="8_192", prefill_chunk="2K")
    assert (served.plan.context, served.plan.prompt, served.plan.prefill_chunk) == (32768, 8192, 2048)
    assert memcalc.train("Qwen/Qwen3-0.6B", seq="4k").plan.options.seq == 4096
    own = {"max_num_batched_tokens": "16k"}
    served = memcalc.serve("Qwen/Qwen3-0.6B", context="8k", engine="vllm", engine_options=own)
    assert served.plan.engine_options["max_num_batched_tokens"] == 16384
    with pytest.raises(BadInputError, match=r"--context: .*given '1e3'"):
        memcalc.serve("Qwen/Qwen3-0.6B", context="1e3")
    with pytest.raises(BadInputError, match="--batch"):
        memcalc.serve("Qwen/Qwen3-0.6B", context=8, batch="2k")


# Python


def test_the_source_has_a_name_in_python():
    served = memcalc.serve(source="Qwen/Qwen3-0.6B", context=8)
    assert served.model.name == "Qwen/Qwen3-0.6B"
    with pytest.raises(TypeError, match="takes one source"):
        memcalc.serve("Qwen/Qwen3-0.6B", "8", context=8)


def test_choices_are_spelled_in_any_capitals_in_python():
    assert memcalc.serve("Qwen/Qwen3-0.6B", context=8, engine="vLLM").engine.id == "vllm"
    step = memcalc.train("Qwen/Qwen3-0.6B", seq=64, optimizer="AdamW", recompute="FULL")
    assert (step.plan.optimizer.id, step.plan.options.recompute) == ("adamw", "full")


def test_states_of_a_name_say_how_they_are_asked_for():
    with pytest.raises(BadInputError, match=re.escape("memcalc.states(memcalc.model('Qwen/Qwen3-32B'))")):
        memcalc.states("Qwen/Qwen3-32B")


def test_a_sweep_has_no_single_device():
    with pytest.raises(BadInputError, match="device: expected a single plan, given a sweep"):
        memcalc.train("Qwen/Qwen3-0.6B", seq=np.array([64, 128])).device  # noqa: B018 (a property)


def test_amounts_keep_their_unit_in_a_column():
    size = memcalc.serve("Qwen/Qwen3-32B", context=8).weights_file_bytes
    assert (f"{size:>12}", f"{size:12}", f"{size:<12}|") == ("   61.02 GiB", "   61.02 GiB", "61.02 GiB   |")
    assert (f"{size:,}", f"{size:d}") == ("65,524,246,528", "65524246528")


def test_a_name_of_two_owners_is_not_taken_for_one(monkeypatch):
    monkeypatch.setattr("memcalc.files.catalogue.catalogue", lambda: ["one/Same-8B", "two/Same-8B"])
    with pytest.raises(MemcalcError, match="did you mean one/Same-8B or two/Same-8B"):
        memcalc.model("same-8b")


# The table


def tables():
    with open_text("synonyms.json") as file:
        return json.load(file)


@pytest.mark.parametrize("command", ["memcalc serve", "memcalc train", "memcalc model"])
def test_what_stands_for_another_tools_option_is_one_of_ours(command):
    parser = parser_of(command.removeprefix("memcalc "))
    for right in tables()[command]:
        for one in right.split(" or "):
            assert one.startswith(("leave it out", "SOURCE")) or one.split()[0] in parser.flags, right


@pytest.mark.parametrize("kind", tables())
def test_a_word_of_another_tool_means_one_thing(kind):
    words = [plain(word) for others in tables()[kind].values() for word in {plain(one) for one in others}]
    assert len(words) == len(set(words)) or kind == "--engine-option"  # each engine has its own


@pytest.mark.parametrize("command", ["serve", "train"])
def test_every_word_of_another_tool_is_answered_with_ours(command):
    """It is no option of ours under this name, and the line names ours."""
    parser = parser_of(command)
    for right, others in tables()[f"memcalc {command}"].items():
        for word in others:
            flag, faults = f"--{word}" if len(word) > 1 else f"-{word}", Faults()
            assert flag not in parser.flags, flag
            parser.read(["Qwen3-8B", f"{flag}=7"], faults)
            line = " ".join(map(str, faults.found))
            assert all(one.removesuffix("=N") in line for one in right.split(" or ")), (flag, line)
