"""`memcalc measure train` on a machine without a GPU: fake tensors hold what is predicted, to the byte."""

from __future__ import annotations

import json

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import AutoConfig, AutoModelForCausalLM

from memcalc.__main__ import main
from memcalc.errors import BadInputError
from memcalc.evidence.measure.measurement import measure, ran
from memcalc.evidence.measure.step import DeviceMemory, Ledger, Run, build, real_step
from memcalc.files.catalogue import record
from memcalc.files.source import Source
from memcalc.training import train

SMALL = "Qwen/Qwen3-0.6B"
FIELDS = record(SMALL).fields | {"num_hidden_layers": 3}
SHALLOW = Source("Qwen3-0.6B, 3 layers", FIELDS, "the published config, cut")
PLANS = {
    "all weights": {"regime": "pure-bf16", "seq": 512},
    "under autocast": {"regime": "amp", "seq": 256, "micro_batch": 2, "optimizer_step": "foreach"},
    "adapters": {"lora_rank": 8, "seq": 512},
    "adapters without recomputation": {"lora_rank": 8, "seq": 512, "recompute": "none", "autocast": False},
    "32 bits, eager": {"regime": "fp32", "seq": 256, "attention": "eager", "optimizer": "sgd-momentum"},
}


@pytest.mark.parametrize("name", PLANS)
def test_a_step_on_fake_tensors_holds_what_is_predicted(name):
    found = measure(train(SHALLOW, **PLANS[name]))
    assert found.is_fake
    frozen = "lora_rank" in PLANS[name] and found.step.plan.options.recompute == "none"
    compared = [at for at in found.step.moments if not (frozen and at == "backward_end")]
    assert [(one.at, one.difference) for one in found.moments] == [(at, 0) for at in compared]


def test_the_command_says_so(capsys, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(FIELDS), encoding="utf-8")
    words = ["measure", "train", str(tmp_path), "--seq", "256", "--regime", "pure-bf16", "--json"]
    assert main(words) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["fake"]
    assert said["versions"]["torch"] == torch.__version__
    assert [one["difference"] for one in said["moments"]] == [0] * 5
    assert said["allocated_bytes"] == max(one["measured_bytes"] for one in said["moments"])


def test_no_rows_are_written_of_fake_tensors(capsys, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(FIELDS), encoding="utf-8")
    words = ["measure", "train", str(tmp_path), "--seq", "64", "--regime", "amp"]
    words += ["--write", str(tmp_path / "rows")]
    assert main(words) == 2
    assert "--write: expected a step that was taken on a GPU" in capsys.readouterr().err
    assert not (tmp_path / "rows").exists()


class Accelerator:
    """Says of a device's allocator what a ledger of real tensors on the CPU says."""

    def __init__(self):
        self.ledger = Ledger()

    def synchronize(self):
        """Nothing runs behind."""

    def memory_allocated(self):
        return self.ledger.held

    def max_memory_allocated(self):
        return self.ledger.peak

    def memory_reserved(self):
        return 2 * self.ledger.peak

    def reset_peak_memory_stats(self):
        self.ledger.peak = self.ledger.held


def an_index():
    """A gradient as wide as what was picked from, for a few rows."""
    x = torch.zeros(4096, 64, requires_grad=True)
    return x, x[torch.arange(16)].sum()


def two_gradients():
    """Two gradients of one tensor, which are added up."""
    x = torch.zeros(4096, 64, requires_grad=True)
    whole = x * 2
    return x, (whole * 3).sum() + (whole * 4).sum()


def as_real_tensors_have_it(made):
    """Bytes of all that the profiler of torch sees backwards, where there is no mode and no subclass."""
    x, end = made()
    cpu = torch.profiler.ProfilerActivity.CPU
    with torch.profiler.profile(activities=[cpu], profile_memory=True) as seen:
        end.backward()
    return sum(max(one.self_cpu_memory_usage, 0) for one in seen.events()) / x.nbytes


def as_fake_tensors_have_it(made):
    """Bytes of all that operators return backwards."""
    with FakeTensorMode(), All() as ledger:
        x, end = made()
        before = ledger.taken
        end.backward()
    return (ledger.taken - before) / x.nbytes


