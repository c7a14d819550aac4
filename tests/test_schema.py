"""The JSON Schema of each answer: what commands print keeps to it, and a key more or less does not.

Answers about checkpoints' headers, GGUF files and fields that were not read are held where those are tested.
"""

from __future__ import annotations

import copy
import json
from functools import cache

import pytest
from jsonschema import Draft202012Validator

from memcalc.__main__ import main
from memcalc.cli.command import COMMANDS
from memcalc.cli.schema import OPTIONS, schema
from memcalc.errors import UnknownNameError
from memcalc.options import options_of
from memcalc.serving.engines import ENGINES

QWEN, LLAMA, SPARSE = "Qwen/Qwen3-32B", "meta-llama/Meta-Llama-3.1-8B", "Qwen/Qwen3-30B-A3B"
SERVE, TRAIN = ["serve", QWEN, "--context", "8192"], ["train", LLAMA, "--seq", "4096"]
DRAFTED = ["serve", "deepseek-ai/DeepSeek-V3", "--context", "8192", "--engine", "vllm"]
MODELS = (
    QWEN,
    "google/gemma-3-27b-it",
    "openai/gpt-oss-20b",
    "deepseek-ai/DeepSeek-V3.2",
    "zai-org/GLM-5-FP8",
)
ASKED = ("kv-bytes-a-token", "does-yarn-cost", "gb-to-gib")
HOST = "1x rtx-4090 + 512GiB host"
ANSWERED = [
    *(["model", name] for name in MODELS),
    *(["model", QWEN, "--engine", engine] for engine in ENGINES),
    *([*SERVE, "--engine", name] for name in ENGINES),
    [*SERVE, "--engine", "vllm", "--on", "2x rtx-a6000"],
    [*SERVE, "--engine", "mindie", "--on", "2x atlas-800i-a2"],
    [*SERVE, "--on", "1x rtx-4090"],
    [*SERVE, "--on", "1x rtx-pro-6000-blackwell", "--prompt", "100", "--prefill-chunk", "512", "--check"],
    [*SERVE, "--on", "2x rtx-a6000", "--max-context", "--max-batch", "--tp", "1", "--dp", "2"],
    [*SERVE, "--engine", "vllm", "--engine-version", "0.25", "--engine-option", "enforce_eager=true"],
    [*SERVE, "--weights", "gptq-int4-g128", "--kv", "fp8", "--engine", "vllm"],
    [*SERVE, "--weights", "Q4_K_M", "--kv", "q8_0/q4_0", "--offload", "blk.0.*=CPU", "--on", HOST],
    ["serve", "google/gemma-3-27b-it", "--context", "8192"],
    [*DRAFTED, "--draft", "mtp", "--on", "8x h200-141g", "--tp", "8", "--dcp", "8"],
    [*SERVE, "--task", "embed", "--on", "1x h100-80g", "--engine", "vllm"],
    [*SERVE, "--draft", "Qwen/Qwen3-0.6B", "--draft-tokens", "5"],
    [*SERVE, "--engine", "sglang", "--lora-slots", "4", "--lora-rank", "32"],
    [*SERVE, "--engine", "vllm", "--engine-option", "cpu_offload_gb=8", "--on", HOST],
    ["serve", "deepseek-ai/DeepSeek-R1", "--context", "8", "--engine", "ktransformers", "--on", HOST],
    TRAIN,
    [*TRAIN, "--on", "1x rtx-4090"],
    [*TRAIN, "--recompute", "selective", "--recompute-modules", "mlp", "--regime", "amp", "--compile"],
    [*TRAIN, "--recompute", "full", "--shard", "fsdp", "--world", "8", "--offload", "optimizer"],
    [*TRAIN, "--offload", "optimizer,activations", "--recompute", "full", "--on", HOST],
    [
        *TRAIN,
        "--lora-rank",
        "16",
        "--lora-targets",
        "q_proj,k_proj",
        "--quantize-base",
        "nf4",
        "--dropout",
        "0.1",
    ],
    [*TRAIN, "--implementation", "megatron", "--pp", "4", "--vpp", "2", "--world", "8", "--rank", "first"],
    ["train", SPARSE, "--seq", "512", "--trainable", "self_attn", "--optimizer", "sgd", "--repeat-kv", "yes"],
    [*SERVE, "--engine", "vllm", "--engine-command"],
    ["which", QWEN, "--context", "8192", "--engine", "vllm"],
    ["which", "deepseek-ai/DeepSeek-R1", "--context", "8192", "--weights", "Q4_K_M"],
    ["ask", "--list"],
    *(["ask", name, "--seed", "1", "--answer", "8 GiB"] for name in ASKED),
    *(["list", what] for what in ("models", "machines", "formats", "engines")),
]


