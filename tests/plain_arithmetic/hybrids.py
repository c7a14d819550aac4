"""Hybrids."""

from __future__ import annotations

import math
import re

from tests.plain_arithmetic import GB, GIB, MIB, fitting, rising

__all__ = ["ANSWERS"]

BF16, FP32 = 2, 4


def pair(q, words=""):
    """The two numbers of a × b, where they stand behind the words."""
    found = re.search(re.escape(words) + r"\D*?([\d,]+) × ([\d,]+)", q.text)
    return [int(one.replace(",", "")) for one in found.groups()]


def expert(q):
    """The bytes of an expert: three matrices of a × b at so many bits."""
    rows, columns = pair(q)
    return 3 * rows * columns * q.after(" at") / 8


def kept(q, layers):
    """The bytes of a token in such layers, keys and values in 16 bits."""
    return 2 * BF16 * layers * q.before("KV heads") * q.after("KV heads of")


def states_worth(q):
    rows, columns = pair(q)
    states = q.before("layers keep, for") * q.after("for each of") * rows * columns
    token = 2 * q.before("layers keep keys") * q.after("values of") * q.after("heads of")
    return states * q.after("numbers in") // (token * float(re.findall(r"in (\d+) bits", q.text)[1]))


def block(q):
    """The least multiple of 16 tokens; a rank has its share of tokens and of states."""
    ranks, (rows, columns) = q.after("TP"), pair(q, "matrices of")
    state = (q.before("channels") * 3 * BF16 + q.before("matrices of") * rows * columns * FP32) / ranks
    token = 2 * q.before("KV heads") / ranks * q.after("KV heads of") * q.before("bits.") / 8
    return next(tokens for tokens in range(16, 10**5, 16) if tokens * token >= state)


def dividing(q):
    heads, experts = q.before("query heads"), q.before("experts in a layer")
    return next(
        one for one in ("8", "16", "32") if one in texts(q) and not heads % int(one) + experts % int(one)
    )


def texts(q):
    return [one.text for one in q.choices]


ANSWERS = {
    "one-expert": lambda q: expert(q) / MIB,
    "experts-in-ram": lambda q: expert(q) * q.before("layers") * q.before("routed experts") / GB,
    "expert-or-context": lambda q: (
        expert(q)
        * q.before("experts of each")
        * q.after("In")
        // (q.before("layers, in") * (q.after("keeps") + q.after("+")) * BF16)
    ),
    "second-socket": lambda q: (q.before("bytes") + q.before("of them in routed")) / GB,
    "servers-by-bytes": lambda q: math.ceil(
        q.before("parameters") * BF16 / (q.before("devices") * q.before("MiB") * MIB * q.before("%") / 100)
    ),
    "ranks-that-divide": dividing,
    "does-64-hold-65": lambda q: next(
        one
        for one in texts(q)
        if f"No: they are {q.before('parameters') * BF16 / GIB:.2f} GiB" == one
        and q.before("parameters") * BF16 > q.before("GiB") * GIB
    ),
    "states-of-deltanet": lambda q: (
        q.before("of the") * q.before("heads") * math.prod(pair(q)) * FP32 * q.before("sequences") / MIB
    ),
    "states-of-mamba": lambda q: (
        q.before("of them Mamba-2")
        * q.before("heads of")
        * q.after("heads of")
        * q.after("a state of")
        * FP32
        * q.before("sequences")
        / MIB
    ),
    "tokens-of-a-hybrid": lambda q: kept(q, q.before("of the")) * q.before("tokens take") / MIB,
    "state-in-tokens": states_worth,
    "past-the-window": lambda q: kept(q, q.after("the other")) * q.before("more tokens") / MIB,
    "cache-with-windows": lambda q: (
        (
            kept(q, q.after("the other")) * q.before("tokens take")
            + kept(q, q.after(": ")) * min(q.after("the last"), q.before("tokens take"))
        )
        / GIB
    ),
    "jamba-period": lambda q: (
        kept(q, q.before("layers; one") / q.after("one in")) * q.before("tokens take") / MIB
    ),
    "block-of-a-hybrid": block,
    "order-of-hybrids": lambda q: rising([kept(one, one.after(": ")) for one in q.choices]),
    "weights-on-a-mac": lambda q: fitting(
        [one.before("billion") * GB * one.before("bits") / 8 for one in q.choices],
        q.before("GiB") * GIB * 0.9,
    ),
    "offload-on-unified": lambda q: "Nothing is saved: CPU and GPU share it",
}
