"""What the program of an implementation is told, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from memcalc.training.autograd.tape import Tape

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from memcalc.ledger.model import Layer, Model
    from memcalc.ledger.tensor import Tensor
    from memcalc.training.autograd.tape import Value

__all__ = ["Adapter", "Implementation", "Lasting", "Loss", "Setting", "everything_trained"]


class Adapter(NamedTuple):
    """Two thin matrices beside a matrix: their rank, and the bytes of one of their numbers."""

    lora_rank: int
    element_bytes: int


def everything_trained(name: str) -> bool:
    """Say that a weight is trained, whatever its name."""
    del name
    return True


@dataclass(frozen=True)
class Setting:
    """One micro-batch on one rank: how much, in which numbers, and what of the model is trained.

    `seq` are the tokens of a sequence that this rank sees (context parallelism has cut them already).
    `element_bytes` is that of the residual stream; with `autocast` the stream has 32 bits, and matrices are
    copied to 16. `trained` and `adapters` know weights by their names inside of a layer
    (``self_attn.q_proj``), or outside of all layers (``lm_head``).
    """

    batch: int
    seq: int
    element_bytes: int = 2
    autocast: bool = False
    attention: str = "flash"
    repeat_kv: bool = False
    dropout: float = 0.0
    experts: str | None = None
    recompute: frozenset[str] = frozenset()
    trained: Callable[[str], bool] = everything_trained
    adapters: Mapping[str, Adapter] = field(default_factory=dict)
    cut: Mapping[str, int] = field(default_factory=dict)
    routed_share: tuple[int, int] = (1, 1)  # ranks that share the experts, ranks that share each expert
    context_ranks: int = 1  # ranks that share a sequence
    context_exchange: str = "p2p"  # what they exchange: keys and values in turn, or (a2a) heads for sequences
    gradient_fusion: bool = True  # matrices add to 32-bit gradients as they multiply (Megatron's default)
    quantised: bool = False  # the frozen matrices of the layers, by bitsandbytes
    fused_head: bool = False  # the loss multiplies by the head itself
    fresh: bool = True
    gradient_bytes: int | None = None

    @property
    def low_bytes(self) -> int:
        """Bytes of a number inside of the matrices."""
        return 2 if self.autocast else self.element_bytes

    def tape(self) -> Tape:
        """Return an empty tape for this rank."""
        return Tape(self.cut, self.fresh, self.gradient_bytes)

    def adapter(self, name: str) -> Adapter | None:
        """Return the adapter beside a matrix, if it has one."""
        return self.adapters.get(name.rpartition(".")[2])


class Loss(NamedTuple):
    """Bytes of the loss for one number of the logits.

    `kept` from the forward pass on, `backward` while the loss runs backwards (beside what is kept); 0 says
    that the gradient takes the place of what is kept. `chunks` run backwards one after the other. `fused`
    makes the gradients of the stream and of the head's matrix in the forward pass: no logits are kept, and
    `chunk` says how many tokens' logits live at once, from the tokens, the vocabulary and the width.
    """

    id: str
    kept: int
    backward: int
    note: str
    source: str
    chunks: int = 1
    parallel: bool = False  # tensor-parallel ranks share the logits; else each has all of them
    fused: bool = False
    chunk: Callable[[int, int, int], int] | None = None


def as_it_is(model: Model, tensor: Tensor) -> tuple[tuple[int, ...] | None, int]:
    """Return the shape of the array that holds a weight, and how many there are: each weight has its own."""
    del model
    return tensor.stored_shape, tensor.copies


class Lasting(NamedTuple):
    """Bytes that an implementation allocates once and keeps from step to step."""

    name: str
    bytes: int
    source: str


@dataclass(frozen=True)
class Implementation:
    """The programs of one implementation.

    `layer` runs a layer on its input and returns the output; `ends` runs what follows the last layer up to
    the logits; `start` runs what precedes the first layer and keeps something, if there is such a thing. They
    write on the tape that they are given. `lasting` names what stays allocated whatever the step does
    (the last argument is CUDA's capability, None where no device was named).
    """

    id: str
    layer: Callable[[Tape, Setting, Layer, Value], Value]
    ends: Callable[[Tape, Setting, Model, Value], Value]
    model_types: frozenset[str] | None
    losses: Mapping[str, Loss]
    default_loss: str
    modules: tuple[str, ...]  # what selective recomputation may name
    default_modules: tuple[str, ...]
    buffers: Callable[[Model], int]  # bytes of what a model keeps beside its weights
    workspace: Callable[[str | None], tuple[int, int, int]]  # of the libraries, by CUDA's capability: a range
    workspace_source: str
    stored: Callable[[Model, Tensor], tuple[tuple[int, ...] | None, int]] = as_it_is
    regimes: frozenset[str] | None = None
    options: frozenset[str] = frozenset()  # of the command, those that mean nothing elsewhere
    experts: str | None = None  # how they are computed, unless it is said
    gradients: str | None = None  # where they lie in a buffer of the implementation's own: their default
    step: str | None = None  # how the optimizer steps, where the implementation has its own default
    dropout: float = 0.0
    vocab_multiple: int = 1
    checkpointed: Callable[[Setting, Model], int] | None = (
        None  # bytes that all checkpoints hold beside their inputs
    )
    optimizers: frozenset[str] | None = None
    start: Callable[[Tape, Setting, Model], Value] | None = None
    lasting: Callable[[Setting, Model, str | None], list[Lasting]] | None = None
    source: str = ""
