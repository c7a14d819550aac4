"""Tables: amounts in a unit that the header states, numbers to the right."""

from __future__ import annotations

import pytest

from memcalc.data.units import Amount
from memcalc.show import table
from memcalc.show.tables import column

LARGE, SMALL = Amount(65_524_246_528), Amount(262_144)


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("weights", [LARGE, SMALL], ("weights, GiB", "---:", ("61.02", "0.00"))),
        ("weights", [LARGE, None], ("weights, GiB", "---:", ("61.02", "–"))),
        ("a token", [SMALL, Amount(0)], ("a token, bytes", "---:", ("262,144", "0"))),
        ("nothing", [Amount(0)], ("nothing, GiB", "---:", ("0.00",))),
        ("GiB", [LARGE], ("GiB", "---:", ("61.02",))),
        ("weights, GiB", [LARGE], ("weights, GiB", "---:", ("61.02",))),
        ("weights, MiB", [SMALL], ("weights, MiB", "---:", ("0.25",))),
        ("weights, GB", [LARGE], ("weights, GB", "---:", ("65.52",))),
        ("weights, bytes", [LARGE], ("weights, bytes", "---:", ("65,524,246,528",))),
        ("one GiB more", [LARGE], ("one GiB more, GiB", "---:", ("61.02",))),
        ("whole", [65_524_246_528], ("whole", "---:", ("65,524,246,528",))),
        ("cache", [LARGE, 0], ("cache, GiB", "---:", ("61.02", "0.00"))),
        ("fits, weights", [LARGE, False], ("fits, weights", ":---", ("61.02 GiB", "no"))),
        ("left", [-LARGE, Amount(-52_428_800)], ("left, GiB", "---:", ("-61.02", "-0.05"))),
        ("both", [LARGE, 3], ("both", "---:", ("61.02 GiB", "3"))),
        ("mixed", [LARGE, "none"], ("mixed", ":---", ("61.02 GiB", "none"))),
        ("fits", [True, False], ("fits", ":---", ("yes", "no"))),
    ],
)
def test_a_column(name, values, expected):
    assert tuple(column(name, values)) == expected


def test_a_table_shows_amounts_without_being_told():
    shown = repr(table([{"what": "weights", "size": LARGE}, {"what": "one token", "size": SMALL}]))
    assert shown.splitlines() == [
        "| what | size, GiB |",
        "| :--- | ---: |",
        "| weights | 61.02 |",
        "| one token | 0.00 |",
    ]


def test_a_table_that_states_its_unit_once_does_not_repeat_it():
    shown = repr(table([{"GiB": "Qwen3-32B", "weights": LARGE, "bytes": LARGE, "fits": True}]))
    assert shown.splitlines()[0] == "| sizes in GiB | weights | bytes | fits |"
    assert shown.splitlines()[2] == "| Qwen3-32B | 61.02 | 65,524,246,528 | yes |"
    assert repr(table([{"bytes": "file", "size": LARGE}])).splitlines()[0] == "| bytes | size, GiB |"


def test_a_table_has_the_columns_of_all_rows_and_empty_cells_where_a_row_has_no_value():
    rows = [
        {"precision": "bf16", "weights": LARGE},
        {"precision": "mixed", "master": 2 * LARGE, "note": "kept"},
    ]
    assert repr(table(rows)).splitlines() == [
        "| precision | weights, GiB | master, GiB | note |",
        "| :--- | ---: | ---: | :--- |",
        "| bf16 | 61.02 |  |  |",
        "| mixed |  | 122.05 | kept |",
    ]
