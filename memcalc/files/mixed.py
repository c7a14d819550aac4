"""A model whose checkpoint has formats module by module: MLX's mixes, NVIDIA's mixed precision."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from memcalc.errors import BadInputError
from memcalc.files.quantization import ASIDE, FIELD, grouped_patterns, meanings, means
from memcalc.ledger.formats import format_named

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memcalc.files.quantization import Scheme
    from memcalc.ledger.formats import Format, Rule
    from memcalc.ledger.model import Layer, Model
    from memcalc.ledger.tensor import Tensor

__all__ = ["of_name", "with_own_formats"]

BESIDE = re.compile(r"^mtp\b|vis|audio|multi_modal|mm_proj")  # modules that are not part of the text model


def with_own_formats(
    model: Model, scheme: Scheme, rest: Format
) -> tuple[Model, dict[str, str], tuple[str, ...]]:
    """Return a model with its tensors' own formats, those outside of layers, and entries that name nothing.

    Parameters
    ----------
    model : Model
        The model.
    scheme : Scheme
        Its quantisation: modules with a format of their own, and those that are excluded from any.
    rest : Format
        How what is excluded is stored.

    Raises
    ------
    BadInputError
        A module with a format of its own is none of the model's.

    """
    forms = {entry: form or rest.id for entry, form in scheme.others}
    forms |= dict.fromkeys(scheme.excluded, rest.id)
    depth = len(model.layers)
    grouped = grouped_patterns(forms, depth)
    every = [one for same in grouped.values() for one in same]
    distinct = {id(layer): layer for layer in model.layers}
    meant = {key: meanings(model, layer, grouped) for key, layer in distinct.items()}
    kinds = {key: {one.name: one for one in layer.weights()} for key, layer in distinct.items()}
    used: set[str] = set()

    def placed(layer: Layer, index: int | None) -> Layer:
        formats = []
        for name, same in meant[id(layer)].items():
            own = [one.entry for one in same if one.layer in (None, index)]
            used.update(own)
            tensor, entry = kinds[id(layer)][name], max(own, key=len, default="")
            by_expression = entry.startswith("re:") and forms[entry] != rest.id
            meant_too = not by_expression or tensor.kind in scheme.format.kinds  # of what is quantised
            if own and len(tensor.shape) > 1 and meant_too:
                formats.append((name, forms[entry]))
        return replace(layer, formats=(*layer.formats, *formats)) if formats else layer

    numbered = {one.layer for one in every}
    keys = (index if index in numbered else None for index in range(depth))
    changed = replace(model, mtp=()).map_layers(placed, keys)
    outside = {}
    for name, part in model.outside:
        hits = [same[0].entry for same in grouped.values() if means(same[0], name)]
        used.update(hits)
        entry = max(hits, key=len, default="")
        if hits and hasattr(part, "vocab") and not (entry.startswith("re:") and forms[entry] != rest.id):
            outside[f"{name}.weight"] = forms[entry]
    idle = tuple(dict.fromkeys(one.entry for one in every if one.entry not in used))
    for entry in idle:
        if dict(scheme.others).get(entry) and BESIDE.search(entry) is None:
            remedy = f"its bytes are not understood; {ASIDE}"
            raise BadInputError(FIELD, f"modules of {model.model_type}", entry, remedy)
    return replace(changed, mtp=model.mtp), outside, idle


def of_name(outside: Mapping[str, str], usual: Rule, tensor: Tensor) -> Format:
    """Return the format that a tensor outside the layers has by its name, else the usual one."""
    form = outside.get(tensor.name)
    return usual(tensor) if form is None else format_named(form)
