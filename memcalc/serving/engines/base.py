"""What every engine answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from memcalc.errors import BadInputError, Faults, UnknownNameError, nearest
from memcalc.ledger.budget import Line
from memcalc.ledger.formats import KV_FORMATS
from memcalc.ledger.parts.kinds import is_gqa, is_mla, is_moe, keeps_state
from memcalc.ledger.tensor import OUT, ceil_div, least, product
from memcalc.serving.parallelism import with_copied_groups

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from memcalc.data.constants import Measured
    from memcalc.files.machines import Device
    from memcalc.files.storage import StoredModel
    from memcalc.ledger.formats import Format, Rule
    from memcalc.ledger.model import Model
    from memcalc.ledger.parts import Part
    from memcalc.ledger.parts.plain import Kept
    from memcalc.ledger.tensor import Tensor
    from memcalc.serving.engines.vllm_pool import Request
    from memcalc.serving.parallelism import ServingParallelism

__all__ = [
    "ALWAYS",
    "Engine",
    "Placement",
    "RankContext",
    "Setting",
    "activation_width",
    "cuda_evidence",
    "last_logits",
    "measured_line",
    "refuse_copied_formats",
    "refuse_cut_blocks",
    "refuse_states",
    "refuse_uneven",
]

OWN_OPTIONS = "`memcalc list engines --json` shows each engine's own"
MOST_SHOWN = 6  # of an engine's options, in an error
ALWAYS = ("load", "prefill", "decode")
WHILE_SERVING = ("prefill", "decode")


class RankContext(NamedTuple):
    """One device as an engine sees it: the stage that it holds, and how.

    `formats` are those of the stage's weights by id, `widths` the numbers that a token needs at once in each
    of its parts, `share` the fraction of the device that the engine takes, `element_bytes` an activation's.
    `head_stored` says whether the file has a head, where its header was read.
    """

    stage: Model
    parallelism: ServingParallelism
    rule: Rule
    device: Device | None
    prefill_chunk: int | None
    element_bytes: int
    options: Mapping[str, int]
    share: tuple[int, int]
    formats: Mapping[str, Format]
    widths: Mapping[Part, int]
    head_stored: bool | None = None

    def tokens_a_pass(self, batch: int, prompt: int) -> int:
        """Return the tokens of all sequences that one prefill pass takes together."""
        return batch * (prompt if self.prefill_chunk is None else least(prompt, self.prefill_chunk))


class Setting(NamedTuple):
    """What an engine's own share may depend on; `draft` is ``mtp``, the source of a draft model, or None."""

    model: Model
    device: Device | None
    ranks: ServingParallelism
    options: Mapping[str, int]
    draft: str | None = None


class Placement(NamedTuple):
    """Where a weight, or a copy of it, lies: the pool, how many arrays of what shape, and in which format."""

    pool: str
    tensor: Tensor
    format: Format


