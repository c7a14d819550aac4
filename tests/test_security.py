"""SECURITY.md is true: memcalc runs nothing that it reads, starts nothing, and connects to nothing itself."""

from __future__ import annotations

import ast
import re

import pytest

import memcalc

# What runs, unpacks or fetches: loaders of pickles, interpreters, processes, sockets.
FORBIDDEN = {
    *("pickle", "cPickle", "dill", "marshal", "shelve", "torch", "joblib", "yaml", "ctypes", "runpy", "code"),
    *(
        "subprocess",
        "multiprocessing",
        "pty",
        "socket",
        "ssl",
        "http",
        "urllib",
        "requests",
        "httpx",
        "ftplib",
    ),
}
RUN = {"eval", "exec", "compile", "__import__", "system", "popen", "parse_expr", "lambdify", "load_module"}
HUB = "memcalc/files/hub.py"  # the one module that asks a network, through a library that is asked for
VIA = "memcalc/files/by_transformers.py"  # builds classes of transformers, never code of a repository
# run a step of these classes, with random weights: no file of torch is read
MEASURE = {f"memcalc/evidence/measure/{name}.py" for name in ("measurement", "step")}


def faults(tree):
    """Yield what would run or fetch something."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                modules = {one.name.split(".")[0] for one in names}
            case ast.ImportFrom(module=str(module), level=0):
                modules = {module.split(".")[0]}
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if name in RUN:
                modules = set()
                if not (isinstance(node.func, ast.Attribute) and ast.unparse(node.func) == "re.compile"):
                    yield name
            case _:
                continue
        yield from sorted(modules & (FORBIDDEN | {"huggingface_hub"}))


def test_nothing_that_is_read_is_run(root):
    found = {}
    for path in sorted((root / "memcalc").rglob("*.py")):
        name = path.relative_to(root).as_posix()
        found[name] = set(faults(ast.parse(path.read_text(encoding="utf-8"))))
    assert found.pop(HUB) == {"huggingface_hub"}
    assert found.pop(VIA) == {"torch"}
    assert [found.pop(name) for name in sorted(MEASURE)] == [{"torch"}] * 2
    assert {name: said for name, said in found.items() if said} == {}


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("import pickle", ["pickle"]),
        ("def f():\n    from urllib.request import urlopen", ["urllib"]),
        ("eval('1')", ["eval"]),
        ("os.system('ls')", ["system"]),
        ("re.compile('a')", []),
        ("from memcalc.code import x", []),
    ],
)
def test_what_would_run_is_found(source, fault):
    assert list(faults(ast.parse(source))) == fault


def test_the_workflow_runs_what_was_looked_at(root):
    """An action is named by its commit; a tag can be moved."""
    text = (root / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    used = re.findall(r"uses: *(.*)", text)
    assert used
    assert [one for one in used if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+", one)] == []


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-oracles.txt"])
def test_every_package_has_the_hashes_of_its_files(root, name):
    """pip refuses a list of which some lines have none; here that is seen before an environment is made."""
    text = (root / name).read_text(encoding="utf-8")
    blocks = [block for block in re.split(r"\n(?=[A-Za-z])", text) if "==" in block]
    assert len(blocks) > 40
    assert [block for block in blocks if "--hash=sha256:" not in block] == []


@pytest.mark.parametrize("name", ["requirements", "requirements-oracles"])
def test_what_is_asked_for_is_pinned(root, name):
    """`make pins` was run after the list changed."""
    asked, pinned = (
        {
            one.lower()
            for one in re.findall(r"^[\w-]+==[\w.]+", (root / file).read_text("utf-8"), re.MULTILINE)
        }
        for file in (f"{name}.in", f"{name}.txt")
    )
    assert asked - pinned == set()


def test_every_version_is_the_same(root):
    """What is cited is what is released."""
    said = {
        name: re.findall(r"^version.*", (root / name).read_text(encoding="utf-8"), re.MULTILINE)
        for name in ("pyproject.toml", "CITATION.cff")
    }
    assert said == {
        "pyproject.toml": [f'version = "{memcalc.__version__}"'],
        "CITATION.cff": [f"version: {memcalc.__version__}"],
    }
