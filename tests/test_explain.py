"""`memcalc explain`: every printed expression has the printed value, and the lines add up to the answer."""

from __future__ import annotations

import itertools
import json
import re
import shlex
from contextlib import suppress
from functools import partial

import numpy as np
import pytest
from jsonschema import Draft202012Validator

import memcalc
from memcalc.__main__ import main
from memcalc.cli.schema import schema
from memcalc.errors import BadInputError, MemcalcError
from memcalc.files.catalogue import catalogue, record
from memcalc.ledger.tensor import least
from memcalc.serving.engines import ENGINES
from memcalc.show.named import named_model
from memcalc.show.traced import Names, Traced, expression_of
from tests.derived import balanced, evaluated, evaluated_latex
from tests.test_stored_weights import BYTES, safetensors

QWEN, LLAMA = "Qwen/Qwen3-32B", "meta-llama/Meta-Llama-3.1-8B"
STEPS = (
    {"micro_batch": 2},
    {"world": 8, "shard": "fsdp", "recompute": "full"},
    {"world": 8, "shard": 2, "regime": "amp"},
    {"lora_rank": 8},
    {"implementation": "megatron", "world": 8, "tp": 2, "pp": 2, "shard": 1},
)
PLANS = [
    "serve Qwen/Qwen3-Next-80B-A3B-Instruct --context 32k --engine sglang --lora-slots 2",
    'serve openai/gpt-oss-120b --context 32k --engine llama.cpp --on "1x rtx-4090 + 64GiB host"',
    'serve Qwen/Qwen3-14B --context 8k --engine llama.cpp --on "b200 + rtx-3060-12g"',
    f"serve {QWEN} --context 8k --engine vllm --engine-option cpu_offload_gb=50",
    f"serve {QWEN} --context 8k --weights nf4 --task embed",
    'serve meta-llama/Llama-3.3-70B-Instruct --context 8k --engine mindie --on "4x ascend-910b-64g"',
    "train Qwen/Qwen3-30B-A3B --seq 4k --world 8 --shard fsdp --recompute full",
    "train openai-community/gpt2 --seq 1024 --micro-batch 8 --regime amp --dropout 0.1",
    "train mistralai/Mixtral-8x7B-v0.1 --seq 4k --world 8 --shard 3 --lora-rank 8",
    "model Qwen/Qwen3-Next-80B-A3B-Instruct",
    "model openai/gpt-oss-120b",
    f"serve {QWEN} --context 8k",
    f'serve {QWEN} --context 32k --batch 4 --prompt 1k --engine vllm --weights fp8 --on "2x rtx-a6000"',
    f'serve {QWEN} --context 32k --engine sglang --weights awq-int4-g128 --kv fp8 --on "1x rtx-4090" --tp 1',
    'serve deepseek-ai/DeepSeek-R1 --context 8k --weights Q4_K_M --on "1x rtx-4090 + 512GiB host"',
    "serve google/gemma-3-27b-it --context 8k --weights q4_k_m --kv q8_0 --engine llama.cpp",
    'serve deepseek-ai/DeepSeek-V3 --context 8k --engine vllm --draft mtp --on "8x h200-141g" --tp 8 --dcp 8',
    f"serve {QWEN} --context 8k --draft Qwen/Qwen3-0.6B --lora-slots 2 --lora-rank 16 --engine vllm",
    f'train {LLAMA} --seq 4096 --recompute full --on "1x h100-80g"',
    f"train {LLAMA} --seq 4096 --lora-rank 16 --quantize-base nf4 --dropout 0.1 --optimizer adamw-8bit",
    f"train {LLAMA} --seq 4k --implementation megatron --world 16 --tp 2 --pp 4 --vpp 2",
    'train Qwen/Qwen3-30B-A3B --seq 4k --world 8 --shard 3 --offload optimizer --on "8x h100-80g"',
    f"model {QWEN}",
    "model deepseek-ai/DeepSeek-V3.2",
    f"model {QWEN} --engine vllm",
]
CONSTANT = ("cuBLAS workspace", "scalars", "state of the random numbers", "the loss, held with them")
CONSTANT += ("RoPE, positions, scalars",)  # where there is no RoPE: scalars


def pytest_generate_tests(metafunc):
    """A model of each type; all of the catalogue with --full."""
    if "name" in metafunc.fixturenames:
        of_types = {record(name).fields["model_type"]: name for name in catalogue()}
        sample = list(of_types.values())[::6]
        metafunc.parametrize("name", catalogue() if metafunc.config.getoption("full") else sample)


