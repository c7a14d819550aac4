"""Checkpoints that transformers writes, and repositories that huggingface_hub reads, against the ledger."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory

import ask
import pytest
from safetensors.torch import load_file, save_file
from small import DRAWN, SEEDS, seeds, small_config

from memcalc.files.compare import check
from memcalc.files.sources import source

ROOT = Path(__file__).resolve().parents[2]
SMALL = {f"{kind} {seed}": (kind, seed) for kind in DRAWN for seed in seeds(kind)[:3]}


def written(folder, fields, **how):
    """A small model with random numbers, as transformers saves it once it has loaded it.

    Only a class that loads a checkpoint keeps what it wants in fp32 whatever the dtype.
    """
    first = ask.in_memory(fields)
    with TemporaryDirectory() as before:
        first.save_pretrained(before)
        loaded, found = type(first).from_pretrained(before, dtype=first.dtype, output_loading_info=True)
    assert not any(found.values()), found  # nothing is missing, and nothing is new
    loaded.save_pretrained(folder, **how)
    return folder


def published(folder, fields):
    """The folder, with what version 5.23 writes otherwise than published checkpoints as they have it."""
    path = folder / "model.safetensors"
    save_file(ask.file_as_published(load_file(path), ask.config_of(fields)), path)
    return folder


@pytest.mark.sampled
@pytest.mark.parametrize("name", SMALL)
def test_what_transformers_writes_is_equal(tmp_path, name):
    """Names, shapes, dtypes and bytes."""
    fields = small_config(*SMALL[name])
    found = check(source(str(published(written(tmp_path, fields), fields))))
    assert found.differences == ()
    assert found.header.bytes == found.ledger_bytes


def test_shards_and_their_index(tmp_path):
    """Several files, whose index states the bytes."""
    folder = written(tmp_path, small_config("qwen3", SEEDS[0]), max_shard_size="20KB")
    found = check(source(str(folder)))
    assert found.header.files > 1
    assert found.header.total_size == found.header.bytes == found.ledger_bytes
    assert found.differences == ()


class Hub(BaseHTTPRequestHandler):
    """As much of the Hub as one repository needs: its list of files, and ranges of them."""

    def __init__(self, folder, *arguments):
        self.folder = folder
        super().__init__(*arguments)

    def log_message(self, *arguments):
        """Say nothing."""

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, *, body):
        path = self.path.partition("?")[0]
        if path == "/api/models/some/model":
            files = [{"rfilename": file.name} for file in sorted(self.folder.iterdir())]
            return self.send(
                json.dumps({"id": "some/model", "sha": "a" * 40, "siblings": files}).encode(), body
            )
        file = self.folder / path.rpartition("/")[2]
        if (
            not path.startswith(("/some/model/resolve/main/", f"/some/model/resolve/{'a' * 40}/"))
            or not file.exists()
        ):
            code = "EntryNotFound" if path.startswith("/some/model/") else "RepoNotFound"
            self.send_response(404)
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None
        content = file.read_bytes()
        asked = self.headers.get("Range", "").removeprefix("bytes=")
        if file.suffix == ".safetensors" and body:
            first, last = map(int, asked.split("-"))
            assert last - first <= 100_000, "the weights themselves were asked for"
            return self.send(content[first : last + 1], body, 206)
        return self.send(content, body)

    def send(self, content, body, status=200):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", '"etag"')
        self.send_header("X-Repo-Commit", "a" * 40)
        self.end_headers()
        if body:
            self.wfile.write(content)


@pytest.fixture
def served(tmp_path):
    """The address of a Hub with one small repository, and an empty cache."""
    folder = written(tmp_path / "repository", small_config("qwen3", SEEDS[0]))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Hub, folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", tmp_path / "cache"
    server.shutdown()
    server.server_close()


def command(endpoint, cache, name="some/model", **more):
    """`memcalc model` with another Hub: its answer, its complaint, and how long it took."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    environment = kept | {"HF_ENDPOINT": endpoint, "HF_HOME": str(cache), "NO_PROXY": "*"} | more
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "memcalc", "model", name, "--json"],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done, time.monotonic() - start


def test_a_repository_through_the_real_library(served):
    """First from the network; then, when it is gone or forbidden, from the cache."""
    endpoint, cache = served
    done, _ = command(endpoint, cache)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["differences"] == []
    assert said["header"]["bytes"] == said["header"]["ledger_bytes"] > 0
    for more in ({"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9"}):
        again, seconds = command(endpoint, cache, **more)
        assert again.returncode == 0, again.stderr
        assert json.loads(again.stdout)["parameters"] == said["parameters"]
        assert json.loads(again.stdout)["header"] is None
        assert seconds < 20


def test_a_repository_that_is_not_there(served):
    """One line, soon."""
    endpoint, cache = served
    gone, seconds = command(endpoint, cache, "no/body")
    unreachable, more = command("http://127.0.0.1:9", cache)
    offline, still = command(endpoint, cache, HF_HUB_OFFLINE="1")
    for done in (gone, unreachable, offline):
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("memcalc: error: SOURCE")
        assert done.stderr.count("\n") == 1
    assert "needs a login" in gone.stderr
    assert "no answer from the network" in unreachable.stderr
    assert max(seconds, more, still) < 20
