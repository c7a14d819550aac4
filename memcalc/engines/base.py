"""What every engine answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NamedTuple

from memcalc.errors import BadInputError, UnknownNameError
from memcalc.parts import GQA, MLA, MoE
from memcalc.tensor import ceil_div

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from memcalc.budget import Line
    from memcalc.model import Model
    from memcalc.parts import Part
    from memcalc.split import Split

__all__ = ["Engine", "Step", "pass_width"]

GIB = 2**30


class Step(NamedTuple):
    """One device's share of the work: the stage it holds and what it is asked to do."""

    stage: Model
    split: Split
    batch: int  # sequences on this device
    prompt: int
    chunk: int | None
    element_bytes: int  # of an activation
    options: Mapping[str, int]

    @property
    def tokens_a_pass(self) -> int:
        """Tokens of all sequences that one prefill pass takes together."""
        return self.batch * (self.prompt if self.chunk is None else min(self.prompt, self.chunk))


class Engine(ABC):
    """An engine's rules; each subclass states its version and its sources."""

    id = ""
    version = ""
    note = ""
    reserves = False  # whether what is left of its share is taken for the cache in advance
    moments = ("load", "prefill", "decode")
    defaults: Mapping[str, int] = {}

    def options(self, given: Mapping[str, str]) -> dict[str, int]:
        """Return the engine's options, checked.

        Raises:
            UnknownNameError: the engine has no such option.
            BadInputError: the value is no whole number >= 1.

        """
        for key, value in given.items():
            if key not in self.defaults:
                known = (
                    f"one of {', '.join(self.defaults)}"
                    if self.defaults
                    else f"none: {self.id} has no options"
                )
                raise UnknownNameError("--engine-option", known, key, "leave it out")
            if not (value.isascii() and value.isdigit() and int(value) >= 1):
                raise BadInputError(
                    f"--engine-option {key}", "a whole number >= 1", value, "correct the value"
                )
        return {**self.defaults, **{key: int(value) for key, value in given.items()}}

    @abstractmethod
    def default_split(self, devices: int) -> Split:
        """Return how the engine uses `devices` if nobody says."""

    @abstractmethod
    def check(self, model: Model, split: Split) -> None:
        """Refuse a split that the engine cannot make."""

    @abstractmethod
    def kept(self, context: int, window: int | None) -> int:
        """Return the tokens a layer keeps of `context`; `window` is None for full attention."""

    def held_tokens(self, tokens: int, options: Mapping[str, int]) -> int:
        """Return the tokens for which memory is taken: the engine's rounding."""
        del options
        return tokens

    @abstractmethod
    def lines(self, step: Step) -> Iterator[Line]:
        """Yield what the engine needs beside weights and cache."""


def refuse_uneven(model: Model, split: Split, engine: str, *, replicates: bool) -> None:
    """Refuse ranks that do not divide what the engine cuts.

    Raises:
        BadInputError: heads, key/value heads, widths or experts are no multiple of the ranks.

    """
    tp = split.tp
    for layer in model.groups:
        for _, part in layer.parts:
            counts: dict[str, int] = {}
            if isinstance(part, GQA | MLA):
                counts["query heads"] = part.heads
            if isinstance(part, GQA) and not (replicates and tp % part.kv_heads == 0):
                counts["key/value heads"] = part.kv_heads
            counts.update(_widths(part, split))
            for what, number in counts.items():
                if number % tp:
                    expected = f"a divisor of the model's {number} {what}"
                    raise BadInputError("--tp", expected, tp, f"{engine} cuts them whole; choose another tp")
            if isinstance(part, MoE) and part.experts % split.ep:
                expected = f"a divisor of the model's {part.experts} experts"
                raise BadInputError("--ep", expected, split.ep, f"{engine} deals experts out evenly")


def _widths(part: Part, split: Split) -> dict[str, int]:
    """Return the widths that tensor parallelism cuts in a feed-forward part."""
    if isinstance(part, MoE):
        return {"numbers of an expert's width": part.expert_width} if split.ep == 1 else {}
    width = getattr(part, "ffn_width", None)
    return {} if width is None else {"numbers of the feed-forward width": width}


def pass_width(part: Part, split: Split) -> int:
    """Return how many numbers a token needs at once while it passes through a part.

    Dense feed-forward: gate, up and their product beside four copies of the stream, 3f + 4h, the law that
    closes on Qwen2.5's published peaks. The other parts are counted the same way: inputs, outputs and
    what lies between, without reuse.
    """
    tp, width = split.tp, getattr(part, "width", 0)
    if isinstance(part, MoE):
        inner = part.expert_width if split.ep > 1 else ceil_div(part.expert_width, tp)
        shared = 0 if part.shared_width is None else 3 * ceil_div(part.shared_width, tp)
        return 4 * width + 2 * part.top_k * width + max(3 * part.top_k * inner, shared) + part.experts
    if isinstance(part, GQA):
        return (
            4 * width
            + 3 * ceil_div(part.heads, tp) * part.head_dim
            + 4 * ceil_div(part.kv_heads, tp) * part.head_dim
        )
    if isinstance(part, MLA):
        head = 2 * (part.nope_dim + part.rope_dim) + (part.nope_dim + part.value_dim) + part.value_dim
        return 4 * width + ceil_div(part.heads, tp) * head
    ffn = getattr(part, "ffn_width", None)
    return 0 if ffn is None else 4 * width + 3 * ceil_div(ffn, tp)
