"""Repositories of the Hugging Face Hub, through the optional library huggingface_hub: never their weights.

It fetches a config.json of a few kilobytes and keeps it in its own cache; of weights it reads headers alone.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from memcalc.config import load
from memcalc.errors import BadInputError
from memcalc.safetensors import beside, read, stated, together
from memcalc.sources import Source, described

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memcalc.safetensors import Header

__all__ = ["repository"]

SECONDS = 5  # to wait for an answer: nobody watches a command that says nothing for minutes
BY_HAND = "or download its config.json and give its path"


def repository(name: str) -> Source:
    """Return the source that a repository describes; what the cache holds if the network does not answer.

    Raises:
        BadInputError: the library is missing, the repository is, or it cannot be reached.

    """
    try:
        import huggingface_hub
        from huggingface_hub import errors
    except ImportError:
        remedy = f"pip install memcalc[hub] for Hub repositories, {BY_HAND}"
        raise BadInputError("SOURCE", "a catalogue name or a path", name, remedy) from None
    try:
        with quietly():
            path = huggingface_hub.hf_hub_download(name, "config.json", etag_timeout=SECONDS)
            if "quantization_config" not in load(path):
                fetch_if_there(name, "hf_quant_config.json")
            weights = header(name, Path(path).parent)
        return Source(name, described(path), f"Hub repository {name}", header=weights)
    except errors.GatedRepoError:
        remedy = f"accept its licence on the Hub and log in (hf auth login), {BY_HAND}"
        raise BadInputError("SOURCE", "a repository that you may read", f"{name} (gated)", remedy) from None
    except errors.RepositoryNotFoundError:
        remedy = "check the name; a private repository needs a login (hf auth login)"
        raise BadInputError("SOURCE", "a catalogue name, a path or a repository", name, remedy) from None
    except errors.LocalEntryNotFoundError:
        given = f"{name}: the network did not answer, and its cache has no config.json"
        raise BadInputError("SOURCE", "a repository within reach", given, f"try again, {BY_HAND}") from None
    except errors.EntryNotFoundError:
        given = f"{name}, which has none"
        raise BadInputError("SOURCE", "a repository with a config.json", given, "check the name") from None
    except (errors.HfHubHTTPError, OSError) as error:
        given = f"{name} ({type(error).__name__})"
        raise BadInputError("SOURCE", "a repository within reach", given, f"try again, {BY_HAND}") from None


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


def fetch_if_there(name: str, file: str) -> None:
    """Fetch a file that most repositories do not have; without a network what lies in the cache counts."""
    import huggingface_hub
    from huggingface_hub import errors

    with suppress(errors.EntryNotFoundError):
        huggingface_hub.hf_hub_download(name, file, etag_timeout=SECONDS)


def header(name: str, cached: Path) -> Header | None:
    """Return the header of a repository's weights; without a network that of files in the cache, if any.

    Raises:
        BadInputError: a header is damaged, or has a dtype that is not understood.

    """
    import huggingface_hub
    from huggingface_hub import errors

    try:
        said = huggingface_hub.HfApi().get_safetensors_metadata(name)
    except errors.NotASafetensorsRepoError:
        return None
    except errors.SafetensorsParsingError:
        raise BadInputError(
            "SOURCE", "safetensors headers", f"others in {name}", BY_HAND.removeprefix("or ")
        ) from None
    except errors.HfHubHTTPError:
        raise  # the Hub did answer: what it said is told by the caller
    except (errors.OfflineModeIsEnabled, errors.HTTPError, OSError):
        weights = beside(str(cached), (path.name for path in cached.iterdir()))
        return None if weights is None else read(weights)
    size = (said.metadata or {}).get("total_size")
    return together(
        {
            shard: {
                tensor: stated(shard, tensor, info.dtype, list(info.shape), list(info.data_offsets))
                for tensor, info in of_shard.tensors.items()
            }
            for shard, of_shard in said.files_metadata.items()
        },
        size,
    )
