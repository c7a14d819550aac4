"""The words in which a model of transformers differs from Llama as it runs."""

# annotations are not postponed here: named tuples would compile theirs whenever memcalc starts
from typing import Literal, NamedTuple

from memcalc.data.record import Record, record

__all__ = [
    "BRANCHES",
    "CHUNKS",
    "DROPPED",
    "LIKE_LLAMA",
    "LLAMA",
    "NOT_LISTED",
    "PRE_NORMS",
    "UNLISTED_ACTIVATIONS",
    "Architecture",
    "Aside",
    "Branch",
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


@record
class Architecture(Record):
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
    moved_tokens: bool = False  # embedded tokens are multiplied by a number behind the embedding
    rope: str = "halves"  # how heads are rotated: rotation.py
    wide_tables: bool = False  # cosines and sines have 32 bits
    tables_by_kind: bool = False  # layers with a window are rotated in a way of their own
    tables_by_sequence: bool = False  # each sequence has cosines and sines of its own
    named_parts: bool = False  # what turns of heads, and what passes, have names until attention returns
    named_branches: bool = False  # what the first branch was given and gave has names until the layer returns
    inline_mlp: bool = False  # layers run it themselves, and let go of what it is given
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
    dropped: tuple[str, ...] = ()  # whose numbers are dropped in part: branches, their sum, embedded tokens
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

    def __repr__(self) -> str:
        """Leave out the words in which it is as Llama."""
        known = type(self).__dataclass_fields__
        words = (f"{name}={value!r}" for name, value in vars(self).items() if value != known[name].default)
        return f"Architecture({', '.join(words)})"

    @property
    def has_wide_router(self) -> bool:
        """Whether the router's matrix has 32 bits, whatever the others have."""
        return any(name.startswith("mlp.gate.") for name in self.wide_weights)


LLAMA = Architecture()
NOT_LISTED = Architecture(listed=False)
BRANCHES = ("self_attn", "mlp")
DROPPED = (*BRANCHES, "embedding")
LIKE_LLAMA = ("llama", "mistral", "mixtral", "qwen2", "qwen3", "qwen3_moe", "gpt2")
# those of transformers 5.24 (activations.py, ACT2CLS) that are several operations, which are not listed
UNLISTED_ACTIVATIONS = frozenset(
    {
        *("gelu_10", "gelu_accurate", "gelu_fast", "gelu_python", "gelu_python_tanh"),
        *("laplace", "prelu", "quick_gelu", "sqrtsoftplus", "xielu"),
    }
)
CHUNKS = {"nemotron_h": "chunk_size", "granitemoehybrid": "mamba_chunk_size"}
