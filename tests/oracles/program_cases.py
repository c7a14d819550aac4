"""Small configs of every type whose training has a program, and four runs of each."""

from __future__ import annotations

import random
from unittest import mock

import ask
import small
import torch
import train
from train import Run

USED = ("start", "forward", "loss backward", "head backward", "layers backward", "backward", "step")
SEEDS = range(3)
TYPES = (
    *("gemma", "gemma2", "gemma3_text", "phi3", "olmo2", "ministral3"),
    *("glm4_moe", "deepseek_v2", "deepseek_v3", "minimax_m2", "ernie4_5", "ernie4_5_moe", "qwen2_moe"),
    *("gpt_oss", "qwen3_vl", "qwen3_vl_moe", "seed_oss", "olmo3", "exaone4", "glm", "glm4", "granite"),
    *("helium", "hunyuan_v1_dense", "starcoder2", "gpt_neox"),
)


def rounded(number, multiple=8):
    """The next multiple."""
    return number + -number % multiple


def even(fields, draw):
    """Sizes that kernels take: heads and inner widths of experts in multiples of 8."""
    for name in ("head_dim", "global_head_dim", "v_head_dim", "qk_nope_head_dim", "qk_rope_head_dim"):
        if name in fields:
            fields[name] = rounded(fields[name])
    if "v_head_dim" in fields:  # kernels pad values, but not queries
        fields["v_head_dim"] = min(
            fields["v_head_dim"], fields["qk_nope_head_dim"] + fields["qk_rope_head_dim"]
        )
    if "head_dim" not in fields and "num_attention_heads" in fields:
        heads = fields["num_attention_heads"]
        fields["hidden_size"] = heads * rounded(fields["hidden_size"] // heads)
    return fields


EAGER = ("gpt_oss",)  # sinks: no kernel that trains them is among torch's


def sparse_from_the_first(fields, draw):
    """Where no layer has experts PEFT takes linear layers for stacked arrays all the same."""
    del draw
    return {name: value for name, value in fields.items() if not name.startswith("moe_layer_")}


OWN = {
    "ernie4_5_moe": sparse_from_the_first
}  # what a type needs beside: a function of its fields and a drawer


def sparse(fields):
    """Whether there are experts, whose grouped product wants rows of whole 16 bytes."""
    return any(
        name in fields for name in ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
    )


def text_of(fields):
    """The fields of the text model: beside a tower they lie in an object of their own."""
    return fields.get("text_config", fields)


def config(model_type, seed):
    """A small config of a type; equal seeds give equal configs. Nothing is dropped."""
    draw = random.Random(f"program {model_type} {seed}")
    whole = small.small_config(model_type, seed)
    fields = text_of(whole)
    even(fields, draw)
    for name in ("moe_intermediate_size", "intermediate_size", "hidden_size"):
        if name in fields and sparse(fields):
            fields[name] = rounded(fields[name])
    if "layer_types" not in fields and fields.get("num_hidden_layers", 9) < 3:
        fields["num_hidden_layers"] = 3
    changed = OWN.get(model_type, lambda fields, draw: fields)(fields, draw)
    usual = ask.config_of(whole).get_text_config().to_dict()
    none = {name: 0.0 for name, value in usual.items() if "dropout" in name and value and value < 1}
    changed |= none
    if fields is whole:
        return changed
    if "out_hidden_size" in whole.get("vision_config", {}):
        whole["vision_config"]["out_hidden_size"] = changed["hidden_size"]
    return whole | {"text_config": changed}


def runs(model_type, seed):
    """Four runs: plain, recomputed, with adapters, and step by step or in other numbers."""
    draw = random.Random(f"program run {model_type} {seed}")

    only = {"attention": "eager"} if model_type in EAGER else {}

    def sizes():
        return only | {"batch": draw.randint(1, 3), "sequence": draw.randint(9, 90), "optimizer": "none"}

    other = ({"attention": "eager"}, {"weights": "fp32"}, {"attention": "repeated"})
    if sparse(text_of(small.small_config(model_type, seed))):  # torch groups products in bf16 only
        other = ({"attention": "eager"}, {"experts": "batched_mm"}, {"attention": "repeated"})
    if only:
        other = ({"experts": "batched_mm"},) * 3
    return {
        "plain": Run(**sizes() | {"optimizer": draw.choice(("none", "adamw fused", "adamw foreach"))}),
        "recomputed": Run(**sizes(), recompute=True),
        "adapters": Run(**sizes(), trained=f"lora {draw.choice((4, 8, 16))} all-linear fp32"),
        "other": Run(**sizes() | other[seed % 3], recompute=draw.random() < 0.3),
    }


def moments(fields, run):
    """One step: bytes held at each moment and their peak since the one before, without ids and scalars."""
    with (
        mock.patch.object(train, "build", built),
        mock.patch.object(train, "Ledger", Ledger),
        mock.patch.object(ask, "class_of", lambda config: WithoutTowers(CLASS_OF(config))),
    ):
        return moments_of(fields, run)


class Ledger(train.Ledger):
    """LayerNorm's mean and deviation have 32 bits: as the kernel for GPUs has them, and not that for CPUs.

    torch._refs.native_layer_norm narrows them to the numbers of its input for CPUs alone.
    """

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        if operator is torch.ops.aten.native_layer_norm.default:
            normal, *statistics = operator(*args, **(kwargs or {}))
            result = (normal, *(item.float() for item in statistics))
            for item in result:
                self.take(item)
            return result
        return super().__torch_dispatch__(operator, types, args, kwargs)


CLASS_OF = ask.class_of


class WithoutTowers:
    """A class whose models have no towers: they are given text alone."""

    def __init__(self, kind):
        self.kind = kind

    def from_config(self, *args, **more):
        """The model, built as the class builds it."""
        model = self.kind.from_config(*args, **more)
        for name in [name for name, _ in model.base_model.named_children() if name in TOWERS]:
            delattr(model.base_model, name)
        return model


TOWERS = {prefix.split(".")[1] for prefix in ask.TOWER_PREFIXES if prefix.startswith("model.")}


BUILD = train.build


def built(fields, run, device="meta"):
    """The model with what its class loads in 32 bits whatever its dtype: a config alone does not do that."""
    model = BUILD(fields, run, device)
    wide = tuple(model.base_model._keep_in_fp32_modules_strict or ())
    for name, item in (*model.named_parameters(), *model.named_buffers()) if wide else ():
        if any(f".{part}." in f".{name}." for part in wide):
            item.data = item.data.float()
    return model


def moments_of(fields, run):
    """The same of what is built."""
    found = train.step(fields, run)
    if "capped backward" in found:  # what follows the head belongs to it
        behind = found["loss backward"]["peak"]
        found["loss backward"] = found["capped backward"]
        found["head backward"]["peak"] = max(found["head backward"]["peak"], behind)
    model = train.build(fields, run)
    trained = [
        item for name, item in model.named_parameters() if item.requires_grad and "moe_statics" not in name
    ]
    scalars = 4 * len(trained) if "adamw" in run.optimizer else 0  # no gradient reaches them
    beside = 8 * run.batch * run.sequence + scalars
    return {
        name: [found[name]["held"] - beside, found[name]["peak"] - beside] for name in USED if name in found
    }
