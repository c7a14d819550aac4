"""``memcalc.explain``: where the numbers of an answer come from."""

from __future__ import annotations

from memcalc.errors import BadInputError
from memcalc.ledger.model import Model
from memcalc.show.explained_model import explained_model
from memcalc.show.explanation import Explanation

__all__ = ["explain"]


def explain(answer: object) -> Explanation:
    """Return where the numbers of an answer come from: formula, numbers, result and source of every line.

    Parameters
    ----------
    answer : Model, ServingEstimate or TrainingEstimate
        What `memcalc.model`, `memcalc.serve` or `memcalc.train` returned, for a single plan.

    Returns
    -------
    Explanation
        Its text (``print``), its `markdown` and its `latex`; the last line is the answer. In Jupyter it shows
        itself.

    Raises
    ------
    BadInputError
        It is no answer of these, or that of a sweep, which has one for each point.

    Examples
    --------
    >>> import memcalc
    >>> said = explain(memcalc.serve("Qwen/Qwen3-32B", context=8192))
    >>> print(str(said).splitlines()[-1])
    the fullest device holds 69,614,711,808 bytes

    """
    if isinstance(answer, Model):
        return explained_model(answer)
    found = getattr(answer, "explanation", None)
    if isinstance(found, Explanation):
        return found
    expected = "what memcalc.model, memcalc.serve or memcalc.train returned"
    remedy = "write for example memcalc.explain(memcalc.serve('Qwen/Qwen3-32B', context=8192))"
    raise BadInputError("explain", expected, answer, remedy)
