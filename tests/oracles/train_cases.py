"""Which training steps are asked for: small configs of every family, drawn ones, published ones."""

from __future__ import annotations

import random
from dataclasses import asdict
from importlib.metadata import version
from itertools import product

import small
import train
import train_ranks
import train_states
from train import Run

WIDTHS = {
    "vocab_size": 307,
    "hidden_size": 64,
    "intermediate_size": 176,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 24,  # heads together are wider than the stream: no two matrices look alike
    "tie_word_embeddings": False,
}
# Widths of experts are multiples of 8: the grouped product wants rows of whole 16 bytes.
FAMILIES = {
    "llama": {"model_type": "llama", **WIDTHS},
    "mistral": {"model_type": "mistral", **WIDTHS, "sliding_window": None},
    "qwen2": {"model_type": "qwen2", **WIDTHS},
    "qwen3": {"model_type": "qwen3", **WIDTHS, "tie_word_embeddings": True},
    "mixtral": {
        "model_type": "mixtral",
        **WIDTHS,
        "sliding_window": None,
        "num_local_experts": 6,
        "num_experts_per_tok": 2,
    },
    "qwen3_moe": {
        "model_type": "qwen3_moe",
        **WIDTHS,
        "num_experts": 6,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 40,
    },
    "gpt2": {
        "model_type": "gpt2",
        "vocab_size": 307,
        "n_embd": 64,
        "n_layer": 3,
        "n_head": 4,
        "n_positions": 128,
        "resid_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "attn_pdrop": 0.0,
    },
}
SPARSE = ("mixtral", "qwen3_moe")
SHORT = {"batch": 2, "sequence": 33}


def regimes(family):
    """Weights in bf16, in fp32, in fp32 under autocast; torch multiplies grouped experts in bf16 only."""
    if family in SPARSE:
        return [{}]
    return [{}, {"weights": "fp32"}, {"weights": "fp32", "autocast": True}]


def saved_runs():
    """A family and a run for each list of saved tensors."""
    yield from whole_runs()
    for family in SPARSE:
        for experts in ("batched_mm", "eager"):
            yield family, Run(**SHORT, attention="eager", experts=experts)
    for family in ("llama", "qwen3"):
        for targets, dtype, recompute in product(train_states.TARGETS, ("fp32", "bf16"), (False, True)):
            yield family, Run(**SHORT, trained=f"lora 8 {targets} {dtype}", recompute=recompute)
        adapted = Run(**SHORT, weights="fp32", autocast=True, trained="lora 8 q_proj,v_proj fp32")
        yield family, adapted
    yield from under_autocast()


def under_autocast():
    """Adapters beside 16-bit weights under autocast: dense and sparse, tied, attention alone, recomputed."""
    for family, recompute in product(("llama", "qwen3", *SPARSE), (False, True)):
        for targets in ("q_proj,k_proj,v_proj,o_proj", "all-linear"):
            yield family, Run(**SHORT, autocast=True, trained=f"lora 8 {targets} fp32", recompute=recompute)


def whole_runs():
    """Every family: kinds of attention and regimes; what is trained; recomputed."""
    for family in FAMILIES:
        for attention in ("flash", "repeated", "eager"):
            for regime in regimes(family):
                yield family, Run(**SHORT, **regime, attention=attention)
        for trained in ("embedding", "head", "attention", "mlp", "norms"):
            if trained != "head" or family not in {"qwen3", "gpt2"}:  # tied: the head is the embedding
                yield family, Run(**SHORT, trained=trained)
        yield family, Run(**SHORT, recompute=True)


def name_of(family, run):
    """A case by what is stated of it."""
    said = {key: value for key, value in run.stated().items() if key not in SHORT}
    return ", ".join((family, *(f"{key} {value}" for key, value in said.items())))


DRAWN = ("llama", "mistral", "qwen2", "qwen3", "mixtral", "qwen3_moe", "gpt2")
SEEDS = range(6)
OPTIMIZERS = [
    f"{name} {way}" for name in ("adamw", "sgd", "momentum") for way in ("foreach", "for-loop", "fused")
]


def drawn_config(family, seed):
    """A small config whose layers are all alike; heads are multiples of 8, as fused attention wants them."""
    draw = random.Random(f"training {family} {seed}")
    if family == "gpt2":
        heads = draw.randint(1, 6)
        widths = {
            "n_embd": heads * 8 * draw.randint(1, 4),
            "n_head": heads,
            "vocab_size": draw.randint(50, 999),
        }
        return FAMILIES["gpt2"] | widths | {"n_inner": draw.choice((None, draw.randint(16, 300)))}
    fields = small.small_config(family, seed)
    for unequal in ("layer_types", "mlp_only_layers", "decoder_sparse_step", "max_window_layers"):
        fields.pop(unequal, None)
    fields |= {"sliding_window": None, "use_sliding_window": False} if "sliding_window" in fields else {}
    fields["head_dim"] = 8 * draw.randint(1, 5)
    if family in SPARSE:
        fields["hidden_size"] += -fields["hidden_size"] % 8
        width = "moe_intermediate_size" if family == "qwen3_moe" else "intermediate_size"
        fields[width] += -fields[width] % 8
    return fields


