"""KTransformers: attention on the device, routed experts in the host's memory; placement rules are records.

Up to 0.4 it is an engine of its own. Sources: kvcache-ai/ktransformers, doc/en/DeepseekR1_V3_tutorial.md,
doc/en/fp8_kernel.md, the rules in optimize/optimize_rules/*.yaml and operators/linear.py (KLinearMarlin:
num_bits 4, group_size 64), 2025.

Since 0.5 (2025-12) it is SGLang (distributed as sglang-kt) with kernels for experts in the host: SGLang's
pool, share and runtime. Sources: kt-kernel/README.md, doc/en/Kimi-K2.5.md, and
python/sglang/srt/server_args.py of sglang-kt 0.7.2, whose share follows SGLang 0.5.9's law, read 2026-11.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from memcalc.data.constants import KTRANSFORMERS_HOST, KTRANSFORMERS_RUNTIME
from memcalc.errors import BadInputError
from memcalc.ledger.budget import Line
from memcalc.ledger.formats import FORMATS, Format, format_named, tensor_bytes
from memcalc.ledger.parts.kinds import is_mla, is_moe
from memcalc.ledger.tensor import least
from memcalc.serving.engines.base import Engine, Placement, measured_line, refuse_uneven
from memcalc.serving.engines.platforms import GPUS
from memcalc.serving.engines.sglang import SGLang
from memcalc.serving.engines.sglang_share import RELEASES, Release
from memcalc.serving.engines.shared import absorbed_copies, rotary_table
from memcalc.serving.engines.vllm_windows import refuse_chunks
from memcalc.serving.parallelism import ServingParallelism

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from memcalc.ledger.formats import Rule
    from memcalc.ledger.model import Layer, Model
    from memcalc.ledger.parts import Part
    from memcalc.ledger.tensor import Tensor
    from memcalc.serving.engines.base import RankContext

__all__ = ["RULES", "KTransformers", "KTransformersAlone", "OffloadRule", "ktransformers"]

MARLIN = "int4-g64"  # 4-bit codes and a 16-bit scale for 64 of them
UNQUANTISED = ("kv_b_proj.weight", "k_b_proj.weight", "v_b_proj.weight")
BUFFER_SOURCE = "kvcache-ai/ktransformers doc/en/Kimi-K2.5.md, 2026"


class OffloadRule(NamedTuple):
    """A rule: the device's format of linear layers, of the head, and what the host holds.

    `linear` and `head` None: as the checkpoint stores them. With `mapped` the host maps the whole file, else
    it holds the routed experts alone, and the embedding stays on the device.
    """

    linear: str | None
    head: str | None
    mapped: bool
    note: str


RULES = {
    "marlin": OffloadRule(
        MARLIN, MARLIN, mapped=True, note="linear layers in 4 bits on the device, GGUF in the host"
    ),
    "fp8": OffloadRule(
        "fp8-block128", "bf16", mapped=True, note="linear layers in FP8 on the device, GGUF in the host"
    ),
    "native": OffloadRule(
        None, None, mapped=False, note="all but the routed experts on the device, as stored"
    ),
    "gguf": OffloadRule(
        "bf16",
        "bf16",
        mapped=False,
        note="the routed experts in the host as GGUF, all else on the device as in its makers' checkpoint",
    ),
}
FP8_MADE = ("deepseek_v3", "deepseek_v32", "kimi_k2")  # whose makers' checkpoints are in FP8


class ExpertsInHost(Engine):
    """What all versions have in common: routed experts in the host, some of them on the device."""

    id = "ktransformers"
    title = "KTransformers"
    reads_gguf = True
    platforms: tuple[str, ...] | None = GPUS
    figures_of_gpus = True
    smaller_weights: tuple[str, ...] = ("Q8_0", "Q4_K_M", "Q2_K")
    options_of_experts: ClassVar[Mapping[str, int]] = {
        "gpu_experts": 0,
        "gpu_layers": 0,
        "layerwise_prefill": False,
        "sockets": 1,
    }

    @property
    def copies_of_experts(self) -> bool:
        """Whether each socket has the experts for itself; else each has a part of every expert."""
        return False

    def place_weights(self, model: Model, options: Mapping[str, int], offload: str | None) -> Model:
        """Put the experts of the last layers onto the device alone, as many layers as `gpu_layers` says.

        Raises:
            BadInputError: more experts, or more layers with experts, than the model has, or none at all.

        """
        model = with_latent(model)
        routed = [index for index, layer in enumerate(model.layers) if experts_of(layer.parts)]
        refuse_more("gpu_experts", options, max(map(most_experts, model.groups)), "experts of a layer")
        refuse_more("gpu_layers", options, len(routed), "layers with experts")
        if options["layerwise_prefill"] and not routed:
            field, remedy = "--engine-option layerwise_prefill", "leave it out"
            raise BadInputError(field, "a model with experts", "true", remedy)
        if not options["gpu_layers"]:
            return model
        alone = set(routed[len(routed) - options["gpu_layers"] :])
        layers = tuple(
            replace(
                layer,
                pools=tuple((tensor.name, "alone") for tensor in layer.weights() if tensor.kind == "expert"),
            )
            if index in alone
            else layer
            for index, layer in enumerate(model.layers)
        )
        return replace(model, layers=layers)

    def placements(
        self, model: Model, tensor: Tensor, rule: Rule, options: Mapping[str, int], offload: str | None
    ) -> Iterator[Placement]:
        """Yield the device's copy, and the host's."""
        offloading, stored = RULES[offload or "marlin"], rule(tensor)
        if tensor.kind == "expert":
            if tensor.pool == "alone":
                yield Placement("gpu", tensor, device_format(offloading, model, tensor, stored))
                return
            mine = min(options["gpu_experts"], tensor.experts)
            if mine:
                yield Placement("gpu", tensor._replace(experts=mine), stored)
            copies = options["sockets"] if self.copies_of_experts else 1
            yield Placement("host", tensor._replace(layers=tensor.layers * copies), stored)
            return
        if tensor.kind != "embedding" or not offloading.mapped:
            yield Placement("gpu", tensor, device_format(offloading, model, tensor, stored))
        if offloading.mapped:
            yield Placement("host", tensor, stored)

    def loads_vision(self, options: Mapping[str, int]) -> bool:
        """Load it with the model."""
        return True

    def host_lines(self, model: Model, options: Mapping[str, int]) -> Iterator[Line]:
        """Yield what the process takes on top of the weights."""
        yield measured_line(
            "buffers and the system",
            KTRANSFORMERS_HOST,
            formula="measured totals less the file",
            evidence="measured",
        )


class KTransformersAlone(ExpertsInHost):
    """The engine up to 0.4: one device, or several that split the layers; nothing is reserved."""

    version = "0.2"
    versions: Mapping[str, str] = {"0.2": "0.2", "0.3": "0.3", "0.4": "0.3"}
    offloads = ("marlin", "fp8", "native")
    defaults: Mapping[str, int] = ExpertsInHost.options_of_experts

    @property
    def copies_of_experts(self) -> bool:
        """Whether each socket has the experts for itself: with 0.2 (USE_NUMA=1).

        0.3 holds DeepSeek-V3 in 644 GB of two sockets (doc/en/DeepseekR1_V3_tutorial.md, V0.3-Preview), 0.4
        cuts every expert (kt-kernel/operators/moe-tp.hpp). A 0.3 that was built with USE_NUMA=1 is like 0.2.
        """
        return self.version == "0.2"

    def default_offload(self, *, gguf: bool) -> str | None:
        """Return Marlin with a GGUF file; a checkpoint is taken as it is stored."""
        return "marlin" if gguf else "native"

    def default_parallelism(self, devices: int) -> ServingParallelism:
        """Spread the layers over the devices: two devices are two pools."""
        return ServingParallelism(pp=devices)

    def check(self, model: Model, parallelism: ServingParallelism, rule: Rule) -> None:
        """Refuse ranks that cut heads, which no rule does unevenly, and chunks."""
        refuse_chunks(model, self.id)
        refuse_uneven(model, parallelism, self.id, replicates=False)

    def kept(self, context: int, window: int | None) -> int:
        """Keep the window, or everything."""
        return context if window is None else least(context, window)

    def constant_lines(self, rank: RankContext) -> Iterator[Line]:
        """Yield the runtime, the vision tower, and the buffer that prefills layer by layer."""
        yield measured_line(
            "context, graphs and temporaries",
            KTRANSFORMERS_RUNTIME,
            formula="measured totals less modules and cache",
            evidence="measured",
        )
        if rank.options["layerwise_prefill"]:
            yield layer_buffer(rank)


class KTransformers(ExpertsInHost, SGLang):
    """SGLang with its experts in the host: a pool, a share and SGLang's runtime on every device."""

    id = "ktransformers"
    title = "KTransformers"
    version = "0.7.2"
    versions: Mapping[str, str] = {
        **KTransformersAlone.versions,
        **dict.fromkeys(("0.5", "0.6", "0.7"), "0.7.2"),
    }
    behaviours: ClassVar[Mapping[str, Release]] = dict.fromkeys(("0.2", "0.3", "0.7.2"), RELEASES["0.5.9"])
    copies_attention = False
    offloads = ("native", "gguf")
    note = (
        "since 0.5 SGLang with experts in the host: --offload native (default for a checkpoint), or gguf "
        "(default for GGUF); --utilization is its mem-fraction-static; options: gpu_experts (0: experts of "
        "each layer that also lie on the device), gpu_layers (0: layers whose experts lie there alone), "
        "layerwise_prefill (false), sockets (1; they share the experts), and SGLang's. Up to 0.4 --offload "
        "marlin (default for GGUF), fp8 or native; on 2 sockets the host of 0.2 holds the experts twice"
    )
    defaults: Mapping[str, int] = {**ExpertsInHost.options_of_experts, **SGLang.defaults}

    def default_offload(self, *, gguf: bool) -> str | None:
        """Return the rule for a GGUF file, else for a checkpoint."""
        return "gguf" if gguf else "native"

    def default_words(self, options: Mapping[str, int], given: Collection[str]) -> Iterator[str]:
        """Yield its options in words, but for those that change nothing."""
        nothing = {name for name in ("gpu_experts", "gpu_layers", "sockets") if options[name] < 2}
        return super().default_words(options, {*given, *nothing})

    def constant_lines(self, rank: RankContext) -> Iterator[Line]:
        """Yield what SGLang has besides the weights, and what experts and images need."""
        yield from rotary_table(rank)
        yield from absorbed_copies(rank)
        yield from self.runtime_lines(rank)
        if rank.options["layerwise_prefill"]:
            yield layer_buffer(rank)