def wrong(said):
    """Where an explanation's expressions, sums and text contradict its numbers."""
    numbers = said.numbers
    for section in said.sections:
        for step in filter(lambda one: one.is_derived, section.steps):
            texts = step.expression.text("number"), step.expression.text("name")
            if not step.value == evaluated(texts[0]) == evaluated(texts[1], numbers):
                yield step.name, texts, step.value
        for total in section.sums:
            if sum(size for _, size in total.parts) != total.value:
                yield total
        if section.pool:
            yield from not_added(section)
    if not balanced(said.latex):
        yield "LaTeX"
    if f"{said.answer:,}" not in str(said).splitlines()[-1]:
        yield "the last line"


def not_added(section):
    """The moments of a memory whose parts are not what the lines at that moment add up to."""
    for moment in section.sums:
        here = [one for one in section.steps if not one.moments or moment.name in one.moments]
        for component, size in moment.parts if moment.name not in ("total", "free") else ():
            if component == "runtime":
                continue
            lines = [step.value for step in here if step.component == component]
            if sum(lines) != size:
                yield moment.name, component, sum(lines), size


def bare(said):
    """Exact lines of memory that are a number alone, but for those that are constants of a library."""
    steps = [step for section in said.sections if section.pool for step in section.steps]
    unsaid = [step for step in steps if step.evidence == "exact" and step.value and not step.is_derived]
    return {step.name for step in unsaid} - set(CONSTANT)


def answers(asked):
    """The answers to what is not refused: an engine or an implementation does not know every model."""
    for ask in asked:
        with suppress(MemcalcError):
            yield ask()


def test_what_serving_prints_is_so(name):
    """By every engine that serves the model."""
    asked = [partial(memcalc.serve, name, context=8192, engine=engine) for engine in ENGINES]
    found = list(answers(asked))
    assert found
    for served in found:
        said = memcalc.explain(served)
        assert (list(wrong(said)), bare(said)) == ([], set()), served.engine
        assert said.answer == served.device.total_bytes


def test_what_training_prints_is_so(name):
    """In every way that the implementation knows for the model, if any."""
    found = list(answers(partial(memcalc.train, name, seq=1024, **how) for how in STEPS))
    if not found:
        with pytest.raises(MemcalcError):
            memcalc.train(name, seq=1024)
    for step in found:
        said = memcalc.explain(step)
        assert (list(wrong(said)), bare(said)) == ([], set()), step.plan
        assert said.answer == step.device.total_bytes
        assert f"{step.allocated_bytes:,}" in said.last_line


def test_what_is_said_of_a_model_is_so(name):
    model = memcalc.model(name)
    said = memcalc.explain(model)
    assert list(wrong(said)) == []
    assert said.answer == model.parameters
    first = said.sections[0]
    assert sum(step.value for step in first.steps) == model.parameters


def printed(text):
    """Expressions of a text for a terminal, each with the result that stands below it."""
    equations = re.split(r"\n(?!      = )", text)
    for one in equations:
        _, *lines = one.split("\n      = ")
        if len(lines) == 3:
            yield lines[1], lines[2]


