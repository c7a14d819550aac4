"""What would make a plan fit: the smallest change of each kind, tried like any other plan."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from memcalc.data.units import GIB
from memcalc.errors import RefusalError
from memcalc.serving.parallelism import RANKS
from memcalc.serving.plan import resolve, share_free
from memcalc.serving.search import Search, largest, search_of
from memcalc.show.remedy import MOST, Change, Remedy, command_line, machine_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from memcalc.serving.plan import ServingPlan

    Moved = Callable[[int], tuple[str, Mapping[str, int]]]  # so many layers: in words, and as options

__all__ = ["remedies"]

FAR = 2  # times less of a load: then formats and devices are tried before
COUNTS = (*range(1, 17), *range(20, 65, 4))  # of devices that are tried
NODE = 8  # devices of a server
HOSTS = tuple(2**power for power in range(4, 13))  # GiB of host memory that are tried


def remedies(search: Search) -> tuple[Remedy, ...]:
    """Return what makes a plan fit that does not, the gentlest change first.

    A context above the model's own limit is cut to it before anything else is tried.
    """
    plan, start = search.plan, Change("", {})
    if plan.beyond_limit:
        start = within_limit(plan)
        cut = tried(plan, start)
        if cut is None:
            return ()
        search = cut
    found: list[Remedy] = []
    for kind in (*kinds(search), *(() if found else (shorter_in_smaller_weights(search),))):
        then = next((one for change in kind if (one := fitting(plan, start, change))), None)
        if then is not None:
            change, made = then
            command = command_line("serve", plan.source.name, made.plan.options)
            found.append(Remedy(change.words, command, made.total_bytes))
        if len(found) == MOST:
            break
    return tuple(found)


def tried(plan: ServingPlan, change: Change) -> Search | None:
    """Return the search of a plan with some options changed; None where it is refused."""
    try:
        return search_of(resolve(plan.source, replace(plan.options, **change.options)))
    except RefusalError:
        return None


def fitting(plan: ServingPlan, *made: Change) -> tuple[Change, Search] | None:
    """Return changes as one, with what they lead to; None where that does not fit.

    A host that is too small for them, or whose size is not known, is made as large as it has to be.
    """
    options = {name: value for one in made for name, value in one.options.items()}
    lasting = (one.words for one in made if any(options[name] is one.options[name] for name in one.options))
    change = Change(" and ".join(lasting), options)
    then = tried(plan, change)
    unsure = then is not None and (then.verdict != "fits" or then.plan.host_bytes is None)
    if then is not None and unsure and then.host is not None:
        needed, there = then.host.high_bytes, then.plan.host_bytes or 0
        size = next((size for size in HOSTS if size * GIB >= needed), None)
        if needed > there and size is not None:
            text = machine_text(then.plan.on or "", host=size)
            return fitting(plan, change, Change(f"{size:,} GiB of host memory", {"on": text}))
    return None if then is None or then.verdict != "fits" else (change, then)


def within_limit(plan: ServingPlan) -> Change:
    """Return the change to the longest context that the model knows positions for."""
    share = plan.engine.sequence_tokens(plan.context, plan.batch, plan.engine_options)
    return shorter(plan, (plan.model.max_context or 1) * (plan.context // share))


def shorter(plan: ServingPlan, context: int) -> Change:
    """Return the change to a shorter context, and to a prompt that is no longer than it."""
    prompt = None if plan.prompt is None else min(plan.prompt, context)
    return Change(f"a context of {context:,} tokens", {"context": context, "prompt": prompt})


def kinds(search: Search) -> Iterator[Iterable[Change]]:
    """Yield the kinds of changes, each from its gentlest on: of each the first that is enough is taken."""
    if search.verdict == "fits":  # to stay within the model's own limit was enough
        yield [Change("", {})]
        return
    plan, most = search.plan, search.at("most_bytes")
    context, batch = most.max_context(), 0 if plan.engine.shares_context else most.max_batch()
    loads = [
        (plan.context // max(context, 1), [shorter(plan, context)] if 0 < context < plan.context else []),
        (plan.batch // max(batch, 1), [Change(f"a batch of {batch:,}", {"batch": batch})] if batch else []),
    ]
    yield smaller_share(plan)
    yield fewer_sequences(search)
    yield from (changes for times, changes in loads if times < FAR)
    yield smaller_caches(plan)
    yield (Change(f"weights in {name}", {"weights": name}) for name in plan.engine.smaller_weights)
    yield larger_hosts(plan)
    yield more_devices(search)
    yield layers_in_host(plan)
    yield from (changes for times, changes in loads if times >= FAR)


def smaller_share(plan: ServingPlan) -> Iterator[Change]:
    """Yield the share with which an engine starts that asks for more than is free."""
    if plan.machine is not None and (plan.room_at_start("most_bytes") or 0) < 0:
        share = share_free(plan.machine.device)
        yield Change(f"a share of {share:g}", {"utilization": share})


def fewer_sequences(search: Search) -> Iterator[Change]:
    """Yield as many sequences at once as there are blocks for their states, where there are fewer."""
    plan = search.plan
    spare = search.spare_blocks("most_bytes")
    if spare is not None and spare < 0:
        most = plan.engine_options["max_num_seqs"] + spare
        if most >= plan.batch:
            options = {**dict(plan.options.engine_options), "max_num_seqs": most}
            yield Change(f"at most {most:,} sequences at once (max_num_seqs)", {"engine_options": options})


def smaller_caches(plan: ServingPlan) -> Iterator[Change]:
    """Yield the engine's smaller formats of keys and values."""
    for name in plan.engine.smaller_caches:
        if plan.engine.cache_formats[name].bits < plan.kv[0].bits:
            yield Change(f"the KV cache in {name}", {"kv": name})


