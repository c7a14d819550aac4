"""vLLM's pool where entries stand for several tokens: DeepSeek-V4's caches in blocks of one size.

Every layer keeps a window in blocks of 64 tokens, entries and the indexer's in blocks of 256 tokens, and what
its compressors are at work on as windows of their own, in fp32. Entries of 512 numbers take 584 B: 448 in
fp8, 64 rotated ones in 16 bits, 8 B of scales; the indexer's 132 B. Pages are padded to 576 B. Layers form
groups, of which each has a block of its own; a block is as large as the largest group's pages. Ranks hold all
of it.

Source: vllm-project/vllm, models/deepseek_v4 (get_kv_cache_spec), v1/core/kv_cache_utils.py
(_get_packed_kv_cache_groups), 0.32 as its own classes say it (tests/oracles/record_vllm.py). Before #44454
(2026-06) a block had room for the widest page of each kind in every layer of a group: 0.22 asks 6.66 GiB for
30,000 tokens of Flash and 5.44 GiB for 13,528 (vllm-project/vllm#44376). V4-Pro's block with entries of the
indexer in MXFP4 has 1,315,008 B since #48993 (2026-07).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from memcalc.errors import BadInputError
from memcalc.ledger.tensor import Tensor, ceil_div, least
from memcalc.serving.engines.compressed import POOLED, compressed_parts
from memcalc.serving.engines.vllm_pool import Request

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from memcalc.files.machines import Device
    from memcalc.ledger.model import Model
    from memcalc.serving.engines.base import Engine
    from memcalc.serving.parallelism import ServingParallelism

__all__ = ["BLOCK", "block_for", "blocks_of", "laid_out", "request_of"]

BLOCK, WINDOWED = 256, 64  # tokens of a block of entries, and of a window
STATES = {4: 4, 128: 8}  # tokens of a block of what compressors are at work on, by how many make an entry
ALIGNED = 576
PAGE = "uniform_page"


class Bucket(NamedTuple):
    """Layers' caches that are laid out together: their pages with how many there are, and a block's tokens.

    `window` is None of caches that grow.
    """

    pages: tuple[tuple[int, int], ...]
    block: int
    window: int | None = None

    @property
    def layers(self) -> int:
        """The most caches that have pages of one size."""
        return max(times for _, times in self.pages)

    @property
    def balanced(self) -> bool:
        """Whether there are as many of every size."""
        return len({times for _, times in self.pages}) == 1

    def groups(self, repeats: int) -> int:
        """Return how many groups it becomes where one has so many repeats of its pattern."""
        return ceil_div(self.layers, repeats) if self.balanced else 1

    def bytes_in(self, groups: int) -> int:
        """Return the bytes of the pages of the largest of so many groups."""
        return sum(page * ceil_div(times, groups) for page, times in self.pages)

    def blocks(self, context: int, moving: int) -> int:
        """Return the blocks of a request in one of its groups; `moving` tokens are on their way."""
        if self.window is None:
            return ceil_div(context, self.block)
        return ceil_div(least(context, self.window - 1 + moving), self.block) + 1


def padded(size: int) -> int:
    """Return a page of so many bytes as it is laid out.

    >>> padded(64 * 584), padded(2 * 584)
    (37440, 1728)
    """
    return ceil_div(size, ALIGNED) * ALIGNED


def buckets_of(model: Model) -> tuple[Bucket, ...]:
    """Return the caches of a model's layers: entries, windows, and those of compressors by their rate.

    Raises:
        BadInputError: a rate or a width is one for which no kernel is known.

    """
    entries: dict[int, int] = {}
    states: dict[int, dict[int, int]] = {}
    windows: dict[int, int] = {}
    for part, times in compressed_parts(model):
        windows[part.window] = windows.get(part.window, 0) + times
        rate = part.compress_rate
        sizes = (part.head_dim, part.rope_dim, part.index_dim or 128)
        if sizes != (512, 64, 128) or rate not in (None, *STATES):
            expected = "entries for 4 or 128 tokens, heads of 512 with 64 rotated, 128 of the indexer"
            given = f"{rate}, {part.head_dim} with {part.rope_dim}, {part.index_dim}"
            raise BadInputError("--engine vllm", expected, given, "no kernel of it is known for others")
        if rate is None:
            continue
        for _, size in part.entries:
            page = padded(BLOCK // rate * (584 if size == part.head_dim else 132))
            entries[page] = entries.get(page, 0) + times
            page = padded(4 * STATES[rate] * 2 * part.series * size)
            own = states.setdefault(rate, {})
            own[page] = own.get(page, 0) + times
    found = [Bucket(tuple(entries.items()), BLOCK)] if entries else []
    found += [Bucket(((padded(WINDOWED * 584), times),), WINDOWED, seen) for seen, times in windows.items()]
    for rate, own in states.items():
        seen = 2 * rate if len(own) > 1 else rate  # windows overlap where there is an indexer
        found.append(Bucket(tuple(own.items()), STATES[rate], seen))
    return tuple(found)


def repeats_of(buckets: tuple[Bucket, ...]) -> int:
    """Return how many repeats of their patterns groups have: those that leave the fewest pages empty.

    A pattern of several sizes stays whole; of equally good numbers the largest is taken.

    >>> repeats_of((Bucket(((37440, 43),), 64, 128), Bucket(((32832, 21), (8640, 21)), 4, 8),
    ...             Bucket(((32832, 20),), 8, 128)))
    22
    """
    even = [one.layers for one in buckets if one.balanced]
    whole = [one.layers for one in buckets if one.balanced and len(one.pages) > 1]
    if not whole:
        return max(one.layers for one in buckets)
    choices = range(max(whole), max(even) + 1)
    return min(choices, key=lambda size: (sum(-layers % size for layers in even), -size))


def block_bytes(engine: Engine, buckets: tuple[Bucket, ...]) -> int:
    """Return the bytes of a block: of the largest group, or with room for each kind's widest page."""
    repeats = repeats_of(buckets)
    if engine.since(0, 32):
        return max(
            sum(page * ceil_div(times, one.groups(repeats)) for page, times in one.pages) for one in buckets
        )
    widest = {page for one in buckets if one.window is None for page, _ in one.pages}
    return repeats * sum(widest)


