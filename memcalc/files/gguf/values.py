"""Key-values of a GGUF file by the names behind its architecture's own, and what all decoders state.

Source of the keys: ggml-org/llama.cpp, gguf-py/gguf/constants.py and src/llama-arch.cpp, read 2026-11.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.errors import BadInputError, check_whole_number
from memcalc.files.config import MOST_LAYERS
from memcalc.files.gguf.header import Listing

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

__all__ = ["CONVERT", "Fields", "Values", "attending", "basic"]

Fields = dict[str, object]
CONVERT = "convert the model again"


class Values:
    """The key-values of one architecture, under the names behind its own, and the names of the tensors.

    `keys` says which key states a field of config.json: an error about the field names the key.
    """

    def __init__(self, values: Mapping[str, object], tensors: Container[str], name: str) -> None:
        self.values, self.tensors, self.name = values, tensors, name
        self.keys: dict[str, str] = {}
        for key, value in values.items():  # read later or not
            if type(value) is int and key.startswith(f"{name}."):
                check_whole_number(key, value, CONVERT, least=0)

    def get(self, key: str) -> int | None:
        """Return a whole number; None if it is missing. Equal numbers in a list, one a layer, are one."""
        field = f"{self.name}.{key}"
        value = self.values.get(field)
        if isinstance(value, Listing) and value.numbers and len(set(value.numbers)) == 1:
            value = value.numbers[0]
        if value is not None and type(value) is not int:
            remedy = "layers that differ in it are not understood"
            raise BadInputError(field, "one whole number for all layers", value, remedy)
        return None if value is None else check_whole_number(field, value, CONVERT, least=0)

    def size(self, key: str) -> int:
        """Return a size that must be there."""
        return check_whole_number(f"{self.name}.{key}", self.get(key), CONVERT)

    @property
    def blocks(self) -> int:
        """Layers, those for multi-token prediction too."""
        found = self.size("block_count")
        if found > MOST_LAYERS:
            raise BadInputError(f"{self.name}.block_count", f"at most {MOST_LAYERS} layers", found, CONVERT)
        return found

    def under(self, **keys: str) -> None:
        """Remember the keys of fields."""
        self.keys |= {field: f"{self.name}.{key}" for field, key in keys.items()}

    def sizes(self, **keys: str) -> Fields:
        """Return fields of a config.json, each with the size that a key states."""
        self.under(**keys)
        return {field: self.size(key) for field, key in keys.items()}

    def stated(self, **keys: str) -> Fields:
        """Return those fields whose key is there, and not 0."""
        self.under(**keys)
        return {field: size for field, key in keys.items() if (size := self.get(key))}

    @property
    def vocab(self) -> int:
        """Rows of the embedding: stated, or as many as the tokenizer has tokens."""
        tokens = self.values.get("tokenizer.ggml.tokens")
        counted = tokens.count if isinstance(tokens, Listing) else None
        stated = self.get("vocab_size")
        return self.size("vocab_size") if counted is None else (counted if stated is None else stated)


def basic(values: Values) -> Fields:
    """Return what all decoders state."""
    found = values.sizes(
        hidden_size="embedding_length",
        num_attention_heads="attention.head_count",
        max_position_embeddings="context_length",
    )
    values.under(num_hidden_layers="block_count", vocab_size="vocab_size")
    return {
        **found,
        "num_hidden_layers": values.blocks,
        "num_key_value_heads": found["num_attention_heads"],
        "vocab_size": values.vocab,
        "tie_word_embeddings": "output.weight" not in values.tensors,
        **values.stated(
            num_key_value_heads="attention.head_count_kv", intermediate_size="feed_forward_length"
        ),
    }


def attending(values: Values) -> Fields:
    """Return them, and the width of a head."""
    found = basic(values)
    key, value = values.get("attention.key_length"), values.get("attention.value_length")
    if key != value:
        remedy = "heads of different widths are not understood"
        raise BadInputError(f"{values.name}.attention.value_length", str(key), value, remedy)
    return found | values.stated(head_dim="attention.key_length")