class Engine(ABC):
    """An engine's rules; each subclass states its versions and its sources.

    `release` is the version that was asked for, `version` the one whose behaviour it has.
    """

    id = ""
    title = ""  # as it writes itself
    version = ""  # the one that is meant if no other is asked for
    versions: Mapping[str, str] = {}  # how releases begin, and the version that they behave as
    behaviours: ClassVar[Mapping[str, Any]] = {}  # what differs between versions
    note = ""
    reserves = False  # whether what is left of its share is taken for the cache in advance
    moments = ALWAYS
    offloads: tuple[str, ...] = ()  # rules that put weights into host memory, see default_offload
    overrides = False  # whether --offload may be an expression that names tensors, as in "exps=CPU"
    defaults: Mapping[str, int] = {}
    reads_gguf = False  # whether its weights may be GGUF files, and `--weights` one of llama.cpp's presets
    reads_checkpoints = True  # whether they may be a checkpoint's
    narrows = False  # whether a checkpoint of 32 bits is loaded in 16, unless 32 are asked for
    # where it runs as it is understood (platforms.py); None: everywhere
    platforms: tuple[str, ...] | None = None
    least_capability: tuple[int, int] | None = None  # CUDA's generation from which on it runs; None: any
    figures_of_gpus = False  # whether its figures were measured on NVIDIA's and AMD's devices
    spreads_experts = False  # whether data-parallel ranks cut experts among them where none are whole
    copies_attention = False  # whether some of the tp ranks may have attention of their own, see attention_dp
    shares_context = False  # whether the context is that of all sequences together
    most_sequences: int | None = None  # that the engine can tell apart
    cache_formats: Mapping[str, Format] = KV_FORMATS
    shares_free = False  # whether its share is one of what is free at its start, and not of the whole device
    head_by_embedding = False  # whether a tied head stands on the device of the embedding
    chunk_option: str | None = None  # the option of its own that bounds the tokens of a pass
    shorter_profile_above: int | None = None  # the longest sequence that its profile run reads in one piece
    smaller_caches: tuple[str, ...] = ()  # formats of its cache that are offered where a plan does not fit
    smaller_weights: tuple[str, ...] = ()  # and of its weights, the largest first
    # the first release that drops what left a window where all layers have one, and where only some have
    windows_since: tuple[int, ...] = (0,)
    groups_since: tuple[int, ...] = (0,)
    counted: Mapping[str, str] = {}  # what options count, in words: "1,024 sequences"

    def __init__(self, release: str | None = None) -> None:
        """Take the behaviour of a release.

        Raises:
            UnknownNameError: it is not known how this release behaves.

        """
        if release is not None and release[:1] == "v" and "." in release:  # as tags are called: v0.33.0
            release = release[1:]
        version = self.version if release is None else self.for_version(release)
        if version is None:
            known = ", ".join(self.versions)
            expected = f"a version that begins with {known}" if known else "none: all behave alike"
            remedy = f"see `memcalc list engines --json`; without one it is {self.version}"
            raise UnknownNameError("--engine-version", expected, release, remedy)
        self.version, self.release = version, release or version
        self.numbers = tuple(int(part) for part in self.release.split(".") if part.isdigit())

    def __repr__(self) -> str:
        return f"<{self.title} {self.release}>"

    @classmethod
    def for_version(cls, release: str) -> str | None:
        """Return the version whose behaviour a release has; None if it is not known.

        >>> from memcalc.serving.engines import ENGINES
        >>> [ENGINES["transformers"].for_version(release) for release in ("4.46.3", "5.0", "4.4")]
        ['4.46', '5.23', None]
        """
        found = [begins for begins in cls.versions if f"{release}.".startswith(f"{begins}.")]
        return cls.versions[max(found, key=len)] if found else None

    def defaults_on(self, device: Device | None, ranks: ServingParallelism) -> Mapping[str, int]:
        """Return the options' defaults; of some engines they depend on the device, or on the ranks."""
        return self.defaults

    def default_share(self, setting: Setting) -> float:
        """Return the share of a device's memory that the engine takes if none is asked for."""
        return 0.9

    def since(self, *begin: int) -> bool:
        """Say whether the release is one from a version on; a shorter number means the newest that begins so.

        >>> from memcalc.serving.engines import ENGINES
        >>> [ENGINES["vllm"](release).since(0, 17) for release in ("0.28.1", "0.16", "V0")]
        [True, False, False]
        """
        numbers = self.numbers[: len(begin)]
        return bool(numbers) and numbers >= begin[: len(numbers)]

    def asked_share(self, share: float, setting: Setting) -> float:
        """Return the share that the engine takes if this one is asked for."""
        return share

    def share_words(self, share: float, setting: Setting) -> str:
        """Return its own share in words; engines that compute it say from what."""
        return f"share {share:g}"

    def options(
        self, given: Mapping[str, object], device: Device | None, ranks: ServingParallelism
    ) -> dict[str, int]:
        """Return the engine's options with their defaults, checked: whole numbers, or True and False.

        Raises:
            UnknownNameError: the engine has no such option.
            BadInputError: a value is of another kind.

        """
        found: dict[str, int] = {}
        for key, value in given.items():
            if key not in self.defaults:
                expected = (
                    f"one of {some(self.defaults)}" if self.defaults else f"none: {self.id} has no options"
                )
                remedy = nearest(key, self.defaults, "--engine-option") or OWN_OPTIONS
                raise UnknownNameError("--engine-option", expected, key, remedy)
            found[key] = checked_value(f"--engine-option {key}", value, self.defaults[key])
        return {**self.defaults_on(device, ranks), **found}

    def options_for(
        self, model: Model, device: Device | None, given: Mapping[str, object]
    ) -> Mapping[str, int]:
        """Return the options that the engine sets by the model, where they were not given."""
        return {}

    def default_words(self, options: Mapping[str, int], given: Collection[str]) -> Iterator[str]:
        """Yield its options in words, without those that were given."""
        for name, value in options.items():
            if name not in given and value is not False:
                number = f"{value:,}" if value >= 0 else "all"
                shown = str(value).lower() if isinstance(value, bool) else number
                yield f"{shown} {self.counted[name]}" if name in self.counted else f"{name} {shown}"

    def default_offload(self, *, gguf: bool) -> str | None:
        """Return the rule for host memory that holds if none is named; of most engines the first."""
        return next(iter(self.offloads), None)

    @abstractmethod
    def default_parallelism(self, devices: int) -> ServingParallelism:
        """Return how the engine uses `devices` if no ranks are asked for."""

    @abstractmethod
    def check(self, model: Model, parallelism: ServingParallelism, rule: Rule) -> None:
        """Refuse ranks among which the engine cannot share these weights in these formats."""

    def shares(self, model: Model, rule: Rule, free: Sequence[int]) -> tuple[int, ...] | None:
        """Return how many layers, and the output behind them, each of unequal devices takes.

        None if the engine has no rule for it: then each device counts as the smallest.
        """
        return None

    def check_sweep(self, given: Mapping[str, object]) -> None:
        """Refuse a sweep where a rule of the engine differs from point to point."""

    @abstractmethod
    def kept(self, context: int, window: int | None) -> int:
        """Return the tokens a layer keeps of `context`; `window` is None for full attention."""

    def window_rule(self, options: Mapping[str, int]) -> Kept:
        """Return the rule for the tokens that a layer keeps under these options."""
        return self.kept

    def loaded(self, stored: StoredModel) -> StoredModel:
        """Return how the engine stores a checkpoint that it has loaded; most keep its formats."""
        return stored

    def prepare(self, model: Model) -> Model:
        """Return the model as the engine loads it; most load what the checkpoint has."""
        words = ("compress_rate", "selects_blocks")
        if any(hasattr(part, word) for layer in model.groups for _, part in layer.parts for word in words):
            from memcalc.serving.engines.compressed import refuse_compressed

            refuse_compressed(model, self.id)
        return model

    def place_weights(self, model: Model, options: Mapping[str, int], offload: str | None) -> Model:
        """Return the model with its tensors in the pools that hold them."""
        return model

    def placements(
        self, model: Model, tensor: Tensor, rule: Rule, options: Mapping[str, int], offload: str | None
    ) -> Iterator[Placement]:
        """Yield where a weight lies; with most engines once, as the checkpoint stores it."""
        yield Placement(tensor.pool, tensor, rule(tensor))

    @property
    def takes_chunks(self) -> bool:
        """Whether a prompt may pass in several parts."""
        return True

    @property
    def copies_cache(self) -> bool:
        """Whether the cache of a decoding step lies in memory together with the one before it."""
        return False

    def allocated_tokens(self, tokens: int, options: Mapping[str, int]) -> int:
        """Return the tokens for which memory is taken: the engine's rounding."""
        return tokens

    def cache(self, stage: Model, batch: int, tokens: int, options: Mapping[str, int]) -> Iterator[Tensor]:
        """Yield the cache that memory is taken for: `batch` sequences of `tokens`, as the engine rounds."""
        return stage.cache(batch, self.allocated_tokens(tokens, options), self.window_rule(options))

    def check_context(self, model: Model, context: int) -> None:
        """Refuse contexts of which it is not known, or known that they are not, how the engine holds them."""

    def fixed_pool(self, options: Mapping[str, int]) -> int | None:
        """Return the bytes of the pool for the cache where an option fixes them."""
        return None

    def request(self, stage: Model, context: int, options: Mapping[str, int]) -> Request | None:
        """Return what a request takes of the pool in blocks; None of an engine that prints no such thing."""
        return None

    def laid_out(
        self,
        model: Model,
        kv: tuple[Format, Format],
        ranks: ServingParallelism,
        options: Mapping[str, int],
        drafted: tuple[int, int] = (0, 0),
    ) -> Mapping[str, int]:
        """Return the options with what the engine computes of them for a model, its cache and its ranks."""
        return options

    def split(self, size: int, slot: int, options: Mapping[str, int]) -> tuple[int, int] | None:
        """Return the bytes of a pool that are for tokens, and the requests whose states have slots in it.

        `slot` is the bytes of one; None where tokens and states take what they need of one pool.
        """
        return None

    def blocks_at_start(self, options: Mapping[str, int]) -> int | None:
        """Return the blocks of states without which it does not start; None where none are needed."""
        return None

    def default_cache_format(self, model: Model, device: Device | None) -> str | None:
        """Return the format of the cache if none is named; None stands for the activations' 16 bits."""
        return None

    def cache_layout(self, model: Model, form: Format, options: Mapping[str, int]) -> Format:
        """Return the layout in which it stores a cache of this format for this model."""
        return form

    def cache_format(self, tensor: Tensor, layout: Format) -> Format:
        """Return how a tensor of a cache in this layout is stored."""
        return layout

    def check_cache_formats(self, model: Model, keys: Format, values: Format) -> None:
        """Refuse formats of keys and values that the engine cannot store for this model."""

    @abstractmethod
    def constant_lines(self, rank: RankContext) -> Iterator[Line]:
        """Yield what the engine needs on top of the weights, however many tokens it holds."""

    def growing_lines(self, rank: RankContext, batch: int, prompt: int) -> Iterator[Line]:
        """Yield what the engine needs on top of the cache for `batch` sequences on one device."""
        yield from ()

    def profile_lines(self, rank: RankContext, longest: int) -> Iterator[Line]:
        """Yield what a profile run needs that is as long as the longest sequence."""
        yield from ()

    def sequences(self, options: Mapping[str, int]) -> int | None:
        """Return how many sequences there is room for, whatever the memory; None where nothing limits it."""
        return self.most_sequences

    def ways_to_host(
        self, model: Model
    ) -> Iterator[tuple[int, Callable[[int], tuple[str, Mapping[str, int]]]]]:
        """Yield ways to put weights into the host's memory: the most layers or GiB, and what so many are."""
        yield from ()

    def sequence_tokens(self, context: int, batch: int, options: Mapping[str, int]) -> int:
        """Return the most tokens that one sequence of a load may hold."""
        return context

    def other_setup(
        self, options: Mapping[str, int], batch: int
    ) -> tuple[str, str, Mapping[str, int]] | None:
        """Return how the engine is run, the other usual way, and its options; None where there is one way."""
        return None

    def uses_host(self, options: Mapping[str, int]) -> bool:
        """Say whether weights or cache may lie in the host's memory."""
        return bool(self.offloads)

    def loads_vision(self, options: Mapping[str, int]) -> bool:
        """Say whether a vision tower is loaded with the model."""
        return False

    def host_lines(self, model: Model, options: Mapping[str, int]) -> Iterator[Line]:
        """Yield what the engine needs in the host's memory on top of weights and cache."""
        yield from ()


