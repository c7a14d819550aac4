"""What transformers says of a config.json: its tensors, its cache, its rotary buffers.

Nothing here knows memcalc: configs go in, numbers come out.
"""

from __future__ import annotations

import copy
import hashlib
import inspect
import json
import re
from collections import Counter
from functools import cache
from itertools import groupby
from pathlib import Path

import torch
import transformers
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText, DynamicCache
from transformers.cache_utils import DummyLayer
from transformers.core_model_loading import revert_weight_conversion
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.modeling_utils import remove_tied_weights_from_state_dict
from transformers.models.deepseek_v4 import modeling_deepseek_v4  # names its caches' layers when it loads
from transformers.models.minimax.modeling_minimax import MiniMaxCache
from transformers.models.minimax_m3_vl import modeling_minimax_m3_vl  # noqa: F401 (its caches register there)
from transformers.models.timm_wrapper import modeling_timm_wrapper

transformers.logging.set_verbosity_error()


class Mobilenet(torch.nn.Module):
    """Stands for timm's vision tower of Gemma 3n: parameters of the recorded names and shapes, no program."""

    def __init__(self):
        super().__init__()
        record = Path(__file__).parents[1] / "recorded" / "mobilenetv5.json"
        for name, shape in json.loads(record.read_text(encoding="utf-8"))["tensors"].items():
            *above, last = name.split(".")
            module = self
            for part in above:
                if part not in dict(module.named_children()):
                    module.add_module(part, torch.nn.Module())
                module = module.get_submodule(part)
            module.register_parameter(last, torch.nn.Parameter(torch.zeros(shape)))


def from_timm(self, config):
    """As the class does, with the stand-in."""
    if config.architecture != "mobilenetv5_300m_enc" or config.model_args:
        raise ValueError("the only tower of timm's that is recorded is mobilenetv5_300m_enc")
    modeling_timm_wrapper.TimmWrapperPreTrainedModel.__init__(self, config)
    self.features_only, self.timm_model = False, Mobilenet()
    self.post_init()


modeling_timm_wrapper.TimmWrapperModel.__init__ = from_timm
modeling_timm_wrapper.TimmWrapperModel._init_weights = lambda *_: None
assert modeling_deepseek_v4
VERSIONS = {"torch": torch.__version__, "transformers": transformers.__version__}
LENGTHS = (64, 128)
# sequences x tokens at which a small model really runs; between them they end before, in and after a window
SMALL_RUNS = ((1, 7), (2, 64), (1, 128), (3, 200))


# Kimi-K2's config.json names DeepseekV3ForCausalLM as its class; transformers knows no type of that name.
# Inside of kimi_k25 its own configuration class makes the same replacement.
KNOWN_AS = {"kimi_k2": "deepseek_v3", "deepseek_ref": "deepseek_v4"}


def config_of(fields):
    """The configuration object; quantisation changes how weights are stored, not which there are."""
    known = {key: value for key, value in fields.items() if key != "quantization_config"}
    known["model_type"] = KNOWN_AS.get(known["model_type"], known["model_type"])
    return AutoConfig.for_model(**copy.deepcopy(known))  # some classes change the objects that they are given


def class_of(config):
    """The class that writes text: one that sees as well, where the config has a tower."""
    sees = type(config) in AutoModelForImageTextToText._model_mapping
    return AutoModelForImageTextToText if sees else AutoModelForCausalLM


# What the configuration object carries and no class builds anything from: released copies of one model
# (-FP8, -Instruct) differ here, and are asked once.
ABOUT = (
    "architectures",
    "auto_map",
    "dtype",
    "torch_dtype",
    "transformers_version",
    "bos_token_id",
    "eos_token_id",
)


def key_of(fields):
    """Equal texts for configs that describe one and the same model."""
    known = config_of(fields).to_dict()
    return json.dumps({key: value for key, value in known.items() if key not in ABOUT}, sort_keys=True)


def on_meta(fields):
    """The model without memory: shapes only. Equal configs are built once."""
    return _on_meta(key_of(fields))


def build(text):
    """The model of such a text, built anew."""
    with torch.device("meta"):
        config = config_of(json.loads(text))
        model = class_of(config).from_config(config, dtype=torch.bfloat16)
    model.tie_weights()
    return model.eval()


_on_meta = cache(build)


REFUSALS = (AttributeError, TypeError, ValueError, StrictDataclassError, ZeroDivisionError)


