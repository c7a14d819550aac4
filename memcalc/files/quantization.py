"""What a checkpoint says of its own storage: a quantization_config becomes a format and its exceptions."""

from __future__ import annotations

import re
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from memcalc.errors import BadInputError, UnknownNameError
from memcalc.files.patterns import PATTERN, quick_pattern
from memcalc.ledger.formats import EVERY_MATRIX, Format, format_named
from memcalc.ledger.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from memcalc.ledger.formats import Rule
    from memcalc.ledger.model import Layer, Model
    from memcalc.ledger.tensor import Tensor

    Grouped = dict[tuple[str, int | None], list["Pattern"]]

__all__ = ["Scheme", "exclude_modules", "scheme", "zero_biases"]

FIELD = "quantization_config"
ASIDE = "add --weights to leave it aside"
OTHERWISE = f"its .safetensors headers alone have exact weights, or {ASIDE}"
MIXED = "MIXED_PRECISION"


class Scheme(NamedTuple):
    """A format, the names of modules that keep the 16-bit one, and who stores it so.

    `excluded` are names of modules or patterns. `method` is the quantization_config's, `layout` what it says
    beside it of the arrays (compressed-tensors). `others` are modules with a format of their own, by name.
    """

    format: Format
    excluded: tuple[str, ...]
    method: str = ""
    layout: str = ""
    others: tuple[tuple[str, str], ...] = ()

    @property
    def quantizer(self) -> str:
        """The tool that writes the arrays, as `memcalc.files.quantizers` names it."""
        if self.method == "auto-round" and "awq" in self.layout:
            return "awq"
        return f"{self.method} {self.layout}" if self.method == "compressed-tensors" else self.method


def scheme(stated: object) -> Scheme:
    """Return what a quantization_config says.

    >>> scheme({"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True}).format.id
    'awq-int4-g128'

    Raises
    ------
    BadInputError
        It is no object, its method is unknown, or a field says more than is understood.

    """
    if not isinstance(stated, dict) or not stated:
        raise BadInputError(FIELD, "an object that describes it", stated, f"correct it, or {ASIDE}")
    method: Any = stated.get("quant_method") or ("modelopt" if "quant_algo" in stated else "mlx")
    if "quant_algo" in stated and method in METHODS:
        method = "modelopt"
    read, lists, harmless = METHODS[method]
    known = {"quant_method", *lists, *harmless.split()}
    fields = {name: value for name, value in stated.items() if name in lists}
    chosen = read(Fields(stated, known))
    others = own_formats_of(method, stated, known)
    for name, value in stated.items():
        if value and name not in known:
            raise BadInputError(f"{FIELD}.{name}", "nothing", value, f"it may change what is stored; {ASIDE}")
    kept_out = tuple(entry for name in fields for entry in names_in(name, fields[name]))
    layout = stated.get("format", stated.get("packing_format"))
    return Scheme(chosen, kept_out, method, layout if isinstance(layout, str) else "", others)


def own_formats_of(method: str, stated: Mapping[str, object], known: set[str]) -> tuple[tuple[str, str], ...]:
    """Return the modules that have a format of their own; most configs have none, and load nothing for it."""
    by_module = {name for name, value in stated.items() if isinstance(value, dict) or "." in name}
    dynamic = (method == "gptq" and stated.get("dynamic")) or (
        method == "auto-round" and stated.get("extra_config")
    )
    if stated.get("quant_algo") != MIXED and not dynamic and not (method == "mlx" and by_module):
        return ()
    from memcalc.files.by_module import own_formats

    found = tuple(own_formats(method, stated))
    known |= by_module if method == "mlx" else {"quantized_layers", "dynamic", "extra_config"}
    return found


def names_in(field: str, value: object) -> Iterator[str]:
    """Yield the names in a list of modules; null is the empty list."""
    if value is not None and (
        not isinstance(value, list) or not all(isinstance(item, str) and item for item in value)
    ):
        raise BadInputError(f"{FIELD}.{field}", "a list of names", value, f"correct it, or {ASIDE}")
    yield from value or ()


class Fields(NamedTuple):
    """A quantization_config whose fields count as known once they have been read."""

    stated: Mapping[str, object]
    known: set[str]

    def get(self, name: str, *allowed: object, default: object = None) -> object:
        """Return a field's value, one of `allowed` if any are named."""
        self.known.add(name)
        value = self.stated.get(name, default)
        if allowed and not any(value == one and type(value) is type(one) for one in allowed):
            expected = " or ".join(map(str, allowed))
            raise BadInputError(f"{FIELD}.{name}", expected, value, ASIDE)
        return value


