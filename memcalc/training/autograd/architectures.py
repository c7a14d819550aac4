"""The words in which models of transformers differ from Llama as they run: a line or two a type.

A config's file and the parts of a model say what is stored; this table says what its class does with it. Read
in transformers 5.23, src/transformers/models; held against autograd in tests/test_programs.py.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal, NamedTuple

from memcalc.ledger.parts import GQA

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import TypeIs

    from memcalc.files.config import Config
    from memcalc.ledger.model import Layer, Model
    from memcalc.ledger.parts import DeltaNet, Mamba2

__all__ = [
    "ARCHITECTURES",
    "COPY_TOKENS",
    "LLAMA",
    "NOT_LISTED",
    "Architecture",
    "Branch",
    "architecture_of",
    "is_delta_net",
    "is_mamba2",
    "keeps_states",
    "kernels_read_matrices",
    "uses_others",
    "with_turns",
    "words_of",
]


class Aside(NamedTuple):
    """Experts beside a branch: what they are given is normalised, and so are both results, which are added.

    `first` normalises the result of the branch itself.
    """

    first: str
    before: str
    part: str
    behind: str


Attention = Literal["flash", "sdpa", "eager"]


class Branch(NamedTuple):
    """A branch of a layer: what is normalised before, run, normalised behind, and added to the stream.

    Branches that name one norm before share what it gives. With `after` the sum is normalised.
    `aside` are experts that read the same input, in layers that have them.
    """

    before: str | None
    part: str
    behind: str | None = None
    after: str | None = None
    aside: Aside | None = None


PRE_NORMS = (Branch("input_layernorm", "self_attn"), Branch("post_attention_layernorm", "mlp"))
SANDWICH = (
    Branch("input_layernorm", "self_attn", "post_attention_layernorm"),
    Branch("pre_feedforward_layernorm", "mlp", "post_feedforward_layernorm"),
)
BEHIND_BOTH = (
    Branch("input_layernorm", "self_attn", "post_self_attn_layernorm"),
    Branch("post_attention_layernorm", "mlp", "post_mlp_layernorm"),
)
BEHIND = (
    Branch(None, "self_attn", "post_attention_layernorm"),
    Branch(None, "mlp", "post_feedforward_layernorm"),
)
AFTER = (
    Branch(None, "self_attn", after="input_layernorm"),
    Branch(None, "mlp", after="post_attention_layernorm"),
)
ONE_BRANCH = (Branch("norm", "self_attn"),)
OWN_NORMS = (Branch("ln_attn", "self_attn"), Branch("ln_mlp", "mlp"))
SHARED_NORM = (Branch("input_layernorm", "self_attn"), Branch("input_layernorm", "mlp"))

EXPERTS_ASIDE = (
    SANDWICH[0],
    SANDWICH[1]._replace(
        aside=Aside(
            "post_feedforward_layernorm_1",
            "pre_feedforward_layernorm_2",
            "moe",
            "post_feedforward_layernorm_2",
        )
    ),
)


class Architecture(NamedTuple):
    """The words in which a model that runs differs from Llama.

    `branches` are those of a layer. `norm` says how its RMSNorms are computed: ``narrow`` (the normalised
    numbers are narrowed before they meet the weight), ``wide`` (after), ``float`` (they meet a copy of the
    weight in 32 bits), ``power`` (the same, and the root is a power), ``plus one`` (they meet that copy and
    1), ``centred`` (they are less their mean, then as ``float``), ``layer`` (torch's LayerNorm, which also
    shifts), ``bare`` (the same in 32 bits, without weights). `late_norms`: heads are normalised once all are
    projected. `scaled_embedding`: the embedded tokens are multiplied by a number. `fused` are the matrices
    that are one.
    """

    branches: tuple[Branch, ...] = PRE_NORMS
    norm: str = "narrow"
    parallel: bool = False  # all branches read the layer's input
    late_norms: bool = False
    rotated_first: bool = False  # heads are rotated before they are normalised
    queries_first: bool = False  # they are rotated before keys are made; values are normalised, too
    scaled_embedding: bool = False
    rope: str = "halves"  # how heads are rotated: rotation.py
    wide_tables: bool = False  # cosines and sines have 32 bits
    tables_by_kind: bool = False  # layers with a window are rotated in a way of their own
    tables_by_sequence: bool = False  # each sequence has cosines and sines of its own
    unrotated: bool = False  # layers without a window are not rotated
    turns_by_layer: bool = False  # the config says of each layer whether it is rotated
    fused: tuple[str, ...] = ()
    by_kind: bool = False  # what its class gives one name is named by its kind here
    cut: str = "apart"  # how fused queries, keys and values are: "at once", "picked", "spread"
    narrow_softmax: bool = False  # of the scores of attention, in the stream's numbers
    wide_products: bool = False  # queries and keys are copied to 32 bits before they are multiplied
    keys_first: bool = (
        False  # they are rotated before the queries, behind their tokens, by tables of their own
    )
    rows: int = 0  # of the table of sines and cosines that each layer has
    rotated: int | None = None  # numbers of a head, where the config alone says it
    biases_apart: bool = False  # of matrices are added in a step of its own
    norms_first: bool = False  # branches start once all have their norm
    router: str = "softmax"  # how experts are chosen: routers.py
    shared_first: bool = False  # shared experts run before the others
    clamped_gate: bool = False  # gates of experts are clamped, and alternate with what they multiply
    wide_softmax: bool = False  # of the router, in 32 bits
    normed: bool = False  # the router's weights are divided by their sum
    wide_weights: tuple[str, ...] = ()  # ends of names of weights that are loaded in 32 bits in any case
    narrow_buffers: bool = False  # buffers that a checkpoint stores are as wide as the stream
    frozen: tuple[str, ...] = ()  # ends of names of weights that do not ask for a gradient
    unreached: tuple[str, ...] = ()  # of those that ask for one, and get none
    together: bool = False  # layers use what others made, or vectors that are made before the first
    listed: bool = True  # whether its operations are listed at all
    activation: str = "silu"
    clamped_heads: bool = False  # queries, keys and values are clamped in place
    scaled_queries: str = ""  # "by position", or by a "number" before they are cut into heads
    positions: str = "shared"  # ids of one row, of "each", or "none" that layers are told
    dropped: bool = False  # what branches give
    attentions: tuple[Attention, ...] = ("flash", "sdpa", "eager")  # those that its class has
    index_rope: str = ""  # how its indexers rotate, if some tokens alone are attended to: rotation.py
    chosen: int = 0  # how many tokens an indexer chooses for each
    handed_on: bool = False  # layers hand what their indexer chose to the next one
    scaled_branches: bool = False  # by a number, before they are added to the stream
    scaled_layers: bool = False  # by a number of their own, in place
    scaled_logits: bool = False
    wide_logits: bool = False  # they are copied to 32 bits before the loss is told of them
    chunk: int = 0  # tokens through which a state goes at once, by the config
    sinks: bool = False  # each head has a logit to which attention may go
    softcap: bool = False  # of the scores of attention
    logits_softcap: bool = False


LLAMA = Architecture()
CORRECTION = "e_score_correction_bias"
OLMO2 = Architecture(branches=BEHIND, norm="wide", wide_tables=True)
GLM = Architecture(fused=("gate_up",), rope="turned in part")
LIKE_LLAMA = ("llama", "mistral", "mixtral", "qwen2", "qwen3", "qwen3_moe", "gpt2", "seed_oss")
GEMMA = Architecture(norm="plus one", scaled_embedding=True)
QWEN3_5 = Architecture(norm="plus one", rope="joined", tables_by_sequence=True, shared_first=True)
INDEXED = Architecture(
    rope="pairs",
    router="corrected",
    attentions=("sdpa", "eager"),
    index_rope="halves",
    unreached=tuple(f"indexer.{name}" for name in ("wq_b", "wk", "k_norm", "weights_proj")),
)
COHERE = Architecture(
    branches=SHARED_NORM, parallel=True, norm="centred", rope="both woven", scaled_logits=True
)
NOT_LISTED = Architecture(listed=False)
ARCHITECTURES: dict[str, Architecture] = {
    **dict.fromkeys(LIKE_LLAMA, LLAMA),
    "gemma": GEMMA,
    "gemma2": GEMMA._replace(branches=SANDWICH),
    "gemma3_text": GEMMA._replace(branches=SANDWICH, late_norms=True, tables_by_kind=True),
    "gemma4_text": Architecture(
        branches=EXPERTS_ASIDE,
        norm="power",
        scaled_embedding=True,
        tables_by_kind=True,
        queries_first=True,
        router="scaled experts",
        narrow_buffers=True,
        scaled_layers=True,
    ),
    "glm4_moe": Architecture(late_norms=True, rope="joined", router="corrected"),
    **dict.fromkeys(("deepseek_v3", "kimi_k2"), Architecture(rope="pairs", router="corrected")),
    "kimi_linear": Architecture(rope="none", fused=("conv",), router="corrected", narrow_buffers=True),
    "deepseek_v32": INDEXED,
    "glm_moe_dsa": INDEXED._replace(index_rope="pairs", handed_on=True),
    "deepseek_v2": Architecture(rope="complex", router="scaled softmax"),
    "minimax_m2": Architecture(rope="joined", router="sigmoid", narrow_buffers=True),
    "ernie4_5_moe": Architecture(
        wide_tables=True,
        rope="woven",
        router="clamped sum",
        shared_first=True,
        wide_weights=("mlp.gate.weight", CORRECTION),
        frozen=(CORRECTION,),
    ),
    "ernie4_5": Architecture(wide_tables=True, rope="woven"),
    "gpt_oss": Architecture(rope="two", norm="wide", router="chosen", clamped_gate=True, sinks=True),
    "ministral3": Architecture(scaled_queries="by position"),
    **dict.fromkeys(("qwen3_5_text", "qwen3_5_moe_text"), QWEN3_5),
    "qwen3_next": QWEN3_5._replace(tables_by_sequence=False, fused=("qkvz",)),
    "qwen2_5_vl_text": Architecture(tables_by_sequence=True, positions="none"),
    **dict.fromkeys(("qwen3_vl_text", "qwen3_vl_moe_text"), Architecture(tables_by_sequence=True)),
    "qwen2_moe": Architecture(shared_first=True),
    "phi3": Architecture(fused=("qkv", "gate_up"), rope="joined"),
    "olmo": Architecture(norm="bare", wide_tables=True),
    "olmo2": OLMO2,
    "olmo3": OLMO2._replace(tables_by_kind=True),
    "exaone4": Architecture(branches=BEHIND, late_norms=True),
    "glm": GLM,
    "glm4": GLM._replace(branches=BEHIND_BOTH),
    "granite": Architecture(scaled_branches=True, scaled_logits=True),
    "granitemoehybrid": Architecture(
        rope="none",
        fused=("gate_up",),
        by_kind=True,
        router="chosen",
        wide_softmax=True,
        scaled_branches=True,
        scaled_logits=True,
        positions="none",
    ),
    "nemotron_h": Architecture(
        branches=ONE_BRANCH,
        by_kind=True,
        norm="float",
        rope="none",
        router="corrected",
        activation="relu2",
        wide_logits=True,
    ),
    "helium": Architecture(norm="float", rope="turned"),
    "smollm3": Architecture(turns_by_layer=True),
    "starcoder2": Architecture(norm="layer"),
    "gpt_neox": Architecture(norm="layer", fused=("qkv",), cut="at once", rope="joined", late_norms=True),
    "hunyuan_v1_dense": Architecture(rotated_first=True),
    "phi": Architecture(
        branches=SHARED_NORM, parallel=True, norm="layer", rope="joined", late_norms=True, dropped=True
    ),
    "falcon": Architecture(
        branches=SHARED_NORM,
        parallel=True,
        norm="layer",
        fused=("qkv",),
        cut="picked",
        biases_apart=True,
        narrow_softmax=True,
        dropped=True,
        attentions=("flash", "eager"),
    ),
    "gptj": Architecture(
        branches=SHARED_NORM,
        parallel=True,
        norm="layer",
        rope="turned in part",
        keys_first=True,
        wide_products=True,
        dropped=True,
        attentions=("flash", "eager"),
    ),
    "bloom": Architecture(
        norm="layer",
        rope="none",
        fused=("qkv",),
        positions="biases",
        activation="bloom",
        dropped=True,
        attentions=("eager",),
    ),
    "stablelm": Architecture(
        branches=SHARED_NORM, parallel=True, norm="layer", rope="joined", late_norms=True, dropped=True
    ),
    "cohere": COHERE._replace(late_norms=True),
    "cohere2": COHERE._replace(unrotated=True),
    "opt": Architecture(norm="layer", rope="none", scaled_queries="number", positions="each", dropped=True),
}
# fields of config.json, and what they say: the first that is there
COPY_TOKENS = frozenset({"gemma4", "gemma4_unified"})  # classes that put padding where images are
BY_LAYER = ("model.embed_tokens_per_layer",)  # a vector of each token for each layer (Gemma 4 E2B)
PROJECTED = ("model.project_in", "model.project_out")  # tokens that are narrower than the stream (OPT 350M)
WINDOWS_ROTATE = ("exaone4",)  # if there are windows, layers without one are not rotated
ACTIVATIONS = ("hidden_activation", "hidden_act", "activation_function", "activation", "mlp_hidden_act")
CHUNKS = {"nemotron_h": "chunk_size", "granitemoehybrid": "mamba_chunk_size"}


def side_by_side(found: Architecture, names: set[str]) -> Architecture:
    """Return the words of a type whose branches may share a norm, by the norms that its layers have."""
    if "ln_mlp" in names:
        return found._replace(branches=OWN_NORMS, norms_first=True)
    if "post_attention_layernorm" in names:
        return found._replace(branches=PRE_NORMS, parallel=False)
    return found


def cut_of(config: Config) -> str:
    """Return how Falcon cuts heads apart: keys spread to their queries, one picked, or as many as queries."""
    if config.value("new_decoder_architecture"):
        return "spread"
    return "picked" if config.value("multi_query") else "apart"


def with_chunks(found: Architecture, model: Model, config: Config) -> Architecture:
    """Return the words of a type with Mamba-2, with the tokens of a chunk.

    What has one head, or one number of it, is not copied where others are; other activations are not read.
    """
    if model.model_type not in CHUNKS:
        return found
    chunk = config.value(CHUNKS[model.model_type])
    active = config.value("mamba_hidden_act") or config.value("hidden_act")
    mixers = [part for layer in model.groups for name, part in layer.parts if name == "mamba"]
    sizes = [getattr(part, name) for part in mixers for name in ("ssm_heads", "ssm_head_dim", "ssm_state")]
    if not isinstance(chunk, int) or min([chunk, *sizes]) < 2 or active != "silu":
        return NOT_LISTED
    rope = "halves" if config.value("position_embedding_type") == "rope" else found.rope
    return found._replace(chunk=chunk, rope=rope)


def is_mamba2(part: object) -> TypeIs[Mamba2]:
    """Say whether a part is Mamba-2, by its quantities: a plan without one loads no class of it."""
    return hasattr(part, "ssm_heads")


def is_delta_net(part: object) -> TypeIs[DeltaNet]:
    """Say the same of a gated delta rule, Kimi's too."""
    return hasattr(part, "linear_value_heads")


