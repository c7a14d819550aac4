"""What each rank holds: processes on this machine that talk through gloo, each with its own memory.

Nothing here knows memcalc. The vocabulary is odd on purpose: shares of it are not equal.
"""

from __future__ import annotations

from functools import partial

import ranks
import torch
import torch.distributed as dist
from torch import nn
from train import Ledger

WIDTH, INNER, DEPTH, VOCABULARY = 48, 136, 3, 1003
WORLDS = (2, 4)


class Block(nn.Module):
    """Two norms, an output matrix as wide as the stream, a gated MLP with a bias at its end."""

    def __init__(self):
        super().__init__()
        self.norm = nn.RMSNorm(WIDTH)
        self.gate = nn.Linear(WIDTH, INNER, bias=False)
        self.up = nn.Linear(WIDTH, INNER, bias=False)
        self.down = nn.Linear(INNER, WIDTH)

    def forward(self, stream):
        inner = self.norm(stream)
        return stream + self.down(nn.functional.silu(self.gate(inner)) * self.up(inner))


class Small(nn.Module):
    """Embedding, layers, norm, head; by name as its tensors are recorded."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.layers = nn.ModuleList(Block() for _ in range(DEPTH))
        self.norm = nn.RMSNorm(WIDTH)
        self.head = nn.Linear(WIDTH, VOCABULARY, bias=False)

    def forward(self, ids):
        stream = self.embedding(ids)
        for layer in self.layers:
            stream = layer(stream)
        return self.head(self.norm(stream))


def shapes():
    """What the model is made of: names and shapes, before anything is split."""
    with torch.device("meta"):
        return {name: list(item.shape) for name, item in Small().named_parameters()}


def local(item):
    """The part of a tensor that lies on this rank."""
    return item.to_local() if hasattr(item, "to_local") else item


def held_by(items):
    """The bytes of these tensors' own numbers, and of the storages behind them, each once.

    Where the second is more, a tensor is a view that keeps alive what it was cut from.
    """
    parts = [local(item) for item in items]
    behind = {part.untyped_storage()._cdata: part.untyped_storage().nbytes() for part in parts}
    return [sum(part.nbytes for part in parts), sum(behind.values())]


def state_of(optimizer):
    """Its states; the step counters apart."""
    inner = getattr(optimizer, "optim", optimizer)
    values = [value for state in inner.state.values() for key, value in state.items() if key != "step"]
    assert all(isinstance(value, torch.Tensor) for value in values)
    return values


def one_step(model, optimizer):
    """Forward, backward, step; gradients stay."""
    optimizer.zero_grad()
    output = model(torch.arange(32).view(2, 16))
    output = output.full_tensor() if hasattr(output, "full_tensor") else output
    output.float().mean().backward()
    optimizer.step()


def held(model, optimizer):
    """What this rank holds after a step: `held_by` of parameters, gradients and states, and the local shapes.

    Layers are alike: the first stands for all. A gradient of another shape than its parameter stands apart.
    """
    one_step(model, optimizer)
    parameters = {name.removeprefix("module."): item for name, item in model.named_parameters()}
    seen = [name for name in parameters if not name.startswith("layers.") or name.startswith("layers.0.")]
    return {
        "parameters": held_by(parameters.values()),
        "gradients": held_by(item.grad for item in parameters.values()),
        "optimizer": held_by(state_of(optimizer)),
        "dtypes": sorted({str(item.dtype).removeprefix("torch.") for item in parameters.values()}),
        "shapes": {name: list(local(parameters[name]).shape) for name in seen},
        "gradients unlike": {
            name: list(local(parameters[name].grad).shape)
            for name in seen
            if local(parameters[name].grad).shape != local(parameters[name]).shape
        },
    }


def adamw(model):
    return torch.optim.AdamW(model.parameters())


def ddp(*, as_view):
    """Everything whole, and the reducer's buckets, unless gradients are views of them.

    Buckets belong to C++ alone. The ledger follows storages wherever they are: what it still holds once
    parameters, gradients and states are taken off is theirs, and a few bytes of the reducer. Buckets are
    built anew in the second step.
    """
    ledger, small = Ledger(), Small()
    for item in small.parameters():
        ledger.take(item)
    with ledger:
        model = nn.parallel.DistributedDataParallel(small, gradient_as_bucket_view=as_view)
        optimizer = adamw(model)
        one_step(model, optimizer)
        said = held(model, optimizer)
    steps = [state["step"] for state in optimizer.state.values()]
    known = [*model.parameters(), *(item.grad for item in model.parameters()), *state_of(optimizer), *steps]
    return said | {"rest": ledger.held - held_by(known)[1]}


def zero_1():
    from torch.distributed.optim import ZeroRedundancyOptimizer

    model = nn.parallel.DistributedDataParallel(Small())
    return held(model, ZeroRedundancyOptimizer(model.parameters(), optimizer_class=torch.optim.AdamW))


def fsdp_2(*, mixed):
    """`fully_shard` on each layer and the root: the first axis of every tensor is cut."""
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    model = Small()
    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    options = {"mp_policy": policy} if mixed else {}
    for layer in model.layers:
        fully_shard(layer, **options)
    fully_shard(model, **options)
    return held(model, adamw(model))


class Adapted(nn.Module):
    """A frozen matrix with an adapter of two small ones, each a unit of its own, as PEFT wraps them."""

    def __init__(self, unit, note):
        super().__init__()
        self.base = nn.Linear(WIDTH, WIDTH, bias=False).requires_grad_(requires_grad=False)
        self.down, self.up = (unit(nn.Linear(*size, bias=False)) for size in ((WIDTH, 4), (4, WIDTH)))
        self.note = note

    def forward(self, stream):
        self.note()
        return stream + torch.relu(self.base(stream) + self.up(self.down(stream)))


class Stack(nn.Module):
    """Layers that run again in the backward pass."""

    def __init__(self, layers, reentrant):
        super().__init__()
        self.layers, self.reentrant = nn.ModuleList(layers), reentrant

    def forward(self, stream):
        from torch.utils.checkpoint import checkpoint

        for layer in self.layers:
            stream = checkpoint(layer, stream, use_reentrant=self.reentrant)
        return stream.sum()


def fsdp_1(*, reentrant):
    """Streams that this rank holds when each layer runs again, last to first: FSDP 1 with adapters."""
    from torch.distributed.fsdp import FullyShardedDataParallel

    unit, ledger, noted = partial(FullyShardedDataParallel, device_id=torch.device("cpu")), Ledger(), []
    layers = [unit(Adapted(unit, lambda: noted.append(ledger.held))) for _ in range(DEPTH)]
    model = unit(Stack(layers, reentrant))
    tokens = torch.randn(1000, WIDTH, requires_grad=True)
    for _ in range(2):
        noted.clear()
        with ledger:
            model(tokens * 1).backward()
    again = noted[DEPTH:]
    return [(held - again[0]) / (4 * tokens.numel()) for held in again]


def tensor_parallel():
    """Gate and up cut by columns, down by rows, head and embedding by the vocabulary; norms whole."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Replicate
    from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

    plan = {
        "embedding": RowwiseParallel(input_layouts=Replicate()),
        "head": ColwiseParallel(output_layouts=Replicate()),
        "layers.*.gate": ColwiseParallel(),
        "layers.*.up": ColwiseParallel(),
        "layers.*.down": RowwiseParallel(),
    }
    model = parallelize_module(Small(), init_device_mesh("cpu", (dist.get_world_size(),)), plan)
    return held(model, adamw(model))


WAYS = {
    "ddp": partial(ddp, as_view=False),
    "ddp, gradients as views of buckets": partial(ddp, as_view=True),
    "zero-1": zero_1,
    "fsdp2 fp32": partial(fsdp_2, mixed=False),
    "fsdp2 bf16, reduced in fp32": partial(fsdp_2, mixed=True),
    "tensor parallel": tensor_parallel,
}


CHECKPOINTS = {name: partial(fsdp_1, reentrant=name == "reentrant") for name in ("reentrant", "others")}


def every_way(ways):
    """What this rank says of every way."""
    return {name: ask() for name, ask in ways.items()}


def by_way(world, ways=WAYS):
    """What each rank of a world says: way -> a list by rank."""
    said = ranks.ask(world, every_way, ways)
    return {name: [one[name] for one in said] for name in ways}
