"""Repositories of the Hugging Face Hub, through the optional library huggingface_hub: never their weights.

It fetches a config.json of a few kilobytes and keeps it in its own cache; of weights it reads headers alone.
"""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from memcalc.errors import BadInputError, UnknownNameError
from memcalc.files.local import read_config
from memcalc.files.safetensors import (
    INDEX,
    SINGLE,
    find_weights_file,
    merge_shards,
    read,
    tensor_info,
    total_size,
)
from memcalc.files.source import Source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memcalc.files.safetensors import Header

__all__ = ["repository"]

SECONDS = 5  # to wait for the first answer: a command that is silent for minutes looks broken
BY_HAND = "download its config.json and give its path"


def repository(name: str) -> Source:
    """Return the source that a repository describes; what the cache holds if the network does not answer.

    Raises
    ------
    BadInputError
        The library is missing, or the repository cannot be reached or read.
    UnknownNameError
        There is no such repository.

    """
    try:
        from huggingface_hub import errors
    except ImportError:
        remedy = f"pip install huggingface_hub for repositories of the Hub, or {BY_HAND}"
        raise BadInputError("SOURCE", "a catalogue name or a path", name, remedy) from None
    try:
        with quietly():
            return fetched(name)
    except errors.GatedRepoError:
        remedy = f"accept its terms on the Hub and log in (hf auth login), or {BY_HAND}"
        raise BadInputError("SOURCE", "a repository that you may read", f"{name} (gated)", remedy) from None
    except (errors.RepositoryNotFoundError, errors.HFValidationError):
        remedy = "see `memcalc list models`; a private repository needs a login (hf auth login)"
        raise UnknownNameError("SOURCE", "a catalogue name, a path or a repository", name, remedy) from None
    except errors.LocalEntryNotFoundError:
        given = f"{name} (no answer from the network, nothing in the cache)"
        remedy = f"try again, or {BY_HAND}"
        raise BadInputError("SOURCE", "a repository within reach", given, remedy) from None
    except errors.SafetensorsParsingError:
        raise BadInputError("SOURCE", "safetensors headers", f"others in {name}", BY_HAND) from None
    except (errors.HTTPError, OSError) as error:
        given = f"{name} ({type(error).__name__})"
        raise BadInputError(
            "SOURCE", "a repository within reach", given, f"try again, or {BY_HAND}"
        ) from None


@contextmanager
def quietly() -> Iterator[None]:
    """Fetch without progress bars, and leave them as they were for others."""
    from huggingface_hub import utils

    were = utils.are_progress_bars_disabled()
    utils.disable_progress_bars()
    try:
        yield
    finally:
        if not were:
            utils.enable_progress_bars()


def fetched(name: str) -> Source:
    """Return what a repository describes; its list of files comes first: asking for it never retries."""
    from huggingface_hub import HfApi, errors, hf_hub_download

    try:
        known = HfApi().model_info(name, timeout=SECONDS)
    except errors.HfHubHTTPError:
        raise  # the Hub did answer
    except (errors.OfflineModeIsEnabled, errors.HTTPError, OSError):
        folder = Path(hf_hub_download(name, "config.json", local_files_only=True)).parent
        weights = find_weights_file(str(folder), (path.name for path in folder.iterdir()))
        header = None if weights is None else read(weights)
        return Source(
            name, read_config(str(folder / "config.json")), f"{name}, from the cache", header=header
        )
    files = {file.rfilename for file in known.siblings or ()}
    if "config.json" not in files:
        raise BadInputError("SOURCE", "a repository with a config.json", name, "name the base model")
    for file in ("hf_quant_config.json", "config.json"):
        if file in files:
            path = hf_hub_download(name, file)
    header = stored_header(name) if files & {SINGLE, INDEX} else None
    return Source(name, read_config(path), f"{name} of the Hub at {known.sha}", header=header)


def stored_header(name: str) -> Header:
    """Return the header of a repository's weights, read by requests for the beginnings of its files.

    Raises
    ------
    BadInputError
        A header is damaged, or has a dtype that is not understood.

    """
    from huggingface_hub import HfApi

    said = HfApi().get_safetensors_metadata(name)
    shards = {
        shard: {
            tensor: tensor_info(shard, tensor, one.dtype, list(one.shape), list(one.data_offsets))
            for tensor, one in file.tensors.items()
        }
        for shard, file in said.files_metadata.items()
    }
    return merge_shards(shards, total_size(INDEX, said.metadata))
