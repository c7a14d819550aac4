"""What would make a plan fit: the smallest change of each kind, tried like any other plan."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from memcalc.data.units import GIB, gib
from memcalc.errors import RefusalError
from memcalc.ledger.formats import tensor_bytes
from memcalc.serving.parallelism import RANKS
from memcalc.serving.plan import resolve, share_free
from memcalc.serving.search import Search, largest, search_of
from memcalc.show.remedy import MOST, Change, Remedy, command_line, listed, machine_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from memcalc.serving.plan import ServingPlan

    Fitting = tuple[tuple[Change, ...], Search]
    Moved = Callable[[int], tuple[str, Mapping[str, int]]]  # so many layers: in words, and as options

__all__ = ["remedies"]

FAR = 2  # times less of a load: then formats and devices are tried before
COUNTS = (*range(1, 17), *range(20, 65, 4))  # of devices that are tried
NODE = 8  # devices of a server
DEVICES, HOST = "devices", "host"  # parts of the machine that are changed: both are in the option `on`
HOSTS = tuple(2**power for power in range(4, 13))  # GiB of host memory that are tried


def remedies(search: Search) -> tuple[Remedy, ...]:
    """Return what makes a plan fit that does not, the gentlest change first; nothing in it can be left out.

    A context above the model's own limit is cut to it before anything else is tried.
    """
    plan, start = search.plan, tuple[Change, ...]()
    if plan.beyond_limit:
        start = (within_limit(plan),)
        cut = tried(plan, *start)
        if cut is None:
            return ()
        search = cut
    found: dict[str, Remedy] = {}  # by the command: two changes may come down to one
    for kind in kinds(search):
        then = next((one for change in kind if (one := fitting(plan, *start, change))), None)
        add(found, plan, then)
        if len(found) == MOST:
            break
    if len(found) < MOST:
        both = (fitting(plan, *start, *changes) for changes in shorter_in_smaller_weights(search))
        add(found, plan, next(filter(None, both), None))
    if not found:
        both = (fitting(plan, *start, *changes) for changes in fewer_on_more_devices(search))
        add(found, plan, next(filter(None, both), None))
    return tuple(found.values())


def add(found: dict[str, Remedy], plan: ServingPlan, then: Fitting | None) -> None:
    """Add a remedy without what it does not need."""
    if then is not None:
        changes, made = least_of(plan, then)
        command = command_line("serve", plan.source.name, made.plan.options)
        words = listed(change.words for change in changes)
        found.setdefault(command, Remedy(words + in_host(plan, made), command, made.total_bytes))


def tried(plan: ServingPlan, *changes: Change) -> Search | None:
    """Return the search of a plan with some options changed; None where it is refused."""
    options = {name: value for change in changes for name, value in change.options.items()}
    device, count = options.pop(DEVICES, (None, None))
    host = options.pop(HOST, None)
    if count is not None or host is not None:
        options["on"] = machine_text(plan.on or "", device, count, host)
    try:
        return search_of(resolve(plan.source, replace(plan.options, **options)))
    except RefusalError:
        return None


def fitting(plan: ServingPlan, *changes: Change) -> Fitting | None:
    """Return changes that fit, with what they lead to; a host too small for them is made larger.

    None where they do not fit.
    """
    then = tried(plan, *changes)
    if then is None:
        return None
    if then.verdict == "fits":
        return changes, then
    there, host = then.plan.host_bytes, then.host
    if there is None or host is None or host.high_bytes <= there:
        return None
    size = next((size for size in HOSTS if size * GIB >= host.high_bytes), None)
    return None if size is None else fitting(plan, *changes, larger_host(size))


def least_of(plan: ServingPlan, then: Fitting) -> Fitting:
    """Return changes that fit without those that can be left out."""
    changes, _ = then
    for change in changes:
        others = tuple(one for one in changes if one is not change)
        made = tried(plan, *others) if others else None
        if made is not None and made.verdict == "fits":
            return least_of(plan, (others, made))
    return then


def in_host(plan: ServingPlan, made: Search) -> str:
    """Say what a host whose size is not known holds then, where that is more than before."""
    if made.host is None or made.plan.host_bytes is not None:
        return ""
    before, after = tried(plan), made.host.total_bytes
    more = before is None or before.host is None or after > before.host.total_bytes
    return f" ({gib(after)} of host memory)" if more else ""


def within_limit(plan: ServingPlan) -> Change:
    """Return the change to the longest context that the model knows positions for."""
    share = plan.engine.sequence_tokens(plan.context, plan.batch, plan.engine_options)
    return shorter(plan, (plan.model.max_context or 1) * (plan.context // share))


def shorter(plan: ServingPlan, context: int) -> Change:
    """Return the change to a shorter context, and to a prompt that is no longer than it."""
    if plan.prompt is None or plan.prompt <= context:
        return Change(f"a context of {context:,} tokens", {"context": context})
    return Change(f"a context and a prompt of {context:,} tokens", {"context": context, "prompt": context})


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
    yield smaller_weights(plan)
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
        if len(plan.kv) * plan.engine.cache_formats[name].bits < sum(form.bits for form in plan.kv):
            yield Change(f"the KV cache in {name}", {"kv": name})


def smaller_weights(plan: ServingPlan) -> Iterator[Change]:
    """Yield the engine's formats of weights in which the model is smaller than it is, and by a bit or more.

    Nobody quantises once more to about the same width what is quantised.
    """
    now = stored_bytes(plan)
    for name in plan.engine.smaller_weights:
        change = Change(f"weights in {name}", {"weights": name})
        then = tried(plan, change)
        if then is not None and stored_bytes(then.plan) < now and width(then.plan) < width(plan):
            yield change


def width(plan: ServingPlan) -> int:
    """Return the whole bits of a number in the matrices that are stored in the fewest."""
    stored = {plan.rule(one) for one in plan.model.weights() if one.kind in ("matrix", "expert", "shared")}
    return min(int(form.limit) for form in stored)


def stored_bytes(plan: ServingPlan) -> int:
    """Return the bytes of the model's tensors in their formats."""
    return sum(tensor_bytes(tensor, plan.rule(tensor)) for tensor in plan.model.weights())


