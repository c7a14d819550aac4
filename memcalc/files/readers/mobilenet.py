"""MobileNetV5, Gemma 3n's vision tower: convolutions, and late stages with attention between them.

transformers takes it from timm, whose shapes no field changes: "mobilenetv5_300m_enc" of timm 1.0.31, whose
tensors tests/recorded/mobilenetv5.json has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.files.readers.vision import Kernel, Values
from memcalc.ledger.parts import Norm, Part

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memcalc.ledger.model import Named

__all__ = ["ARCHITECTURE", "WIDTH", "mobilenet"]

ARCHITECTURE = "mobilenetv5_300m_enc"
WIDTH = 2048  # of what comes out
ROOT = "vision_tower.timm_model."
# points along a side of the kernel before (0: there is none), inner width, the same of the kernel in between
Residual = tuple[int, int, int]
# heads, their width, whether keys and values are of fewer points
Attention = tuple[int, int, bool]
STAGES: tuple[tuple[int, tuple[Residual | Attention, ...]], ...] = (
    (256, ((3, 768, 5), (5, 1024, 0), (3, 1024, 0), (5, 1024, 0), (3, 1024, 0))),
    (640, ((5, 1536, 5), *((5, 2560, 0),) * 7, (0, 640, 0), *((12, 64, True), (0, 1280, 0)) * 14)),
    (1280, ((5, 3840, 5), *((16, 96, False), (0, 2560, 0)) * 19)),
)


def mobilenet() -> Named:
    """Return the tower's parts.

    >>> sum(tensor.count for _, part in mobilenet() for tensor in part.weights())
    294126912
    """
    found: list[tuple[str, Part]] = [("conv_stem.conv", Kernel((64, 3, 3, 3), bias=True))]
    found.append(("conv_stem.bn", Norm(64)))
    before = 64
    for index, inner in enumerate((256, 512, 512)):
        found += [
            (f"blocks.0.{index}.conv_exp", Kernel((inner, before, 3, 3))),
            (f"blocks.0.{index}.bn1", Norm(inner)),
            (f"blocks.0.{index}.conv_pwl", Kernel((128, inner, 1, 1))),
            (f"blocks.0.{index}.bn2", Norm(128)),
        ]
        before = 128
    for stage, (width, blocks) in enumerate(STAGES, start=1):
        for index, block in enumerate(blocks):
            parts = (
                attention(width, *block) if isinstance(block[2], bool) else residual(before, width, *block)
            )
            scale = ("layer_scale.gamma", Values((width,), "norm"))
            found += [(f"blocks.{stage}.{index}.{name}", part) for name, part in (*parts, scale)]
            before = width
    both = sum(width for width, _ in STAGES[1:])  # the last two stages together
    found += convolution("msfa.ffn.pw_exp", 2 * both, both)
    found += convolution("msfa.ffn.pw_proj", WIDTH, 2 * both)
    found.append(("msfa.norm", Norm(WIDTH)))
    return tuple((f"{ROOT}{name}", part) for name, part in found)


def convolution(name: str, out: int, inputs: int, side: int = 1) -> tuple[tuple[str, Part], ...]:
    """Return a convolution and the norm behind it."""
    return ((f"{name}.conv", Kernel((out, inputs, side, side))), (f"{name}.bn", Norm(out)))


def residual(before: int, width: int, start: int, inner: int, middle: int) -> Iterator[tuple[str, Part]]:
    """Yield an inverted bottleneck; where a kernel has a side, each channel is for itself."""
    if start:
        yield from convolution("dw_start", before, 1, start)
    yield from convolution("pw_exp", inner, before)
    if middle:
        yield from convolution("dw_mid", inner, 1, middle)
    yield from convolution("pw_proj", width, inner)


def attention(width: int, heads: int, each: int, fewer: int) -> Iterator[tuple[str, Part]]:
    """Yield attention whose heads share keys and values."""
    yield "norm", Norm(width)
    yield "attn.query.proj", Kernel((heads * each, width, 1, 1))
    for name in ("key", "value"):
        if fewer:
            yield f"attn.{name}.down_conv", Kernel((width, 1, 3, 3))
            yield f"attn.{name}.norm", Norm(width)
        yield f"attn.{name}.proj", Kernel((each, width, 1, 1))
    yield "attn.output.proj", Kernel((width, heads * each, 1, 1))
