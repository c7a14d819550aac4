"""Checkpoints to the byte: published sizes, and sizes that others derived under stated assumptions."""

from __future__ import annotations

import json

import pytest

from memcalc.evidence.published import CHECKS, checkpoint, checkpoints
from memcalc.evidence.records import entry, open_record
from memcalc.files.readers import READERS
from memcalc.ledger.formats import FORMATS, format_named, tensor_bytes

ROWS = {row.id: row for row in checkpoints()}
READ = [name for name, row in ROWS.items() if not row.unread]
PUBLISHED = [name for name in READ if ROWS[name].total_bytes is not None]
PIECES = ("codes", "scales", "zero points", "group index", "not quantised")

# Codes, scales, zero points, group index and what is not quantised, in bytes: derived from the shapes by hand
# and without memcalc, 2026-11, under the assumptions that the records state.
DERIVED = {
    "Qwen/Qwen3-32B-FP8": (31_205_621_760, 3_809_280, 0, 0, 3_113_003_008),
    "Qwen/Qwen3-8B-FP8": (6_945_767_424, 847_872, 0, 0, 2_489_935_872),
    "Qwen/Qwen3-30B-A3B-FP8": (29_896_998_912, 3_649_536, 0, 0, 1_270_247_424),
    "Qwen/Qwen3-235B-A22B-FP8": (233_798_893_568, 28_539_904, 0, 0, 2_589_481_984),
    "deepseek-ai/DeepSeek-V3": (669_065_609_216, 163_352_928, 0, 0, 3_921_590_272),
    "deepseek-ai/DeepSeek-V3.2": (669_889_134_592, 163_553_984, 0, 0, 3_977_589_248),
    "zai-org/GLM-5-FP8": (741_873_549_312, 181_128_960, 0, 0, 4_075_299_840),
    "Qwen/Qwen2.5-72B-Instruct-GPTQ-Int4": (
        *(35_232_153_600, 1_101_004_800, 275_251_200, 25_231_360, 4_987_109_376),
    ),
    "Qwen2.5-72B in GPTQ-Int4, not padded": (
        *(35_106_324_480, 1_097_072_640, 274_268_160, 25_190_400, 4_987_109_376),
    ),
    "Qwen/Qwen2.5-72B-Instruct-AWQ": (35_232_153_600, 1_101_004_800, 275_251_200, 0, 4_987_109_376),
    "Qwen/Qwen3-32B-AWQ": (15_602_810_880, 487_587_840, 121_896_960, 0, 3_113_003_008),
    "Qwen/Qwen3-8B-AWQ": (3_472_883_712, 108_527_616, 27_131_904, 0, 2_489_935_872),
    "Qwen/Qwen3-30B-A3B-GPTQ-Int4": (
        *(14_948_499_456, 467_140_608, 116_785_152, 121_503_744, 1_270_247_424),
    ),
    "Qwen/Qwen3-235B-A22B-GPTQ-Int4": (
        *(116_899_446_784, 3_653_107_712, 913_276_928, 475_889_664, 2_589_481_984),
    ),
    "moonshotai/Kimi-K2.5": (507_343_011_840, 63_417_876_480, 0, 0, 23_444_371_456),
    "openai/gpt-oss-120b": (57_330_892_800, 3_583_180_800, 0, 0, 4_334_742_144),
    "openai/gpt-oss-20b": (9_555_148_800, 597_196_800, 0, 0, 3_608_919_168),
}


@pytest.mark.parametrize("name", DERIVED)
def test_equals_what_others_derived_piece_by_piece(name):
    found = ROWS[name].pieces
    assert tuple(found.get(piece, 0) for piece in PIECES) == DERIVED[name]
    assert ROWS[name].bytes == sum(DERIVED[name])


@pytest.mark.parametrize("name", PUBLISHED)
def test_equals_what_is_published(name):
    """To the byte, with the tensors that a file holds beside the parameters."""
    assert ROWS[name].bytes == ROWS[name].total_bytes


def test_every_row_is_held():
    """By a published figure or by a second derivation; what cannot be read is no more than this."""
    assert set(PUBLISHED) | set(DERIVED) == set(READ)
    assert len(PUBLISHED) == 18


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.unread])
def test_what_is_said_to_have_no_reader_has_none(name):
    """A row that can be read by now is compared, not excused."""
    said, _, kind = ROWS[name].unread.partition(" (")[0].rpartition(" ")
    assert said == "no reader for model_type"
    assert kind not in READERS


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.unread])
def test_what_cannot_be_read_is_refused(name):
    """Never counted as nothing."""
    with pytest.raises(LookupError, match="no reader"):
        _ = ROWS[name].bytes


