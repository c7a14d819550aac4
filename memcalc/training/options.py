"""The options of ``memcalc train``, each declared once: meaning, unit, least value, default in words."""

# annotations are not postponed here: options are read from them
from dataclasses import field
from typing import Literal

from memcalc.data.record import options
from memcalc.options import Option, OptionSet, about, options_of

__all__ = ["FilledOptions", "TrainingOptions", "training_options"]

DATA, NUMBERS, STEP, PARALLEL = "model and data", "precision", "optimizer and loss", "parallelism"
KEPT, ADAPTED, MEGATRON, MACHINE = "activations", "adapters", "Megatron-LM", "machine"
METHOD = "preferences and rewards"
BESIDE = "loading, evaluation and saving"
TRAINER = ", or as the trainer that --like names"


@options
class TrainingOptions(OptionSet):
    """What a training step is asked for. What is left open is filled in by `memcalc.training.plan.resolve`.

    `seq` and `micro_batch` may be NumPy arrays: a sweep.

    >>> TrainingOptions(seq=4096, recompute="full")
    TrainingOptions(seq=4096, recompute='full')
    """

    seq: int = field(
        metadata=about("sequence length, padding included", unit="tokens", at_least=1, group=DATA, swept=True)
    )
    micro_batch: int | None = field(
        default=None,
        metadata=about(
            "size of a micro-batch on one rank",
            unit="sequences",
            otherwise=f"1{TRAINER}",
            at_least=1,
            group=DATA,
            swept=True,
        ),
    )
    accumulate: int | None = field(
        default=None,
        metadata=about(
            "micro-batches per step on one rank (gradient accumulation)",
            otherwise=f"1{TRAINER}",
            at_least=1,
            group=DATA,
        ),
    )
    lengths: Literal["packed", "varying"] | None = field(
        default=None,
        metadata=about(
            "micro-batches are all of --seq tokens (packed or padded), or vary and are --seq at most",
            otherwise="packed",
            group=DATA,
        ),
    )
    implementation: str = field(
        default="transformers",
        metadata=about("whose code runs the layers: transformers or megatron", group=DATA),
    )
    like: Literal["trl", "axolotl", "llama-factory", "deepspeed"] | None = field(
        default=None,
        metadata=about(
            "the trainer whose defaults hold for what is left open",
            otherwise="none: the defaults that stand here",
            group=DATA,
        ),
    )
    engine_version: str | None = field(
        default=None,
        metadata=about(
            "release of transformers, as in 4.45: its loss, and the step of its Trainer",
            otherwise="5.23",
            group=DATA,
        ),
    )
    trainable: tuple[str, ...] = field(
        default=(),
        metadata=about(
            "weights that are trained, by parts of their names, as in self_attn, lm_head; beside adapters "
            "copies of embed_tokens and lm_head (PEFT's modules_to_save)",
            otherwise="all weights, with adapters none",
            group=DATA,
        ),
    )
    dropout: float | None = field(
        default=None,
        metadata=about(
            "dropout probability; with adapters that of their inputs (lora_dropout)",
            otherwise="the config's or its class's for transformers, 0.1 for megatron; 0 of adapters' inputs",
            group=DATA,
        ),
    )

    regime: Literal["pure-bf16", "bf16-mixed", "amp", "fp32"] | None = field(
        default=None,
        metadata=about(
            "precision of weights, gradients and master copy", otherwise=f"bf16-mixed{TRAINER}", group=NUMBERS
        ),
    )
    autocast: bool | None = field(
        default=None,
        metadata=about(
            "matrices are multiplied in 16 bits under torch.autocast, as with bf16=True of HF Trainer",
            otherwise="yes with amp, and for adapters with transformers but for --shard 1, 2 or 3; else no",
            group=NUMBERS,
        ),
    )
    gradients: Literal["bf16", "fp32", "bf16+fp32"] | None = field(
        default=None,
        metadata=about(
            "precision of the gradients", otherwise="the regime's, or the implementation's", group=NUMBERS
        ),
    )

    optimizer: str | None = field(
        default=None,
        metadata=about(
            "optimizer: adamw, adamw-8bit, paged-adamw-8bit, adafactor, sgd, lion, muon or others",
            otherwise=f"adamw{TRAINER}",
            group=STEP,
        ),
    )
    optimizer_step: Literal["foreach", "fused", "for-loop"] | None = field(
        default=None,
        metadata=about(
            "implementation of the optimizer's step",
            otherwise="the implementation's, or the optimizer's own: fused for adamw",
            group=STEP,
        ),
    )
    keep_gradients: bool = field(
        default=False,
        metadata=about(
            "gradients stay allocated in the forward pass: zero_grad(set_to_none=False)", group=STEP
        ),
    )
    loss: str | None = field(
        default=None,
        metadata=about(
            "implementation of the cross-entropy loss",
            otherwise="the implementation's: plain or megatron",
            group=STEP,
        ),
    )
    hold_logits: bool = field(
        default=False, metadata=about("the caller keeps the logits until the next step", group=STEP)
    )

    world: int = field(default=1, metadata=about("devices in all", at_least=1, group=PARALLEL))
    shard: Literal[0, 1, 2, 3, "fsdp"] = field(
        default=0, metadata=about("what data-parallel ranks shard: the ZeRO stage, or fsdp", group=PARALLEL)
    )
    tp: int = field(default=1, metadata=about("tensor-parallel ranks", at_least=1, group=PARALLEL))
    sequence_parallel: bool = field(
        default=False,
        metadata=about(
            "tensor-parallel ranks shard the activations outside their matrices, too", group=PARALLEL
        ),
    )
    pp: int = field(default=1, metadata=about("pipeline stages", at_least=1, group=PARALLEL))
    vpp: int = field(
        default=1,
        metadata=about(
            "chunks of layers on each pipeline stage (interleaved schedule)", at_least=1, group=PARALLEL
        ),
    )
    schedule: Literal["1f1b", "gpipe"] = field(
        default="1f1b", metadata=about("order of forward and backward passes in a pipeline", group=PARALLEL)
    )
    pipeline_layout: tuple[int, ...] | None = field(
        default=None,
        metadata=about("layers of each chunk, first to last", otherwise="equal shares", group=PARALLEL),
    )
    rank: Literal["first", "last", "fullest"] = field(
        default="fullest", metadata=about("the pipeline stage that the answer is about", group=PARALLEL)
    )
    cp: int = field(
        default=1,
        metadata=about("context-parallel ranks, which split a sequence", at_least=1, group=PARALLEL),
    )
    ep: int = field(default=1, metadata=about("expert-parallel ranks", at_least=1, group=PARALLEL))
    expert_tp: int | None = field(
        default=None,
        metadata=about("tensor-parallel ranks of an expert", otherwise="as --tp", at_least=1, group=PARALLEL),
    )

    attention: Literal["flash", "sdpa", "eager"] | None = field(
        default=None, metadata=about("attention kernel", otherwise=f"flash{TRAINER}", group=KEPT)
    )
    repeat_kv: bool | None = field(
        default=None,
        metadata=about(
            "keys and values are repeated for all query heads (transformers)",
            otherwise="yes, except with flash",
            group=KEPT,
        ),
    )
    experts: str | None = field(
        default=None,
        metadata=about(
            "how experts are computed: grouped_mm or batched_mm; megatron: allgather or alltoall, with "
            "grouped or sequential",
            otherwise="the implementation's",
            group=KEPT,
        ),
    )
    state_kernels: Literal["fused", "torch"] | None = field(
        default=None,
        metadata=about(
            "how layers that keep a state are computed: fused (flash-linear-attention or mamba-ssm, and "
            "causal-conv1d), or torch, as transformers does without them",
            otherwise="fused, up to what torch takes",
            group=KEPT,
        ),
    )
    recompute: Literal["none", "selective", "full"] | None = field(
        default=None,
        metadata=about(
            "activation recomputation in the backward pass",
            otherwise=f"none, with adapters full{TRAINER}",
            group=KEPT,
        ),
    )
    recompute_modules: tuple[str, ...] | None = field(
        default=None,
        metadata=about(
            "modules that selective recomputation computes again", otherwise="core_attn", group=KEPT
        ),
    )
    compile: bool = field(
        default=False, metadata=about("torch.compile; widens the range downwards", group=KEPT)
    )
    offload: tuple[str, ...] = field(
        default=(),
        metadata=about(
            "what is offloaded to host memory: optimizer, parameters, activations",
            otherwise="nothing",
            group=KEPT,
        ),
    )

    allocator: Literal["default", "expandable"] | None = field(
        default=None,
        metadata=about(
            "PyTorch's allocator; expandable: PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True",
            otherwise=f"default{TRAINER}",
            group=KEPT,
        ),
    )

    lora_rank: int | None = field(
        default=None,
        metadata=about(
            "rank of LoRA adapters; the base model is frozen",
            otherwise="no adapters",
            at_least=1,
            group=ADAPTED,
        ),
    )
    lora_targets: tuple[str, ...] | None = field(
        default=None,
        metadata=about(
            "matrices with an adapter, as in q_proj; lm_head and embed_tokens if they are named",
            otherwise="all-linear",
            group=ADAPTED,
        ),
    )
    adapter_dtype: Literal["fp32", "bf16"] | None = field(
        default=None, metadata=about("precision of the adapters", otherwise=f"fp32{TRAINER}", group=ADAPTED)
    )
    dora: bool = field(
        default=False,
        metadata=about(
            "adapters have a magnitude for each row of their matrix, divided by that row's norm (DoRA)",
            group=ADAPTED,
        ),
    )
    quantize_base: (
        Literal["nf4", "nf4-dq", "fp4", "fp4-dq", "int8", "gptq-int4-g128", "awq-int4-g128"] | None
    ) = field(
        default=None,
        metadata=about(
            "format of the frozen base model's matrices (QLoRA)",
            otherwise="as the checkpoint: not quantised, or its gptq, awq or bitsandbytes",
            group=ADAPTED,
        ),
    )

    quantize_experts: bool = field(
        default=False,
        metadata=about(
            "stacked arrays of experts are quantised as matrices are (axolotl's quantize_moe_experts)",
            group=ADAPTED,
        ),
    )
    upcast: bool = field(
        default=False,
        metadata=about(
            "what is not quantised of the base has 32 bits, as after prepare_model_for_kbit_training",
            group=ADAPTED,
        ),
    )

    vocab_multiple: int | None = field(
        default=None,
        metadata=about(
            "the vocabulary is padded to a multiple of this",
            unit="tokens",
            otherwise="1; 128 x --tp for megatron",
            at_least=1,
            group=MEGATRON,
        ),
    )
    gradient_fusion: bool = field(
        default=True,
        metadata=about("accumulation of matrix products into 32-bit gradients (megatron)", group=MEGATRON),
    )
    context_exchange: Literal["p2p", "a2a"] = field(
        default="p2p",
        metadata=about(
            "what context-parallel ranks exchange: keys and values (p2p), or heads for sequences (a2a)",
            group=MEGATRON,
        ),
    )

    method: Literal["sft", "dpo", "orpo", "kto", "ppo", "grpo"] = field(
        default="sft",
        metadata=about(
            "what is trained: text (sft, pretraining too), preferences (dpo, orpo, kto), rewards (ppo, grpo)",
            group=METHOD,
        ),
    )
    reference: Literal["none", "copy", "adapter", "precomputed"] | None = field(
        default=None,
        metadata=about(
            "reference model: a frozen copy, the base without its adapter, or log-probs computed before",
            otherwise="adapter with --lora-rank, else copy; grpo and orpo: none",
            group=METHOD,
        ),
    )
    reward_model: str | None = field(
        default=None,
        metadata=about(
            "reward model on the same devices",
            otherwise="as the policy with ppo; grpo: none",
            group=METHOD,
            shown_as="SOURCE|none",
        ),
    )
    critic: str | None = field(
        default=None,
        metadata=about(
            "value model of ppo, trained as the policy is",
            otherwise="as the policy",
            group=METHOD,
            shown_as="SOURCE",
        ),
    )
    completion_tokens: int | None = field(
        default=None,
        metadata=about(
            "length of an answer, at the end of --seq",
            unit="tokens",
            otherwise="all of --seq but its first token",
            at_least=1,
            group=METHOD,
        ),
    )
    num_generations: int | None = field(
        default=None,
        metadata=about(
            "answers that a rank generates at once",
            otherwise="--micro-batch x --accumulate, as in TRL",
            at_least=1,
            group=METHOD,
        ),
    )
    logprob_batch: int | None = field(
        default=None,
        metadata=about(
            "answers whose log-probs, values and rewards are computed at once",
            otherwise="as --micro-batch",
            at_least=1,
            group=METHOD,
        ),
    )
    rollout_engine: Literal["transformers", "vllm", "sglang", "none"] | None = field(
        default=None,
        metadata=about(
            "what generates answers on the same devices; none: other devices do",
            otherwise="transformers with ppo and grpo",
            group=METHOD,
        ),
    )
    rollout_utilization: float | None = field(
        default=None,
        metadata=about(
            "share of a device's memory that vllm or sglang takes", otherwise="0.3, as in TRL", group=METHOD
        ),
    )
    rollout_tp: int | None = field(
        default=None,
        metadata=about("tensor-parallel ranks of vllm or sglang", otherwise="1", at_least=1, group=METHOD),
    )
    sleep_level: Literal[0, 1, 2] | None = field(
        default=None,
        metadata=about(
            "the engine sleeps while others run: 1 with its weights in host memory, 2 without them",
            otherwise="0: it stays awake, as in TRL",
            group=METHOD,
        ),
    )
    offload_between: tuple[str, ...] = field(
        default=(),
        metadata=about(
            "what lies in host memory but in its own phase: parameters, optimizer, reference, reward, critic",
            otherwise="nothing",
            group=METHOD,
        ),
    )

    load: Literal["host", "device", "rank-0"] | None = field(
        default=None,
        metadata=about(
            "where ranks load the weights: each in the host's memory, each on its device (device_map), or "
            "the first rank alone in the host's (fsdp_cpu_ram_efficient_loading)",
            otherwise=f"host, with --quantize-base device{TRAINER}",
            group=BESIDE,
        ),
    )
    save: Literal["full", "weights", "sharded"] | None = field(
        default=None,
        metadata=about(
            "what a checkpoint holds: whole weights and optimizer states, whole weights alone "
            "(save_only_model), or each rank's shard",
            otherwise="full",
            group=BESIDE,
        ),
    )
    evaluate: Literal["loss", "metrics"] | None = field(
        default=None,
        metadata=about(
            "evaluation between steps: the loss alone (prediction_loss_only), or metrics of all logits "
            "(compute_metrics)",
            otherwise="no evaluation",
            group=BESIDE,
        ),
    )
    eval_batch: int | None = field(
        default=None,
        metadata=about(
            "sequences that a rank evaluates at once (per_device_eval_batch_size)",
            unit="sequences",
            otherwise=f"8{TRAINER}",
            at_least=1,
            group=BESIDE,
        ),
    )
    eval_accumulation_steps: int | None = field(
        default=None,
        metadata=about(
            "evaluated batches whose logits stay on the device before they move to the host",
            otherwise="to be stated with --evaluate metrics: without it trainers keep all",
            at_least=1,
            group=BESIDE,
        ),
    )

    on: str | None = field(
        default=None,
        metadata=about(
            'the machine: "COUNTx ID" or "COUNTx 24GiB", "A + B" where devices differ, "+ 512GiB host"',
            otherwise="no machine",
            group=MACHINE,
            shown_as="MACHINE",
        ),
    )


class FilledOptions(TrainingOptions):
    """Options with a default for each that was left open and has one: see `memcalc.training.defaults`."""

    micro_batch: int
    accumulate: int
    regime: Literal["pure-bf16", "bf16-mixed", "amp", "fp32"]
    optimizer: str
    attention: Literal["flash", "sdpa", "eager"]
    recompute: Literal["none", "selective", "full"]
    autocast: bool
    lengths: Literal["packed", "varying"]
    allocator: Literal["default", "expandable"]


def training_options() -> tuple[Option, ...]:
    """Return every option of a training step: its flag, meaning, values and default in words.

    >>> [one.typed for one in training_options() if one.group == "adapters"][:2]
    ['--lora-rank', '--lora-targets']
    """
    return options_of(TrainingOptions)