def runs_as_read(model: Model, activation: str) -> bool:
    """Say whether Kimi delta attention is that of its program: one head is not copied where several are."""
    parts = [part for layer in model.groups for _, part in layer.parts if is_delta_net(part)]
    return activation == "silu" and all(part.linear_value_heads > 1 for part in parts)


def words_of(model: Model) -> Architecture:
    """Return the words of a model's type."""
    return ARCHITECTURES.get(model.text_type or model.model_type, NOT_LISTED)


def keeps_states(model: Model) -> bool:
    """Say whether some layers of a model keep a state of fixed size instead of tokens."""
    return any(part.counted == "state_depth" for layer in model.groups for _, part in layer.parts)


def kernels_read_matrices(model: Model) -> bool:
    """Say whether the fused kernel of a model's states multiplies by its last matrix, as it is stored."""
    return model.model_type in CHUNKS


def has_more(model: Model) -> bool:
    """Say whether a model has what no words tell: projected tokens, or norms that each head has."""
    apart = any(getattr(part, "apart", False) for layer in model.groups for _, part in layer.parts)
    return apart or any(name in PROJECTED for name, _ in model.outside)


def uses_others(model: Model) -> bool:
    """Say whether layers use keys and values of others, or vectors that are made before the first."""
    borrows = any(getattr(part, "borrows", False) for layer in model.groups for _, part in layer.parts)
    return borrows or any(name in BY_LAYER for name, _ in model.outside)


