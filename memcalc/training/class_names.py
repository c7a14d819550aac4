"""What a model's class and its files call each weight: the words by which people name what they train."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from memcalc.files.tensor_names import family_name, spelled
from memcalc.ledger.tensor import under
from memcalc.training.autograd.transformers import has_gates
from memcalc.training.head import with_head_apart
from memcalc.training.releases import release_number

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Mapping

    from memcalc.ledger.model import Model
    from memcalc.ledger.tensor import Tensor
    from memcalc.training.options import FilledOptions

__all__ = [
    "Names",
    "adapted_names",
    "class_names",
    "ends_module",
    "holds",
    "named",
    "names_as_trained",
    "parts_alone",
]

LAYER = "model.layers.{layer}"
EXPERT = "experts.{expert}."
# types of which classes have the names that their readers list, whatever files have
AS_LISTED = frozenset({
    "aria", "aria_text", "bailing_hybrid", "deepseek_ref", "deepseek_v4", "flint", "hy_v3", "laguna",
    "mimo_v2_flash", "minimax_m3_vl", "mistral_large4",
})  # fmt: skip
ONE_CONVOLUTION = tuple((f".{letter}_conv1d.", ".conv1d.") for letter in "qkv")
FORGET_GATE = tuple(
    (f"self_attn.{name}", f"self_attn.forget_gate.{name}") for name in ("A_log", "dt_bias", "f_")
)
ROUTER = ((".mlp.gate.", ".mlp.router."),)
GRANITE = (
    (".block_sparse_moe.input_linear.weight", ".block_sparse_moe.experts.gate_up_proj"),
    (".block_sparse_moe.output_linear.weight", ".block_sparse_moe.experts.down_proj"),
    (".router.layer.", ".router."),
)
# parts of names that differ in a class of transformers 5.23 all the same (tests/oracles/test_class_names.py)
IN_CLASS: dict[str, tuple[tuple[str, str], ...]] = {
    "aria": ROUTER,
    "aria_text": ROUTER,
    "phimoe": ROUTER,
    "axk1": ((".post_mlp_layernorm.", ".mlp.post_mlp_layernorm."),),
    "axk2": (
        ("input_layernorm.W_down.", "input_layernorm.mlp.fc1."),
        ("input_layernorm.W_up.", "input_layernorm.mlp.fc2."),
        (".q_b_proj.", ".q_gate_proj."),
    ),
    "bailing_hybrid": FORGET_GATE + ONE_CONVOLUTION,
    "kimi_linear": FORGET_GATE + ONE_CONVOLUTION,
    "olmo_hybrid": ONE_CONVOLUTION,
    "gpt_neox": (("embed_out.", "lm_head."),),
    "granitemoe": GRANITE,
    "granitemoehybrid": GRANITE,
    "granitemoeshared": GRANITE,
    "hy_v4": (
        ("hc_attn_layer.hc_pre.hc_", "attn_hc."),
        ("hc_mlp_layer.hc_pre.hc_", "ffn_hc."),
        ("hc_head.hc_head_", "hc_head.hc_"),
        (".learnable_sink_param", ".sinks"),
        (".linear_gate.", ".gate_proj."),
    ),
    "kolibri1": (
        (".post_attn_norm.", ".post_self_attn_layernorm."),
        (".post_ffn_norm.", ".post_mlp_layernorm."),
    ),
    "lfm3": (("self_attn.gate_proj.", "self_attn.g_proj."),),
    "nemotron_h": (("backbone.", "model."),),
    "minimax_m3_vl": tuple((f".{half}_proj.", ".gate_up_proj.") for half in ("gate", "up")),
    "flint": ((".shared_experts.", ".shared_expert."),),
}
IN_MLP = (".block_sparse_moe.", ".mlp.")  # Mixtral's kind, once its experts are one array
# the roots of a text model beside a tower
IN_MODEL = (("language_model.model.", "model.language_model."), ("language_model.lm_head.", "lm_head."))
# matrices that are one in Megatron-LM, as its layers call them (core/transformer/attention.py, mlp.py)
IN_MEGATRON = {
    **{f"{letter}_proj.": "linear_qkv." for letter in "qkv"},
    **{f"{half}_proj.": "linear_fc1." for half in ("gate", "up")},
}


class Names(NamedTuple):
    """The names of a weight: its class's, that in files, its reader's, and that in a model as it is built."""

    of_class: str
    in_files: str
    listed: str
    built: str


def class_names(stored: Model, model: Model, *, stacked: bool) -> dict[str, Names]:
    """Return the names of each weight, by that in a model as it is built.

    Parameters
    ----------
    stored : Model
        The model as its reader lists it.
    model : Model
        The same as it is built: some matrices may be one, and parts may be named by their kind.
    stacked : bool
        Whether the experts of a layer are one array, as in transformers 5, whatever files have.

    Returns
    -------
    dict of Names
        By the last of them.

    Examples
    --------
    >>> from memcalc.files.sources import source
    >>> mixtral = source("mistralai/Mixtral-8x7B-v0.1").model
    >>> found = class_names(mixtral, mixtral, stacked=True)
    >>> found["model.layers.{layer}.mlp.experts.{expert}.down_proj.weight"].of_class
    'model.layers.{layer}.mlp.experts.down_proj'

    """
    pairs = list(names_of_weights(stored, model))
    gated = stacked and has_gates(stored)
    apart = any(EXPERT in in_files for _, _, in_files in pairs)
    types = {stored.model_type, stored.text_type}
    words = [pair for each in types for pair in IN_CLASS.get(each, ())]
    found = {}
    for built, listed, in_files in pairs:
        of_class = in_files
        if stacked:
            if types & AS_LISTED:
                root = "language_model." if in_files.startswith("language_model.") else ""
                of_class = f"{root}{listed}"
            elif apart:
                of_class = in_files.replace(*IN_MLP)
            of_class = with_stacks(in_model(of_class, types), listed, gated=gated)
            for before, after in words:
                of_class = of_class.replace(before, after)
        found[built] = Names(of_class, in_files, listed, built)
    return found


def in_model(name: str, types: Container[str]) -> str:
    """Return the name of a weight of a text model beside a tower as transformers has it since 4.52."""
    if "llama4" in types:
        return name
    for before, after in IN_MODEL:
        if name.startswith(before):
            return after + name.removeprefix(before)
    return name


def names_as_trained(options: FilledOptions, stored: Model, model: Model) -> dict[str, Names]:
    """Return the names of each weight, its head's by itself where adapters may belong to it alone."""
    apart = with_head_apart if options.lora_rank is not None else unchanged
    if options.implementation == "megatron":
        names = class_names(apart(stored), apart(model), stacked=False)
        fused = tuple(IN_MEGATRON.items())
        return {built: each._replace(of_class=spelled(each.listed, fused)) for built, each in names.items()}
    release = options.engine_version
    return class_names(
        apart(stored), apart(model), stacked=release is None or release_number(release) >= (5, 0)
    )


