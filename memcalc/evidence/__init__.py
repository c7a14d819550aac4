"""What others measured, and what memcalc predicts of it. The record itself lies in book/record."""

from __future__ import annotations

from memcalc.ledger.lazy import lazy_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from memcalc.evidence.inference import (
        REASONS as REASONS,
        left_out as left_out,
        observations as observations,
    )
    from memcalc.evidence.notes import (
        SECTIONS as SECTIONS,
        VERDICTS as VERDICTS,
        citations as citations,
        claims as claims,
        label as label,
        silent as silent,
        text as text,
        uncovered as uncovered,
    )
    from memcalc.evidence.published import checkpoints as checkpoints
    from memcalc.evidence.score import (
        FAMILIES as FAMILIES,
        Score as Score,
        by_kind as by_kind,
        devices as devices,
        family as family,
        predict as predict,
        scores as scores,
        serving_of as serving_of,
    )
    from memcalc.evidence.training import (
        trained_models as trained_models,
        training_observations as training_observations,
    )
    from memcalc.evidence.training_score import planned as planned

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "published": ("checkpoints",),
        "inference": ("REASONS", "left_out", "observations"),
        "notes": ("SECTIONS", "VERDICTS", "citations", "claims", "label", "silent", "text", "uncovered"),
        "score": ("FAMILIES", "Score", "by_kind", "devices", "family", "predict", "scores", "serving_of"),
        "training": ("trained_models", "training_observations"),
        "training_score": ("planned",),
    },
)