class All(Ledger):
    """Counts what was ever taken."""

    taken = 0

    def take(self, tensor):
        before = self.held
        super().take(tensor)
        self.taken += self.held - before


@pytest.mark.parametrize("made", [an_index, two_gradients])
def test_fake_tensors_take_one_more_where_real_ones_write_in_place(made):
    """What the handbook says of both: index_backward, and sums of gradients that nobody else holds."""
    real, fake = as_real_tensors_have_it(made), as_fake_tensors_have_it(made)
    assert fake - real == pytest.approx(1, abs=0.01)


def test_a_step_with_numbers_is_marked_as_one_without():
    """The way of a GPU, on real tensors of a small model: what the allocator says stands at each moment."""
    fields = FIELDS | {"hidden_size": 64, "intermediate_size": 96, "vocab_size": 307}
    run = Run(attention="eager", weights="fp32", optimizer="adamw foreach", sequence=16)
    config = AutoConfig.for_model(**fields)
    model = build(config, AutoModelForCausalLM, run, "cpu")
    accelerator = Accelerator()
    meter = DeviceMemory(accelerator)
    for item in (*model.parameters(), *model.buffers()):
        accelerator.ledger.take(item)
    with accelerator.ledger:
        marks = real_step(model, run, meter)
    again = real_step(build(config, AutoModelForCausalLM, run, "cpu"), run, Ledger())
    assert list(marks) == list(again)
    grown = {at: marks[at]["peak"] - marks["built"]["held"] for at in ("forward", "step")}
    assert grown == {at: again[at]["peak"] - again["built"]["held"] for at in grown}
    assert all(one["reserved"] >= one["held"] for one in marks.values())


def test_a_type_without_a_class_for_text_is_refused_in_one_line():
    """Qwen3-VL has one for images and text alone."""
    with pytest.raises(BadInputError, match=r"^SOURCE: expected a type that AutoModelForCausalLM"):
        measure(train("Qwen/Qwen3-VL-2B-Instruct", seq=16, regime="pure-bf16"))


MIXTURE = {"model_type": "qwen3_moe", "hidden_size": 64, "intermediate_size": 64, "moe_intermediate_size": 32}
MIXTURE |= {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16}
MIXTURE |= {"num_experts": 4, "num_experts_per_tok": 2, "vocab_size": 128, "pad_token_id": 0}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"hidden_act": "banana"}, "KeyError: .*banana"),
        (
            {"moe_intermediate_size": 36},
            "RuntimeError: Expected mat_a stride .* multiple of 16 bytes, got 36",
        ),
        ({"hidden_size": 68}, "RuntimeError: Expected mat_a stride .* multiple of 16 bytes, got 68"),
    ],
)
def test_a_step_that_does_not_run_is_one_line(changed, said, capfd):
    """Whatever is raised while the model is built or runs; torch's log of fake tensors stays out of it."""
    run = {"sequence": 16}
    refused = rf"^the model of transformers .*: expected a step that runs, given .{said}"
    with pytest.raises(BadInputError, match=refused):
        ran(AutoConfig.for_model(**MIXTURE | changed), AutoModelForCausalLM, run, torch)
    assert not capfd.readouterr().err
    if "hidden_act" not in changed:
        run["experts"] = "batched_mm"
        assert ran(AutoConfig.for_model(**MIXTURE | changed), AutoModelForCausalLM, run, torch)


def test_a_class_that_chooses_how_to_attend_when_it_is_built_is_measured_eager():
    """A kernel that is stated afterwards changes nothing: eager was measured for flash."""
    fields = {
        "model_type": "gptj",
        "n_embd": 64,
        "n_layer": 2,
        "n_head": 4,
        "rotary_dim": 8,
        "vocab_size": 128,
    }
    small, asked = Source("GPT-J, small", fields, "made up"), {"seq": 64, "regime": "pure-bf16"}
    with pytest.raises(BadInputError, match=r"^--attention: expected eager to measure gptj, given"):
        measure(train(small, attention="flash", **asked))
    assert "MiB" in str(measure(train(small, attention="eager", **asked)))
