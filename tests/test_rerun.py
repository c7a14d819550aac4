"""The page for one's own model runs for every kind of model: papermill puts other parameters in."""

from __future__ import annotations

import json
from pathlib import Path

import papermill
import pytest
from IPython.core.interactiveshell import InteractiveShell

from memcalc.files.sources import source

PAGE = "your_model_your_machine.ipynb"
CASES = [
    ("meta-llama/Llama-2-7b-hf", {"context": 4096, "batch": 1, "engine": "vllm"}),
    ("Qwen/Qwen2.5-0.5B", {"context": 1, "batch": 64}),
    ("Qwen/Qwen3-30B-A3B", {"machine": "2x rtx-a6000", "weights": "fp8-block128"}),
    ("deepseek-ai/DeepSeek-V3", {"context": 131_072, "machine": "16x h20-96g", "engine": "vllm"}),
]
pytestmark = pytest.mark.filterwarnings("default")  # Jupyter warns about itself


@pytest.fixture
def config(tmp_path):
    """`config(name)` writes a model's config.json and returns its path."""

    def write(name):
        path = tmp_path / "config.json"
        path.write_text(json.dumps(source(name).fields), encoding="utf-8")
        return str(path)

    return write


@pytest.fixture
def in_a_kernel(root, tmp_path):
    """Run the page with other parameters as a reader does it: into a copy."""

    def run(parameters):
        how = {"cwd": root / "notebooks", "kernel_name": "python3", "progress_bar": False}
        page = root / "notebooks" / PAGE
        papermill.execute_notebook(page, tmp_path / "out.ipynb", parameters=parameters, **how)

    return run


@pytest.fixture
def here(root, monkeypatch):
    """Run the same cells with the same parameters in this process."""

    def run(parameters):
        monkeypatch.chdir(root / "notebooks")
        shell = InteractiveShell()
        for cell in json.loads(Path(PAGE).read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "code":
                shell.run_cell("".join(cell["source"])).raise_error()
            if "parameters" in cell["metadata"].get("tags", []):
                shell.push(parameters)

    return run


@pytest.mark.full
def test_the_page_answers_for_another_model(here, config):
    """Its own asserts hold: sums add up, and what fits is what the largest context and batch say."""
    for name, parameters in CASES[1:]:
        here({"config": config(name), **parameters})


@pytest.mark.slow
def test_papermill_puts_other_parameters_in(request, in_a_kernel, config):
    """One model here; all of them with --full."""
    for name, parameters in CASES if request.config.getoption("full") else CASES[:1]:
        in_a_kernel({"config": config(name), **parameters})
