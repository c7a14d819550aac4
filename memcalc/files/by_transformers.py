"""A model without a reader, by way of transformers: its class is built on the meta device, without memory.

Taken from the class and written down nowhere: every tensor as `save_pretrained` writes it, which are tied,
which are experts, and what each layer remembers of 24, 40 and 72 tokens. No code of the repository runs.
"""

from __future__ import annotations

import copy
import inspect
import re
import sys
from collections import Counter
from functools import partial
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, NamedTuple

from memcalc.data.record import record
from memcalc.errors import NOTHING, BadInputError, MemcalcError
from memcalc.files.config import EMPTY, is_count
from memcalc.files.config_classes import harmless_fields
from memcalc.ledger.model import Layer, Model
from memcalc.ledger.parts.plain import Embedding, Norm, Part
from memcalc.ledger.tensor import Tensor, count

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from memcalc.ledger.parts.plain import Kept

    Named = tuple[tuple[str, Part], ...]

__all__ = ["read"]

LENGTHS = (24, 40, 72)  # tokens: an axis that follows them is the cache's
SIZES = ("hidden_size", "num_hidden_layers")
CORE = (*SIZES, "vocab_size", "num_attention_heads", "intermediate_size", "moe_intermediate_size")
TOP = ("num_experts_per_tok", "moe_topk", "top_k_experts", "moe_k", "num_experts_per_token", "moe_top_k")
ASIDE = ("quantization_config", "auto_map", "architectures")
UNDERSTOOD = {"rope_scaling", "rope_parameters", "rope_theta", "text_config", "vision_config", "audio_config"}
HARMLESS = re.compile(r"_token_(id|index)s?$")
SEES = re.compile(
    r"vision|visual|image|audio|multi_modal|patch_merge|mm_proj|aligner|speech|connector|projector|^vit_"
)
TEXT = ("model.language_model", "language_model")
LAYER = re.compile(r"^(?:.*?\.)?(?:layers|layer|h|blocks|block)\.(\d+)\.(.+)$")
EXPERTS = ("num_local_experts", "n_routed_experts", "num_experts", "moe_num_experts", "num_routed_experts")
STACKED = re.compile(r"\.experts\b|(?:input|output)_linear\.weight$")
OF_EXPERTS = re.compile(r"^(?!.*Shared).*Experts")  # how the classes of their modules are called
ROUTED = re.compile(r"Router|TopK|Experts|SparseMoe|MoeBlock|MoeLayer$|MoE$")
ROUTER = re.compile(r"\.(gate|router|wg)(\.|$)")
DOWN = re.compile(r"down_proj|w2|fc2|output_linear")
LEFT_OUT = "layers for multi-token prediction, training, GGUF and formulas"


class Remembered(NamedTuple):
    """A tensor of a layer's cache: the axis that grows with the tokens, if one does, and its window."""

    name: str
    shape: tuple[int, ...]
    axis: int | None
    window: int | None


@record
class Found(Part):
    """Tensors and caches as they were found in a class."""

    tensors: tuple[Tensor, ...]
    caches: tuple[Remembered, ...] = ()

    def weights(self) -> Iterator[Tensor]:
        """Yield the tensors."""
        yield from self.tensors

    def cache(self, batch: int, context: int, kept: Kept) -> Iterator[Tensor]:
        """Yield what grows with the tokens, and states: those of convolutions have 16 bits, others 32."""
        for name, shape, axis, window in self.caches:
            if axis is None:
                form = None if "conv" in name else "fp32"
                yield Tensor(name, (batch, *shape[1:]), "state", format=form)
            else:
                tokens = kept(context, window)
                yield Tensor(name, (batch, *shape[1:axis], tokens, *shape[axis + 1 :]), "cache")


def read(fields: Mapping[str, object], name: str) -> Model:
    """Return the model of a config.json, with the version of transformers that built it in `via`.

    Parameters
    ----------
    fields : mapping of str to object
        The config.json as parsed.
    name : str
        What answers call the model.

    Raises
    ------
    BadInputError
        transformers is not installed or does not know the type, a size is not stated or has no effect, or a
        field that the class does not know may change memory.

    """
    transformers = installed()
    try:
        return built_of(transformers, fields, name)
    except MemcalcError:
        raise
    except Exception as error:  # noqa: BLE001 (classes have many ways to surprise)
        given = f"{type(error).__name__}: {str(error)[:80]}"
        remedy = "its .safetensors or .gguf alone gives the weights"
        raise BadInputError("--via transformers", "a class that is understood", given, remedy) from None


