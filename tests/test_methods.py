"""Preferences and rewards: to the byte against autograd on fake tensors, and phase by phase."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

import memcalc
from memcalc.__main__ import main
from memcalc.cli.schema import schema
from memcalc.errors import RefusalError
from memcalc.training.methods.forward import forward_pass
from memcalc.training.methods.losses import logits_of_loss
from memcalc.training.methods.setup import policy_plan, setup_of
from memcalc.training.options import TrainingOptions
from memcalc.training.plan import resolve

if TYPE_CHECKING:
    from memcalc.training.methods.estimate import MethodEstimate

RECORD = json.loads((Path(__file__).parent / "recorded" / "methods.json").read_text(encoding="utf-8"))
REGIMES = {("bf16", False): "pure-bf16", ("fp32", False): "fp32", ("fp32", True): "amp"}
SCALARS = 8  # what a cross-entropy holds; the sum that stands for an objective here holds less


def options_of(step: dict[str, Any]) -> dict[str, Any]:
    """Return the options that a recorded update was run with."""
    run, update = step["run"], step["update"]
    adapted = run.get("trained", "").startswith("lora")
    wide = run.get("weights", "bf16"), run.get("autocast", False)
    more = {"lora_rank": 8, "adapter_dtype": "fp32"} if adapted else {}
    return {
        "seq": run.get("sequence", 64),
        "micro_batch": run.get("batch", 1),
        "regime": REGIMES[wide],
        "autocast": run.get("autocast", False),
        "recompute": "full" if run.get("recompute") else "none",
        "optimizer": "sgd",
        "optimizer_step": "for-loop",
        "attention": "flash",
        "method": update["method"],
        "reference": update["reference"],
        "completion_tokens": update["completion"],
        **more,
    }


def asked(step: dict[str, Any], folder: Path) -> Any:
    """Return the estimate of a recorded update."""
    (folder / "config.json").write_text(json.dumps(step["config"]), encoding="utf-8")
    return memcalc.train(folder, **options_of(step))


def without_libraries(estimate: Any, moment: str) -> int:
    """Return the bytes of policy and reference at a moment, without the libraries' workspaces."""
    beside = ("library workspaces", "critic", "reward model")
    lines = (line for line in estimate.stage.device.lines if moment in line.moments)
    return sum(line.bytes for line in lines if not line.name.startswith(beside))


def name_of(step: dict[str, Any]) -> str:
    """Return a name for a recorded update."""
    run, update = step["run"], step["update"]
    words = (*(str(value) for value in run.values()), *(str(value) for value in update.values()))
    return f"{step['config']['model_type']} {' '.join(words)}"


def is_refused(step: dict[str, Any]) -> bool:
    """Say whether an update is one of KTO with a single answer, which TRL refuses, too."""
    return step["update"]["method"] == "kto" and step["run"].get("batch", 1) == 1


@pytest.mark.parametrize("step", [one for one in RECORD["steps"] if is_refused(one)], ids=name_of)
def test_kto_needs_two_answers(step: dict[str, Any], tmp_path: Path) -> None:
    """With one there is nothing to compare it with."""
    with pytest.raises(RefusalError, match="at least 2"):
        asked(step, tmp_path)


@pytest.mark.parametrize("step", [one for one in RECORD["steps"] if not is_refused(one)], ids=name_of)
def test_an_update_is_what_autograd_holds(step: dict[str, Any], tmp_path: Path) -> None:
    """Each moment: what is held once the loss is there, and the peaks of the way back."""
    method, said = step["update"]["method"], step["moments"]
    found = asked(step, tmp_path)
    wide = 4 if found.plan.micro_batch.element_bytes == 4 else 2
    total = wide if method == "orpo" else 0  # the weight of a cross-entropy's mean
    end, loss, back, done, _ = found.plan.moments
    assert said["forward"][0] - without_libraries(found, end) == wide + total - SCALARS
    of_loss = 2 * wide + (total if wide == 4 else 0) - SCALARS
    assert said["loss backward"][1] - without_libraries(found, loss) == of_loss
    last = "layers backward" if "layers backward" in said else "backward"  # of a frozen embedding no mark
    most = max(said["head backward"][1], said[last][1])
    assert most - without_libraries(found, back) == 2 * wide - SCALARS
    if last != "backward":
        assert said["backward"][1] - without_libraries(found, done) == 2 * wide - SCALARS