def configures(fields):
    """Whether the configuration class takes these values: types are checked, which costs no model."""
    try:
        config_of(fields)
    except REFUSALS:
        return False
    return True


def accepts(fields):
    """Whether a model can be built with these values: dropouts are shares."""
    try:
        on_meta(fields)
    except REFUSALS:
        return False
    return True


def windows(fields):
    """The window of each layer's cache; a layer without one has None."""
    layers = DynamicCache(config=config_of(fields)).layers
    return [getattr(layer, "sliding_window", None) for layer in layers]


def in_memory(fields, dtype=torch.bfloat16):
    """The model with random weights, ready to run; the plain loop over experts takes any width."""
    torch.manual_seed(0)
    config = config_of(fields)
    model = class_of(config).from_config(config, dtype=dtype, experts_implementation="eager").eval()
    for name, table in model.named_buffers():
        if name.endswith("tid2eid"):  # it sends every token to expert 0, as often as a token has experts
            table.copy_(torch.arange(table.shape[1]).expand_as(table))
    return model


# Where classes keep their vision and audio towers, and the projection into the text model's stream.
TOWER_PREFIXES = (
    *("model.vision_tower.", "model.multi_modal_projector.", "model.mm_projector.", "model.visual."),
    "model.embed_tokens_extend.",
    *("model.embed_vision.", "model.audio_tower.", "model.embed_audio."),
    *("vision_model.", "multi_modal_projector.", "vit_large_projector."),
    *("model.vision_model.", "model.connector.", "model.image_newline", "model.vision_embedder."),
)
# In version 5.23 kimi_k25's rules go too far backwards: names of the vision tower appear in the text model.
# The rules forwards, which read published checkpoints, show what is meant.
MISSPELLED = {
    "language_model.model.blocks.": "language_model.model.layers.",
    "vision_tower.encoder.patch_embed.": "vision_tower.patch_embed.",
    "model.mm_projector.": "mm_projector.",
}


# Of OLMo Hybrid the rules go back to older names than its checkpoints have: vllm-project/vllm reads these.
MISNAMED = {
    ".attention_layer_norm.": ".input_layernorm.",
    ".feedforward_layer_norm.": ".post_attention_layernorm.",
}


# DeepSeek-V4's rules backwards make one name of two norms, and leave the prefix of the class: the names of
# its files are those of the rules forwards, "layers.0.attn.kv_norm.weight", "embed.weight".
OF_DEEPSEEK_V4 = {
    r"^model\.embed_tokens\.": "embed.",
    r"^model\.hc_head\.hc_": "hc_head_",
    r"^model\.": "",
    r"\.attn\.norm\.": ".attn.kv_norm.",
}


# Hy4's rules backwards put what one name has lost into all: the headers of tencent/Hy4-preview have
# "hc_attn_layer.hc_pre.hc_fn", "hc_head.hc_head_fn", and "mlp.gate_proj" (source: files/readers/indexed.py).
OF_HY_V4 = {
    r"\.hc_pre\.(hc_attn_layer|hc_mlp_layer)\.": r".\1.hc_pre.",
    r"\.hc_pre\.hc_head\.": ".hc_head.",
    r"\.mlp\.(shared_experts\.)?linear_gate\.": r".mlp.\1gate_proj.",
}
OF_TYPES = {"deepseek_v4": OF_DEEPSEEK_V4, "deepseek_ref": OF_DEEPSEEK_V4, "hy_v4": OF_HY_V4}


def as_published(name, model_type):
    """A name as published checkpoints spell it, where transformers would write another."""
    for wrong, right in OF_TYPES.get(model_type, {}).items():
        name = re.sub(wrong, right, name)
    for wrong, right in MISSPELLED.items():
        if name.startswith(wrong):
            return name.replace(wrong, right, 1)
    for wrong, right in MISNAMED.items():
        name = name.replace(wrong, right)
    return name


def rows_of_convolutions(config):
    """Rows of OLMo Hybrid's convolutions; transformers 5.23 takes them apart in three equal pieces."""
    if config.model_type != "olmo_hybrid":
        return {}
    keys = config.linear_num_key_heads * config.linear_key_head_dim
    values = config.linear_num_value_heads * config.linear_value_head_dim
    return {"q_conv1d.weight": keys, "k_conv1d.weight": keys, "v_conv1d.weight": values}


def in_published_sizes(config, found):
    """Shapes by name, those that transformers takes apart wrongly as they should be."""
    rows = rows_of_convolutions(config)
    return {
        name: (rows.get(name.partition("linear_attn.")[2], shape[0]), *shape[1:]) if rows else shape
        for name, shape in found.items()
    }


