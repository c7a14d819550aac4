"""The convolution before a state, as transformers 5.23 runs it where no kernel is installed.

Read in transformers/models/nemotron_h/modeling_nemotron_h.py and qwen3_5/modeling_qwen3_5.py
(causal_conv1d_fn), held against autograd.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.training.autograd.tape import CACHED

if TYPE_CHECKING:
    from memcalc.training.autograd.base import MicroBatch
    from memcalc.training.autograd.tape import Tape, Value

__all__ = ["convolved_in_steps"]


def convolved_in_steps(
    tape: Tape, micro: MicroBatch, name: str, x: Value, kernel: int, *, bias: bool = False
) -> Value:
    """Convolve with room before the first token, cut what is behind the last one, activate.

    Autocast copies weights of 32 bits to 16, and before it what is convolved is made as wide as they are.
    """
    batch, seq, streams = x.shape
    trained, size, numbers = micro.trained(name), x.element_bytes, streams * kernel
    copies, own, given = {}, (numbers + streams * bias) * size if trained else 0, x
    if micro.copies_matrices:
        given, own = tape.cast(x, 4, "convolution's input in fp32"), 0
        for which, many in (("bias", streams * bias), ("weight", numbers)):
            copy = tape.value(f"{name}.{which} in 16 bits", (many,), size, grad=trained, region="inner")
            step = CACHED if which == "bias" else "copy weights"
            copies[which] = tape.record(step, (), copy, weight_bytes=many * micro.element_bytes)
        given = tape.cast(given, size, "convolution's input in 16 bits again")
    shape = (batch, seq + kernel - 1, streams)
    longer = tape.value("convolved", shape, size, grad=x.grad or trained, region="inner")
    keeps = (given, *(copy for which, copy in copies.items() if which == "weight"))
    tape.record("convolve", (given, *copies.values()), longer, keeps, weight_bytes=own)
    return tape.apply("silu", tape.slice(longer, x.shape, "convolved, cut"), "convolved and activated")
