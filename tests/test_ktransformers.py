"""KTransformers: what lies on the device, what in the host's memory, and what is refused."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from memcalc.__main__ import main
from memcalc.data.constants import KTRANSFORMERS_HOST, KTRANSFORMERS_RUNTIME
from memcalc.errors import BadInputError, MemcalcError
from memcalc.files.api import model as load_model
from memcalc.files.catalogue import catalogue
from memcalc.ledger.formats import format_named, tensor_bytes
from memcalc.ledger.parts import MoE
from memcalc.serving import serve
from memcalc.serving.engines.ktransformers import RULES

if TYPE_CHECKING:
    from memcalc.ledger.model import Model
    from memcalc.serving import ServingEstimate

GB, GIB = 10**9, 2**30
R1, QWEN, KIMI = "deepseek-ai/DeepSeek-R1", "Qwen/Qwen3-235B-A22B", "moonshotai/Kimi-K2.5"
HOME = "1x rtx-4090 + 512GiB host"


def has_experts(model: Model) -> bool:
    """Say whether a layer routes to experts."""
    return any(isinstance(part, MoE) for layer in model.groups for _, part in layer.parts)


# a model of each type: what others of it have in other numbers lies in the same places
MIXTURES = {load_model(name).model_type: name for name in catalogue() if has_experts(load_model(name))}


def on_gguf(
    name: str, context: int, offload: str | None = None, on: str = HOME, **options: int
) -> ServingEstimate:
    """Return a plan with a Q4_K_M file."""
    return serve(
        name,
        weights="q4_k_m",
        engine="ktransformers",
        engine_version="0.2",
        on=on,
        context=context,
        offload=offload,
        engine_options=options,
    )


def kimi(
    context: int, experts: int, on: str = "1x rtx-a6000 + 768GiB host", **more: object
) -> ServingEstimate:
    """Return a plan with Kimi-K2.5 as its checkpoint stores it."""
    options = {"gpu_experts": experts, "layerwise_prefill": more.pop("layerwise", False)}
    return serve(
        KIMI,
        engine="ktransformers",
        engine_version="0.2",
        offload="native",
        on=on,
        context=context,
        engine_options=options,
        **more,  # type: ignore[arg-type]
    )


def modules(serving: ServingEstimate) -> int:
    """Return the bytes of the weights on the device."""
    return serving.budget.pools[0].components["weights"]


def in_host(serving: ServingEstimate) -> int:
    """Return the bytes of the weights in the host's memory."""
    return serving.budget.pools[1].components["weights"]


def test_modules_of_deepseek_r1_on_the_device() -> None:
    """15.06e9 numbers of 4 bits, a scale for 64 of them; kv_b_proj in 16 bits, routers in 32."""
    serving = on_gguf(R1, 8192)
    plan, sizes = serving.plan, Counter[str]()
    for tensor in plan.model.weights():
        for place in plan.engine.placements(plan.model, tensor, plan.rule, plan.engine_options, plan.offload):
            if place.pool == "gpu":
                sizes[place.format.id] += tensor_bytes(place.tensor, place.format)
    layers, experts, width, heads, latent = 58, 256, 7168, 128, 512
    vectors = 61 * (1536 + latent + 2 * width) + width + layers * experts  # norms, and a bias an expert
    assert sizes["int4-g64"] == 15_060_107_264 * 17 // 32 == 8_000_681_984
    assert sizes["bf16"] == 2 * (61 * heads * latent * (128 + 128) + vectors)
    assert sizes["fp32"] == 4 * layers * experts * width
    assert modules(serving) == sum(sizes.values()) == 10_475_267_072
    assert serving.cache_bytes == 8192 * 70_272 == 8192 * 61 * (512 + 64) * 2


