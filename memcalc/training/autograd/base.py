"""What the program of an implementation is given, and what every implementation answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import field
from typing import TYPE_CHECKING, NamedTuple

from memcalc.data.record import Record, record
from memcalc.training.autograd.architecture import LLAMA, Architecture
from memcalc.training.autograd.tape import Tape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from memcalc.data.constants import Measured
    from memcalc.ledger.model import Layer, Model
    from memcalc.ledger.registry import Registry
    from memcalc.ledger.tensor import Tensor
    from memcalc.training.autograd.tape import Value
    from memcalc.training.parallelism import TrainingParallelism

__all__ = ["Adapter", "Implementation", "Loss", "MicroBatch", "PersistentBuffer", "everything_trained"]


class Adapter(NamedTuple):
    """The two low-rank matrices of LoRA for one matrix: their rank, and the bytes of one of their numbers.

    With `dora` there is a magnitude for each row of the matrix, too.
    """

    lora_rank: int
    element_bytes: int
    dora: bool = False


def everything_trained(name: str) -> bool:
    """Say that a weight is trained, whatever its name."""
    del name
    return True


@record
class MicroBatch(Record):
    """One micro-batch on one rank: how much, in which numbers, and what of the model is trained.

    `seq` are the tokens of a sequence on this rank (context parallelism has cut them already).
    `element_bytes` is that of weights and residual stream; with `autocast` what is wider than 16 bits is
    copied to 16 for each product. `trained` and `adapters` know weights by their names inside of a layer
    (``self_attn.q_proj``), or outside of all layers (``lm_head``). `cut` gives the ranks that share each
    region of the tape.
    """

    batch: int
    seq: int
    element_bytes: int = 2
    autocast: bool = False
    attention: str = "flash"
    repeat_kv: bool = False
    dropout: float = 0.0  # of attention's weights; of all that Megatron drops
    hidden_dropout: float = 0.0  # of what branches give
    embedding_dropout: float = 0.0  # of the embedded tokens
    adapter_dropout: float = 0.0  # of what adapters are given
    experts: str | None = None
    state_kernels: str = "fused"  # of layers that keep a state: fused, or steps of torch
    trained: Callable[[str], bool] = everything_trained
    adapters: Mapping[str, Adapter] = field(default_factory=dict)
    cut: Mapping[str, int] = field(default_factory=dict)
    routed_share: tuple[int, int] = (1, 1)  # ranks that share the experts, ranks that share each expert
    context_ranks: int = 1  # ranks that share a sequence
    context_exchange: str = "p2p"  # what they exchange: keys and values in turn, or (a2a) heads for sequences
    gradient_fusion: bool = True  # matrices add to 32-bit gradients as they multiply (Megatron's default)
    quantised: str | None = None  # the frozen matrices of the layers: bitsandbytes, gptq or awq
    quantised_experts: bool = False  # their stacked arrays, by bitsandbytes' parametrization
    fused_head: bool = False  # the loss multiplies by the head itself
    embeds_grad: bool = False  # the embedded tokens are asked for a gradient, whatever is trained
    head_tokens: int | None = None  # the head is given the last tokens of a sequence; None: all of them
    architecture: Architecture = LLAMA  # how the model differs from it
    fresh: bool = True  # gradients of weights are made in the backward pass, and stay

    @property
    def low_bytes(self) -> int:
        """Bytes of a number inside of the matrices."""
        return 2 if self.autocast else self.element_bytes

    @property
    def copies_matrices(self) -> bool:
        """Whether autocast copies the model's own matrices: they have 32 bits."""
        return self.autocast and self.element_bytes == 4

    def tape(self) -> Tape:
        """Return an empty tape for this rank."""
        return Tape(self.cut, fresh=self.fresh)

    def adapter(self, name: str) -> Adapter | None:
        """Return the adapter of a matrix, if it has one."""
        return self.adapters.get(name.rpartition(".")[2])