def unchanged(model: Model) -> Model:
    """Return a model as it is."""
    return model


def holds(word: str, name: str) -> bool:
    """Say whether a word is a part of a name, whatever the numbers of layer and expert are."""
    return word in name.replace("{layer}", "\0").replace("{expert}", "\0")  # in which no word has a part


def ends_module(word: str, name: str) -> bool:
    """Say whether a word ends the name of a weight's module."""
    return name.removesuffix(".weight").endswith(word)


def named(
    words: Iterable[str], names: Mapping[str, Names], matches: Callable[[str, str], bool]
) -> frozenset[str]:
    """Return the weights that words name: each by its class's names, else by those in files, else by ours.

    Parameters
    ----------
    words : iterable of str
        What was written.
    names : mapping
        As `class_names` returns them.
    matches : callable
        Whether a word (first) names what has a name (second).

    Returns
    -------
    frozenset of str
        Their names in the model as it is built.

    """
    found: set[str] = set()
    for word in words:
        for each in zip(*names.values(), strict=True):
            some = [one for one, name in zip(names, each, strict=True) if matches(word, name)]
            if some:
                found.update(some)
                break
    return frozenset(found)


def adapted_names(
    words: Iterable[str], names: Mapping[str, Names], known: Container[str]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield each word for modules with the names here that stand for them, by which adapters are known.

    A word is a module's name, or the end of its path, as in peft 0.21 (tuners/tuners_utils.py,
    check_target_module_exists). Those that name only some of the modules that share a name here, or none,
    stand for none.

    Parameters
    ----------
    words : iterable of str
        What was written.
    names : mapping
        As `class_names` returns them.
    known : container of str
        The names that adapters may have.

    """
    linear = {one: each for one, each in names.items() if is_linear(one, known)}
    for word in words:
        found = named((word,), linear, is_module)
        called = dict.fromkeys(module_name(one) for one in linear if one in found)
        others = {module_name(one) for one in linear if one not in found}
        yield word, () if others & called.keys() else tuple(called)


def is_linear(built: str, known: Container[str]) -> bool:
    """Say whether a weight is that of a module which may have an adapter, and no expert's."""
    return built.endswith(".weight") and EXPERT not in built and module_name(built) in known


