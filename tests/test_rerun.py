"""The page for one's own model runs for every kind of model: papermill puts other parameters in."""

from __future__ import annotations

import json

import papermill
import pytest

from memcalc.files.sources import source

CASES = [
    ("meta-llama/Llama-2-7b-hf", {"context": 4096, "batch": 1, "engine": "vllm"}),
    ("Qwen/Qwen2.5-0.5B", {"context": 1, "batch": 64}),
    ("Qwen/Qwen3-30B-A3B", {"machine": "2x rtx-a6000", "weights": "fp8-block128"}),
    ("deepseek-ai/DeepSeek-V3", {"context": 131_072, "machine": "16x h20-96g", "engine": "vllm"}),
]


@pytest.mark.filterwarnings("default")  # Jupyter warns about itself
@pytest.mark.parametrize(("name", "parameters"), CASES)
def test_the_page_answers_for_another_model(root, tmp_path, name, parameters):
    """Its own asserts hold: sums add up, and what fits is what the largest context and batch say."""
    config = tmp_path / "config.json"
    config.write_text(json.dumps(source(name).fields), encoding="utf-8")
    papermill.execute_notebook(
        root / "notebooks" / "your_model_your_machine.ipynb",
        tmp_path / "out.ipynb",
        parameters={"config": str(config), **parameters},
        cwd=root / "notebooks",
        kernel_name="python3",
        progress_bar=False,
    )