def ktransformers(release: str | None = None) -> ExpertsInHost:
    """Return the engine of a release: one of its own up to 0.4, SGLang with experts in the host since."""
    alone = release is not None and KTransformersAlone.for_version(release) is not None
    return KTransformersAlone(release) if alone else KTransformers(release)


def experts_of(parts: tuple[tuple[str, object], ...]) -> bool:
    """Say whether a layer has routed experts."""
    return any(is_moe(part) for _, part in parts)


def latent(part: Part) -> Part:
    """Return MLA with the latent in its cache, also where an older file keeps all heads."""
    return replace(part, expanded=False) if is_mla(part) and part.expanded else part


def with_latent(model: Model) -> Model:
    """Return the model with MLA's latent in the cache, whichever way its file holds kv_b_proj.

    llama.cpp keeps keys and values of all heads of older files; this engine does not ask the file.
    Source: kvcache-ai/ktransformers, ktransformers/models/custom_cache.py (StaticCache: one head of
    qk_rope_head_dim and one of kv_lora_rank numbers), 2026-11.
    """
    if all(latent(part) is part for layer in model.groups for _, part in layer.parts):
        return model
    layers = (
        replace(layer, parts=tuple((name, latent(part)) for name, part in layer.parts))
        for layer in model.layers
    )
    return replace(model, layers=tuple(layers))


