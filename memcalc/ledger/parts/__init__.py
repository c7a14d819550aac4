"""The parts that models are made of: records that yield their tensors."""

from __future__ import annotations

from memcalc.data.lazy import lazy_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from memcalc.ledger.parts.attention import *
    from memcalc.ledger.parts.experts import *
    from memcalc.ledger.parts.feedforward import *
    from memcalc.ledger.parts.indexer import *
    from memcalc.ledger.parts.inputs import *
    from memcalc.ledger.parts.latent import *
    from memcalc.ledger.parts.linear import *
    from memcalc.ledger.parts.mamba import *
    from memcalc.ledger.parts.plain import *
    from memcalc.ledger.parts.recurrent import *

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "attention": ("GQA",),
        "experts": ("MoE",),
        "feedforward": ("MLP",),
        "indexer": ("Indexer",),
        "inputs": ("PositionTable",),
        "latent": ("MLA",),
        "linear": ("Linear",),
        "mamba": ("Mamba2",),
        "plain": ("Embedding", "Norm", "Part"),
        "recurrent": ("DeltaNet", "KimiDelta"),
    },
)
