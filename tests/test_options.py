"""Options declared once: what a dataclass says is what is checked, offered and documented."""

# annotations are not postponed here: options are read from them
import inspect
from dataclasses import dataclass, field
from typing import Literal

import pytest

from memcalc.errors import BadInputError, UnknownNameError
from memcalc.options import about, check, options_of, takes_options


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Options of this test."""

    seq: int = field(metadata=about("tokens of a sequence", unit="tokens", at_least=1))
    shard: Literal[0, 1, "fsdp"] = field(default=0, metadata=about("what ranks share"))
    dropout: float | None = field(default=None, metadata=about("share that is dropped", otherwise="0"))
    names: tuple[str, ...] = field(default=(), metadata=about("modules"))
    sizes: tuple[int, ...] | None = field(default=None, metadata=about("layers of each stage"))
    keep: bool = field(default=False, metadata=about("whether gradients live on"))
    engine: str = field(default="vllm", metadata=about("which engine"))


GOOD = [
    *({"shard": 1}, {"shard": "fsdp"}, {"dropout": 0.1}, {"dropout": 1}, {"dropout": None}),
    *({"names": ("a",)}, {"sizes": (1, 2)}, {"keep": True}, {"engine": "x"}),
]
MOST = "at most 9007199254740992 (2^53)"
BAD = [
    ({"seq": 0}, "--seq: expected a whole number >= 1, given 0; tokens of a sequence"),
    ({"seq": True}, "--seq: expected a whole number >= 1, given True; tokens of a sequence"),
    ({"seq": 4.0}, "--seq: expected a whole number >= 1, given 4.0; tokens of a sequence"),
    ({"seq": None}, "--seq: expected a whole number >= 1, given null; tokens of a sequence"),
    ({"dropout": "0.1"}, "--dropout: expected a number, given '0.1'; share that is dropped"),
    ({"names": "a,b"}, "--names: expected a tuple of words, given 'a,b'; modules"),
    ({"sizes": (1, "2")}, "--sizes: expected a tuple of whole numbers, given (1, '2'); layers of each stage"),
    ({"seq": 10**400}, f"--seq: expected {MOST}, given a whole number of 1329 bits; tokens of a sequence"),
    ({"sizes": (1, 2**53 + 1)}, f"--sizes: expected {MOST}, given 9007199254740993; layers of each stage"),
    ({"keep": "yes"}, "--keep: expected True or False, given 'yes'; whether gradients live on"),
    ({"engine": 1}, "--engine: expected a word, given 1; which engine"),
]


@pytest.mark.parametrize("given", GOOD)
def test_what_an_option_may_be_passes(given):
    check(Asked(seq=1, **given))


@pytest.mark.parametrize(("given", "line"), BAD)
def test_what_it_may_not_be_is_refused_in_one_line(given, line):
    with pytest.raises(BadInputError) as refused:
        check(Asked(**{"seq": 1, **given}))
    assert str(refused.value) == line


@pytest.mark.parametrize("shard", [True, 2, "0", None])
def test_a_choice_is_one_of_its_values_and_of_their_type(shard):
    """`True == 1` in Python; it is no stage of ZeRO."""
    with pytest.raises(UnknownNameError, match="--shard: expected one of 0, 1, fsdp"):
        check(Asked(seq=1, shard=shard))


def test_a_near_miss_is_answered_with_a_question():
    with pytest.raises(UnknownNameError, match="did you mean fsdp"):
        check(Asked(seq=1, shard="fdsp"))


@takes_options(Asked)
def answer(source: str, asked: Asked) -> tuple[str, int]:
    """Answer.

    Parameters
    ----------
    source : str
        What it is about.
    {options}

    """
    return source, asked.seq


def test_a_function_takes_the_options_as_keywords():
    assert answer("model", seq=4) == ("model", 4)
    assert list(inspect.signature(answer).parameters) == ["source", *(one.name for one in options_of(Asked))]


def test_its_docstring_has_every_option_with_type_unit_and_default():
    assert "seq : int\n        tokens of a sequence, in tokens." in answer.__doc__
    assert "shard : {0, 1, 'fsdp'}, default 0\n        what ranks share." in answer.__doc__
    assert "dropout : float, default 0\n" in answer.__doc__


def test_an_unknown_option_is_refused_with_a_guess():
    with pytest.raises(TypeError, match=r"answer\(\) has no option 'shards'; did you mean shard\?"):
        answer("model", seq=4, shards=1)
