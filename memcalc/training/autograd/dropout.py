"""How much a model of transformers drops while it is trained, as its config.json or its class has it.

Read in the classes of transformers 5.24, models/*/modeling_*.py: which of the fields each of them reads, and
where. Fused attention drops inside of its kernel, and keeps nothing for it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from memcalc.errors import BadInputError
from memcalc.files.config import text_config
from memcalc.training.autograd.architecture import DROPPED
from memcalc.training.autograd.architectures import words_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memcalc.files.config import Config
    from memcalc.ledger.model import Model
    from memcalc.training.autograd.base import MicroBatch

__all__ = ["NOTHING", "Dropouts", "dropouts_of"]

OF_ATTENTION = ("attention_dropout", "attn_pdrop")
OF_BRANCHES = ("residual_dropout", "resid_pdrop", "hidden_dropout", "dropout")
OF_TOKENS = ("embedding_dropout", "embd_pdrop")
ONE_FOR_BOTH = ("gpt_neox",)  # tokens are dropped as branches are
WEIGHTS_STAY = ("falcon",)  # attention's weights are not dropped, whatever the config says


class Dropouts(NamedTuple):
    """Shares that are dropped: of attention's weights, of what branches give, of the embedded tokens."""

    attention: float
    branches: float
    tokens: float

    def of(self, micro: MicroBatch) -> MicroBatch:
        """Return a micro-batch of which so much is dropped."""
        return replace(
            micro, dropout=self.attention, hidden_dropout=self.branches, embedding_dropout=self.tokens
        )


NOTHING = Dropouts(0.0, 0.0, 0.0)


def dropouts_of(model: Model, fields: Mapping[str, object], given: float | None = None) -> Dropouts:
    """Return the shares that a model of transformers drops, wherever its class does.

    Parameters
    ----------
    model : Model
        Its type says where its class drops.
    fields : mapping
        Its config.json.
    given : float or None
        The share of all of them, where it is stated beside the config.

    Returns
    -------
    Dropouts
        0 where its class drops nothing.

    Raises
    ------
    BadInputError
        A share is no number from 0 to below 1.

    """
    called, config = model.text_type or model.model_type, text_config(model, fields)
    sites = DROPPED if called == "gpt2" else words_of(model).dropped
    of_tokens = OF_BRANCHES if called in ONE_FOR_BOTH else OF_TOKENS
    attention, branches, tokens = (
        share_of(config, names) if given is None else given
        for names in (OF_ATTENTION, OF_BRANCHES, of_tokens)
    )
    return Dropouts(
        0.0 if called in WEIGHTS_STAY else attention,
        branches if sites else 0.0,
        tokens if "embedding" in sites else 0.0,
    )


def share_of(config: Config, names: tuple[str, ...]) -> float:
    """Return the first of these fields that a config has; 0 if it has none."""
    field = next((one for one in names if config.value(one) is not None), None)
    share = 0 if field is None else config.value(field)
    if not isinstance(share, int | float) or isinstance(share, bool) or not 0 <= share < 1:
        raise BadInputError(str(field), "a share from 0 to below 1", share, "0 drops nothing")
    return float(share)
