"""Adapters: which matrices have one, and the arrays that it is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.errors import BadInputError
from memcalc.ledger.tensor import product
from memcalc.training.autograd.architectures import words_of
from memcalc.training.autograd.base import Adapter
from memcalc.training.head import HEAD

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memcalc.ledger.model import Model
    from memcalc.ledger.tensor import Tensor
    from memcalc.training.options import FilledOptions

__all__ = [
    "EMBEDDED",
    "FOLDED_BY_PEFT",
    "HEAD",
    "adapter_arrays",
    "adapter_of",
    "adapters_of",
    "folds",
    "has_adapters_of_experts",
    "linear_names",
    "names_beside_experts",
    "names_here",
    "smaller_sides",
    "stacked_names",
]

# Model types of which PEFT 0.21 takes the names of experts and router that they had in transformers 4 for the
# stacked arrays of transformers 5 (peft/utils/transformers_weight_conversion.py and
# transformers/conversion_mapping.py 5.23; tests/oracles/test_train.py asks them)
FOLDED_BY_PEFT = frozenset({
    "afmoe", "beam", "cohere2_moe", "deepseek_v2", "deepseek_v3", "deepseek_v32", "dots1", "ernie4_5_moe",
    "exaone_moe", "flex_olmo", "glm4_moe", "glm4_moe_lite", "glm4v_moe", "glm_moe_dsa", "hunyuan_v1_moe",
    "longcat_flash", "mellum", "minimax", "minimax_m2", "mixtral", "olmoe", "qwen3_moe", "qwen3_next",
    "qwen3_omni_moe", "qwen3_omni_moe_text", "qwen3_omni_moe_thinker", "solar_open",
})  # fmt: skip
STACKS = {
    "gate_proj": "experts.gate_up_proj",
    "up_proj": "experts.gate_up_proj",
    "down_proj": "experts.down_proj",
}
ROUTER = "gate"
# types of which PEFT 0.21 adapts no `out_proj` (peft/tuners/tuners_utils.py, 2026-12): the fused kernel of
# their mixers reads the matrix itself; PEFT refuses `all-linear`, too, which stands for all others here
KERNELS_READ = frozenset({"falcon_h1", "mamba", "mamba2", "falcon_mamba", "nemotron_h"})
LINEAR_ROUTERS = frozenset({"gemma4", "gemma4_text"})  # of other types it is no module that PEFT adapts
EMBEDDED = "embed_tokens"  # what PEFT adapts beside the layers, if it is named, as the head
MIXTRAL = {"w1": "gate_proj", "w3": "up_proj", "w2": "down_proj"}  # its own names in transformers 4


def folds(model: Model) -> bool:
    """Say whether names of experts and router stand for stacked arrays, into which adapters are folded.

    PEFT goes by the type alone: where no layer has experts, matrices of these names have no adapter at all.
    """
    return model.model_type in FOLDED_BY_PEFT


def linear_names(model: Model) -> tuple[str, ...]:
    """Return the names that an adapter may have: linear layers, and what PEFT takes for them."""
    named = (
        tensor.name.removesuffix(".weight").rpartition(".")[2]
        for tensor in (*(one for layer in model.groups for one in layer.weights()), *model.weights())
        if tensor.kind in ("matrix", "shared")
        or any(part in tensor.name for part in ("shared_expert_gate", "indexer.weights_proj"))
        or (tensor.kind == "router" and model.model_type in LINEAR_ROUTERS)
    )
    folded = (*STACKS, ROUTER, *(MIXTRAL if model.model_type == "mixtral" else ())) if folds(model) else ()
    without = ("out_proj",) if model.model_type in KERNELS_READ else ()
    without = without if model.has_experts else (*without, *folded)
    return tuple(name for name in dict.fromkeys([*named, *folded]) if name not in without)


def has_adapters_of_experts(adapters: Mapping[str, Adapter]) -> bool:
    """Say whether stacked arrays of experts are among the matrices with an adapter."""
    return any(name.startswith("experts.") for name in adapters)


def stacked_names(adapters: Mapping[str, Adapter]) -> tuple[str, ...]:
    """Return those names of adapters that stand for arrays of experts, or their router: no linear layers.

    PEFT wraps such an array (peft 0.21.2 tuners/lora/layer.py, ParamWrapper), with neither DoRA nor dropout.
    """
    return tuple(name for name in adapters if name == ROUTER or name.startswith("experts."))


def names_beside_experts(model: Model) -> tuple[str, ...]:
    """Return the names that an adapter may have, without those that stand for experts or their router.

    >>> from memcalc.files.sources import source
    >>> names_beside_experts(source("Qwen/Qwen3-30B-A3B").model)
    ('q_proj', 'k_proj', 'v_proj', 'o_proj')
    """
    of_experts = {*STACKS, *MIXTRAL, ROUTER} if folds(model) else ()
    return tuple(name for name in linear_names(model) if name not in of_experts)


def adapters_of(options: FilledOptions, stored: Model, model: Model) -> Mapping[str, Adapter]:
    """Return the adapters by the names of their matrices in a model as it is built.

    Raises
    ------
    BadInputError
        Only one of an expert's first two matrices, which are one array, is to have an adapter.

    """
    if options.lora_rank is None:
        return {}
    every = options.lora_targets in (None, ("all-linear",))
    targets = linear_names(model) if every else names_here(options.lora_targets or (), options, stored, model)
    one = Adapter(options.lora_rank, 2 if options.adapter_dtype == "bf16" else 4, options.dora)
    if not folds(model):
        return dict.fromkeys(targets, one)
    targets = tuple(MIXTRAL.get(name, name) for name in targets)
    first = sorted({"gate_proj", "up_proj"} & set(targets))
    if len(first) == 1 and model.has_experts:
        remedy = "they are one array of the experts, and PEFT adapts both or none"
        raise BadInputError("--lora-targets", "gate_proj and up_proj together", first[0], remedy)
    twice = one._replace(lora_rank=2 * options.lora_rank)  # the rank of both in one
    found = {STACKS.get(name, name): one for name in targets}
    if ROUTER in found and words_of(model).has_wide_router:  # its adapter has the numbers that it has
        found[ROUTER] = one._replace(element_bytes=4)
    return found | ({STACKS["up_proj"]: twice} if first else {})


def names_here(
    targets: tuple[str, ...], options: FilledOptions, stored: Model, model: Model
) -> tuple[str, ...]:
    """Return the names that stand here for modules that may be named as in their class.

    What stands for experts or their router stays as it is, and so does what names none.
    """
    of_experts = {*STACKS, *MIXTRAL, ROUTER} if folds(model) else set()
    if of_experts.issuperset(targets):
        return targets
    from memcalc.training.class_names import adapted_names, names_as_trained

    names, known = names_as_trained(options, stored, model), (*linear_names(model), HEAD, EMBEDDED)
    found = dict(adapted_names(targets, names, known))
    return tuple(
        name
        for word in targets
        for name in ((word,) if word in of_experts or not found[word] else found[word])
    )


def adapter_of(adapters: Mapping[str, Adapter], tensor: Tensor) -> Adapter | None:
    """Return the adapter of a weight, if it is a matrix that has one.

    The two first matrices of experts have one together, which stands with the first.
    """
    name = tensor.name.removesuffix(".weight").rpartition(".")[2]
    outside = "{layer}" not in tensor.name and tensor.kind != "matrix" and name not in (HEAD, EMBEDDED)
    if not adapters or outside or not tensor.name.endswith(".weight"):
        return None
    if tensor.active_experts is not None:
        return None if name == "up_proj" else adapters.get(STACKS.get(name, name))
    return adapters.get(name)


def smaller_sides(model: Model, adapters: Mapping[str, Adapter]) -> dict[str, int]:
    """Return the rank that each adapted matrix has at most, by its name: its smaller side.

    >>> from memcalc.training import train
    >>> plan = train("meta-llama/Llama-3.2-1B", seq=128, lora_rank=8, lora_targets=("q_proj", "k_proj")).plan
    >>> smaller_sides(plan.model, plan.adapters)
    {'q_proj': 2048, 'k_proj': 512}
    """
    found: dict[str, int] = {}
    for tensor in model.weights():
        if adapter_of(adapters, tensor) is not None:
            name = tensor.name.removesuffix(".weight").rpartition(".")[2]
            side = min(map(product, tensor.shape))
            found[name] = min(side, found.get(name, side))
    return found


def adapter_arrays(tensor: Tensor, adapter: Adapter) -> tuple[tuple[str, tuple[int, ...], int], ...]:
    """Return the arrays of an adapter, and how many there are of each: two low-rank matrices, magnitudes.

    Those of all experts of a layer are one pair; those of an embedding look tokens up in the first. Source:
    Hu et al. 2021, arXiv:2106.09685; names as in PEFT's LoraLayer, Embedding and ParamWrapper.
    """
    out, inner = map(product, tensor.shape)
    rank, times = adapter.lora_rank, tensor.copies
    if tensor.kind == "embedding":
        return ("lora_embedding_A", (rank, out), times), ("lora_embedding_B", (inner, rank), times)
    if tensor.active_experts is not None:
        rank, times = rank * tensor.experts, tensor.layers
        out = 2 * out if ".gate_proj." in tensor.name else out
    pair = ("lora_A.weight", (rank, inner), times), ("lora_B.weight", (out, rank), times)
    return (*pair, ("lora_magnitude_vector.weight", (out,), times)) if adapter.dora else pair
