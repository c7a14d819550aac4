"""Records behave as frozen dataclasses do, though none of their methods is compiled."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError, dataclass, field, fields, replace
from inspect import signature

import pytest

from memcalc.data.record import Record, options, record


@record
class Ours(Record):
    rows: int
    name: str = "a"


@record
class OursWider(Ours):
    more: int = 0


@record
class Nothing(Record):
    pass


@options
class Asked(Record):
    seq: int = field(metadata={"unit": "tokens"})
    batch: int = 1


@dataclass(frozen=True)
class Theirs:
    rows: int
    name: str = "a"


@dataclass(frozen=True)
class TheirsWider(Theirs):
    more: int = 0


BOTH = [(Ours, Theirs), (OursWider, TheirsWider)]


@pytest.mark.parametrize(("ours", "theirs"), BOTH)
@pytest.mark.parametrize("given", [{"rows": 1}, {"rows": 1, "name": "b"}])
def test_fields_are_those_of_a_dataclass(ours, theirs, given):
    mine, other = ours(**given), theirs(**given)
    assert [one.name for one in fields(mine)] == [one.name for one in fields(other)]
    assert vars(mine) == vars(other)
    assert ours(*given.values()) == mine
    assert hash(ours(*given.values())) == hash(mine)
    assert replace(mine, rows=2) == ours(**given | {"rows": 2}) != mine
    assert repr(mine) == repr(other).replace("Theirs", "Ours")
    assert str(signature(ours)) == str(signature(theirs)).removesuffix(" -> None")


@pytest.mark.parametrize(
    "values", [((), {}), ((1, "a", 0, 0), {}), ((1,), {"rows": 2}), ((1,), {"columns": 2})]
)
@pytest.mark.parametrize(("ours", "theirs"), BOTH)
def test_what_a_dataclass_is_not_made_of_makes_no_record(ours, theirs, values):
    for one in (ours, theirs):
        with pytest.raises(TypeError):
            one(*values[0], **values[1])


def test_a_record_does_not_change():
    one = Ours(1)
    for change in (
        lambda: setattr(one, "rows", 2),
        lambda: setattr(one, "more", 2),
        lambda: delattr(one, "rows"),
    ):
        with pytest.raises(FrozenInstanceError):
            change()
    assert one == Ours(1)


def test_records_of_other_classes_differ():
    assert Ours(1) != OursWider(1)
    assert Ours(1) != Theirs(1)
    assert Nothing() == Nothing()
    assert len({Ours(1), Ours(1), Ours(2), Nothing(), Nothing()}) == 3


def test_a_record_survives_pickling():
    assert pickle.loads(pickle.dumps(OursWider(1, more=3))) == OursWider(1, more=3)


def test_options_are_given_by_name():
    assert str(signature(Asked)) == "(*, seq: 'int', batch: 'int' = 1)"
    assert Asked(seq=3).batch == 1
    with pytest.raises(TypeError, match="all by name"):
        Asked(3)
    assert fields(Asked)[0].metadata["unit"] == "tokens"
