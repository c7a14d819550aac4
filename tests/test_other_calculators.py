"""What other calculators were asked about is what the catalogue has today."""

import json

import pytest

import memcalc


@pytest.mark.parametrize("name", ["google/gemma-2-9b-it", "google/gemma-3-27b-it", "google/gemma-4-31B"])
def test_accelerate_built_the_catalogues_model(root, name):
    """It counts tied models whole, and buffers with them: fewer numbers than two rows of an embedding."""
    record = json.loads((root / "book/record/other_calculators.json").read_text(encoding="utf-8"))
    model = memcalc.model(name)
    said = record["models"][name]["accelerate"]["parameters"]
    assert 0 <= said - model.parameters - model.vision_parameters < 2 * 5376