def some(names: Collection[str]) -> str:
    """Return names in words, and of many the first: what to do about them stands behind.

    >>> some("ab"), some("abcdefgh")
    ('a, b', 'a, b, c, d, e, f and 2 more')
    """
    more = len(names) - MOST_SHOWN
    return ", ".join(list(names)[:MOST_SHOWN]) + (f" and {more} more" if more > 0 else "")


def checked_value(field: str, value: object, default: int) -> int:
    """Return an option's value; the default says whether it is a flag, and whether it may be 0.

    A default below 0 stands for "all", and may be given too.

    Raises:
        BadInputError: a flag is neither true nor false, or a number is none from 1 (or 0) to 999999999.

    """
    if isinstance(default, float):
        if type(value) not in (int, float) or not 0 < value <= 1:  # type: ignore[operator]
            raise BadInputError(field, "a share above 0 and at most 1", value, "correct the value")
        return value  # type: ignore[return-value]
    if isinstance(default, bool):
        if type(value) is not bool:
            raise BadInputError(field, "true or false", value, "correct the value")
        return value
    lowest = 0 if default <= 0 else 1
    if type(value) is int and (lowest <= value < 10**9 or value == default):
        return value
    word = f", or {default}" if default < 0 else ""
    expected = f"a whole number from {lowest} to 999999999{word}"
    raise BadInputError(field, expected, value, "correct the value")


