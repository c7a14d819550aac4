"""What a model is made of: tensors, parts, formats, devices. Knows no file, no engine, no plan."""

from __future__ import annotations

from memcalc.data.lazy import lazy_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from memcalc.ledger.budget import *
    from memcalc.ledger.formats import *
    from memcalc.ledger.model import *
    from memcalc.ledger.parts import *
    from memcalc.ledger.tensor import *
    from memcalc.ledger.vocabulary import *

__getattr__, __dir__ = lazy_names(__name__, ["tensor", "vocabulary", "parts", "model", "formats", "budget"])
