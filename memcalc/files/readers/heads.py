"""What stands at the end, by the class that a config names: a head, none, or one of labels."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from memcalc.data.record import record
from memcalc.errors import BadInputError
from memcalc.ledger.parts.plain import Embedding, Part
from memcalc.ledger.tensor import linear

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from memcalc.ledger.model import Model, Named
    from memcalc.ledger.tensor import Tensor

    Head = Callable[[int, Mapping[str, object]], Named]

__all__ = ["headless", "with_head_of"]

LABELS = 2  # of transformers' PretrainedConfig, where a config says nothing
NOT_BARE = ("For", "Head", "Reward", "PreTrained")  # words of classes that end in Model, and have a head
WRITES = ("ForCausalLM", "ForConditionalGeneration", "LMHead")  # a class that says more behind it adds parts
# classes for tokens whose head is called otherwise: transformers 5.23, models/*/modeling_*.py, 2026-11
CLASSIFIER = tuple(
    f"{name}For" for name in ("BioGpt", "Bloom", "Falcon", "GPT2", "GPTBigCode", "GPTNeo", "GPTNeoX", "Mpt")
)


@record
class RewardHead(Part):
    """Two linear layers with an activation between them, which has no weights.

    Source: Qwen/Qwen2.5-Math-RM-72B, modeling_qwen2_rm.py; vllm-project/vllm,
    model_executor/models/qwen2_rm.py, 2026-11.
    """

    width: int
    labels: int

    def weights(self) -> Iterator[Tensor]:
        """Yield both layers under the numbers that they have in a sequence."""
        yield from linear("0", self.width, self.width, bias=True, kind="head")
        yield from linear("2", self.labels, self.width, bias=True, kind="head")


def headless(model: Model) -> Model:
    """Return a model without its head.

    Parameters
    ----------
    model : Model
        A model that predicts tokens, or has no head already.

    """
    outside = tuple(pair for pair in model.outside if pair[0] != "lm_head")
    return replace(model, outside=outside, headless=True)


def with_head_of(model: Model, named: str, fields: Mapping[str, object]) -> Model:
    """Return a model with the head that its class in transformers has.

    Parameters
    ----------
    model : Model
        The model as its type is read: with a head over the vocabulary.
    named : str
        The class, as ``architectures`` has it.
    fields : mapping of str to object
        The config.json: its labels are read.

    Raises
    ------
    BadInputError
        What stands at the end of such a class is not known.

    """
    ending = next((one for one in HEADS if named.endswith(one)), None)
    if ending is None or (ending == "Model" and any(word in named for word in NOT_BARE)):
        short = (one for one in HEADS if not one.startswith("Qwen2"))  # all of them leave no room to say more
        expected = f"a class whose end is known: ...{', ...'.join(('ForCausalLM', *short))}"
        remedy = "its head is not understood; name the class without it, ...Model, to count the rest"
        if any(head in named for head in WRITES):  # Eagle's: what is added need not stand at the end
            remedy = "what it adds is not known; its .safetensors or .gguf alone gives the weights"
        raise BadInputError("architectures", expected, named, remedy)
    bare = headless(model)
    width = dict(bare.outside)["model.embed_tokens"].width  # type: ignore[attr-defined]
    return replace(bare, outside=(*bare.outside, *HEADS[ending](width, {**fields, "class": named})))


def none(_width: int, _fields: Mapping[str, object]) -> Named:
    """Return nothing."""
    return ()


def of_sequences(width: int, fields: Mapping[str, object]) -> Named:
    """Return a row for each label, without a bias in every class."""
    return (("score", Embedding(labels_of(fields), width, "head")),)


def of_tokens(width: int, fields: Mapping[str, object]) -> Named:
    """Return a row for each label, with a bias."""
    named = "classifier" if str(fields["class"]).startswith(CLASSIFIER) else "score"
    return ((named, Embedding(labels_of(fields), width, "head", bias=True)),)


def of_answers(width: int, fields: Mapping[str, object]) -> Named:
    """Return two rows, where an answer begins and ends; GPT-J's class takes as many as there are labels."""
    rows = labels_of(fields) if str(fields["class"]).startswith("GPTJFor") else 2
    return (("qa_outputs", Embedding(rows, width, "head", bias=True)),)


def of_rewards(labels: int) -> Head:
    """Return a head of two layers, whatever the config says of labels."""
    return lambda width, _fields: (("score", RewardHead(width, labels)),)


HEADS: Mapping[str, Head] = {  # by the ending of a class's name: the first that fits
    "ForSequenceClassification": of_sequences,
    "ForTokenClassification": of_tokens,
    "ForQuestionAnswering": of_answers,
    "Qwen2ForRewardModel": of_rewards(1),
    "Qwen2ForProcessRewardModel": of_rewards(2),
    "Model": none,
}


def labels_of(fields: Mapping[str, object]) -> int:
    """Return how many labels there are: num_labels, else those that are named, as transformers 5 has it.

    >>> labels_of({"num_labels": 3}), labels_of({"id2label": {"0": "LABEL_0"}}), labels_of({})
    (3, 1, 2)

    Raises:
        BadInputError: it is no whole number >= 1.

    """
    names = fields.get("id2label")
    number = fields.get("num_labels", len(names) if isinstance(names, dict) else LABELS)
    if type(number) is not int or number < 1:
        raise BadInputError("num_labels", "a whole number >= 1", number, "correct config.json")
    return number
