"""What SGLang takes of a card where nobody says: its share, the tokens of a pass, the largest captured batch.

Source: sgl-project/sglang, releases 0.4.0 to 0.5.23, python/sglang/srt/server_args.py, and since 0.5.19
python/sglang/srt/arg_groups/memory_hook.py and cuda_graph_hook.py; read 2026-11. The engine looks at what the
driver prints, in MiB.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, NamedTuple

from memcalc.data.units import MIB
from memcalc.ledger.parts.kinds import is_gqa, is_mla

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from memcalc.files.machines import Device
    from memcalc.ledger.model import Model
    from memcalc.serving.parallelism import ServingParallelism

    Reserve = Callable[["Asked"], tuple[float, str]]

__all__ = [
    "NEWEST",
    "NO_CARD",
    "RELEASES",
    "Asked",
    "Release",
    "aiter_factor",
    "memory_of",
    "own_share",
    "prefill_graphs",
    "uses_aiter",
]

NEWEST = "0.5.23"
NO_CARD = 80 * 1024  # where no machine is named: a card of 80 GiB
AITER_CONTEXT, AITER_FACTOR = 8192, 0.85  # of longer contexts its workspace is left room, on AMD
TEXT_ONLY = ("gemma3", "llama4", "step3_vl")  # the vision tower stays off until it is asked for
DEEPSEEK_V3 = ("deepseek_v3", "kimi_k2")  # models of its class


class Card(NamedTuple):
    """What cards of less than `below` MiB get: tokens of a pass, the largest batch in a captured graph.

    `graphs` holds below 4 tensor-parallel ranks, `graphs_of_four` from there on.
    """

    below: float
    chunk: int
    graphs: int
    graphs_of_four: int


class Release(NamedTuple):
    """The rules that hold from a release on.

    `reserve` says what is kept free, `drafts` what for EAGLE and for a draft model of its own (MiB). A
    prefill is captured but for what stands in `eager`; None: it never is. `skips_disabled`: graphs that are
    switched off take nothing. `aiter`: on AMD the share is scaled for the attention's workspace. `windows`:
    gpt-oss has a pool for its windows.
    """

    cards: tuple[Card, ...]
    reserve: Reserve
    drafts: tuple[int, int] = (0, 0)
    eager: frozenset[str] | None = None
    skips_disabled: bool = False
    vision: str = ""
    aiter: bool = False
    windows: bool = False

    def card(self, memory: float) -> Card:
        """Return what a card of this size gets."""
        return next(card for card in self.cards if memory < card.below)


class Asked(NamedTuple):
    """A model on cards of `memory` MiB: what the share depends on. `draft` is ``mtp``, a source or None."""

    release: Release
    model: Model
    device: Device | None
    ranks: ServingParallelism
    options: Mapping[str, int]
    draft: str | None = None

    @property
    def memory(self) -> int:
        """MiB of the card, as its driver prints them."""
        return NO_CARD if self.device is None else memory_of(self.device)

    @property
    def parallel(self) -> int:
        """Ranks that hold one copy of the model."""
        return self.ranks.tp * self.ranks.pp

    @property
    def traits(self) -> Iterator[str]:
        """The words of `Release.eager` that hold."""
        parts = [part for layer in self.model.groups for _, part in layer.parts]
        sparse = any(hasattr(part, "index_heads") for part in parts)
        latent = any(map(is_mla, parts)) and not sparse
        blackwell = self.device is not None and str(self.device.capability).startswith("10.")
        holds = {
            "latent": latent,
            "sparse": sparse,
            "DeepSeek-V3 on Blackwell": blackwell and self.model.model_type in DEEPSEEK_V3,
            "vision": sees(self.model),
            "vision but Kimi's": sees(self.model) and self.model.model_type != "kimi_k25",
            "stages": self.ranks.pp > 1,
            "no CUDA": self.device is not None and self.device.vendor != "NVIDIA",
            "data-parallel attention": self.ranks.attention_dp > 1,
            "draft": bool(self.draft),
        }
        return (word for word, true in holds.items() if true)


def memory_of(device: Device) -> int:
    """Return the MiB that the driver prints, or that a framework sees where that is not known."""
    return device.printed_mib or device.capacity_bytes // MIB


def own_share(asked: Asked) -> tuple[float, str]:
    """Return the share of the card that weights and cache take together, and how it comes about."""
    share, terms = asked.release.reserve(asked)
    if asked.device is None:
        terms += " of a card of 80 GiB, as none is named"
    for factor, cause in ((vision_factor(asked), "a vision tower"), (aiter_factor(asked), "AITER attention")):
        if factor != 1:
            share, terms = share * factor, f"{terms} x {factor:.3g} for {cause}"
    return share, terms


def sees(model: Model) -> bool:
    """Say whether the engine runs the model with its vision tower."""
    return bool(model.vision) and model.model_type not in TEXT_ONLY


def vision_factor(asked: Asked) -> float:
    """Return what a vision tower scales the share by: 0.95, less for towers larger than 24 layers of 1,024.

    One without layers (Gemma 4's unified one) is taken as so large: its config says neither number.
    Source: adjust_mem_fraction_for_vlm; before 0.4.10 one factor for all.
    """
    if not sees(asked.model) or not asked.release.vision:
        return 1
    if asked.release.vision == "one for all":
        return 0.9
    towers = [part for layer in asked.model.vision for _, part in layer.parts if is_gqa(part)]
    layers = sum(layer.times for layer in asked.model.vision if any(is_gqa(part) for _, part in layer.parts))
    ratio = layers * max(tower.width for tower in towers) ** 2 / (24 * 1024**2) if towers else 1
    return 0.95 * max(0.8, min(1.05, 1 - 0.1 * (ratio - 1)))


def aiter_factor(asked: Asked) -> float:
    """Return what AMD's attention kernels scale the share by, also one that is asked for."""
    return AITER_FACTOR if asked.release.aiter and uses_aiter(asked) else 1


def uses_aiter(asked: Asked) -> bool:
    """Say whether AMD's attention kernels run by default, with a context for which they get more room.

    Source: get_default_attn_backend: with latent attention for 16 or 128 heads a rank alone. It is the
    default on all of AMD's devices, but its kernels are those of the MI300 family: others need another one.
    """
    limit = asked.model.max_context
    if asked.device is None or "MI3" not in asked.device.name or limit is None or limit <= AITER_CONTEXT:
        return False
    latent = [part for layer in asked.model.groups for _, part in layer.parts if is_mla(part)]
    return all(part.heads // asked.ranks.tp in (16, 128) for part in latent)


# ---- what is kept free, by release ----


def by_ranks(asked: Asked) -> tuple[float, str]:
    """Return a share that knows the ranks alone."""
    return share_of_ranks(asked.ranks.tp), f"for {asked.ranks.tp} rank(s)"


def by_ranks_and_size(asked: Asked) -> tuple[float, str]:
    """Return the same for cards up to 80 GiB; larger ones take more, and keep 18 GiB free at least."""
    ranks, memory = asked.parallel, asked.memory
    share = share_of_ranks(ranks if memory <= 80 * 1024 else 1)
    if memory > 96 * 1024:
        share = min(share + 48 * 1024 * (1 - share) / memory, (memory - 18 * 1024) / memory)
    return share, f"for {ranks} rank(s) on {memory:,} MiB"


def by_ranks_and_large_size(asked: Asked) -> tuple[float, str]:
    """Return the same but for the largest cards."""
    return (0.79, "above 180,000 MiB") if asked.memory > 180_000 else by_ranks_and_size(asked)


def share_of_ranks(ranks: int) -> float:
    """Return the share of so many ranks: the more, the larger their communicators."""
    steps = ((16, 0.79), (8, 0.81), (4, 0.85), (2, 0.87), (1, 0.88))
    return next(share for least, share in steps if ranks >= least)


def by_card(asked: Asked) -> tuple[float, str]:
    """Return a share that knows classes of cards."""
    ranks, memory = asked.parallel, asked.memory
    if memory < 35 * 1024:
        kept, words = (2.8 + ranks / 10) * 1024, f"2.8 + {ranks} / 10 GiB"
    elif memory < 90 * 1024:
        kept, words = (9.5 + ranks / 2) * 1024, f"9.5 + {ranks} / 2 GiB"
    elif memory < 160 * 1024:
        kept, words = (12 + ranks / 2) * 1024, f"12 + {ranks} / 2 GiB"
    else:
        kept, words = 32 * 1024, "32 GiB"
    terms = [(kept, words), *draft_terms(asked)]
    if asked.ranks.attention_dp > 1:
        terms.append((4 * 1024, "4,096 for data-parallel attention"))
    return rest_of(asked, terms)


def by_chunk(asked: Asked) -> tuple[float, str]:
    """Return what a pass and the captured graphs leave, both by their sizes."""
    chunk, graphs = max(asked.options["chunked_prefill_size"], 2048), asked.options["cuda_graph_max_bs"]
    captures = not (asked.release.skips_disabled and asked.options["disable_cuda_graph"])
    terms = [
        (512.0, "512"),
        (chunk * 1.5, f"1.5 x {chunk:,} tokens a pass"),
        (asked.parallel / 8 * 1024, f"128 x {asked.parallel} rank(s)"),
    ]
    if captures:
        terms.append((graphs * 2.0, f"2 x {graphs} captured sequences"))
    copies = asked.ranks.attention_dp
    if copies > 1:
        each = 4.5 if graphs > 300 else 3
        terms.append((graphs * copies * each, f"{each:g} x {graphs} x {copies} of data-parallel attention"))
    if captures:
        terms.extend(prefill_terms(asked))
    least = 10 * 1024 if asked.memory > 60 * 1024 else 0
    if sum(size for size, _ in terms) < least:
        terms = [(float(least), f"{least:,} at least")]
    return rest_of(asked, [*terms, *draft_terms(asked)])


def prefill_terms(asked: Asked) -> Iterator[tuple[float, str]]:
    """Yield what graphs of a prefill keep free: 8 MiB each, or 1,536 MiB with latent attention."""
    eager = asked.release.eager
    if eager is None or not eager.isdisjoint(asked.traits):
        return
    if any(is_mla(part) for layer in asked.model.groups for _, part in layer.parts):
        yield 1536.0, "1,536 for prefills of latent attention"
        return
    count = prefill_graphs(asked.options["chunked_prefill_size"])
    yield count * 8.0, f"8 x {count} captured prefills"


def prefill_graphs(tokens: int) -> int:
    """Return how many sizes of a prefill up to so many tokens are captured.

    >>> prefill_graphs(8192)
    58
    """
    steps = ((4, 33, 4), (48, 257, 16), (288, 513, 32), (576, 1025, 64), (1280, 4097, 256))
    sizes = (*steps, (4608, tokens + 1, 512))
    return sum(len(range(first, min(end, tokens + 1), step)) for first, end, step in sizes)


def draft_terms(asked: Asked) -> Iterator[tuple[float, str]]:
    """Yield what is kept free for a draft."""
    eagle, standalone = asked.release.drafts
    kept = eagle if asked.draft == "mtp" else standalone
    if asked.draft and kept:
        yield float(kept), f"{kept:,} for the draft"


def rest_of(asked: Asked, terms: list[tuple[float, str]]) -> tuple[float, str]:
    """Return the share that is left, to three digits as the engine rounds it."""
    kept = sum(size for size, _ in terms)
    words = " + ".join(word for _, word in terms)
    return round((asked.memory - kept) / asked.memory, 3), f"1 - ({words}) / {asked.memory:,} MiB"


# ---- the releases ----

FIRST_CARDS = Card(25_000, 2048, 8, 80), Card(inf, 8192, 160, 160)
CARDS_OF_0_4_7 = Card(25_000, 2048, 8, 80), Card(180_001, 8192, 160, 160), Card(inf, 16_384, 160, 160)
CARDS_OF_0_4_8 = (
    Card(35 * 1024, 2048, 8, 80),
    Card(90 * 1024, 8192, 160, 160),
    Card(160 * 1024, 8192, 256, 256),
    Card(inf, 16_384, 512, 512),
)


def later_cards(chunk: int, graphs: int, graphs_of_four: int) -> tuple[Card, ...]:
    """Return the classes since 0.5.3, with what cards of 20 to 35 GiB get."""
    return (
        Card(20 * 1024, 2048, 8, 8),
        Card(35 * 1024, chunk, graphs, graphs_of_four),
        Card(60 * 1024, 4096, 32, 160),
        Card(160 * 1024, 8192, 256, 512),
        Card(inf, 16_384, 512, 512),
    )


CAPTURES_NOT = frozenset({"data-parallel attention", "sparse", "stages", "vision", "no CUDA"})
V0_4_8 = Release(CARDS_OF_0_4_8, by_card, (2048, 2048))
V0_5_3 = Release(later_cards(2048, 16, 80), by_chunk, (2048, 6144), vision="tower", windows=True)
V0_5_5 = V0_5_3._replace(cards=later_cards(2048, 24, 80), aiter=True)
V0_5_10 = V0_5_5._replace(drafts=(4096, 6144), eager=CAPTURES_NOT | {"draft"})
V0_5_14 = V0_5_10._replace(drafts=(0, 0), eager=CAPTURES_NOT, skips_disabled=True)
V0_5_15 = V0_5_14._replace(eager=CAPTURES_NOT - {"stages"} | {"latent"})
V0_5_17 = V0_5_14._replace(eager=frozenset({"latent", "vision", "no CUDA"}))
V0_5_18 = V0_5_14._replace(eager=frozenset({"DeepSeek-V3 on Blackwell", "vision", "no CUDA"}))
V0_5_19 = V0_5_14._replace(
    eager=frozenset({"DeepSeek-V3 on Blackwell", "vision but Kimi's", "no CUDA", "stages"})
)
V0_5_20 = V0_5_19._replace(cards=later_cards(4096, 48, 160))

BEGINNINGS = {
    "0.4.0": Release((Card(25_000, 2048, 8, 8), Card(inf, 8192, 160, 160)), by_ranks),
    "0.4.2": Release(FIRST_CARDS, by_ranks),
    "0.4.6": Release(FIRST_CARDS, by_ranks_and_size),
    "0.4.7": Release(CARDS_OF_0_4_7, by_ranks_and_large_size),
    "0.4.8": V0_4_8,
    "0.4.9": V0_4_8._replace(vision="one for all"),
    "0.4.10": V0_4_8._replace(vision="tower"),
    "0.5.0": V0_4_8._replace(vision="tower", windows=True),
    "0.5.3": V0_5_3,
    "0.5.5": V0_5_5,
    "0.5.7": V0_5_5._replace(windows=False),
    "0.5.8": V0_5_5,
    "0.5.10": V0_5_10,
    "0.5.14": V0_5_14,
    "0.5.15": V0_5_15,
    "0.5.17": V0_5_17,
    "0.5.18": V0_5_18,
    "0.5.19": V0_5_19,
    "0.5.20": V0_5_20,
}


def every_release() -> Iterator[tuple[str, Release]]:
    """Yield all releases up to the newest one that was read, with their rules."""
    rules = BEGINNINGS["0.4.0"]
    for minor, last in (("0.4", 10), ("0.5", 23)):
        for patch in range(last + 1):
            rules = BEGINNINGS.get(f"{minor}.{patch}", rules)
            yield f"{minor}.{patch}", rules


RELEASES = dict(every_release())
