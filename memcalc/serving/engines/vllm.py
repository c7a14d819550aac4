"""vLLM: a paged cache in whole blocks, a profiled activation peak, a pool taken in advance.

pool = utilization x visible - weights - activation peak - non-torch (- graphs, from 0.21 on; before, graphs
come on top of the share). The peak follows the vocabulary (the sampler's logits of the profile run), hardly
the model's size; V0 read prompts in one piece, and there the tokens of the longest sequence can be more. The
measured constants (memcalc/data/constants.py) equal the calibration rows of the record
(book/record/observations.json); other rows test them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NamedTuple

from memcalc.data import constants
from memcalc.data.constants import GIB, Measured
from memcalc.errors import BadInputError
from memcalc.ledger.budget import Line
from memcalc.ledger.parts.kinds import is_moe
from memcalc.ledger.tensor import ceil_div, least
from memcalc.serving.engines.base import (
    WHILE_SERVING,
    Engine,
    cuda_evidence,
    measured_line,
    refuse_cut_blocks,
    refuse_states,
    refuse_uneven,
)
from memcalc.serving.engines.mxfp4 import MXFP4, expert_padding
from memcalc.serving.engines.shared import absorbed_copies, inner_width, rotary_table, weight_rounding
from memcalc.serving.engines.sparse_cache import (
    FP8_DS_MLA,
    LAYOUTS,
    is_sparse,
    refuse_dense,
    stored_as,
    with_layouts,
)
from memcalc.serving.parallelism import ServingParallelism

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from memcalc.files.machines import Device
    from memcalc.ledger.formats import Format, Rule
    from memcalc.ledger.model import Model
    from memcalc.ledger.parts.plain import Kept
    from memcalc.ledger.tensor import Tensor
    from memcalc.serving.engines.base import RankContext

__all__ = ["VLLM"]


class Behaviour(NamedTuple):
    """What was measured with some versions, see memcalc/data/constants.py for the units.

    `sampler` is what the trial pass takes by the vocabulary, `tokens` by the tokens; `expert_workspace` says
    whether experts keep theirs beside the logits; `non_torch` lies outside PyTorch's allocator, on one
    tensor-parallel rank and on several; captured `graphs` are inside the share (`graphs_inside`) or come on
    top of it. `whole_prompts`: the trial pass reads the longest sequence in one piece.
    """

    sampler: Measured
    tokens: Measured
    expert_workspace: bool
    non_torch: tuple[Measured, Measured]
    graphs: Measured
    graphs_inside: bool = False
    whole_prompts: bool = False


V0_11 = Behaviour(
    sampler=constants.VLLM_0_11_SAMPLER,
    tokens=constants.VLLM_0_11_TOKENS,
    expert_workspace=False,
    non_torch=(constants.VLLM_0_11_NON_TORCH, constants.VLLM_0_11_NON_TORCH_ON_RANKS),
    graphs=constants.VLLM_0_11_GRAPHS,
)
V0_17 = Behaviour(
    sampler=constants.VLLM_0_17_SAMPLER,
    tokens=constants.VLLM_0_17_TOKENS,
    expert_workspace=True,
    non_torch=(constants.VLLM_0_17_NON_TORCH, constants.VLLM_0_17_NON_TORCH_ON_RANKS),
    graphs=constants.VLLM_0_17_GRAPHS,
)
LARGE, SMALL = (
    {"max_num_seqs": 1024, "max_num_batched_tokens": 8192},
    {"max_num_seqs": 256, "max_num_batched_tokens": 2048},
)
LONG = 32_768  # tokens of a sequence from which on V0 read prompts in pieces
LONGEST = -1  # V0's tokens of a pass, if none are asked for: as long as the longest sequence


class VLLM(Engine):
    """A sequence's tokens are rounded up to whole blocks; KV heads are replicated where ranks exceed them."""

    id = "vllm"
    title = "vLLM"
    version = "0.11"
    versions: Mapping[str, str] = {
        "V0": "V0",
        **{f"0.{minor}": "V0" for minor in range(4, 8)},
        **{f"0.{minor}": "0.11" for minor in range(8, 17)},
        **{f"0.{minor}": "0.17" for minor in range(17, 21)},
        **{f"0.{minor}": "0.21" for minor in range(21, 34)},
    }
    behaviours: ClassVar[Mapping[str, Behaviour]] = {
        "V0": V0_11._replace(whole_prompts=True),
        "0.11": V0_11,
        "0.17": V0_17,
        "0.21": V0_17._replace(graphs=constants.VLLM_0_21_GRAPHS, graphs_inside=True),
    }
    reserves = True
    note = (
        "options: block_size (16 tokens), max_num_seqs and max_num_batched_tokens of the profile run "
        "(1024 and 8192 on devices of 70 GiB or more but the A100, 256 and 2048 on others; V0: 256 and the "
        "longest sequence), enforce_eager (false: CUDA graphs, on top of the share before 0.21, then in it), "
        "plain_fp8 (false: sparse attention's fp8 cache is fp8_ds_mla; true with FLASHINFER_MLA_SPARSE), "
        "language_model_only (false: a vision tower is loaded, and its outputs have a cache), cpu_offload_gb "
        "(0: GiB of weights that leave each device for the host) and kv_offloading_size (0: GiB of the host "
        "that hold more of the cache)"
    )
    defaults: Mapping[str, int] = {
        "block_size": 16,
        **LARGE,
        "enforce_eager": False,
        "plain_fp8": False,
        "language_model_only": False,
        "cpu_offload_gb": 0,
        "kv_offloading_size": 0,
    }
    chunk_option = "max_num_batched_tokens"
    smaller_caches: tuple[str, ...] = ("fp8",)
    smaller_weights: tuple[str, ...] = ("fp8", "awq-int4-g128")
    cache_formats: Mapping[str, Format] = with_layouts(*LAYOUTS)
    counted: Mapping[str, str] = {"max_num_seqs": "sequences", "max_num_batched_tokens": "tokens a pass"}

    @property
    def behaviour(self) -> Behaviour:
        """What was measured with this version."""
        return self.behaviours[self.version]

    @property
    def shorter_trial_above(self) -> int | None:  # type: ignore[override]
        """V0 read prompts in pieces where the longest sequence is longer than this."""
        return LONG if self.behaviour.whole_prompts else None

    def defaults_on(self, device: Device | None, ranks: ServingParallelism) -> Mapping[str, int]:
        """Return the server's defaults: they depend on the device's memory and name.

        Source: vllm-project/vllm, engine/arg_utils.py, read 2026-11; of V0, v0.6.4 vllm/config.py.
        """
        if self.behaviour.whole_prompts:
            return {**self.defaults, **SMALL, "max_num_batched_tokens": LONGEST}
        large = device is None or (device.capacity_bytes >= 70 * GIB and "a100" not in device.name.lower())
        return {**self.defaults, **(LARGE if large else SMALL)}

    def default_parallelism(self, devices: int) -> ServingParallelism:
        """Cut every matrix over all devices."""
        return ServingParallelism(tp=devices)

    def check(self, model: Model, parallelism: ServingParallelism, rule: Rule) -> None:
        """Refuse ranks that do not divide heads, widths, experts or the blocks of a format."""
        refuse_uneven(model, parallelism, self.id, replicates=True)
        refuse_cut_blocks(model, parallelism, rule, self.id, padded=frozenset({MXFP4}))

    def check_sweep(self, given: Mapping[str, object]) -> None:
        """Refuse versions whose trial pass is as long as the context, which differs from point to point.

        Raises:
            BadInputError: this is such a version, and the tokens of its trial pass are not given.

        """
        if self.behaviour.whole_prompts and self.chunk_option not in given:
            expected = f"0.8 or newer in a sweep, or the option {self.chunk_option}"
            remedy = "ask for single plans: its trial pass is as long as the context"
            raise BadInputError("--engine-version", expected, self.release, remedy)

    def prepare(self, model: Model) -> Model:
        """Refuse models that remember states."""
        refuse_states(model, self.id)
        return model

    def default_cache_format(self, model: Model, device: Device | None) -> str | None:
        """Store the cache of sparse attention in DeepSeek's layout.

        Source: vllm-project/vllm, model_executor/models/config.py, DeepseekV32ForCausalLM, 2026-11.
        """
        return FP8_DS_MLA.id if is_sparse(model) else None

    def cache_layout(self, model: Model, form: Format, options: Mapping[str, int]) -> Format:
        """Take fp8 of sparse attention for DeepSeek's layout, but with a backend that reads plain fp8."""
        deepseeks = form.id == "fp8" and not options["plain_fp8"] and is_sparse(model)
        return FP8_DS_MLA if deepseeks else form

    def cache_format(self, tensor: Tensor, layout: Format) -> Format:
        """Return how a tensor of a cache is stored: sparse attention has layouts of its own."""
        return stored_as(tensor, layout)

    def check_cache_formats(self, model: Model, keys: Format, values: Format) -> None:
        """Refuse a layout of sparse attention for another model."""
        refuse_dense(model, keys, values, self.id)

    def kept(self, context: int, window: int | None) -> int:
        """Keep the window, or everything."""
        return context if window is None else least(context, window)

    def window_rule(self, options: Mapping[str, int]) -> Kept:
        """Keep a window, the tokens on their way, and a block for where the window begins.

        Source: vllm-project/vllm, v1/kv_cache_interface.py, SlidingWindowSpec.max_memory_usage_bytes,
        2026-11.
        """
        block = options["block_size"]

        def kept(context: int, window: int | None) -> int:
            if window is None:
                return context
            moving = tokens_a_pass(options, context)
            return least(context, (ceil_div(window - 1 + moving, block) + 1) * block)

        return kept

    def default_words(self, options: Mapping[str, int], given: Collection[str]) -> Iterator[str]:
        """Yield its options in words; what lies in the host's memory, if anything does."""
        none = {name for name in ("cpu_offload_gb", "kv_offloading_size") if not options.get(name)}
        yield from super().default_words(options, {*given, *none})

    def uses_host(self, options: Mapping[str, int]) -> bool:
        """Use it where weights or cache are asked to lie there."""
        return bool(options.get("cpu_offload_gb") or options.get("kv_offloading_size"))

    def loads_vision(self, options: Mapping[str, int]) -> bool:
        """Load it, unless the language model alone is asked for."""
        return not options["language_model_only"]

    def allocated_tokens(self, tokens: int, options: Mapping[str, int]) -> int:
        """Round up to whole blocks."""
        return ceil_div(tokens, options["block_size"]) * options["block_size"]

    def constant_lines(self, rank: RankContext) -> Iterator[Line]:
        """Yield what it loads besides the weights, the trial pass's peak, the runtime, the graphs."""
        yield from rotary_table(rank)
        yield from absorbed_copies(rank)
        yield from expert_padding(rank)
        yield weight_rounding(rank)
        if rank.options["max_num_batched_tokens"] != LONGEST:
            yield activation_peak(rank, self.behaviour, rank.options["max_num_batched_tokens"])
        yield measured_line(
            "outside PyTorch's allocator",
            self.behaviour.non_torch[rank.parallelism.tp > 1],
            formula="context + communicators",
            evidence=cuda_evidence(rank),
        )
        if not rank.options["enforce_eager"]:
            yield measured_line(
                "CUDA graphs",
                self.behaviour.graphs,
                formula="captured graphs",
                evidence=cuda_evidence(rank),
                outside=not self.behaviour.graphs_inside,
            )

    def trial_lines(self, rank: RankContext, longest: int) -> Iterator[Line]:
        """Yield the trial pass's peak where it reads the longest sequence."""
        if rank.options["max_num_batched_tokens"] == LONGEST:
            yield activation_peak(rank, self.behaviour, tokens_a_pass(rank.options, longest))


