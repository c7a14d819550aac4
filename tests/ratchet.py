"""What holds the scoreboard: limits that follow what was reached, up to the rounding of two digits."""

from __future__ import annotations

from typing import NamedTuple

from memcalc.evidence.score import family


class Limit(NamedTuple):
    """A ratchet: errors and width in per cent, rounded up to two significant digits; rows counted exactly."""

    rows: int
    median: float
    p90: float
    inside: int
    width: float

    def hold(self, scores):
        """No error and no range grows; and where one shrinks, the limit shrinks with it."""
        found = family("these", "rows", scores)
        assert len(scores) == self.rows
        assert sum(score.inside for score in scores) == self.inside
        for limit, share in zip(
            (self.median, self.p90, self.width),
            (found.median_error, found.p90_error, found.mean_width),
            strict=True,
        ):
            assert 100 * share <= limit <= 1.1001 * 100 * share


class Sources(NamedTuple):
    """Where each source counts once: how many rows are independent, and the median of their medians."""

    sources: int
    models: int
    distinct: int
    median: float

    def hold(self, scores):
        """Counted exactly; the median of sources does not grow, and where it shrinks, the limit does."""
        found = family("these", "rows", scores)
        assert (found.sources, found.models, found.distinct) == self[:3]
        assert 100 * found.median_of_sources <= self.median <= 1.1001 * 100 * found.median_of_sources
