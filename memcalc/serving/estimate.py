"""The memory that a plan for serving needs."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from memcalc.data.units import Amount, amount, gib
from memcalc.errors import not_read_rows
from memcalc.files.storage import mtp_as_stored
from memcalc.ledger.budget import Budget
from memcalc.ledger.formats import tensor_bytes
from memcalc.serving.plan import plan_fields, resolve
from memcalc.serving.search import LIMIT, Search
from memcalc.serving.stage import (
    allocated_cache_bytes,
    device_budget,
    growing_lines,
    host_budget,
    host_cache,
    host_lines,
    loaded_stages,
    whole_cache_bytes,
)
from memcalc.show.card import Card, in_words
from memcalc.show.shown import Shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from os import PathLike

    from memcalc.files.source import Source
    from memcalc.ledger.budget import PoolBudget
    from memcalc.ledger.model import Model
    from memcalc.serving.engines.base import Engine
    from memcalc.serving.options import ServingOptions
    from memcalc.serving.plan import ServingPlan
    from memcalc.serving.search import KVPool
    from memcalc.serving.stage import LoadedStage
    from memcalc.show.explanation import Explanation
    from memcalc.show.remedy import Remedy

__all__ = ["ServingEstimate", "estimate"]


class ServingEstimate(Shown):
    """What a plan for serving holds on its fullest device and in the host's memory, and what would fit.

    Attributes
    ----------
    plan : ServingPlan
        What was asked for, with everything that was left open filled in.

    """

    def __init__(self, plan: ServingPlan) -> None:
        self.plan = plan

    @property
    def card(self) -> Card:
        """What the shell and Jupyter show of it."""
        plan, engine = self.plan, self.engine
        facts = {
            **not_read_rows(self.model.not_read),
            "class defaults": ", ".join(self.model.class_defaults),
            "names in quantization_config that match no module": ", ".join(plan.unmatched),
            "derived, under these assumptions": plan.assumed,
        }
        kinds = plan.machine.kinds if plan.machine is not None and plan.layers_by_device else ()
        each = zip(self.devices, [f" {device.id}" for device in kinds] or [""], strict=True)
        pools = [(f"fullest of {pool.devices:,}{kind} device(s)", pool) for pool, kind in each]
        if self.host is not None:
            pools.append(("host memory", self.host))
        tokens = f"{plan.batch:,} x {plan.context:,} tokens"
        if engine.shares_context and plan.batch > 1:
            tokens = f"{plan.batch:,} sequences that share {plan.context:,} tokens"
        return Card(
            title=f"{self.model.name}: {tokens}, weights {plan.weights}, {engine.id} {engine.release}",
            facts=tuple(f"{what}: {text}" for what, text in facts.items() if text),
            pools=tuple(pools),
            notes=tuple(notes(self)),
            defaults=plan.defaults,
            verdict=self.verdict or "",
        )

    @property
    def defaults(self) -> tuple[str, ...]:
        """What was chosen where an option was left open, in words, and what the other choice would cost."""
        return (*self.plan.defaults, *setup_words(self.plan))

    @property
    def model(self) -> Model:
        """The model as the engine loads it."""
        return self.plan.model

    @property
    def engine(self) -> Engine:
        """The engine, with the behaviour of its version."""
        return self.plan.engine

    @cached_property
    def stages(self) -> tuple[LoadedStage, ...]:
        """Every pipeline stage that differs from the others, with what one of its devices always holds."""
        return loaded_stages(self.plan)

    @cached_property
    def devices(self) -> tuple[PoolBudget, ...]:
        """The budget of the fullest device of each kind: one, but of unequal devices each its own."""
        plan, fullest = self.plan, {}
        if plan.machine is not None and plan.layers_by_device:
            empty = (device_budget(plan, (), device) for device in plan.machine.kinds)
            fullest = {pool.name: pool for pool in empty}
        for one in self.stages:
            growing = growing_lines(plan, one.rank, plan.batch, plan.context)
            pool = device_budget(plan, (*one.weights, *one.constant, *growing), one.rank.device)
            if pool.name not in fullest or pool.total_bytes > fullest[pool.name].total_bytes:
                fullest[pool.name] = pool
        return tuple(fullest.values())

    @cached_property
    def device(self) -> PoolBudget:
        """The budget of the fullest device, of unequal devices that with the least room."""
        first, *others = self.devices
        return min(self.devices, key=lambda pool: pool.room("bytes") or 0) if others else first

    @cached_property
    def host(self) -> PoolBudget | None:
        """The budget of the host's memory, which all devices share; None with engines that do not use it."""
        plan = self.plan
        if not plan.uses_host:
            return None
        return host_budget(plan, host_lines(plan, host_cache(plan, plan.batch, plan.context)))

    @property
    def budget(self) -> Budget:
        """The budgets of device and host."""
        return Budget(self.devices if self.host is None else (*self.devices, self.host))

    @property
    def fits(self) -> bool | None:
        """Whether every device, and the host, are large enough; None without a machine.

        A host whose size is not given is taken as large enough, and the answer says for what.
        """
        return self.search.answer

    @property
    def verdict(self) -> str | None:
        """Whether the plan fits; None without a machine.

        ``may_not_fit``: with every range at its upper end it does not. A context above the model's own limit
        does not fit, however much memory there is.
        """
        return self.search.verdict

    @property
    def cause(self) -> str | None:
        """Why it does not fit, or may not; None where it does, and without a machine."""
        return self.search.cause

    @cached_property
    def remedies(self) -> tuple[Remedy, ...]:
        """The smallest changes, three at most, with which a plan fits that does not, or may not."""
        if self.verdict in (None, "fits"):
            return ()
        from memcalc.serving.remedies import remedies

        return remedies(self.search)

    def changed(self, source: Source, options: Mapping[str, Any]) -> ServingEstimate:
        """Return the same plan asked again of a source, with some options in another way.

        Parameters
        ----------
        source : Source
            The model: the plan's own, or another.
        options : mapping of str to object
            What is asked for in another way, by name.

        Raises
        ------
        RefusalError
            There is no such plan.

        Examples
        --------
        >>> from memcalc.serving import serve
        >>> served = serve("Qwen/Qwen3-32B", context=8192)
        >>> served.changed(served.plan.source, {"batch": 2}).cache_bytes == 2 * served.cache_bytes
        True

        """
        return estimate(source, replace(self.plan.options, **options))

    @property
    def settings(self) -> dict[str, object]:
        """Every option by name, with what was left open filled in."""
        return plan_fields(self.plan)

    @property
    def explanation(self) -> Explanation:
        """Where its numbers come from, line by line; `memcalc.explain` returns it.

        Raises
        ------
        BadInputError
            There is an answer for each point of a sweep.

        """
        from memcalc.errors import BadInputError, Described
        from memcalc.serving.explained import named_plan
        from memcalc.show.explanation import Explanation
        from memcalc.show.steps import pool_section
        from memcalc.show.traced import Names

        card = self.card
        if not card.pools:
            remedy = "each point is a plan of its own"
            raise BadInputError("explain", "a single plan", Described("a sweep"), remedy)
        pools = self.budget.pools
        traced = {pool.name: pool for pool in ServingEstimate(named_plan(self.plan, Names())).budget.pools}
        headings = zip(card.pools, pools, strict=True)
        return Explanation(
            "serve",
            card.title,
            [pool_section(heading, pool, traced.get(pool.name)) for (heading, _), pool in headings],
            model=self.model.name,
            defaults=self.defaults,
            facts=card.facts,
            conclusion=card.notes,
            answer=self.device.total_bytes,
            said="the fullest device holds {} bytes"
            if len(self.devices) == 1
            else "of unequal devices the one with the least room holds {} bytes",
        )

    @property
    def launch_line(self) -> str:
        """The engine's own command for the plan, quoted for a shell.

        Raises
        ------
        BadInputError
            The engine has no such command, or does not make these weights of the source.

        """
        from memcalc.serving.launch import launch_line

        return launch_line(self.plan)

    @property
    def usable_bytes(self) -> Amount | None:
        """What the engine may use of one device; None without a machine."""
        return self.plan.usable_bytes

    @property
    def weights_file_bytes(self) -> Amount:
        """Tensor bytes of the text model's checkpoint: parameters in their formats.

        Towers, MTP and AutoGPTQ's zero biases are not in it: copies keep them or leave them out. Of a GGUF
        file all tensors, which llama.cpp loads: a router's correction too.
        """
        rule, whole = self.plan.rule, self.engine.reads_gguf
        tensors = (tensor for tensor in self.model.weights() if whole or tensor.kind != "buffer")
        return Amount(sum(tensor_bytes(tensor, rule(tensor)) for tensor in tensors))

    @property
    def not_loaded_bytes(self) -> dict[str, Amount]:
        """Tensor bytes of the checkpoint outside of the text model that the engine does not load.

        Layers for multi-token prediction without their copies of embedding and head unless they draft, the
        vision tower in 16 bits unless the engine has it, buffers such as a router's bias in 32.
        """
        plan, rule, model = self.plan, self.plan.rule, self.model
        loaded = plan.draft is not None and plan.draft.is_mtp
        layers = model.mtp if self.engine.reads_gguf else mtp_as_stored(model.mtp, plan.activation)
        mtp = (tensor for layer in layers for tensor in layer.weights())
        return {
            "mtp": Amount(0 if loaded else sum(tensor_bytes(tensor, rule(tensor)) for tensor in mtp)),
            "vision": Amount(
                0 if plan.counts_vision else model.vision_parameters * plan.activation.bits // 8
            ),
            "buffers": Amount(0 if self.engine.reads_gguf else 4 * model.buffer_values),
        }

    @property
    def cache_bytes(self) -> Amount:
        """The architecture's cache of the whole batch at this context, all devices together."""
        return amount(whole_cache_bytes(self.plan, self.plan.batch, self.plan.context))

    @cached_property
    def search(self) -> Search:
        """Where the largest context and batch are looked for."""
        return Search(self.plan, tuple(one.summed for one in self.stages), self.host)

    @cached_property
    def max_context(self) -> int | None:
        """The longest context that fits with this batch, bounded by memory alone; None without a machine.

        Where memory sets no limit it is the end of the search, 2^40 or more, and null in JSON.
        """
        return None if self.plan.machine is None else self.search.max_context()

    @cached_property
    def max_batch(self) -> int | None:
        """The most sequences that fit at this context, bounded by memory alone; None without a machine.

        Where memory sets no limit it is the end of the search, 2^40 or more, and null in JSON.
        """
        return None if self.plan.machine is None else self.search.max_batch()

    @cached_property
    def kv_pool(self) -> KVPool | None:
        """What is left for the cache, which an engine with a pool takes in advance; None with others."""
        return None if self.plan.machine is None or not self.engine.reserves else self.search.kv_pool()