def laid_out(
    engine: Engine, model: Model, ranks: ServingParallelism, drafted: tuple[int, int]
) -> dict[str, int]:
    """Return the bytes of a block.

    Raises:
        BadInputError: it is not understood with these ranks, a draft, or this release.

    """
    if not (engine.since(0, 32) or (engine.since(0, 21) and not engine.since(0, 23))):
        expected = "0.32 or newer, or 0.21 or 0.22, for compressed attention"
        remedy = "its blocks changed twice in between; name another release"
        raise BadInputError("--engine-version", expected, engine.release, remedy)
    for field, number in (("--pp", ranks.pp), ("--dcp", ranks.dcp), ("--draft-tokens", drafted[0] + 1)):
        if number > 1:
            remedy = "how its groups of layers are shared then is not understood yet"
            raise BadInputError(field, "none for compressed attention", number, remedy)
    for part, _ in compressed_parts(model):
        if part.heads % ranks.tp or part.out_groups % ranks.tp:
            expected = f"a divisor of {part.heads} heads and {part.out_groups} groups of them"
            raise BadInputError("--tp", expected, ranks.tp, "vllm cuts them whole; choose another tp")
    return {PAGE: block_bytes(engine, buckets_of(model))}


def block_for(model: Model, device: Device | None, asked: object) -> int:
    """Return the tokens of a block: the kernel's.

    Raises:
        BadInputError: another is asked for, or another kernel is the device's default.

    """
    if asked not in (None, BLOCK):
        remedy = f"the kernel of {model.model_type} takes no other"
        raise BadInputError("--engine-option block_size", str(BLOCK), asked, remedy)
    generation = "9" if device is None else (device.capability or "").partition(".")[0]
    if generation not in ("9", "10"):
        expected = "Hopper or Blackwell of data centers for compressed attention"
        remedy = "other devices have other kernels, whose pages are not understood yet"
        raise BadInputError("--on", expected, device and device.name, remedy)
    return BLOCK


def request_of(engine: Engine, stage: Model, context: int, moving: int) -> Request:
    """Return what a request takes of the pool: since 0.32 two passes may be on their way at once."""
    buckets = buckets_of(stage)
    repeats, at_once = repeats_of(buckets), 2 if engine.since(0, 32) else 1
    groups = [one.groups(repeats) for one in buckets]
    blocks = sum(
        each * one.blocks(context, at_once * moving) for each, one in zip(groups, buckets, strict=True)
    )
    return Request(blocks, sum(groups), full=False, layers=1)


def blocks_of(asked: Request, batch: int, options: Mapping[str, int]) -> Iterator[Tensor]:
    """Yield the blocks that so many requests take."""
    yield Tensor(POOLED, (batch, asked.blocks, options[PAGE]), "cache")
