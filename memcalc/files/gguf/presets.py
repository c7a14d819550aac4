"""llama.cpp's presets: which GGUF type each tensor gets when a file is quantised as Q4_K_M and its like.

A preset (llama.cpp: ftype) is a base type and exceptions: values (attention's most sensitive matrix) and
ffn_down get more bits in some layers, the output matrix in all presets, rows that are no whole blocks another
type. Quantised without an importance matrix; with one, a few choose otherwise (IQ3_XXS, IQ4_XS, IQ4_NL, Q4_0,
Q5_0).
Source: ggml-org/llama.cpp v0.5.0, src/llama-quant.cpp; held against the library in tests/oracles. Other
versions may differ, and what others publish as "UD" or "dynamic" follows no preset: give the file itself.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache, partial
from math import prod
from typing import TYPE_CHECKING, NamedTuple

from memcalc.errors import BadInputError
from memcalc.files.gguf.model import gguf_model
from memcalc.files.gguf.names import ARCHITECTURES, HYBRIDS, architecture, translated, written_as
from memcalc.ledger.formats import EVERY_MATRIX, FORMATS, GGUF_TYPES, Format, format_named
from memcalc.ledger.parts.kinds import is_gqa, is_mla, is_moe
from memcalc.ledger.registry import Registry
from memcalc.ledger.tensor import product

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from memcalc.ledger.formats import Rule
    from memcalc.ledger.model import Layer, Model
    from memcalc.ledger.tensor import Tensor

__all__ = [
    "FILE_TYPES",
    "PRESETS",
    "Facts",
    "Preset",
    "TypedModel",
    "converter_preset",
    "find_preset",
    "preset_named",
    "rule_of_layers",
    "uses_more_bits",
    "with_preset",
]


class Facts(NamedTuple):
    """What the rules look at beside a tensor's name and shape."""

    layers: int
    experts: int
    shared: int  # query heads that share a key/value head
    is_70b: bool  # llama.cpp's word for 80 layers of Llama with grouped queries, Qwen2, OLMo, DeciLM


class Position(NamedTuple):
    """Where a tensor stands among those of its kind: the number `index`, from 0, of `total`."""

    index: int  # type: ignore[assignment]  # the word every reader expects, and no tuple's
    total: int
    facts: Facts


def uses_more_bits(index: int, total: int) -> bool:
    """Say whether a layer gets more bits: the first eighth, the last, and every third between.

    >>> [index for index in range(16) if uses_more_bits(index, 16)]
    [0, 1, 4, 7, 10, 13, 14, 15]
    """
    first, last = total // 8, 7 * total // 8
    return index < first or index >= last or (index - first) % 3 == 2


CONDITIONS: dict[str, Callable[[Position], bool]] = {
    "always": lambda _: True,
    "more": lambda at: uses_more_bits(at.index, at.total),
    "first 2": lambda at: at.index < 2,
    "first 4": lambda at: at.index < 4,
    "first sixteenth": lambda at: at.index < at.total // 16,
    "first eighth": lambda at: at.index < at.total // 8,
    "middle": lambda at: at.total // 8 <= at.index < 7 * at.total // 8,
    "4 share": lambda at: at.facts.shared >= 4,
    "4 share or experts": lambda at: at.facts.shared >= 4 or at.facts.experts >= 4,
    "8 experts": lambda at: at.facts.experts == 8,
    "not 8 experts": lambda at: at.facts.experts != 8,
    "8 experts and more": lambda at: at.facts.experts == 8 and uses_more_bits(at.index, at.total),
}

# what a name in GGUF contains -> its kind; the first that fits
KINDS = (
    ("attn_qkv.weight", "values"),
    ("attn_kv_b.weight", "values"),
    ("attn_v.weight", "values"),
    ("attn_k.weight", "keys"),
    ("attn_q.weight", "queries"),
    ("attn_output.weight", "attention output"),
    ("ffn_up", "up"),
    ("ffn_gate", "gate"),
    ("ffn_down", "down"),
)
COUNTED = ("values", "up", "gate", "down")  # kinds whose place decides
EXPERTS_ALONE = ("bailingmoe3",)  # where matrices that lie in one array and are no experts count as others
PACKED_ROUTER = "indexer.proj.weight"  # it decides what is looked at, as a router does, and is quantised