# What a class keeps in fp32 and its makers' files have in BF16; the sources of both stand in
# memcalc/files/deepseek_formats.py and memcalc/files/readers/indexed.py.
WIDER = {
    "deepseek_v4": "norm.weight",
    "deepseek_ref": "norm.weight",
    "hy_v4": (
        "indexer.weights_proj.weight",
        "indexer.k_norm.weight",
        "indexer.k_norm.bias",
        "lm_head.weight",
    ),
}


def file_as_published(written, config):
    """What transformers has written, with the names, pieces and dtypes of published checkpoints."""
    kind = config.model_type
    found = {as_published(name, kind): item for name, item in written.items()}
    rows = rows_of_convolutions(config)
    for first in [name for name in found if rows and name.endswith("linear_attn.q_conv1d.weight")]:
        names = [first.replace("q_conv1d", f"{letter}_conv1d") for letter in "qkv"]
        pieces = torch.cat([found[name] for name in names]).split(list(rows.values()))
        found |= {name: piece.contiguous() for name, piece in zip(names, pieces, strict=True)}
    narrow = [name for name in found if name.endswith(WIDER.get(kind, "no such name"))]
    return found | {name: found[name].to(torch.bfloat16) for name in narrow}


def tensors(model):
    """Names and shapes as the class writes them into a checkpoint; a tied head has no entry of its own.

    Since version 5 a class may hold other tensors than published checkpoints do: the experts of a layer in
    two, the layers of a text model under another name. Its own rules take them apart again. That this is what
    `save_pretrained` writes is a test of its own.
    """
    state = remove_tied_weights_from_state_dict(model.state_dict(), model)
    written = revert_weight_conversion(model, state)
    kind = model.config.model_type
    found = {as_published(name, kind): tuple(item.shape) for name, item in written.items()}
    return in_published_sizes(model.config, found)


def digest(shapes):
    """One number for all names and shapes."""
    lines = sorted(f"{name} {'x'.join(map(str, shape))}" for name, shape in shapes.items())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def in_short(shapes):
    """How many tensors there are of each name and shape, layers and experts together."""
    starred = (re.sub(r"\.\d+\.", ".*.", f"{name} {'x'.join(map(str, shapes[name]))}") for name in shapes)
    return dict(Counter(starred))


def text_parameters(model):
    """Names and parameters, tied ones once, without the vision tower and its projection."""
    return [(name, item) for name, item in model.named_parameters() if not name.startswith(TOWER_PREFIXES)]


EXPERTS = (".experts.", ".mlp.down_embed.", ".mlp.up_embed.")
CHOSEN = ("num_experts_per_tok", "top_k_experts", "moe_topk")


def is_expert(name):
    """Whether a parameter holds routed experts; they lie along its first axis."""
    return any(word in name for word in EXPERTS)


def chosen_experts(config):
    """How many experts a token uses, under the class's own word."""
    if config.model_type == "dbrx":  # rows of all experts lie below each other
        return config.ffn_config.moe_top_k * config.ffn_config.ffn_hidden_size
    found = [getattr(config, name) for name in CHOSEN if getattr(config, name, None)]
    if not found:
        raise ValueError("experts of which a token uses nobody knows how many")
    return found[0]


def active(model):
    """Parameters that one token uses: all but the experts that it does not choose."""
    unused, parameters = 0, text_parameters(model)
    for name, item in parameters:
        if is_expert(name):
            chosen = chosen_experts(model.config.get_text_config())
            unused += item[0].numel() * (item.shape[0] - chosen)
    return sum(item.numel() for _, item in parameters) - unused


def touched(model):
    """The same without asking the config: one token passes, and experts without a gradient were not used."""
    model(torch.ones((1, 1), dtype=torch.long)).logits.sum().backward()
    unused, parameters = 0, text_parameters(model)
    for name, item in parameters:
        if is_expert(name):
            unused += sum(part.numel() for part in item.grad if not part.any())
    return sum(item.numel() for _, item in parameters) - unused


def counts(model):
    """Parameters of the text model (tied ones once) and of what sees, and persistent buffers."""
    state, parameters = model.state_dict(), dict(model.named_parameters(remove_duplicate=False))
    text = sum(item.numel() for _, item in text_parameters(model))
    return {
        "parameters": text,
        "vision": sum(item.numel() for item in model.parameters()) - text,
        "active": active(model),
        "embedding": model.get_input_embeddings().weight.numel(),
        "tied": model.get_output_embeddings().weight is model.get_input_embeddings().weight,
        "buffers": sum(item.numel() for name, item in state.items() if name not in parameters),
    }