def test_the_host_maps_the_whole_file_of_deepseek_r1() -> None:
    """376.71 GiB as llama.cpp writes it today, 376.65 in older files; one figure of its makers is 377G."""
    serving = on_gguf(R1, 8192)
    assert in_host(serving) == serving.weights_file_bytes == 404_488_847_360
    assert 376.65 < in_host(serving) / GIB < 376.72


def test_fp8_on_the_device() -> None:
    """About 19 GB, says doc/en/fp8_kernel.md; the head stays in 16 bits."""
    size = modules(on_gguf(R1, 8192, "fp8"))
    assert size == 18_464_828_768
    assert size < 19 * GB


def test_a_layer_with_experts_costs_six_gigabytes_of_the_device_and_frees_the_host() -> None:
    """doc/en/multi-gpu-tutorial.md: approximately 6GB for each; 256 experts of 3 matrices in 4 bits."""
    none, one, two = (on_gguf(R1, 8192, gpu_layers=number) for number in range(3))
    experts = 256 * 3 * 2048 * 7168
    assert modules(one) - modules(none) == modules(two) - modules(one)
    # the head's format is the same, and the experts' own codes leave the host
    assert modules(one) - modules(none) == experts * 17 // 32 == 5_989_466_112
    assert in_host(one) < in_host(none)


def test_two_sockets_hold_the_experts_twice() -> None:
    """Everything but the experts once: doc/en/install.md asks for twice the model's size."""
    one, two = (on_gguf(R1, 8192, sockets=number) for number in (1, 2))
    experts = sum(tensor_bytes(w, one.plan.rule(w)) for w in one.model.weights() if w.kind == "expert")
    assert in_host(two) - in_host(one) == experts == 393_983_557_632
    assert modules(two) == modules(one)
    assert one.fits
    assert two.budget.pools[1].fits is False


def test_qwen3_235b() -> None:
    """No MLA, no shared expert, and routers that are linear layers: everything but norms in 4 bits."""
    serving = on_gguf(QWEN, 32_768)
    (pool, host) = serving.budget.pools
    norms = 94 * (2 * 4096 + 2 * 128) + 4096
    assert modules(serving) == (7_374_110_720 * 17) // 32 + 2 * norms == 3_919_092_736
    assert pool.components["kv_cache"] == 32_768 * 192_512 == 6_308_233_216
    assert host.components["weights"] == 142_148_069_376
    assert round(in_host(serving) / GIB, 2) == 132.39


def test_the_published_13_gb_are_inside_a_range_that_they_did_not_set() -> None:
    """The range comes from Kimi-K2.5 and DeepSeek-R1; README at cb5617b4 says 13 GB, printed to 1 GB."""
    pool = on_gguf(QWEN, 32_768).budget.pools[0]
    assert pool.low_bytes <= 13 * GB <= pool.high_bytes


def test_the_range_of_the_runtime_is_what_its_rows_leave() -> None:
    """39 and 31 GB of Kimi-K2.5, 13,535 MiB of DeepSeek-R1 with 17 pages of 64 tokens: to the 0.01 GB."""
    runs = ((39 * GB, kimi(65_536, 5)), (31 * GB, kimi(32_768, 1)), (13_535 * 2**20, on_gguf(R1, 17 * 64)))
    left = [used - modules(serving) - serving.cache_bytes for used, serving in runs]
    assert [round(size / GB, 2) for size in left] == [size / GB for size in KTRANSFORMERS_RUNTIME[:3]]


def test_the_range_of_the_host_is_what_its_rows_leave() -> None:
    """Nothing, 382 GiB of DeepSeek-R1, 160 GB of Qwen3-235B: to a GB, which is what is printed."""
    least, typical, most = KTRANSFORMERS_HOST[:3]
    deepseek, qwen = (in_host(on_gguf(*what)) for what in ((R1, 8192), (QWEN, 32_768)))
    assert least == 0
    assert abs(382 * GIB - deepseek - typical) < GB
    assert abs(160 * GB - qwen - most) < GB