def larger_hosts(plan: ServingPlan) -> Iterator[Change]:
    """Yield more memory of the host, where it is used and its size is known."""
    for size in HOSTS if plan.host_bytes is not None else ():
        if size * GIB > (plan.host_bytes or 0):
            yield Change(f"{size:,} GiB of host memory", {"on": machine_text(plan.on or "", host=size)})


def layers_in_host(plan: ServingPlan) -> Iterator[Change]:
    """Yield the fewest layers, or GiB of weights, in the host's memory that are enough."""
    for most, way in () if plan.shares_memory else plan.engine.ways_to_host(plan.model):
        given = dict(plan.options.engine_options)

        def moved(kept: int, most: int = most, way: Moved = way, given: dict[str, Any] = given) -> Change:
            words, options = way(most - kept)
            return Change(words, {"engine_options": {**given, **options}})

        yield moved(largest(lambda kept: fitting(plan, moved(kept)) is not None, most - 1, most // 2))


def more_devices(search: Search) -> Iterator[Change]:
    """Yield more of the same devices, used as the engine does where no ranks are asked for."""
    plan = search.plan
    if plan.machine is None or plan.machine.cards:
        return
    usable = max(1, plan.usable_bytes or 1)
    weights = max(one.weight_bytes for one in search.stages)
    device = plan.machine.device.id
    for count in COUNTS:
        if count > plan.machine.count and count * usable >= plan.machine.count * weights:
            options = {**dict.fromkeys(RANKS), "on": machine_text(plan.on or "", device, count)}
            words = f"{count}x {device}"
            yield Change(words, options)
            if count <= NODE and tried(plan, Change(words, options)) is None:
                yield Change(f"{words}, a pipeline stage on each", {**options, "pp": count})
            elif count % NODE == 0:
                yield Change(f"{words}, a stage on {NODE}", {**options, "tp": NODE, "pp": count // NODE})


def shorter_in_smaller_weights(search: Search) -> Iterator[Change]:
    """Yield smaller weights and a shorter context: for what no single change makes fit."""
    plan = search.plan
    for name in plan.engine.smaller_weights:
        then = tried(plan, Change("", {"weights": name}))
        context = 0 if then is None else then.at("most_bytes").max_context()
        if 0 < context < plan.context:
            less = shorter(plan, context)
            yield Change(f"weights in {name} and {less.words}", {"weights": name, **less.options})
