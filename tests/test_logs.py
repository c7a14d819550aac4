"""memcalc check: lines of public logs, each with its address, and what they say in bytes."""

from __future__ import annotations

import contextlib
import json
import random
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st
from jsonschema import Draft202012Validator

import memcalc
from memcalc.__main__ import main
from memcalc.cli.schema import schema
from memcalc.errors import MemcalcError
from memcalc.evidence.inference import CHECKS, observation
from memcalc.evidence.logs.ledger import Ledger
from memcalc.evidence.logs.plan import plan_of
from memcalc.evidence.logs.reading import Told, read
from memcalc.evidence.logs.rows import rows
from memcalc.evidence.logs.wordings import SCOPES, wordings
from memcalc.evidence.records import entry

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


WORDS = ["GiB", "MiB", "GB", "KiB", "memory", "KV", "cache", "took", "size", "=", ":", ";", "|", "/", "CUDA0"]
WORDS += ["(", ")", "[", "]", "0", "12", "3.5", "-7", "1,024", "model", "buffer", "tokens"]
PREFIXES = (
    "gpu-1  | ",
    "Jun 05 09:22:24 host engine[7]: ",
    "2026-07-26T09:17:17.123456789Z stdout F ",
    "\x1b[36m(RayWorkerWrapper pid=9, ip=10.0.0.7)\x1b[0m ",
    "0.00.620.628 I ",
    "> ",
)


def quantities(log):
    return [(one.quantity, one.amount, one.scope, one.printed) for one in read(log).told]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_prefixes_colours_and_endings_change_nothing(prefix):
    """Of every public log: whoever printed before the line, and however it ends."""
    for log in LOGS:
        plain = quantities("\n".join(log["log"]))
        assert quantities("\r\n".join(prefix + line for line in log["log"])) == plain, log["source"]
        coloured = (f"\x1b[1;32m{line}\x1b[0m" for line in log["log"])
        assert quantities("\n".join(coloured)) == plain, log["source"]


def test_lines_of_other_logs_between_change_nothing():
    between = '\nINFO:     10.0.0.7:41000 - "POST /v1/chat/completions HTTP/1.1" 200 OK\n'
    for log in LOGS:
        assert quantities(between.join(log["log"])) == quantities("\n".join(log["log"])), log["source"]


@given(st.text() | st.lists(st.sampled_from(WORDS)).map(" ".join))
@settings(max_examples=60, deadline=None)
def test_any_text_has_an_answer(text):
    """Never a traceback."""
    assert str(memcalc.check(text + "\n"))


@pytest.mark.parametrize("seed", range(8))
def test_a_damaged_log_has_an_answer(seed):
    """Lines cut and mixed: what is read of them is read of whole lines."""
    draw = random.Random(seed)
    lines = [line for log in LOGS for line in log["log"]]
    cut = [line[: draw.randrange(len(line) + 1)] + line[draw.randrange(len(line) + 1) :] for line in lines]
    checked = memcalc.check("\n".join(cut) + "\n")
    assert {one.told.text for one in checked.lines} <= set(cut)
    assert str(checked)


def test_every_needle_stands_in_what_its_wording_matches():
    """Plain text that a line must hold: were it wrong, a wording would never be tried."""
    lines = [line for log in LOGS for line in log["log"]]
    for row in (row for kind in wordings() for row in kind):
        assert all(row.needles), row.wording.text
        for line in lines:
            if row.pattern.search(line):
                assert any(needle in line for needle in row.needles), (row.wording.text, line)


SMI_QUERY = """\
GPU 00000000:01:00.0
    FB Memory Usage
        Total                             : 24576 MiB
        Reserved                          : 326 MiB
        Used                              : 1023 MiB
        Free                              : 23226 MiB
    BAR1 Memory Usage
        Total                             : 32768 MiB
        Used                              : 2 MiB
    Processes
        Process ID                        : 1234
            Used GPU Memory               : 987 MiB
GPU 00000000:02:00.0
    FB Memory Usage
        Total                             : 24564 MiB
"""


