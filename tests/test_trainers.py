"""Defaults by what is trained, and those of the trainer that is named: each with its source."""

from __future__ import annotations

import pytest

from memcalc.errors import BadInputError, MemcalcError
from memcalc.options import options_of
from memcalc.training import train
from memcalc.training.defaults import filled
from memcalc.training.options import TrainingOptions
from memcalc.training.trainers import trainer_of, trainers

SMALL = "Qwen/Qwen3-0.6B"
KINDS = ({}, {"lora_rank": 8}, {"lora_rank": 8, "quantize_base": "nf4"})


def test_full_training_and_adapters_have_their_own_defaults():
    """Full training recomputes nothing, adapters everything; both step at once and in mixed precision."""
    full, adapters = (train(SMALL, seq=128, **asked).settings for asked in KINDS[:2])
    assert [one["recompute"] for one in (full, adapters)] == ["none", "full"]
    assert [one["adapter_dtype"] for one in (full, adapters)] == [None, "fp32"]
    for one in full, adapters:
        assert (one["regime"], one["optimizer_step"], one["loss"]) == ("bf16-mixed", "fused", "plain")
    assert train(SMALL, seq=128, optimizer="sgd").settings["optimizer_step"] == "foreach"


@pytest.mark.parametrize("asked", KINDS, ids=str)
def test_what_is_stated_stays(asked):
    stated = {"recompute": "selective", "regime": "amp", "micro_batch": 3, "attention": "eager"}
    for like in (None, *trainers()):
        given = TrainingOptions(seq=128, like=like, **asked, **stated)
        assert {name: getattr(filled(given), name) for name in stated} == stated
        assert given.recompute == "selective"


def test_every_fact_names_an_option_and_its_source():
    known = {option.name: option for option in options_of(TrainingOptions)}
    for trainer in trainers().values():
        assert trainer.source.startswith("https://github.com/")
        assert trainer.version in trainer.source
        for fact in trainer.facts:
            kind = known[fact.option].kind
            assert fact.value in kind if isinstance(kind, tuple) else isinstance(fact.value, kind), fact
            assert fact.source, fact


@pytest.mark.parametrize("lacking", ["version", "source", "date"])
def test_a_trainer_without_a_source_does_not_load(lacking):
    whole = {"name": "T", "version": "1", "date": "2026", "source": "https://x", "facts": [{"option": "seq"}]}
    with pytest.raises(BadInputError, match=f"its {lacking}"):
        trainer_of("t", {**whole, lacking: ""})
    with pytest.raises(BadInputError, match="t, seq: expected its value"):
        trainer_of("t", whole)


def test_the_record_offers_what_the_option_offers():
    (like,) = (option for option in options_of(TrainingOptions) if option.name == "like")
    assert like.kind == tuple(trainers())


@pytest.mark.parametrize("asked", KINDS, ids=str)
@pytest.mark.parametrize("like", trainers())
def test_a_trainer_s_plan_is_the_plan_with_its_options(like, asked):
    """The same bytes as with each of its defaults stated, and every one that is on is listed."""
    own = train(SMALL, seq=128, like=like, **asked)
    facts = trainers()[like].defaults(own.plan.asked)
    stated = train(SMALL, seq=128, **asked, **{name: fact.value for name, fact in facts.items()})
    assert own.allocated_bytes == stated.allocated_bytes
    assert own.device.moments == stated.device.moments
    assert own.plan.defaults[0] == f"as {trainers()[like].called} has it"
    for name, fact in facts.items():
        listed = f"{name.replace('_', ' ')} {fact.value}" in own.plan.defaults
        assert listed == (fact.value is not False)


def test_trainers_differ():
    """Eight sequences in 32-bit weights, or one in 16 bits."""
    sizes = {like: train(SMALL, seq=1024, like=like).allocated_bytes for like in trainers()}
    assert len(set(sizes.values())) >= 3
    assert sizes["trl"] > sizes["axolotl"]


def test_sharded_weights_have_their_copy_in_32_bits():
    for like in trainers():
        assert train(SMALL, seq=128, like=like, world=2, shard=2).settings["regime"] == "bf16-mixed"


def test_a_trainer_that_is_not_known_is_refused():
    with pytest.raises(MemcalcError, match="--like: expected one of trl, axolotl, llama-factory, deepspeed"):
        train(SMALL, seq=128, like="nothing")


@pytest.mark.parametrize(("like", "width"), [("trl", 4), ("axolotl", 4), (None, 2)])
def test_held_logits_are_as_wide_as_what_hands_them_on(like, width):
    """Under autocast accelerate copies them to 32 bits (convert_outputs_to_fp32); a plain loop does not."""
    asked = {
        "seq": 128,
        "regime": "amp",
        "like": like,
        "micro_batch": 1,
        "loss": "plain",
        "implementation": "transformers",
    }
    step = train(SMALL, **asked, hold_logits=True)
    held = next(line for line in step.device.lines if line.name == "held by the caller")
    assert held.bytes == width * 128 * step.plan.model.logits_width
    narrow = train(SMALL, **{**asked, "regime": "pure-bf16"}, hold_logits=True)
    assert (
        next(line for line in narrow.device.lines if line.name == "held by the caller").bytes
        == 2 * 128 * 151936
    )
