"""Units, what tools print, and traps."""

from __future__ import annotations

import math
import re

from tests.plain_arithmetic import GB, GIB, KIB, MB, MIB, fitting, product, rising, starting

__all__ = ["ANSWERS"]

SEGMENT = 2 * MIB


def weights(choice):
    return choice.before("billion") * GB * choice.after("in") / 8


def workspaces(q):
    """Of each pair of a count and a size in KiB."""
    sizes = re.findall(r"(\d+) × ([\d,]+) KiB", q.text)
    one = sum(int(count) * int(size.replace(",", "")) * KIB for count, size in sizes)
    return one * q.before("streams take") / MIB


def twelve(q):
    """Of a layer's matrices, the share of 12 squares of the width."""
    width, (ffn_width, ffn_height) = q.before("wide"), matrix(q)
    heads, kv_heads, size = (
        q.before("query heads"),
        q.before("key/value heads"),
        q.after("key/value heads of"),
    )
    attention = 2 * width * heads * size + 2 * width * kv_heads * size
    return (attention + 3 * ffn_width * ffn_height) / (12 * width**2)


def matrix(q):
    found = re.search(r"(\d[\d,]*) × (\d[\d,]*)", q.text)
    return [int(one.replace(",", "")) for one in found.groups()]


def thousands(q):
    """What a k of 1,024 takes beyond one of 1,000."""
    count = int(re.search(r"(\d+)k tokens", q.text)[1])
    return count * 24 * q.before("KiB of cache") * KIB / MIB


def lost_to_ecc(q):
    token = q.before("bytes of cache")
    whole = q.before("GiB serves") * GIB
    return whole // 16 // token if whole % 16 == 0 else None


ANSWERS = {
    "gb-to-gib": lambda q: q.before("GB") * GB / GIB,
    "log-says-gb": lambda q: q.after("weights took") * GIB / GB,
    "driver-in-gb": lambda q: q.before("MiB") * MIB / GB,
    "largest-of-three": lambda q: max((one.text for one in q.choices if one.numbers), key=in_bytes),
    "share-of-what": lambda q: q.after("PyTorch sees") * q.before("%") / 100,
    "tokens-lost-to-ecc": lost_to_ecc,
    "matrix-in-gguf": lambda q: product(q) / q.before("numbers, which") * q.before("bytes with") / MIB,
    "cache-in-q8-0": lambda q: q.before("GiB in f16") / 2 / q.before("numbers take") * q.before("bytes. How"),
    "parameters-from-bpw": lambda q: q.after("file size =") * GIB * 8 / q.before("BPW") / GB,
    "context-from-smi": lambda q: q.before("MiB for a process") - q.after("memory_reserved") * 1024,
    "oom-message": lambda q: (
        q.after("total capacity of")
        - q.after("of which")
        - q.before("GiB is allocated")
        - q.after("PyTorch, and")
    ),
    "rounded-to-512": lambda q: (
        q.before("fp32 tensors") * math.ceil(q.before("numbers each") * 4 / 512) * 512 / KIB
    ),
    "segment-of-two-mib": lambda q: math.ceil(product(q) * 2 / SEGMENT) * 2,
    "still-full-after-del": lambda q: starting(q, "PyTorch keeps freed memory"),
    "twelve-l-h-squared": lambda q: 12 * q.before("layers") * q.after("of width") ** 2 / GB,
    "where-twelve-fails": twelve,
    "name-rounds": lambda q: abs(q.before("parameters") - q.after("name says") * GB) * 2 / GB,
    "b-is-no-byte": lambda q: f"About {2 * q.before('B params')} GB",
    "packed-words": lambda q: q.before("billion weights") / 8 + q.before("billion in 16"),
    "untied-head": lambda q: product(q) * q.before("bits") / 8 / MB,
    "characters-to-cache": lambda q: q.before("characters") / 4 * q.before("KiB") * KIB / GIB,
    "eight-thousand-or-8192": thousands,
    "hccl-buffers": lambda q: 2 * q.after("HCCL_BUFFSIZE =") * q.before("communicators"),
    "cublas-workspace": workspaces,
    "foreach-copy": lambda q: q.before("billion") * q.after("all in") / 8 * 5,
    "order-of-formats": lambda q: rising([weights(one) for one in q.choices]),
    "weights-that-fit": lambda q: fitting([weights(one) for one in q.choices], q.before("GiB") * GIB * 0.9),
}


def in_bytes(text):
    """Bytes of a size with its unit."""
    size, unit = re.match(r"([\d,.]+) (\w+)", text).groups()
    return float(size.replace(",", "")) * {"GB": GB, "MiB": MIB, "GiB": GIB}[unit]
