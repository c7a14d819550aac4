"""Predictions beside measurements: one function predicts every row of both records, one board judges them.

An error is what was measured less what was predicted, as a share of what was measured.
"""

from __future__ import annotations

from collections import defaultdict
from statistics import fmean, mean, median, quantiles
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from memcalc.data.units import Amount
from memcalc.errors import MemcalcError
from memcalc.evidence.inference import Observation
from memcalc.evidence.predict_serving import predict_serving
from memcalc.evidence.predict_training import predict_training
from memcalc.evidence.prediction import Prediction
from memcalc.evidence.records import source_of
from memcalc.evidence.training import TrainingObservation

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "Family",
    "Refusal",
    "Score",
    "Scoreboard",
    "by_family",
    "by_source",
    "family",
    "nine_tenths",
    "predict",
    "scoreboard",
    "scores",
]

Row = TypeVar("Row", Observation, TrainingObservation)
ENOUGH = 0.9  # a range that holds less of what was measured is an ornament


class Score(NamedTuple, Generic[Row]):
    """A row of the record beside its prediction."""

    row: Row
    predicted: Prediction

    @property
    def measured(self) -> Amount:
        """The measured bytes; a row that counts something else has no prediction."""
        return self.row.value_bytes or Amount(0)

    @property
    def off(self) -> Amount:
        """Measured less predicted bytes."""
        return self.measured - self.predicted.bytes

    @property
    def error(self) -> float:
        """The same as a share of what was measured."""
        return self.off / self.measured

    @property
    def percent(self) -> float:
        """The error in hundredths, with two decimals and without a minus before zero."""
        return round(100 * self.error, 2) + 0.0

    @property
    def quantity(self) -> str:
        """What was measured; sums over several devices are a quantity of their own."""
        return self.row.judged_with[1]

    @property
    def has_range(self) -> bool:
        """Whether something that was only measured is part of the prediction."""
        return self.predicted.low < self.predicted.high

    @property
    def width(self) -> float:
        """The width of the range, as a share of what was measured."""
        return (self.predicted.high - self.predicted.low) / self.measured

    @property
    def inside(self) -> bool:
        """Whether the measurement lies in the range, as precisely as it was printed."""
        step = self.row.printed_to
        return self.predicted.low - step <= self.measured <= self.predicted.high + step

    @property
    def cells(self) -> dict[str, object]:
        """The row of a table: how far off, what was printed, what is predicted, and where it was read."""
        return {
            "model": self.row.model,
            "off, %": self.percent,
            "in range": self.inside,
            **self.row.columns(self.predicted),
            "role": self.row.role,
            "row, and source": f"[`{self.row.id}`]({self.row.source})",
        }


class Refusal(NamedTuple, Generic[Row]):
    """A row of the record that memcalc does not predict, and the line with which it refuses."""

    row: Row
    reason: str


class Scoreboard(NamedTuple, Generic[Row]):
    """Rows of the record: those with a prediction, and those without."""

    scores: list[Score[Row]]
    refusals: list[Refusal[Row]]


class Family(NamedTuple, Generic[Row]):
    """What the rows of one family say together; errors and widths are shares of what was measured.

    `name` is the engine of rows of serving, and the kind of run of rows of training. `inside` is the share of
    rows whose range holds the measurement, `worst` the row with the largest error.

    Rows are not independent: many are read from one page, of one model, or print the same figure. So they are
    also counted by `sources`, `models` and `distinct` figures. `median_of_sources` is the median of the
    sources' own medians, and `covered` the share of rows inside their range, in the mean of sources; None
    where no row has a range.
    """

    name: str
    quantity: str
    rows: int
    sources: int
    models: int
    distinct: int
    median_error: float
    median_of_sources: float
    p90_error: float
    inside: float
    covered: float | None
    mean_width: float
    worst: Score[Row]

    @property
    def is_predicted(self) -> bool:
        """Whether its ranges may be relied on: where there are any, they hold nine tenths, by source."""
        return self.covered is None or self.covered >= ENOUGH


def predict(row: Observation | TrainingObservation) -> Prediction:
    """Return what memcalc says of the figure that a row measured.

    Parameters
    ----------
    row : Observation or TrainingObservation
        A measured figure of serving or of training.

    Returns
    -------
    Prediction
        Bytes, and the ends of their range.

    Raises
    ------
    MemcalcError
        The row does not state enough, or memcalc refuses its plan.

    Examples
    --------
    >>> from memcalc.evidence import observations, training_observations
    >>> (row,) = observations(id="qwen3-32b-bf16-6144")
    >>> row.value_bytes // 2**20, predict(row).bytes // 2**20
    (64583, 64569)
    >>> (row,) = training_observations(id="fms-full-none-mistral-7b-v0.1-1gpu-8-peak")
    >>> row.value_bytes // 2**20, predict(row).bytes // 2**20
    (69079, 69078)

    """
    found = predict_serving(row) if isinstance(row, Observation) else predict_training(row)
    return Prediction(*map(Amount, found))


def scoreboard(rows: Iterable[Row]) -> Scoreboard[Row]:
    """Return every row with its prediction, and those that memcalc refuses with the line that says why.

    >>> from memcalc.evidence import training_observations
    >>> held, refused = scoreboard(training_observations(family="torchtune"))
    >>> len(held), len(refused)
    (3, 0)
    """
    found: Scoreboard[Row] = Scoreboard([], [])
    for row in rows:
        try:
            found.scores.append(Score(row, predict(row)))
        except MemcalcError as error:
            found.refusals.append(Refusal(row, str(error)))
    return found


def scores(rows: Iterable[Row]) -> list[Score[Row]]:
    """Return every row that can be predicted with its prediction beside it."""
    return scoreboard(rows).scores


def by_family(held: Iterable[Score[Row]]) -> dict[tuple[str, str], list[Score[Row]]]:
    """Return the scores by engine or kind of run, and by quantity: the families that are judged together."""
    found: dict[tuple[str, str], list[Score[Row]]] = {}
    for score in held:
        found.setdefault(score.row.judged_with, []).append(score)
    return found


def by_source(held: Iterable[Score[Row]]) -> dict[str, list[Score[Row]]]:
    """Return the scores by the thread, repository or page that they were read from."""
    found: dict[str, list[Score[Row]]] = defaultdict(list)
    for score in held:
        found[source_of(score.row.source)].append(score)
    return dict(found)


def family(name: str, quantity: str, held: list[Score[Row]]) -> Family[Row]:
    """Return what the scores of one family and quantity say together."""
    errors = sorted(abs(score.error) for score in held)
    sources = by_source(held)
    ranged = by_source(score for score in held if score.has_range)
    return Family(
        name,
        quantity,
        len(held),
        len(sources),
        len({score.row.model for score in held}),
        len({score.measured for score in held}),
        median(errors),
        median(median(abs(score.error) for score in rows) for rows in sources.values()),
        nine_tenths(errors),
        fmean(score.inside for score in held),
        fmean(fmean(score.inside for score in rows) for rows in ranged.values()) if ranged else None,
        mean(score.width for score in held),
        max(held, key=lambda score: abs(score.error)),
    )


def nine_tenths(errors: list[float]) -> float:
    """Return the 90th percentile of errors.

    >>> nine_tenths([0.0, 1.0]), nine_tenths([2.0])
    (0.9, 2.0)
    """
    return quantiles(errors, n=10, method="inclusive")[-1] if len(errors) > 1 else errors[0]