@cache
def validator(command):
    return Draft202012Validator(schema(command))


def faults(command, answer):
    """Where an answer does not keep to its schema."""
    return [f"{error.json_path}: {error.message}" for error in validator(command).iter_errors(answer)]


@pytest.fixture
def ask(capsys):
    """The JSON of a command that answers."""

    def ask(*arguments):
        assert main([*arguments, "--json"]) in (0, 1)
        return json.loads(capsys.readouterr().out)

    return ask


@pytest.mark.parametrize("command", COMMANDS)
def test_it_is_a_schema(command):
    """Of the draft that it names; it says what the exit statuses mean."""
    one = schema(command)
    Draft202012Validator.check_schema(one)
    assert one["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    assert all(f"{status}:" in one["description"] for status in (0, 1, 2))


@pytest.mark.parametrize("words", ANSWERED, ids=" ".join)
def test_an_answer_keeps_to_it(ask, words):
    assert faults(words[0], ask(*words)) == []


def objects(answer, where="$"):
    """Every object of an answer, with where it stands; of a list the first element alone."""
    if isinstance(answer, dict):
        yield where, answer
        for key, value in answer.items():
            yield from objects(value, f"{where}.{key}")
    if isinstance(answer, list) and answer:
        yield from objects(answer[0], f"{where}[0]")


OPEN = ("components", "moments", "engine_options", "options")  # objects whose keys are names


@pytest.mark.parametrize(
    "words",
    [
        ["model", QWEN],
        [*SERVE, "--on", "2x rtx-a6000", "--engine", "vllm"],
        [*TRAIN, "--on", "1x h100-80g"],
        ["which", QWEN, "--context", "8192"],
        ["list", "engines"],
    ],
    ids=" ".join,
)
def test_a_key_more_or_less_is_a_fault(ask, words):
    """In every object whose keys are listed: planted one at a time."""
    answer = ask(*words)
    closed = [where for where, _ in objects(answer) if not where.endswith(OPEN)]
    assert closed
    for where in closed:
        changed = copy.deepcopy(answer)
        dict(objects(changed))[where]["surprise"] = 1
        assert faults(words[0], changed), where
        for key in dict(objects(answer))[where]:
            changed = copy.deepcopy(answer)
            del dict(objects(changed))[where][key]
            assert faults(words[0], changed), f"{where}.{key}"


@pytest.mark.parametrize(("command", "words"), [("serve", SERVE), ("train", TRAIN)])
def test_a_value_of_another_kind_is_a_fault(ask, command, words):
    answer = ask(*words)
    for key, wrong in (("fits", "yes"), ("model", None), ("schema", 2), ("lines", {}), ("plan", [])):
        assert faults(command, {**answer, key: wrong}), key
    for key, wrong in (
        ("bytes", 1.5),
        *((("bytes", -1),) if command == "train" else ()),  # what leaves a device is below 0
        ("component", "other"),
        ("evidence", "guessed"),
        ("count", "0"),
    ):
        changed = copy.deepcopy(answer)
        changed["lines"][0][key] = wrong
        assert faults(command, changed), key


@pytest.mark.parametrize("command", ["serve", "train"])
def test_a_plan_has_every_option_under_its_meaning(command):
    plan = schema(command)["properties"]["plan"]
    options = {option.name: option.meaning for option in options_of(OPTIONS[command])}
    assert options.keys() <= plan["properties"].keys()
    assert plan["required"] == list(plan["properties"])
    same = [name for name, meaning in options.items() if meaning in plan["properties"][name]["description"]]
    assert set(options) - set(same) <= {"schedule"}  # which has a name more in an answer


def test_an_unknown_command_has_none():
    with pytest.raises(UnknownNameError, match="did you mean serve"):
        schema("server")