def known_words(model: Model, *, swept: bool, whole: bool) -> Architecture:
    """Return the words of a model's type, unless the model has what they do not tell.

    In a sweep the length is an unknown, and nobody counts the chunks through which a state goes, or the
    tokens that an indexer chooses. Unless one rank has the model `whole`, layers that use what others made
    are not listed.
    """
    found = words_of(model)
    if found is LLAMA or not found.listed:
        return found
    together = uses_others(model)
    if has_more(model) or (swept and keeps_states(model)) or (together and not whole):
        return NOT_LISTED
    unknown = swept and bool(found.index_rope)
    return found._replace(
        together=together,
        listed=not unknown,
        index_rope="" if unknown else found.index_rope,
        handed_on=found.handed_on and not unknown,
    )


def text_config(model: Model, fields: Mapping[str, object]) -> Config:
    """Return the config of a model's text model, with its class's defaults."""
    from memcalc.files.config import Config
    from memcalc.files.config_classes import config_class

    inside = fields.get("text_config")
    text = inside if isinstance(inside, dict) else fields
    return Config(text, config_class(model.text_type or model.model_type))


def with_turns(model: Model, fields: Mapping[str, object]) -> Model:
    """Return a model whose layers say whether they are rotated, as SmolLM3's config has it."""
    config = text_config(model, fields)
    every = config.size("no_rope_layer_interval")
    turns = config.whole_numbers("no_rope_layers") or [(index + 1) % every for index in range(model.depth)]

    def as_said(layer: Layer, turned: object) -> Layer:
        if turned:
            return layer
        still = (
            (name, replace(part, rope_dim=0) if isinstance(part, GQA) else part) for name, part in layer.parts
        )
        return replace(layer, parts=tuple(still))

    return model.map_layers(as_said, (bool(turned) for turned in turns[: model.depth]))