# never quantised: as the file has it that is quantised
KEPT = ("model.per_layer_model_projection", "model.altup_")
KEPT_INSIDE = ("altup_router.", "laurel_l.", "laurel_r.")
# a converter keeps them in fp32, and llama-quantize packs them as it does others
HYPER = ("hc_attn_fn.", "hc_ffn_fn.", "model.hc_head.hc_head_fn")
IN_32_BITS = ("altup_correct_coef.", "altup_predict_coef.", "indexer.q_proj.", "indexer.k_proj.")
TABLES = ("model.embed_tokens_per_layer",)  # looked up like the embedding, and packed like it

Exceptions = tuple[tuple[str, str], ...]  # (condition, type): the first that holds


class Preset(NamedTuple):
    """A base type and its exceptions by kind; `head` and `embedding` are types where they differ.

    Presets of very few bits are `tiny`: they count ffn_down one by one, and their values get no further bits.
    """

    id: str
    base: str
    exceptions: Mapping[str, Exceptions] = {}
    head: str = "Q6_K"
    embedding: str | None = None
    tiny: bool = False
    stacked: str | None = None  # the type of matrices that lie in one array
    routed_alone: bool = False  # whether of these it is the experts' alone
    note: str = ""

    def type_of(self, kind: str, at: Position) -> str:
        """Return the type of a tensor of a kind, before its row length is looked at."""
        if at.facts.experts == 8 and not self.tiny and kind in ("keys", "values"):
            return "Q8_0"
        exceptions = self.exceptions.get(kind, ())
        found = next((choice for condition, choice in exceptions if CONDITIONS[condition](at)), self.base)
        is_raised = kind == "values" and at.facts.is_70b and not self.tiny and found in ("Q3_K", "Q4_K")
        return "Q5_K" if is_raised else found

    def counts_layers(self, kind: str, facts: Facts) -> bool:
        """Say whether a tensor's layer decides its type, and not its number among those of its kind."""
        return kind != "values" and not self.tiny and facts.experts > 1


OUTPUT = (("8 experts", "Q5_K"),)
NONLINEAR = {
    "values": (("4 share", "Q5_K"),),
    "down": (("first eighth", "Q5_K"),),
    "attention output": OUTPUT,
}
SMALL_2 = {
    "values": (("4 share or experts", "Q4_K"), ("always", "Q2_K")),
    "keys": (("8 experts", "Q4_K"),),
    "down": (("first eighth", "Q2_K"),),
    "attention output": OUTPUT,
}
SMALL_3 = {
    "values": (("4 share or experts", "Q4_K"), ("always", "IQ3_S")),
    "keys": (("8 experts", "Q4_K"),),
    "down": (("first eighth", "IQ3_S"),),
    "attention output": (*OUTPUT, ("always", "IQ3_S")),
}
SMALL_1 = {**SMALL_2, "attention output": (*OUTPUT, ("always", "IQ2_XXS"))}
MORE = {"values": (("more", "Q6_K"),), "down": (("more", "Q6_K"),)}
_NOT_PACKED = "every matrix in it; norms, biases and routers in fp32"
_TERNARY = "for models that were trained with weights of -1, 0 and 1"