def estimate(source: str | PathLike[str] | Source, options: ServingOptions) -> ServingEstimate:
    """Return the estimate that options mean for a source, with single numbers for context and batch."""
    return ServingEstimate(resolve(source, options))


def conclusion(served: ServingEstimate) -> str:
    """Return the verdict in words, with its cause, and what it takes of a host whose size is not given."""
    said, host = in_words(served.verdict or "", served.cause), served.host
    if host is None or host.capacity_bytes is not None or served.verdict == "does_not_fit":
        return said
    return (
        f'{said}; the host is taken to have {gib(host.total_bytes)}: --on "... + 512GiB host" says how much'
    )


def notes(served: ServingEstimate) -> Iterator[str]:
    """Yield what follows: the verdict, the pool of the cache, the largest load, what is not counted."""
    if served.plan.machine is not None:
        yield conclusion(served)
    if served.verdict not in (None, "fits"):
        from memcalc.show.remedy import lines

        yield from lines(served.remedies)
    if served.kv_pool is not None:
        left = served.kv_pool
        span = f"({left.low_tokens:,} to {left.high_tokens:,})"
        span += "" if left.concurrency is None else f", {left.concurrency:,.2f} requests of this context"
        tokens = "any number of tokens" if left.tokens >= LIMIT else f"{left.tokens:,} tokens {span}"
        yield f"pool for the KV cache {gib(left.bytes)} a device: {tokens}"
    if served.plan.machine is not None:
        limit = served.model.max_context
        own = "" if limit is None else f"; the model's own limit is {limit:,} tokens"
        longest, most = (
            "any" if (number or 0) >= LIMIT else f"{number or 0:,}"
            for number in (served.max_context, served.max_batch)
        )
        yield f"largest context {longest}, largest batch {most} (memory alone{own})"
    yield from setup_words(served.plan)
    added = {
        words: sum(line.bytes for line in served.device.lines if line.name.startswith(words))
        for words in ("draft weights", "draft KV cache", "LoRA slots")
    }
    if any(added.values()):
        yield ", ".join(f"{words} {gib(size)}" for words, size in added.items() if size) + " (included above)"
    if served.model.vision_parameters:
        included = "included" if served.plan.counts_vision else "not included"
        yield f"vision tower: {served.model.vision_parameters:,} parameters ({included} above)"


def setup_words(plan: ServingPlan) -> Iterator[str]:
    """Yield which way to run the engine was taken, and the cache of the other, where there are two."""
    setup = plan.engine.other_setup(plan.engine_options, plan.batch)
    if setup is not None:
        taken, other, options = setup
        yield f"{taken}; the KV cache with {other}: {gib(allocated_cache_bytes(plan, options))}"