def larger_hosts(plan: ServingPlan) -> Iterator[Change]:
    """Yield more memory of the host, where it is used and its size is known."""
    for size in HOSTS if plan.host_bytes is not None else ():
        if size * GIB > (plan.host_bytes or 0):
            yield larger_host(size)


def larger_host(size: int) -> Change:
    """Return the change to a host of so many GiB."""
    return Change(f"{size:,} GiB of host memory", {HOST: size})


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
            ranks = dict.fromkeys(RANKS)
            alone = devices(plan, device, count, ranks)
            yield from [] if alone is None else [alone]
            if count <= NODE and alone is None:
                split = devices(plan, device, count, ranks | {"pp": count})
            elif count % NODE == 0:
                stages = {"pp": count // NODE} if count > NODE else {}
                split = devices(plan, device, count, {**ranks, "tp": NODE, **stages})
            else:
                split = None
            yield from [] if split is None else [split]


def devices(plan: ServingPlan, device: str, count: int, ranks: Mapping[str, int | None]) -> Change | None:
    """Return the change to so many devices; None where that is refused.

    The ranks are said that are asked for then, and those that were asked for and are others then.
    """
    options = {**ranks, DEVICES: (device, count)}
    then = tried(plan, Change("", options))
    if then is None:
        return None
    asked = [name for name in RANKS if ranks[name] is not None or getattr(plan.options, name) is not None]
    said = ", ".join(f"{name} {getattr(then.plan.parallelism, name)}" for name in asked)
    return Change(f"{count}x {device}{f' ({said})' if said else ''}", options)


def shorter_in_smaller_weights(search: Search) -> Iterator[tuple[Change, Change]]:
    """Yield smaller weights and a shorter context: for what no single change makes fit."""
    plan = search.plan
    for change in smaller_weights(plan):
        then = tried(plan, change)
        context = 0 if then is None else then.at("most_bytes").max_context()
        if 0 < context < plan.context:
            yield change, shorter(plan, context)


def fewer_on_more_devices(search: Search) -> Iterator[tuple[Change, Change]]:
    """Yield more devices and a smaller batch on them: for what nothing else makes fit."""
    plan = search.plan
    for change in () if plan.engine.shares_context else more_devices(search):
        then = tried(plan, change)
        batch = 0 if then is None else then.at("most_bytes").max_batch()
        if 0 < batch < plan.batch:
            yield change, Change(f"a batch of {batch:,}", {"batch": batch})