def measured_line(
    name: str,
    size: Measured,
    *,
    formula: str,
    evidence: str,
    component: str = "runtime",
    moments: tuple[str, ...] = (),
    outside: bool = False,
) -> Line:
    """Return the line of something that was measured, with its range and its source."""
    return Line(
        component=component,
        name=name,
        bytes=size.typical,
        formula=formula,
        moments=moments,
        evidence=evidence,
        source=f"{size.source}, {size.date}",
        low=size.low,
        high=size.high,
        outside=outside,
    )


def last_logits(rank: RankContext, batch: int, *, outside: bool = False) -> Line:
    """Return the logits of the last token of each sequence, on a stage that has a head."""
    vocab, element = rank.stage.logits_width or 0, rank.element_bytes
    return Line(
        component="logits",
        name="logits of the last token",
        count=batch * vocab,
        bytes=vocab * (element + 4) * batch,
        formula=f"{batch} x {vocab} x ({element} + 4) B: the last token, and its fp32 copy",
        moments=WHILE_SERVING,
        outside=outside,
    )


def cuda_evidence(rank: RankContext) -> str:
    """Return what a CUDA figure is worth on the rank's device: measured there, assumed elsewhere."""
    return "measured" if rank.device is None or rank.device.vendor == "NVIDIA" else "assumed"