def named(name: str, field: str) -> Format:
    """Return a format, or refuse in the field's name."""
    try:
        return format_named(name)
    except UnknownNameError:
        raise BadInputError(f"{FIELD}.{field}", "a format that is known", name, ASIDE) from None


def group(fields: Fields, field: str = "group_size") -> str:
    """Return the group as a format's name spells it: -1 is a whole row."""
    value = fields.get(field)
    if value == -1:
        return "c"
    if type(value) is not int or value < 1:
        raise BadInputError(f"{FIELD}.{field}", "a whole number >= 1, or -1", value, ASIDE)
    return str(value)


def gptq(fields: Fields) -> Format:
    """Read GPTQ: a group's scale and zero point whether symmetric or not, and an index whatever the order."""
    fields.get("pack_dtype", None, "int32")  # other words would leave other gaps at the end of a row
    found = named(f"gptq-int{fields.get('bits')}-g{group(fields)}", "bits")
    marlin = fields.get("is_marlin_format", None, False, True)  # its older word
    if fields.get("checkpoint_format") == "marlin" or marlin:
        # codes and scales alone: AutoGPTQ/AutoGPTQ, auto_gptq/nn_modules/qlinear/qlinear_marlin.py, 2024
        found = replace(found, id=found.id.replace("gptq-", "marlin-"), zero_bits=0, index_bits=0)
    if fields.get("lm_head", None, False, True):
        return replace(found, kinds=found.kinds | {"head"})
    return found


def awq(fields: Fields) -> Format:
    """Read AWQ, which stores zero points."""
    fields.get("zero_point", None, True)
    bits, size = ("w_bit", "q_group_size") if "w_bit" in fields.stated else ("bits", "group_size")
    return named(f"awq-int{fields.get(bits)}-g{group(fields, size)}", bits)


def fp8(fields: Fields) -> Format:
    """Read FP8: blocks of 128 x 128, or one scale a matrix; a static activation scale is one number more."""
    blocks = fields.get("weight_block_size", None, [128, 128])
    found = named("fp8" if blocks is None else "fp8-block128", "weight_block_size")
    static = fields.get("activation_scheme", None, "dynamic", "static") == "static"
    return replace(found, matrix_bits=32) if static else found


def bitsandbytes(fields: Fields) -> Format:
    """Read NF4, FP4 or LLM.int8."""
    if fields.get("load_in_4bit", None, False, True):
        kind = fields.get("bnb_4bit_quant_type", "nf4", "fp4", default="fp4")
        double = fields.get("bnb_4bit_use_double_quant", None, False, True)
        return named(f"{kind}-dq" if double else str(kind), "bnb_4bit_quant_type")
    fields.get("load_in_8bit", True)
    fields.known.update(
        ("bnb_4bit_quant_type", "bnb_4bit_use_double_quant")
    )  # files of 8 bits carry them too
    return named("int8", "load_in_8bit")


def compressed_tensors(fields: Fields) -> Format:
    """Read the one group of a compressed-tensors config."""
    groups = fields.get("config_groups")
    if not isinstance(groups, dict) or len(groups) != 1:
        expected = "one group for all linear layers"
        raise BadInputError(f"{FIELD}.config_groups", expected, groups, ASIDE)
    (one,) = groups.values()
    weights = one.get("weights") if isinstance(one, dict) else None
    if not isinstance(weights, dict) or one.get("targets", ["Linear"]) != ["Linear"]:
        raise BadInputError(f"{FIELD}.config_groups", "weights of the target Linear", one, ASIDE)
    inner = Fields(weights, set())
    kind, bits = inner.get("type", "int", "float", default="int"), inner.get("num_bits", 4, 8)
    strategy = inner.get("strategy", default="group" if inner.get("group_size") else "tensor")
    size = inner.get("group_size")
    known = {
        ("float", 8, "tensor"): "fp8",
        ("float", 8, "channel"): "fp8-channel",
        ("float", 8, "block"): "fp8-block128",
        ("int", 8, "channel"): "w8a8",
        ("float", 4, "tensor_group"): "nvfp4",
        ("float", 4, "group"): {16: "nvfp4", 32: "mxfp4"}.get(size if type(size) is int else 0),
        ("int", 4, "channel"): "int4-gc",
        ("int", 4, "group"): f"int4-g{size}",
        ("int", 8, "group"): f"int8-g{size}",
    }
    name = known.get((str(kind), int(str(bits)), str(strategy)))
    if name is None:
        raise BadInputError(f"{FIELD}.config_groups.weights", "a format that is known", weights, ASIDE)
    if name == "fp8-block128":
        inner.get("block_structure", [128, 128])
    found = named(name, "config_groups")
    if kind == "int" and inner.get("symmetric", None, True, False) is False:
        return replace(found, zero_bits=int(str(bits)))
    return found


