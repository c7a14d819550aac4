"""What a method runs beside the policy, with everything that was left open filled in, and checked."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from memcalc.errors import BadInputError, Faults, UnknownNameError, choices, nearest
from memcalc.training.methods.losses import LOG_PROBABILITIES, PAIRED

if TYPE_CHECKING:
    from collections.abc import Callable

    from memcalc.training.plan import TrainingPlan

__all__ = ["CHECKS_OF_METHODS", "ENGINES", "REWARDED", "Setup", "policy_plan", "setup_of"]

REWARDED = ("ppo", "grpo")  # answers are generated, and scored
ENGINES = ("vllm", "sglang")
OFFLOADED = ("parameters", "optimizer", "reference", "reward", "critic")
TRL_SHARE = 0.3  # huggingface/trl f2cd577 (1.10, 2026-07), grpo_config.py: vllm_gpu_memory_utilization
OF_ROLLOUTS = ("num_generations", "rollout_engine", "rollout_utilization", "rollout_tp", "sleep_level")


class Setup(NamedTuple):
    """A method with what was left open filled in.

    `answer` are the tokens of an answer, None if all of a sequence counts as one. `engine` is None where
    nothing generates on these devices; `sleep` is 0 where it stays awake.
    """

    method: str
    reference: str
    answer: int | None
    generations: int
    logprob_batch: int
    engine: str | None
    utilization: float
    rollout_tp: int
    sleep: int
    offloaded: tuple[str, ...]

    @property
    def is_rewarded(self) -> bool:
        """Whether answers are generated and scored, and not given."""
        return self.method in REWARDED

    @property
    def fields(self) -> dict[str, object]:
        """Options by name, with what was filled in."""
        engine = self.engine in ENGINES
        rewarded = self.is_rewarded
        return {
            "reference": self.reference,
            "num_generations": self.generations if rewarded else None,
            "logprob_batch": self.logprob_batch if rewarded else None,
            "rollout_engine": (self.engine or "none") if rewarded else None,
            "rollout_utilization": self.utilization if engine else None,
            "rollout_tp": self.rollout_tp if engine else None,
            "sleep_level": self.sleep if engine else None,
        }


def setup_of(plan: TrainingPlan) -> Setup:
    """Return what the options of a plan mean for its method: the defaults are those of TRL."""
    asked = plan.options
    batch = int(plan.micro_batch.batch)
    own = "none" if asked.method in ("orpo", "grpo") else "adapter" if plan.adapters else "copy"
    engine = asked.rollout_engine or "transformers"
    return Setup(
        method=asked.method,
        reference=asked.reference or own,
        answer=asked.completion_tokens,
        generations=asked.num_generations or batch * asked.accumulate,
        logprob_batch=asked.logprob_batch or batch,
        engine=engine if asked.method in REWARDED and engine != "none" else None,
        utilization=TRL_SHARE if asked.rollout_utilization is None else asked.rollout_utilization,
        rollout_tp=asked.rollout_tp or 1,
        sleep=asked.sleep_level or 0,
        offloaded=asked.offload_between,
    )


def policy_plan(plan: TrainingPlan, setup: Setup) -> TrainingPlan:
    """Return the plan of the policy's update: pairs are two sequences, GRPO's head sees answers alone.

    Source: huggingface/trl f2cd577, dpo_trainer.py and grpo_trainer.py (logits_to_keep).
    """
    micro = plan.micro_batch
    if setup.method in PAIRED:
        micro = replace(micro, batch=2 * micro.batch)
    if setup.method == "grpo":
        answer = micro.seq - 1 if setup.answer is None else setup.answer
        micro = replace(micro, head_tokens=answer + 1)
    return replace(plan, loss=LOG_PROBABILITIES, micro_batch=micro)


# ---- checks ------------------------------------------------------------------------------------------------


def method_runs_on_these_ranks(plan: TrainingPlan) -> None:
    """Refuse what methods beside sft are not modelled with."""
    asked, faults = plan.options, Faults()
    method = f"with --method {asked.method}"
    given = (
        (
            "--implementation",
            "transformers",
            plan.implementation.id,
            plan.implementation.id == "transformers",
        ),
        ("--pp", "1", plan.parallelism.pp, plan.parallelism.pp == 1),
        ("--cp", "1", plan.parallelism.cp, plan.parallelism.cp == 1),
        ("--loss", "none: it has one of its own", asked.loss, asked.loss is None),
        ("--hold-logits", "no", "yes", not asked.hold_logits),
        ("--lengths", "packed", asked.lengths, asked.lengths == "packed"),
        ("--seq", "a single plan", "a sweep", plan.points is None or plan.points is Faults.MISSING),
    )
    for flag, expected, value, is_so in given:
        if not is_so:
            remedy = "what else it holds then is not modelled; leave it out"
            faults.found.append(BadInputError(flag, f"{expected} {method}", value, remedy))
    faults.refuse()


def options_belong_to_the_method(plan: TrainingPlan) -> None:
    """Refuse options of another method."""
    asked = plan.options
    if asked.critic is not None and asked.method != "ppo":
        raise BadInputError("--critic", "--method ppo", asked.method, "it has no value model; leave it out")
    if asked.reward_model not in (None, "none") and asked.method not in REWARDED:
        remedy = "preferences need no reward model; leave it out"
        raise BadInputError("--reward-model", "--method ppo or grpo", asked.method, remedy)
    for name in (*OF_ROLLOUTS, "logprob_batch"):
        value = getattr(asked, name)
        if asked.method not in REWARDED and value is not None:
            flag = f"--{name.replace('_', '-')}"
            raise BadInputError(
                flag, "--method ppo or grpo", asked.method, "nothing is generated; leave it out"
            )
    for name in ("rollout_utilization", "rollout_tp", "sleep_level"):
        if getattr(asked, name) is not None and asked.rollout_engine not in ENGINES:
            flag = f"--{name.replace('_', '-')}"
            given = asked.rollout_engine or "transformers"
            raise BadInputError(flag, "--rollout-engine vllm or sglang", given, "it is an option of engines")


def reference_can_be(plan: TrainingPlan) -> None:
    """Refuse a reference that the method, or the policy, does not have."""
    asked = plan.options
    if asked.reference == "adapter" and not plan.adapters:
        remedy = "without an adapter to switch off, use copy"
        raise BadInputError("--reference", "--lora-rank as well", asked.reference, remedy)
    if asked.reference == "precomputed" and asked.method not in ("dpo", "kto"):
        remedy = "answers that are generated have no log-probs before"
        raise BadInputError("--reference", "copy, adapter or none", asked.reference, remedy)
    if asked.reference == "none" and asked.method in ("dpo", "kto"):
        remedy = "its loss compares with one: precomputed holds none in memory"
        raise BadInputError("--reference", f"one with --method {asked.method}", asked.reference, remedy)
    if asked.method == "orpo" and asked.reference not in (None, "none"):
        raise BadInputError(
            "--reference", "none with --method orpo", asked.reference, "it compares with none"
        )


def answer_within_sequence(plan: TrainingPlan) -> None:
    """Refuse answers that are as long as the sequence, which begins with a prompt."""
    answer, seq = plan.options.completion_tokens, plan.options.seq
    if answer is not None and answer >= seq:
        remedy = "a sequence is prompt and answer; the default is all of it but a token"
        raise BadInputError("--completion-tokens", f"less than --seq {seq}", answer, remedy)


def pairs_have_a_batch(plan: TrainingPlan) -> None:
    """Refuse KTO with a single sequence: TRL compares it with answers of others."""
    if plan.options.method == "kto" and plan.micro_batch.batch == 1:
        remedy = "its estimate of the KL divergence needs the answers of others"
        raise BadInputError("--micro-batch", "at least 2 with --method kto", 1, remedy)


def parts_can_leave(plan: TrainingPlan) -> None:
    """Refuse to offload between phases what has no name, or where there is one phase."""
    asked = plan.options
    for part in asked.offload_between:
        if part not in OFFLOADED:
            remedy = nearest(part, OFFLOADED, "--offload-between") or "name one of these"
            raise UnknownNameError("--offload-between", choices(OFFLOADED), part, remedy)
    if asked.offload_between and asked.method not in REWARDED:
        given = ",".join(asked.offload_between)
        remedy = "reference and policy run in one step; --reference precomputed holds no reference"
        raise BadInputError("--offload-between", "--method ppo or grpo", given, remedy)


def share_is_one(plan: TrainingPlan) -> None:
    """Refuse an engine's share that is none."""
    share = plan.options.rollout_utilization
    if share is not None and not 0 < share <= 1:
        raise BadInputError("--rollout-utilization", "a share above 0, up to 1", share, "as in 0.3")


CHECKS_OF_METHODS: tuple[Callable[[TrainingPlan], None], ...] = (
    method_runs_on_these_ranks,
    options_belong_to_the_method,
    reference_can_be,
    answer_within_sequence,
    pairs_have_a_batch,
    parts_can_leave,
    share_is_one,
)