@pytest.mark.parametrize("plan", PLANS)
def test_the_command_says_it(plan, capsys):
    """Text, its expressions worked out; the answer last; JSON that keeps to its schema and says the same."""
    words = shlex.split(plan)
    assert main(["explain", *words]) == 0
    text = capsys.readouterr().out
    found = list(printed(text))
    assert found
    for expression, result in found:
        assert f"{int(evaluated(expression)):,}" == result.split()[0]
    assert main(["explain", *words, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert not list(Draft202012Validator(schema("explain")).iter_errors(said))
    assert text.rstrip().endswith(said["answer_text"])
    assert main([*words, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    if said["of"] == "model":
        assert said["answer"] == answer["parameters"]
    elif said["of"] == "train":
        assert said["answer"] == answer["device_bytes"]
        assert f"{answer['allocated_bytes']:,}" in said["answer_text"]
    else:
        assert said["answer"] in [pool["total_bytes"] for pool in answer["pools"]]
    if said["of"] != "model":
        lines = [line for section in said["sections"] if section["pool"] for line in section["lines"]]
        assert [line["value"] for line in lines] == [line["bytes"] for line in answer["lines"]]


def test_the_answer_stands_in_the_last_line_whole(capsys):
    assert main(["explain", "serve", QWEN, "--context", "8192"]) == 0
    assert "69,614,711,808" in capsys.readouterr().out.splitlines()[-1]


def test_a_cache_is_the_textbook_s(capsys):
    """Every factor by its word, and each with its number."""
    assert main(["explain", "serve", QWEN, "--context", "32k", "--batch", "4", "--kv", "fp16"]) == 0
    text = capsys.readouterr().out
    assert "= batch × context × depth × kv_heads × head_dim × bytes_per_element\n" in text
    assert "= 4 × 32,768 × 64 × 8 × 128 × 2\n      = 17,179,869,184 bytes" in text


def test_activations_are_those_of_the_layer(capsys):
    """Each tensor that a layer keeps, and all of them as one formula."""
    assert main(["explain", "train", LLAMA, "--seq", "4096"]) == 0
    text = capsys.readouterr().out
    assert "    activated gate\n      = 2 × batch × context × ffn_width\n" in text
    assert "= 4 × depth × (batch × context × (4 × width + 2 + heads × head_dim + kv_heads × head_dim" in text


def test_tables_of_positions_are_counted_in_names(capsys):
    """GPT-J's layers have a table of sines and cosines each."""
    assert main(["explain", "train", "EleutherAI/gpt-j-6B", "--seq", "1024"]) == 0
    assert "= 4 × depth × positions × rope_dim\n      = 4 × 28 × 2,048 × 64\n" in capsys.readouterr().out


@pytest.mark.parametrize("way", ["--markdown", "--latex"])
@pytest.mark.parametrize("plan", PLANS)
def test_other_ways_to_write_it(plan, way, capsys):
    assert main(["explain", *shlex.split(plan), way]) == 0
    text = capsys.readouterr().out.rstrip()
    said = memcalc_answer(plan, capsys)
    assert f"{said:,}" in text.splitlines()[-1]
    if way == "--latex":
        assert balanced(text)
        assert text.count(r"\begin{align*}") == text.count(r"\end{align*}") > 0
        assert not re.search(r"[^\x20-\x7e\n]", re.sub(r"%.*", "", text))
        words = re.findall(r"\\text\{((?:[^}\\]|\\[^a-z]|\\[a-z]+\{\})*)\}", text)
        assert not any(re.search(r"(?<!\\)[_#&$%^~]", one) for one in words)
        typed = re.findall(r"\\mathtt\{((?:[^}\\]|\\.)*)\}", text)
        assert not any(" " in one for one in typed)  # names alone are in typewriter letters
        equations = re.findall(r"\n&= (.*) \\\\\n&= ([\d{},]+)\\ ", text)
        assert equations
        for numbers, result in equations:
            assert evaluated_latex(numbers) == evaluated_latex(result), numbers
    else:
        rows = [line for line in text.splitlines() if line.startswith("|")]
        tables = [list(of_one) for _, of_one in itertools.groupby(rows, key=columns)]
        assert tables
        assert all(columns(row) in (4, 6) for row in rows)
        cells = [
            [cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows if columns(row) == 6
        ]
        equations = [
            (row[3], row[4]) for row in cells if re.match(r"[\d⌈⌊(-]", row[3]) and row[4][0].isdigit()
        ]
        assert equations
        for numbers, result in equations:
            assert f"{int(evaluated(numbers)):,}" == result, numbers


def columns(row):
    """The cells of a Markdown row."""
    return len(re.findall(r"(?<!\\)\|", row)) - 1


def memcalc_answer(plan, capsys):
    """The answer of a plan, by its JSON."""
    assert main(["explain", *shlex.split(plan), "--json"]) == 0
    return json.loads(capsys.readouterr().out)["answer"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "plan: expected a command: model or serve or train"),
        (["Qwen/Qwen3-32B"], "`memcalc explain serve Qwen/Qwen3-32B --context 32k`"),
        (["which", QWEN], "expected a command first"),
        (["serve", QWEN], "--context"),
        (["serve", QWEN, "--context", "8k", "--markdown", "--latex"], "choose one"),
        (["serve", QWEN, "--context", "8k", "--engine-command"], "--engine-command"),
        (["serve", QWEN, "--context", "8k", "--check"], "a machine to check against"),
        (["serve", "--contxt", "8k", QWEN], "--context"),
        (["train", QWEN, "--seq", "0"], "--seq"),
        (["model", "no/such-model"], "no/such-model"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(words, said, capsys):
    assert main(["explain", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("memcalc: error: ")
    assert err.count("\n") == 1
    assert said in err


def test_the_exit_status_is_that_of_the_command(capsys):
    words = ["serve", QWEN, "--context", "8k", "--check", "--on"]
    assert main(["explain", *words, "1x rtx-4090"]) == 1
    assert "does not fit" in capsys.readouterr().out
    assert main(["explain", *words, "2x h100-80g"]) == 0
    assert main(["explain", "serve", "--help"]) == 0
    assert "--utilization" in capsys.readouterr().out


def test_only_answers_are_explained():
    with pytest.raises(BadInputError, match=r"memcalc\.serve"):
        memcalc.explain("Qwen/Qwen3-32B")
    with pytest.raises(BadInputError, match="sweep"):
        memcalc.explain(memcalc.train(LLAMA, seq=np.array([1024, 2048])))
    with pytest.raises(BadInputError, match=r"memcalc\.serve|sweep"):
        memcalc.explain(memcalc.serve(QWEN, context=np.array([1024, 2048])))


def test_a_header_alone_is_explained(tmp_path, capsys):
    path = safetensors(tmp_path / "model.safetensors")
    assert main(["explain", "model", str(path)]) == 0
    text = capsys.readouterr().out
    assert text.splitlines()[-1] == f"{BYTES:,} bytes of tensors"
    assert "512 bytes  (2 x (16 x 8) as BF16)" in text


def test_nothing_is_left_behind():
    """An explanation's numbers stay in it: the next answer is made of plain ones."""
    before = memcalc.serve(QWEN, context=8192)
    memcalc.explain(before)
    after = memcalc.serve(QWEN, context=8192)
    assert not any(isinstance(line.bytes, Traced) for line in after.device.lines)
    assert [line.bytes for line in after.device.lines] == [line.bytes for line in before.device.lines]


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (lambda a, b: a * b + a, "a × (b + 1)"),
        (lambda a, b: -(-a // 5), "⌈a / 5⌉"),
        (lambda a, b: a // 5, "⌊a / 5⌋"),
        (lambda a, b: a * b // a, "b"),
        (lambda a, b: 3 * a - b, "3 × a - b"),
        (lambda a, b: 6 * a // 3 + 0, "2 × a"),
        (lambda a, b: 6 * a // 4, "⌊(3 × a) / 2⌋"),
        (lambda a, b: sum([a, b, a]), "2 × a + b"),
        (lambda a, b: 10 - a, "10 - a"),
        (lambda a, b: least(b, max(a, 9)), "9"),
        (lambda a, b: a - a + 4, "4"),
    ],
)
def test_numbers_remember_how_they_were_made(made, text):
    names = Names()
    a, b = names("heads", 7), names("kv_heads", 12)
    found, plain = made(a, b), made(7, 12)
    said = expression_of(found)
    assert found == plain == said.value == evaluated(said.text("number"))
    assert said.text("name").replace("kv_heads", "b").replace("heads", "a") == text


def test_what_is_no_whole_number_goes_on_without():
    a = Names()("heads", 7)
    assert a * 0.5 == 3.5
    assert [0] * a == [0] * 7
    assert a % 4 == 3
    assert f"{a:,}" == "7"
    assert not isinstance(a % 4, Traced)


def test_equal_layers_are_counted_by_name():
    model = named_model(memcalc.model("google/gemma-3-27b-it"), Names())
    counts = {expression_of(group.times).text("name"): group.times for group in model.groups}
    assert counts == {"window_depth": 52, "attention_depth": 10}
    assert model.parameters == memcalc.model("google/gemma-3-27b-it").parameters


def test_jupyter_shows_it():
    said = memcalc.explain(memcalc.serve(QWEN, context=8192, on="2x rtx-a6000"))
    page = said._repr_html_()
    assert "depth × width × heads × head_dim × bytes_per_element" in page
    assert f"{said.answer:,}" in page
    assert page.count("<details>") == page.count("</details>") > 0
    assert repr(said).count("\n") < 12


def test_of_unequal_devices_the_one_that_decides_is_no_fullest_one():
    """The b200 holds ten times as much, and has more room left."""
    served = memcalc.serve("Qwen/Qwen3-14B", context=65536, on="b200 + rtx-3060-12g", engine="llama.cpp")
    last = str(memcalc.explain(served)).splitlines()[-1]
    assert (
        last == f"of unequal devices the one with the least room holds {served.device.total_bytes:,d} bytes"
    )
    assert served.device.total_bytes < max(pool.total_bytes for pool in served.devices)


@pytest.mark.parametrize(
    ("model", "asked", "line", "made_of"),
    [
        (QWEN, {"engine": "vllm"}, "rotary table", "40960 positions x 128 x 2 B"),
        (QWEN, {"engine": "vllm"}, "activation peak of the profile run", "x 256 sequences x "),
        (QWEN, {"engine": "llama.cpp"}, "compute buffers", "4 x 512 tokens x (vocabulary + width) B"),
        (QWEN, {"engine": "sglang"}, "widest part of a prefill pass", " tokens x "),
    ],
)
def test_a_large_number_in_a_formula_says_what_it_is_made_of(model, asked, line, made_of):
    """No letter of the vocabulary stands for positions of a table, or for the tokens of a pass."""
    said = memcalc.serve(model, context=32_768, on="1x rtx-a6000", **asked).explanation
    steps = [step for section in said.sections for step in section.steps]
    (step,) = [step for step in steps if step.name == line]
    assert re.search("[0-9],[0-9]{3} |[0-9],[0-9]{3}$", step.expression.text("name"))
    assert made_of in step.made_of
    for shown in (str(said), said.markdown):
        (row,) = [row for row in shown.splitlines() if line in row and made_of[:9] in row]
        assert step.evidence == "exact" or step.evidence in row
    plain = next(step for step in steps if step.name.endswith("q_proj.weight"))
    assert plain.made_of == ""