def refuse_uneven(model: Model, parallelism: ServingParallelism, engine: str, *, replicates: bool) -> None:
    """Refuse ranks that do not divide what the engine shares among them.

    Raises:
        BadInputError: heads, key/value heads, widths or experts are no multiple of the ranks.

    """
    ep, cuts, faults = parallelism.ep, parallelism.attention_tp, Faults()
    for layer in model.groups:
        for _, part in layer.parts:
            heads: dict[str, int] = {}
            if is_gqa(part) or is_mla(part):
                heads["query heads"] = part.heads
            if is_gqa(part) and not (replicates and cuts % part.kv_heads == 0):
                heads["key/value heads"] = part.kv_heads
            widths = sharded_widths(part, parallelism, copies=replicates)
            if not any(one.field == "--tp" for one in faults.found):
                faults.of(refuse_remainder, heads, cuts, engine)
                ranks = parallelism.expert_tp if is_moe(part) else parallelism.tp
                faults.of(refuse_remainder, widths, ranks, engine)
            if is_moe(part) and part.experts % ep:
                expected = f"a divisor of the model's {part.experts} experts"
                faults.found.append(BadInputError("--ep", expected, ep, f"{engine} splits experts evenly"))
    faults.refuse()


def refuse_remainder(counts: Mapping[str, int], ranks: int, engine: str) -> None:
    """Refuse ranks that do not divide what is cut among them."""
    for what, number in counts.items():
        if number % ranks:
            expected = f"a divisor of the model's {number} {what}"
            raise BadInputError("--tp", expected, ranks, f"{engine} cuts them whole; choose another tp")


def sharded_widths(part: Part, parallelism: ServingParallelism, *, copies: bool) -> dict[str, int]:
    """Return the widths of a feed-forward part that tensor-parallel ranks share."""
    if is_moe(part):
        return {"numbers of an expert's width": part.expert_width} if parallelism.ep == 1 else {}
    groups = getattr(part, "ssm_groups", None)
    if groups is not None:
        heads = {"heads of a state space model": part.ssm_heads}  # type: ignore[attr-defined]
        alone = copies and groups == 1  # every rank has a copy of the only one
        return heads if alone else {**heads, "groups of heads that share its inputs": groups}
    width = getattr(part, "ffn_width", None)
    return {} if width is None else {"numbers of the feed-forward width": width}