def new_cache(model):
    """An empty cache of the kind that the class takes."""
    if model.config.model_type == "minimax":
        return MiniMaxCache()
    return DynamicCache(config=model.config)


def handed_over(model, held):
    """The cache under the name that the class has for it."""
    named = inspect.signature(model.forward).parameters
    return {"cache_params" if "cache_params" in named else "past_key_values": held, "use_cache": True}


def run(model, batch, *pieces):
    """The cache after the tokens of all pieces, one forward pass each."""
    held = new_cache(model)
    for tokens in pieces:
        ids = torch.zeros((batch, tokens), dtype=torch.long, device=model.device)
        with torch.no_grad():
            model(ids, **handed_over(model, held), logits_to_keep=1)
    return held


def in_order(held):
    """The layers of a cache: MiniMax's has none for a last layer without keys."""
    return [*held.layers, *[None] * (len(held) - len(held.layers))]


def layers_held(held):
    """Keys and values, and an indexer's keys, or the states of linear attention, layer by layer.

    Raises:
        AssertionError: a layer holds another tensor (a number that repeats its window is none).

    """
    for index, layer in enumerate(in_order(held)):
        if (
            isinstance(held, MiniMaxCache)
            and index < len(held.linear_cache)
            and len(held.linear_cache[index])
        ):
            yield (held.linear_cache[index],)
            continue
        if hasattr(layer, "recurrent_states"):
            assert layer.number_of_states == 1
            states = (*layer.conv_states.values(), *layer.recurrent_states.values())
            both = (*states, getattr(layer, "keys", None), getattr(layer, "values", None))
            yield tuple(item for item in both if item is not None)
            continue
        if isinstance(layer, DummyLayer):  # nothing is kept: of an earlier layer, or of none
            yield ()
            continue
        if hasattr(layer, "compressed_kv"):
            yield compressed(layer)
            continue
        found = {key for key, item in vars(layer).items() if isinstance(item, torch.Tensor) and item.dim()}
        beside = ("indexer_keys", "idx_keys", "indexer_position_ids")
        own = () if found == {"indexer_keys"} else (layer.keys, layer.values)  # others are read from before
        assert found - set(beside) == ({"keys", "values"} if own else set()), found
        indexer = (getattr(layer, name, None) for name in beside)
        wide = (item for item in own if item.shape[-1])  # keys that are not rotated have no width
        yield (*wide, *(item for item in indexer if item is not None))