PRESETS: Registry[Preset] = Registry(
    "--weights",
    {
        preset.id: preset
        for preset in (
            Preset("F32", "fp32", note=_NOT_PACKED),
            Preset("F16", "fp16", note=_NOT_PACKED),
            Preset("BF16", "bf16", note=_NOT_PACKED),
            Preset("Q8_0", "Q8_0", head="Q8_0"),
            Preset("Q6_K", "Q6_K"),
            Preset("Q5_K_M", "Q5_K", MORE),
            Preset("Q5_K_S", "Q5_K"),
            Preset("Q5_0", "Q5_0"),
            Preset("Q5_1", "Q5_1"),
            Preset("Q4_K_M", "Q4_K", {**MORE, "attention output": OUTPUT}),
            Preset(
                "Q4_K_S",
                "Q4_K",
                {
                    "values": (("first 4", "Q5_K"),),
                    "down": (("first eighth", "Q5_K"),),
                    "attention output": OUTPUT,
                },
            ),
            Preset("Q4_0", "Q4_0"),
            Preset("Q4_1", "Q4_1"),
            Preset(
                "Q3_K_L",
                "Q3_K",
                {
                    "values": (("always", "Q5_K"),),
                    "down": (("always", "Q5_K"),),
                    "attention output": (("not 8 experts", "Q5_K"),),
                },
            ),
            Preset(
                "Q3_K_M",
                "Q3_K",
                {
                    "values": (("first 2", "Q5_K"), ("always", "Q4_K")),
                    "down": (("first sixteenth", "Q5_K"), ("always", "Q4_K")),
                    "attention output": (*OUTPUT, ("always", "Q4_K")),
                },
            ),
            Preset("Q3_K_S", "Q3_K", {"attention output": OUTPUT}),
            Preset(
                "Q2_K",
                "Q2_K",
                {
                    "values": (("4 share", "Q4_K"), ("always", "Q3_K")),
                    "down": (("always", "Q3_K"),),
                    "attention output": (*OUTPUT, ("always", "Q3_K")),
                },
            ),
            Preset("Q2_K_S", "Q2_K", {"values": (("4 share", "Q4_K"),), "down": (("first eighth", "Q4_K"),)}),
            Preset("IQ4_NL", "IQ4_NL", NONLINEAR),
            Preset("IQ4_XS", "IQ4_XS", NONLINEAR),
            Preset(
                "IQ3_M",
                "IQ3_S",
                {
                    "values": (("always", "Q4_K"),),
                    "down": (("first eighth", "Q4_K"), ("8 experts and more", "Q4_K")),
                    "attention output": (*OUTPUT, ("always", "Q4_K")),
                },
            ),
            Preset("IQ3_S", "IQ3_S", {"values": (("4 share", "Q4_K"),), "attention output": OUTPUT}),
            Preset(
                "IQ3_XS",
                "IQ3_S",
                {
                    "values": (("4 share", "Q4_K"),),
                    "keys": (("always", "IQ3_XXS"),),
                    "queries": (("always", "IQ3_XXS"),),
                    "gate": (("middle", "IQ3_XXS"),),
                    "up": (("middle", "IQ3_XXS"),),
                    "attention output": OUTPUT,
                },
            ),
            Preset(
                "IQ3_XXS",
                "IQ3_XXS",
                {
                    "values": (("4 share", "Q4_K"), ("always", "IQ3_S")),
                    "keys": (("always", "IQ2_S"),),
                    "queries": (("always", "IQ2_S"),),
                    "down": (("first eighth", "Q4_K"), ("always", "Q3_K")),
                    "attention output": (*OUTPUT, ("always", "IQ3_S")),
                },
                head="Q5_K",
                embedding="IQ3_S",
            ),
            Preset("IQ2_M", "IQ2_S", SMALL_3, "Q5_K", "IQ3_S", tiny=True),
            Preset("IQ2_S", "IQ2_XS", SMALL_3, "Q5_K", "IQ3_S", tiny=True),
            Preset("IQ2_XS", "IQ2_XS", SMALL_2, "Q5_K", "Q2_K", tiny=True),
            Preset("IQ2_XXS", "IQ2_XXS", SMALL_2, "Q5_K", "Q2_K", tiny=True),
            Preset("IQ1_M", "IQ1_M", SMALL_1, "Q5_K", "Q2_K", tiny=True),
            Preset("IQ1_S", "IQ1_S", SMALL_1, "Q5_K", "Q2_K", tiny=True),
            Preset("TQ2_0", "TQ2_0", embedding="Q4_K", note=_TERNARY),
            Preset("TQ1_0", "TQ1_0", embedding="Q4_K", note=_TERNARY),
            Preset("Q2_0", "Q2_0", embedding="Q4_K"),
            Preset("Q1_0", "Q1_0"),
            Preset(
                "MXFP4_MOE",
                "Q8_0",
                head="Q8_0",
                stacked="MXFP4",
                note="stacked matrices (experts) in MXFP4, all others in Q8_0",
            ),
        )
    },
    remedy="see `memcalc list formats`",
)
# where llama.cpp's code has other exceptions for Falcon; its attention's output has none, its head is in Q8_0
OF_FALCON: dict[str, Mapping[str, Exceptions]] = {
    "Q4_K_M": {**MORE, "down": (("first sixteenth", "Q6_K"), ("more", "Q5_K"))},
    "Q4_K_S": {"values": (("first 4", "Q5_K"),)},
    "Q3_K_L": {
        kind: (("always", form),)
        for kind, form in zip(("values", "down", "attention output"), ("Q5_K", "Q4_K", "Q4_K"), strict=True)
    },
    "Q3_K_M": {
        "values": (("first 2", "Q5_K"), ("always", "Q4_K")),
        "down": (("first sixteenth", "Q5_K"), ("more", "Q4_K")),
    },
}
PLAIN = {"FP32": "F32", "FP16": "F16"}  # our words for the same
ALIASES = {**PLAIN, "Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M"}  # llama-quantize's own
# general.file_type of a file -> preset (llama_ftype in include/llama.h)
FILE_TYPES = {
    0: "F32",
    1: "F16",
    2: "Q4_0",
    3: "Q4_1",
    7: "Q8_0",
    8: "Q5_0",
    9: "Q5_1",
    10: "Q2_K",
    11: "Q3_K_S",
    12: "Q3_K_M",
    13: "Q3_K_L",
    14: "Q4_K_S",
    15: "Q4_K_M",
    16: "Q5_K_S",
    17: "Q5_K_M",
    18: "Q6_K",
    19: "IQ2_XXS",
    20: "IQ2_XS",
    21: "Q2_K_S",
    22: "IQ3_XS",
    23: "IQ3_XXS",
    24: "IQ1_S",
    25: "IQ4_NL",
    26: "IQ3_S",
    27: "IQ3_M",
    28: "IQ2_S",
    29: "IQ2_M",
    30: "IQ4_XS",
    31: "IQ1_M",
    32: "BF16",
    36: "TQ1_0",
    37: "TQ2_0",
    38: "MXFP4_MOE",
    40: "Q1_0",
    41: "Q2_0",
}
# where a row is no whole blocks: the type of blocks of 32 that stands in
INSTEAD = {
    **dict.fromkeys(("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ4_XS"), "IQ4_NL"),
    **dict.fromkeys(("Q2_0", "Q2_K", "Q3_K", "TQ1_0", "TQ2_0"), "Q4_0"),
    "Q4_K": "Q5_0",
    "Q5_K": "Q5_1",
    "Q6_K": "Q8_0",
}


