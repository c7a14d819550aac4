"""Wordings of many engines and versions, each with the figures that it says, and what only looks like one.

`recorded/log_exam.txt` has fragments in the engines' own words, their numbers made up. Below a line stands
what it says: `= quantity amount unit scope` must be read, `~` may be; nothing else may be.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import NamedTuple

import pytest

import memcalc
from memcalc.evidence.logs.reading import plain, read

EXAM = Path(__file__).parent / "recorded" / "log_exam.txt"
UNITS = {"n": 1, "B": 1, "MiB": 2**20, "GiB": 2**30}
PREFIXES = (
    "vllm-1  | ",
    "Jun 05 09:22:24 host engine[7]: ",
    "2026-07-26T09:17:17.123456789Z stdout F ",
    "\x1b[36m(RayWorkerWrapper pid=9, ip=10.0.0.7)\x1b[0m ",
    "[default3]:",
    "3:04PM DBG GRPC(model-127.0.0.1:41235): stderr ",
    "> ",
)


class Figure(NamedTuple):
    """What a line says; one that need not be read is allowed."""

    is_wanted: bool
    quantity: str
    amount: float
    scope: str

    def is_told_by(self, told):
        return (
            told.quantity == self.quantity
            and told.scope == self.scope
            and abs(told.amount - self.amount) <= 1
        )


def figure(text: str) -> Figure:
    quantity, amount, unit, scope = text[2:].split(" ", 3)
    return Figure(text[0] == "=", quantity, float(amount) * UNITS[unit], scope)


def fragments() -> list[tuple[str, list[tuple[str, list[Figure]]]]]:
    """Return titles, and lines with their figures."""
    found = []
    for line in EXAM.read_text(encoding="utf-8").split("\n"):
        if line.startswith("### "):
            found.append((line[4:], []))
        elif line.startswith(("= ", "~ ")):
            found[-1][1][-1][1].append(figure(line))
        elif line:
            found[-1][1].append((line, []))
    return found


FRAGMENTS = fragments()


def quantities(log):
    return [(one.quantity, one.amount, one.scope, one.printed) for one in read(log).told]


@pytest.mark.parametrize(("title", "lines"), FRAGMENTS, ids=[title for title, _ in FRAGMENTS])
def test_each_figure_is_read_and_nothing_else(title, lines):
    told = read("\n".join(line for line, _ in lines)).told
    for line, figures in lines:
        found = [one for one in told if one.text in plain(line)]
        missing = [one for one in figures if one.is_wanted and not any(map(one.is_told_by, found))]
        assert missing == [], (title, line, found)
        beside = [one for one in found if not any(wanted.is_told_by(one) for wanted in figures)]
        assert beside == [], (title, line)


def test_the_exam_is_wide():
    """Of every engine and tool, more than a hundred fragments, hundreds of figures."""
    assert len(FRAGMENTS) > 100
    assert sum(one.is_wanted for _, lines in FRAGMENTS for _, figures in lines for one in figures) > 350
    assert len({title.split()[0] for title, _ in FRAGMENTS}) > 12


@pytest.mark.parametrize("prefix", PREFIXES)
def test_prefixes_and_endings_change_nothing(prefix):
    for title, lines in FRAGMENTS:
        log = [line for line, _ in lines]
        plain = quantities("\n".join(log))
        assert quantities("\r\n".join(prefix + line for line in log)) == plain, title


def test_a_log_in_json_is_read_as_it_was_printed():
    """As Docker keeps it, a line each."""
    for title, lines in FRAGMENTS:
        log = [line for line, _ in lines if not line.startswith("{")]
        wrapped = "\n".join(json.dumps({"log": f"{line}\n", "stream": "stderr"}) for line in log)
        assert quantities(wrapped) == quantities("\n".join(log)), title


def test_a_progress_bar_before_a_line_changes_nothing():
    """It ends with a carriage return, or with nothing at all."""
    bar = "Capturing batches (bs=1 avail_mem=2.91 GB): 100%|████| 4/4 [00:00<00:00,  5.37it/s]"
    for end in ("\r", "", " "):
        for title, lines in FRAGMENTS:
            if title.startswith(("nvidia-smi", "npu-smi")):
                continue  # a table is no line
            log = [line for line, _ in lines if not line.startswith((" ", "|", "+", "{"))]
            assert quantities("\n".join(f"{bar}{end}{line}" for line in log)) == quantities("\n".join(log)), (
                title
            )


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
def test_windows_encodings_are_read(encoding):
    log = "\r\n".join(line for _, lines in FRAGMENTS for line, _ in lines)
    mark = "\ufeff" if encoding == "utf-16-le" else ""
    assert [one.told.amount for one in memcalc.check((mark + log).encode(encoding)).lines] == [
        one.amount for one in read(log).told
    ]


def test_a_whole_log_in_one_line_of_json_is_read():
    """However long it is; and a line of data, which is as long, is passed over by name."""
    log = "".join(f"line {index}\n" for index in range(9_000)) + "Available KV cache memory: 5.0 GiB\n"
    (one,) = read(json.dumps({"log": log})).told
    assert one.amount == 5 * 2**30
    reading = read("x" * 50_000 + " Available KV cache memory: 5.0 GiB\n")
    assert reading.told == ()
    assert [(one.text[:4], one.why) for one in reading.ignored] == [
        ("xxxx", "longer than 20,000 characters: data")
    ]


def test_ranks_between_each_other_s_lines():
    """Of what is read line by line: each rank's lines keep their order, and nothing is lost."""
    told = {title: lines for title, lines in FRAGMENTS if title.startswith("sglang 0")}
    logs = [[line for line, _ in lines] for lines in told.values()]
    mixed = [log[index] for index in range(max(map(len, logs))) for log in logs if index < len(log)]
    apart = [one for log in logs for one in quantities("\n".join(log))]
    assert sorted(quantities("\n".join(mixed)), key=str) == sorted(apart, key=str)


@pytest.mark.slow
def test_a_log_of_requests_takes_seconds():
    """A server's log is mostly requests: 20 MB of them take half a second."""
    line = 'INFO:     10.0.0.7:41000 - "POST /v1/chat/completions HTTP/1.1" 200 OK\n'
    log = line * (20 * 10**6 // len(line)) + "INFO [gpu_worker.py:1] Available KV cache memory: 5.0 GiB\n"
    began = time.process_time()
    assert len(read(log).told) == 1
    assert time.process_time() - began < 5
