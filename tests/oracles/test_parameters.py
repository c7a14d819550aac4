"""transformers on the meta device counts what memcalc counts."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from memcalc.readers import read
from memcalc.sources import catalogue, source


@pytest.mark.parametrize("name", catalogue())
def test_parameters_equal_those_of_transformers(name):
    """Tied weights once, buffers apart: the count is equal to the last number."""
    fields = {key: value for key, value in source(name).fields.items() if key != "quantization_config"}
    config = AutoConfig.for_model(**fields)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    assert sum(item.numel() for item in model.parameters()) == read(source(name).fields, name).parameters