def compressed(layer):
    """What compressed attention keeps: vectors that are keys and values in one, entries, and what waits."""
    names = tuple(layer.compressed_kv)
    assert layer.values is layer.keys
    entries = (layer.compressed_kv[name] for name in names)
    waiting = []
    for name in names:
        for held in ("kv", "gate"):
            buffer = getattr(layer, f"buffer_{held}")[name]
            waiting.append(buffer)
            if hasattr(layer, "overlap_kv"):
                own = getattr(layer, f"overlap_{held}")[name]
                none_yet = buffer.new_empty((buffer.shape[0], 0, buffer.shape[2] // 2))
                waiting.append(none_yet if own is None else own)
    return (layer.keys, *entries, *waiting)


def shapes_held(held):
    """Their shapes."""
    return [tuple(tuple(item.shape) for item in items) for items in layers_held(held)]


def bytes_held(held):
    """The bytes of all of them."""
    return sum(item.numel() * item.element_size() for items in layers_held(held) for item in items)


def bytes_allocated(held):
    """The bytes of the storages behind them: a slice keeps alive what it was cut from."""
    return sum(item.untyped_storage().nbytes() for items in layers_held(held) for item in items)


def cache_in_short(held):
    """What a cache holds: bytes, and the shapes of equal neighbouring layers together."""
    spelled = (" ".join("x".join(map(str, shape)) for shape in shapes) for shapes in shapes_held(held))
    return {
        "bytes": bytes_held(held),
        "layers": [f"{len(list(equal))} x {one}" for one, equal in groupby(spelled)],
    }


def figures(fields):
    """Everything that is recorded of a published model. It runs on the meta device."""
    return json.loads(_figures(key_of(fields)))


@cache
def _figures(text):
    model = _on_meta(text)
    first, second = LENGTHS
    held = run(model, 1, first)
    at_first = cache_in_short(held)
    ids = torch.zeros((1, second - first), dtype=torch.long, device="meta")
    with torch.no_grad():
        model(ids, **handed_over(model, held), logits_to_keep=1)
    cached = {f"1 x {first}": at_first, f"1 x {second}": cache_in_short(held)}
    return json.dumps({**counts(model), "tensors": digest(tensors(model)), "cache": cached})


def small_figures(fields):
    """Everything that is recorded of a small model, which really runs."""
    model = in_memory(fields)
    cached = {
        f"{batch} x {tokens}": cache_in_short(run(model, batch, tokens)) for batch, tokens in SMALL_RUNS
    }
    shapes = tensors(model)
    return {**counts(model), "tensors": digest(shapes), "in_short": in_short(shapes), "cache": cached}


# What each type of scaling needs beside its name; heads are 128 wide, so there are 64 frequencies.
SCALING = {
    "default": {},
    "linear": {"factor": 4.0},
    "dynamic": {"factor": 4.0},
    "yarn": {"factor": 4.0, "original_max_position_embeddings": 32},
    "longrope": {
        "short_factor": [1.0] * 64,
        "long_factor": [4.0] * 64,
        "original_max_position_embeddings": 32,
    },
    "llama3": {
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32,
    },
    "proportional": {"partial_rotary_factor": 1.0, "factor": 4.0},
}
ROPE_TYPES = ("default", *ROPE_INIT_FUNCTIONS)


# What a class needs beside widths and heads to be built, where its defaults are too large.
FEW_EXPERTS = {"num_experts_per_tok": 2, "moe_intermediate_size": 32}
GROUPS = {"n_routed_experts": 4, "n_group": 1, "topk_group": 1, **FEW_EXPERTS}
INDEXED = {"kv_lora_rank": 32, "q_lora_rank": 32, "index_head_dim": 256, "index_n_heads": 2, **GROUPS}
LINEAR = {
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 2,
    "layer_types": ["linear_attention", "full_attention"],
}
NEEDED = {
    "qwen3_moe": {"num_experts": 4, **FEW_EXPERTS},
    "qwen3_next": {"num_experts": 4, **FEW_EXPERTS, **LINEAR, "partial_rotary_factor": 1.0},
    "deepseek_v2": {"kv_lora_rank": 32, "q_lora_rank": None, "topk_method": "greedy", **GROUPS},
    "deepseek_v3": {"kv_lora_rank": 32, "q_lora_rank": None, **GROUPS},
    "kimi_k2": {"kv_lora_rank": 32, "q_lora_rank": None, **GROUPS},
    "deepseek_v32": INDEXED,
    "glm_moe_dsa": INDEXED,
    "mixtral": {"num_local_experts": 4},
    "gpt_oss": {"num_local_experts": 4},
    "glm4_moe": {**GROUPS, "partial_rotary_factor": 1.0},
}


def rotary_model(model_type, kind, head_dim=128):
    """A small model of a type whose heads are rotated in `head_dim` numbers, under a kind of scaling."""
    fields = {
        "model_type": model_type,
        "vocab_size": 60,
        "hidden_size": 256,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": head_dim,
        "max_position_embeddings": 64,
        "pad_token_id": 0,
        "rope_parameters": {"rope_type": kind, "rope_theta": 1e6, **SCALING[kind]},
        **NEEDED.get(model_type, {}),
    }
    if "kv_lora_rank" in fields:
        fields["qk_rope_head_dim"] = head_dim
    return in_memory(fields)


def rotary_buffers(model):
    """The buffers of the model's rotary embedding, in bytes; the class keeps them out of a checkpoint."""
    rotary = model.model.rotary_emb
    assert not rotary.state_dict()
    return {name: item.numel() * item.element_size() for name, item in rotary.named_buffers()}


def rotary_attributes(model):
    """Tensors that the rotary embedding holds beside its buffers, in bytes."""
    rest = {key: item for key, item in vars(model.model.rotary_emb).items() if isinstance(item, torch.Tensor)}
    return {key: item.numel() * item.element_size() for key, item in rest.items()}


def rope(kind):
    """What is recorded of a rotary embedding: buffers, what a run adds to them, and the cache after it."""
    model = rotary_model("llama", kind)
    buffers = rotary_buffers(model)
    held = run(model, 1, 100)  # more tokens than the model's length, so that every kind recomputes
    assert rotary_buffers(model) == buffers, kind
    return {"buffers": buffers, "after_a_run": rotary_attributes(model), "cache_bytes": bytes_held(held)}
