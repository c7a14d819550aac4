"""memcalc check: lines of public logs, each with its address, and what they say in bytes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import memcalc
from memcalc.__main__ import main
from memcalc.errors import MemcalcError
from memcalc.evidence.logs.plan import plan_of
from memcalc.evidence.logs.reading import read

LOGS = json.loads((Path(__file__).parent / "recorded" / "logs.json").read_text(encoding="utf-8"))["logs"]
QWEN = """\
INFO 09-03 16:28:10 [api_server.py:1882] vLLM API server version 0.11.0
INFO 09-03 16:28:23 [core.py:75] Initializing a V1 LLM engine (v0.11.0) with config: model='Qwen/Qwen3-32B', \
dtype=torch.bfloat16, max_seq_len=32768, tensor_parallel_size=2, quantization=None, kv_cache_dtype=auto
(Worker_TP0 pid=1) INFO [gpu_model_runner.py:2581] Model loading took 30.5826 GiB and 9.1 seconds
(Worker_TP0 pid=1) Loading safetensors checkpoint shards: 100% Completed | 17/17 [00:07<01:19,  7.93s/it]
(Worker_TP0 pid=1) INFO [gpu_worker.py:277] Available KV cache memory: 9.61 GiB
INFO [kv_cache_utils.py:849] GPU KV cache size: 78,720 tokens
"""


@pytest.mark.parametrize("log", LOGS, ids=lambda log: log["source"].partition("github.com/")[2])
def test_every_figure_of_a_public_log_is_read(log):
    """In bytes, of what it is and of whom; and nothing else of that line."""
    found = read("\n".join(log["log"])).told
    for row in log["lines"]:
        told = [[one.quantity, one.amount, one.scope] for one in found if one.text == row["line"]]
        wanted = row["figures"]
        missing = [
            figure
            for figure in wanted
            if not any(figure[::2] == one[::2] and abs(figure[1] - one[1]) <= 1 for one in told)
        ]
        assert missing == [], told
        if not wanted:
            assert told == []


@pytest.mark.parametrize("prefix", ["", "\x1b[36m(Worker pid=7)\x1b[0m ", "Jun 05 09:22:24 host engine[7]: "])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_prefixes_colours_and_endings_of_lines_do_not_matter(prefix, ending):
    (one,) = read(f"{prefix}INFO [gpu_worker.py:1] Available KV cache memory: -0.87 GiB{ending}").told
    assert (one.amount, one.scope) == (-934_155_387, "rank")
    assert "\x1b" not in one.text


@pytest.mark.parametrize(
    "line",
    [
        "I have a card with 24 GB and wonder whether 70B fits in 40 GB.",
        "Downloading model.safetensors: 4.97GB [01:02, 80.1MB/s]",
        "load_tensors:   CPU_Mapped model buffer size =  4944.60 MiB",
        "print_info: file size   = 17.28 GiB (4.86 BPW)",
    ],
)
def test_what_is_no_memory_of_a_device_is_named_and_not_read(line):
    reading = read(line)
    assert reading.told == ()
    assert [one.text for one in reading.ignored] == [line]


def test_a_log_names_its_plan():
    plan = plan_of(QWEN, read(QWEN))
    assert (plan.engine, plan.version, plan.model, plan.known) == ("vllm", "0.11.0", "Qwen/Qwen3-32B", True)
    assert plan.options == {"tp": 2, "context": 32768}


def test_a_log_beside_the_ledger(tmp_path, capsys):
    """Weights to the megabyte, the pool inside its range; lines that say nothing are named."""
    path = tmp_path / "server.log"
    path.write_text(QWEN, encoding="utf-8")
    checked = memcalc.check(path, on="2x rtx-a6000")
    weights, pool, tokens = checked.lines
    assert abs(weights.difference) < 4 * 2**20
    assert weights.cause == ""
    assert (pool.cause, tokens.cause) == ("inside the measured range",) * 2
    assert main(["check", str(path), "--on", "2x rtx-a6000"]) == 0
    assert "vllm 0.11.0: Qwen/Qwen3-32B (tp 2, context 32768)" in capsys.readouterr().out


def test_a_model_that_the_log_does_not_name_is_asked_for():
    log = "INFO Model loading took 61.03 GiB and 9.1 seconds\n"
    assert memcalc.check(log).unsaid == "the log names no model: add --model"
    (line,) = memcalc.check(log, model="Qwen/Qwen3-32B").lines
    assert abs(line.difference) < 2**24
    (other,) = memcalc.check(log, model="Qwen/Qwen3-14B").lines
    assert other.cause.startswith("weights as bf16 assumed")
    with pytest.raises(MemcalcError, match="no-such-model"):
        memcalc.check(log, model="no-such-model")


def test_no_log(capsys):
    assert main(["check", "no-such-file.log"]) == 2
    assert capsys.readouterr().err.startswith("memcalc: error: LOG: expected a file")
    assert main(["check"]) == 2
