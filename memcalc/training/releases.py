"""Releases of transformers: since when its loss, and its Trainer's step, are what they are."""

from __future__ import annotations

from memcalc.errors import BadInputError

__all__ = [
    "ASKS_SINCE",
    "FUSED_SINCE",
    "NEWEST",
    "PADDED_SINCE",
    "REENTRANT_BEFORE",
    "release_number",
    "words_of",
]

OLDEST, NEWEST = (4, 38), (5, 23)
LAST_OF_4 = (4, 57)  # after which came 5.0
PADDED_SINCE = (
    4,
    49,
)  # labels are padded, and logits no longer cut (loss/loss_utils.py of 4.48.0 and 4.49.0)
FUSED_SINCE = (4, 54)  # adamw_torch_fused with torch 2.8 (training_args.py of 4.53.3 and 4.54.1)

ASKS_SINCE = (5, 0)  # checkpoints ask frozen embedded tokens for a gradient (modeling_utils.py)
REENTRANT_BEFORE = (5, 0)  # use_reentrant of checkpoints where nothing is said (modeling_utils.py)


def release_number(text: str) -> tuple[int, int]:
    """Return the first two numbers of a release of transformers.

    Parameters
    ----------
    text : str
        As in ``4.45`` or ``4.45.2``.

    Raises
    ------
    BadInputError
        It is none, or not among those that were read.

    Examples
    --------
    >>> release_number("4.45.2"), release_number("v5.3")
    ((4, 45), (5, 3))

    """
    first, _, rest = text.removeprefix("v").partition(".")
    second = rest.partition(".")[0]
    if first.isascii() and second.isascii() and first.isdigit() and second.isdigit():
        number = int(first[:4]), int(second[:4])
        if OLDEST <= number <= LAST_OF_4 or (5, 0) <= number <= NEWEST:
            return number
        if number > NEWEST:
            expected = f"{words_of(NEWEST)} or older, the newest release of transformers that was read"
            raise BadInputError("--engine-version", expected, text, "leave it open: the newest is taken then")
    expected = (
        f"a release of transformers from {words_of(OLDEST)} to {words_of(LAST_OF_4)}, "
        f"or from 5.0 to {words_of(NEWEST)}"
    )
    raise BadInputError("--engine-version", expected, text, "leave it open for the newest that is modelled")


def words_of(number: tuple[int, int]) -> str:
    """Return a release as it is written."""
    return ".".join(map(str, number))
