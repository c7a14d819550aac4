"""llama.cpp's mixes: which GGUF type each tensor gets when a file is quantised as Q4_K_M and its like.

A mix is a base type and exceptions: values (attention's most sensitive matrix) and ffn_down get more bits in
some layers, the output matrix in all mixes, rows that are no whole blocks another type. Quantised without an
importance matrix; with one, a few mixes choose otherwise (IQ3_XXS, IQ4_XS, IQ4_NL, Q4_0, Q5_0).
Source: ggml-org/llama.cpp v0.5.0, src/llama-quant.cpp; held against the library in tests/oracles. Other
versions may differ, and what others publish as "UD" or "dynamic" follows no mix: give the file itself.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING, NamedTuple

from memcalc.errors import BadInputError, UnknownNameError
from memcalc.files.gguf.names import architecture, in_gguf, translated
from memcalc.ledger.formats import EVERY_MATRIX, FORMATS, GGUF_TYPES, Format, format_named
from memcalc.ledger.parts import GQA, MLA, MoE
from memcalc.ledger.tensor import product

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from memcalc.ledger.formats import Rule
    from memcalc.ledger.model import Layer, Model
    from memcalc.ledger.tensor import Tensor

__all__ = ["FILE_TYPES", "MIXES", "Mix", "Mixed", "converted", "find_mix", "mix_named", "mixed"]


class Facts(NamedTuple):
    """What the rules look at beside a tensor's name and shape."""

    layers: int
    experts: int
    shared: int  # query heads that share a key/value head
    is_70b: bool  # llama.cpp's word for 80 layers of Llama with grouped queries, or of Qwen2


class Place(NamedTuple):
    """Where a tensor stands among those of its kind: the `position`-th of `total`."""

    position: int
    total: int
    facts: Facts


def has_more(place: Place) -> bool:
    """Say whether a layer gets more bits: the first eighth, the last, and every third between."""
    first = place.total // 8
    last = 7 * place.total // 8
    return place.position < first or place.position >= last or (place.position - first) % 3 == 2