def mxfp4(_fields: Fields) -> Format:
    """Read gpt-oss's MXFP4."""
    return named("mxfp4", "quant_method")


def modelopt(fields: Fields) -> Format:
    """Read NVIDIA's FP8 (a scale for the activations beside each weight's) or NVFP4."""
    if fields.get("quant_algo") not in ("FP8", "NVFP4", MIXED):  # W4A16_AWQ: which inputs keep scales is open
        given = fields.stated.get("quant_algo")
        raise BadInputError(f"{FIELD}.quant_algo", f"FP8, NVFP4 or {MIXED}", given, OTHERWISE)
    algorithm = fields.stated["quant_algo"]
    if algorithm == MIXED:  # module by module; what is not listed keeps its 16 bits
        return Format("mixed", 16, kinds=frozenset())
    if algorithm == "FP8":
        return replace(named("fp8", "quant_algo"), matrix_bits=32)
    fields.get("group_size", None, 16)
    return named("nvfp4", "quant_algo")


def cache_format(stated: object, field: str) -> str | None:
    """Return the format of keys and values that a source states; None if it states none.

    >>> cache_format({"dynamic": False, "num_bits": 8, "type": "float"}, "kv_cache_scheme")
    'fp8'

    Raises
    ------
    BadInputError
        It is another one than floats of 8 bits.

    """
    if not stated:
        return None
    eight = isinstance(stated, dict) and stated.get("num_bits") == 8 and stated.get("type") == "float"
    if eight or stated == "FP8":
        return "fp8"
    raise BadInputError(field, "floats of 8 bits", stated, "add --kv, for example --kv fp8 or --kv bf16")


# modes of MLX whose scales have 8 bits and whose groups no biases -> bits, group
MLX_FLOATS = {"mxfp4": (4, 32), "nvfp4": (4, 16), "mxfp8": (8, 32)}


def mlx(fields: Fields) -> Format:
    """Read MLX's quantisation, whose config names no method: affine, or floats with scales of 8 bits.

    Source: ml-explore/mlx, python/mlx/nn/layers/quantized.py (_defaults_for_mode), 2026-11.
    """
    mode = fields.get("mode", None, "affine", *MLX_FLOATS)
    if isinstance(mode, str) and mode in MLX_FLOATS:
        bits, size = MLX_FLOATS[mode]
        fields.get("bits", None, bits)
        fields.get("group_size", None, size)
        return Format(f"mlx-{mode}", bits, 1, size, scale_bits=8, kinds=EVERY_MATRIX)
    return named(f"mlx-{fields.get('bits')}bit-g{group(fields)}", "bits")


# packing_format of AutoRound -> GPTQ's arrays without an index, or AWQ's: the same bytes
PACKED = (
    *("auto_round", "auto_round:auto_round", "auto_round:gptq", "auto_round:auto_gptq"),
    *("auto_round:awq", "auto_round:auto_awq"),
)


def auto_round(fields: Fields) -> Format:
    """Read AutoRound's integers; its other kinds of numbers are packed in other ways.

    Source: intel/auto-round, export/export_to_autoround/export.py (which packing has which arrays), 2026-08.
    """
    fields.get("data_type", None, "int")
    fields.get("act_bits", None, 16)
    fields.get("packing_format", *PACKED)
    blocks = fields.get("block_name_to_quantize")
    for name in blocks.split(",") if isinstance(blocks, str) else blocks or ():  # type: ignore[attr-defined]
        if (
            not (isinstance(name, str) and name.rpartition(".")[2] in ("layers", "h", "blocks"))
            or "vis" in name
        ):
            expected = "the layers of the text model"
            raise BadInputError(f"{FIELD}.block_name_to_quantize", expected, blocks, OTHERWISE)
    return named(f"auto-round-int{fields.get('bits')}-g{group(fields)}", "bits")


