"""What a template may name of a model or a machine without saying where it comes from."""

from __future__ import annotations

from dataclasses import fields
from functools import cache
from typing import TYPE_CHECKING

from memcalc.files.api import model as load_model
from memcalc.files.machines import devices

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memcalc.ledger.model import Model

__all__ = ["device_facts", "model_facts", "short"]


def short(name: str) -> str:
    """Return a model's name without its owner.

    >>> short("Qwen/Qwen3-32B")
    'Qwen3-32B'
    """
    return name.rpartition("/")[2]


@cache
def model_facts(name: str) -> Mapping[str, int]:
    """Return the shapes of a model by the words of the vocabulary.

    Widths and heads are those of its first layer that has them; a ``window`` is that of its windowed layers.

    Parameters
    ----------
    name : str
        A model of the catalogue.

    Examples
    --------
    >>> facts = model_facts("Qwen/Qwen3-32B")
    >>> facts["depth"], facts["kv_heads"], facts["head_dim"], facts["parameters"]
    (64, 8, 128, 32762123264)

    """
    model = load_model(name)
    found: dict[str, int] = {}
    for part in (part for layer in (*model.groups,) for _, part in (*layer.parts, *model.outside)):
        for field in fields(part):
            value = getattr(part, field.name)
            if type(value) is int:
                found.setdefault(field.name, value)
    return {**found, **layer_counts(model), "parameters": model.parameters}


def layer_counts(model: Model) -> Mapping[str, int]:
    """Return how many layers of each kind a model has."""
    kinds = {"moe_depth": "experts", "window_depth": "window"}
    counted = {
        name: sum(
            layer.times
            for layer in model.groups
            if any(getattr(part, attribute, None) is not None for _, part in layer.parts)
        )
        for name, attribute in kinds.items()
    }
    return {
        "depth": model.depth,
        "dense_depth": model.depth - counted["moe_depth"],
        "full_depth": model.depth - counted["window_depth"],
        **counted,
    }


def device_facts(name: str) -> Mapping[str, int]:
    """Return a machine's own numbers: its `capacity` in bytes.

    >>> device_facts("rtx-4090")["capacity"]
    25757220864
    """
    return {"capacity": int(devices()[name].capacity_bytes)}
