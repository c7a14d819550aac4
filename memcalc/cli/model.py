"""``memcalc model``: parameters and cache of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.cli.command import Answer, Command, add_source, config_fields, header_fields, header_text
from memcalc.errors import escaped
from memcalc.files.sources import source
from memcalc.ledger.model import cache_growth, summary

if TYPE_CHECKING:
    import argparse

    from memcalc.cli.parser import Parser
    from memcalc.files.source import Source
    from memcalc.ledger.model import Model

__all__ = ["CACHE", "COMMAND", "fields"]

CACHE = ("bytes_per_token", "bytes_per_token_in_window", "state_bytes_per_sequence")


def add(parser: Parser) -> None:
    """Add the options."""
    add_source(parser)
    via = "build what has no reader with this library, on its meta device (2 to 60 seconds)"
    parser.add_argument("--via", metavar="transformers", help=via)
    parser.add_argument("--engine", metavar="NAME", help="count the cache as this engine allocates it")


def answer(given: argparse.Namespace) -> Answer:
    """Answer."""
    if given.via is not None:
        from memcalc.files.api import check_via

        check_via(given.via)
    found = source(given.source).by_way_of(given.via)
    if found.is_unread:
        from memcalc.cli.weights import answer_of_header

        return answer_of_header(found, given.engine)
    model = found.model
    growth = cache_growth(model) if given.engine is None else growth_with(model, given.engine)
    return Answer(
        0,
        lambda: (
            fields(model, growth)
            | {"quantization": found.quantization, "defaults": list(found.defaults)}
            | header_fields(found)
            | config_fields(model)
        ),
        lambda: "\n".join(map(escaped, [*summary(model, growth), *told(found), *header_text(found)])),
    )


def told(found: Source) -> list[str]:
    """Return the lines that name its quantisation, and what a name was taken for."""
    stated = found.quantization
    named = [] if stated is None else [f"  {'quantisation':<18} {stated}"]
    return [*named, f"  assumed: {', '.join(found.defaults)}"] if found.defaults else named


def growth_with(model: Model, name: str) -> dict[str, int]:
    """Return what is cached of a token and of a sequence as an engine allocates it, on one device.

    Of a pool of states it is what one more sequence takes of it.

    Raises:
        BadInputError: the engine does not serve such a model, or holds other weights than its files have.

    """
    from memcalc.ledger.formats import FORMATS
    from memcalc.serving.engines import engine
    from memcalc.serving.parallelism import ServingParallelism

    one, alone, form = engine(name), ServingParallelism(), FORMATS["bf16"]
    prepared = one.prepare(model)
    one.check(prepared, alone, lambda _tensor: form)
    options = one.laid_out(prepared, (form, form), alone, one.options({}, None, alone))
    first, two = (
        cache_growth(prepared, one.kept, one.cache(prepared, batch, model.period, options))
        for batch in (1, 2)
    )
    state = "state_bytes_per_sequence"
    return {**first, state: two[state] - first[state]}


def fields(model: Model, growth: dict[str, int]) -> dict[str, object]:
    """Return a model as JSON shows it.

    Parameters
    ----------
    model : Model
        What was read.
    growth : dict
        What is cached of a token and of a sequence.

    Returns
    -------
    dict
        The names and numbers of the answer.

    """
    return {
        "schema": 1,
        "name": model.name,
        "model_type": model.model_type,
        "parameters": model.parameters,
        "active_parameters": model.active_parameters,
        "embedding_parameters": model.embedding_parameters,
        "tied": model.tied,
        "depth": model.depth,
        "cache": growth or dict.fromkeys(CACHE),
        **({"cache_unknown": model.cache_unknown} if model.cache_unknown else {}),
        "extra": {
            "mtp_parameters": model.mtp_parameters,
            "vision_parameters": model.vision_parameters,
            "buffer_values": model.buffer_values,
        },
    }


COMMAND = Command(add, answer)