def test_kimi_k2_5_as_stored() -> None:
    """The host holds the routed experts; each on the device too costs 1.49 GB; a layer's are 9.51 GB."""
    few, many = kimi(32_768, 1), kimi(65_536, 5)
    experts = sum(tensor_bytes(w, few.plan.rule(w)) for w in few.model.weights() if w.kind == "expert")
    assert in_host(few) == in_host(many) == experts == 570_760_888_320
    step = modules(many) + many.cache_bytes - modules(few) - few.cache_bytes
    assert step == 4 * experts // 384 + 32_768 * 70_272 == 8_248_098_816
    buffer = kimi(32_768, 1, layerwise=True).budget.pools[0].components["activations"]
    assert buffer == experts // 60 == 9_512_681_472


def test_two_cards_are_two_pools() -> None:
    """Layers split: both hold what one would hold; the vision tower stands on the first card alone."""
    one, two = kimi(32_768, 1), kimi(32_768, 1, "2x rtx-4090 + 768GiB host")
    cards = [sum(line.bytes for line in (*held.weights, *held.constant)) for held in two.stages]
    (whole,) = [sum(line.bytes for line in (*held.weights, *held.constant)) for held in one.stages]
    runtime = one.budget.pools[0].components["runtime"]
    assert len(cards) == 2
    assert sum(cards) == whole + runtime
    towers = [sum(line.name == "vision tower" for line in held.constant) for held in two.stages]
    assert towers == [1, 0]