def refuse_cut_blocks(
    model: Model,
    parallelism: ServingParallelism,
    rule: Rule,
    engine: str,
    padded: frozenset[str] = frozenset(),
) -> None:
    """Refuse ranks that would cut through the blocks of a quantised matrix, but of formats that are `padded`.

    Source: vllm-project/vllm#17569 (Qwen3-235B-A22B-FP8 at TP 8); model_executor/layers/quantization.

    Raises:
        BadInputError: a rank's rows or columns are no multiple of the block that shares a scale.

    """
    whole = with_copied_groups(model, parallelism.tp)
    for tensor in whole.weights() if parallelism.tp * parallelism.expert_tp > 1 else ():
        form = rule(tensor)
        if form.is_plain or tensor.shard_axis is None or form.id in padded:
            continue
        mine = parallelism.on_rank(tensor)
        block = form.rows_per_scale if tensor.shard_axis == OUT else form.columns_per_scale
        size = product(mine.shape[tensor.shard_axis])
        if size % (block or 1):
            expected = f"ranks whose share of {tensor.name} is whole blocks of {block}"
            ranks = parallelism.tp if tensor.active_experts is None else parallelism.expert_tp
            given = f"{ranks}, a share of {size}"
            remedy = f"{engine} does not cut the blocks of {form.id}; use fewer ranks, or --ep for experts"
            raise BadInputError("--tp", expected, given, remedy)


def refuse_copied_formats(model: Model, parallelism: ServingParallelism, rule: Rule, engine: str) -> None:
    """Refuse quantised weights where ranks copy the only group of heads of a state space model.

    Source: sgl-project/sglang, srt/layers/attention/mamba/mamba.py: an assertion, read 2026-12.

    Raises:
        BadInputError: there are some.

    """
    whole = with_copied_groups(model, parallelism.tp)
    if whole is not model and not all(rule(tensor).is_plain for tensor in model.weights()):
        expected = "1 for a quantised model all of whose Mamba-2 heads share one group"
        remedy = f"{engine} copies the group for each rank in 16 bits alone"
        raise BadInputError("--tp", expected, parallelism.tp, remedy)


def refuse_states(model: Model, engine: str) -> None:
    """Refuse layers that remember a state: how an engine lays it out in its pool is a rule of its own."""
    for tensor in model.cache(1, 1):
        if tensor.kind == "state":
            expected = "a model without recurrent states"
            remedy = f"{engine} lays states out in pages of its own, which is not understood yet"
            raise BadInputError(f"--engine {engine}", expected, tensor.name, remedy)


def activation_width(part: Part, parallelism: ServingParallelism) -> int:
    """Return how many numbers a token needs at once while it passes through a part.

    Dense feed-forward: gate, up and their product on top of four copies of the stream, 3f + 4h, the count
    that closes on Qwen2.5's published peaks. The other parts are counted the same way: inputs, outputs and
    what lies between, without reuse.
    """
    tp, width = parallelism.tp, getattr(part, "width", 0)
    if is_moe(part):
        inner = ceil_div(part.expert_width, parallelism.expert_tp)
        shared = 0 if part.shared_width is None else 3 * ceil_div(part.shared_width, tp)
        return 4 * width + 2 * part.top_k * width + max(3 * part.top_k * inner, shared) + part.experts
    cuts = parallelism.attention_tp
    if is_gqa(part):
        return (
            4 * width
            + 3 * ceil_div(part.heads, cuts) * part.head_dim
            + 4 * ceil_div(part.kv_heads, cuts) * part.head_dim
        )
    if is_mla(part):
        head = 2 * (part.nope_dim + part.rope_dim) + (part.nope_dim + part.value_dim) + part.value_dim
        return 4 * width + ceil_div(part.heads, cuts) * head
    ffn = getattr(part, "ffn_width", None)
    if ffn is None:
        return state_width(part, tp)
    return 4 * width + 3 * ceil_div(ffn, tp)


def state_width(part: Part, tp: int) -> int:
    """Return the same of a part that keeps a state: what it projects to, before and after a convolution.

    What is neither such a part nor a known one, as a norm, needs nothing beyond the stream.
    """
    if not keeps_state(part):
        return 0
    width = part.width  # type: ignore[attr-defined]
    inside = [tensor for tensor in part.weights() if tensor.kind == "matrix" and tensor.shape[-1] == width]
    return 4 * width + 2 * sum(ceil_div(product(tensor.shape[0]), tp) for tensor in inside)
