"""What a model is made of: tensors, parts, formats, devices. Knows no file, no engine, no plan."""

from __future__ import annotations

from memcalc.ledger.lazy import lazy_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from memcalc.ledger.budget import (
        Budget as Budget,
        Line as Line,
        PoolBudget as PoolBudget,
        gb as gb,
        gib as gib,
        thin as thin,
    )
    from memcalc.ledger.formats import (
        FORMATS as FORMATS,
        GGUF_TYPES as GGUF_TYPES,
        KV_FORMATS as KV_FORMATS,
        MORE_FORMATS as MORE_FORMATS,
        Format as Format,
        format_named as format_named,
        plain as plain,
        tensor_bytes as tensor_bytes,
        zero_biases as zero_biases,
    )
    from memcalc.ledger.machine import devices as devices, servers as servers
    from memcalc.ledger.model import Layer as Layer, Model as Model, everything as everything
    from memcalc.ledger.parallel import (
        Split as Split,
        TrainingParallelism as TrainingParallelism,
        stages as stages,
    )
    from memcalc.ledger.parts import (
        GQA as GQA,
        MLA as MLA,
        MLP as MLP,
        DeltaNet as DeltaNet,
        Embedding as Embedding,
        Indexer as Indexer,
        LearnedPositions as LearnedPositions,
        Linear as Linear,
        MoE as MoE,
        Norm as Norm,
        Part as Part,
        Patches as Patches,
        Positions as Positions,
    )
    from memcalc.ledger.search import largest as largest
    from memcalc.ledger.tensor import (
        IN as IN,
        OUT as OUT,
        Tensor as Tensor,
        ceil_div as ceil_div,
        least as least,
    )
    from memcalc.ledger.vocabulary import WORDS as WORDS, word as word

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "budget": ("Budget", "Line", "PoolBudget", "gb", "gib", "thin"),
        "formats": (
            "FORMATS",
            "Format",
            "GGUF_TYPES",
            "KV_FORMATS",
            "MORE_FORMATS",
            "format_named",
            "plain",
            "tensor_bytes",
            "zero_biases",
        ),
        "machine": ("devices", "servers"),
        "model": ("Layer", "Model", "everything"),
        "parallel": ("Split", "TrainingParallelism", "stages"),
        "parts": (
            "DeltaNet",
            "Embedding",
            "GQA",
            "Indexer",
            "LearnedPositions",
            "Linear",
            "MLA",
            "MLP",
            "MoE",
            "Norm",
            "Part",
            "Patches",
            "Positions",
        ),
        "search": ("largest",),
        "tensor": ("IN", "OUT", "Tensor", "ceil_div", "least"),
        "vocabulary": ("WORDS", "word"),
    },
)
