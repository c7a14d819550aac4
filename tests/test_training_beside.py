"""Loading, evaluation and saving: what they hold beside the step, and where there is no room for them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from memcalc.training import train
from memcalc.training.beside.moment import whole_weights
from memcalc.training.beside.saving import split_copies
from memcalc.training.trainers import trainers

GIB = 2**30
SMALL, MIXTURE = "Qwen/Qwen3-0.6B", "Qwen/Qwen3-30B-A3B"
SHARED = {"seq": 2048, "world": 8, "shard": "fsdp"}
FILE = Path(__file__).parent / "recorded" / "beside.json"
BESIDE = json.loads(FILE.read_text(encoding="utf-8"))["models"]
SCALARS = 8  # bytes of the loss and of a count, which no plan counts


def beside(step):
    """The moments by when and where."""
    return {(one.at, one.where): one for one in step.beside_the_step}


def lines(step, at, where):
    """The lines of one of them by name, without context and programs."""
    found = beside(step)[at, where].lines
    return {line.name: line for line in found if line.component != "runtime"}


# ---- published cases ---------------------------------------------------------------------------------------


def test_a_rank_of_fsdp_2_was_seen_with_136_gib():
    """modelscope/ms-swift#9982, 2026-08: Qwen3.5-35B-A3B on 16 NPUs, some 136 GiB of each rank, killed."""
    name, on = "Qwen/Qwen3.5-35B-A3B", "2x atlas-800i-a2 + 2TiB host"
    step = train(name, **SHARED | {"world": 16}, recompute="full", on=on)
    loaded = beside(step)["load", "host"]
    assert loaded.held("least_bytes") / 16 < 136 * GIB < loaded.held("most_bytes") / 16
    assert loaded.total_bytes > 16 * 4 * step.parameters
    assert loaded.verdict == "does_not_fit"
    assert step.verdict == "does_not_fit"
    alone = train(name, **SHARED | {"world": 16}, recompute="full", on=on, load="rank-0")
    assert beside(alone)["load", "host"].verdict == "fits"


def test_zero_3_has_a_dequantised_model_on_each_device():
    """huggingface/transformers#43696, 2026-02: gpt-oss-20b on eight A100 of 40 GB, no room to load it."""
    asked = {"seq": 2048, "world": 8, "shard": 3, "recompute": "full", "optimizer": "sgd"}
    step = train("openai/gpt-oss-20b", **asked, on="8x a100-40g")
    loaded = beside(step)["load", "device"]
    assert abs(loaded.components["weights"] - 2 * step.parameters) < 10**7
    assert loaded.total_bytes > 39 * GIB
    assert loaded.verdict == "does_not_fit"
    assert step.verdict == "does_not_fit"
    assert step.cause.startswith("to load, a device lacks")


def test_fsdp_that_trains_in_31_gib_may_lack_host_memory_when_it_saves():
    """meta-llama/llama-cookbook#142, 2023-08: Llama-2-70B on eight devices, out of memory while saving."""
    asked = {**SHARED, "recompute": "full"}
    step = train("meta-llama/Llama-2-70b-hf", **asked, load="rank-0", on="8x b300 + 512GiB host")
    saved = beside(step)["save", "host"]
    assert step.lacking_in_the_step("most_bytes") is None
    assert saved.components["optimizer"] == 8 * step.parameters
    assert step.cause.startswith("to save, the host's memory lacks")
    assert step.remedies[0].words == "sharded checkpoints"
    assert "--save sharded" in step.remedies[0].command
    fewer = step.changed(step.plan.source, {"save": "weights"})
    assert beside(fewer)["save", "host"].components["weights"] == 4 * step.parameters


