"""A source: a model's name and config.json, where it was found, and what is known of its storage."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from memcalc.errors import BadInputError, MemcalcError, RefusalError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memcalc.files.quantization import Scheme
    from memcalc.files.safetensors import Header
    from memcalc.files.storage import StoredModel
    from memcalc.ledger.model import Model

__all__ = ["Source"]

DTYPES = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}


class Source:
    """A model's name and config.json, where it was found, and what is known of its storage.

    `scale_bits` is what a record of the catalogue says; `header` is None where only the config.json is known.
    `file_type` is the number of the preset that a GGUF file says it was made with, `keys` are the keys under
    which it states the fields.
    """

    def __init__(
        self,
        name: str,
        fields: dict[str, object],
        found: str,
        *,
        scale_bits: int | None = None,
        header: Header | None = None,
        file_type: int | None = None,
        keys: Mapping[str, str] | None = None,
    ) -> None:
        self.name, self.fields, self.found = name, fields, found
        self.scale_bits, self.header, self.file_type, self.keys = scale_bits, header, file_type, keys
        self.defaults: tuple[str, ...] = ()  # what its name was taken for, in words

    @property
    def is_gguf(self) -> bool:
        """Whether the source is a GGUF file: its tensors have the types that they have."""
        return self.header is not None and self.header.kind == "gguf"

    @property
    def model(self) -> Model:
        """The model that the config.json describes, or that the key-values of a GGUF file do.

        Raises
        ------
        BadInputError
            The config.json is not understood.

        """
        from memcalc.files.readers import read

        try:
            return read(self.fields, self.name)
        except RefusalError as error:
            if self.keys is None:
                raise
            raise in_keys(error, self.keys) from None

    def stated(self, field: str) -> object:
        """Return a field, or the text model's where a config.json nests one."""
        text = self.fields.get("text_config")
        inside = text.get(field) if isinstance(text, dict) else None
        own = self.fields.get(field)
        return inside if own is None else own

    @property
    def dtype(self) -> str:
        """The 16- or 32-bit format of activations and of everything that is not quantised.

        Raises
        ------
        BadInputError
            It is another one, or `dtype` and `torch_dtype` contradict each other.

        """
        stated = [value for name in ("dtype", "torch_dtype") if (value := self.stated(name)) is not None]
        if not stated:
            return "bf16"
        value = stated[0]
        if not isinstance(value, str) or value not in DTYPES:
            expected = f"one of {', '.join(DTYPES)}"
            raise BadInputError("torch_dtype", expected, value, "correct the field in config.json")
        if stated[-1] != value:
            raise BadInputError("torch_dtype", f"{value}, as dtype says", stated[-1], "remove one of the two")
        return DTYPES[value]

    @property
    def stored_as(self) -> str:
        """The format that the source itself states: its quantization_config, else its dtype.

        Raises
        ------
        BadInputError
            The quantization_config is not understood, or says more than the format does.

        """
        found = self.scheme
        return self.dtype if found is None else found.format.id

    @property
    def scheme(self) -> Scheme | None:
        """What the source's quantization_config says; None where it has none.

        Raises
        ------
        BadInputError
            It is not understood.

        """
        stated = self.stated("quantization_config")
        stated = self.stated("quantization") if stated is None else stated
        if stated is None:
            return None
        from memcalc.files.quantization import scheme

        found, bits = scheme(stated), self.scale_bits
        if self.header is not None and found.format.scale_bits:
            bits = self.header.scale_bits
        return found if bits is None else found._replace(format=replace(found.format, scale_bits=bits))

    def states(self, weights: str) -> bool:
        """Say whether a format is the one that the source states: naming it means the same checkpoint."""
        try:
            return self.stored_as == weights
        except MemcalcError:
            return False

    def uses_gguf(self, weights: str | None = None) -> bool:
        """Say whether the weights are GGUF: the file's own, or in one of llama.cpp's presets.

        Parameters
        ----------
        weights : str, optional
            The format that the weights shall have, default as the source states.

        Examples
        --------
        >>> from memcalc.files.sources import source
        >>> small = source("Qwen/Qwen3-0.6B")
        >>> small.uses_gguf("Q4_K_M"), small.uses_gguf("bf16"), small.uses_gguf()
        (True, False, False)

        """
        if weights is None:
            return self.is_gguf
        from memcalc.files.storage import is_preset

        return is_preset(weights)

    def stored(self, weights: str | None = None, *, as_gguf: bool = False) -> StoredModel:
        """Return the model with the format of each tensor.

        Parameters
        ----------
        weights : str, optional
            A format, or one of llama.cpp's presets; default as the source states.
        as_gguf : bool, optional
            Whether it has to be GGUF, because an engine reads nothing else: without a preset, what
            llama.cpp's converter makes of the checkpoint. Default False.

        Returns
        -------
        StoredModel
            The model, and the rule that gives each of its tensors a format.

        Raises
        ------
        BadInputError
            The config.json, or what it says of its storage, is not understood; a GGUF file lacks a tensor.
        UnknownNameError
            No format or preset has this name.

        Examples
        --------
        >>> from memcalc.files.sources import source
        >>> source("openai/gpt-oss-20b").stored().format.id
        'mxfp4'

        """
        from memcalc.files import storage

        model, dtype = self.model, self.dtype
        if not (as_gguf or self.uses_gguf(weights)):
            own = self.scheme if weights is None or self.states(weights) else None
            return storage.as_checkpoint(model, dtype, weights, own)
        if weights is not None:
            return storage.as_preset(model, dtype, weights)
        if self.header is not None and self.is_gguf:
            return storage.as_file(model, dtype, self.header, self.file_type)
        return storage.as_converted(model, dtype, self.scheme)


def in_keys(error: RefusalError, keys: Mapping[str, str]) -> RefusalError:
    """Return an error about a config.json as one about a GGUF file, which has none.

    >>> error = BadInputError("n_head", "at most hidden_size", 9, "correct the field in config.json")
    >>> str(in_keys(error, {"n_head": "gpt2.attention.head_count", "hidden_size": "gpt2.embedding_length"}))
    'gpt2.attention.head_count: expected at most gpt2.embedding_length, given 9; convert the model again'
    """
    import re

    def named(text: str) -> str:
        return re.sub(r"\w+", lambda word: keys.get(word[0], word[0]), text)

    given = named(error.given) if isinstance(error.given, str) else error.given
    remedy = "convert the model again" if "config.json" in error.remedy else named(error.remedy)
    return type(error)(keys.get(error.field, error.field), named(error.expected), given, remedy)