def drawn_run(family, seed):
    """A run in which anything may meet anything."""
    draw = random.Random(f"run {family} {seed}")
    return Run(
        batch=draw.randint(1, 3),
        sequence=draw.randint(5, 120),
        **draw.choice(regimes(family)),
        attention=draw.choice(("flash", "flash", "repeated", "eager")),
        recompute=draw.random() < 0.4,
        optimizer=draw.choice(("none", *OPTIMIZERS[:3], *OPTIMIZERS)),
        keep_gradients=draw.random() < 0.3,
        hold_logits=draw.random() < 0.3,
    )


# Llama-3-8B has the sizes of Llama-3.1-8B; rotary scaling changes no size.
PUBLISHED = {
    "Llama-3-8B": "meta-llama/Meta-Llama-3.1-8B",
    "Llama-2-7B": "meta-llama/Llama-2-7b-hf",
    "Qwen3-8B": "Qwen/Qwen3-8B",
    "Qwen3-0.6B": "Qwen/Qwen3-0.6B",
    "Qwen3-32B": "Qwen/Qwen3-32B",
}
ADAPTED = {
    "Llama-3-8B": PUBLISHED["Llama-3-8B"],
    "Qwen3-32B": PUBLISHED["Qwen3-32B"],
    "Qwen2.5-72B": "Qwen/Qwen2.5-72B",
}
PUBLISHED_RUNS = {
    "plain": Run(sequence=4096, optimizer="none"),
    "recomputed": Run(sequence=4096, optimizer="none", recompute=True),
    "adamw": Run(sequence=2048, batch=2, recompute=True),
    "autocast": Run(sequence=1024, weights="fp32", autocast=True, hold_logits=True, optimizer="adamw fused"),
}


def with_depth(fields, depth):
    """The same config with so many layers."""
    return fields | {"n_layer" if fields["model_type"] == "gpt2" else "num_hidden_layers": depth}


VERSIONS = {name: version(name) for name in ("torch", "transformers", "peft", "bitsandbytes", "accelerate")}
DEPTHS = (2, 3, 4)


def saved(family, run):
    """What is recorded of one list of saved tensors."""
    fields = FAMILIES[family]
    return {"config": fields, "run": asdict(run), **train.saved(fields, run, fake=run.experts != "eager")}


def adapted_steps():
    """A family and a run for each step with adapters."""
    kinds = product(("llama", "qwen3"), ("q_proj,v_proj", "all-linear"), ("fp32", "bf16"), (False, True))
    for family, targets, dtype, recompute in kinds:
        yield family, Run(**SHORT, trained=f"lora 8 {targets} {dtype}", recompute=recompute)
    for family in ("llama", "qwen3_moe", "gpt2"):
        for trained in ("embedding", "attention", "norms"):
            yield family, Run(**SHORT, trained=trained, optimizer="adamw for-loop")


def at_depths(fields, run):
    """What is recorded of one step: its moments at each depth."""
    at = {str(depth): train.moments(with_depth(fields, depth), run) for depth in DEPTHS}
    return {"config": fields, "run": asdict(run), **at}


def drawn(family, seed):
    """The same of a drawn one."""
    return at_depths(drawn_config(family, seed), drawn_run(family, seed))


def optimizer(name, dtype):
    """What is recorded of one optimizer: where states lie, which are one for all parameters, all by shape."""
    more = {"places": train_states.places(name), "shared": train_states.shared(name, dtype)}
    return more | train_states.states(name, dtype)


def recorded(published, adapted):
    """Everything that is recorded; the configs of PUBLISHED run at their full depth."""
    return {
        "saved": {name_of(*case): saved(*case) for case in saved_runs()},
        "steps": {f"{family} {seed}": drawn(family, seed) for family in DRAWN for seed in SEEDS},
        "adapted": {
            name_of(family, run): at_depths(FAMILIES[family], run) for family, run in adapted_steps()
        },
        "published": {
            f"{name}, {kind}": {
                "model": PUBLISHED[name],
                "run": asdict(run),
                "moments": train.moments(fields, run),
            }
            for name, fields in published.items()
            for kind, run in PUBLISHED_RUNS.items()
        },
        "optimizers": {
            f"{name}, {dtype}": optimizer(name, dtype)
            for name in train_states.OPTIMIZERS
            for dtype in train.DTYPES
        },
        "lora": {
            f"{name}, rank {rank}, {targets}": train_states.lora_parameters(fields, rank, targets)
            for name, fields in adapted.items()
            for rank in train_states.RANKS
            for targets in train_states.TARGETS
        },
        "ranks": {
            f"{way}, {world} ranks": {str(rank): said for rank, said in enumerate(by_rank)}
            for world in train_ranks.WORLDS
            for way, by_rank in train_ranks.by_way(world).items()
        },
    }
