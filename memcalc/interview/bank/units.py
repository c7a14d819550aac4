"""Questions about units, about what tools print, and traps."""

from __future__ import annotations

from memcalc.interview.template import Row, Template, Wrong

__all__ = ["TEMPLATES"]

TEMPLATES = (
    Template(
        id="gb-to-gib", topic="units", subject="Units", difficulty="easy", by_hand=True,
        title="How many GiB are so many GB?",
        draws={"size": (*range(12, 100, 4), *range(100, 400, 20))},
        question="A file of weights has {size} GB, as its page says. How many GiB of memory is that?",
        steps="file = size * 10**9", unit="GiB",
        wrong=(Wrong("file = size * 2**30", "a GB is 10^9 bytes, a GiB 2^30: 7.4 % more"),),
        hints=("How many bytes is a GB, and how many a GiB?", "Divide by 1.074."),
        further="By how much do TB and TiB differ? (By 10 %.)",
        source="IEC 80000-13; nvidia-smi and PyTorch count in binary units", chapter="bytes",
    ),
    Template(
        id="order-of-formats", topic="units", subject="Formats", difficulty="easy", kind="order",
        title="Which weights are largest?",
        items=tuple({"billions": size, "bits": bits} for size in (1, 4, 8, 14, 70) for bits in (4, 8, 16)),
        question="Order these weights by memory, the smallest first. Scales are not counted.",
        item="{billions} billion parameters in {bits} bits", steps="bytes = billions * 10**9 * bits / 8",
        unit="GB", hints=("Parameters times bits, divided by eight.",),
        further="What do scales add to a 4-bit format? (0.125 to 0.5 bits a parameter.)",
        source="the definition of a byte", chapter="bytes",
    ),
    Template(
        id="weights-that-fit", topic="units", subject="Rules of thumb", difficulty="easy", kind="fits",
        title="Which weights fit on this card?",
        draws={"device": ("rtx-3090", "rtx-5090", "a100-80g", "h200-141g")},
        items=tuple({"billions": size, "bits": bits} for size in (4, 8, 14, 70, 120) for bits in (4, 8, 16)),
        question="A card has {capacity:GiB}. Which of these weights fit into nine tenths of it?",
        item="{billions} billion parameters in {bits} bits", steps="bytes = billions * 10**9 * bits / 8",
        unit="GiB", capacity="capacity * 0.9", hints=("Parameters times bits, divided by eight.",),
        further="What else needs room? (The KV cache, a pass, and the driver.)",
        source="public logs of nvidia-smi for the card's size", chapter="on_a_napkin",
    ),
    Template(
        id="mistakes-in-bytes", topic="units", subject="Rules of thumb", difficulty="easy", kind="mistakes",
        title="Find the mistakes: bytes a parameter", take=3,
        question="Which of these statements are wrong?",
        rows=(Row("fp32 takes 4 bytes a parameter"), Row("bf16 takes 2 bytes a parameter"),
              Row("fp8 takes 1 byte a parameter"),
              Row("int4 takes 4 bytes a parameter", "4 bits are half a byte")),
        hints=("A byte has eight bits.",), further="And NF4? (4.5 bits with its scales.)",
        source="the definition of a byte", chapter="bytes",
    ),
    Template(
        id="why-units-differ", topic="units", subject="Units", difficulty="easy", kind="explain",
        title="Why do two tools print two sizes for one file?",
        question="A page says 65.5 GB, and a tool says 61.0 GiB for the same file. Explain in one line.",
        because="One counts in 10^9 bytes and the other in 2^30; the bytes are the same.",
        points=("GB is 10^9 bytes", "GiB is 2^30 bytes"), hints=("How many bytes is a GB?",),
        further="Which of them does nvidia-smi print? (MiB.)", source="IEC 80000-13", chapter="bytes",
    ),
)  # fmt: skip
