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

    `row` are those of one sequence, of which log-probabilities need a copy for a moment. `low_back` and
    `high_kept`, `high_back` are ends that other trainers set: verl's kernel writes the gradient over logits
    of 16 bits (flash-attn's cross-entropy, inplace_backward), OpenRLHF makes them 32 bits wide first.
    """

    made: int
    kept: int
    back: int
    row: int
    low_back: int
    high_kept: int
    high_back: int


def logits_of_loss(plan: TrainingPlan, method: str, answer: int | None) -> LogitsOfLoss:
    """Return what the loss of a method holds of the policy's logits; `answer` are the tokens of one."""
    micro = plan.micro_batch
    rows, seq = micro.batch, micro.seq
    used = seq - 1 if answer is None else answer
    of_head = seq if micro.head_tokens is None else micro.head_tokens
    vocab = plan.model.logits_width or 0
    sizes = [vocab * tokens for tokens in (rows * of_head, rows * used, used)]
    if micro.autocast or micro.element_bytes == 4:  # accelerate makes the outputs of autocast 32 bits wide
        return of_32_bits(method, rows, used, [4 * size for size in sizes])
    wide = of_32_bits(method, rows, used, [4 * size for size in sizes])
    narrow = of_16_bits(method, rows, used, [2 * size for size in sizes])
    return narrow._replace(high_kept=wide.kept, high_back=wide.back)


def of_entropy(method: str, rows: int, used: int, part: int) -> int:
    """Return what ORPO's cross-entropy of the chosen half keeps: its log_softmax, and labels, copied."""
    if method != "orpo":
        return 0
    return ceil_div(part, 2) + (8 * (rows // 2) * used if rows > 2 else 0)


def of_32_bits(method: str, rows: int, used: int, sizes: list[int]) -> LogitsOfLoss:
    """Return what logits of 32 bits do: logsumexp keeps them, with a number for each token."""
    made, part, row = sizes
    rest, each = of_entropy(method, rows, used, part), 4 * used
    kept = made + each * rows + rest
    back = made + 2 * part + 2 * row + each * (rows + 1) + rest
    back = max(back, 2 * made + 2 * part) if method in DIVIDED else back
    return LogitsOfLoss(made, kept, back, row, low_back=kept, high_kept=kept, high_back=back)


def of_16_bits(method: str, rows: int, used: int, sizes: list[int]) -> LogitsOfLoss:
    """Return what logits of 16 bits do: log_softmax is kept in their place."""
    made, part, row = sizes
    kept = part + of_entropy(method, rows, used, part)
    back = max((2 if method in DIVIDED else 1) * (made + part), part + 2 * row)
    back = max(3 * made, kept + 2 * row) if method == "orpo" else back
    return LogitsOfLoss(made, kept, back, row, low_back=kept, high_kept=kept, high_back=back)