def test_evaluation_with_metrics_fills_devices_that_train():
    """axolotl-ai-cloud/axolotl#1813, 2024-08: out of memory after the first evaluation, two RTX 3090 Ti."""
    asked = {"seq": 2048, "lora_rank": 8, "regime": "pure-bf16", "on": "1x rtx-3090"}
    step = train("meta-llama/Meta-Llama-3.1-8B", **asked)
    assert step.verdict == "fits"
    assert ("evaluate", "device") not in beside(step)
    metrics = {"evaluate": "metrics", "eval_accumulation_steps": 4}
    evaluated = train("meta-llama/Meta-Llama-3.1-8B", **asked, **metrics)
    assert evaluated.cause.startswith("to evaluate, a device lacks")
    assert "--evaluate loss" in beside(evaluated)["evaluate", "device"].fixes[0]


# ---- loading -----------------------------------------------------------------------------------------------


def test_weights_in_their_files_format_are_pages_of_files():
    step = train(SMALL, seq=128)
    assert set(beside(step)) == {("load", "device"), ("save", "device"), ("save", "host")}


def test_each_rank_of_fsdp_widens_what_it_trains_or_the_first_alone_does():
    name = "weights in another format than their files'"
    for load, ranks in (("host", 8), ("rank-0", 1)):
        step = train(SMALL, **SHARED, load=load)
        assert lines(step, "load", "host")[name].bytes == ranks * 4 * step.parameters


def test_adapters_are_all_that_fsdp_widens_of_a_frozen_base():
    step = train(SMALL, **SHARED, lora_rank=8)
    made = lines(step, "load", "host")["weights in another format than their files'"]
    assert made.bytes == 8 * 4 * step.trainable_parameters


def test_experts_of_single_files_become_one_array():
    step = train(MIXTURE, seq=128, regime="pure-bf16")
    (line,) = lines(step, "load", "host").values()
    assert line.bytes == 2 * 48 * 128 * 3 * 768 * 2048
    fused = train("openai/gpt-oss-20b", seq=128, regime="pure-bf16", lora_rank=8)
    assert "experts, which files have one by one, as one array a layer" not in lines(fused, "load", "host")


def test_a_quantised_base_is_whole_on_each_device_before_ranks_share_it():
    """accelerate 1.15, fsdp2_prepare_model, says so of itself; DeepSpeed's engine moves the module there."""
    asked = {"lora_rank": 16, "quantize_base": "nf4", "recompute": "full"}
    one = train("meta-llama/Meta-Llama-3.1-8B", seq=128, **asked)
    for shard in ("fsdp", 3):
        step = train("meta-llama/Meta-Llama-3.1-8B", **SHARED | {"shard": shard}, **asked)
        whole = lines(step, "load", "device")["all weights on each rank, before they are shared out"]
        assert abs(whole.bytes - one.at("step")["weights"]) < 10**6
        assert ("load", "host") not in beside(step)
    by_host = train("meta-llama/Meta-Llama-3.1-8B", **SHARED, **asked, load="host")
    assert lines(by_host, "load", "host")["quantised weights"].bytes == 8 * whole.bytes
    assert beside(by_host)["load", "device"].total_bytes < beside(step)["load", "device"].total_bytes * 0.6


def test_zero_3_reads_module_by_module():
    step = train(SMALL, **SHARED | {"shard": 3})
    found = lines(step, "load", "device")
    assert found["weights"].bytes == pytest.approx(2 * step.parameters / 8, rel=1e-6)
    assert found["the largest module, whole while it is read"].bytes == 2 * 151_936 * 1024
    assert ("load", "host") not in beside(step)


def test_a_trainer_s_own_way_to_load():
    """TRL and axolotl ask for the device; under FSDP TRL's rule is not known, and nothing is said."""
    loads = {like: train(SMALL, seq=128, like=like).settings["load"] for like in trainers()}
    assert loads == {"trl": "device", "axolotl": "device", "llama-factory": "device", "deepspeed": None}
    assert train(SMALL, seq=128, world=2, like="trl").settings["load"] == "host"
    wide = train(SMALL, seq=128, world=2, shard=2, like="trl")
    assert beside(wide)["load", "host"].components["weights"] == 2 * 4 * wide.parameters
    unknown = train(SMALL, **SHARED, like="trl")
    assert "load" not in {at for at, _ in beside(unknown)}
    assert unknown.not_counted[0].at == "load"
    stated = train(SMALL, **SHARED, like="trl", load="rank-0")
    assert ("load", "host") in beside(stated)


