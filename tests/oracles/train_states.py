"""What optimizers hold for each parameter after one step, and what LoRA trains.

Nothing here knows memcalc: shapes go in, tensors come out.
"""

from __future__ import annotations

from functools import partial

import bitsandbytes
import torch
import transformers
from train import DTYPES, Run, build, lora

# One axis and more; below 4,096 numbers, where 8-bit optimizers stay at 32 bits, at it, and no multiple of
# 256.
SHAPES = (
    (33,),
    (4095,),
    (4096,),
    (5000,),
    (5, 7),
    (64, 64),
    (61, 70),
    (307, 64),
    (128, 300),
    (1, 5000),
    (6, 40, 24),
)
ADAFACTOR = {"lr": 1e-3, "relative_step": False, "scale_parameter": False}
OPTIMIZERS = {
    "torch AdamW foreach": partial(torch.optim.AdamW, foreach=True),
    "torch AdamW for-loop": partial(torch.optim.AdamW, foreach=False),
    "torch AdamW fused": partial(torch.optim.AdamW, fused=True),
    "torch AdamW amsgrad": partial(torch.optim.AdamW, amsgrad=True),
    "torch SGD": partial(torch.optim.SGD, lr=0.1),
    "torch SGD momentum": partial(torch.optim.SGD, lr=0.1, momentum=0.9),
    "torch Adafactor": torch.optim.Adafactor,
    "torch Muon": torch.optim.Muon,
    "transformers Adafactor": partial(transformers.Adafactor, **ADAFACTOR),
    "transformers Adafactor beta1": partial(transformers.Adafactor, **ADAFACTOR, beta1=0.9),
    "bitsandbytes AdamW": bitsandbytes.optim.AdamW,
    "bitsandbytes AdamW8bit": bitsandbytes.optim.AdamW8bit,
    "bitsandbytes Lion": bitsandbytes.optim.Lion,
    "bitsandbytes Lion8bit": bitsandbytes.optim.Lion8bit,
}
MATRICES_ONLY = ("torch Muon",)


def after_a_step(name, dtype, shape, device="cpu"):
    """The state tensors of one parameter, by name, once it was stepped."""
    parameter = torch.nn.Parameter(torch.ones(shape, dtype=DTYPES[dtype], device=device))
    optimizer = OPTIMIZERS[name]([parameter])
    parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    state = optimizer.state[parameter]
    return {key: item for key, item in state.items() if isinstance(item, torch.Tensor)}


def states(name, dtype):
    """For each shape: shape, dtype and bytes of each state tensor."""
    shapes = [shape for shape in SHAPES if len(shape) == 2 or name not in MATRICES_ONLY]
    return {
        "x".join(map(str, shape)): {
            key: ["x".join(map(str, item.shape)), str(item.dtype).removeprefix("torch."), item.nbytes]
            for key, item in after_a_step(name, dtype, shape).items()
        }
        for shape in shapes
    }


def shared(name, dtype):
    """The names of state tensors that two parameters have in common."""
    first, second = (torch.nn.Parameter(torch.ones(64, 80, dtype=DTYPES[dtype])) for _ in range(2))
    optimizer = OPTIMIZERS[name]([first, second])
    first.grad, second.grad = torch.ones_like(first), torch.ones_like(second)
    optimizer.step()
    mine, other = optimizer.state[first], optimizer.state[second]
    tensors = [key for key, item in mine.items() if isinstance(item, torch.Tensor) and item.numel()]
    return [key for key in tensors if mine[key].data_ptr() == other[key].data_ptr()]


# These ask for numbers, or refuse parameters on meta: where their states lie cannot be seen without a GPU.
UNSEEN = ("torch AdamW fused", "torch Adafactor", "bitsandbytes")


def places(name):
    """Where each state tensor lies: with its parameter, or on the host; nothing where it cannot be seen here.

    The parameter lies on meta: what is made without naming a device is made on the CPU.
    """
    if name.startswith(UNSEEN):
        return None
    found = after_a_step(name, "fp32", (61, 70), "meta")
    return {key: "parameter" if item.is_meta else "host" for key, item in found.items()}


RANKS = (8, 16, 64)
TARGETS = ("q_proj,v_proj", "q_proj,k_proj,v_proj,o_proj", "all-linear")


def lora_parameters(fields, rank, targets):
    """How many parameters PEFT trains, and how many tensors they are.

    Adapters are made on meta as well, which is quick. PEFT leaves their dtype alone there: they are counted,
    not weighed.
    """
    model = build(fields, Run())
    with torch.device("meta"):
        lora(model, Run(trained=f"lora {rank} {targets} fp32"))
    trained = [item for item in model.parameters() if item.requires_grad]
    return {"parameters": sum(item.numel() for item in trained), "tensors": len(trained)}
