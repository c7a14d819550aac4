"""What losses of log-probabilities keep of the logits, and hold while they run backwards: TRL's, in bytes.

A sequence at a time, logits of 16 bits go through log_softmax, whose result is kept, and those of 32 bits
through logsumexp, which keeps the logits themselves. Held against autograd: tests/oracles/train_methods.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from memcalc.ledger.tensor import ceil_div
from memcalc.training.autograd.base import Loss

if TYPE_CHECKING:
    from memcalc.training.plan import TrainingPlan

__all__ = ["LOG_PROBABILITIES", "PAIRED", "LogitsOfLoss", "logits_of_loss"]

TRL = "https://github.com/huggingface/trl, f2cd577 (1.10, 2026-07), "
LOG_PROBABILITIES = Loss(
    "log-probabilities",
    kept=2,
    backward=2,
    note="log_softmax or logsumexp, a sequence at a time",
    source=f"{TRL}trl/trainer/utils.py: selective_log_softmax",
)
PAIRED = ("dpo", "orpo")  # a chosen and a rejected answer for each sequence of a micro-batch
DIVIDED = ("grpo", "ppo")  # by a temperature, in place


class LogitsOfLoss(NamedTuple):
    """Bytes of the policy's logits: as they are returned, kept once the loss is there, at most running back.

    `row` are those of one sequence, of which log-probabilities need a copy for a moment.
    """

    made: int
    kept: int
    back: int
    row: int


def logits_of_loss(plan: TrainingPlan, method: str, answer: int | None) -> LogitsOfLoss:
    """Return what the loss of a method holds of the policy's logits; `answer` are the tokens of one."""
    micro = plan.micro_batch
    rows, seq = micro.batch, micro.seq
    used = seq - 1 if answer is None else answer
    of_head = seq if micro.head_tokens is None else micro.head_tokens
    vocab = plan.model.logits_width or 0
    wide = micro.autocast or micro.element_bytes == 4  # accelerate makes the outputs of autocast as wide
    numbers = 4 if wide else 2
    made, part, row = (numbers * vocab * tokens for tokens in (rows * of_head, rows * used, used))
    entropy = ceil_div(part, 2) if method == "orpo" else 0  # log_softmax of the chosen half
    labels = 8 * (rows // 2) * used if method == "orpo" and rows > 2 else 0  # of several rows they are copied
    if wide:
        each = 4 * used  # a number of 32 bits for each token of a sequence
        rest = entropy + labels
        back = made + 2 * part + 2 * row + each * (rows + 1) + rest
        if method in DIVIDED:
            back = max(back, 2 * made + 2 * part)
        return LogitsOfLoss(made, made + each * rows + rest, back, row)
    kept = part + entropy + labels
    if method == "orpo":
        return LogitsOfLoss(made, kept, max(3 * made, kept + 2 * row), row)
    back = max((2 if method in DIVIDED else 1) * (made + part), part + 2 * row)
    return LogitsOfLoss(made, kept, back, row)
