"""Engines of Huawei's NPUs: vLLM's rules on NPUs with measured parts of their own, and MindIE.

A "64 GB" NPU shows 60.97 GiB to torch_npu (vllm-project/vllm-ascend#1987). Ranks must divide heads and
experts: 24 NPUs of three servers cannot share 128 heads, 32 of four can (hiascend.com model zoo: DeepSeek-R1
on four servers).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from memcalc.data import constants
from memcalc.errors import BadInputError
from memcalc.ledger.formats import KV_FORMATS
from memcalc.ledger.parts.kinds import is_mla
from memcalc.serving.engines.base import measured_line, refuse_states
from memcalc.serving.engines.compressed import refuse_compressed
from memcalc.serving.engines.platforms import HUAWEI
from memcalc.serving.engines.shared import rotary_table
from memcalc.serving.engines.vllm import VLLM
from memcalc.serving.engines.vllm_behaviour import V0_11, V0_17, Behaviour
from memcalc.serving.engines.vllm_pool import refuse_unequal_pages
from memcalc.serving.engines.vllm_windows import refuse_chunks

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from memcalc.files.machines import Device
    from memcalc.ledger.budget import Line
    from memcalc.ledger.formats import Format, Rule
    from memcalc.ledger.model import Model
    from memcalc.ledger.tensor import Tensor
    from memcalc.serving.engines.base import RankContext, Setting
    from memcalc.serving.engines.vllm_states import Layout, Sizes
    from memcalc.serving.parallelism import ServingParallelism

__all__ = ["MindIE", "VLLMAscend"]

BLOCK = 128  # tokens of a block of the cache on an NPU
NPU = Behaviour(
    sampler=constants.VLLM_ASCEND_SAMPLER,
    tokens=V0_17.tokens,
    expert_workspace=True,
    non_torch=(constants.VLLM_ASCEND_NON_TORCH, V0_11.non_torch[1]),
    graphs=constants.VLLM_ASCEND_GRAPHS,
    measured_on="Huawei",
)


class OnNPUs(VLLM):
    """vLLM's rules on NPUs: blocks of 128 tokens, no weights in FP8, and caches as the model has them."""

    defaults: Mapping[str, int] = {
        **{name: value for name, value in VLLM.defaults.items() if name != "plain_fp8"},
        "block_size": BLOCK,
    }
    platforms: tuple[str, ...] | None = (HUAWEI,)
    figures_of_gpus = False
    cache_formats: Mapping[str, Format] = KV_FORMATS
    smaller_caches: tuple[str, ...] = ()
    smaller_weights: tuple[str, ...] = ("w8a8",)

    def prepare(self, model: Model) -> Model:
        """Return the model as it is loaded; blocks of compressed attention are CUDA's."""
        refuse_compressed(model, self.id)
        return super().prepare(model)

    def options_for(
        self, model: Model, device: Device | None, given: Mapping[str, object]
    ) -> Mapping[str, int]:
        """Have the same blocks for every model."""
        return {}

    def default_cache_format(self, model: Model, device: Device | None) -> str | None:
        """Store the cache of sparse attention in 16 bits too."""
        return None

    def cache_layout(self, model: Model, form: Format, options: Mapping[str, int]) -> Format:
        """Have no layout of DeepSeek's: its kernels are CUDA's."""
        return form

    def cache_format(self, tensor: Tensor, layout: Format) -> Format:
        """Store every tensor of a cache alike, the indexer's keys too."""
        return layout

    def constant_lines(self, rank: RankContext) -> Iterator[Line]:
        """Yield what vLLM has, the tables that NPUs read, and what other drivers show of the device."""
        yield from super().constant_lines(rank)
        if self.keeps_tables_apart:
            yield from separate_tables(rank)
        if rank.device is not None and rank.device.id == "ascend-910b-64g":
            yield measured_line(
                "less, where a driver shows more",
                constants.NPU_VISIBLE,
                formula="visible",
                evidence="measured",
            )

    @property
    def keeps_tables_apart(self) -> bool:
        """Whether cosines and sines are kept apart, too."""
        return False

    def check(self, model: Model, parallelism: ServingParallelism, rule: Rule) -> None:
        """Refuse what vLLM refuses, and weights in FP8.

        Source: https://github.com/vllm-project/vllm-ascend/issues/1526, 2026-05.
        """
        super().check(model, parallelism, rule)
        refuse_unequal_pages(model, self.id)
        refuse_chunks(model, self.id)
        for tensor in model.weights():
            form = rule(tensor)
            if form.id.startswith("fp8"):
                remedy = "the checkpoint is converted first: add --weights bf16 or w8a8"
                raise BadInputError("--weights", f"a format that {self.id} serves", form.id, remedy)


