"""Options declared once: what a dataclass says is what is checked, offered and documented."""

# annotations are not postponed here: options are read from them
import inspect
import json
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pytest

import memcalc
from memcalc.__main__ import main
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
    ({"seq": 0}, "--seq: expected a whole number >= 1, as in 8192 or 8k, given 0; tokens of a sequence"),
    (
        {"seq": True},
        "--seq: expected a whole number >= 1, as in 8192 or 8k, given True; tokens of a sequence",
    ),
    ({"seq": 4.0}, "--seq: expected a whole number >= 1, as in 8192 or 8k, given 4.0; tokens of a sequence"),
    (
        {"seq": None},
        "--seq: expected a whole number >= 1, as in 8192 or 8k, given null; tokens of a sequence",
    ),
    ({"dropout": "0.1"}, "--dropout: expected a number, as in 0.9, given '0.1'; share that is dropped"),
    ({"names": "a,b"}, "--names: expected words, as in a,b, given 'a,b'; modules"),
    ({"sizes": (1, "2")}, "--sizes: expected whole numbers, as in 16,15, given '2'; layers of each stage"),
    ({"seq": 10**400}, f"--seq: expected {MOST}, given a whole number of 1329 bits; tokens of a sequence"),
    ({"sizes": (1, 2**53 + 1)}, f"--sizes: expected {MOST}, given 9007199254740993; layers of each stage"),
    (
        {"keep": "yes"},
        "--keep: expected yes or no (in Python True or False), given 'yes'; whether gradients live on",
    ),
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


@pytest.mark.parametrize("name", ["tp", "prompt", "utilization"])
def test_an_array_is_refused_where_no_sweep_runs(name):
    with pytest.raises(BadInputError, match="no sweep runs over this option"):
        memcalc.serve("Qwen/Qwen3-0.6B", context=8, **{name: np.array([1, 2])})


@pytest.mark.parametrize(("given", "same"), [(np.int64(8), 8), (np.array(8), 8), (np.int32(8), 8)])
def test_numpys_scalars_are_numbers(given, same):
    """One of them is one plan, checked like any number and answered in Python's whole numbers."""
    served = memcalc.serve("Qwen/Qwen3-0.6B", context=given, batch=np.int64(2))
    expected = memcalc.serve("Qwen/Qwen3-0.6B", context=same, batch=2)
    assert served.device.total_bytes == expected.device.total_bytes
    assert type(served.plan.context) is int
    assert memcalc.train("Qwen/Qwen3-0.6B", seq=given).allocated_bytes > 0


@pytest.mark.parametrize(
    "option", [{"context": np.int64(-5)}, {"context": np.int64(0)}, {"tp": np.int64(-2)}]
)
def test_numpys_scalars_are_checked_like_numbers(option):
    with pytest.raises(BadInputError, match="expected a whole number >= 1"):
        memcalc.serve("Qwen/Qwen3-0.6B", **{"context": 8, **option})


def test_a_list_or_a_word_stands_for_a_tuple():
    plans = [
        memcalc.train("Qwen/Qwen3-0.6B", seq=64, trainable=given).trainable_parameters
        for given in ("self_attn", ["self_attn"], ("self_attn",))
    ]
    assert plans[0] == plans[1] == plans[2] > 0


@pytest.mark.parametrize("source", [None, b"x", {"model_type": "llama"}, 7])
def test_what_is_no_source_is_refused_in_a_line(source):
    for ask in (memcalc.model, memcalc.source):
        with pytest.raises(BadInputError, match="SOURCE: expected the name or the path"):
            ask(source)
    with pytest.raises(BadInputError, match="SOURCE"):
        memcalc.serve(source, context=8)
    with pytest.raises(BadInputError, match="SOURCE"):
        memcalc.train(source, seq=8)


def test_a_path_is_a_source(root):
    assert memcalc.model(root / "notebooks" / "example_config.json").parameters == 1_720_574_976


def test_devices_that_stay_idle_are_said():
    step = memcalc.train("Qwen/Qwen3-0.6B", seq=64, on="8x h100-80g")
    idle = "7 of 8 devices stay idle: --world says how many are used, as in --world 8 --shard fsdp"
    assert idle in step.assumed
    assert "world 1: one of 8 devices is used" in step.plan.defaults


def test_a_moment_that_is_none_is_refused():
    with pytest.raises(UnknownNameError, match="did you mean forward_end"):
        memcalc.train("Qwen/Qwen3-0.6B", seq=64).at("forwardend")


@pytest.mark.parametrize("given", [{"model": None}, {"model": []}, {"world": None}, {"shard": True}])
def test_states_of_nothing_are_refused(given):
    with pytest.raises(BadInputError):
        memcalc.states(given.pop("model", 10), **given)


def test_another_tools_name_is_answered_with_a_keyword():
    """And with what a switch means where it is off."""
    for asked, remedy in (
        ({"enforce_eager": True}, r"did you mean engine_options=\{'enforce_eager': True\}\?"),
        ({"enforce_eager": False}, r"did you mean engine_options=\{'enforce_eager': False\}\?"),
        ({"max_num_seqs": 8}, r"did you mean engine_options=\{'max_num_seqs': \.\.\.\}\?"),
    ):
        with pytest.raises(TypeError, match=remedy):
            memcalc.serve("Qwen/Qwen3-8B", context=1, **asked)
    with pytest.raises(TypeError, match=r"did you mean recompute='none'\?"):
        memcalc.train("Qwen/Qwen3-8B", seq=1, gradient_checkpointing=False)


@pytest.mark.parametrize("engine", ["transformers", "vllm", "sglang"])
def test_stating_what_a_checkpoint_has_changes_nothing_where_it_is_kept(engine):
    """GPT-J is stored in fp32: transformers keeps it, vLLM and SGLang load it in 16 bits."""
    default = memcalc.serve("EleutherAI/gpt-j-6B", context=2048, engine=engine)
    same = "fp32" if engine == "transformers" else "bf16"
    stated = memcalc.serve("EleutherAI/gpt-j-6B", context=2048, engine=engine, weights=same)
    assert default.device.components == stated.device.components
    assert (default.plan.activation.id, default.plan.kv[0].id) == (same, same)
    assert default.device.components["weights"] >= (4 if same == "fp32" else 2) * default.model.parameters


def test_32_bits_that_are_asked_for_are_those_of_activations_and_cache_too():
    """As transformers' dtype=torch.float32 and vLLM's --dtype float32 are those of the whole model."""
    for engine in ("transformers", "vllm"):
        usual, wide = (
            memcalc.serve("Qwen/Qwen3-0.6B", context=2048, engine=engine, weights=form)
            for form in (None, "fp32")
        )
        assert wide.plan.activation.id == wide.plan.kv[0].id == "fp32"
        assert wide.cache_bytes == 2 * usual.cache_bytes


def test_tokens_are_understood_as_answers_print_them(capsys):
    """Of what is no number of tokens, and in other groups, a comma is no part of a number."""
    plain = memcalc.serve("Qwen/Qwen3-0.6B", context=32_768)
    assert memcalc.serve("Qwen/Qwen3-0.6B", context="32,768").cache_bytes == plain.cache_bytes
    assert main(["serve", "Qwen/Qwen3-0.6B", "--context", "32,768", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["plan"]["context"] == 32_768
    for option, text in (("--context", "3,2768"), ("--context", "0,512"), ("--batch", "1,024")):
        words = [] if option == "--context" else ["--context", "8k"]
        assert main(["serve", "Qwen/Qwen3-0.6B", *words, option, text]) == 2
        assert f"{option}: expected a whole number >= 1" in capsys.readouterr().err
