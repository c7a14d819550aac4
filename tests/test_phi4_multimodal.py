"""Phi-4-multimodal: its text model is Phi-4-mini, and what is refused. Tensors are held by tests/oracles."""

from __future__ import annotations

import pytest

from memcalc.errors import MemcalcError
from memcalc.files.config_classes import config_class
from memcalc.files.readers import read

# Phi-4-mini's number of heads, which its class has not for a default
OWN = {"num_attention_heads": 24, "tie_word_embeddings": True}
PHI4 = {"model_type": "phi4_multimodal", **OWN, "vision_config": {}, "audio_config": {}}


def changed(tower, **fields):
    """The config with other values in a tower."""
    return {**PHI4, tower: fields}


def test_its_text_model_is_phi_3s_of_the_same_sizes():
    text = {**config_class("phi4_multimodal").defaults, "model_type": "phi3", **OWN}
    for tower in ("vision_config", "audio_config"):
        del text[tower]
    alone, whole = read(text), read(PHI4)
    assert whole.layers == alone.layers
    assert whole.parameters == alone.parameters == 3_836_021_760
    assert whole.vision_parameters > 800 * 10**6


def test_buffers_are_the_mean_and_deviation_of_each_band():
    assert read(PHI4).buffer_values == 2 * 80
    assert read(changed("audio_config", input_size=99)).buffer_values == 2 * 99


@pytest.mark.parametrize(
    ("tower", "field", "value"),
    [
        ("audio_config", "time_reduction", 6),
        ("audio_config", "time_reduction", 1),
        ("audio_config", "num_attention_heads", 3),
        ("audio_config", "head_dim", 32),
        ("audio_config", "surprise", 12),
        ("vision_config", "num_attention_heads", 7),
        ("vision_config", "model_type", "siglip_vision_model"),
        ("vision_config", "surprise", 12),
    ],
)
def test_a_tower_that_its_class_does_not_build_is_refused(tower, field, value):
    with pytest.raises(MemcalcError, match=field):
        read(changed(tower, **{field: value}))


def test_the_type_with_adapters_in_its_matrices_is_refused():
    with pytest.raises(MemcalcError, match="phi4mm"):
        read({**PHI4, "model_type": "phi4mm"})
