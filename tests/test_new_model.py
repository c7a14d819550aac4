"""A site about one model: what is asked first, what its pages are made of, and one from end to end."""

from __future__ import annotations

import html
import importlib.util
import json
import os
import re
import subprocess
import sys

import nbformat
import pytest

import memcalc

UNSEEN = {  # a hybrid of a size that no published model has
    "model_type": "qwen3_next",
    "hidden_size": 512,
    "intermediate_size": 1024,
    "moe_intermediate_size": 128,
    "shared_expert_intermediate_size": 128,
    "num_experts": 16,
    "num_experts_per_tok": 4,
    "num_hidden_layers": 8,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "linear_num_value_heads": 8,
    "linear_num_key_heads": 4,
    "linear_key_head_dim": 64,
    "linear_value_head_dim": 64,
    "vocab_size": 32000,
    "torch_dtype": "bfloat16",
}

PROGRAM = """
import sys, pathlib, new_model
new_model.SITES = pathlib.Path(sys.argv.pop(1))
sys.exit(new_model.main())
"""


@pytest.fixture(scope="module")
def tool(root):
    sys.path.insert(0, str(root / "tools"))
    spec = importlib.util.spec_from_file_location("new_model", root / "tools" / "new_model.py")
    found = sys.modules["new_model"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    sys.path.remove(str(root / "tools"))
    return found


def words(page):
    """What a page says, without its markup."""
    return " ".join(html.unescape(re.sub("<[^>]*>", "", page)).split())


@pytest.fixture
def settled(tool):
    return lambda **given: tool.settled(
        tool.parser().parse_args([f"--{name}={value}" for name, value in given.items()])
    )


@pytest.fixture
def config(tmp_path):
    """`config(**fields)` writes the unseen model's config.json, changed so, and returns its path."""

    def write(**fields):
        path = tmp_path / "unseen" / "config.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(UNSEEN | fields), encoding="utf-8")
        return str(path)

    return write


def test_what_is_left_open_is_filled_in(settled):
    asked = settled(config="Qwen/Qwen3-0.6B")
    assert asked._asdict() == {
        "config": "Qwen/Qwen3-0.6B",
        "machine": "1x rtx-4090",
        "context": 32_768,
        "batch": 1,
        "weights": None,
        "engine": "transformers",
        "seq": 4096,
    }


def test_what_is_given_is_taken(settled):
    asked = settled(
        config="Qwen/Qwen3-0.6B", machine="2x l4", context="8k", batch="3", engine="vLLM", seq="512"
    )
    assert asked[1:] == ("2x l4", 8192, 3, None, "vllm", 512)


def test_a_large_model_gets_a_machine_that_holds_it(settled):
    asked = settled(config="Qwen/Qwen3-235B-A22B")
    plan = memcalc.serve(asked.config, context=asked.context, on=asked.machine, engine=asked.engine)
    assert asked.machine != "1x rtx-4090"
    assert plan.fits


def test_an_engine_that_refuses_is_shown_and_another_answers(tool, settled):
    """vLLM reads no GGUF preset."""
    asked = settled(config="Qwen/Qwen3-0.6B", weights="Q4_K_M", engine="vllm")
    assert asked.engine == "vllm"
    assert tool.that_answers(asked).engine == "ktransformers"


WRONG = [
    ({"config": ""}, "CONFIG: expected a config.json, its folder or a name, given 'nothing'"),
    ({"config": "no/such/config.json"}, "CONFIG: expected "),
    ({"config": "Qwen/Qwen3-0.6B", "machine": "3x nothing"}, "MACHINE: expected "),
    ({"config": "Qwen/Qwen3-0.6B", "engine": "exllama"}, "ENGINE: expected one of "),
    ({"config": "Qwen/Qwen3-0.6B", "weights": "q17"}, "WEIGHTS: expected "),
    ({"config": "Qwen/Qwen3-0.6B", "context": "many"}, "CONTEXT: expected a whole number >= 1, given 'many'"),
    ({"config": "Qwen/Qwen3-0.6B", "seq": "0"}, "SEQ: expected a whole number >= 1, given 0"),
]


@pytest.mark.parametrize(
    ("given", "line"), WRONG, ids=lambda value: "".join(value) if isinstance(value, dict) else ""
)
def test_what_is_not_understood_is_one_line_before_anything_runs(tool, capsys, monkeypatch, given, line):
    monkeypatch.setattr(tool, "make", lambda asked: pytest.fail(f"ran {asked}"))
    assert tool.main([f"--{name}={value}" for name, value in given.items()]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"new-model: {line}")
    assert said.err.count("\n") == 1


@pytest.mark.parametrize(
    "fields",
    [{"model_type": "not_known_yet"}, {"layers_of_another_kind": 7}],
    ids=lambda fields: next(iter(fields)),
)
def test_a_config_that_is_not_understood_is_one_line(tool, capsys, config, fields):
    assert tool.main([f"--config={config(**fields)}"]) == 2
    assert capsys.readouterr().err.startswith(f"new-model: {next(iter(fields))}: expected ")


def test_advice_is_what_make_can_follow(tool, capsys, config):
    """No option of the command line stands where make has a variable, or has none."""
    assert tool.main([f"--config={config(model_type='not_known_yet')}"]) == 2
    said = capsys.readouterr().err
    assert "or at a shell: memcalc model CONFIG --via transformers" in said
    assert tool.main(["--config=Qwen/Qwen3-0.6B", "--machine=2x rtx 4099"]) == 2
    assert "--on" not in capsys.readouterr().err


def test_the_first_page_says_what_memory_allows_and_the_models_own_limit(tool, settled):
    asked = settled(config="Qwen/Qwen3-0.6B", machine="1x h200-141g")
    longest, limit = tool.plan(asked).max_context, memcalc.model(asked.config).max_context
    assert longest > limit
    said = f"| largest context | {longest:,} tokens by memory alone; the model's own limit is {limit:,} |"
    assert said in tool.home("a model", asked)


def test_a_page_that_fails_is_a_line_and_leaves_nothing(tool, capsys, monkeypatch, tmp_path):
    def failing(asked, folder):
        (folder / "half").write_text(str(asked), encoding="utf-8")
        raise tool.PageError("NameError: a name")

    monkeypatch.setattr(tool, "SITES", tmp_path / "sites")
    monkeypatch.setattr(tool, "executed", failing)
    assert tool.main(["--config=Qwen/Qwen3-0.6B"]) == 1
    assert capsys.readouterr().err == "new-model: the pages cannot be made: NameError: a name\n"
    assert list((tmp_path / "sites").iterdir()) == []


def test_the_page_is_left_without_the_book(tool):
    """No example, no exercise and no link to a chapter; what is asserted of any model is still asserted."""
    notebook = tool.of_the_model(nbformat.read(tool.PAGE, as_version=4))
    text = "\n".join(cell.source for cell in notebook.cells)
    assert "example_config.json" in text.partition("machine =")[0]  # the value that papermill replaces
    assert text.count("example_config.json") == 1
    assert ".ipynb)" not in text
    assert "assert counted ==" in text
    serving, training = tool.halves(notebook)
    assert "## Which engine?" in "".join(cell.source for cell in serving)
    assert training[0].source.startswith("## Training it")
    assert not any("assert" in cell.source for cell in (*serving, *training))


@pytest.mark.slow
def test_a_model_that_nobody_has_published_gets_its_site(root, config, tmp_path):
    """From end to end, in a folder of its own: pages that need no network, with answers and refusals."""
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "sites"), f"--config={config()}", "--context=8k"]
    environment = os.environ | {"PYTHONPATH": f"{root / 'tools'}{os.pathsep}{root}"}
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    site = tmp_path / "sites" / "unseen"
    assert f"open {(site / 'index.html').as_uri()}" in done.stdout
    assert [path.name for path in site.parent.iterdir()] == ["unseen"]
    pages = {
        name: (site / f"{name}.html").read_text(encoding="utf-8") for name in ("index", "serving", "training")
    }
    model = memcalc.model(config())
    assert f"{model.parameters:,} parameters" in pages["index"]
    assert "MXFP4_MOE" in pages["serving"]
    assert "--on: expected one of Huawei's NPUs" in words(pages["serving"])
    assert "layers that keep a state run by fused kernels" in words(pages["training"])
    for page in pages.values():
        assert "Traceback" not in page
        assert "Content-Security-Policy" in page
        assert not [word for word in ('src="http', "thebe") if word in page]
        named = re.findall(r'(?:src|href)="([^"#?:]+)', page)
        assert [name for name in named if not (site / name).exists()] == []