class VLLMAscend(OnNPUs):
    """vLLM with the plugin for NPUs: pool and profile run are vLLM's; graphs are in the share since 2026-04.

    Source: vllm-project/vllm-ascend, vllm_ascend/platform.py (check_and_update_config), 2026-11; #8289.
    """

    id = "vllm-ascend"
    title = "vLLM Ascend"
    # before it all attention has the pages of full attention: vllm-project/vllm-ascend v0.9.1 to v0.14.0rc1,
    # worker/model_runner_v1.py, get_kv_cache_spec, 2026-12
    windows_since = groups_since = (0, 14)
    version = "0.23"
    versions: Mapping[str, str] = {
        "0.7": "V0",
        **{f"0.{minor}": "0.17" for minor in range(8, 18)},
        **{f"0.{minor}": "0.23" for minor in range(18, 24)},
    }
    behaviours: ClassVar[Mapping[str, Behaviour]] = {
        "V0": NPU._replace(whole_prompts=True),
        "0.17": NPU,
        "0.23": NPU._replace(graphs_inside=True),
    }

    def page_layout(self, sizes: Sizes, kernel: int, block: int) -> Layout:
        """Return a block whose keys are as large as a recurrent state, with a convolution's room beside.

        Its kernels want keys and states contiguous, so the keys alone set the block. The page of an attention
        layer is padded by the convolution's inputs, too.
        Source: vllm-project/vllm-ascend, vllm_ascend/patch/platform/patch_mamba_config.py (#6887), 2026-11.

        Raises:
            BadInputError: no number of blocks of its kernel is as large as a state: it does not start.

        """
        from memcalc.serving.engines.vllm_states import Layout

        state = max(sizes.convolution, sizes.recurrent)
        beside = sizes.convolution + sizes.recurrent - state
        if not sizes.keys or state % (BLOCK * sizes.keys):
            expected = f"keys of which whole blocks of {BLOCK} tokens are as large as a state of {state:,} B"
            given = f"keys of {sizes.keys:,} B a token" if sizes.keys else "no keys"
            raise BadInputError("--engine vllm-ascend", expected, given, "--engine transformers answers")
        found = max(block, state // sizes.keys)
        return Layout(found, found * sizes.token + beside, beside)

    note = (
        f"blocks of {BLOCK} tokens; the other rules are vLLM's, and what was measured on one NPU is its own: "
        "the rest is assumed as on CUDA; graphs are in the share from 0.18 on"
    )

    @property
    def keeps_tables_apart(self) -> bool:
        """Whether cosines and sines are kept apart, too: seen in a log of 2026-04."""
        return self.behaviour.graphs_inside


def separate_tables(rank: RankContext) -> Iterator[Line]:
    """Yield cosines and sines apart, each as wide as the rotary table that holds halves of both.

    Source: vllm-project/vllm-ascend@026511b, vllm_ascend/ops/rotary_embedding.py, 2026-11: with plain and
    DeepSeek's rotary embedding, not with YaRN's of grouped queries.
    """
    latent = any(is_mla(part) for layer in rank.stage.groups for _, part in layer.parts)
    if latent or rank.stage.rotary_positions == rank.stage.max_context:
        for line in rotary_table(rank):
            yield line._replace(
                name="tables of cosines and of sines",
                count=2 * (line.count or 0),
                bytes=2 * line.bytes,
                formula=f"2 x {line.formula}",
                source="vllm-project/vllm-ascend@026511b vllm_ascend/ops/rotary_embedding.py, 2026-11",
            )


class MindIE(OnNPUs):
    """MindIE: its cache is a pool of blocks too; how much else it takes is not published.

    Source: gitee.com/ascend/ModelZoo-PyTorch, MindIE/LLM/DeepSeek/DeepSeek-R1/README.md (cacheBlockSize).
    """

    id = "mindie"
    title = "MindIE"
    spreads_experts = False
    version = "as vLLM Ascend 0.17"
    versions: Mapping[str, str] = {}
    behaviours: ClassVar[Mapping[str, Behaviour]] = {version: NPU._replace(measured_on="")}
    note = (
        f"blocks of {BLOCK} tokens; everything but weights and cache is assumed to be as vLLM's on NPUs, in "
        "all versions (the newest that was seen is 2.2.RC1, 2025-12)"
    )

    def prepare(self, model: Model) -> Model:
        """Refuse models that remember states."""
        whole = super().prepare(model)
        refuse_states(whole, self.id)
        return whole

    def check_context(self, model: Model, context: int) -> None:
        """Refuse more tokens than a window: what is kept of those that left it is not published."""
        if any(window < context for window in model.windows):
            expected = f"at most {min(model.windows)}, the window of some layers"
            remedy = f"it is not published what {self.title} keeps of a window: --engine vllm-ascend answers"
            raise BadInputError("--context", expected, context, remedy)

    def default_share(self, setting: Setting) -> float:
        """Take nine tenths: its own share is not published."""
        return 0.9
