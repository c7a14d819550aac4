"""One training step of transformers and PEFT, and what is held at each of its moments.

Nothing here knows what memcalc derives: a model and a run go in, bytes come out. On fake tensors, which have
a shape, a dtype and a storage of so many bytes and no numbers, the whole step of an 8B model runs in seconds
on any machine; on a GPU it is the same step with numbers.

Said once, and true of every figure of fake tensors: they lie on the CPU, because a CPU build of torch
refuses gradients of any other fake device; so the `step` scalars of an optimizer (4 bytes each) are counted
too. What a kernel allocates for itself while it runs is not seen. What is dropped is dropped by one kernel,
as on GPUs. There is no padding, so no mask but the causal one. Autocast follows the lists of the CPU, but
for powers, LayerNorm and softplus, which that of GPUs gives 32 bits. GPT-2's norms keep mean and deviation
in the dtype of their input; the same norm on a GPU keeps both in 32 bits (torch's own decomposition asks for
the device).
"""

from __future__ import annotations

import contextlib
import re
import warnings
import weakref
from dataclasses import asdict, dataclass
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest import mock

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only
from transformers.integrations.sdpa_attention import repeat_kv
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["DeviceMemory", "Ledger", "Run", "build", "real_step", "traced_step"]

DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}
Moments = dict[str, dict[str, int]]