@pytest.mark.parametrize(
    "step", [one for one in RECORD["steps"] if one["update"]["reference"] == "copy"], ids=name_of
)
def test_a_reference_answers_in_what_autograd_says(step: dict[str, Any], tmp_path: Path) -> None:
    """The most that its forward pass holds beside the policy's activations."""
    (tmp_path / "config.json").write_text(json.dumps(step["config"]), encoding="utf-8")
    plan = resolve(tmp_path, TrainingOptions(**options_of(step)))
    plan = policy_plan(plan, setup_of(plan))
    rows = plan.micro_batch.batch
    run, logits = forward_pass(plan, rows), logits_of_loss(plan, step["update"]["method"], None)
    copies = 0 if plan.micro_batch.element_bytes == 4 else min(2, rows) * logits.row
    held, peak = step["moments"]["policy"][0], step["moments"]["reference"][1]
    assert peak - held == max(run.peak, run.logits + copies)
    assert step["moments"]["reference"][0] - held == run.logits


def trained(**options: Any) -> MethodEstimate:
    """Return an estimate of a small model."""
    found: Any = memcalc.train("Qwen/Qwen2.5-1.5B", **{"seq": 2048, "regime": "pure-bf16", **options})
    return found


@pytest.mark.parametrize("method", ["dpo", "orpo", "kto", "ppo", "grpo"])
def test_phases_add_up(method: str) -> None:
    """Whose the bytes are adds up to a phase, and the device needs what its fullest phase does."""
    found = trained(method=method, micro_batch=2, on="1x h100-80g", optimizer_step="fused")
    for phase in found.phases:
        assert sum(phase.components.values()) == phase.total_bytes
        assert phase.low_bytes <= phase.total_bytes <= phase.high_bytes
    most = max(found.phases, key=lambda phase: phase.total_bytes)
    assert found.fullest_phase == most.name
    assert (found.device.total_bytes, found.device.low_bytes, found.device.high_bytes) == (
        most.total_bytes,
        max(phase.low_bytes for phase in found.phases),
        max(phase.high_bytes for phase in found.phases),
    )


def test_autocast_holds_no_copies_of_frozen_weights() -> None:
    """Nor without gradients: cached_cast holds those of leaves that ask for one, as adapters do."""
    plan = trained(regime="amp", method="dpo", lora_rank=16).plan
    assert forward_pass(plan, 1, adapted=True).copies == 2 * 18_464_768
    assert forward_pass(plan, 1).copies == 0


def test_generating_copies_one_frozen_matrix_at_a_time() -> None:
    """Qwen2.5-1.5B's head is its embedding, 151,936 x 1,536; nothing is copied so where all is trained."""
    asked: dict[str, Any] = {"method": "grpo", "regime": "amp", "micro_batch": 2}
    name = "a frozen matrix in 16 bits, one at a time"
    found = trained(**asked, lora_rank=16).stage.device.lines
    assert [line.bytes for line in found if line.name == name] == [2 * 151_936 * 1_536]
    assert not [line for line in trained(**asked).stage.device.lines if line.name == name]