# ---- evaluation --------------------------------------------------------------------------------------------


def test_a_batch_of_logits_is_there_three_times_while_the_loss_looks_at_it():
    step = train(SMALL, seq=1024, regime="pure-bf16", evaluate="loss", eval_batch=2)
    line = lines(step, "evaluate", "device")["forward pass without gradients, and the loss"]
    logits = 2 * 1024 * 151_936
    assert 0 <= line.bytes - 10 * logits < 10**7
    assert lines(step, "evaluate", "device")["adamw states"].bytes == 4 * step.parameters


@pytest.mark.parametrize("name", [name for name in BESIDE if "/" not in name])
def test_an_evaluation_holds_what_torch_counted(name, tmp_path):
    """tests/recorded/beside.json, to the byte: the loss alone, and logits of one, two and four batches."""
    said = BESIDE[name]
    (tmp_path / "config.json").write_text(json.dumps(said["config"]), encoding="utf-8")
    asked = {"seq": said["tokens"], "eval_batch": said["batch"], "regime": "pure-bf16", "attention": "sdpa"}
    for one in said["peaks"]:
        kept = {"evaluate": "metrics", "eval_accumulation_steps": one["batches"]}
        how = kept if one["batches"] else {"evaluate": "loss"}
        step = train(str(tmp_path), **asked, **how, autocast=one["autocast"])
        found = lines(step, "evaluate", "device").items()
        held = [line for label, line in found if label.startswith(("forward pass", "logits of"))]
        assert one["bytes"] - sum(line.bytes for line in held) in (0, SCALARS), one


@pytest.mark.parametrize(("batches", "arrays"), [(1, 0), (2, 4), (3, 6), (5, 10)])
def test_logits_of_former_batches_are_joined_in_a_new_array(batches, arrays):
    """A device has all ranks' logits: of k batches twice, while the last one is put behind the others."""
    asked = {"seq": 1024, "regime": "pure-bf16", "world": 4, "evaluate": "metrics", "eval_batch": 2}
    step = train(SMALL, **asked, eval_accumulation_steps=batches)
    found = lines(step, "evaluate", "device")
    one, forward = 4 * 2 * 2 * 1024 * 151_936, found["forward pass without gradients, and the loss"].bytes
    kept = found.get("logits of batches that are kept")
    assert (0 if kept is None else kept.bytes) == max(0, arrays * one - forward)
    moved = [line for name, line in lines(step, "evaluate", "host").items() if name.startswith("logits of")]
    as_read, widened = batches * 4 * one, 2 * batches * 4 * one  # of four ranks; NumPy has no bf16
    assert moved[0].bytes == as_read + widened


def test_an_evaluation_s_batch_is_the_trainer_s():
    own = train(SMALL, seq=128, evaluate="loss")
    assert own.settings["eval_batch"] == 8
    assert train(SMALL, seq=128, evaluate="loss", like="axolotl").settings["eval_batch"] == 1
    assert train(SMALL, seq=128, evaluate="loss", like="axolotl", micro_batch=3).settings["eval_batch"] == 3


# ---- saving ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in BESIDE if "/" in name])
def test_experts_are_cut_out_of_their_array_as_transformers_does(name):
    """tests/recorded/beside.json: the storages that revert_weight_conversion makes, on the meta device."""
    step = train(name, seq=128, regime="pure-bf16")
    _, size, _, _ = split_copies(step.plan, whole_weights(step.plan, step.stage.tensors))
    assert size == BESIDE[name]


