"""What every engine answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NamedTuple

from memcalc.errors import BadInputError, UnknownNameError
from memcalc.ledger.formats import KV_FORMATS
from memcalc.ledger.parts import GQA, MLA, MoE
from memcalc.ledger.tensor import OUT, ceil_div, least, product

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from memcalc.ledger.budget import Line
    from memcalc.ledger.formats import Format, Rule
    from memcalc.ledger.machine import Device
    from memcalc.ledger.model import Model
    from memcalc.ledger.parallel import Split
    from memcalc.ledger.parts import Part
    from memcalc.ledger.parts.plain import Kept
    from memcalc.ledger.tensor import Tensor

__all__ = [
    "Engine",
    "Place",
    "Step",
    "cuda_evidence",
    "pass_width",
    "refuse_cut_blocks",
    "refuse_states",
    "refuse_uneven",
]

GIB = 2**30


class Step(NamedTuple):
    """One device's share of the work: the stage it holds, and how it goes about it."""

    stage: Model
    split: Split
    rule: Rule  # the format of each weight
    device: Device | None
    chunk: int | None
    element_bytes: int  # of an activation
    options: Mapping[str, int]
    share: tuple[int, int]  # of the device that the engine takes: a fraction
    forms: Mapping[str, Format]  # of the stage's weights, by id
    widths: Mapping[Part, int]  # numbers that a token needs at once in each part

    def tokens_a_pass(self, batch: int, prompt: int) -> int:
        """Return the tokens of all sequences that one prefill pass takes together."""
        return batch * (prompt if self.chunk is None else least(prompt, self.chunk))


class Place(NamedTuple):
    """Where a weight, or a copy of it, lies: the pool, how many arrays of what shape, and in which format."""

    pool: str
    tensor: Tensor
    form: Format


class Engine(ABC):
    """An engine's rules; each subclass states its version and its sources."""

    id = ""
    version = ""  # the law that holds if nobody says another one
    versions: tuple[tuple[str, str], ...] = ()  # how versions begin, and the law that they follow
    note = ""
    reserves = False  # whether what is left of its share is taken for the cache in advance
    moments = ("load", "prefill", "decode")
    offloads: tuple[str, ...] = ()  # rules that put weights into host memory, see default_offload
    overrides = False  # whether --offload may be an expression that names tensors, as in "exps=CPU"
    defaults: Mapping[str, int] = {}
    reads_gguf = False  # whether its weights may be GGUF files, and `--weights` one of llama.cpp's mixes
    reads_checkpoints = True  # whether they may be a checkpoint's
    shares_context = False  # whether the context is that of all sequences together
    most_sequences: int | None = None  # that the engine can tell apart
    cache_formats: Mapping[str, Format] = KV_FORMATS
    chunk_option: str | None = None  # the option of its own that bounds the tokens of a pass

    def __init__(self, version: str | None = None) -> None:
        """Take the law of a version.

        Raises:
            UnknownNameError: no law is known for this version.

        """
        self.release = self.version if version is None else version
        for begins, law in self.versions if version is not None else ():
            if f"{version}.".startswith(f"{begins}."):
                self.version = law
                return
        if version is not None:
            known = ", ".join(dict.fromkeys(begins for begins, _ in self.versions))
            expected = f"a version that begins with {known}" if known else "none: there is one law"
            raise UnknownNameError("--engine-version", expected, version, f"leave it out for {self.version}")

    def has_law(self, version: str) -> bool:
        """Say whether a law is known for a version."""
        return any(f"{version}.".startswith(f"{begins}.") for begins, _ in self.versions)

    def defaults_on(self, device: Device | None, context: int) -> Mapping[str, int]:
        """Return the options that hold if nobody says otherwise; some engines look at the device first."""
        del device, context
        return self.defaults

    def options(self, given: Mapping[str, str], device: Device | None, context: int) -> dict[str, int]:
        """Return the engine's options, checked: whole numbers, or true and false.

        Raises:
            UnknownNameError: the engine has no such option.
            BadInputError: the value is no whole number >= 1, or neither true nor false.

        """
        found: dict[str, int] = {}
        for key, value in given.items():
            if key not in self.defaults:
                known = (
                    f"one of {', '.join(self.defaults)}"
                    if self.defaults
                    else f"none: {self.id} has no options"
                )
                raise UnknownNameError("--engine-option", known, key, "leave it out")
            found[key] = option_value(f"--engine-option {key}", value, self.defaults[key])
        return {**self.defaults_on(device, context), **found}

    def default_offload(self, *, gguf: bool) -> str | None:
        """Return the rule for host memory that holds if nobody names one; of most engines the first."""
        del gguf
        return next(iter(self.offloads), None)

    @abstractmethod
    def default_split(self, devices: int) -> Split:
        """Return how the engine uses `devices` if nobody says."""

    @abstractmethod
    def check(self, model: Model, split: Split, rule: Rule) -> None:
        """Refuse a split that the engine cannot make of these weights in these formats."""

    @abstractmethod
    def kept(self, context: int, window: int | None) -> int:
        """Return the tokens a layer keeps of `context`; `window` is None for full attention."""

    def places(
        self, model: Model, tensor: Tensor, rule: Rule, options: Mapping[str, int], offload: str | None
    ) -> Iterator[Place]:
        """Yield where a weight lies; with most engines once, as the checkpoint stores it."""
        del model, options, offload
        yield Place(tensor.pool, tensor, rule(tensor))

    def spread(self, model: Model, options: Mapping[str, int], offload: str | None) -> Model:
        """Return the model with its tensors in the pools that hold them."""
        del options, offload
        return model

    def host_lines(self, model: Model) -> Iterator[Line]:
        """Yield what the engine needs in the host's memory beside weights."""
        del model
        yield from ()

    def takes_chunks(self) -> bool:
        """Say whether a prompt may pass in several parts."""
        return True

    def copies_cache(self) -> bool:
        """Say whether a step's new cache stands beside the old one."""
        return False

    def keeps(self, options: Mapping[str, int]) -> Kept:
        """Return the rule for windows under these options."""
        del options
        return self.kept

    def held_tokens(self, tokens: int, options: Mapping[str, int]) -> int:
        """Return the tokens for which memory is taken: the engine's rounding."""
        del options
        return tokens

    def held(self, model: Model) -> Model:
        """Return the model as the engine holds it; most hold what the checkpoint has."""
        return model

    def cache(self, stage: Model, batch: int, tokens: int, options: Mapping[str, int]) -> Iterator[Tensor]:
        """Yield the cache that memory is taken for: `batch` sequences of `tokens`, as the engine rounds."""
        return stage.cache(batch, self.held_tokens(tokens, options), self.keeps(options))

    def check_cache(self, model: Model, keys: Format, values: Format) -> None:
        """Refuse formats of keys and values that the engine cannot store for this model."""
        del model, keys, values

    @abstractmethod
    def constant_lines(self, step: Step) -> Iterator[Line]:
        """Yield what the engine needs beside the weights, however many tokens it holds."""

    def growing_lines(self, step: Step, batch: int, prompt: int) -> Iterator[Line]:
        """Yield what the engine needs beside the cache for `batch` sequences on one device."""
        del step, batch, prompt
        yield from ()