def test_ranks_share_the_buffer_of_a_layer() -> None:
    """As they share the experts themselves."""
    on = "2x rtx-4090 + 768GiB host"
    stages, ranks = (kimi(32_768, 1, on, layerwise=True, tp=tp, pp=2 // tp) for tp in (1, 2))
    size = stages.budget.pools[0].components["activations"]
    assert ranks.budget.pools[0].components["activations"] == size // 2 == 9_512_681_472 // 2


@pytest.mark.parametrize("name", MIXTURES.values())
@pytest.mark.parametrize(
    ("version", "offload"),
    [("0.2", "marlin"), ("0.2", "fp8"), ("0.2", "native"), ("0.7.2", "gguf"), ("0.7.2", "native")],
)
@pytest.mark.parametrize("options", [{}, {"gpu_layers": 1}, {"gpu_experts": 2, "sockets": 2}], ids=str)
def test_every_weight_lies_somewhere(name: str, version: str, offload: str, options: dict[str, int]) -> None:
    """Whole in one pool at least: numbers on device and host together are never fewer than parameters."""
    serving = serve(
        name,
        context=1,
        weights="bf16",
        engine="ktransformers",
        engine_version=version,
        offload=offload,
        engine_options=options,
    )
    held = 0
    for tensor in serving.model.weights():
        plan = serving.plan
        places = list(
            plan.engine.placements(plan.model, tensor, plan.rule, plan.engine_options, plan.offload)
        )
        held += sum(place.tensor.count for place in places)
        assert {place.pool for place in places} <= {"gpu", "host"}
        assert max(place.tensor.count for place in places) >= tensor.count
        assert all(tensor_bytes(place.tensor, place.format) > 0 for place in places)
    assert held >= serving.model.parameters


@pytest.mark.parametrize(
    ("arguments", "field", "given"),
    [
        ({"offload": "everything"}, "--offload", "everything"),
        ({"gpu_experts": 257}, "--engine-option gpu_experts", "257"),
        ({"gpu_layers": 59}, "--engine-option gpu_layers", "59"),
        ({"sockets": 0}, "--engine-option sockets", "0"),
        ({"gpu_expert": 1}, "--engine-option", "gpu_expert"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_in_one_line(
    arguments: dict[str, str | int], field: str, given: str
) -> None:
    """With the field, what was expected and what was given."""
    with pytest.raises(MemcalcError, match=f"^{field}: expected .*{given}") as refused:
        on_gguf(R1, 8192, **arguments)  # type: ignore[arg-type]
    assert "\n" not in str(refused.value)


def test_experts_of_a_model_without_any_are_refused() -> None:
    """Nothing is silently left out."""
    for option in ("gpu_experts", "gpu_layers"):
        with pytest.raises(BadInputError, match=f"{option}: expected at most the model's 0 "):
            on_gguf("Qwen/Qwen3-32B", 8192, **{option: 1})  # type: ignore[arg-type]


def test_the_buffer_for_experts_of_a_model_without_any_is_refused() -> None:
    """A buffer of no bytes would say that the option was heard."""
    with pytest.raises(BadInputError, match="layerwise_prefill: expected a model with experts"):
        serve(
            "Qwen/Qwen3-32B",
            context=8192,
            weights="q4_k_m",
            engine="ktransformers",
            engine_version="0.2",
            engine_options={"layerwise_prefill": True},
        )


def test_a_checkpoint_is_taken_as_it_is_stored_if_nobody_names_a_rule() -> None:
    """No GGUF file, so nothing to map: Kimi-K2.5 is not said to go with 4-bit attention."""
    stated, silent = (
        serve(KIMI, context=8192, engine="ktransformers", engine_version="0.2", offload=name)
        for name in ("native", None)
    )
    assert silent.plan.offload == "native"
    assert modules(silent) == modules(stated)
    assert on_gguf(R1, 8192).plan.offload == "marlin"


def test_as_many_experts_as_there_are_is_no_mistake() -> None:
    """The bound itself."""
    assert modules(on_gguf(R1, 8192, gpu_experts=256)) > modules(on_gguf(R1, 8192, gpu_experts=255))
    assert in_host(on_gguf(R1, 8192, gpu_layers=58)) < 20 * GIB


def test_a_host_that_is_too_small_fits_no_token() -> None:
    """However much the device has left."""
    serving = on_gguf(R1, 8192, on="1x rtx-4090 + 256GiB host")
    gpu, host = serving.budget.pools
    assert (gpu.fits, host.fits, serving.fits) == (True, False, False)
    assert (serving.max_context, serving.max_batch) == (0, 0)


def test_a_host_of_unknown_size_is_taken_as_large_enough() -> None:
    """The devices decide, and the answer says what the host is taken to have."""
    serving = on_gguf(R1, 8192, on="1x rtx-4090")
    assert serving.budget.pools[1].fits is None
    assert serving.fits is True
    assert f"the host is taken to have {serving.budget.pools[1].total_bytes}" in str(serving)
    large = on_gguf(R1, 8192, on="1x rtx-4090", gpu_experts=256)
    assert (large.budget.pools[0].fits, large.budget.pools[1].fits) == (False, None)
    assert large.fits is False  # however large the host is


@pytest.mark.parametrize("engine", ["transformers", "vllm", "sglang"])
def test_host_memory_that_an_engine_does_not_use_changes_nothing(engine: str) -> None:
    """The answer says so."""
    with_host, alone = (
        serve(QWEN, context=1, on=on, engine=engine) for on in (HOME, HOME.partition(" +")[0])
    )
    assert f"the host's memory is not used, as {engine} does not by itself" in with_host.plan.defaults
    assert with_host.host is None
    assert with_host.device.total_bytes == alone.device.total_bytes


def test_the_command_answers_and_refuses(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2 and one line for what is not understood, 1 where it does not fit under --check."""
    base = ["serve", R1, "--weights", "q4_k_m", "--engine", "ktransformers", "--engine-version", "0.2"]
    base += ["--context", "8192"]
    assert main([*base, "--on", HOME, "--check"]) == 0
    assert main([*base, "--on", "1x rtx-4090 + 256GiB host", "--check"]) == 1
    capsys.readouterr()
    assert main([*base, "--on", "1x rtx-4090"]) == 0
    assert "the host is taken to have" in capsys.readouterr().out
    assert main([*base, "--on", "1x rtx-4090", "--check"]) == 0
    capsys.readouterr()
    assert main([*base, "--on", HOME, "--engine-option", "gpu_experts=257"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("memcalc: error: --engine-option gpu_experts: expected at most the model's 256")
    assert err.count("\n") == 1


def test_a_rule_names_formats_that_exist() -> None:
    """A typing error in a record is found here, and not when somebody asks for the rule."""
    for rule in RULES.values():
        for name in (rule.linear, rule.head):
            assert name is None or format_named(name).bits > 0


# ---- since 0.5: SGLang with experts in the host ----


def newest(name: str, on: str, **asked: object) -> ServingEstimate:
    """Return a plan with the newest version."""
    return serve(name, context=8192, engine="ktransformers", on=on, **asked)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("version", "copies"), [("0.2", 2), ("0.3", 1), ("0.4.4", 1), ("0.5.3", 1), (None, 1)]
)
def test_sockets_share_the_experts_since_0_3(version: str | None, copies: int) -> None:
    """Kimi-K2.5's makers ask for 600 GB of two sockets."""
    one, two = (
        newest(
            KIMI, "2x rtx-a6000 + 1024GiB host", engine_version=version, engine_options={"sockets": sockets}
        )
        for sockets in (1, 2)
    )
    assert in_host(two) == copies * in_host(one) == copies * 570_760_888_320


def test_kimi_k2_5_fits_two_cards_and_a_host_of_two_sockets() -> None:
    serving = newest(KIMI, "2x rtx-4090 + 1024GiB host", engine_options={"sockets": 2})
    assert serving.plan.parallelism.tp == 2
    assert serving.verdict == "fits"


def test_since_0_5_it_has_sglangs_pool_share_and_runtime() -> None:
    """What lies on the device is SGLang's but for the routed experts; rounding aside, to the byte."""
    on = "8x h200-141g"
    ours, theirs = (
        serve(R1, context=8192, on=on, engine=engine, engine_version=version).budget.pools[0]
        for engine, version in (("ktransformers", "0.7.2"), ("sglang", "0.5.9"))
    )
    assert ours.components["runtime"] == theirs.components["runtime"]
    assert ours.components["kv_cache"] == theirs.components["kv_cache"]
    kept = ["allocator rounding", *(line.name for line in theirs.lines if ".experts." in line.name)]
    weights = sum(
        line.bytes for line in theirs.lines if line.component == "weights" and line.name not in kept
    )
    assert ours.components["weights"] == weights
    pools = [
        serve(R1, context=8192, on=on, engine="ktransformers", engine_version=version).kv_pool
        for version in ("0.4", "0.7")
    ]
    assert pools[0] is None
    assert pools[1] is not None


def test_a_gguf_of_deepseek_r1_leaves_fp8_on_the_device() -> None:
    """All but the routed experts in FP8, as its makers' checkpoint has it; of other models in 16 bits."""
    serving = newest(R1, "1x rtx-4090 + 512GiB host", weights="q4_k_m")
    formats = {
        place.format.id
        for tensor in serving.model.weights()
        for place in serving.engine.placements(
            serving.model, tensor, serving.plan.rule, serving.plan.engine_options, "gguf"
        )
        if place.pool == "gpu"
    }
    assert serving.plan.offload == "gguf"
    assert formats == {"fp8-block128", "bf16"}
    assert serving.host is not None
    assert serving.host.components["weights"] == 393_983_557_632
    with pytest.raises(MemcalcError, match="--offload: expected one of native, gguf"):
        newest(R1, "1x rtx-4090 + 512GiB host", weights="q4_k_m", offload="marlin")


@pytest.mark.parametrize("version", ["0.1", "0.8", "1.0"])
def test_versions_that_are_not_known_are_refused(version: str) -> None:
    with pytest.raises(MemcalcError, match="--engine-version"):
        newest(KIMI, "1x rtx-a6000 + 768GiB host", engine_version=version)
