"""Units and traps."""

from __future__ import annotations

import math
import re

from tests.plain_arithmetic import GB, GIB, MIB, fitting, rising

__all__ = ["ANSWERS"]

KIB = 1024
MB = 10**6


def weights(choice):
    return choice.before("billion") * GB * choice.after("in") / 8


def product(q, words):
    """The product of a × b behind the words."""
    found = re.search(re.escape(words) + r" ([\d,]+) × ([\d,]+)", q.text)
    return math.prod(int(one.replace(",", "")) for one in found.groups())


def largest(q):
    """The choice with the most bytes."""
    sizes = {"MiB": MIB, "GiB": GIB, "GB": GB}
    counted = [one for one in q.choices if one.numbers]
    return max(counted, key=lambda one: one.numbers[0] * sizes[re.search("MiB|GiB|GB", one.text)[0]]).text


def times(q):
    width = q.before("wide")
    attention = 2 * width * q.before("query heads") * q.before("numbers, and")
    shared = 2 * width * q.before("key/value heads") * q.before("numbers, and")
    return (attention + shared + 3 * product(q, "matrices of")) / (12 * width * width)


def workspace(q):
    large = product(q, "here")
    return (large + 8 * 16) * KIB * q.before("streams take") / MIB


ANSWERS = {
    "gb-to-gib": lambda q: q.before("GB") * GB / GIB,
    "log-says-gb": lambda q: q.after("took") * GIB / GB,
    "driver-in-gb": lambda q: q.before("MiB") * MIB / GB,
    "largest-of-three": largest,
    "share-of-what": lambda q: q.after("PyTorch sees") * MIB * q.before("%") / 100 / GIB,
    "tokens-lost-to-ecc": lambda q: q.after("A card of") * GIB // 16 // q.before("bytes of cache"),
    "matrix-in-gguf": lambda q: (
        product(q, "a matrix of") / q.after("blocks of") * q.after("which take") / MIB
    ),
    "cache-in-q8-0": lambda q: q.before("GiB in f16") * q.before("bytes") / (32 * 2),
    "parameters-from-bpw": lambda q: q.before("GiB") * GIB * 8 / q.before("BPW") / GB,
    "context-from-smi": lambda q: q.before("MiB") - q.after("memory_reserved") * 1024,
    "oom-message": lambda q: (
        q.after("capacity of")
        - q.before("GiB is free")
        - q.before("GiB is allocated")
        - q.before("GiB is reserved")
    ),
    "rounded-to-512": lambda q: (
        q.before("fp32 tensors") * math.ceil(q.before("numbers each") * 4 / 512) * 512 / KIB
    ),
    "segment-of-two-mib": lambda q: math.ceil(product(q, "matrix of") * 2 / (2 * MIB)) * 2,
    "still-full-after-del": lambda q: "PyTorch keeps freed memory for itself",
    "twelve-l-h-squared": lambda q: q.before("layers") * (4 + 2 * 4) * q.after("of width") ** 2 / GB,
    "where-twelve-fails": times,
    "name-rounds": lambda q: abs(2 * q.before("parameters") - 2 * GB * q.before("billion")) / GB,
    "b-is-no-byte": lambda q: f"About {2 * q.before('B params')} GB",
    "packed-words": lambda q: q.before("billion weights") / 8 + q.before("billion in 16"),
    "untied-head": lambda q: product(q, "embedding of") * q.before("bits") / 8 / MB,
    "characters-to-cache": lambda q: q.before("characters") / 4 * q.before("KiB") * KIB / GIB,
    "eight-thousand-or-8192": lambda q: q.after("says") * (1024 - 1000) * q.before("KiB") * KIB / MIB,
    "hccl-buffers": lambda q: 2 * q.after("HCCL_BUFFSIZE =") * q.before("communicators"),
    "cublas-workspace": workspace,
    "foreach-copy": lambda q: (4 + 1) * q.before("billion") * GB * q.before("bits") / 8 / GB,
    "order-of-formats": lambda q: rising([weights(one) for one in q.choices]),
    "weights-that-fit": lambda q: fitting([weights(one) for one in q.choices], q.before("GiB") * GIB * 0.9),
}