def option_value(field: str, value: str, otherwise: int) -> int:
    """Return an option's value from its text; the default says whether it is a flag, and whether it may be 0.

    A default below 0 is a word ("all"), and may be said too.

    Raises:
        BadInputError: a flag is neither true nor false, or a number is none from 1 (or 0) to 999999999.

    """
    if isinstance(otherwise, bool):
        if value not in ("true", "false"):
            raise BadInputError(field, "true or false", value, "correct the value")
        return value == "true"
    if otherwise < 0 and value == str(otherwise):
        return otherwise
    digits = value.lstrip("0") if value.isascii() and value.isdigit() else "-"
    least = 0 if otherwise <= 0 else 1
    if digits == "-" or not least <= len(digits) < 10:
        word = f", or {otherwise}" if otherwise < 0 else ""
        expected = f"a whole number from {least} to 999999999{word}"
        raise BadInputError(field, expected, value, "correct the value")
    return int(value)


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


def refuse_states(model: Model, engine: str) -> None:
    """Refuse layers that remember a state: how an engine lays it out beside the cache is its own law.

    Raises:
        BadInputError: a layer remembers one.

    """
    for tensor in model.cache(1, 1):
        if tensor.kind == "state":
            expected = "a model that remembers tokens only"
            remedy = f"{engine} lays states out in pages of its own, which is not understood yet"
            raise BadInputError(f"--engine {engine}", expected, tensor.name, remedy)


def cuda_evidence(step: Step) -> str:
    """Return what a CUDA figure is worth on the step's device: measured there, assumed elsewhere."""
    return "measured" if step.device is None or step.device.vendor == "NVIDIA" else "assumed"


def refuse_cut_blocks(
    model: Model, split: Split, rule: Rule, engine: str, padded: frozenset[str] = frozenset()
) -> None:
    """Refuse ranks that would cut through the blocks of a quantised matrix, but of formats that are `padded`.

    Source: vllm-project/vllm#17569 (Qwen3-235B-A22B-FP8 at TP 8); model_executor/layers/quantization.

    Raises:
        BadInputError: a rank's rows or columns are no multiple of the block that shares a scale.

    """
    for tensor in model.weights() if split.tp > 1 else ():
        form = rule(tensor)
        if form.is_plain or tensor.split is None or form.id in padded:
            continue
        mine = split.on_rank(tensor)
        block = form.rows_per_scale if tensor.split == OUT else form.columns_per_scale
        size = product(mine.shape[tensor.split])
        if size % (block or 1):
            expected = f"ranks whose share of {tensor.name} is whole blocks of {block}"
            given = f"{split.tp}, a share of {size}"
            remedy = f"{engine} does not cut the blocks of {form.id}; use fewer ranks, or --ep for experts"
            raise BadInputError("--tp", expected, given, remedy)


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
