"""Learned positions: one table, whichever file describes the model; never padded, never cut."""

from __future__ import annotations

import json

import pytest

from memcalc.__main__ import main
from memcalc.files.readers import read
from memcalc.formula import derive, lift
from memcalc.ledger.parts import PositionTable

VOCAB, POSITIONS, WIDTH = 50_257, 1024, 768
GPT2 = {"model_type": "gpt2", "n_embd": WIDTH, "n_layer": 12, "n_head": 12, "n_positions": POSITIONS}
MEGATRON = {
    "num-layers": 12,
    "hidden-size": WIDTH,
    "num-attention-heads": 12,
    "vocab-size": VOCAB,
    "max-position-embeddings": POSITIONS,
}
BOTH = pytest.mark.parametrize("fields", [GPT2, MEGATRON], ids=["config.json", "Megatron"])


@BOTH
def test_the_input_embedding_is_that_of_tokens(fields):
    """38,597,376 as transformers' get_input_embeddings() has them; positions are parameters beside it."""
    model = read(fields)
    assert model.embedding_parameters == VOCAB * WIDTH == 38_597_376
    assert model.parameters == 124_439_808


@BOTH
def test_every_rank_holds_all_positions(fields):
    [table] = [tensor for tensor in read(fields).weights() if "embed_positions" in tensor.name]
    assert table.kind == "positions"
    assert table.on_rank(tp=2).stored_shape == (POSITIONS, WIDTH)


def trained(capsys, tmp_path, fields, *options):
    """The parameters of a training plan."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps(fields))
    assert main(["train", str(path), "--seq", "128", "--json", *options]) == 0
    return json.loads(capsys.readouterr().out)["parameters"]


def test_no_rule_pads_positions(capsys, tmp_path):
    """A vocabulary of whole thousands has 51,000 rows; the positions stay 1,024."""
    whole = trained(capsys, tmp_path, GPT2, "--vocab-multiple", "1000")
    assert whole == 124_439_808 + (51_000 - VOCAB) * WIDTH == 125_010_432


def test_megatron_pads_no_positions_either(capsys, tmp_path):
    """Its vocabulary is padded to multiples of 128; 1,000 positions are no such multiple."""
    fields = {**MEGATRON, "max-position-embeddings": 1000, "swiglu": True, "disable-bias-linear": True}
    fields |= {"normalization": "RMSNorm", "untie-embeddings-and-output-weights": True}
    implementation = "--implementation", "megatron"
    whole = trained(capsys, tmp_path, fields, *implementation, "--vocab-multiple", "1000")
    assert whole == read(fields).parameters + 2 * (51_000 - VOCAB) * WIDTH


def test_positions_are_a_letter_of_their_own():
    """GPT-2's formula has P_M positions, and no second vocabulary."""
    lifted = lift(read(GPT2))
    assert lifted.numbers["positions"] == POSITIONS
    assert lifted.numbers["vocab"] == VOCAB
    assert derive(lifted.model.weights()).value(**lifted.numbers) == 124_439_808


def test_a_grid_is_stored_as_a_grid_or_as_one_list():
    square, listed = PositionTable((64, 32), 1152), PositionTable(((64, 32),), 1152)
    shapes = [next(table.weights()).stored_shape for table in (square, listed)]
    assert shapes == [(64, 32, 1152), (2048, 1152)]