def find_preset(name: str) -> Preset | None:
    """Return the preset of this name, in capitals or not; None if it is none.

    >>> find_preset("q4_k_m").base, find_preset("gptq-int4-g128")
    ('Q4_K', None)
    """
    upper = name.upper()
    known = ALIASES.get(upper, upper)
    return PRESETS.get(known)


def preset_named(name: str) -> Preset:
    """Return the preset of this name, in capitals or not.

    Raises
    ------
    UnknownNameError
        There is none.

    """
    return find_preset(name) or PRESETS[name]


def converter_preset(method: str | None, activation: Format) -> Preset:
    """Return what llama.cpp's converter makes of a checkpoint: 16 bits, what was quantised unpacked.

    gpt-oss's and Kimi-K3's experts stay in MXFP4.

    Raises
    ------
    BadInputError
        The converter does not unpack the checkpoint's method.

    """
    if method == "mxfp4":
        return PRESETS["BF16"]._replace(id="BF16, experts MXFP4", stacked="MXFP4", routed_alone=True)
    if method not in (None, "fp8", "gptq", "compressed-tensors"):
        expected = "a method that llama.cpp's converter unpacks"
        remedy = "add --weights, for example --weights Q4_K_M"
        raise BadInputError("quantization_config", expected, method, remedy)
    return preset_named(activation.id)


class TypedModel(NamedTuple):
    """A model whose layers name the type of each tensor, and the rule that reads it."""

    model: Model
    rule: Rule


class Member(NamedTuple):
    """A tensor of a file: kind, row length, whether matrices are stacked in it, the canonical ones in it."""

    kind: str
    row: int
    stacked: bool
    routed: bool
    packable: bool
    names: tuple[str, ...]


Members = tuple[Member, ...]  # the tensors of a layer, in the order in which llama.cpp goes through them
Types = tuple[tuple[str, tuple[str, ...]], ...]  # a kind of tensor, and the type of each of a layer