def built_of(transformers: Any, fields: Mapping[str, object], name: str) -> Model:
    """Return the model of a config.json, whose class may do anything."""
    said = {key: copy.deepcopy(value) for key, value in fields.items() if key not in ASIDE}
    config = config_of(transformers, said)
    text = config.get_text_config()
    built = on_meta(transformers, config, class_named(fields))
    outside, layers, vision, tied = sorted_out(built, text)
    caches, unknown = caches_of(transformers, built, text)
    unknown = "its layers have names that are not understood" if caches and not layers else unknown
    found = Model(
        name,
        str(fields["model_type"]),
        with_caches(layers, caches),
        outside,
        tied,
        max_context=of_text(said).get("max_position_embeddings"),
        vision=(Layer((("vision", Found(tuple(vision))),)),) if vision else (),
        not_read=tuple(not_known(said, config)),
        class_defaults=tuple(class_defaults(fields, text)),
        via=f"transformers {transformers.__version__}",
        cache_unknown=unknown,
        headless=built.get_output_embeddings() is None,
    )
    check_count(found, built)
    check_experts(found, built, text)
    check_tower(found, built, text)
    return found


def class_named(fields: Mapping[str, object]) -> str:
    """Return the class that a config names first; empty where it names none.

    >>> class_named({"architectures": ["BertModel"]}), class_named({})
    ('BertModel', '')
    """
    stated = fields.get("architectures")
    return stated[0] if isinstance(stated, list) and stated and isinstance(stated[0], str) else ""


def installed() -> Any:
    """Return transformers.

    Raises:
        BadInputError: it, or torch, is not installed, or too old.

    """
    try:
        import torch  # noqa: F401 (transformers imports without it, and has no models then)
        import transformers
        from transformers import core_model_loading  # noqa: F401 (since version 5)
    except ImportError as error:
        given = f"none ({error.name or 'too old'})"
        remedy = "pip install 'llm-memcalc[transformers]'"
        raise BadInputError("--via transformers", "torch and transformers 5", given, remedy) from None
    transformers.logging.set_verbosity_error()
    return transformers


# The config


def config_of(transformers: Any, said: Mapping[str, Any]) -> Any:
    """Return the configuration object.

    Raises:
        BadInputError: the type is not known, its class refuses a value, or looks for a size elsewhere.

    """
    model_type, version = said.get("model_type"), transformers.__version__
    if model_type not in transformers.models.auto.configuration_auto.CONFIG_MAPPING:
        remedy = "its .safetensors or .gguf alone gives the weights"
        raise BadInputError("model_type", f"a type that transformers {version} knows", model_type, remedy)
    try:
        config = transformers.AutoConfig.for_model(**copy.deepcopy(said))
    except Exception as error:  # noqa: BLE001 (each class refuses in its own way)
        given = f"{type(error).__name__}: {error}"
        raise BadInputError("config.json", f"what {model_type}'s class takes", given, "correct it") from None
    check_arrival(said, config.get_text_config())
    return config


def not_known(said: Mapping[str, Any], config: Any) -> Iterator[str]:
    """Yield the fields that the classes do not know, in words."""
    yield from unknown_fields(said, config, "")
    for inside in config.sub_configs:
        if isinstance(said.get(inside), dict):
            yield from unknown_fields(said[inside], getattr(config, inside), f"{inside}.")


