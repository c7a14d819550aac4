"""A measured step as rows of the record of training runs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from memcalc.errors import BadInputError
from memcalc.evidence.training import OPTIONS

if TYPE_CHECKING:
    from memcalc.evidence.measure.measurement import Measurement

__all__ = ["rows"]

UNKNOWN = "?"  # the loader refuses a row until it is filled in


def rows(found: Measurement) -> list[dict[str, object]]:
    """Return the rows of book/record/training_observations.json that a step gives: allocated and reserved.

    Parameters
    ----------
    found : Measurement
        A step that was taken on a GPU.

    Returns
    -------
    list of dict
        Rows with the fields of `memcalc.evidence.TrainingObservation`; ``source`` is ``"?"``: where the
        output is published.

    Raises
    ------
    BadInputError
        Nothing was measured: there was no GPU.

    """
    if found.reserved_bytes is None:
        remedy = "what fake tensors say is no measurement; run it on a GPU"
        raise BadInputError("--write", "a step that was taken on a GPU", found.device, remedy)
    options = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in vars(found.step.plan.options).items()
        if name in OPTIONS and value not in (None, False, ())
    }
    slug = re.sub(r"[^a-z0-9]+", "-", f"{found.step.model.name} {found.device} {found.date}".lower())
    common = {"family": "measured", "model": found.step.model.name, "hardware": f"1x {found.device}"}
    using = ", ".join(f"{name} {said}" for name, said in found.versions.items())
    return [
        {
            "id": f"measured-{slug}-{quantity}",
            **common,
            "quantity": quantity,
            "printed": f"{int(size):,}",
            "value_bytes": int(size),
            "plan": options,
            "role": "test",
            "grade": "A",
            "source": UNKNOWN,
            "date": found.date,
            "version": using,
            "note": f"`memcalc measure train`: random weights, seed {found.seed}, the second step",
        }
        for quantity, size in (("allocated", found.allocated_bytes), ("reserved", found.reserved_bytes))
    ]