def with_preset(model: Model, preset: Preset, *, old: bool = False) -> TypedModel:
    """Return a model as llama.cpp stores it with a preset.

    Parameters
    ----------
    model : Model
        The model.
    preset : Preset
        The preset.
    old : bool, optional
        Whether MLA lies as in files before 2025-04. Default False.

    Raises
    ------
    BadInputError
        A row fits no type.
    UnknownNameError
        The model has no names in GGUF here.

    Examples
    --------
    >>> from memcalc.ledger.formats import stored_bytes
    >>> import memcalc
    >>> model, rule = with_preset(memcalc.model("Qwen/Qwen3-32B"), PRESETS["Q4_K_M"])
    >>> stored_bytes(model.weights(), rule)
    19756174336

    """
    held = gguf_model(model, old=old)
    facts = facts_of(held)
    preset = of_falcon(preset) if architecture(held).id == "falcon" else preset
    every = (*held.layers, *held.mtp)
    distinct = {id(layer): layer for layer in every}
    members = {key: members_of(written_as(held), layer) for key, layer in distinct.items()}

    def typed(layer: Layer, types: Types) -> Layer:
        return replace(layer, formats=tuple(layer_formats(preset, members[id(layer)], dict(types), facts)))

    counted = counted_types(preset, [members[id(layer)] for layer in every], facts)
    return TypedModel(held.map_layers(typed, counted), rule_of_layers(dict(outside_formats(held, preset))))


def of_falcon(preset: Preset) -> Preset:
    """Return a preset as llama.cpp applies it to Falcon."""
    plain = {kind: found for kind, found in preset.exceptions.items() if kind != "attention output"}
    own = preset.exceptions if preset.tiny else OF_FALCON.get(preset.id, plain)
    return preset._replace(exceptions=own, head="Q8_0")


def counted_types(preset: Preset, layers: Sequence[Members], facts: Facts) -> Iterator[Types]:
    """Yield for each layer the types of its tensors whose place among those of their kind decides."""
    kinds = [kind for kind in COUNTED if kind in preset.exceptions]
    totals = dict.fromkeys(kinds, facts.layers)
    if "values" in kinds:
        totals["values"] = sum(number_of(own, "values") for own in layers)
    passed = dict.fromkeys(kinds, 0)
    for index, own in enumerate(layers):
        found = []
        for kind in kinds:
            number, first = number_of(own, kind), passed[kind]
            same_place = preset.counts_layers(kind, facts)
            indices = [index] * number if same_place else range(first, first + number)
            at = (Position(one, totals[kind], facts) for one in indices)
            found.append((kind, tuple(preset.type_of(kind, one) for one in at)))
            passed[kind] += number
        yield tuple(found)


def number_of(members: Members, kind: str) -> int:
    """Return how many of a layer's tensors are quantised matrices of a kind."""
    return sum(one.kind == kind and one.packable for one in members)


def layer_formats(
    preset: Preset, members: Members, types: Mapping[str, Sequence[str]], facts: Facts
) -> Iterator[tuple[str, str]]:
    """Yield the canonical tensors of a layer with their types; `types` are those whose place decides."""
    left = {kind: iter(found) for kind, found in types.items()}
    anywhere = Position(0, facts.layers, facts)
    for one in members:
        is_counted = one.packable and one.kind in left
        wanted = next(left[one.kind]) if is_counted else preset.type_of(one.kind, anywhere)
        form = member_type(preset, one, wanted)
        yield from ((name, form) for name in one.names)


def rule_of_layers(outside: Mapping[str, Format]) -> Rule:
    """Return the rule of a model whose layers name their formats; its other tensors stand in a table."""
    return partial(own_or_in_table, outside)


def own_or_in_table(outside: Mapping[str, Format], tensor: Tensor) -> Format:
    """Return the format that stands in a table, or that a tensor of a layer names."""
    found = outside.get(tensor.name)
    return format_named(tensor.format) if found is None and tensor.format else outside[tensor.name]