def test_a_mixture_that_fits_may_have_no_room_to_be_saved():
    """Two thirds of the experts a second time on the device: 36 GiB of Qwen3-30B-A3B."""
    asked = {"seq": 2048, "regime": "pure-bf16", "recompute": "full", "optimizer": "sgd"}
    step = train(MIXTURE, **asked, on="1x h200-141g")
    assert step.lacking_in_the_step("most_bytes") is None
    assert lines(step, "save", "device")["experts' gate and up, cut out of their one array"].bytes == 36 * GIB
    assert "save_original_format" in beside(step)["save", "device"].fixes[0]
    small = train(MIXTURE, **asked, lora_rank=8, lora_targets=("q_proj",))
    assert "experts' gate and up, cut out of their one array" not in lines(small, "save", "device")


def test_who_writes_what():
    """A file of 50 GB at most; ZeRO-1 and 2 copy on every rank; ZeRO-3 gathers on the first."""
    one = train(SMALL, seq=128)
    (file,) = lines(one, "save", "host").values()
    assert file.bytes == 2 * one.parameters
    (large,) = lines(train("Qwen/Qwen2.5-32B-Instruct", seq=128), "save", "host").values()
    assert large.bytes == 50 * 10**9
    (clones,) = lines(train(SMALL, seq=128, world=4, shard=2), "save", "host").values()
    assert clones.bytes == pytest.approx(4 * 2 * one.parameters, rel=1e-6)
    (gathered,) = lines(train(SMALL, seq=128, world=4, shard=3), "save", "host").values()
    assert gathered.bytes == 2 * one.parameters
    adapted = train(SMALL, seq=128, world=4, shard=3, lora_rank=8)
    (written,) = lines(adapted, "save", "host").values()
    assert written.bytes == 2 * adapted.trainable_parameters
    frozen = train(SMALL, seq=128, world=4, shard="fsdp", lora_rank=8)
    (everything,) = lines(frozen, "save", "host").values()
    assert everything.bytes > 2 * one.parameters


def test_shards_need_no_host_memory():
    for shard in (3, "fsdp"):
        step = train(SMALL, **SHARED | {"shard": shard}, save="sharded")
        assert ("save", "host") not in beside(step)
        assert not any(
            line.component == "gathered" and line.name.startswith("the largest")
            for line in beside(step)["save", "device"].lines
        )


# ---- what is said ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"implementation": "megatron"}, "Megatron-LM"),
        ({"like": "deepspeed"}, "DeepSpeed itself"),
        ({"engine_version": "4.57"}, "transformers 5.23"),
        ({"world": 2, "tp": 2}, "cut the model"),
        ({"method": "dpo"}, "several models"),
    ],
)
def test_what_is_not_known_is_not_counted(asked, why):
    step = train("Qwen/Qwen3-0.6B", seq=128, **asked)
    assert step.beside_the_step == ()
    assert [one.at for one in step.not_counted] == ["load", "evaluate", "save"]
    assert all(why in one.why for one in step.not_counted)


def test_a_plan_with_no_room_to_load_is_not_said_to_fit():
    step = train("Qwen/Qwen3-8B", **SHARED, on="8x h100-80g + 128GiB host")
    assert step.lacking_in_the_step("most_bytes") is None
    assert (step.fits, step.verdict) == (False, "does_not_fit")
    text = str(step)
    assert "does not fit: to load, the host's memory lacks" in text
    assert "fsdp_cpu_ram_efficient_loading" in text
    remedy = step.remedies[0]
    assert "--load rank-0" in remedy.command
    assert len(step.remedies) == 1


def test_the_moments_add_up_and_are_ordered():
    for asked in ({}, {"world": 2, "shard": 2}, SHARED, {**SHARED, "shard": 3}):
        step = train(SMALL, **{"seq": 128, "evaluate": "metrics", "eval_accumulation_steps": 2, **asked})
        for one in step.beside_the_step:
            assert sum(one.components.values()) == one.total_bytes
            assert one.held("least_bytes") <= one.total_bytes <= one.held("most_bytes")
        assert step.allocated_bytes == train(SMALL, **{"seq": 128, **asked}).allocated_bytes
