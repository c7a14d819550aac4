"""A source: a model's name and config.json, where it was found, and what is known of its storage."""

from __future__ import annotations

import json
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING

from memcalc.errors import BadInputError, MemcalcError, RefusalError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memcalc.files.quantization import Scheme
    from memcalc.files.safetensors import Header
    from memcalc.files.storage import StoredModel
    from memcalc.ledger.model import Model

__all__ = ["Source"]

READ: dict[str, Model] = {}  # models of the catalogue that were read, by the text of their record
STORED: dict[
    tuple[str, str | None, bool, bool], StoredModel
] = {}  # the same with a format, by what was asked
DTYPES = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}
# words between the hyphens of a model's name that say its weights are quantised
QUANTISED = {
    *(
        "2bit",
        "3bit",
        "4bit",
        "5bit",
        "6bit",
        "8bit",
        "aqlm",
        "autoround",
        "awq",
        "bnb",
        "exl2",
        "exl3",
        "fp4",
    ),
    *("fp8", "gguf", "gptq", "hqq", "int4", "int8", "mxfp4", "mxfp8", "nf4", "nvfp4", "quantized"),
    *("w4a16", "w4a4", "w4a8", "w8a16", "w8a8"),
}


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
        self.values: Mapping[str, object] = {}  # of a GGUF file whose architecture has no reader
        self.built: Model | None = None  # by way of another library, where no reader knows its type
        self.recorded = ""  # the text of its record in the catalogue

    def __repr__(self) -> str:
        return f"<{self.name}, from {self.found}>"

    @property
    def is_gguf(self) -> bool:
        """Whether the source is a GGUF file: its tensors have the types that they have."""
        return self.header is not None and self.header.kind == "gguf"

    @property
    def is_unread(self) -> bool:
        """Whether a header lists its weights, and no reader knows the type that uses them."""
        if self.header is None:
            return False
        from memcalc.files.readers import has_reader

        return self.built is None and not has_reader(self.fields.get("model_type"))

    def by_way_of(self, via: str | None) -> Source:
        """Return the source whose model another library lists, if one is named and no reader knows its type.

        Raises
        ------
        BadInputError
            The library is not installed, or does not understand the config.json either.

        """
        from memcalc.files.readers import has_reader

        if via is None or self.built is not None:
            return self
        named, known = copy(self), self.fields.get("model_type")
        if has_reader(known):
            note = f"--via {via} is not needed: a reader knows {known}"
            named.defaults = (*(one for one in self.defaults if one != note), note)
            return named
        if not self.fields:
            raise self.alone()
        from memcalc.files.by_transformers import LEFT_OUT, read

        named.built = read(self.fields, self.name)
        named.defaults = (*self.defaults, f"by way of {named.built.via}", f"left out: {LEFT_OUT}")
        return named

    @property
    def model(self) -> Model:
        """The model that the config.json describes, or that the key-values of a GGUF file do.

        Raises
        ------
        BadInputError
            The config.json is not understood, or there is none.
        UnknownNameError
            No reader knows the type.

        """
        from memcalc.files.readers import read

        if self.built is not None:
            return self.built
        if not self.fields and self.header is not None:
            raise self.alone()
        listed = (
            bool(self.recorded) and json.loads(self.recorded)["config"] == self.fields
        )  # nobody changed them
        if listed and self.recorded in READ:
            return READ[self.recorded]
        try:
            model = read(self.fields, self.name)
        except RefusalError as error:
            if self.keys is None:
                raise
            raise in_keys(error, self.keys) from None
        if listed:
            READ[self.recorded] = model
        return model

    def alone(self) -> RefusalError:
        """Return the error for weights that nothing describes but their header."""
        counted = "`memcalc model` counts the weights"
        if self.is_gguf:
            name, expected = self.values.get("general.architecture"), "an architecture that has a reader"
            return UnknownNameError("general.architecture", expected, name, counted)
        remedy = f"{counted}; add the config.json for the rest"
        return BadInputError("SOURCE", "a config.json beside the weights", self.found, remedy)

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
        own = self.own_scheme(stated)
        if own is not None:
            return own
        from memcalc.files.quantization import scheme

        found, bits = scheme(stated), self.scale_bits
        if self.header is not None and found.format.scale_bits:
            bits = self.header.scale_bits
        return found if bits is None else found._replace(format=replace(found.format, scale_bits=bits))

    def own_scheme(self, stated: object) -> Scheme | None:
        """Return what a quantization_config says in a family's own way; None of other families."""
        if self.fields.get("model_type") not in ("deepseek_v4", "deepseek_ref"):
            return None
        from memcalc.files.deepseek_formats import published_scheme

        return published_scheme(stated, self.fields.get("expert_dtype"))

    @property
    def quantization(self) -> str | None:
        """What is known of its quantisation: a format, or what is not understood; None if nothing."""
        if self.is_gguf:
            from memcalc.files.gguf.presets import FILE_TYPES

            preset = FILE_TYPES.get(-1 if self.file_type is None else self.file_type)
            return "tensor by tensor" if preset is None else f"{preset}, as the file says"
        try:
            found = self.scheme
        except RefusalError as error:
            stated = self.stated("quantization_config")
            words = stated if isinstance(stated, dict) else {}
            method = words.get("quant_algo") or words.get("quant_method") or "a method"
            return f"{method}, not understood ({error.field})"
        if found is not None:
            return found.format.id
        named = quantised_by_name(self.name)
        return None if named is None else f"not stated, though the name says {named}"

    @property
    def cache_format(self) -> str | None:
        """The format of keys and values that the source itself states; None if it states none.

        Raises
        ------
        BadInputError
            It is not understood.

        """
        inside = self.stated("quantization_config")
        quantised = inside if isinstance(inside, dict) else {}
        stated = {"kv_cache_scheme": self.stated("kv_cache_scheme")}
        names = ("kv_cache_scheme", "kv_cache_quant_algo")
        stated |= {f"quantization_config.{name}": quantised.get(name) for name in names}
        if not any(stated.values()):
            return None
        from memcalc.files.quantization import cache_format

        return next(found for field, one in stated.items() if (found := cache_format(one, field)))

    def states(self, weights: str) -> bool:
        """Say whether a format is the one that the source states: naming it means the same checkpoint."""
        try:
            return self.stored_as == weights.lower()
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

    def stored(
        self, weights: str | None = None, *, as_gguf: bool = False, narrow: bool = False
    ) -> StoredModel:
        """Return the model with the format of each tensor.

        Parameters
        ----------
        weights : str, optional
            A format, or one of llama.cpp's presets; default as the source states.
        as_gguf : bool, optional
            Whether it has to be GGUF, because an engine reads nothing else: without a preset, what
            llama.cpp's converter makes of the checkpoint. Default False.
        narrow : bool, optional
            Whether what is stored in 32 bits is loaded in 16, as vLLM and SGLang do. Default False.

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
        asked = self.recorded, weights, as_gguf, narrow
        if self.listed and asked in STORED:
            return STORED[asked]
        found = self.stored_anew(weights, as_gguf=as_gguf, narrow=narrow)
        if self.listed:
            STORED[asked] = found
        return found

    @property
    def listed(self) -> bool:
        """Whether it is a model of the catalogue whose fields nobody changed."""
        return bool(self.recorded) and json.loads(self.recorded)["config"] == self.fields

    def stored_anew(self, weights: str | None, *, as_gguf: bool, narrow: bool) -> StoredModel:
        """Return the model with the format of each tensor, whether or not it was asked for before."""
        from memcalc.files import storage

        model, dtype = self.model, "bf16" if narrow and self.dtype == "fp32" else self.dtype
        if not (as_gguf or self.uses_gguf(weights)):
            own = self.scheme if weights is None or self.states(weights) else None
            if weights is None and own is None:
                self.refuse_quantised_name()
            return storage.as_checkpoint(model, dtype, weights, own)
        if weights is not None:
            return storage.as_preset(model, dtype, weights)
        if self.header is not None and self.is_gguf:
            return storage.as_file(model, dtype, self.header, self.file_type)
        return storage.as_converted(model, dtype, self.scheme)

    def refuse_quantised_name(self) -> None:
        """Refuse weights that nothing describes, though the model's name says that they are quantised.

        Raises
        ------
        BadInputError
            It does: 16 bits would be up to four times too many.

        """
        named = quantised_by_name(self.name)
        if named is not None:
            given = f"none, while {self.name} says {named}"
            remedy = (
                "add --weights, bf16 if they are not quantised, or hf_quant_config.json beside config.json"
            )
            raise BadInputError("quantization_config", "the quantisation of the weights", given, remedy)


def quantised_by_name(name: str) -> str | None:
    """Return the word of a model's name, or of its folder's, that says it is quantised; None if none does.

    >>> quantised_by_name("nvidia/Qwen3-30B-A3B-NVFP4"), quantised_by_name("models/Qwen3-8B/config.json")
    ('NVFP4', None)
    """
    words = name.replace("\\", "/").rstrip("/").split("/")
    own = words[-2] if words[-1] == "config.json" and len(words) > 1 else words[-1].removesuffix(".json")
    pieces = (piece for part in own.split("-") for piece in part.split("."))
    return next((piece for piece in pieces if piece.lower().partition("_")[0] in QUANTISED), None)


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
    found = type(error)(keys.get(error.field, error.field), named(error.expected), given, remedy)
    found.others = tuple(in_keys(other, keys) for other in error.others)
    return found
