"""What others measured, and what memcalc predicts of it. The record itself lies in book/record."""

from __future__ import annotations

from memcalc.data import constants as constants
from memcalc.data.lazy import lazy_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from memcalc.evidence.inference import (
        QUANTITIES as QUANTITIES,
        REASONS as REASONS,
        Observation as Observation,
        left_out as left_out,
        observations as observations,
    )
    from memcalc.evidence.notes import (
        SECTIONS as SECTIONS,
        VERDICTS as VERDICTS,
        citations as citations,
        claims as claims,
        link as link,
        not_claims as not_claims,
        notes_text as notes_text,
        uncovered as uncovered,
    )
    from memcalc.evidence.predict_serving import (
        serving_estimate as serving_estimate,
        stage_budgets as stage_budgets,
    )
    from memcalc.evidence.predict_training import training_estimate as training_estimate
    from memcalc.evidence.prediction import Prediction as Prediction
    from memcalc.evidence.published import Checkpoint as Checkpoint, checkpoints as checkpoints
    from memcalc.evidence.score import (
        Family as Family,
        Score as Score,
        by_family as by_family,
        family as family,
        predict as predict,
        scoreboard as scoreboard,
        scores as scores,
    )
    from memcalc.evidence.training import (
        TRAINING_QUANTITIES as TRAINING_QUANTITIES,
        TRAINING_REASONS as TRAINING_REASONS,
        TrainingObservation as TrainingObservation,
        trained_models as trained_models,
        training_left_out as training_left_out,
        training_observations as training_observations,
    )

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "inference": ("QUANTITIES", "REASONS", "Observation", "left_out", "observations"),
        "notes": (
            *("SECTIONS", "VERDICTS", "citations", "claims", "link", "not_claims", "notes_text", "uncovered"),
        ),
        "predict_serving": ("serving_estimate", "stage_budgets"),
        "predict_training": ("training_estimate",),
        "prediction": ("Prediction",),
        "published": ("Checkpoint", "checkpoints"),
        "score": ("Family", "Score", "by_family", "family", "predict", "scoreboard", "scores"),
        "training": (
            *("TRAINING_QUANTITIES", "TRAINING_REASONS", "TrainingObservation"),
            *("trained_models", "training_left_out", "training_observations"),
        ),
    },
)