def tokens_a_pass(options: Mapping[str, int], longest: int) -> int:
    """Return the tokens of a pass: V0's are those of the longest sequence up to a bound, and 2,048 at least.

    Source: vllm-project/vllm v0.6.4, vllm/config.py, SchedulerConfig, and engine/arg_utils.py.
    """
    asked, least_tokens = options["max_num_batched_tokens"], SMALL["max_num_batched_tokens"]
    if asked != LONGEST:
        return asked
    return least_tokens if longest > LONG else max(longest, least_tokens)


def activation_peak(rank: RankContext, behaviour: Behaviour, tokens: int) -> Line:
    """Return the peak of the trial pass: the sampler's logits, or one pass's tokens where they are more.

    The logits follow the vocabulary: two rows a version set the bytes, others test them. The tokens' term,
    three inner and three outer widths a token, closes on two rows of an older version to 0.01 GiB; stages
    without a head have it alone.
    """
    sampler, layers = sampler_peak(rank, behaviour, tokens), token_peak(rank, behaviour, tokens)
    return layers if layers.bytes > sampler.most_bytes else sampler


def sampler_peak(rank: RankContext, behaviour: Behaviour, tokens: int) -> Line:
    """Return what the sampler needs for the trial pass, and the workspace that experts keep beside it."""
    seqs, vocab, size = rank.options["max_num_seqs"], rank.stage.logits_width, behaviour.sampler
    entries, ends = seqs * (vocab or 0), (size.low / 100, size.high / 100)
    low, high = (int(entries * end) for end in ends)
    formula = f"{vocab} vocabulary entries x {seqs} sequences x {ends[0]}..{ends[1]} B"
    beside = tokens * expert_workspace_width(rank) * rank.element_bytes if behaviour.expert_workspace else 0
    if beside:
        formula, low, high = f"{formula} + {beside} B of experts", low + beside, high + beside
    return Line(
        component="activations",
        name="activation peak of the trial pass",
        count=entries,
        bytes=(low + high) // 2,
        formula=formula,
        moments=WHILE_SERVING,
        evidence=cuda_evidence(rank),
        source=f"{size.source}, {size.date}",
        low=low,
        high=high,
    )


