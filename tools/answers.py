"""Golden answers: what memcalc says of every model on every engine, and of every recorded training plan.

Of a model each engine is asked for one of three plans, its neighbours for the others: all three are asked of
each model, and of each engine for a third of the models. So a model adds 11 kB, not 26.

`python tools/answers.py` writes them to tests/recorded/answers.jsonl, one question a line; `--check` compares
and changes nothing, and `--check 4` asks one question in four. A number that changes there is named, with its
cause, in CHANGELOG.md.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

from memcalc.__main__ import main as memcalc
from memcalc.cli.train import fields as training_fields
from memcalc.errors import MemcalcError
from memcalc.evidence.predict_training import training_estimate
from memcalc.evidence.training import training_observations
from memcalc.files.catalogue import catalogue
from memcalc.serving.engines import ENGINES

if TYPE_CHECKING:
    from collections.abc import Iterator

RECORD = Path(__file__).resolve().parents[1] / "tests" / "recorded" / "answers.jsonl"

GPUS = ("8x h100-80g", "fp8", "2x rtx-a6000")
SETUPS = {  # a machine for the model as published; weights in another format, and a smaller machine
    "transformers": ("8x h100-80g", "nf4", "2x rtx-a6000"),
    "llama.cpp": ("2x rtx-4090 + 512GiB host", "Q4_K_M", "1x rtx-4090 + 128GiB host"),
    "ktransformers": ("1x rtx-4090 + 1024GiB host", "Q4_K_M", "1x rtx-a6000 + 512GiB host"),
    "vllm-ascend": ("2x atlas-800i-a2", "w8a8", "1x atlas-800i-a2"),
    "mindie": ("2x atlas-800i-a2", "w8a8", "1x atlas-800i-a2"),
}
OF_A_PLAN = (
    *("weights_file_bytes", "not_loaded_bytes", "cache_bytes", "fits", "verdict", "max_context", "max_batch"),
    *("header", "differences"),
)
OF_A_POOL = (
    *("name", "devices", "capacity_bytes", "usable_bytes", "components", "moments", "total_bytes"),
    *("low_bytes", "high_bytes", "free_bytes", "fits", "kv_pool"),
)
OF_A_STEP = (
    *("parameters", "trainable_parameters", "stage", "moments", "peak_at", "allocated_bytes", "device_bytes"),
    *("low_bytes", "high_bytes", "capacity_bytes", "host_bytes", "fits"),
)


def questions() -> Iterator[list[str]]:
    """Yield the command lines: each model, and a plan for it with each engine."""
    for model in catalogue():
        yield ["model", model]
        for number, engine in enumerate(ENGINES):
            yield ["model", model, "--engine", engine]
            machine, weights, smaller = SETUPS.get(engine, GPUS)
            plans = (
                ["--context", "8192"],
                ["--context", "32768", "--batch", "4", "--on", machine],
                [
                    *("--context", "4096", "--prompt", "2048", "--batch", "16"),
                    *("--weights", weights, "--on", smaller),
                ],
            )
            drawn = plans[(crc32(model.encode()) + number) % len(plans)]  # whatever other models there are
            yield ["serve", model, "--engine", engine, *drawn]


def told(words: list[str]) -> dict[str, Any]:
    """Return the numbers of one answer, or the field that was refused."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = memcalc([*words, "--json"])
    if status == 2:
        return {"refused": err.getvalue().removeprefix("memcalc: error: ").partition(":")[0]}
    answer: dict[str, Any] = json.loads(out.getvalue())
    if words[0] == "model":
        return {name: value for name, value in answer.items() if name not in ("schema", "class_defaults")}
    pools = [{name: pool[name] for name in OF_A_POOL} for pool in answer["pools"]]
    return {"pools": pools, "lines": lines(answer), **{name: answer[name] for name in OF_A_PLAN}}


def lines(answer: dict[str, Any]) -> dict[str, list[int]]:
    """Return how many lines each component has by evidence, and their bytes, whatever they are called."""
    found: dict[str, list[int]] = {}
    for line in answer["lines"]:
        of_kind = found.setdefault(f"{line['component']}, {line['evidence']}", [0, 0])
        of_kind[0] += 1
        of_kind[1] += line["bytes"]
    return dict(sorted(found.items()))


def trained(row: Any) -> dict[str, Any]:
    """Return the numbers of one recorded training run, or the field that was refused."""
    try:
        answer: dict[str, Any] = training_fields(training_estimate(row))
    except MemcalcError as error:
        return {"refused": str(error).partition(":")[0]}
    beside = {f"{one['at']}, {one['where']}": one["total_bytes"] for one in answer["beside_the_step"]}
    return {"lines": lines(answer), **{name: answer[name] for name in OF_A_STEP}, "beside_the_step": beside}


def line_of(words: list[str]) -> str:
    """Return one question and its answer as a line of JSON."""
    return json.dumps({"ask": " ".join(words), "answer": told(words)})


def line_of_row(row: Any) -> str:
    """Return one recorded training run and what is estimated of it as a line of JSON."""
    return json.dumps({"ask": asked_by(row), "answer": trained(row)})


def asked_by(row: Any) -> str:
    """Return the question that a recorded training run is."""
    return f"train {row.id}"


def answers(one_in: int) -> Iterator[str]:
    """Yield one question in so many, always the same ones, and its answer."""
    asked = [words for words in questions() if in_sample(" ".join(words), one_in)]
    rows = [one for one in training_observations() if one.quantity != "states"]
    rows = [row for row in rows if in_sample(asked_by(row), one_in)]
    with ProcessPoolExecutor(max_workers=2) as pool:
        yield from pool.map(line_of, asked, chunksize=64)
        yield from pool.map(line_of_row, rows, chunksize=64)


def in_sample(question: str, one_in: int) -> bool:
    """Whether a question is one of those that are asked."""
    return crc32(question.encode()) % one_in == 0


def differences(old: Any, new: Any, where: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield where two answers differ, and what each says there."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in {**old, **new}:
            yield from differences(old.get(name), new.get(name), f"{where}.{name}")
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for place, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from differences(one, other, f"{where}[{place}]")
    elif old != new:
        yield where, old, new


def main(arguments: list[str]) -> int:
    """Write, or with --check compare."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", nargs="?", type=int, const=1, metavar="ONE_IN")
    check = parser.parse_args(arguments).check
    one_in = 1 if check is None else max(1, check)
    now = list(answers(one_in))
    if check is None:
        RECORD.write_text("\n".join(now) + "\n", encoding="utf-8", newline="\n")
        print(f"   wrote {len(now)} answers")
        return 0
    before = RECORD.read_text(encoding="utf-8").splitlines()
    recorded = (one for one in map(json.loads, before) if in_sample(one["ask"], one_in))
    asked = {one["ask"]: one["answer"] for one in recorded}
    changed = [one for one in map(json.loads, now) if asked.get(one["ask"]) != one["answer"]]
    for one in changed[:20]:
        for where, old, new in differences(asked.get(one["ask"]), one["answer"]):
            print(f"{one['ask']}: {where} {old} -> {new}"[:200], file=sys.stderr)
    gone = len(asked.keys() - {json.loads(one)["ask"] for one in now})
    if changed or gone:
        print(
            f"{len(changed)} answers changed, {gone} gone: `make answers`, and CHANGELOG.md", file=sys.stderr
        )
    return 1 if changed or gone else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