def eetq(fields: Fields) -> Format:
    """Read EETQ: int8 codes, and a scale of 16 bits a row.

    Source: huggingface/transformers, integrations/eetq.py (EetqLinear), 5.23.
    """
    fields.get("weights", None, "int8")
    return replace(named("int8", "weights"), id="eetq-int8", scale_bits=16)


def fbgemm_fp8(_fields: Fields) -> Format:
    """Read FBGEMM's FP8: a scale of 32 bits a row.

    Source: huggingface/transformers, integrations/fbgemm_fp8.py (FbgemmFp8Linear), 5.23.
    """
    return replace(named("fp8-channel", "quant_method"), id="fbgemm-fp8", scale_bits=32, assumed="")


def bitnet(fields: Fields) -> Format:
    """Read BitNet's packed weights: four of three values in a byte, and one number of 16 bits a matrix.

    Weights that are quantised while the model runs ("online") are stored as they are.
    Source: huggingface/transformers, integrations/bitnet.py (BitLinear), 5.23.
    """
    fields.get("linear_class", None, "bitlinear", "autobitlinear")
    fields.get("quantization_mode", None, "offline")
    fields.get("use_rms_norm", None, False)
    return Format("bitnet", 2, matrix_bits=16)


def torchao(fields: Fields) -> Format:
    """Read torchao's FP8, and its int4 in the two packings that are as large: 16 bits of scale, 16 of zero.

    What a release of torchao writes decides the rest: its int8 has had scales of 16 and of 32 bits, with zero
    points and without, under one configuration.
    Source: pytorch/ao, torchao/quantization/quantize_/workflows (float8_tensor.py, int4_tensor.py,
    int4_tile_packed_to_4d_tensor.py), 0.15 to 0.18, 2026-11; huggingface/transformers,
    quantizers/quantizer_torchao.py (without a list the head stays as it is), 5.23.

    Raises:
        BadInputError: it is another one.

    """
    fields.get("include_input_output_embeddings", None, False)
    fields.get("untie_embedding_weights", None, False)
    stated = fields.get("quant_type")
    only = stated.get("default") if isinstance(stated, dict) and len(stated) == 1 else None
    one = only if isinstance(only, dict) else {}
    data, kind = one.get("_data"), one.get("_type")
    inner = Fields(data if isinstance(data, dict) else {}, set())
    found = None
    if one.get("_version") == 2 and kind in TORCHAO_FP8:
        found = torchao_fp8(inner)
    elif one.get("_version") == 2 and kind == "Int4WeightOnlyConfig":
        found = torchao_int4(inner)
    if found is None:
        expected = "FP8 by row or matrix, or int4 in plain or tile_packed_to_4d, each of _version 2"
        given = stated if kind is None else f"{kind}, _version {one.get('_version')}"
        raise BadInputError(f"{FIELD}.quant_type", expected, given, OTHERWISE)
    # a list that does not name the head has it quantised, and matches names in a way of its own
    fields.get("modules_to_not_convert", None, ["lm_head"])
    return found


TORCHAO_FP8 = ("Float8DynamicActivationFloat8WeightConfig", "Float8WeightOnlyConfig")


def torchao_fp8(data: Fields) -> Format | None:
    """Return FP8 with a scale of 32 bits a row or a matrix; None for blocks."""
    stated = data.get("granularity", default={"_type": "PerRow"})
    names = {
        str(one.get("_type"))
        for one in (stated if isinstance(stated, list) else [stated])
        if isinstance(one, dict)
    }
    weights = data.get("weight_dtype")
    if isinstance(weights, dict) and weights.get("_data") != "float8_e4m3fn":
        return None
    if names == {"PerRow"}:
        return replace(named("fp8-channel", "quant_type"), id="torchao-fp8-row", scale_bits=32, assumed="")
    return replace(named("fp8", "quant_type"), assumed="") if names == {"PerTensor"} else None


def torchao_int4(data: Fields) -> Format | None:
    """Return int4 in groups; None for packings that are others."""
    packing = data.get("int4_packing_format", default={"_data": "PLAIN"})
    word = packing.get("_data") if isinstance(packing, dict) else packing
    if str(word).lower() not in ("plain", "tile_packed_to_4d"):
        return None
    size = group(data)
    named_so = f"torchao-int4-g{size}"
    return Format(named_so, 4, 1, None if size == "c" else int(size), scale_bits=16, zero_bits=16)


class Method(NamedTuple):
    """A method of a quantization_config: how it is read, its lists of modules, and its harmless fields.

    Those change no byte of the weights.
    """

    read: Callable[[Fields], Format]
    lists: tuple[str, ...] = ()
    harmless: str = ""


