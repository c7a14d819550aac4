"""Where a model comes from, and what its checkpoint holds."""

from __future__ import annotations

from memcalc.data.lazy import lazy_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from memcalc.files.api import model as model
    from memcalc.files.compare import Check as Check, Difference as Difference, check as check
    from memcalc.files.header_alone import StoredWeights as StoredWeights, stored_weights as stored_weights
    from memcalc.files.machines import devices as devices, machine as machine, servers as servers
    from memcalc.files.quantization import scheme as scheme, zero_biases as zero_biases
    from memcalc.files.readers import read as read
    from memcalc.files.source import Source as Source
    from memcalc.files.storage import StoredModel as StoredModel
    from memcalc.files.tensor_names import header as header

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "api": ("model",),
        "compare": ("Check", "Difference", "check"),
        "machines": ("devices", "machine", "servers"),
        "quantization": ("scheme", "zero_biases"),
        "readers": ("read",),
        "source": ("Source",),
        "storage": ("StoredModel",),
        "header_alone": ("StoredWeights", "stored_weights"),
        "tensor_names": ("header",),
    },
)