def facts_of(model: Model) -> Facts:
    """Return what the rules look at: the first attention part and the first mixture of experts count.

    Where a file lists the key/value heads of each layer those of the first layer count, if it has some.
    """
    parts = [part for layer in model.groups for _, part in layer.parts]
    heads, kv_heads, family = 1, 1, architecture(model).id
    listed = (
        written_as(model) in HYBRIDS
        and architecture(model).attends is None
        and not any(is_gqa(part) for _, part in model.layers[0].parts)
    )
    if listed:
        heads, kv_heads = 0, 1
    for part in () if listed else parts:
        if is_gqa(part) or is_mla(part):
            heads = part.heads
            kv_heads = part.kv_heads if is_gqa(part) else (part.heads if part.expanded else 1)
            break
    experts = next((part.experts for part in parts if is_moe(part)), 0)
    layers = len(model.layers) + len(model.mtp)
    is_70b = layers == 80 and (
        family in ("deci", "qwen2", "olmo") or (family == "llama" and experts != 8 and heads != kv_heads)
    )
    return Facts(layers, experts, heads // kv_heads, is_70b)


@lru_cache(maxsize=64)
def members_of(model_type: str, layer: Layer) -> Members:
    """Return the tensors of a layer in a file, in the order in which llama.cpp goes through them."""
    found: dict[str, list[Tensor]] = {}
    for tensor in layer.weights():
        found.setdefault(translated(model_type, tensor.name), []).append(tensor)
    by_role = ARCHITECTURES[model_type].id in EXPERTS_ALONE
    return tuple(member(name, same, by_role=by_role) for name, same in sorted(found.items()))


def member(name: str, same: list[Tensor], *, by_role: bool) -> Member:
    """Return a tensor of a file from the canonical ones in it."""
    one = same[0]
    kind = next((kind for part, kind in KINDS if part in name), "other")
    kind = "kept" if name.startswith(KEPT_INSIDE) else "hyper" if name.startswith(HYPER) else kind
    routed = one.active_experts is not None
    stacked = routed or (len(one.shape) > 2 and not by_role)
    packable = is_packable(*same) or name.endswith(PACKED_ROUTER)
    packable = (packable or kind == "hyper") and not name.startswith(IN_32_BITS)
    return Member(kind, product(one.shape[-1]), stacked, routed, packable, tuple(item.name for item in same))


def is_packable(*same: Tensor) -> bool:
    """Say whether a tensor of a file is quantised at all: a matrix, and neither a router nor a convolution.

    A matrix of one row is none; what several canonical tensors become has the rows of all.
    """
    if same[0].kind not in EVERY_MATRIX:
        return False
    rows = (tensor.experts * prod(tensor.stored_shape[:-1]) for tensor in same if len(tensor.shape) > 1)
    return sum(rows) > 1


def member_type(preset: Preset, one: Member, wanted: str) -> str:
    """Return the type of a tensor of a layer that should get the type `wanted`."""
    if one.kind == "kept":
        return preset.base if preset.base in FORMATS else "fp16"
    if not one.packable or (one.kind == "hyper" and preset.base in FORMATS):
        return "fp32"
    stacked = one.routed if preset.routed_alone else one.stacked
    if stacked and preset.stacked is not None:
        return fitting(preset.stacked, one.row)
    return preset.base if preset.base in FORMATS else fitting(wanted, one.row)


def outside_formats(model: Model, preset: Preset) -> Iterator[tuple[str, Format]]:
    """Yield the formats of embedding, head and final norm."""
    for name, part in model.outside:
        for tensor in part.weights():
            row, form = product(tensor.shape[-1]), preset.base
            if name.startswith(KEPT):
                form = form if form in FORMATS else "fp16"
            elif name.startswith(HYPER):
                form = "fp32" if form in FORMATS else fitting(form, row)
            elif not is_packable(tensor) and name not in TABLES:
                form = "fp32"
            elif preset.base not in FORMATS:
                is_head = tensor.kind == "head" or model.tied
                whole = row % block(preset.base) == 0
                form = fitting(
                    (preset.head if whole else "Q8_0") if is_head else preset.embedding or preset.base, row
                )
            yield f"{name}.{tensor.name}", format_named(form)


def block(name: str) -> int:
    """Return how many numbers of a row a block of a type holds.

    >>> block("Q4_K"), block("Q8_0")
    (256, 32)
    """
    return GGUF_TYPES[name].columns_per_scale or 1


def fitting(name: str, row: int) -> str:
    """Return the type, or the one that stands in for it where a row is no whole blocks.

    >>> fitting("Q4_K", 4096), fitting("Q4_K", 29568), fitting("Q4_K", 100)
    ('Q4_K', 'Q5_0', 'fp16')

    """
    if row % block(name) == 0:
        return name
    if name not in INSTEAD:
        expected = f"rows of whole blocks of {block(name)}, as {name} needs them"
        raise BadInputError("--weights", expected, row, "choose a K-quant or F16; llama.cpp refuses this one")
    return "fp16" if row % 32 else INSTEAD[name]