def architecture_of(
    model: Model, fields: Mapping[str, object], *, swept: bool = False, whole: bool = True
) -> Architecture:
    """Return the words of a model, with what its config.json says beside."""
    found = known_words(model, swept=swept, whole=whole)
    if found is LLAMA or not found.listed:
        return found
    config = text_config(model, fields)
    stated = (config.value(name) for name in ACTIVATIONS)
    activation = next((value for value in stated if value is not None), found.activation)
    found = with_chunks(found, model, config)
    if "conv" in found.fused and not runs_as_read(model, str(activation)):
        return NOT_LISTED
    if config.value("rope_interleave") is False and not found.index_rope:  # which those classes do not read
        found = found._replace(rope="halves")
    if config.value("do_layer_norm_before") is False:
        found = found._replace(branches=AFTER)
    if found.branches is SHARED_NORM:
        found = side_by_side(found, {name for name, _ in model.layers[0].parts})
    if found.cut == "picked":
        if config.value("alibi"):
            return NOT_LISTED
        found = found._replace(cut=cut_of(config))
    if model.model_type in WINDOWS_ROTATE:
        found = found._replace(unrotated=config.value("sliding_window") is not None)
    rotary, chosen = config.value("rotary_dim"), config.value("index_topk")
    return found._replace(
        activation=str(activation),
        rotated=rotary if isinstance(rotary, int) else None,
        chosen=chosen if isinstance(chosen, int) else 0,
        rows=(model.max_context or 0) if found.keys_first else 0,
        parallel=found.parallel or bool(config.value("use_parallel_residual")),
        normed=bool(config.value("norm_topk_prob")),
        clamped_heads=config.value("clip_qkv") is not None,
        softcap=config.value("attn_logit_softcapping") is not None,
        logits_softcap=config.value("final_logit_softcapping") is not None,
    )
