"""``--record``: a log's figures as rows of the record, book/record/observations.json.

What a log cannot tell is ``"?"``: the loader refuses a row until it is filled in.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from memcalc.errors import BadInputError
from memcalc.evidence.inference import QUANTITIES as WORDS
from memcalc.evidence.logs.wordings import UNITS
from memcalc.evidence.records import OPEN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memcalc.evidence.logs.compare import Checked
    from memcalc.evidence.logs.reading import Told

__all__ = ["rows"]

RANK = {  # a rank's figure -> its name in the record
    "weights": "weights_bytes_per_rank",
    "kv_pool": "kv_bytes_per_rank",
    "kv_needed": "kv_needed_one_request",
    "activation": "activation_peak_bytes",
    "non_torch": "non_torch_bytes",
    "graphs": "graph_bytes",
}
REMEDY = "`memcalc check LOG` says what was read"
QUANTITIES = {
    "vllm": {("rank", quantity): name for quantity, name in RANK.items()},
    "sglang": {("rank", "weights"): "weights_bytes_per_rank", ("rank", "kv_pool"): "kv_bytes_per_rank"},
    "llama.cpp": {("all", "kv_pool"): "kv_bytes"},
}
LIKE = {"vllm-ascend": "vllm", "ktransformers": "sglang"}
OWN = {  # engine options that a row has a field for
    "max_num_seqs": "seqs",
    "max_num_batched_tokens": "batched_tokens",
    "block_size": "block_size",
    "enforce_eager": "eager",
}
RANKS = ("tp", "pp", "ep", "dp", "attention_dp")


def rows(checked: Checked, *, on: str | None = None) -> list[dict[str, Any]]:
    r"""Return a row for each figure of a log that the record has a quantity for.

    Ranks that print the same figure are one row.

    Parameters
    ----------
    checked : Checked
        What was read.
    on : str, optional
        The machine, where it was stated.

    Returns
    -------
    list of dict
        Rows with the fields of `memcalc.evidence.Observation`; ``"?"`` is what the log does not tell.

    Raises
    ------
    BadInputError
        The log is of no engine of the record, or not of one run, or no figure is one that the record has.

    Examples
    --------
    >>> from memcalc.evidence.logs.compare import check
    >>> (row,) = rows(check("vLLM API server version 0.11.0\nModel loading took 61.03 GiB and 9.1 seconds\n"))
    >>> row["quantity"], row["printed"], row["value_bytes"], row["version"], row["source"]
    ('weights_bytes_per_rank', '61.03 GiB', 65530463519, '0.11.0', '?')

    """
    plan = checked.plan
    if plan.beyond.startswith("it has"):
        raise BadInputError("LOG", "the log of one run", plan.beyond.partition(":")[0], "cut it to one run")
    words = LIKE.get(plan.engine or "", plan.engine or "")
    names = QUANTITIES.get(words, {})
    if not names:
        given = plan.engine or "one in which no line of an engine was recognised"
        raise BadInputError("LOG", f"a log of {', '.join(QUANTITIES)} or {' or '.join(LIKE)}", given, REMEDY)
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for one in checked.lines:
        told = one.told
        name = names.get((told.scope, told.quantity))
        if name is not None and "snapshot" not in told.text and told.amount > 0:
            found.setdefault(
                (name, printed(told)), {**of_run(checked, on), **figure(told, name), **of_plan(checked)}
            )
    if not found:
        wanted = " or ".join(dict.fromkeys(WORDS[name] for name in names.values()))
        raise BadInputError("LOG", f"{wanted}, as {words} prints it", "no such line", REMEDY)
    return list(found.values())


def of_run(checked: Checked, on: str | None) -> dict[str, Any]:
    """Return what was run, and where; most of it a log does not tell."""
    plan = checked.plan
    totals = [one.told.amount for one in checked.lines if one.told.quantity == "total"]
    seen = {"visible_gib": round(totals[0] / 2**30, 2)} if totals and plan.engine == "vllm" else {}
    return {
        "id": OPEN,
        "model": checked.model or OPEN,
        "engine": plan.engine,
        "version": plan.version or OPEN,
        "hardware": OPEN,
        "on": on or OPEN,
        **seen,
    }


def figure(told: Told, quantity: str) -> dict[str, Any]:
    """Return the figure itself, and where it was read."""
    return {
        "quantity": quantity,
        "printed": printed(told),
        "value_bytes": int(told.amount),
        "moment": "load",
        "role": "test",
        "grade": "A",
        "source": OPEN,
        "date": OPEN,
    }


def of_plan(checked: Checked) -> dict[str, Any]:
    """Return the options of the plan under the record's names; those at 1 are left out."""
    said = dict(checked.plan.options)
    if checked.served is not None and (weights := checked.served.plan.options.weights):
        said["weights"] = weights  # in which the engine keeps them
    own = dict(said.pop("engine_options", {}))
    fields: dict[str, Any] = {
        name: said[name] for name in ("context", "weights", "kv", "utilization") if name in said
    }
    fields |= {rank: said[rank] for rank in RANKS if said.get(rank, 1) > 1}
    fields |= {OWN[name]: own.pop(name) for name in list(own) if name in OWN}
    options = " ".join(f"{name}={value}".replace("=True", "=true") for name, value in own.items())
    return fields | ({"options": options} if options else {})


def printed(told: Told) -> str:
    """Return a figure as it was printed, with the unit that is meant: vLLM's and SGLang's GB are GiB.

    >>> from memcalc.evidence.logs.reading import read
    >>> (weights,) = read("Loading model weights took 14.9888 GB").told
    >>> printed(weights)
    '14.9888 GiB'
    """
    return f"{' + '.join(numbers(told))} {unit_of(told)}"


def numbers(told: Told) -> Iterator[str]:
    """Yield the numbers of a figure."""
    yield from re.findall(r"-?[\d,]+(?:\.\d+)?", told.printed)


def unit_of(told: Told) -> str:
    """Return the unit in which the numbers of a figure are its bytes."""
    total = sum((Decimal(number.replace(",", "")) for number in numbers(told)), Decimal(0))
    exact = (unit for unit, size in UNITS.items() if abs(round(total * size) - int(told.amount)) <= 1)
    return next(exact, "B")
