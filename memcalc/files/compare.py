"""In what a header that was read differs from the ledger of its config.json, array by array."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, NamedTuple

from memcalc.errors import MemcalcError, escaped
from memcalc.files.json_file import WithoutCollection
from memcalc.files.quantizers import Array, arrays_of
from memcalc.files.storage import mtp_as_stored
from memcalc.files.tensor_names import family_name, listed, name_in_header, spelling, stored_shape
from memcalc.ledger.formats import Format, format_named, uniform_rule, weight_only_rule

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from memcalc.files.quantization import Scheme
    from memcalc.files.quantizers import Arrays
    from memcalc.files.safetensors import Header, TensorInfo
    from memcalc.files.source import Source
    from memcalc.ledger.model import Model

__all__ = ["Check", "Difference", "check"]

DTYPES = {"bf16": "BF16", "fp16": "F16", "fp32": "F32", "int64": "I64"}
NUMBERED = {**dict.fromkeys(("layers", "blocks", "blk"), "{layer}"), "experts": "{expert}"}
# the router's bias: F32 in published files, the model's dtype if written again
BUFFER = ("F32", "BF16", "F16")


class Difference(NamedTuple):
    """In what a checkpoint differs from the ledger; `count` equal ones of layers and experts are one.

    `kind` is "missing" (from the checkpoint), "unexpected" (in it), "shape", "dtype", "bytes" (an index
    states another sum) or "not compared".
    """

    name: str
    kind: str
    expected: object = None
    found: object = None
    count: int = 1  # type: ignore[assignment]  # the word every reader expects, and no tuple's


class Check(NamedTuple):
    """What comparing a header with the ledger gave. `ledger_bytes` are those of the same tensors, derived."""

    header: Header
    ledger_bytes: int | None
    differences: tuple[Difference, ...]

    @property
    def fields(self) -> dict[str, object]:
        """The header as an answer shows it."""
        return {
            "tensors": len(self.header.tensors),
            "bytes": self.header.bytes,
            "ledger_bytes": self.ledger_bytes,
            "files": self.header.files,
        }

    @property
    def text(self) -> str:
        """One line for people."""
        kinds = ("missing", "unexpected", "shape", "dtype")
        real = [one for one in self.differences if one.kind in kinds]
        rows = [self.equal if not real else differing(real)]
        for one in self.differences:
            if one.kind == "bytes":
                rows.append(f"the index states {one.found:,} bytes instead of {one.expected:,}")
            elif one.kind not in kinds:
                rows.append(f"not compared: {one.name}")
        return escaped("; ".join(rows))

    @property
    def equal(self) -> str:
        """What is said where no tensor differs."""
        what = "tensors" if self.header.files else "names (no shard in the index's folder)"
        size = self.header.bytes
        return f"header: equal, {len(self.header.tensors):,} {what}" + (f", {size:,} bytes" if size else "")


def differing(differences: list[Difference]) -> str:
    """Say in how many tensors a header differs, and show the first three.

    >>> differing([Difference("lm_head.weight", "unexpected")])
    'header differs in 1 tensor(s): unexpected lm_head.weight'
    """
    shown = ", ".join(f"{one.kind} {one.name}" for one in differences[:3])
    more = f", and {len(differences) - 3} more" if len(differences) > 3 else ""
    return f"header differs in {sum(one.count for one in differences):,} tensor(s): {shown}{more}"


class Expected(NamedTuple):
    """The arrays of a checkpoint, and the bytes of the modules whose arrays are not compared."""

    arrays: dict[str, Array]
    uncompared: dict[str, int]


def check(source: Source) -> Check | None:
    """Compare the header of a source with the ledger of its config.json, tensor by tensor; None without one.

    Raises
    ------
    BadInputError
        The config.json is not understood.

    """
    header = source.header
    if header is None:
        return None
    if header.kind == "gguf":
        return check_gguf(source.model, header)
    try:
        scheme = source.scheme
    except MemcalcError as error:  # the model itself can be answered all the same
        return Check(header, None, (Difference(str(error), "not compared"),))
    if scheme is not None and scheme.others:
        return Check(header, None, (Difference("formats by module", "not compared"),))
    expected = expected_arrays(source.model, scheme, format_named(source.dtype), header)
    aside: tuple[Difference, ...] = ()
    if expected.uncompared and scheme is not None:
        name = " ".join(filter(None, ("the arrays of", scheme.method, scheme.layout)))
        aside = (Difference(name, "not compared", count=len(expected.uncompared)),)
    size = sum(array.bytes(header.tensors.get(name)) for name, array in counted(expected, header))
    size += sum(expected.uncompared.values())
    with WithoutCollection():
        found = (*tensors(expected, header), *sizes(expected, header, size))
        return Check(header, size, (*grouped(found), *aside))


def check_gguf(model: Model, header: Header) -> Check:
    """Compare the tensors of a GGUF file with the ledger: names and shapes, in whichever types they are."""
    from memcalc.files.gguf.compare import compared
    from memcalc.files.gguf.header import format_of

    size, found = 0, []
    for name, expected, stored in compared(model, header):
        fields = None if expected is None else {"shape": list(expected)}
        if stored is None:
            found.append(Difference(name, "missing", fields))
        elif expected is None:
            found.append(Difference(name, "unexpected", None, shown(stored)))
        else:
            *rows, columns = expected
            size += format_of(stored.dtype).bytes(prod(rows), columns)
            if tuple(axis for axis in stored.shape if axis > 1) != tuple(
                axis for axis in expected if axis > 1
            ):
                found.append(Difference(name, "shape", fields, shown(stored)))
    return Check(header, size, tuple(grouped(found)))


def expected_arrays(model: Model, scheme: Scheme | None, rest: Format, header: Header) -> Expected:
    """Return what a checkpoint of the model should hold; a part that is not there at all was left out."""
    if scheme is not None:
        model = without_exclusions(model, scheme, rest)
    rule = uniform_rule(rest) if scheme is None else weight_only_rule(scheme.format, rest)
    everything = {name_in_header(model, name, header.tensors): one for name, one in listed(model).items()}
    there = {one.part for name, one in everything.items() if one.part == "text" or name in header.tensors}
    endings = {name.rpartition(".")[2] for name in header.tensors}
    expected = Expected({}, {})
    quantizer = "" if scheme is None else scheme.quantizer
    alike: dict[tuple[bool, bool, tuple[int, ...]], Arrays | None] = {}
    for name, one in everything.items():
        form = rest if one.part == "vision" else rule(one.tensor)
        if one.part not in there:
            continue
        if form.is_plain:
            stated = one.tensor.kind != "buffer" or one.tensor.format is not None
            dtypes = (DTYPES[form.id],) if stated else BUFFER
            expected.arrays[name] = Array(stored_shape(spelling(model), name, one.shape), dtypes)
            continue
        is_expert, module = one.tensor.active_experts is not None, name.removesuffix(".weight")
        is_named = module != name or len(one.shape) > 2  # arrays take the place of a word that is known
        key = is_expert, is_named, one.shape
        if key not in alike:
            arrays = arrays_of(quantizer, form, one.shape, endings, is_expert=is_expert)
            alike[key] = arrays if is_named else None
        add(expected, module, alike[key], form, one.shape)
    return expected._replace(arrays=expected.arrays | copies(model, rest)) if "mtp" in there else expected


def without_exclusions(model: Model, scheme: Scheme, rest: Format) -> Model:
    """Return the model, its prediction layers too, with a format at every tensor that stays unquantised."""
    from memcalc.files.quantization import exclude_modules

    depth = len(model.layers)
    whole = replace(model, layers=(*model.layers, *model.mtp))
    if scheme.excluded:
        whole, _ = exclude_modules(whole, scheme, rest)
    return replace(whole, layers=whole.layers[:depth], mtp=mtp_as_stored(whole.layers[depth:], rest))


def add(expected: Expected, module: str, arrays: Arrays | None, form: Format, shape: tuple[int, ...]) -> None:
    """Enter a quantised module: its arrays, or its bytes if they are not compared."""
    if arrays is None:
        *stacked, rows, columns = shape
        expected.uncompared[module] = prod(stacked) * form.bytes(rows, columns)
        return
    for ending, array in arrays.items():
        if array.optional:  # the model's own bias has the same name, and is no option
            expected.arrays.setdefault(module + ending, array)
        else:
            expected.arrays[module + ending] = array


def copies(model: Model, rest: Format) -> dict[str, Array]:
    """Return the copies of embedding and head that prediction layers bring along in some checkpoints.

    Source: deepseek-ai/DeepSeek-V3, README_WEIGHTS.md, 2024-12.
    """
    table = next(dict(model.outside)["model.embed_tokens"].weights()).stored_shape
    depth = len(model.layers)
    names = [
        f"model.layers.{index}.{which}.weight"
        for index in range(depth, depth + len(model.mtp))
        for which in ("embed_tokens", "shared_head.head")
    ]
    return {family_name(model, name): Array(table, (DTYPES[rest.id],), optional=True) for name in names}


def counted(expected: Expected, header: Header) -> Iterator[tuple[str, Array]]:
    """Yield the arrays that the ledger counts: all but the options that the checkpoint leaves out."""
    for name, array in expected.arrays.items():
        if not array.optional or name in header.tensors:
            yield name, array


def tensors(expected: Expected, header: Header) -> Iterator[Difference]:
    """Yield in what each tensor differs."""
    for name, array in counted(expected, header):
        if name not in header.tensors:
            yield Difference(name, "missing", array.fields)
            continue
        found = header.tensors[name]
        kind = found and array.difference(found)
        if found and kind:
            yield Difference(name, kind, array.fields, shown(found))
    for name, found in header.tensors.items():
        aside = expected.uncompared and any(module in expected.uncompared for module in above(name))
        if name not in expected.arrays and not aside:
            yield Difference(name, "unexpected", None, found and shown(found))


def shown(found: TensorInfo) -> dict[str, object]:
    """Return a stored tensor as a difference shows it."""
    return {"dtype": found.dtype, "shape": list(found.shape)}


def above(name: str) -> Iterator[str]:
    """Yield what may be the module that an array belongs to.

    >>> list(above("q_proj.weight.absmax"))
    ['q_proj.weight', 'q_proj']
    """
    while "." in name:
        name = name.rpartition(".")[0]
        yield name


def sizes(expected: Expected, header: Header, ledger: int) -> Iterator[Difference]:
    """Yield where an index states another sum of bytes than its shards, or without them than the ledger."""
    if header.total_size is None:
        return
    underived = not header.files and any(array.shape is None for array in expected.arrays.values())
    right = header.bytes if header.files else ledger
    if header.total_size != right and not underived:
        yield Difference("metadata.total_size", "bytes", right, header.total_size)


def unnumbered(name: str) -> str:
    """Return a name without the numbers of its layer and its expert.

    >>> unnumbered("model.layers.7.mlp.experts.31.up_proj.weight")
    'model.layers.{layer}.mlp.experts.{expert}.up_proj.weight'
    """
    words = name.split(".")
    for place in range(1, len(words) - 1):
        if words[place].isdigit():
            words[place] = NUMBERED.get(words[place - 1], words[place])
    return ".".join(words)


def grouped(differences: Iterable[Difference]) -> Iterator[Difference]:
    """Yield equal differences of several layers and experts as one.

    >>> list(grouped([Difference(f"model.layers.{layer}.bias", "missing") for layer in (0, 1)]))
    [Difference(name='model.layers.{layer}.bias', kind='missing', expected=None, found=None, count=2)]
    """
    alike: dict[str, tuple[str, list[Difference]]] = {}
    for one in differences:
        name = unnumbered(one.name)
        alike.setdefault(repr((name, *one[1:])), (name, []))[1].append(one)
    for name, same in alike.values():
        yield same[0] if len(same) == 1 else same[0]._replace(name=name, count=len(same))