@record
class Loss(Record):
    """Bytes of the loss for one number of the logits.

    `kept` from the forward pass on, `backward` while the loss runs backwards (beside what is kept); 0 says
    that the gradient takes the place of what is kept. `chunks` run backwards one after the other. `fused`
    makes the gradients of the stream and of the head's matrix in the forward pass: no logits are kept, and
    `chunk` says how many tokens' logits live at once, from the tokens, the vocabulary and the width.

    `shifted` losses drop the last token of each sequence from the logits, which copies those of several
    sequences. While one runs forward 32-bit logits live beside what is kept, and, if `made_wide` is false,
    those of the head, too; `made_wide` says that the model hands on logits in 32 bits.
    """

    id: str
    kept: int
    backward: int
    note: str
    source: str
    chunks: int = 1
    parallel: bool = False  # tensor-parallel ranks share the logits; else each has all of them
    fused: bool = False
    shifted: bool = False
    made_wide: bool = False
    chunk: Callable[[int, int, int], int] | None = None


class PersistentBuffer(NamedTuple):
    """Bytes that an implementation allocates once and keeps from step to step."""

    name: str
    bytes: int
    source: str


class Implementation(ABC):
    """The programs of one implementation, and what it keeps of its own.

    A subclass says which losses and modules it knows, and runs layers on the tape that it is given.
    None for `regimes` means all of them.
    """

    id: str
    source: str
    regimes: frozenset[str] | None = None
    losses: Registry[Loss]
    default_loss: str
    modules: tuple[str, ...]  # what selective recomputation may name
    default_modules: tuple[str, ...]
    options: frozenset[str] = frozenset()  # of the command, those that mean nothing elsewhere
    release: str | None = None  # whose code the programs are, where releases differ
    experts: str | None = None  # how they are computed, unless it is stated
    gradients: str | None = None  # their numbers, where they lie in a buffer of the implementation's own
    optimizer_step: str | None = None  # how the optimizer steps, where the implementation has its own default
    dropout: float = 0.0
    vocab_multiple: int = 1

    def loss(self, name: str, release: str | None) -> Loss:
        """Return a loss by name, as a release of the implementation has it (None: the newest)."""
        del release
        return self.losses[name]

    def hand_out(self, tape: Tape, micro: MicroBatch, model: Model, x: Value) -> None:
        """Run what gives layers values of their own, before the first layer, if something does."""
        del tape, micro, model, x

    @abstractmethod
    def layer(self, tape: Tape, micro: MicroBatch, layer: Layer, x: Value) -> Value:
        """Run a layer on its input, and return its output.

        Raises
        ------
        BadInputError
            The layer has a part that the program does not know.

        """

    @abstractmethod
    def ends(self, tape: Tape, micro: MicroBatch, model: Model, x: Value) -> Value:
        """Run what follows the last layer, up to the logits."""

    def start(self, tape: Tape, micro: MicroBatch, model: Model) -> None:
        """Run what precedes the first layer, if it keeps something."""
        del tape, micro, model

    @abstractmethod
    def buffers(self, model: Model, micro: MicroBatch | None = None) -> int:
        """Return the bytes of what a model keeps besides its weights."""

    @abstractmethod
    def workspace(self, capability: str | None) -> Measured:
        """Return the bytes of the libraries' workspaces, by CUDA's capability (None: no device named)."""

    def checkpointed(self, micro: MicroBatch, model: Model) -> int:
        """Return the bytes that all checkpoints hold together, besides their inputs."""
        del micro, model
        return 0

    def masks(self, micro: MicroBatch, layer: Layer) -> dict[str, int]:
        """Return the bytes, by name, of what checkpoints of layers of one kind hold together."""
        del micro, layer
        return {}

    def handed_on(self, micro: MicroBatch, layer: Layer) -> int:
        """Return the bytes that a layer makes for the one behind it, whose checkpoint holds them."""
        del micro, layer
        return 0

    def persistent(
        self, micro: MicroBatch, model: Model, capability: str | None
    ) -> Iterator[PersistentBuffer]:
        """Yield what stays allocated whatever the step does, for the layers of a stage."""
        del micro, model, capability
        yield from ()

    def stored(self, model: Model, tensor: Tensor) -> tuple[tuple[int, ...] | None, int]:
        """Return the shape of the array that holds a weight, and how many there are.

        The shape is None where the weight is part of another one's array.
        """
        del model
        return tensor.stored_shape, tensor.copies

    def as_built(self, model: Model, fields: Mapping[str, object]) -> Model:
        """Return the model with its matrices as the implementation stores them, by what config.json says."""
        del fields
        return model

    def check_parallelism(self, model: Model, parallel: TrainingParallelism) -> None:
        """Refuse ranks that the program does not list for this model.

        Raises
        ------
        BadInputError
            What such ranks keep is not modelled.

        """
        del model, parallel