CONDITIONS: dict[str, Callable[[Place], bool]] = {
    "always": lambda _: True,
    "more": has_more,
    "first 2": lambda place: place.position < 2,
    "first 4": lambda place: place.position < 4,
    "first sixteenth": lambda place: place.position < place.total // 16,
    "first eighth": lambda place: place.position < place.total // 8,
    "middle": lambda place: place.total // 8 <= place.position < 7 * place.total // 8,
    "4 share": lambda place: place.facts.shared >= 4,
    "4 share or experts": lambda place: place.facts.shared >= 4 or place.facts.experts >= 4,
    "8 experts": lambda place: place.facts.experts == 8,
    "not 8 experts": lambda place: place.facts.experts != 8,
    "8 experts and more": lambda place: place.facts.experts == 8 and has_more(place),
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
PACKED_ROUTER = "indexer.proj.weight"  # it decides what is looked at, as a router does, and is quantised

Exceptions = tuple[tuple[str, str], ...]  # (condition, type): the first that holds


class Mix(NamedTuple):
    """A base type and its exceptions by kind; `head` and `embedding` are types where they differ.

    Mixes of very few bits are `tiny`: they count ffn_down one by one, and their values get no further bits.
    """

    id: str
    base: str
    exceptions: Mapping[str, Exceptions] = {}
    head: str = "Q6_K"
    embedding: str | None = None
    tiny: bool = False
    stacked: str | None = None  # the type of matrices that lie in one array
    note: str = ""

    def type_of(self, kind: str, place: Place) -> str:
        """Return the type of a tensor of a kind, before its row length is looked at."""
        facts, found = place.facts, self.base
        if kind == "keys" and facts.experts == 8 and not self.tiny:
            return "Q8_0"
        for condition, choice in self.exceptions.get(kind, ()):
            if CONDITIONS[condition](place):
                found = choice
                break
        if kind == "values" and not self.tiny:
            if facts.is_70b and found in ("Q3_K", "Q4_K"):
                found = "Q5_K"
            if facts.experts == 8:
                found = "Q8_0"
        return found


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

MIXES: dict[str, Mix] = {
    mix.id: mix
    for mix in (
        Mix("F32", "fp32", note=_NOT_PACKED),
        Mix("F16", "fp16", note=_NOT_PACKED),
        Mix("BF16", "bf16", note=_NOT_PACKED),
        Mix("Q8_0", "Q8_0", head="Q8_0"),
        Mix("Q6_K", "Q6_K"),
        Mix("Q5_K_M", "Q5_K", MORE),
        Mix("Q5_K_S", "Q5_K"),
        Mix("Q5_0", "Q5_0"),
        Mix("Q5_1", "Q5_1"),
        Mix("Q4_K_M", "Q4_K", {**MORE, "attention output": OUTPUT}),
        Mix(
            "Q4_K_S",
            "Q4_K",
            {
                "values": (("first 4", "Q5_K"),),
                "down": (("first eighth", "Q5_K"),),
                "attention output": OUTPUT,
            },
        ),
        Mix("Q4_0", "Q4_0"),
        Mix("Q4_1", "Q4_1"),
        Mix(
            "Q3_K_L",
            "Q3_K",
            {
                "values": (("always", "Q5_K"),),
                "down": (("always", "Q5_K"),),
                "attention output": (("not 8 experts", "Q5_K"),),
            },
        ),
        Mix(
            "Q3_K_M",
            "Q3_K",
            {
                "values": (("first 2", "Q5_K"), ("always", "Q4_K")),
                "down": (("first sixteenth", "Q5_K"), ("always", "Q4_K")),
                "attention output": (*OUTPUT, ("always", "Q4_K")),
            },
        ),
        Mix("Q3_K_S", "Q3_K", {"attention output": OUTPUT}),
        Mix(
            "Q2_K",
            "Q2_K",
            {
                "values": (("4 share", "Q4_K"), ("always", "Q3_K")),
                "down": (("always", "Q3_K"),),
                "attention output": (*OUTPUT, ("always", "Q3_K")),
            },
        ),
        Mix("Q2_K_S", "Q2_K", {"values": (("4 share", "Q4_K"),), "down": (("first eighth", "Q4_K"),)}),
        Mix("IQ4_NL", "IQ4_NL", NONLINEAR),
        Mix("IQ4_XS", "IQ4_XS", NONLINEAR),
        Mix(
            "IQ3_M",
            "IQ3_S",
            {
                "values": (("always", "Q4_K"),),
                "down": (("first eighth", "Q4_K"), ("8 experts and more", "Q4_K")),
                "attention output": (*OUTPUT, ("always", "Q4_K")),
            },
        ),
        Mix("IQ3_S", "IQ3_S", {"values": (("4 share", "Q4_K"),), "attention output": OUTPUT}),
        Mix(
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
        Mix(
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
        Mix("IQ2_M", "IQ2_S", SMALL_3, "Q5_K", "IQ3_S", tiny=True),
        Mix("IQ2_S", "IQ2_XS", SMALL_3, "Q5_K", "IQ3_S", tiny=True),
        Mix("IQ2_XS", "IQ2_XS", SMALL_2, "Q5_K", "Q2_K", tiny=True),
        Mix("IQ2_XXS", "IQ2_XXS", SMALL_2, "Q5_K", "Q2_K", tiny=True),
        Mix("IQ1_M", "IQ1_M", SMALL_1, "Q5_K", "Q2_K", tiny=True),
        Mix("IQ1_S", "IQ1_S", SMALL_1, "Q5_K", "Q2_K", tiny=True),
        Mix("TQ2_0", "TQ2_0", embedding="Q4_K", note=_TERNARY),
        Mix("TQ1_0", "TQ1_0", embedding="Q4_K", note=_TERNARY),
        Mix("Q2_0", "Q2_0", embedding="Q4_K"),
        Mix("Q1_0", "Q1_0"),
        Mix(
            "MXFP4_MOE",
            "Q8_0",
            head="Q8_0",
            stacked="MXFP4",
            note="stacked matrices (experts) in MXFP4, all others in Q8_0",
        ),
    )
}
PLAIN = {"FP32": "F32", "FP16": "F16"}  # our words for the same
ALIASES = {**PLAIN, "Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M"}  # llama-quantize's own
# general.file_type of a file -> mix (llama_ftype in include/llama.h)
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


def find_mix(name: str) -> Mix | None:
    """Return the mix of this name, in capitals or not; None if it is none.

    >>> find_mix("q4_k_m").base, find_mix("gptq-int4-g128")
    ('Q4_K', None)
    """
    upper = name.upper()
    return MIXES.get(ALIASES.get(upper, upper))


def converted(method: str | None, activation: Format) -> Mix:
    """Return the mix that llama.cpp's converter makes of a checkpoint: 16 bits, what was quantised unpacked.

    gpt-oss's experts stay in MXFP4.

    Raises:
        BadInputError: the converter does not unpack the checkpoint's method.

    """
    if method == "mxfp4":
        return MIXES["BF16"]._replace(id="BF16, experts MXFP4", stacked="MXFP4")
    if method not in (None, "fp8", "gptq", "compressed-tensors"):
        remedy = "say --weights, for example --weights Q4_K_M"
        raise BadInputError(
            "quantization_config", "a method that llama.cpp's converter unpacks", method, remedy
        )
    return mix_named(activation.id)


def mix_named(name: str) -> Mix:
    """Return the mix of this name.

    Raises:
        UnknownNameError: there is none.

    """
    found = find_mix(name)
    if found is None:
        raise UnknownNameError("--weights", f"one of {', '.join(MIXES)}", name, "see `memcalc list formats`")
    return found


class Mixed(NamedTuple):
    """A model whose layers name the type of each tensor, and the rule that reads it."""

    model: Model
    rule: Rule


class Member(NamedTuple):
    """A tensor of a file: kind, row length, whether matrices are stacked in it, the canonical ones in it."""

    kind: str
    row: int
    stacked: bool
    packable: bool
    names: tuple[str, ...]


def mixed(model: Model, mix: Mix, *, old: bool = False) -> Mixed:
    """Return a model as a mix stores it; `old` as older files hold MLA.

    >>> from memcalc.ledger.formats import stored_bytes
    >>> from memcalc.files.sources import load_model
    >>> model, rule = mixed(load_model("Qwen/Qwen3-32B"), MIXES["Q4_K_M"])
    >>> stored_bytes(model.weights(), rule)
    19756174336

    Raises:
        BadInputError: the model has no names in GGUF here, or a row fits no type.

    """
    held = in_gguf(model, old=old)
    facts = facts_of(held)
    members: dict[
        int, tuple[Member, ...]
    ] = {}  # readers use one object for equal layers: no need to look twice
    every = (*held.layers, *held.mtp)
    for layer in every:
        if id(layer.parts) not in members:
            members[id(layer.parts)] = members_of(held.model_type, layer)
    values = 0
    if "values" in mix.exceptions:
        values = sum(len(placed(members[id(layer.parts)], "values")) for layer in every)
    passed = dict.fromkeys(COUNTED, 0)
    made: dict[tuple[int, tuple[str, ...]], Layer] = {}
    layers = []
    for index, layer in enumerate(every):
        own = members[id(layer.parts)]
        places = {}
        for kind in COUNTED:
            if kind in mix.exceptions:
                one_by_one = kind == "values" or mix.tiny or facts.experts <= 1
                count = values if kind == "values" else facts.layers
                numbers = placed(own, kind)
                first = passed[kind] if one_by_one else index
                places[kind] = [Place(first + number * one_by_one, count, facts) for number in numbers]
                passed[kind] += len(numbers)
        which = tuple(mix.type_of(kind, place) for kind, found in places.items() for place in found)
        alike = id(layer.parts), which
        if alike not in made:
            made[alike] = replace(layer, formats=tuple(formats_of(mix, own, places, facts)))
        layers.append(made[alike])
    outside = dict(outside_types(held, mix))
    depth = len(held.layers)
    return Mixed(replace(held, layers=tuple(layers[:depth]), mtp=tuple(layers[depth:])), stored_in(outside))


def placed(members: Sequence[Member], kind: str) -> range:
    """Return the numbers of a layer's tensors of a kind, from 0."""
    return range(sum(one.kind == kind and one.packable for one in members))


def formats_of(
    mix: Mix, members: Sequence[Member], places: Mapping[str, list[Place]], facts: Facts
) -> Iterator[tuple[str, str]]:
    """Yield the canonical tensors of a layer with their types."""
    left = {kind: iter(found) for kind, found in places.items()}
    anywhere = Place(0, facts.layers, facts)
    for one in members:
        place = next(left[one.kind]) if one.packable and one.kind in left else anywhere
        form = chosen(mix, one, place)
        yield from ((name, form) for name in one.names)


def stored_in(outside: Mapping[str, Format]) -> Rule:
    """Return the rule of a model whose layers name their formats; its other tensors stand in a table."""

    def rule(tensor: Tensor) -> Format:
        return format_named(tensor.format) if tensor.format else outside[tensor.name]

    return rule


def facts_of(model: Model) -> Facts:
    """Return what the rules look at: the first attention part and the first mixture of experts count."""
    parts = [part for layer in model.groups for _, part in layer.parts]
    heads, kv_heads = 1, 1
    for part in parts:
        if isinstance(part, GQA | MLA):
            heads = part.heads
            kv_heads = part.kv_heads if isinstance(part, GQA) else (part.heads if part.expanded else 1)
            break
    experts = next((part.experts for part in parts if isinstance(part, MoE)), 0)
    layers, family = len(model.layers) + len(model.mtp), architecture(model).id
    is_70b = layers == 80 and (
        family == "qwen2" or (family == "llama" and experts != 8 and heads != kv_heads)
    )
    return Facts(layers, experts, heads // kv_heads, is_70b)


@lru_cache(maxsize=64)
def members_of(model_type: str, layer: Layer) -> tuple[Member, ...]:
    """Return the tensors of a layer in a file, in the order in which llama.cpp goes through them."""
    found: dict[str, list[Tensor]] = {}
    for tensor in layer.weights():
        found.setdefault(translated(model_type, tensor.name), []).append(tensor)
    return tuple(member(name, same) for name, same in sorted(found.items()))


def member(name: str, same: list[Tensor]) -> Member:
    """Return a tensor of a file from the canonical ones in it."""
    one = same[0]
    kind = next((kind for part, kind in KINDS if part in name), "other")
    stacked = one.active_experts is not None or len(one.shape) > 2
    packable = is_packable(*same) or name.endswith(PACKED_ROUTER)
    return Member(kind, product(one.shape[-1]), stacked, packable, tuple(item.name for item in same))


def is_packable(*same: Tensor) -> bool:
    """Say whether a tensor of a file is quantised at all: a matrix, and neither a router nor a convolution.

    A matrix of one row is none; what several canonical tensors become has the rows of all.
    """
    if same[0].kind not in EVERY_MATRIX:
        return False
    rows = (tensor.experts * prod(tensor.stored_shape[:-1]) for tensor in same if len(tensor.shape) > 1)
    return sum(rows) > 1


def chosen(mix: Mix, one: Member, place: Place) -> str:
    """Return the type of a tensor of a layer."""
    if not one.packable:
        return "fp32"
    if one.stacked and mix.stacked is not None:
        return fitting(mix.stacked, one.row)
    if mix.base in FORMATS:
        return mix.base
    return fitting(mix.type_of(one.kind, place), one.row)


def outside_types(model: Model, mix: Mix) -> Iterator[tuple[str, Format]]:
    """Yield the formats of embedding, head and final norm."""
    for name, part in model.outside:
        for tensor in part.weights():
            row, form = product(tensor.shape[-1]), mix.base
            if not is_packable(tensor):
                form = "fp32"
            elif mix.base not in FORMATS:
                is_head = tensor.kind == "head" or model.tied
                whole = row % block(mix.base) == 0
                form = fitting((mix.head if whole else "Q8_0") if is_head else mix.embedding or mix.base, row)
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

    Raises:
        BadInputError: nothing stands in.

    """
    if row % block(name) == 0:
        return name
    if name not in INSTEAD:
        expected = f"rows of whole blocks of {block(name)}, as {name} needs them"
        raise BadInputError("--weights", expected, row, "choose a K-quant or F16; llama.cpp refuses this one")
    return "fp16" if row % 32 else INSTEAD[name]