def module_name(name: str) -> str:
    """Return the last word of the name of a weight's module."""
    return name.removesuffix(".weight").rpartition(".")[2]


def is_module(word: str, name: str) -> bool:
    """Say whether a word names the module of a weight, by its whole path or the end of it."""
    return f".{name.removesuffix('.weight')}".endswith(f".{word}")


def parts_alone(chosen: Container[str], names: Mapping[str, Names]) -> Iterator[str]:
    """Yield the class's names of arrays of which some weights are chosen, and others are not."""
    arrays: dict[str, set[bool]] = {}
    for built, each in names.items():
        arrays.setdefault(each.of_class, set()).add(built in chosen)
    yield from (name for name, both in arrays.items() if len(both) > 1)


def names_of_weights(stored: Model, model: Model) -> Iterator[tuple[str, str, str]]:
    """Yield the names of each weight: in the model as it is built, as its reader lists it, and in files."""
    for name, part in model.outside:
        for one in under(name, part.weights()):
            yield one.name, one.name, family_name(stored, one.name)
    pairs = {
        (id(one), id(other)): (one, other) for one, other in zip(stored.layers, model.layers, strict=True)
    }
    for listed, built in pairs.values():
        for (name, part), (own, as_built) in zip(listed.parts, built.parts, strict=True):
            before = tuple(under(f"{LAYER}.{name}", part.weights()))
            known, joined = {one.name for one in before}, arrays_in_files(stored, before)
            for one in as_built.weights():
                canonical = f"{LAYER}.{name}.{one.name}"
                in_files = family_name(stored, canonical)
                if canonical not in known:
                    in_files = next((each for each, count in joined.items() if count == one.count), in_files)
                yield f"{LAYER}.{own}.{one.name}", canonical, in_files


def arrays_in_files(model: Model, tensors: Iterable[Tensor]) -> dict[str, int]:
    """Return how many numbers arrays of files have in which several of these stand, by their names there."""
    found: dict[str, list[int]] = {}
    for one in tensors:
        found.setdefault(family_name(model, one.name), []).append(one.count)
    return {name: sum(counts) for name, counts in found.items() if len(counts) > 1}


def with_stacks(name: str, listed: str, *, gated: bool) -> str:
    """Return a name in a class of transformers 5, in which the experts of a layer are one array.

    Source: transformers 5.23, conversion_mapping.py.
    """
    before, expert, _ = name.partition(EXPERT)
    if not expert:
        return name
    matrix, _, kind = listed.partition(EXPERT)[2].partition(".")
    matrix = "gate_up_proj" if gated and matrix in ("gate_proj", "up_proj") else matrix
    return f"{before}experts.{matrix}{'_bias' if kind == 'bias' else ''}"
