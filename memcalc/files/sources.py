"""A text names a source: a folder, a catalogue model, a file, a repository of the Hub."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from memcalc.errors import NOTHING, BadInputError, UnknownNameError
from memcalc.files.catalogue import (
    canonical_name,
    containing,
    key,
    names_by_key,
    nearest_names,
    record,
    relatives,
)
from memcalc.files.source import Source

if TYPE_CHECKING:
    from collections.abc import Callable


__all__ = ["source"]

TAKEN = "{} is taken as {} (one family, the same shapes; its own limit of tokens may differ)"


def source(text: str | os.PathLike[str] | Source) -> Source:
    """Return the source that a text names; a source is its own.

    A folder with a config.json comes first, as in transformers; its model.safetensors or index is read too.

    Parameters
    ----------
    text : str, path or Source
        A folder with a config.json; a catalogue name, whatever its case, its owner and its separators if
        that is unique; a config.json; a safetensors file or index, beside one or alone; a GGUF file; or else
        a repository of the Hub.

    Returns
    -------
    Source
        The model's name and config.json, and what is known of its storage.

    Raises
    ------
    BadInputError
        A file that cannot be read, or a repository that cannot be reached.
    UnknownNameError
        Neither a catalogue name nor a path nor the name of a repository.

    Examples
    --------
    >>> source("Qwen/Qwen3-32B").stored_as
    'bf16'

    """
    if isinstance(text, Source):
        return text
    empty = isinstance(text, str) and not text.strip()
    if empty or not isinstance(text, str | os.PathLike):
        expected = "the name or the path of a model"
        if empty or text is NOTHING:
            raise BadInputError(
                "SOURCE", expected, NOTHING, "add it, as in Qwen/Qwen3-32B: see `memcalc list models`"
            )
        counted = "; memcalc.read counts the tensors of its fields" if isinstance(text, dict) else ""
        remedy = f"give the path of its config.json, or memcalc.source(path){counted}"
        raise BadInputError("SOURCE", expected, text, remedy)
    text = repository_name(os.fspath(text).strip())
    for recognise in RECOGNISERS:
        found = recognise(text)
        if found is not None:
            return found
    expected = "a catalogue name, a path, or owner/name of a Hub repository"
    nearest, named = nearest_names(text), containing(text)
    if len(named) == 1 and named[0].endswith(nearest.removeprefix("did you mean ").removesuffix("?") or "?"):
        raise UnknownNameError("SOURCE", named[0], text, nearest)  # all words are its own
    remedy = "see `memcalc list models`, or download its config.json"
    remedy = f"{nearest} If not: {remedy}" if nearest else remedy
    raise UnknownNameError("SOURCE", expected, text, remedy)


def checkpoint_folder(text: str) -> Source | None:
    """Recognise a folder with a config.json."""
    return folder(text) if os.path.isfile(os.path.join(text, "config.json")) else None


def catalogue_name(text: str) -> Source | None:
    """Recognise a model of the catalogue."""
    name = canonical_name(text)
    return None if name is None else taken(text, name)


def taken(text: str, name: str) -> Source:
    """Return a model of the catalogue, which says for what it is taken where that is another name."""
    found = record(name)
    if key(text) not in map(key, (name, name.partition("/")[2], name.replace("/", " "))):
        found.defaults = (TAKEN.format(text, name),)
    return found


def spelled_freely(text: str) -> Source | None:
    """Recognise a model of the catalogue whatever its letters' case, its owner and its separators.

    Raises
    ------
    UnknownNameError
        Several are called so.

    """
    found = names_by_key().get(key(text), ())
    if len(found) > 1:
        raise UnknownNameError("SOURCE", "the name of one model", text, f"did you mean {' or '.join(found)}?")
    return taken(text, found[0]) if found else None


def relative(text: str) -> Source | None:
    """Recognise a model of the family of one in the catalogue, which has the same shapes.

    Raises
    ------
    UnknownNameError
        The catalogue has several of the family.

    """
    found = relatives(text)
    if len(found) > 1:
        raise UnknownNameError("SOURCE", "the name of one model", text, f"did you mean {' or '.join(found)}?")
    return taken(text, found[0]) if found else None


def folder(text: str) -> Source | None:
    """Recognise any other folder: its config.json, or its weights alone."""
    if not os.path.isdir(text):
        return None
    from memcalc.files.local import from_folder
    from memcalc.files.safetensors import find_weights_file

    files = os.listdir(text)
    alone = [name for name in files if name.endswith((".gguf", ".safetensors"))]
    if len(alone) == 1 and "config.json" not in files:  # nothing else can be meant
        path = os.path.join(text, alone[0])
        return gguf_file(path) or safetensors_file(path)
    weights = find_weights_file(text, files)
    return from_folder(text, text, weights)


def safetensors_file(text: str) -> Source | None:
    """Recognise a safetensors file or index."""
    if not text.endswith((".safetensors", ".safetensors.index.json")):
        return None
    from memcalc.files.local import from_folder, reject_single_shard

    reject_single_shard(text)
    return from_folder(text, os.path.dirname(text), text)


def gguf_file(text: str) -> Source | None:
    """Recognise a GGUF file."""
    if not text.endswith(".gguf"):
        return None
    from memcalc.files.local import from_gguf

    return from_gguf(text)


def config_file(text: str) -> Source | None:
    """Recognise a config.json, whatever it is called."""
    if not (os.path.exists(text) or text.endswith(".json")):
        return None
    from memcalc.files.local import read_config

    return Source(text, read_config(text), text)


def pickled_file(text: str) -> Source | None:
    """Refuse weights that PyTorch pickled: to read them is to run them."""
    if text.endswith((".bin", ".pt", ".pth", ".ckpt")) and (os.path.isfile(text) or not is_repository(text)):
        expected = "a config.json, or weights in .safetensors or .gguf"
        remedy = "PyTorch's .bin and .pt files are not read: give the model's folder or config.json"
        raise BadInputError("SOURCE", expected, text, remedy)
    return None


def hub_repository(text: str) -> Source | None:
    """Recognise a repository of the Hub; where there is none, the nearest catalogue names come first."""
    if not is_repository(text):
        return None
    from memcalc.files.hub import repository

    try:
        return repository(text)
    except (BadInputError, UnknownNameError) as error:
        nearest = nearest_names(text)
        remedy = f"{nearest} If not: {error.remedy}" if nearest else error.remedy
        raise type(error)(error.field, error.expected, error.given, remedy) from None


RECOGNISERS: tuple[Callable[[str], Source | None], ...] = (  # the first that knows a text decides
    checkpoint_folder,
    catalogue_name,
    folder,
    safetensors_file,
    gguf_file,
    pickled_file,
    config_file,
    spelled_freely,
    relative,
    hub_repository,
)


def repository_name(text: str) -> str:
    """Return the owner/name that an address of the Hub means; any other text as it is.

    >>> repository_name("https://huggingface.co/Qwen/Qwen3-4B/tree/main"), repository_name("models/a")
    ('Qwen/Qwen3-4B', 'models/a')
    """
    host, _, path = text.removeprefix("https://").removeprefix("http://").partition("/")
    return "/".join(path.split("/")[:2]) if host in ("huggingface.co", "hf.co") else text


def is_repository(text: str) -> bool:
    """Say whether a text may be a repository of the Hub: owner/name.

    >>> is_repository("Qwen/Qwen3-4B"), is_repository("models/"), is_repository("a/b/c")
    (True, False, False)
    """
    import re

    return re.fullmatch(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9_][\w.-]{0,95}", text, re.ASCII) is not None
