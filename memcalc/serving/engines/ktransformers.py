"""KTransformers: attention on the device, routed experts in the host's memory; placement rules are records.

Sources: kvcache-ai/ktransformers, doc/en/DeepseekR1_V3_tutorial.md, doc/en/fp8_kernel.md,
doc/en/Kimi-K2.5.md, the rules in optimize/optimize_rules/*.yaml and operators/linear.py (KLinearMarlin:
num_bits 4, group_size 64), 2025 and 2026.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from memcalc.errors import BadInputError
from memcalc.ledger.budget import Line
from memcalc.ledger.formats import FORMATS, Format, format_named, tensor_bytes
from memcalc.ledger.parallel import Split
from memcalc.ledger.parts import MLA, MoE
from memcalc.ledger.tensor import least
from memcalc.serving.engines.base import Engine, Place, refuse_uneven

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from memcalc.ledger.formats import Rule
    from memcalc.ledger.model import Layer, Model
    from memcalc.ledger.parts import Part
    from memcalc.ledger.tensor import Tensor
    from memcalc.serving.engines.base import Step

__all__ = ["RULES", "KTransformers", "Placement"]

GB = 10**9
ALWAYS = ("load", "prefill", "decode")
MARLIN = "int4-g64"  # 4-bit codes and a 16-bit scale for 64 of them
# GB beside modules and cache: Kimi-K2.5 with 5 experts and with 1, DeepSeek-R1. The last cache is 17 pages
# of 64 tokens: a prompt of 25, and 1,000 new ones (ktransformers/models/custom_cache.py).
RUNTIME = (2.58, 2.82, 3.64)
RUNTIME_SOURCE = (
    "kvcache-ai/ktransformers#1817 (Kimi-K2.5: 39 and 31 GB), 2026-02; "
    "#275 (DeepSeek-R1: 13,535 MiB with 1,000 new tokens), 2025-02"
)
# GB beside the mapped file: DeepSeek-R1 asks for 382 of 376.65 GiB, Qwen3-235B took 160 of 142.1 GB.
HOST = (0, 5, 18)
HOST_SOURCE = "kvcache-ai/ktransformers doc/en/install.md (382 GiB); README at cb5617b4 (160 GB), 2025"
BUFFER_SOURCE = "kvcache-ai/ktransformers doc/en/Kimi-K2.5.md, 2026"


class Placement(NamedTuple):
    """A rule: the device's format of linear layers, of the head, and what the host holds.

    `linear` and `head` None: as the checkpoint stores them. With `mapped` the host maps the whole file, else
    it holds the routed experts alone, and the embedding stays on the device.
    """

    linear: str | None
    head: str | None
    mapped: bool
    note: str


RULES = {
    "marlin": Placement(
        MARLIN, MARLIN, mapped=True, note="linear layers in 4 bits on the device, GGUF in the host"
    ),
    "fp8": Placement(
        "fp8-block128", "bf16", mapped=True, note="linear layers in FP8 on the device, GGUF in the host"
    ),
    "native": Placement(None, None, mapped=False, note="all but the routed experts on the device, as stored"),
}


class KTransformers(Engine):
    """One device, or several that split the layers; the experts of a token are computed where they lie."""

    id = "ktransformers"
    version = "0.2"
    versions = (("0.2", "0.2"), ("0.3", "0.2"), ("0.4", "0.2"), ("0.5", "0.2"))
    offloads = tuple(RULES)
    reads_gguf = True
    note = (
        "--offload marlin (default for GGUF), fp8, or native (default for a checkpoint); "
        "options: gpu_experts (0: experts of each layer that also lie on the device), gpu_layers (0: layers "
        "whose experts lie there alone), layerwise_prefill (false), "
        "sockets (1; on 2 the host holds the experts twice)"
    )
    defaults: Mapping[str, int] = {
        "gpu_experts": 0,
        "gpu_layers": 0,
        "layerwise_prefill": False,
        "sockets": 1,
    }

    def default_offload(self, *, gguf: bool) -> str | None:
        """Return Marlin beside a GGUF file; a checkpoint is taken as it is stored."""
        return "marlin" if gguf else "native"

    def default_split(self, devices: int) -> Split:
        """Spread the layers over the devices: two devices are two pools."""
        return Split(pp=devices)

    def check(self, model: Model, split: Split, rule: Rule) -> None:
        """Refuse ranks that cut heads, which no rule does unevenly."""
        del rule
        refuse_uneven(model, split, self.id, replicates=False)

    def kept(self, context: int, window: int | None) -> int:
        """Keep the window, or everything."""
        return context if window is None else least(context, window)

    def spread(self, model: Model, options: Mapping[str, int], offload: str | None) -> Model:
        """Put the experts of the last layers onto the device alone, as many layers as `gpu_layers` says.

        Raises:
            BadInputError: more experts, or more layers with experts, than the model has, or none at all.

        """
        del offload
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

    def places(
        self, model: Model, tensor: Tensor, rule: Rule, options: Mapping[str, int], offload: str | None
    ) -> Iterator[Place]:
        """Yield the device's copy, and the host's."""
        placement, stored = RULES[offload or "marlin"], rule(tensor)
        if tensor.kind == "expert":
            if tensor.pool == "alone":
                yield Place("gpu", tensor, device_form(placement, model, tensor, stored))
                return
            mine = min(options["gpu_experts"], tensor.experts)
            if mine:
                yield Place("gpu", tensor._replace(experts=mine), stored)
            yield Place("host", tensor._replace(layers=tensor.layers * options["sockets"]), stored)
            return
        if tensor.kind != "embedding" or not placement.mapped:
            yield Place("gpu", tensor, device_form(placement, model, tensor, stored))
        if placement.mapped:
            yield Place("host", tensor, stored)

    def constant_lines(self, step: Step) -> Iterator[Line]:
        """Yield the runtime, the vision tower, and the buffer that prefills layer by layer."""
        low, typical, high = (int(size * GB) for size in RUNTIME)
        name, formula = "context, graphs and temporaries", "measured totals less modules and cache"
        yield Line(
            component="runtime",
            name=name,
            bytes=typical,
            formula=formula,
            evidence="measured",
            source=RUNTIME_SOURCE,
            low=low,
            high=high,
        )
        seeing = step.stage.vision_parameters
        if seeing:
            size, formula = seeing * step.element_bytes, f"{seeing} x {step.element_bytes} B"
            yield Line(
                component="weights",
                name="vision tower",
                count=seeing,
                bytes=size,
                formula=formula,
                moments=ALWAYS,
            )
        if step.options["layerwise_prefill"]:
            yield layer_buffer(step)

    def host_lines(self, model: Model) -> Iterator[Line]:
        """Yield what the process takes beside the weights."""
        del model
        low, typical, high = (size * GB for size in HOST)
        name, formula = "buffers and the system", "measured totals less the file"
        yield Line(
            component="runtime",
            name=name,
            bytes=typical,
            formula=formula,
            evidence="measured",
            source=HOST_SOURCE,
            low=low,
            high=high,
        )


def experts_of(parts: tuple[tuple[str, object], ...]) -> bool:
    """Say whether a layer has routed experts."""
    return any(isinstance(part, MoE) for _, part in parts)


def latent(part: Part) -> Part:
    """Return MLA with the latent in its cache, also where an older file keeps all heads."""
    return replace(part, expanded=False) if isinstance(part, MLA) and part.expanded else part


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
    return max((part.experts for _, part in layer.parts if isinstance(part, MoE)), default=0)


def refuse_more(option: str, options: Mapping[str, int], limit: int, what: str) -> None:
    """Refuse an option that asks for more than the model has.

    Raises:
        BadInputError: it does.

    """
    if options[option] > limit:
        expected = f"at most the model's {limit} {what}"
        raise BadInputError(f"--engine-option {option}", expected, options[option], "correct the value")


def device_form(placement: Placement, model: Model, tensor: Tensor, stored: Format) -> Format:
    """Return how a tensor lies on the device.

    The rules match linear layers: kv_b_proj stays in 16 bits, and so do norms and embedding. A router that is
    a module of its own, with a score bias (DeepSeek, Kimi), is no linear layer and lies in 32 bits; others
    are quantised too.
    """
    if placement.linear is None:
        return stored
    if tensor.kind == "router":
        own = any(
            isinstance(part, MoE) and part.score_bias for layer in model.groups for _, part in layer.parts
        )
        return FORMATS["fp32"] if own else format_named(placement.linear)
    if (
        tensor.name.endswith(("kv_b_proj.weight", "k_b_proj.weight", "v_b_proj.weight"))
        or len(tensor.shape) < 2
        or tensor.kind == "embedding"
    ):
        return FORMATS["bf16"]
    return format_named(placement.head or "bf16") if tensor.kind == "head" else format_named(placement.linear)


def layer_buffer(step: Step) -> Line:
    """Return the device's buffer for its share of the experts of one layer, as stored."""
    sizes = [0]
    for layer in step.stage.groups:
        experts = (step.split.on_rank(tensor) for tensor in layer.weights() if tensor.kind == "expert")
        sizes.append(sum(tensor_bytes(tensor, step.rule(tensor)) for tensor in experts))
    name, formula = "buffer for a layer's experts", "the experts of one layer, as stored"
    return Line(
        component="activations",
        name=name,
        bytes=max(sizes),
        formula=formula,
        moments=("prefill",),
        source=BUFFER_SOURCE,
    )