def most_experts(layer: Layer) -> int:
    """Return how many experts a layer routes to; 0 if it has none."""
    return max((part.experts for _, part in layer.parts if is_moe(part)), default=0)


def refuse_more(option: str, options: Mapping[str, int], limit: int, what: str) -> None:
    """Refuse an option that asks for more than the model has."""
    if options[option] > limit:
        expected = f"at most the model's {limit} {what}"
        raise BadInputError(f"--engine-option {option}", expected, options[option], "correct the value")


def device_format(offloading: OffloadRule, model: Model, tensor: Tensor, stored: Format) -> Format:
    """Return how a tensor lies on the device.

    The rules match linear layers: kv_b_proj stays in 16 bits, and so do norms. A router that is a module of
    its own, with a score bias (DeepSeek, Kimi), is no linear layer and lies in 32 bits; others are quantised
    too.
    """
    if offloading.linear is None:
        return stored
    if offloading is RULES["gguf"]:
        in_fp8 = model.model_type in FP8_MADE and tensor.kind in ("matrix", "shared", "expert")
        return FORMATS["fp8-block128" if in_fp8 and len(tensor.shape) > 1 else "bf16"]
    if tensor.kind == "router":
        own = any(is_moe(part) and part.score_bias for layer in model.groups for _, part in layer.parts)
        return FORMATS["fp32"] if own else format_named(offloading.linear)
    if tensor.name.endswith(UNQUANTISED) or len(tensor.shape) < 2:
        return FORMATS["bf16"]
    return format_named((offloading.head if tensor.kind == "head" else offloading.linear) or "bf16")


def layer_buffer(rank: RankContext) -> Line:
    """Return the device's buffer for its share of the experts of one layer, as stored."""
    sizes = [0]
    for layer in rank.stage.groups:
        experts = (rank.parallelism.on_rank(tensor) for tensor in layer.weights() if tensor.kind == "expert")
        sizes.append(sum(tensor_bytes(tensor, rank.rule(tensor)) for tensor in experts))
    return Line(
        component="activations",
        name="buffer for a layer's experts",
        bytes=max(sizes),
        formula="the experts of one layer, as stored",
        moments=("prefill",),
        source=BUFFER_SOURCE,
    )