def test_nvidia_smi_in_its_other_forms():
    """-q, CSV and dmon, as its manual describes them: BAR1 is a window of addresses, and passed over."""
    found = [(one.quantity, one.amount // 2**20, one.scope) for one in read(SMI_QUERY).told]
    assert found == [
        ("total", 24576, "GPU 0"),
        ("in_use", 1023, "GPU 0"),
        ("free", 23226, "GPU 0"),
        ("in_use_process", 987, "GPU 0"),
        ("total", 24564, "GPU 1"),
    ]
    comma = (
        "index, name, memory.total [MiB], memory.used [MiB]\n3, A40, 46068 MiB, 12 MiB\n4, A40, 46068, 9\n"
    )
    found = [(one.quantity, one.amount // 2**20, one.scope) for one in read(comma).told]
    assert found == [
        ("total", 46068, "GPU 3"),
        ("in_use", 12, "GPU 3"),
        ("total", 46068, "GPU 4"),
        ("in_use", 9, "GPU 4"),
    ]
    watched = "# gpu     fb   bar1   ccpm\n# Idx     MB     MB     MB\n    0   1234      5      0\n"
    assert [(one.quantity, one.amount // 2**20, one.scope) for one in read(watched).told] == [
        ("in_use", 1234, "GPU 0")
    ]


SERVED = """\
(APIServer pid=1) INFO [utils.py:299]   █▄█▀ █     █     █     █  model   Qwen/Qwen3-8B
(EngineCore pid=2) INFO [core.py:105] Initializing a V1 LLM engine (v0.19.0) with config: \
model='Qwen/Qwen3-8B', speculative_config=None, dtype=torch.bfloat16, max_seq_len=8192, \
tensor_parallel_size=1, quantization=None, kv_cache_dtype=auto
(APIServer pid=1) DEBUG [arg_utils.py:2242] Defaulting max_num_seqs to 1024 for OPENAI_API_SERVER usage.
(APIServer pid=1) INFO [scheduler.py:238] Chunked prefill is enabled with max_num_batched_tokens=8192.
(EngineCore pid=2) INFO [gpu_model_runner.py:4820] Model loading took 15.27 GiB memory and 9.1 seconds
(EngineCore pid=2) DEBUG [gpu_worker.py:661] Free memory on device (78.68/79.19 GiB) on startup. \
Desired GPU memory utilization is (0.95, 75.23 GiB). Actual usage is 15.27 GiB for weight, \
2.21 GiB for peak activation, 0.25 GiB for non-torch memory, and 0.96 GiB for CUDAGraph memory.
(EngineCore pid=2) INFO [gpu_worker.py:436] Available KV cache memory: 57.5 GiB
(EngineCore pid=2) INFO [kv_cache_utils.py:1319] GPU KV cache size: 418,688 tokens
"""  # https://github.com/jgchn/llm-d-planner, accuracy/results/v0.19.0, 2026-04-22


def test_a_plan_is_read_with_its_options():
    """A log of vLLM 0.19: every derived figure to a thousandth, measured ones inside their range."""
    checked = memcalc.check(SERVED + "--gpu-memory-utilization 0.95\n")
    assert checked.plan.options["engine_options"] == {"max_num_seqs": 1024, "max_num_batched_tokens": 8192}
    found = {one.told.quantity: one for one in checked.lines}
    for quantity in ("weights", "kv_pool", "kv_tokens"):
        assert abs(found[quantity].difference) < found[quantity].ledger / 1000
    for quantity in ("activation", "graphs", "non_torch"):
        assert found[quantity].cause in ("", "inside the measured range")
    assert found["total"].ledger is None  # the log's own size proves nothing


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("quantization=None", "quantization=awq"), "Qwen/Qwen3-8B is stored as bf16"),
        (("speculative_config=None", "speculative_config=SpeculativeConfig("), "tokens are drafted"),
        (("v0.19.0", "v99.0"), "--engine-version"),
        (("Qwen/Qwen3-8B", "someone/new-model"), "not in the catalogue: add --model"),
    ],
)
def test_another_plan_is_never_compared(change, why):
    checked = memcalc.check(SERVED.replace(*change))
    assert why in checked.unsaid
    assert all(one.ledger is None for one in checked.lines)


def test_a_pool_that_an_option_limits_is_not_held_against_what_is_left():
    checked = memcalc.check(SERVED + "non-default args: {'num_gpu_blocks_override': 512}\n")
    pools = [one for one in checked.lines if one.told.quantity in ("kv_pool", "kv_tokens")]
    assert {(one.ledger, one.cause) for one in pools} == {(None, "an option limits the pool")}
    assert next(one for one in checked.lines if one.told.quantity == "weights").ledger


def test_a_log_in_docker_s_json_is_read():
    lines = [line for log in LOGS for line in log["log"] if 'msg="' in line]
    wrapped = "\n".join(json.dumps({"log": f"{line}\n", "stream": "stderr"}) for line in lines)
    assert quantities(wrapped) == quantities("\n".join(lines))


def test_two_starts_in_a_log_are_not_mixed():
    log = SERVED
    assert "several models" in memcalc.check(log + log.replace("Qwen3-8B", "Qwen3-14B")).unsaid


def test_caches_of_a_model_with_windows_are_not_held_against_the_sum():
    """SGLang prints a line for each of the two; the ledger has what both take."""
    log = (
        "server_args=ServerArgs(model_path='google/gemma-3-27b-it', tp_size=1, mem_fraction_static=0.88)\n"
        + "".join(
            f"[TP0] KV Cache is allocated. #tokens: {tokens}, K size: {size} GB, V size: {size} GB\n"
            for tokens, size in ((13014, 2.48), (130144, 1.24))
        )
    )
    checked = memcalc.check(log, on="1x h100-80g")
    pools = [one for one in checked.lines if one.told.quantity == "kv_pool"]
    assert {(one.ledger, one.cause) for one in pools} == {
        (None, "one of several caches, of which the ledger has the sum")
    }


LLAMA = """\
print_info: file type   = Q4_K - Medium
print_info: general.name          = Qwen3 8B
load_tensors: offloaded 37/37 layers to GPU
load_tensors:        CUDA0 model buffer size =  4455.34 MiB
llama_context: n_seq_max     = 1
llama_context: n_ctx         = 8192
llama_kv_cache: size = 1152.00 MiB (8192 cells, 36 layers, 1/1 seqs), K (f16): 576.00 MiB, V (f16): 576.00 MiB
sched_reserve:      CUDA0 compute buffer size =   304.75 MiB
"""


def test_experts_that_ktransformers_copies_are_part_of_the_plan():
    said = "model_path='deepseek-ai/DeepSeek-V3', kt_method='AMXINT8', kt_num_gpu_experts=4"
    plan = memcalc.check(f"server_args=ServerArgs({said})\n").plan
    assert (plan.engine, plan.options["engine_options"]) == ("ktransformers", {"gpu_experts": 4})


def test_a_build_of_llama_cpp_is_its_version():
    for said in ("build: 7003 (596a297cb) with cc", "version: 7437 (ec98e2002)"):
        assert memcalc.check(f"{said}\n{LLAMA}").plan.version in ("7003", "7437")


def test_llama_cpp_beside_the_ledger():
    checked = memcalc.check(LLAMA, on="1x rtx-3090")
    weights, cache, compute = checked.lines
    assert checked.plan.options["weights"] == "Q4_K_M"
    assert abs(weights.difference) < 2**20
    assert cache.difference == 0
    assert compute.ledger is not None


def test_rows_of_the_record_are_refused_until_filled_in(tmp_path, capsys):
    """Each "?" is what the log does not tell; the loader names it."""
    path = tmp_path / "server.log"
    path.write_text(SERVED, encoding="utf-8")
    assert main(["check", str(path), "--record"]) == 0
    made = json.loads(capsys.readouterr().out)
    names = [
        "weights_bytes_per_rank",
        "activation_peak_bytes",
        "non_torch_bytes",
        "graph_bytes",
        "kv_bytes_per_rank",
    ]
    assert [row["quantity"] for row in made] == names
    row = made[0]
    assert (row["printed"], row["value_bytes"], row["seqs"]) == ("15.27 GiB", 16396037652, 1024)
    with pytest.raises(TypeError, match=r"filled in where they say"):
        entry(observation, row | {"source": "https://example.org"}, CHECKS)
    known = {name: "known" for name, value in row.items() if value == "?"}
    assert (
        entry(observation, row | known | {"source": "https://example.org"}, CHECKS).value_bytes == 16396037652
    )


@pytest.mark.parametrize("more", [[], ["--record"]])
def test_answers_keep_to_the_schema(more, tmp_path, capsys):
    """Of every public log in one, and of a plan that was compared."""
    path = tmp_path / "server.log"
    every = "\n".join(line for log in LOGS for line in log["log"])
    for text in (every, SERVED, LLAMA, "nothing\n"):
        path.write_text(text, encoding="utf-8")
        is_refused = bool(more) and text in (
            every,
            "nothing\n",
        )  # no log of one engine is a row of the record
        assert main(["check", str(path), "--json", *more]) == 2 * is_refused
        if is_refused:
            assert capsys.readouterr().err.startswith("memcalc: error: LOG: expected ")
            continue
        answer = json.loads(capsys.readouterr().out)
        assert list(Draft202012Validator(schema("check")).iter_errors(answer)) == []
        assert ("record" in answer) is bool(more)


def test_a_log_without_a_figure_says_so():
    assert "no figure of memory was found" in str(memcalc.check("vLLM API server version 0.11.0\n"))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\x1f\x8b\x08\x00" + bytes(range(256)) * 8, "unpack it first"),
        (bytes(range(256)) * 99, "which is no text"),
    ],
)
def test_what_is_no_text_is_refused_in_a_line(data, why, tmp_path, capsys):
    path = tmp_path / "server.log"
    path.write_bytes(data)
    assert main(["check", str(path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert why in line
    assert main(["check", str(tmp_path)]) == 2  # a folder
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_log_of_powershell_is_read():
    (one,) = memcalc.check("Available KV cache memory: 5.0 GiB\r\n".encode("utf-16")).lines
    assert one.told.amount == 5 * 2**30


def test_a_log_of_one_line_is_read():
    (one,) = memcalc.check("Available KV cache memory: 5.0 GiB").lines
    assert one.told.amount == 5 * 2**30


@pytest.mark.parametrize("words", [["check"], ["check", "--record"], ["check", ""]])
def test_no_log_at_all(capsys, words):
    assert main(words) == 2
    assert capsys.readouterr().err.startswith("memcalc: error: LOG: expected a file")


FAILED = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 3 has a total capacity of 95.00 GiB\n"
OLLAMA = """\
time=2025-08-30T07:59:58.000Z level=INFO source=server.go:398 msg="starting runner" \
cmd="/usr/bin/ollama runner --ollama-engine --model /srv/.ollama/models/blobs/sha256-a3de86cd --port 41893"
time=2025-08-30T07:59:59.000Z level=INFO source=runner.go:1170 msg=load request="{Operation:commit \
LoraPath:[] Parallel:1 BatchSize:512 FlashAttention:true KvSize:8192 KvCacheType: NumThreads:8 MainGPU:0}"
time=2025-08-30T07:59:59.000Z level=INFO source=ggml.go:131 msg="" architecture=qwen3 file_type=Q4_K_M \
name="Qwen3 8B" description="" num_tensors=399 num_key_values=27
time=2025-08-30T08:00:00.000Z level=INFO source=device.go:165 msg="model weights" device=CUDA0 size="4.4 GiB"
time=2025-08-30T08:00:00.000Z level=INFO source=device.go:170 msg="model weights" device=CPU size="333.8 MiB"
time=2025-08-30T08:00:00.000Z level=INFO source=device.go:176 msg="kv cache" device=CUDA0 size="1.1 GiB"
time=2025-08-30T08:00:00.000Z level=INFO source=device.go:187 msg="compute graph" device=CUDA0 size="9.5 MiB"
time=2025-08-30T08:00:00.000Z level=INFO source=device.go:197 msg="total memory" size="6.0 GiB"
"""


@pytest.mark.parametrize(
    ("said", "is_fused"), [("0", False), ("disabled", False), ("enabled", True), ("1", True)]
)
def test_a_buffer_without_flash_attention_is_not_held_against_one_with_it(said, is_fused):
    """It has the scores of a batch, which flash attention never keeps."""
    log = f"""build: 4800 (abcd1234) with cc (Ubuntu 11.4.0) for x86_64-linux-gnu
print_info: file type   = Q4_K - Medium
llama_init_from_model: n_ctx         = 8192
llama_init_from_model: flash_attn    = {said}
llama_init_from_model:      CUDA0 compute buffer size =   560.00 MiB
"""
    (buffer,) = memcalc.check(log, model="meta-llama/Meta-Llama-3.1-8B").lines
    assert (buffer.ledger is not None, "flash attention is off" in buffer.cause) == (is_fused, not is_fused)


def test_ollama_is_compared_as_llama_cpp():
    """Which keeps the same weights and cache, to the digit that is printed; its own graph is not derived."""
    checked = memcalc.check(OLLAMA)
    assert (checked.model, checked.plan.options["weights"], checked.plan.options["context"]) == (
        "Qwen/Qwen3-8B",
        "Q4_K_M",
        8192,
    )
    weights, host, cache, graph, total = checked.lines
    assert abs(weights.ledger - 4455.34 * 2**20) < 2**20  # as llama.cpp prints of the same file
    assert cache.ledger == 36 * 8192 * 2 * 8 * 128 * 2
    assert (weights.cause, cache.cause) == ("", "")
    assert [one.ledger for one in (host, graph, total)] == [None] * 3
    assert "ollama's own graph" in graph.cause


def test_a_file_whose_format_no_line_tells_is_not_compared():
    for log in (OLLAMA.replace("file_type=Q4_K_M ", "file_type=unknown "), LLAMA.partition("\n")[2]):
        checked = memcalc.check(log, model="Qwen/Qwen3-8B")
        assert checked.unsaid == "the log does not say the file's format: add --model with the GGUF file"


@pytest.mark.parametrize("log", [QWEN, SERVED, LLAMA, OLLAMA, FAILED, "nothing\n"])
@pytest.mark.parametrize("on", [None, "rtx-a6000"])
def test_every_figure_without_the_ledger_s_has_a_reason(log, on):
    checked = memcalc.check(log, on="2x rtx-a6000" if on and log == QWEN else on)
    assert all(one.ledger is not None or one.cause for one in checked.lines)
    assert checked.lines or checked.unsaid or checked.served is not None


def test_a_reason_for_any_quantity_of_any_engine():
    """Whatever a wording can tell, of whomever: a figure of the ledger's, or why there is none."""
    for log in (QWEN, LLAMA):
        served = memcalc.check(log).served
        for quantity in SCOPES:
            for scope in ("rank", "device", "host", "all", "CUDA0", "GPU 0"):
                for engine in ("vllm", "llama.cpp", "ollama", "pytorch", "nvidia-smi"):
                    told = Told("", quantity, "5", 5, scope, engine)
                    one = Ledger(served, (told,), stated=False).beside(told)
                    assert one.ledger is not None or one.cause, told


def test_a_pool_without_a_card_asks_for_the_machine():
    found = {one.told.quantity: one for one in memcalc.check(QWEN).lines}
    assert found["weights"].ledger
    assert (found["kv_pool"].ledger, found["kv_tokens"].ledger) == (None, None)
    assert all("add --on MACHINE" in found[name].cause for name in ("kv_pool", "kv_tokens"))


def test_what_is_not_recognised_is_said():
    for log in ("", "nothing\nat all\n"):
        said = str(memcalc.check(log.encode()))
        assert "no line of an engine was recognised; memcalc reads logs of vLLM, SGLang" in said


def test_two_engines_in_a_log_are_not_mixed():
    log = QWEN + "[2025-10-16 09:06:10 TP5] Load weight begin. avail mem=137.29 GB\n"
    assert "it has lines of vllm and of sglang: cut it to one" in memcalc.check(log).unsaid
    assert memcalc.check(QWEN + FAILED).unsaid == ""  # PyTorch is no engine


def test_two_starts_are_one_plan_or_none():
    """A server that was started again with the same options is compared; with others it is not."""
    assert memcalc.check(QWEN + QWEN).unsaid == ""
    again = QWEN.replace("max_seq_len=32768", "max_seq_len=8192").replace("size=2", "size=4")
    assert "it has 2 starts, which differ in tp and context" in memcalc.check(QWEN + again).unsaid


def test_cards_of_the_same_name_are_several():
    """llama.cpp numbers the cards that it finds: two of a size are no card of that size."""
    card = "  Device {}: NVIDIA GeForce RTX 3090, compute capability 8.6, VMM: yes, VRAM: 24126 MiB\n"
    for count in (1, 2):
        checked = memcalc.check("".join(card.format(index) for index in range(count)) + LLAMA)
        assert len(checked.served.devices) == 1
        assert checked.served.plan.machine.count == count
        cache = next(one for one in checked.lines if one.told.quantity == "kv_pool")
        assert cache.difference == 0  # of all cards together


def test_a_row_has_the_machine_and_the_model_that_were_stated():
    log = SERVED.replace("Qwen/Qwen3-8B", "/models/mine")
    for row in rows(memcalc.check(log, model="Qwen/Qwen3-8B"), on="1x h100-80g"):
        assert (row["model"], row["on"], row["hardware"]) == ("Qwen/Qwen3-8B", "1x h100-80g", "?")
        known = {name: "known" for name, value in row.items() if value == "?"}
        assert entry(observation, row | known | {"source": "https://example.org"}, CHECKS).on == "1x h100-80g"


@pytest.mark.parametrize(
    ("log", "why"),
    [
        ("nothing\n", "no line of an engine was recognised"),
        (OLLAMA, "given 'ollama'"),
        (QWEN + "[TP5] Load weight begin. avail mem=137.29 GB\n", "it has lines of vllm and of sglang"),
        (QWEN + QWEN.replace("size=2", "size=4"), "2 starts, which differ in tp"),
        ("vLLM API server version 0.11.0\nAvailable KV cache memory: -0.87 GiB\n", "no such line"),
    ],
)
def test_a_log_of_which_no_row_can_be_made_is_refused(log, why, tmp_path, capsys):
    """By name, and never as a row of nothing."""
    path = tmp_path / "server.log"
    path.write_text(log, encoding="utf-8")
    assert main(["check", str(path), "--record"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert why in line


CARDS = """\
ggml_cuda_init: found 2 CUDA devices (Total VRAM: {0} MiB):
  Device 0: NVIDIA GeForce RTX 3090, compute capability 8.6, VMM: yes, VRAM: {1} MiB
  Device 1: NVIDIA GeForce RTX 3060, compute capability 8.6, VMM: yes, VRAM: {2} MiB
"""
SPLIT = LLAMA.replace("4455.34", "2900.00") + "load_tensors:        CUDA1 model buffer size =  1555.34 MiB\n"
MACHINES = (
    None,
    "1x rtx-3090",
    "2x rtx-3090",
    "1x rtx-3090 + 1x 12GiB",
    "1x 24126MiB + 1x 24125MiB",
    "1x rtx-3090 + 1x rtx-3060-12g + 64GiB host",
    "1x 2GiB",
    "4x 1GiB",
    "2x 24GiB",
    "1x h100-80g + 512GiB host",
    "8x h100-80g",
    "1x m4-max-36g",
)


@pytest.mark.parametrize("sizes", [(24126, 24125), (24126, 11909)])
def test_unequal_cards_of_a_log_each_hold_their_own(sizes):
    """Two cards of a name rarely have the same MiB free of reserves: each is a device of its own."""
    checked = memcalc.check(CARDS.format(sum(sizes), *sizes) + SPLIT)
    assert [pool.capacity_bytes // 2**20 for pool in checked.served.devices] == list(sizes)
    found = [one for one in checked.lines if one.told.quantity in ("weights", "kv_pool")]
    assert [one.difference for one in found if one.told.scope == "all"] == [0]
    assert [one.ledger for one in found if one.told.scope != "all"] == [None, None]
    assert all(one.cause.startswith("a device of several") for one in found if one.ledger is None)


def test_devices_that_a_log_names_are_several_without_their_sizes():
    """None holds the whole model, whatever machine is stated."""
    for on in (None, "1x rtx-3090"):
        weights, cache, compute, more = memcalc.check(SPLIT, on=on).lines
        assert [one.ledger for one in (weights, compute, more)] == [None] * 3
        assert all(one.cause.startswith("a device of several") for one in (weights, compute, more))
        assert cache.difference == 0  # of all devices


def test_a_pool_of_nothing_is_a_figure():
    """The model leaves nothing of these cards, though the engine printed a pool."""
    log = QWEN + "INFO Maximum concurrency for 32,768 tokens per request: 2.40x\n"
    checked = memcalc.check(log, on="2x 24GiB")
    pools = [one for one in checked.lines if one.told.quantity in ("kv_pool", "kv_tokens", "concurrency")]
    assert [one.ledger for one in pools] == [0, 0, 0]
    assert all("look at weights" in one.cause for one in pools)


@pytest.mark.slow
@pytest.mark.parametrize("on", MACHINES)
def test_any_log_on_any_machine_has_an_answer_or_a_line(on):
    """Every public log, in front of a model's own lines as well: no exception but the one that says why."""
    logs = ["\n".join(log["log"]) + "\n" for log in LOGS] + [QWEN, SERVED, LLAMA, OLLAMA, SPLIT]
    for log in logs:
        for model in (None, "Qwen/Qwen3-8B", "openai/gpt-oss-20b", "google/gemma-3-27b-it"):
            with contextlib.suppress(MemcalcError):  # a line that says what to change
                checked = memcalc.check(log, model=model, on=on)
                assert all(one.ledger is not None or one.cause for one in checked.lines)


CLI = (
    "+ vllm serve Qwen/Qwen3-8B --max-model-len 32k -tp 2 --gpu-memory-utilization .95 --kv-cache-dtype fp8\n"
)
VLLM_LINE = "INFO [gpu_model_runner.py:3338] Model loading took 7.65 GiB memory and 121.345 seconds\n"


@pytest.mark.parametrize(
    ("written", "context"),
    [("32k", 32_000), ("32K", 32_768), ("25.6k", 25_600), ("4096", 4096), ("auto", None)],
)
def test_the_context_of_a_command_is_the_number_that_vllm_reads(written, context):
    plan = memcalc.check(CLI.replace("32k", written) + VLLM_LINE).plan
    assert plan.options.get("context") == context
    assert (plan.options["tp"], plan.options["utilization"], plan.options["kv"]) == (2, 0.95, "fp8")


@pytest.mark.parametrize(
    ("command", "line", "options"),
    [
        (
            "vllm serve \\\n  Qwen/Qwen3-8B -q fp8 \\\n  --max_num_seqs=64 -pp 2 --enforce-eager",
            VLLM_LINE,
            {"pp": 2, "engine_options": {"max_num_seqs": 64, "enforce_eager": True}},
        ),
        (
            "docker run --gpus all -p 8000:8000 vllm/vllm-openai:v0.11.0 --max-model-len 8K -dp 2",
            VLLM_LINE,
            {"context": 8192, "dp": 2},
        ),
        (
            "python -m sglang.launch_server --tp 4 --context-length 8192 --mem-fraction-static .85 --dp 2 \
--enable-dp-attention --kv-cache-dtype fp8_e5m2",
            "[TP0] Load weight end. type=Qwen3ForCausalLM, avail mem=24.90 GB, mem usage=22.50 GB.\n",
            {"tp": 4, "utilization": 0.85, "context": 8192, "dp": 1, "attention_dp": 2, "kv": "fp8"},
        ),
        (
            "./llama-server -m Qwen3-8B-Q4_K_M.gguf -c 8192 -ngl 20 -ctk q8_0 -ctv q4_0 -np 2 -ub 1024",
            "load_tensors:        CUDA0 model buffer size =  4455.34 MiB\n",
            {
                "context": 8192,
                "kv": "q8_0/q4_0",
                "engine_options": {"n_gpu_layers": 20, "n_seq_max": 2, "n_ubatch": 1024},
            },
        ),
    ],
    ids=["vllm", "docker", "sglang", "llama.cpp"],
)
def test_a_command_in_a_log_is_its_plan(command, line, options):
    """Long options and those of one letter; over several lines."""
    assert memcalc.check(f"$ {command}\n{line}").plan.options == options


def test_what_an_engine_prints_goes_before_its_command():
    """Which may ask for what the engine then does otherwise."""
    log = CLI.replace("Qwen3-8B", "Qwen3-32B").replace("32k", "8192").replace("-tp 2", "-tp 4") + QWEN
    plan = memcalc.check(log).plan
    assert (plan.options["context"], plan.options["tp"], plan.options["utilization"]) == (32_768, 2, 0.95)
    command = "llama-server -m Qwen3-8B-Q4_K_M.gguf -ngl 99\n"
    assert "engine_options" in memcalc.check(command + LLAMA).plan.options
    assert "n_gpu_layers" not in memcalc.check(command + LLAMA).plan.options["engine_options"]


def test_a_context_is_told_by_the_concurrency():
    """Where no line of options does."""
    log = QWEN.replace(", max_seq_len=32768", "")
    assert "context" not in memcalc.check(log).plan.options
    log += "INFO Maximum concurrency for 16,384 tokens per request: 4.80x\n"
    assert memcalc.check(log).plan.options["context"] == 16_384


def test_what_depends_on_a_context_that_no_line_tells_is_not_compared():
    """Weights do not; a cache of llama.cpp and vLLM's requests do, whatever memcalc would assume."""
    log = "".join(line for line in LLAMA.splitlines(keepends=True) if "n_ctx " not in line)
    weights, cache, _ = memcalc.check(log, on="1x rtx-3090").lines
    assert weights.cause == ""
    why = "it depends on the context, which the log does not say"
    assert (cache.ledger, cache.cause) == (None, why)
    log = (
        "vLLM API server version 0.11.0\nINFO ({} GiB KV cache is needed, which is larger than the available"
    )
    log = log.format("10.00") + " KV cache memory (4.02 GiB)\n"
    needed, pool = memcalc.check(log, model="Qwen/Qwen3-8B", on="1x rtx-3090").lines
    assert (needed.ledger, needed.cause) == (None, why)
    assert pool.ledger is not None


def test_weights_are_kept_in_the_type_that_the_log_names():
    """A checkpoint of 32 bits is kept in 16 if the engine says so, and one of 16 in 32."""
    log = "vLLM API server version 0.11.0\n{}INFO Model loading took {} GiB and 9.1 seconds\n"  # OLMo 2: fp32
    for said, size in (
        ("config: dtype=torch.bfloat16, max_seq_len=4096\n", 25.5646),
        ("INFO [model.py:1] Downcasting torch.float32 to torch.bfloat16.\n", 25.5646),
        ("$ vllm serve allenai/OLMo-2-1124-13B --dtype half\n", 25.5646),
        ("", 25.5646),  # as vLLM takes 32 bits by itself
        ("config: dtype=torch.float32, max_seq_len=4096\n", 51.13),
    ):
        (one,) = memcalc.check(log.format(said, size), model="allenai/OLMo-2-1124-13B").lines
        assert one.cause == "", said
        assert abs(one.difference) < 2**26, said
    fp8 = log.format("config: dtype=torch.bfloat16, quantization=fp8\n", 8.82)
    assert memcalc.check(fp8, model="Qwen/Qwen3-8B").served.plan.weights == "fp8"


def test_weights_that_depend_on_the_card_ask_for_it():
    """MXFP4 experts are padded as the card's kernels want them."""
    log = (
        "vLLM API server version 0.13.0\nnon-default args: {{'model': 'openai/gpt-oss-20b'}}\n"
        "INFO Model loading took {} GiB memory and 7.34 seconds\n"
    )
    (one,) = memcalc.check(log.format("20.5")).lines
    assert one.cause.endswith("padded as the card's kernels want it: add --on with the card's name")
    (one,) = memcalc.check(log.format("20.5"), on="1x h100-80g").lines
    assert one.cause.endswith("padded as the card's kernels want it")


@pytest.mark.parametrize("name", ["AMX", "CPU_REPACK", "CPU_AARCH64", "BLAS", "CUDA_Host", "CPU"])
def test_buffers_of_the_processor_are_the_host_s(name):
    (one,) = read(f"load_tensors: {name:>12} model buffer size =  4321.00 MiB").told
    assert one.scope == "host"


def test_a_projector_s_buffer_is_not_the_text_model_s():
    line = "alloc_compute_meta:      CUDA0 compute buffer size =   248.10 MiB\n"
    *_, compute, tower = memcalc.check(LLAMA + line, on="1x rtx-3090").lines
    assert compute.ledger is not None
    assert tower.ledger is None
    assert tower.cause == "of a projector (mmproj), which the log's plan does not hold"


def test_a_total_that_names_no_device_says_so():
    """Of llama.cpp's first GGUF releases."""
    log = LLAMA + (
        "llm_load_tensors: VRAM used: 4095.05 MB\n"
        "llama_new_context_with_model: compute buffer total size = 281.47 MB\n"
        "llama_new_context_with_model: VRAM scratch buffer: 280.00 MB\n"
    )
    weights, total, scratch = memcalc.check(log).lines[-3:]
    assert (total.told.quantity, total.told.amount, total.told.scope) == (
        "compute_buffer",
        295_142_687,
        "all",
    )
    assert {one.cause for one in (weights, scratch)} == {
        "a total of what devices hold, which the line does not name"
    }
    assert total.cause.startswith("of all devices and the host")


def test_memory_that_a_process_holds_is_said_to_be_a_process_s():
    log = QWEN + (
        "CUDA out of memory. Tried to allocate 1.16 GiB. GPU 1 has a total capacity of 23.52 GiB of which "
        "8.38 MiB is free. Process 1234 has 1.50 GiB memory in use. Including non-PyTorch memory, this "
        "process has 21.61 GiB memory in use.\n"
    )
    held = [one.cause for one in memcalc.check(log).lines if one.told.quantity == "in_use"]
    assert held == ["what a process holds at that moment: compare the parts"] * 2


@pytest.mark.parametrize(
    "line",
    [
        'INFO request: "{}"',
        "INFO [logger.py:43] Received request chatcmpl-1: prompt: '{}', params: SamplingParams(n=1)",
        'srv log_server_r: request: {{"messages": [{{"role": "user", "content": "{}"}}]}}',
        "Receive: obj=GenerateReqInput(rid='1', text='{}')",
        "INFO [logger.py:80] Generated response chatcmpl-1: output: '{}'",
        'time=2025-08-30T08:00:00.000Z level=DEBUG msg="completion request" prompt="{}"',
    ],
)
@pytest.mark.parametrize("padding", ["", "x" * 3000])
def test_a_log_that_a_request_quotes_is_not_read(line, padding):
    said = "Model loading took 99.0 GiB, max_seq_len=17, enable_lora=True"
    quoted = QWEN + line.format(padding + said) + "\n"
    assert quantities(quoted) == quantities(QWEN)
    assert memcalc.check(quoted).plan == memcalc.check(QWEN).plan


def test_what_no_line_tells_is_said_once():
    for log in (b"", b"nothing\n"):
        assert str(memcalc.check(log)).count("no line of an engine was recognised") == 1
        assert len(str(memcalc.check(log)).splitlines()) == 2