def of_text(said: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a file, those of its text model over them."""
    inside = [said.get(name) for name in ("text_config", "llm_config")]
    return {**said, **{key: one for each in inside if isinstance(each, dict) for key, one in each.items()}}


def check_arrival(said: Mapping[str, Any], text: Any) -> None:
    """Refuse a file whose sizes are not stated, or that its class looks for elsewhere.

    Raises:
        BadInputError: so.

    """
    flat = of_text(said)
    names = {size: (size, text.attribute_map.get(size)) for size in CORE}
    if not any(name in flat for size in SIZES for name in names[size]):
        remedy = "add the sizes: the class would take its own defaults"
        raise BadInputError("hidden_size", "the size of the model", NOTHING, remedy)
    for size in CORE:
        arrived = value_of(text, size)
        if type(flat.get(size)) is int and arrived not in (flat[size], None):
            expected = f"{flat[size]} in {type(text).__name__}, as the file says"
            raise BadInputError(size, expected, arrived, "the class looks for it in another place")


def value_of(text: Any, field: str) -> Any:
    """Return a field of a configuration object; None where it has none, or one for each layer."""
    try:
        return getattr(text, field, None)
    except Exception:  # noqa: BLE001 (what differs from layer to layer raises an error of its own)
        return None


def class_defaults(fields: Mapping[str, Any], text: Any) -> Iterator[str]:
    """Yield sizes that the file does not state, with the values of the class."""
    flat = of_text(fields)
    for size in CORE:
        value = value_of(text, size)
        names = {size, text.attribute_map.get(size), *(a for a, b in text.attribute_map.items() if b == size)}
        if type(value) is int and not names & flat.keys():
            yield f"{size} {value}"


def unknown_fields(said: Mapping[str, Any], made: Any, where: str) -> Iterator[str]:
    """Yield fields that a class does not know: neither declared nor named in its code.

    Raises:
        BadInputError: one may change memory: a number above 1, true, a list or an object.

    """
    declared = {*type(made).__dataclass_fields__, *made.attribute_map, *made.sub_configs, *UNDERSTOOD}
    code = code_of(type(made))
    for field, value in said.items():
        known = field in declared or field in harmless_fields() or HARMLESS.search(field)
        if known or value in EMPTY or re.search(rf"\b{re.escape(field)}\b", code):
            continue
        if value is True or isinstance(value, list | dict) or is_count(value):
            expected = f"only fields that {type(made).__name__} knows"
            remedy = f"{field} may change memory; remove it if it cannot"
            raise BadInputError(f"{where}{field}", expected, value, remedy)
        yield f"{where}{field} {value!r}"


def code_of(config_class: type) -> str:
    """Return the code of a configuration class and of its models, which have been built."""
    module = config_class.__module__
    places = (module, module.replace("configuration_", "modeling_"))
    return "\n".join(inspect.getsource(sys.modules[place]) for place in places if place in sys.modules)


# The tensors


def on_meta(transformers: Any, config: Any, named: str) -> Any:
    """Return the model of a class, or where none is named the one that writes text, without memory."""
    import torch

    built = named_class(transformers, config, named) if named else writer_of(transformers, config)
    try:
        with torch.device("meta"):
            model = built(dtype=torch.bfloat16)
    except Exception as error:  # noqa: BLE001 (each class refuses in its own way)
        given = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        expected = f"{named} of {type(config).__name__}" if named else f"a model of {type(config).__name__}"
        expected += "" if named else " that writes text"
        raise BadInputError("model_type", expected, given, "another way to it is not known") from None
    model.tie_weights()
    return model.train(mode=False)


def writer_of(transformers: Any, config: Any) -> Any:
    """Return what builds the class of a config that writes text."""
    auto, image_text = transformers.AutoModelForCausalLM, transformers.AutoModelForImageTextToText
    sees = "vision_config" in config.sub_configs  # the class for text alone would leave the tower out
    if type(config) in image_text._model_mapping and (sees or type(config) not in auto._model_mapping):  # noqa: SLF001
        auto = image_text  # (there is no other list of them)
    return partial(auto.from_config, config)


def named_class(transformers: Any, config: Any, named: str) -> Any:
    """Return what builds a class by its name: its pooler and head are no other class's.

    Raises:
        BadInputError: transformers has no such class of models, or it is another type's.

    """
    found: Any = getattr(transformers, named, None)
    takes = getattr(found, "config_class", None)
    is_model = inspect.isclass(found) and issubclass(found, transformers.PreTrainedModel)
    if not is_model or takes is None:
        expected = f"a class of models that transformers {transformers.__version__} has"
        remedy = "its own code is not run; its .safetensors or .gguf alone gives the weights"
        raise BadInputError("architectures", expected, named, remedy)
    fitting = next((one for one in (config, config.get_text_config()) if isinstance(one, takes)), None)
    if fitting is None:
        expected = f"a class of {config.model_type}, as model_type says"
        remedy = "correct whichever of the two is wrong"
        raise BadInputError("architectures", expected, named, remedy)
    return partial(found._from_config, fitting)  # noqa: SLF001 (as the automatic classes call it)


def written(model: Any) -> tuple[dict[str, Any], dict[int, str]]:
    """Return its tensors as `save_pretrained` writes them, and how the class itself calls those kept whole.

    Experts are written one by one where the class does that.
    """
    from transformers.core_model_loading import revert_weight_conversion
    from transformers.modeling_utils import remove_tied_weights_from_state_dict

    state = remove_tied_weights_from_state_dict(model.state_dict(), model)
    own = {id(one): name for name, one in state.items()}
    try:
        names = revert_weight_conversion(model, dict(state))
    except Exception:  # noqa: BLE001 (rules that do not go backwards)
        return state, own
    equal = sum(one.numel() for one in names.values()) == sum(one.numel() for one in state.values())
    return (names if equal else state), own


def sorted_out(model: Any, text: Any) -> tuple[Named, dict[int, list[Tensor]], list[Tensor], bool]:
    """Return what stands outside of the layers, each layer's tensors, the tower's, and whether it is tied."""
    state, own = written(model)
    many = Counter(re.sub(r"\.experts\.\d+\.", ".experts.{expert}.", name) for name in state)
    ends, types = places(model), {name: type(one).__name__ for name, one in model.named_modules()}
    buffers, width = {name for name, _ in model.named_buffers()}, value_of(text, "hidden_size")
    outside: list[tuple[str, Part]] = []
    layers: dict[int, list[Tensor]] = {}
    vision: list[Tensor] = []
    for full, item in state.items():
        sees = is_of_tower(full)
        one = re.search(r"\.experts\.(\d+)\.", full)
        if one and one[1] != "0" and not sees:  # a tower's are counted one by one: nothing is told of them
            continue
        name = re.sub(r"\.experts\.\d+\.", ".experts.{expert}.", full)
        shape = tuple(item.shape)
        kind = "buffer" if own.get(id(item)) in buffers else kind_of(name, shape, types)
        found = LAYER.match(name)
        if sees:
            vision.append(Tensor(full, shape, kind))
        elif found:
            tensor = Tensor(found[2], shape, kind)
            layers.setdefault(int(found[1]), []).append(expert_of(tensor, many[name], text))
        elif (end := ends.get(own.get(id(item), full))) is not None:
            outside += [end] if end not in outside else []
        elif kind == "norm" and shape == (width,):
            outside.append(("model.norm", Norm(shape[0])))
        else:
            rest, _, leaf = name.rpartition(".")
            outside.append((rest, Found((Tensor(leaf, shape, kind),))))
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    return tuple(outside), layers, vision, head is not None and head.weight is embedding.weight


def is_of_tower(name: str) -> bool:
    """Say whether a name is of a tower for images or sound.

    >>> is_of_tower("vision_encoder.blocks.0.mlp.experts.1.fc1"), is_of_tower("model.layers.0.audio_gate")
    (True, False)
    """
    return SEES.search(name.split(".layers.", maxsplit=1)[0]) is not None and not name.startswith(TEXT)


def places(model: Any) -> dict[str, tuple[str, Part]]:
    """Return embedding and head by the names of their tensors: a head that is tied has a bias at most."""
    found: dict[str, tuple[str, Part]] = {}
    every = dict(model.named_parameters(remove_duplicate=False))
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    for where, kind, module in (("lm_head", "head", head), ("model.embed_tokens", "embedding", embedding)):
        if module is None:
            continue
        bias, (vocab, width) = getattr(module, "bias", None), module.weight.shape
        part: Part = Embedding(vocab, width, kind, bias is not None)
        if module is head and embedding is not None and head.weight is embedding.weight:
            where, part = "tied_head", Found((Tensor("bias", (vocab,), "bias"),))  # noqa: PLW2901 (of this one)
        own = (name for name, one in every.items() if one is module.weight or one is bias)
        found |= dict.fromkeys(own, (where, part))
    return found


def kind_of(name: str, shape: tuple[int, ...], types: Mapping[str, str]) -> str:
    """Return the kind of a tensor by its name, its shape and the class of its module."""
    module, _, leaf = name.rpartition(".")
    owner = types.get(module.replace("{expert}", "0"), "")
    if leaf == "bias" or "Norm" in owner or "norm" in module.rpartition(".")[2].lower():
        return "bias" if leaf == "bias" else "norm"
    if len(shape) < 2:
        return "bias"
    if "Embedding" in owner:
        return "positions"
    if "Conv" in owner or "conv" in name:
        return "conv"
    if "Router" in owner or (ROUTER.search(name) and "experts" not in name):
        return "router"
    return "shared" if "shared_expert" in name or "shared_mlp" in name else "matrix"


def expert_of(tensor: Tensor, times: int, text: Any) -> Tensor:
    """Return a tensor with its experts, if it has some: one by one, or along the first axis of one array.

    Raises:
        BadInputError: nothing says how many of them a token uses.

    """
    name, shape = tensor.name, tensor.shape
    many = {value_of(text, field) for field in EXPERTS} - {None, 1}
    named = STACKED.search(f".{name}") is not None
    # files may call them otherwise than the class does: then the first axis is as long as there are experts
    stacked = len(shape) == 3 and (named or (tensor.kind == "matrix" and shape[0] in many))
    biases = named and name.endswith("bias") and len(shape) == 2
    one_by_one = "{expert}" in name
    if tensor.kind == "buffer" or not (stacked or biases or one_by_one):
        return tensor
    top = next((value for field in TOP if type(value := value_of(text, field)) is int), None)
    if top is None:
        raise BadInputError(
            "num_experts_per_tok", "how many experts a token uses", None, "add it to the config"
        )
    kind = "bias" if name.endswith("bias") else "expert"
    if one_by_one:
        return tensor._replace(kind=kind, experts=times, active_experts=top)
    number = shape[0] if isinstance(shape[0], int) else 0
    return Tensor(f"{name}.{{expert}}", shape[1:], kind, experts=number, active_experts=top)


def check_count(found: Model, model: Any) -> None:
    """Refuse an answer that lost a tensor: all parts together have the parameters of the class.

    Raises:
        BadInputError: they have not.

    """
    listed = count(one for one in found.weights() if one.kind != "buffer") + found.vision_parameters
    own = sum(one.numel() for one in model.parameters())
    if listed != own:
        remedy = "its tensors are not understood"
        raise BadInputError("model_type", f"{own} parameters, as its class has", listed, remedy)


def check_experts(found: Model, model: Any, text: Any) -> None:
    """Refuse an answer in which experts are not told from the rest: every one would count as used.

    Raises:
        BadInputError: its class has experts whose tensors were not found to be some.

    """
    listed = count(one for one in found.weights() if one.experts > 1)
    held: dict[int, int] = {}
    for name, module in model.named_modules():
        experts = OF_EXPERTS.search(type(module).__name__) or name.rpartition(".")[2] == "experts"
        if experts and not is_of_tower(name):
            held |= {id(one): one.numel() for one in module.parameters()}
    choosing = any(type(value := value_of(text, field)) is int and value > 0 for field in TOP)
    routed = any(ROUTED.search(type(one).__name__) for one in model.modules())
    if listed < sum(held.values()) or (choosing and routed and not listed):
        known = f"{sum(held.values()):,} parameters in experts, as its class has"
        expected = known if held else "parameters in experts, as its class chooses experts"
        raise BadInputError("num_experts_per_tok", expected, listed, "its experts are not understood")


def check_tower(found: Model, model: Any, text: Any) -> None:
    """Refuse an answer in which a tower is not told from the text model that the class says it has.

    Raises:
        BadInputError: the two are not as large as in the class.

    """
    inside = model.get_decoder() if text is not model.config else None
    if inside is None or inside is model or getattr(inside, "config", None) is not text:
        return
    head = model.get_output_embeddings()
    held = {id(one) for module in (inside, head) if module is not None for one in module.parameters()}
    own = sum(one.numel() for one in model.parameters() if id(one) not in held)
    if own != found.vision_parameters:
        remedy = "its tensors are not understood"
        raise BadInputError(
            "model_type", f"{own} parameters beside its text model", found.vision_parameters, remedy
        )


# The cache


def caches_of(transformers: Any, model: Any, text: Any) -> tuple[list[tuple[Remembered, ...]], str]:
    """Return what each layer remembers, or why that is not known: the class says, else its text model."""
    import torch

    try:
        return remembered(model), ""
    except Exception as error:  # noqa: BLE001 (masks of vision-language classes ask for numbers)
        first = reason(error)
    try:
        with torch.device("meta"):
            alone = transformers.AutoModelForCausalLM.from_config(text, dtype=torch.bfloat16)
        return remembered(alone.train(mode=False)), ""
    except Exception:  # noqa: BLE001 (no class of its own, or the same again)
        return [], first


def reason(error: Exception) -> str:
    """Return why a cache is not known."""
    if isinstance(error, BadInputError):
        return f"{error.expected} was expected, and {error.given} found"
    return f"its class does not run without numbers ({type(error).__name__})"


def remembered(model: Any) -> list[tuple[Remembered, ...]]:
    """Return each layer's tensors after passes of three lengths, on the meta device."""
    import torch

    for name, module in model.named_modules():
        if re.search(r"(^|\.)experts$", name):  # they look at numbers, which there are none of
            module.forward = first_argument
    passes = []
    for tokens in LENGTHS:
        ids = torch.zeros((1, tokens), dtype=torch.long, device="meta")
        with torch.no_grad():
            out = model(input_ids=ids, use_cache=True)
        held = getattr(out, "past_key_values", None)
        held = getattr(out, "cache_params", None) if held is None else held
        if held is None:  # of an encoder, or of a class that keeps it for itself
            raise BadInputError("cache", "a cache from its class", "none was", "")
        beside = beside_layers(held)
        in_layers = [[*tensors_of(layer)] for layer in held.layers]
        passes.append([[*own, *one] for own, one in zip_longest(in_layers, beside, fillvalue=())])
    return [
        tuple(compared(*same) for same in zip(*layer, strict=True)) for layer in zip(*passes, strict=True)
    ]


def first_argument(*given: Any, **named: Any) -> Any:
    """Return zeros like what experts are given: the stream."""
    import torch

    return torch.zeros_like(given[0] if given else named["hidden_states"])


def beside_layers(held: Any) -> list[list[tuple[str, tuple[int, ...], int | None]]]:
    """Return what a cache holds beside its layers, for each of them: lists of one tensor a layer.

    Such a list may go on where layers end: a cache makes layers as far as the last one that attends.

    Raises:
        BadInputError: it holds something else.

    """
    found: list[list[tuple[str, tuple[int, ...], int | None]]] = [[] for _ in held.layers]
    for key, item in vars(held).items():
        if key == "layers":
            continue
        if hasattr(item, "element_size") or (isinstance(item, dict) and item):
            raise BadInputError("cache", "tensors by layer", f"{key} of {type(held).__name__}", "")
        if isinstance(item, list) and any(hasattr(one, "element_size") for one in item):
            found += [[] for _ in item[len(found) :]]
            for place, one in enumerate(item):
                found[place] += [(key, tuple(one.shape), None)] if hasattr(one, "element_size") else []
    return found


def tensors_of(layer: Any) -> Iterator[tuple[str, tuple[int, ...], int | None]]:
    """Yield name, shape and window of each tensor that a layer of a cache holds."""
    window = getattr(layer, "sliding_window", None)
    for key, item in vars(layer).items():
        for inner, one in item.items() if isinstance(item, dict) else [("", item)]:
            if hasattr(one, "element_size") and one.dim() > 1:
                yield f"{key}{inner}", tuple(one.shape), window


def compared(*seen: tuple[str, tuple[int, ...], int | None]) -> Remembered:
    """Return a tensor of a cache, from its shapes at the three lengths.

    Raises:
        BadInputError: it follows the tokens by another law than one entry each.

    """
    (name, shape, window), *_ = seen
    shapes = [one[1] for one in seen]
    moved = [axis for axis in range(len(shape)) if len({one[axis] for one in shapes}) > 1]
    if not moved:
        full = window and len(shape) == 4 and shape[2] in (window, window - 1)
        return Remembered(name, shape, 2 if full else None, window if full else None)
    if len(moved) > 1 or tuple(one[moved[0]] for one in shapes) != LENGTHS:
        entries = [one[moved[0]] for one in shapes]
        raise BadInputError("cache", "one entry a token", f"{entries} for {list(LENGTHS)} tokens", "")
    return Remembered(name, shape, moved[0], window if len(shape) == 4 else None)


def with_caches(
    layers: Mapping[int, Iterable[Tensor]], caches: list[tuple[Remembered, ...]]
) -> tuple[Layer, ...]:
    """Return the layers; equal ones are one object. A layer of two attentions has two layers of the cache."""
    depth = len(layers)
    own: dict[int, tuple[Remembered, ...]] = {}
    for index, found in enumerate(caches):
        place = index if len(caches) <= depth else index * depth // len(caches)
        own[place] = (*own.get(place, ()), *found)
    made: dict[object, Layer] = {}
    every = enumerate(tensors for _, tensors in sorted(layers.items()))
    keys = [(tuple(tensors), own.get(place, ())) for place, tensors in every]
    return tuple(made.get(key) or made.setdefault(key, Layer(tuple(parts_of(*key)))) for key in keys)


def parts_of(tensors: Iterable[Tensor], caches: tuple[Remembered, ...]) -> Iterator[tuple[str, Part]]:
    """Yield the modules of a layer by name, and what the layer remembers."""
    modules: dict[str, list[Tensor]] = {}
    for one in tensors:
        module, dot, rest = one.name.partition(".")
        modules.setdefault(module if dot else "own", []).append(one._replace(name=rest if dot else module))
    for name, found in modules.items():
        yield name, Found(tuple(found))
    if caches:
        yield "cache", Found((), caches)