def flash(
    module: Any,
    query: Any,
    key: Any,
    value: Any,
    attention_mask: Any,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    repeated: bool = False,
    **_: Any,
) -> tuple[Any, None]:
    """The fused kernel of torch: it keeps queries, keys, values, output, log-sum-exp and 24 bytes of state.

    Keys and values go in as they are (`flash`), or copied to every query head before (`repeated`): what
    transformers' `sdpa` did before torch took grouped heads, and does where it has a mask. Under autocast the
    callers of fused attention cast to its dtype, which this operator, being below autocast, does not do by
    itself.
    """
    if attention_mask is not None:
        raise NotImplementedError("the kernel has no mask but the causal one")
    if repeated:
        key, value = (repeat_kv(item, query.shape[1] // key.shape[1]) for item in (key, value))
    kind = query.device.type
    if torch.is_autocast_enabled(kind):
        query, key, value = (item.to(torch.get_autocast_dtype(kind)) for item in (query, key, value))
    elif hasattr(module.config, "_is_quantized"):  # as transformers' flash_attention_forward does
        query, key, value = (item.to(module.config.dtype) for item in (query, key, value))
    width = value.shape[-1]
    if width != query.shape[-1]:  # as transformers' flash_attention_forward does
        value = torch.nn.functional.pad(value, [0, query.shape[-1] - width])
    attend = torch.ops.aten._scaled_dot_product_flash_attention
    output = attend(query, key, value, dropout, is_causal=True, return_debug_mask=False, scale=scaling)[0]
    return output[..., :width].transpose(1, 2).contiguous(), None


def efficient(
    module: Any, query: Any, key: Any, value: Any, mask: Any, *, scaling: float | None = None, **_: Any
) -> tuple[Any, None]:
    """The memory-efficient kernel, as scaled_dot_product_attention calls it on GPUs where there is a mask.

    torch 2.13, aten/src/ATen/native/transformers/attention.cpp: convert_boolean_attn_mask, preprocess_mask.
    """
    del module
    kind = query.device.type
    if torch.is_autocast_enabled(kind):
        query, key, value = (item.to(torch.get_autocast_dtype(kind)) for item in (query, key, value))
    zero = torch.zeros((), dtype=query.dtype)
    bias = torch.where(mask, zero, torch.full_like(zero, float("-inf")))
    tokens = bias.shape[-1]
    if tokens % 8:
        bias = torch.nn.functional.pad(bias, [0, -tokens % 8])[..., :tokens]
    bias = bias.expand(*query.shape[:-1], tokens)
    attend = torch.ops.aten._scaled_dot_product_efficient_attention
    output = attend(query, key, value, bias, compute_log_sumexp=True, scale=scaling)[0]
    return output.transpose(1, 2).contiguous(), None


def kernel_dropout(x: Any, p: float = 0.5, training: Any = 1, inplace: Any = 0) -> Any:
    """Drop as GPUs do: one kernel keeps a byte a number; on a CPU it is noise as wide as x."""
    del inplace
    return torch.native_dropout(x, p, train=True)[0] if training and p else x


def in_32_bits(function: Any) -> Any:
    """Return a function that autocast of GPUs gives copies in 32 bits, and that of CPUs does not."""

    def wide(*args: Any, **kwargs: Any) -> Any:
        if not torch.is_autocast_enabled("cpu"):
            return function(*args, **kwargs)
        args = tuple(item.float() if isinstance(item, torch.Tensor) else item for item in args)
        with torch.autocast("cpu", enabled=False):
            return function(*args, **kwargs)

    return wide


@contextlib.contextmanager
def kernels_of_gpus() -> Iterator[None]:
    """Attend and drop by the kernels that GPUs have: what torch has for CPUs keeps something else."""
    functional, own = torch.nn.functional, ALL_ATTENTION_FUNCTIONS["sdpa"]
    ALL_ATTENTION_FUNCTIONS["sdpa"] = efficient
    try:
        with (
            mock.patch.object(functional, "dropout", kernel_dropout),
            mock.patch.object(torch, "pow", in_32_bits(torch.pow)),
            mock.patch.object(functional, "layer_norm", in_32_bits(functional.layer_norm)),
            mock.patch.object(functional, "softplus", in_32_bits(functional.softplus)),
        ):
            yield
    finally:
        ALL_ATTENTION_FUNCTIONS["sdpa"] = own


# A name that transformers does not know gets no mask from it: the operator is causal by itself.
ATTENTIONS = {"flash": "oracle_flash", "repeated": "oracle_repeated", "sdpa": "sdpa", "eager": "eager"}
ALL_ATTENTION_FUNCTIONS["oracle_flash"] = flash
ALL_ATTENTION_FUNCTIONS["oracle_repeated"] = partial(flash, repeated=True)


@dataclass(frozen=True)
class Run:
    """How one step is taken.

    `trained`: all, embedding, head, attention, mlp, norms; `named WORD`, what has it in its name; or LoRA as
    `lora RANK TARGETS DTYPE`, with PEFT's own layers, and further words of its config: `dropout=0.1`, `dora`,
    `save=lm_head` (modules_to_save).
    `optimizer`: none, or a name and a way: `adamw foreach`, `sgd for-loop`, `momentum fused`.
    `release`: whose loss is computed, 4.45 or 4.48; else that of the installed transformers.
    """

    batch: int = 1
    sequence: int = 64
    weights: str = "bf16"
    autocast: bool = False
    attention: str = "flash"
    recompute: bool = False
    optimizer: str = "adamw foreach"
    keep_gradients: bool = False
    hold_logits: bool = False
    trained: str = "all"
    experts: str = "grouped_mm"
    release: str = ""

    def stated(self) -> dict[str, object]:
        """Return the fields that are not as above: what a record shows."""
        usual = asdict(Run())
        return {key: value for key, value in asdict(self).items() if value != usual[key]}


class Ledger(TorchDispatchMode):
    """Follows each storage from where an operator first returns it to where the last reference ends."""

    def __init__(self) -> None:
        super().__init__()
        self.alive: set[int] = set()
        self.held = self.peak = 0
        self.moments: Moments = {}

    def __torch_dispatch__(
        self, operator: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        del types
        result = operator(*args, **(kwargs or {}))
        tree_map_only(torch.Tensor, self.take, result)
        return result

    def take(self, tensor: Any) -> None:
        """Count a storage that was not seen before."""
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self.alive:
            return
        self.alive.add(key)
        self.held += size
        self.peak = max(self.peak, self.held)
        weakref.finalize(storage, self.give, key, size).atexit = False

    def give(self, key: int, size: int) -> None:
        """Forget a storage that is gone: another one may get its address."""
        self.alive.remove(key)
        self.held -= size

    def mark(self, moment: str, *_: Any) -> None:
        """Name a moment: what is held at it, and the most that was held since the moment before."""
        self.moments[moment] = {"held": self.held, "peak": self.peak}
        self.peak = self.held


class DeviceMemory:
    """What PyTorch's allocator of a device says at each moment: allocated, its peak, reserved.

    `accelerator` has its functions, as torch.cuda does.
    """

    def __init__(self, accelerator: Any) -> None:
        self.accelerator, self.moments = accelerator, Moments()

    def __enter__(self) -> None:
        """Start with nothing but what is there."""
        self.accelerator.reset_peak_memory_stats()

    def __exit__(self, *_: object) -> None:
        """Leave the allocator as it is."""

    def mark(self, moment: str, *_: Any) -> None:
        """Name a moment: what is held at it, the most since the one before, and what is reserved."""
        self.accelerator.synchronize()
        self.moments[moment] = {
            "held": self.accelerator.memory_allocated(),
            "peak": self.accelerator.max_memory_allocated(),
            "reserved": self.accelerator.memory_reserved(),
        }
        self.accelerator.reset_peak_memory_stats()


Meter = Ledger | DeviceMemory


# Whose parameters are trained, by name; biases and norms belong to where they stand.
TRAINED = {
    "all": r"",
    "embedding": r"embed_tokens|\.wte\.|\.wpe\.",
    "head": r"lm_head",
    "attention": r"self_attn\.|\.attn\.",
    "mlp": r"\.mlp\.",
    "norms": r"norm|\.ln_",
}


def build(config: Any, family: Any, run: Run, device: str = "meta") -> Any:
    """Return the model of a configuration object on a device, ready for `run`.

    Raises
    ------
    ValueError
        Nothing of this name can be trained.

    """
    for part in (config, config.get_text_config()):  # a model of more than text asks its text config alone
        part.use_cache = False
    more = {} if run.experts == "grouped_mm" else {"experts_implementation": run.experts}
    with torch.device(device):
        model = family.from_config(config, dtype=DTYPES[run.weights], **more)
    model.tie_weights()
    model.config._attn_implementation = ATTENTIONS[run.attention]
    if run.recompute:
        model.activation_checkpointing_enable({"use_reentrant": False})
    if run.trained.startswith("lora"):
        return lora(model, run).train()
    named = run.trained.removeprefix("named ")
    pattern = TRAINED[run.trained] if named == run.trained else re.escape(named)
    for name, item in model.named_parameters():
        item.requires_grad_(bool(re.search(pattern, name)))
    if not any(item.requires_grad for item in model.parameters()):
        raise ValueError(f"{run.trained}: no such parameters")
    return model.train()


def lora(model: Any, run: Run) -> Any:
    """Return the model with PEFT's adapters; recomputed layers want an input that needs a gradient."""
    from peft import LoraConfig, get_peft_model

    _, rank, targets, dtype, *more = run.trained.split(" ")
    asked = dict(word.partition("=")[::2] for word in more)
    if run.recompute:
        model.enable_input_require_grads()
    adapted = LoraConfig(
        r=int(rank),
        target_modules=targets if targets == "all-linear" else targets.split(","),
        lora_dropout=float(asked.get("dropout", 0)),
        use_dora="dora" in asked,
        modules_to_save=asked["save"].split(",") if "save" in asked else None,
        task_type="CAUSAL_LM",
    )
    with warnings.catch_warnings():  # PEFT 0.21 reads an attribute that transformers 5.23 has renamed
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        warnings.filterwarnings("ignore", "Model has `tie_word_embeddings=True`", UserWarning)
        # a model whose layers are all dense has no experts, for which PEFT has patterns all the same
        warnings.filterwarnings("ignore", "The following .*_pattern keys did not match", RuntimeWarning)
        warnings.filterwarnings("ignore", ".* were set but no parameter was matched", RuntimeWarning)
        model = get_peft_model(model, adapted, autocast_adapter_dtype=dtype == "fp32")
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout) and module.p:
            module.__class__ = KernelDropout
    return model


class KernelDropout(torch.nn.Dropout):
    """Dropout as GPUs have it: one kernel keeps a byte a number; on a CPU it is noise as wide as x."""

    def forward(self, x: Any) -> Any:
        """Return what is left of the input."""
        return torch.native_dropout(x, self.p, self.training)[0]


def faked(model: Any) -> None:
    """Give the model that was built on meta a fake tensor for each of its own: inside of a FakeTensorMode.

    Tied parameters stay one. PEFT cannot build upon fake tensors, which may not be swapped for others.
    """

    def empty_as(item: Any) -> Any:
        return torch.empty(item.shape, dtype=item.dtype)

    made: dict[Any, Any] = {}
    for module in model.modules():
        for name, item in module._parameters.items():
            if item is not None:
                if item not in made:
                    made[item] = torch.nn.Parameter(empty_as(item), item.requires_grad)
                module._parameters[name] = made[item]
        for name, item in module._buffers.items():
            module._buffers[name] = None if item is None else empty_as(item)


WAYS = {"foreach": {"foreach": True}, "for-loop": {"foreach": False}, "fused": {"fused": True}}
OPTIMIZERS = {
    "adamw": torch.optim.AdamW,
    "sgd": partial(torch.optim.SGD, lr=0.1),
    "momentum": partial(torch.optim.SGD, lr=0.1, momentum=0.9),
}


def optimizer_of(model: Any, run: Run) -> Any:
    """Return the optimizer of the parameters that are trained, or nothing."""
    if run.optimizer == "none":
        return None
    name, way = run.optimizer.split(" ")
    return OPTIMIZERS[name]([item for item in model.parameters() if item.requires_grad], **WAYS[way])


def casting(run: Run, device: str = "cpu") -> Any:
    """Return autocast to bf16, or nothing."""
    return torch.autocast(device, dtype=torch.bfloat16) if run.autocast else contextlib.nullcontext()


def watch(model: Any, ledger: Meter) -> None:
    """Mark what lies inside of forward and backward: a gradient that is complete closes a moment."""

    def before_head(_: Any, args: Any) -> None:
        ledger.mark("layers forward")
        if args[0].requires_grad:
            args[0].register_hook(partial(ledger.mark, "head backward"))

    made: list[Any] = []

    def after_head(_: Any, __: Any, logits: Any) -> None:
        ledger.mark("head forward")
        if logits.requires_grad:
            logits.register_hook(partial(ledger.mark, "loss backward"))
        made[:] = [weakref.ref(logits)]

    def after_model(_: Any, __: Any, output: Any) -> None:
        logits = getattr(output, "logits", None)
        if made and logits is not None and logits.requires_grad and made[0]() is not logits:
            logits.register_hook(partial(ledger.mark, "capped backward"))  # the class scales or caps them

    def after_embedding(_: Any, __: Any, output: Any) -> None:
        if output.requires_grad:
            output.register_hook(partial(ledger.mark, "layers backward"))

    model.get_output_embeddings().register_forward_pre_hook(before_head)
    model.get_output_embeddings().register_forward_hook(after_head)
    model.get_input_embeddings().register_forward_hook(after_embedding)
    model.register_forward_hook(after_model)


def traced_step(model: Any, run: Run) -> Moments:
    """Return every moment of the second step of a model that was built on meta, on fake tensors.

    States exist, and gradients if they are kept. In order, each with the bytes `held` at it and their `peak`
    since the one before: built (parameters and buffers), start (and states, ids, kept gradients), layers
    forward, head forward (logits exist), forward (the loss exists), loss backward (the gradient of the logits
    exists), head backward, layers backward (the gradient of the embedded tokens exists), backward (its end),
    loss dropped, step, zeroed.
    """
    ledger = Ledger()
    with FakeTensorMode(), kernels_of_gpus():
        faked(model)
        optimizer = optimizer_of(model, run)
        for item in (*model.parameters(), *model.buffers()):
            ledger.take(item)
        ledger.mark("built")
        ids = torch.zeros((run.batch, run.sequence), dtype=torch.long)
        ledger.take(ids)
        return two_steps(model, optimizer, ids, run, ledger)


def real_step(model: Any, run: Run, meter: Meter) -> Moments:
    """Return the same of a model that lies on a device, with numbers, as a meter of that device sees them."""
    device = next(model.parameters()).device
    optimizer = optimizer_of(model, run)
    if isinstance(meter, Ledger):
        for item in (*model.parameters(), *model.buffers()):
            meter.take(item)
    meter.mark("built")
    vocabulary = model.get_input_embeddings().weight.shape[0]
    ids = torch.randint(vocabulary, (run.batch, run.sequence), device=device)
    if isinstance(meter, Ledger):
        meter.take(ids)
    return two_steps(model, optimizer, ids, run, meter)


def two_steps(model: Any, optimizer: Any, ids: Any, run: Run, meter: Meter) -> Moments:
    """Return the moments of the second of two steps."""
    watch(model, meter)
    with meter:
        for _ in range(2):
            one_step(model, optimizer, ids, run, meter)
    return meter.moments


def former(model: Any, ids: Any, release: str) -> Any:
    """Return what a model said with labels before 4.49: logits are cut, and copied where that leaves gaps.

    Before 4.46 they were made 32 bits wide first, and the model returned them so; afterwards a function did
    both, while the model held on to its own.
    """

    def cut(wide: Any) -> Any:
        shorter = wide[..., :-1, :].contiguous()
        following = ids[..., 1:].contiguous()
        flat, targets = shorter.view(-1, shorter.shape[-1]), following.view(-1)
        return torch.nn.functional.cross_entropy(flat, targets)

    hidden = model.model(input_ids=ids).last_hidden_state  # until the loss is there
    logits = model.lm_head(hidden)
    if release == "4.45":
        logits = logits.float()
        return SimpleNamespace(loss=cut(logits), logits=logits)
    return SimpleNamespace(loss=cut(logits.float()), logits=logits)


def one_step(model: Any, optimizer: Any, ids: Any, run: Run, ledger: Meter) -> None:
    """Take a step in a loop as it is written everywhere, with the moments that lie between its lines.

    Who holds the logits holds the output, and the 4 bytes of the loss in it.
    """
    ledger.mark("start")
    with casting(run, ids.device.type):
        output = former(model, ids, run.release) if run.release else model(input_ids=ids, labels=ids)
    loss = output.loss
    if not run.hold_logits:
        del output
    ledger.mark("forward")
    loss.backward()
    ledger.mark("backward")
    del loss
    ledger.mark("loss dropped")
    if optimizer:
        optimizer.step()
        ledger.mark("step")
    model.zero_grad(set_to_none=not run.keep_gradients)
    ledger.mark("zeroed")