def test_a_reference_is_a_second_copy_and_an_adapter_none() -> None:
    """Two bytes a number in bf16; nothing where the adapter is switched off, or log-probs were computed."""
    copy, precomputed = trained(method="dpo"), trained(method="dpo", reference="precomputed")
    weights = copy.at("step")["weights"] - precomputed.at("step")["weights"]
    assert weights == 2 * copy.parameters + copy.plan.implementation.buffers(
        copy.model, copy.plan.micro_batch
    )
    adapted = trained(method="dpo", lora_rank=16)
    assert adapted.setup.reference == "adapter"
    assert all("reference" not in phase.components for phase in adapted.phases)


def test_a_sleeping_engine_leaves_its_share() -> None:
    """Awake it takes utilization x capacity in each phase, asleep what was measured."""
    engine = {"method": "grpo", "rollout_engine": "vllm", "on": "1x h100-80g", "rollout_utilization": 0.5}
    awake, asleep = trained(**engine), trained(**engine, sleep_level=1)
    capacity = awake.device.capacity_bytes or 0
    for phase in awake.phases:
        assert phase.components["engine"] >= capacity // 2
    rollout, update = (
        next(one for one in asleep.phases if one.name == name) for name in ("rollout", "update")
    )
    assert rollout.components["engine"] >= capacity // 2
    assert update.components["engine"] == 774 * 2**20
    served = memcalc.serve(
        "Qwen/Qwen2.5-1.5B", context=2048, engine="vllm", utilization=0.5, on="1x h100-80g"
    )
    assert asleep.host is not None
    held = {line.name: line.bytes for line in asleep.host.lines if line.component != "runtime"}
    assert list(held.values()) == [served.device.components["weights"]]
    assert trained(**engine, sleep_level=2).host_bytes == 0


def test_answers_of_an_older_policy_are_scored_by_it() -> None:
    """TRL's GRPO computes log-probs of the policy if it steps before the last answers are learnt from."""
    asked = {"method": "grpo", "seq": 2048, "micro_batch": 4, "rollout_engine": "transformers"}
    for accumulate, generations, scored in ((1, 4, False), (2, 4, False), (2, 8, False), (1, 8, True)):
        found = memcalc.train(
            "Qwen/Qwen3-8B", **asked, accumulate=accumulate, num_generations=generations, lora_rank=16
        )
        assert ("log_probs" in [phase.name for phase in found.phases]) is scored
    one, four = (
        memcalc.train("Qwen/Qwen3-8B", **asked, num_generations=8, lora_rank=16, logprob_batch=batch)
        for batch in (1, 4)
    )
    of_one, of_four = (
        next(phase.total_bytes for phase in found.phases if phase.name == "log_probs")
        for found in (one, four)
    )
    assert of_one < of_four


def test_what_is_offloaded_between_phases_lives_in_its_own() -> None:
    """The optimizer's states in the update alone, and in the host's memory."""
    found = trained(method="ppo", offload_between=("optimizer", "reference"), rollout_engine="vllm")
    states = 2 * 2 * found.parameters
    assert "optimizer" in found.at("step")
    lines = [line for line in found.device.lines if line.component == "optimizer"]
    own = [line for line in lines if not line.name.startswith("critic")]
    assert sum(line.bytes for line in own) == states
    assert all(set(line.moments) == set(found.plan.moments) for line in own)
    assert found.host is not None
    assert found.host_bytes >= states + 2 * found.parameters


def test_answers_alone_have_logits_in_grpo() -> None:
    """Half as many tokens in an answer: half the logits, plus one position."""
    whole = trained(method="grpo", seq=2049, micro_batch=2)
    half = trained(method="grpo", seq=2049, micro_batch=2, completion_tokens=1024)
    vocab = whole.model.logits_width or 0
    assert whole.at("loss")["logits"] == 2 * 2 * vocab * (2 * 2048 + 2 * 2049)
    assert half.at("loss")["logits"] == 2 * 2 * vocab * (2 * 1024 + 2 * 1025)