METHODS: Registry[Method] = Registry(
    f"{FIELD}.quant_method",
    {
        "gptq": Method(
            gptq,
            ("modules_to_not_convert",),
            """desc_act sym damp_percent static_groups true_sequential model_name_or_path model_file_base_name
        dataset tokenizer batch_size backend use_exllama exllama_config max_input_length
        cache_block_outputs use_cuda_fp16 model_seqlen block_name_to_quantize disable_exllama meta
        module_name_preceding_first_block pack_dtype pad_token_id""",
        ),
        "awq": Method(
            awq,
            ("modules_to_not_convert",),
            "version do_fuse fuse_max_seq_len backend exllama_config modules_to_fuse",
        ),
        "fp8": Method(fp8, ("modules_to_not_convert", "ignored_layers"), "fmt scale_fmt"),
        "bitsandbytes": Method(
            bitsandbytes,
            ("llm_int8_skip_modules",),
            """_load_in_4bit _load_in_8bit bnb_4bit_compute_dtype bnb_4bit_quant_storage llm_int8_threshold
        llm_int8_enable_fp32_cpu_offload llm_int8_has_fp16_weight""",
        ),
        "compressed-tensors": Method(
            compressed_tensors,
            ("ignore",),
            "format quantization_status global_compression_ratio version kv_cache_scheme",
        ),
        "mxfp4": Method(mxfp4, ("modules_to_not_convert",)),
        "modelopt": Method(
            modelopt,
            ("ignore", "exclude_modules"),
            "producer config_groups kv_cache_scheme kv_cache_quant_algo",
        ),
        "mlx": Method(mlx),
        "auto-round": Method(
            auto_round,
            ("modules_to_not_convert",),
            """sym iters nsamples seqlen lr minmax_lr batch_size dataset amp gradient_accumulate_steps nblocks
        enable_quanted_input enable_minmax_tuning enable_norm_bias_tuning enable_alg_ext low_gpu_mem_usage
        scale_dtype autoround_version model_free backend desc_act damp_percent true_sequential
        enable_torch_compile super_bits super_group_size momentum act_dynamic""",
        ),
        "eetq": Method(eetq, ("modules_to_not_convert",)),
        "fbgemm_fp8": Method(fbgemm_fp8, ("modules_to_not_convert",), "activation_scale_ub"),
        "torchao": Method(torchao),
        "bitnet": Method(bitnet, ("modules_to_not_convert",), "rms_norm_eps"),
    },
    remedy=OTHERWISE,
    offers=False,
)


class Pattern(NamedTuple):
    """A module's name as a list states it: its layer if it names one, and what stands for the rest."""

    entry: str
    layer: int | None
    template: str

    @property
    def is_expression(self) -> bool:
        """True if it is a regular expression."""
        return self.entry.startswith("re:")


@cache
def means(pattern: Pattern, module: str) -> bool:
    """Say whether a pattern means a module, or one that holds it; names may begin anywhere."""
    if pattern.is_expression:
        return re.match(pattern.entry[3:], module.replace("{layer}", str(pattern.layer or 0))) is not None
    words = module.split(".")
    paths = [".".join(words[i:j]) for i in range(len(words)) for j in range(i + 1, len(words) + 1)]
    if "*" in pattern.template:
        return any(fnmatchcase(path, pattern.template) for path in paths if module.startswith(path))
    return pattern.template in paths


def without_nesting(name: str) -> str:
    """Return a name as if the text model stood alone, and not beside a tower.

    >>> without_nesting("model.language_model.layers.0.mlp")
    'model.layers.0.mlp'
    """
    return name.removeprefix("language_model.").replace("model.language_model.", "model.")


def patterns(entry: str, depth: int) -> list[Pattern]:
    """Return a list's entry as patterns; one that is a regular expression with digits asks every layer."""
    if entry.startswith("re:"):
        if quick_pattern(entry.removeprefix("re:")) is None:
            raise BadInputError(FIELD, f"{PATTERN}, after re:", entry, ASIDE)
        layers = range(depth) if re.search(r"\d", entry) else [None]
        return [Pattern(entry, layer, entry) for layer in layers]
    plain = without_nesting(entry)
    if re.search(r"experts\.\d", plain):
        raise BadInputError(FIELD, "modules of all experts alike", entry, f"single experts differ; {ASIDE}")
    found = re.search(r"(^|\.)layers\.(\d+)(\*?)(?=\.|$)", plain)
    if found is None:
        return [Pattern(entry, None, plain)]
    template = f"{plain[: found.start(2)]}{{layer}}{plain[found.end(3) :]}"
    return [Pattern(entry, int(found[2]), template)]


