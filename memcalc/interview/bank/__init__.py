"""The bank: all question templates, by topic."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from memcalc.errors import unknown_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memcalc.interview.template import Template

__all__ = ["bank", "find"]


@cache
def bank() -> Mapping[str, Template]:
    """Return every template by its id, topic after topic.

    >>> bank()["kv-bytes-a-token"].topic
    'serving'
    """
    from memcalc.interview.bank import hybrids, serving, serving_cache, training, units

    parts = (serving, serving_cache, training, hybrids, units)
    return {template.id: template for part in parts for template in part.TEMPLATES}


def find(name: str) -> Template:
    """Return a template.

    Parameters
    ----------
    name : str
        Its id.

    Raises
    ------
    UnknownNameError
        There is none.

    """
    if name not in bank():
        raise unknown_name("question", bank(), name, "the id of one", "see `memcalc ask --list`")
    return bank()[name]