@pytest.mark.parametrize("method", ["dpo", "ppo", "grpo"])
def test_the_answer_is_what_its_schema_says(method: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Phases and the fullest of them, beside what every answer has."""
    words = [
        "train",
        "Qwen/Qwen2.5-1.5B",
        "--seq",
        "2048",
        "--method",
        method,
        "--on",
        "1x h100-80g",
        "--json",
    ]
    assert main(words) == 0
    answer = json.loads(capsys.readouterr().out)
    jsonschema.validate(answer, schema("train"))
    totals = {phase["name"]: phase["total_bytes"] for phase in answer["phases"]}
    assert totals[answer["fullest_phase"]] == max(totals.values()) == answer["device_bytes"]


WRONG = {
    "--reference: expected --lora-rank": {"method": "dpo", "reference": "adapter"},
    "--reference: expected one with --method dpo": {"method": "dpo", "reference": "none"},
    "--reference: expected none with --method orpo": {"method": "orpo", "reference": "copy"},
    "--reference: expected copy, adapter or none": {"method": "grpo", "reference": "precomputed"},
    "--critic: expected --method ppo": {"method": "grpo", "critic": "Qwen/Qwen2.5-1.5B"},
    "--reward-model: expected --method ppo or grpo": {"method": "dpo", "reward_model": "Qwen/Qwen2.5-1.5B"},
    "--num-generations: expected --method ppo or grpo": {"method": "dpo", "num_generations": 8},
    "--sleep-level: expected --rollout-engine vllm or sglang": {"method": "grpo", "sleep_level": 1},
    "--completion-tokens: expected less than --seq 2048": {"method": "grpo", "completion_tokens": 2048},
    "--micro-batch: expected at least 2": {"method": "kto"},
    "--offload-between: expected one of parameters": {"method": "grpo", "offload_between": ("states",)},
    "--offload-between: expected --method ppo or grpo": {"method": "dpo", "offload_between": ("optimizer",)},
    "--rollout-utilization: expected a share": {
        "method": "grpo",
        "rollout_engine": "vllm",
        "rollout_utilization": 2.0,
    },
    "--loss: expected none: it has one of its own": {"method": "dpo", "loss": "liger"},
    "--pp: expected 1 with --method dpo": {"method": "dpo", "pp": 2, "world": 2},
    "--method: expected": {"method": "rlhf"},
    "--sleep-level: expected --method": {"sleep_level": 1},
}


@pytest.mark.parametrize("words", WRONG)
def test_what_a_method_must_not_be(words: str) -> None:
    """One line, with the option to state."""
    with pytest.raises(RefusalError) as found:
        trained(**WRONG[words])
    assert words in found.value.line


def test_a_share_without_room_for_the_weights_does_not_fit() -> None:
    """However large the card: the engine does not start in a fiftieth of it."""
    found = trained(method="grpo", rollout_engine="vllm", rollout_utilization=0.02, on="1x h200-141g")
    assert found.verdict == "does_not_fit"
    assert (found.cause or "").startswith("the engine's share is too small")
    assert trained(method="grpo", rollout_engine="vllm", on="1x h200-141g").verdict == "fits"


@pytest.mark.parametrize("name", ["Qwen/Qwen3-0.6B", "meta-llama/Llama-3.2-1B"])
def test_a_total_is_that_of_the_phase_it_is_printed_under(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The critic's step allocates most, and the allocator keeps more in the policy's update."""
    assert main(["train", name, "--seq", "512", "--method", "ppo", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    fullest = next(phase for phase in said["phases"] if phase["name"] == said["fullest_phase"])
    assert (fullest["name"], said["peak_at"]) == ("update", "critic_step")
    at = fullest["fullest"]
    lines = [line for line in said["lines"] if line["pool"] == "gpu" and at in (line["moments"] or [at])]
    assert sum(line["bytes"] for line in lines) == said["device_bytes"] == fullest["total_bytes"]
    main(["train", name, "--seq", "512", "--method", "ppo"])
    assert f"  at {at}, with context and allocator\n" in capsys.readouterr().out