def token_peak(rank: RankContext, behaviour: Behaviour, tokens: int) -> Line:
    """Return what the tokens of the trial pass need in the widest part."""
    width, measured = inner_width(rank), behaviour.tokens
    size = tokens * width * rank.element_bytes
    return Line(
        component="activations",
        name="activation peak of the trial pass",
        count=tokens * width,
        bytes=size,
        formula=f"{tokens} tokens x {width} numbers x {rank.element_bytes} B",
        moments=WHILE_SERVING,
        evidence="assumed",
        source=f"{constants.VLLM_0_11_TOKENS.source}; {measured.source}",
        low=size * measured.low // 100,
        high=size * measured.high // 100,
    )


def expert_workspace_width(rank: RankContext) -> int:
    """Return the numbers a token that the fused experts' workspace holds: two arrays for each chosen expert.

    Source: vllm-project/vllm, model_executor/layers/fused_moe/fused_moe.py (intermediate caches), 2026-11.
    MXFP4 experts have another kernel, for which no workspace was seen.
    """
    widths, ranks = [0], rank.parallelism
    for layer in rank.stage.groups:
        for _, part in layer.parts:
            if is_moe(part) and all(rank.rule(tensor).id != MXFP4 for tensor in part.weights()):
                inner = part.expert_width if ranks.ep > 1 else ceil_div(part.expert_width, ranks.tp)
                widths.append(part.top_k * (max(2 * inner, part.width) + inner))
    return max(widths)