def exclude_modules(model: Model, scheme: Scheme, rest: Format) -> tuple[Model, tuple[str, ...]]:
    """Return a model whose excluded modules are not quantised, and the entries that name no module.

    Parameters
    ----------
    model : Model
        The model.
    scheme : Scheme
        Its quantisation, with the names of the modules that are excluded from it.
    rest : Format
        How those are stored.

    Raises
    ------
    BadInputError
        An entry is no pattern, or names what stands outside the layers and would be quantised.

    """
    depth = len(model.layers)
    grouped = grouped_patterns(scheme.excluded, depth)
    used = used_outside(model, grouped, scheme)
    distinct = {id(layer): layer for layer in model.layers}
    meant = {key: meanings(model, layer, grouped) for key, layer in distinct.items()}
    every = [one for same in grouped.values() for one in same]
    numbered = {one.layer for one in every}

    def excluded(layer: Layer, index: int | None) -> Layer:
        found = meant[id(layer)].items()
        formats = tuple(
            (name, rest.id) for name, same in found if any(one.layer in (None, index) for one in same)
        )
        return replace(layer, formats=formats + layer.formats) if formats else layer  # the model's own win

    keys = (index if index in numbered else None for index in range(depth))
    changed = replace(model, mtp=()).map_layers(excluded, keys)
    for found in meant.values():
        used |= {one.entry for same in found.values() for one in same if (one.layer or 0) < depth}
    unmatched = (entry for entry in dict.fromkeys(one.entry for one in every) if entry not in used)
    return replace(changed, mtp=model.mtp), tuple(unmatched)


def grouped_patterns(entries: Iterable[str], depth: int) -> Grouped:
    """Return the patterns of a list, those together that differ in their layer alone, as most do."""
    found: Grouped = {}
    for entry in dict.fromkeys(entries):
        for one in patterns(entry, depth):
            found.setdefault((one.template, one.layer if one.is_expression else None), []).append(one)
    return found


def used_outside(model: Model, grouped: Grouped, scheme: Scheme) -> set[str]:
    """Return the entries that name what stands outside the layers; it is not quantised anyway, or refused."""
    used: set[str] = set()
    for name, part in model.outside:
        hits = {one.entry for same in grouped.values() if means(same[0], name) for one in same}
        if hits and getattr(part, "kind", "norm") in scheme.format.kinds:
            raise BadInputError(FIELD, f"{name} in {scheme.format.id}", min(hits), ASIDE)
        used |= hits
    return used


def meanings(model: Model, layer: Layer, grouped: Grouped) -> dict[str, list[Pattern]]:
    """Return for each tensor of a layer the patterns that mean its module, in any layer."""
    if not grouped:
        return {tensor.name: [] for tensor in layer.weights()}
    from memcalc.files.tensor_names import spelled, spelling

    words = tuple(spelling(model).words.items())
    found = {}
    for tensor in layer.weights():
        module = module_of(tensor.name)
        family = spelled(f"{module}.", words).removesuffix(".")
        spellings = {module, family, without_nesting(family)}
        groups = (same for same in grouped.values() if any(means(same[0], one) for one in spellings))
        found[tensor.name] = [one for same in groups for one in same]
    return found


def module_of(tensor: str) -> str:
    """Return the name of a layer's module that holds a tensor.

    >>> module_of("mlp.gate.weight")
    'model.layers.{layer}.mlp.gate'
    """
    return f"model.layers.{{layer}}.{tensor.rpartition('.')[0]}"


def zero_biases(model: Model, rule: Rule) -> Iterator[Tensor]:
    """Yield the zero biases that AutoGPTQ stores for every quantised linear layer that has none of its own.

    Source: AutoGPTQ packed every layer with ``bias=True`` before https://github.com/AutoGPTQ/AutoGPTQ/pull/602
    (2024-03), which no release had by 2024-10 (https://github.com/microsoft/Olive/pull/1445).
    """
    weights = list(model.weights())
    names = {tensor.name for tensor in weights}
    for tensor in weights:
        name = tensor.name.removesuffix("weight") + "bias"
        if not rule(tensor).is_plain and name not in names:
            yield tensor._replace(name=name, shape=tensor.shape[:1], kind="bias", shard_axis=None)