@pytest.mark.parametrize("name", sorted(set(READ) - set(PUBLISHED)))
def test_what_is_assumed_is_said(name):
    """Rows without a published figure say what of their layout was not seen."""
    assert ROWS[name].assumed


def test_a_width_of_scales_that_no_published_figure_decides_is_marked():
    rows = [ROWS[name] for name in READ if ROWS[name].scale_bits is not None]
    undecided = [row for row in rows if row.total_bytes is None]
    assert (len(undecided), len(rows)) == (3, 4)
    assert all("unverified" in row.assumed[0] for row in undecided)


def test_the_published_figure_decides_the_width_of_scales():
    """With fp32 scales Qwen3-32B-FP8 would be 3,809,280 bytes larger than the Hub's counts say."""
    row = ROWS["Qwen/Qwen3-32B-FP8"]
    assert row._replace(scale_bits=32).bytes - row.total_bytes == 3_809_280
    in_16_bits = sum(row.pieces[piece] for piece in ("scales", "not quantised")) // 2
    assert in_16_bits == 1_558_406_144
    assert row.pieces["codes"] == 31_205_621_760


def test_what_a_file_holds_beside_the_parameters():
    """Without the rotary frequencies openPangu's file is 34 x 64 x 4 bytes short."""
    row = ROWS["openPangu-Embedded-7B"]
    assert row.total_bytes - row._replace(extra=()).bytes == 34 * 64 * 4 == 8704
    ((tensor, form),) = [pair for pair in row.tensors() if pair[0].kind == "buffer"]
    assert tensor_bytes(tensor, form) == 8704


def test_a_head_that_is_stored_although_it_is_tied_is_a_tensor_of_the_file():
    """Without it Falcon 180B would be 2 x 65,024 x 14,848 bytes short."""
    row = ROWS["tiiuae/falcon-180B-chat"]
    assert row.total_bytes - row._replace(extra=()).bytes == 2 * 65_024 * 14_848


def test_what_sees_is_in_the_published_figure():
    """Without its vision tower medgemma would be 0.86 GB smaller."""
    row = ROWS["google/medgemma-27b-it (Gemma-3-27B)"]
    assert row.bytes - row._replace(vision=False).bytes == 2 * (27_432_406_640 - 27_009_346_304)


@pytest.mark.parametrize(
    "broken",
    [
        {"source": "somewhere"},
        {"date": ""},
        {"config": {}},
        {"model": "Qwen/Qwen3-8B", "unread": "why"},
        {"total_bytes": 1},
        {"published_as": "a page"},
    ],
    ids=str,
)
def test_a_row_without_a_source_does_not_load(broken):
    good = {"id": "x", "source": "https://example.org/x", "date": "2026-11", "model": "Qwen/Qwen3-8B"}
    assert entry(checkpoint, good, CHECKS).bytes > 0
    if broken == {"config": {}}:
        good.pop("model")
    with pytest.raises(TypeError, match="needs its"):
        entry(checkpoint, good | broken, CHECKS)


def test_the_record_is_one_row_a_line():
    with open_record("checkpoints.json") as file:
        lines = file.read().splitlines()
    assert len(lines) == len(ROWS) + 2
    assert [json.loads(line.rstrip(","))["id"] for line in lines[1:-1]] == list(ROWS)


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("bf16", 16),
        ("fp8", 8),
        ("fp8-channel", 8),
        ("gptq-int3-g128", 3 + 19 / 128),
        ("int4-gc", 4),
        ("nf4", 4.5),
        ("nf4-dq", 4.126953125),
        ("nvfp4", 4.5),
        ("mlx-4bit-g64", 4.5),
    ],
)
def test_the_limit_is_what_large_matrices_approach(name, limit):
    """From above, and to a thousandth of a bit at 2^20 x 2^20."""
    form = format_named(name)
    assert form.limit == limit
    assert 0 <= 8 * form.bytes(2**20, 2**20) / 2**40 - form.limit < 0.001


def test_formats_with_even_blocks_reach_their_limit():
    assert 8 * FORMATS["fp8-block128"].bytes(128, 128) == FORMATS["fp8-block128"].limit * 128**2
