"""Hybrids of host and card, servers of NPUs, models that keep states, unified memory."""

from __future__ import annotations

import math
import re

from tests.plain_arithmetic import GB, GIB, MIB, fitting, product, rising, starting

__all__ = ["ANSWERS"]

BYTES = {"BF16": 2, "fp32": 4}


def expert(q):
    """The numbers of an expert: three matrices."""
    return 3 * product(q)


def servers(q):
    usable = q.after("server has") * q.before("GiB") * GIB * q.before("%") / 100
    return math.ceil(q.before("parameters, in BF16") * 2 / usable)


def divides(q):
    heads, experts = q.before("query heads"), q.before("experts")
    (found,) = (one.text for one in q.choices if heads % int(one.text) == experts % int(one.text) == 0)
    return found


def of_windows(q, tokens):
    """Bytes of one layer for so many tokens."""
    return 2 * q.before("KV heads") * q.after("KV heads of") * 2 * tokens


def block(q):
    channels, window = q.before("channels"), q.after("the last")
    matrices, head = q.before("matrices of"), product(q)
    state = channels * (window - 1) * 2 + matrices * head * 4
    token = 2 * q.before("KV heads") * q.after("KV heads of") * bits_of_cache(q) / 8
    return math.ceil(state / token / 16) * 16


def kept(choice):
    return choice.after(":") * choice.before("KV heads") * choice.after("KV heads of")


def state(q):
    """Numbers of the states of one sequence: each a square."""
    return q.before("heads") * product(q)


ANSWERS = {
    "one-expert": lambda q: expert(q) * q.before("bits a weight") / 8 / MIB,
    "experts-in-ram": lambda q: (
        q.before("layers") * q.before("routed experts") * expert(q) * q.before("bits a weight") / 8 / GB
    ),
    "expert-or-context": lambda q: moved(q) // token_of_latents(q),
    "second-socket": lambda q: q.after("has") + q.after("of which"),
    "servers-by-bytes": servers,
    "ranks-that-divide": divides,
    "does-64-hold-65": lambda q: (
        starting(q, "No: they are") if two_bytes(q) > seen(q) else starting(q, "Yes")
    ),
    "states-of-deltanet": lambda q: q.numbers[0] * state(q) * 4 * q.before("sequences") / MIB,
    "states-of-mamba": lambda q: (
        q.before("of them Mamba-2")
        * q.after("Mamba-2 with")
        * q.after("heads of")
        * q.after("a state of")
        * 4
        * q.before("sequences")
        / MIB
    ),
    "tokens-of-a-hybrid": lambda q: q.numbers[0] * of_windows(q, q.after("KV cache of")) / MIB,
    "state-in-tokens": lambda q: states_of_linear(q) // kept_of_attention(q),
    "past-the-window": lambda q: q.after("the other") * of_windows(q, q.before("more tokens")) / MIB,
    "cache-with-windows": lambda q: (
        (
            q.numbers[0] * of_windows(q, min(q.after("the last"), q.after("sequence of")))
            + q.after("the other") * of_windows(q, q.after("sequence of"))
        )
        / GIB
    ),
    "jamba-period": lambda q: (
        q.before("layers") // q.after("one in") * of_windows(q, q.after("KV cache of")) / MIB
    ),
    "block-of-a-hybrid": block,
    "order-of-hybrids": lambda q: rising([kept(one) for one in q.choices]),
    "weights-on-a-mac": lambda q: fitting(
        [one.before("billion") * GB * one.after("at") / 8 for one in q.choices], q.before("GiB") * GIB * 0.9
    ),
    "offload-on-unified": lambda _: "Nothing is saved: CPU and GPU share it",
}


def moved(q):
    """Bytes of the experts that move to the card."""
    return q.after("In") * q.numbers[-2] * expert(q) * q.before("bits a weight") / 8


def token_of_latents(q):
    return (q.after("keeps") + q.after("+")) * q.before("layers, in BF16") * 2


def two_bytes(q):
    return q.before("parameters") * 2


def states_of_linear(q):
    """Bits of all states of a sequence."""
    layers, heads = q.before("layers keep, for each"), q.after("for each of")
    return layers * heads * product(q) * q.after("numbers in")


def kept_of_attention(q):
    """Bits of a token's keys and values in all layers."""
    layers, heads, size = q.before("layers keep keys"), q.after("values of"), q.after("heads of")
    return layers * 2 * heads * size * bits_of_cache(q)


def bits_of_cache(q):
    """The last bits that are named."""
    return int(re.findall(r"in (\d+) bits", q.text)[-1])


def seen(q):
    return q.after("PyTorch sees") * GIB
