"""How people write machines, and what of each its record knows."""

import json
import re

import pytest

import memcalc
from memcalc.__main__ import main
from memcalc.errors import BadInputError, UnknownNameError
from memcalc.files.machines import Device, devices, machine, nearest_ids, servers, spelled

GIB = 2**30
SMALL = "Qwen/Qwen3-0.6B"
IDS = [
    *("rtx-a6000", "rtx-a6000-ecc", "rtx-pro-6000-blackwell", "h20-96g", "h20-141g", "a100-40g"),
    *("a100-80g", "h100-80g", "h200-141g", "b200", "l20-ecc", "l20", "l40s-ecc", "rtx-4090"),
    *("rtx-4090-48g", "rtx-5090", "ascend-910b-64g", "ascend-910b4-32g", "atlas-800-a3-die"),
    *("atlas-300i-duo-chip", "mi300x", "t4", "l4", "a10", "a40", "v100-16g", "v100-32g", "h800"),
    *("gh200-96g", "b300", "gb200", "gb300", "gb10", "mi250", "mi325x", "mi355x", "strix-halo"),
    *("rx-7900-xtx", "rtx-3060-12g", "rtx-3080", "rtx-2080-ti-22g", "rtx-4060", "rtx-4060-ti-16g"),
    *("rtx-4070", "rtx-4080", "rtx-5060-ti-16g", "rtx-5070-ti", "rtx-5080", "rtx-5090-laptop-24g"),
    *("rtx-pro-4500-blackwell", "arc-b580", "arc-pro-b60", "jetson-orin-64g", "jetson-thor", "m1-max-32g"),
    *("m4-max-128g", "m3-ultra-512g", "m5-pro-48g", "gaudi2", "gaudi3", "tpu-v5e", "tpu-v6e"),
]


@pytest.mark.parametrize("name", IDS)
def test_a_device_is_known_with_its_source(name):
    device = devices()[name]
    assert device.source
    assert re.fullmatch("20[0-9]{2}-[0-9]{2}", device.date)
    box = float(re.search("([0-9.]+) GB", device.nominal)[1]) * GIB
    assert 0.7 * box < device.capacity_bytes <= 1.001 * box  # Metal keeps a quarter of 32 GB back
    assert device.is_nominal == (device.printed_mib is None and device.visible_mib is None)
    assert memcalc.serve(SMALL, context=8, on=name).device.capacity_bytes == device.capacity_bytes


def test_what_a_framework_sees_is_the_capacity():
    seen = {name: devices()[name].capacity_bytes / GIB for name in devices()}
    # torch, vLLM and llama.cpp in public logs
    for name, gib in {"gb10": 121.69, "t4": 14.58, "l4": 22.03, "gh200-96g": 94.5, "mi325x": 255.98}.items():
        assert seen[name] == pytest.approx(gib, abs=0.005)
    assert seen["rtx-pro-4500-blackwell"] == pytest.approx(31.38, abs=0.005)
    assert devices()["m5-pro-48g"].capacity_bytes == pytest.approx(40_200.9e6, rel=1e-4)
    assert devices()["m3-ultra-512g"].capacity_bytes == pytest.approx(498_216.21e6, rel=1e-5)
    assert devices()["mi355x"].capacity_bytes == 309_220_868_096


def test_every_nvidia_device_has_cudas_name_of_its_generation():
    for device in devices().values():
        assert bool(device.capability) == (device.vendor == "NVIDIA")
    found = {
        name: devices()[name].capability
        for name in ("t4", "v100-32g", "h800", "gb300", "gb10", "jetson-thor")
    }
    assert list(found.values()) == ["7.5", "7.0", "9.0", "10.3", "12.1", "11.0"]


@pytest.mark.parametrize(
    ("text", "count", "name"),
    [
        ("RTX 4090", 1, "rtx-4090"),
        ("NVIDIA GeForce RTX 4090", 1, "rtx-4090"),
        ("geforce rtx 4090 24GB", 1, "rtx-4090"),
        ("2x4090", 2, "rtx-4090"),
        ("4090", 1, "rtx-4090"),
        ("2 4090", 2, "rtx-4090"),
        ("rtx 4090 48 GB", 1, "rtx-4090-48g"),
        ("8x H100", 8, "h100-80g"),
        ("8 x h100", 8, "h100-80g"),
        ("8× H100 80GB HBM3", 8, "h100-80g"),
        ("NVIDIA A100-SXM4-80GB", 1, "a100-80g"),
        ("4x A100 PCIe 40GB", 4, "a100-40g"),
        ("Tesla V100-SXM2-32GB", 1, "v100-32g"),
        ("H100 NVL", 1, "h100-94g"),
        ("AMD Instinct MI300X", 1, "mi300x"),
        ("Radeon RX 7900 XTX", 1, "rx-7900-xtx"),
        ("AMD Ryzen AI Max+ 395", 1, "strix-halo"),
        ("DGX Spark", 1, "gb10"),
        ("Apple M4 Max 128GB", 1, "m4-max-128g"),
        ("Intel(R) Arc(TM) Pro B60 Graphics", 1, "arc-pro-b60"),
        ("2080 Ti", 1, "rtx-2080-ti"),
        ("5090 mobile", 1, "rtx-5090-laptop-24g"),
        ("7900 xtx", 1, "rx-7900-xtx"),
        ("2x 7900 xtx", 2, "rx-7900-xtx"),
        ("NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition", 1, "rtx-pro-6000-blackwell"),
        ("rtx 4090, 24GB", 1, "rtx-4090"),
        ("3060 12GB", 1, "rtx-3060-12g"),
        ("RTX PRO 6000 Blackwell Workstation Edition", 1, "rtx-pro-6000-blackwell"),
        ("Jetson AGX Orin 64GB", 1, "jetson-orin-64g"),
        ("Gaudi 3", 1, "gaudi3"),
        ("H100 x8", 8, "h100-80g"),
        ("h100x8", 8, "h100-80g"),
        ("8 H100s", 8, "h100-80g"),
        ("RTX 3080", 1, "rtx-3080"),
        ("Atlas 800I A2", 8, "ascend-910b-64g"),
    ],
)
def test_names_are_read_as_people_write_them(text, count, name):
    found = machine(text)
    assert (found.count, found.device.id, found.cards) == (count, name, ())


def test_every_id_and_every_other_name_means_one_device():
    for device in devices().values():
        for name in (device.id, *device.aliases, *device.taken_for):
            for written in (name, name.upper(), name.replace("-", " "), f"{device.vendor} {name}"):
                assert machine(f"2x {written}").device is device
    assert {one.item.id for one in spelled().values()} == {*devices(), *servers()}


@pytest.mark.parametrize(
    ("text", "variants"),
    [
        ("a100", ["a100-80g", "a100-40g"]),
        ("8x A100", ["a100-80g", "a100-40g"]),
        ("h100x", ["h100-80g", "h100-94g"]),
        ("v100", ["v100-16g", "v100-32g"]),
        ("h20", ["h20-96g", "h20-141g"]),
        ("4060 ti", ["rtx-4060-ti-8g", "rtx-4060-ti-16g"]),
        ("rtx 4090 16GB", ["rtx-4090", "rtx-4090-48g"]),
        ("m4 max", ["m4-max-128g", "m4-max-36g", "m4-max-64g"]),
        ("m3 ultra", ["m3-ultra-512g"]),  # known with one size of several
        ("rtx 3060", ["rtx-3060-12g", "rtx-3060-8g"]),
        ("mi300x8", ["mi300x"]),
        ("h100-80", ["h100-80g"]),
        ("gaudy 3", ["gaudi3"]),
    ],
)
def test_what_could_be_several_is_taken_for_none(text, variants):
    with pytest.raises(UnknownNameError) as refused:
        machine(text)
    assert refused.value.remedy == f"did you mean {' or '.join(variants)}?"
    assert str(refused.value).count("rtx-a6000") == 0  # not all of them


@pytest.mark.parametrize(
    ("name", "meant"), [("h100", "h100-80g"), ("h200", "h200-141g"), ("L40S", "l40s-ecc")]
)
def test_a_common_name_says_what_it_is_taken_for(name, meant):
    found = machine(f"2x {name}")
    assert found.defaults == (f"{name} is taken as {meant} ({devices()[meant].name})",)
    assert machine(f"2x {meant}").defaults == ()
    assert found.defaults[0] in memcalc.serve(SMALL, context=8, on=f"2x {name}").defaults
    assert found.defaults[0] in memcalc.train(SMALL, seq=8, on=f"2x {name}").plan.defaults


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("24GiB", 24 * GIB),
        ("24GB", 24 * GIB),
        ("24 gb", 24 * GIB),
        ("24G", 24 * GIB),
        ("24564MiB", 24564 * 2**20),
        ("23.5GiB", 47 * 2**29),
        ("1.5TiB", 3 * 2**39),
    ],
)
def test_a_size_is_a_device(text, size):
    for on, count in ((text, 1), (f"2x {text}", 2), (f"2x{text}", 2)):
        found = machine(on)
        assert (found.count, found.device.capacity_bytes) == (count, size)
        assert bool(found.defaults) == (not text.lower().endswith("ib"))
        assert memcalc.serve(SMALL, context=8, on=on).device.capacity_bytes == size


@pytest.mark.parametrize(
    "text",
    [
        *("", "+", "512GiB host", "0GiB", "0x h100", "9999999999x h100", "x", "-1x h100", "2x"),
        *("rtx-4090 +", "rtx-4090 + 512GiB", "rtx-4090 + 1GiB host + 1GiB host", "rtx-4090 + 0GiB host"),
        *("rtx-4090 + 512 host", "gb10 + 128GiB host", "gb10 + rtx-4090", "24KiB", "1e3GiB", "24GiB 24GiB"),
    ],
)
def test_what_is_no_machine_is_refused(text):
    with pytest.raises((BadInputError, UnknownNameError), match=r"^--on: expected"):
        machine(text)


@pytest.mark.parametrize(
    "text",
    [
        *("rtx 4090 laptop", "4090 mobile", "gtx 1080 ti", "1080 ti", "rtx 3080 ti", "rtx 3070", "rtx 4099"),
        *("rx 7900 xt", "rtx 5090 ti", "rtx 4080 max-q", "rtx 4060 super", "rtx 4090 Max-Q"),
    ],
)
def test_a_name_that_says_another_card_is_offered_none(text):
    with pytest.raises(UnknownNameError) as refused:
        machine(text)
    assert refused.value.remedy == (
        "give the memory of one device, as in 16GiB, or see `memcalc list machines`"
    )


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("4090,3090", "write `4090 + 3090`"),
        ("2x4090, 2x3090", "write `2x4090 + 2x3090`"),
        ("h100 and a100-40g", "write `h100 + a100-40g`"),
        ("rtx-4090; 64GiB host", "write `rtx-4090 + 64GiB host`"),
        ("5,rtx-4090", "join devices by +"),
        ("4090, 3091", "join devices by +"),
        ("rtx 3090, 16GB", "join devices by +"),  # a size behind a comma may be the device's own
        ("dgx h100", "write its devices and how many it has, as in 8x h100-80g"),
        ("2x DGX A100", "write its devices and how many it has, as in 8x a100-80g"),
        ("mac mini m4 pro", "name its chip and its memory, as in m4-pro-48g"),
        ("m3 ultra mac studio", "name its chip and its memory, as in m3-ultra-512g"),
    ],
)
def test_what_is_said_in_another_way_is_answered_with_ours(text, remedy):
    with pytest.raises(BadInputError) as refused:
        machine(text)
    assert refused.value.remedy == remedy


def test_what_has_no_device_in_it_is_answered_with_those_that_it_may_mean():
    for text, ids in (
        (
            "128GB unified",
            [one.id for one in devices().values() if one.is_unified and one.nominal == "128 GB"],
        ),
        ("128GB unified memory", ["gb10", "strix-halo", "m4-max-128g"]),
        ("mac studio", ["m1-max-32g", "m2-max-32g"]),
    ):
        with pytest.raises(BadInputError) as refused:
            machine(text)
        assert all(one in refused.value.remedy for one in ids)
        assert len(str(refused.value)) < 300


def test_memory_of_the_host_is_sold_in_binary_units_and_that_is_said():
    for text in ("64GB host", "64 gb ram", "64GB system memory"):
        found = machine(f"rtx-4090 + {text}")
        assert found.host_bytes == 64 * GIB
        assert found.defaults == ("host: 64 GB as sold is assumed to be 64.00 GiB",)
    assert machine("rtx-4090 + 1TB host").host_bytes == 2**40
    stated = machine("rtx-4090 + 64GiB host")
    assert (stated.host_bytes, stated.defaults) == (64 * GIB, ())


def test_nothing_is_near_to_nothing():
    assert nearest_ids("") == nearest_ids("q") == nearest_ids("nothing at all") == []
    with pytest.raises(
        UnknownNameError, match=r"expected one of [0-9]+ names, .*, or see `memcalc list machines`"
    ):
        machine("nothing at all")


def test_unequal_devices_keep_their_order_and_equal_ones_are_one():
    found = machine("2x RTX 4090 + rtx-3090 + 512GiB host")
    assert [(count, device.id) for count, device in found.cards] == [(2, "rtx-4090"), (1, "rtx-3090")]
    assert (found.count, found.device.id, found.host_bytes) == (3, "rtx-3090", 512 * GIB)
    assert machine("1x rtx-4090 + 2x RTX 4090") == machine("3x rtx-4090")


def test_the_list_shows_kind_and_what_is_nominal(capsys):
    assert main(["list", "machines", "--json"]) == 0
    rows = {row["id"]: row for row in json.loads(capsys.readouterr().out)}
    assert set(rows) == {*devices(), *servers()}
    assert rows["gb10"]["kind"] == "unified"
    assert rows["tpu-v6e"]["kind"] == "tpu"
    assert rows["atlas-800i-a2"]["kind"] == "server"
    nominal = [name for name, row in rows.items() if row.get("nominal_only")]
    assert nominal == ["gh200-144g", "rtx-3060-8g", "rtx-3080-12g"]
    assert main(["list", "machines"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(rows)
    assert [line.split()[0] for line in lines if line.endswith("; the box's number, assumed")] == nominal
    assert next(line for line in lines if line.startswith("gb10")).split()[1:4] == [
        "unified",
        "121.69",
        "GiB",
    ]


def test_a_device_known_by_its_box_alone_says_so():
    served = memcalc.serve(SMALL, context=8, on="rtx-3060-8g")
    assert "rtx-3060-8g: 8 GB as printed on the box is assumed to be 8.00 GiB" in served.defaults


def test_a_record_without_a_source_does_not_load():
    with pytest.raises(TypeError):
        Device(id="a", vendor="b", name="c", nominal="1 GB", printed_mib=1, visible_mib=None, date="2026-11")


# ---- unequal devices ----


@pytest.mark.parametrize(
    ("name", "gib", "places"),
    [  # layers of each device, and the output: transformers 5.23, get_balanced_memory, infer_auto_device_map
        ("Qwen/Qwen3-8B", (24, 16), (18, 19)),
        ("Qwen/Qwen3-8B", (8, 24), (15, 22)),
        ("Qwen/Qwen3-8B", (6, 24), (10, 27)),
        ("Qwen/Qwen3-8B", (24, 24, 8), (11, 18, 8)),
        ("Qwen/Qwen3-8B", (8, 24, 8), (11, 18, 8)),
        ("Qwen/Qwen3-8B", (5, 6, 24), (7, 16, 14)),
        ("Qwen/Qwen3-0.6B", (24, 8), (20, 9)),
        ("Qwen/Qwen3-0.6B", (24, 8, 23), (14, 15, 0)),
        ("Qwen/Qwen2.5-7B-Instruct", (6, 24), (9, 20)),
        ("openai/gpt-oss-20b", (16, 80), (8, 17)),
        ("zai-org/GLM-4.5-Air", (80, 141), (17, 30)),
        ("google/gemma-2-9b-it", (24, 12), (23, 20)),
    ],
)
def test_transformers_fills_devices_as_device_map_does(name, gib, places):
    first, *others = gib
    on = " + ".join([f"{first}GiB", *(f"1x {size}GiB" for size in others)])
    served = memcalc.serve(name, context=8, weights="bf16", on=on)
    assert served.plan.layers_by_device == places
    held = sum(one.weight_bytes for one in served.stages)
    if len(set(gib)) == len(gib):  # nothing twice: a tied head stays where the embedding is
        assert held == memcalc.serve(name, context=8, weights="bf16").stages[0].weight_bytes


def test_llama_cpp_shares_layers_by_free_memory():
    def of(on):
        served = memcalc.serve("Qwen/Qwen3-32B", context=8192, weights="Q4_K_M", engine="llama.cpp", on=on)
        return served.plan.layers_by_device

    assert of("24GiB + 1x 12GiB") == (44, 21)  # 64 layers and the output: 65 x 24 / 36 = 43.3
    assert of("12GiB + 1x 24GiB") == (22, 43)
    assert of("2x 24GiB + 1x 12GiB") == (26, 26, 13)
    assert of("80GiB + 1x 1GiB") == (65, 0)  # 64.2: the output is the first device's, too
    assert of("2x 24GiB") == ()  # equal devices


@pytest.mark.parametrize(("engine", "weights"), [("transformers", "bf16"), ("llama.cpp", "Q8_0")])
def test_unequal_devices_are_pools_of_their_own(engine, weights, capsys):
    asked = ["serve", "Qwen/Qwen3-8B", "--context", "4096", "--engine", engine, "--weights", weights]
    assert main([*asked, "--on", "1x rtx-4090 + 2x rtx-3060-12g", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    pools = [(pool["name"], pool["devices"], pool["capacity_bytes"]) for pool in answer["pools"]]
    capacities = [devices()[name].capacity_bytes for name in ("rtx-4090", "rtx-3060-12g")]
    assert pools[:2] == [("gpu", 1, capacities[0]), ("gpu1", 2, capacities[1])]
    assert {line["pool"] for line in answer["lines"]} == {name for name, *_ in pools}
    assert any("on rtx-4090" in words for words in answer["defaults"])


@pytest.mark.parametrize(
    ("engine", "large", "small"),
    [
        *((engine, "rtx-4090", "rtx-3090") for engine in ("vllm", "sglang", "ktransformers")),
        ("vllm-ascend", "ascend-910b-64g", "ascend-910b4-32g"),
    ],
)
def test_other_engines_count_each_device_as_the_smallest(engine, large, small):
    unequal = memcalc.serve("Qwen/Qwen3-8B", context=4096, engine=engine, on=f"{large} + {small}")
    equal = memcalc.serve("Qwen/Qwen3-8B", context=4096, engine=engine, on=f"2x {small}")
    assert f"unequal devices: each counts as the smallest, {small}" in unequal.defaults
    assert unequal.device.total_bytes == equal.device.total_bytes
    assert (unequal.max_context, unequal.max_batch) == (equal.max_context, equal.max_batch)
    assert unequal.device.devices == 2


@pytest.mark.parametrize("engine", ["transformers", "llama.cpp"])
@pytest.mark.parametrize(
    "on", ["24GiB + 1x 12GiB", "10GiB + 1x 24GiB", "2x 8GiB + 1x 24GiB", "8GiB + 1x 24GiB + 1x 8GiB"]
)
def test_the_largest_load_on_unequal_devices_is_the_last_that_fits(engine, on):
    if engine == "llama.cpp":
        asked = {"engine": engine, "weights": "Q8_0", "on": f"{on} + 64GiB host"}
    else:
        asked = {"engine": engine, "weights": "int8", "on": on}
    served = memcalc.serve("Qwen/Qwen3-8B", context=4096, **asked)
    assert served.max_context
    assert served.fits is (served.max_context >= 4096)
    for context, fits in ((served.max_context, True), (served.max_context + 1, False)):
        there = memcalc.serve("Qwen/Qwen3-8B", context=context, **asked)
        assert there.fits is fits
        assert all(pool.fits for pool in there.devices) is fits
        assert (there.device.room_bytes >= 0) is fits
    if served.max_batch and engine == "transformers":
        for batch, fits in ((served.max_batch, True), (served.max_batch + 1, False)):
            assert memcalc.serve("Qwen/Qwen3-8B", context=4096, batch=batch, **asked).fits is fits


def test_a_larger_second_card_never_hurts():
    contexts = [
        memcalc.serve(
            "Qwen/Qwen3-14B", context=8, engine="llama.cpp", weights="Q8_0", on=f"16GiB + 1x {size}GiB"
        ).max_context
        for size in (4, 8, 12, 15)
    ]
    assert contexts == sorted(contexts)
    assert contexts[0] < contexts[-1]


def test_a_device_may_hold_the_output_alone():
    served = memcalc.serve(
        "Qwen/Qwen3-8B", context=8, engine="llama.cpp", weights="Q8_0", on="35GiB + 1x 0.98GiB"
    )
    assert served.plan.layers_by_device == (36, 1)
    first, second, _ = served.budget.pools
    names = [line.name for line in second.lines if line.component == "weights"]
    assert names == ["lm_head.weight", "model.norm.weight"] or set(names) == {
        "lm_head.weight",
        "model.norm.weight",
    }
    assert not {"lm_head.weight", "model.norm.weight"} & {line.name for line in first.lines}


def test_ranks_of_unequal_devices_count_as_the_smallest_where_they_cut_matrices():
    served = memcalc.serve("Qwen/Qwen3-8B", context=8, tp=2, on="rtx-4090 + rtx-3090")
    assert served.plan.layers_by_device == ()
    assert served.device.capacity_bytes == devices()["rtx-3090"].capacity_bytes


def test_more_devices_than_layers_are_refused():
    with pytest.raises(BadInputError, match=r"^--pp: expected at most the model's 28 layers, given 31"):
        memcalc.serve(SMALL, context=8, on="30x rtx-4090 + rtx-3090").stages  # noqa: B018


def test_a_sweep_on_unequal_devices_is_refused():
    numpy = pytest.importorskip("numpy")
    with pytest.raises(BadInputError, match=r"^--on: .*single plans"):
        memcalc.serve(SMALL, context=numpy.array([8, 16]), on="rtx-4090 + rtx-3090")
    swept = memcalc.serve(SMALL, context=numpy.array([8, 16]), on="rtx-4090 + rtx-3090", engine="vllm")
    assert swept.fits.tolist() == [True, True]


def test_training_on_unequal_devices_counts_the_smallest():
    step = memcalc.train(SMALL, seq=64, world=2, shard=3, on="rtx-4090 + rtx-3060-12g")
    assert step.device.capacity_bytes == devices()["rtx-3060-12g"].capacity_bytes
    assert "unequal devices: each counts as the smallest, rtx-3060-12g" in step.plan.defaults


# ---- memory that host and device share ----


def test_unified_memory_is_one_pool_and_the_system_holds_a_part():
    gb10 = devices()["gb10"]
    assert [round(held / GIB, 2) for held in gb10.held_bytes] == [19.49, 19.94, 20.39]
    served = memcalc.serve("Qwen/Qwen3-8B", context=4096, engine="llama.cpp", weights="Q8_0", on="gb10")
    apart = memcalc.serve(
        "Qwen/Qwen3-8B", context=4096, engine="llama.cpp", weights="Q8_0", on="rtx-5090 + 64GiB host"
    )
    (pool,) = served.budget.pools
    host = apart.host.total_bytes
    assert served.host is None
    assert pool.total_bytes == apart.device.total_bytes + host + gb10.held_bytes[1]
    assert pool.high_bytes - pool.low_bytes >= gb10.held_bytes[2] - gb10.held_bytes[0]
    assert pool.room_bytes <= pool.capacity_bytes - pool.total_bytes


def test_layers_in_the_hosts_memory_are_in_the_same_pool():
    asked = {"context": 4096, "engine": "llama.cpp", "weights": "Q8_0", "on": "m4-max-128g"}
    here, there = (
        memcalc.serve("Qwen/Qwen3-8B", engine_options={"n_gpu_layers": layers}, **asked)
        for layers in (37, 10)
    )
    for component in ("weights", "kv_cache"):
        assert here.device.components[component] == there.device.components[component]
    assert there.verdict == "fits"  # the size of the host's memory is known
    r1 = memcalc.serve(
        "deepseek-ai/DeepSeek-R1", context=8192, weights="q4_k_m", engine="ktransformers", on="gb10"
    )
    assert [pool.name for pool in r1.budget.pools] == ["gpu"]
    assert 375 * GIB < r1.device.components["weights"] < 400 * GIB


def test_an_engine_takes_no_larger_share_than_what_the_system_leaves():
    """GB10: 101.3 to 102.2 of 121.69 GiB are free at the start."""
    served = memcalc.serve("Qwen/Qwen3-32B", context=8192, engine="vllm", on="gb10")
    assert (served.plan.utilization, served.verdict) == (0.83, "fits")
    assert any(words.endswith("101.30 GiB to 102.20 GiB are: 0.83 is taken") for words in served.defaults)
    beside = sum(line.bytes for line in served.device.lines if line.component in ("weights", "activations"))
    assert 0.83 * 121.69 * GIB - 4 * GIB < served.kv_pool.bytes + beside < 0.83 * 121.69 * GIB
    asked = memcalc.serve("Qwen/Qwen3-32B", context=8192, engine="vllm", utilization=0.8, on="gb10")
    assert not any("is taken" in words for words in asked.defaults)
    assert (
        memcalc.serve("Qwen/Qwen3-32B", context=8192, engine="vllm", on="h100-80g").plan.utilization == 0.92
    )


@pytest.mark.parametrize(
    ("share", "verdict"), [(0.83, "fits"), (0.835, "may_not_fit"), (0.87, "does_not_fit")]
)
def test_a_share_that_is_not_free_at_the_start_does_not_start(share, verdict):
    """0.87 failed on two GB10: github.com/MiaAI-Lab/GLM-5.3-Flash-EXL3-2x-DGX-Sparks/issues/47."""
    served = memcalc.serve("Qwen/Qwen3-8B", context=64, engine="vllm", utilization=share, on="gb10")
    assert served.verdict == verdict
    assert (served.cause is None) == (verdict == "fits")
    if verdict == "does_not_fit":
        assert "vLLM starts only where 105.87 GiB are free" in served.cause
        assert (served.max_context, served.max_batch) == (0, 0)
        assert served.remedies[0].words == "a share of 0.83"
        numpy = pytest.importorskip("numpy")
        swept = memcalc.serve(
            "Qwen/Qwen3-8B", context=numpy.array([64, 128]), engine="vllm", utilization=share, on="gb10"
        )
        assert swept.fits.tolist() == [False, False]


def test_sglangs_share_is_one_of_what_is_free():
    gb10 = devices()["gb10"]
    served = memcalc.serve("Qwen/Qwen3-32B", context=8192, engine="sglang", utilization=0.8, on="gb10")
    held = [line for line in served.device.lines if line.name == "held by the system at the start"]
    assert [line.outside for line in held] == [False, True]
    assert sum(line.bytes for line in held) == gb10.held_bytes[1]
    assert held[0].bytes == gb10.held_bytes[1] * 8 // 10


def test_what_a_gpu_may_take_of_strix_halo_is_a_range():
    """126,976 MiB where the kernel is set to the most, 63,968 MiB without a setting."""
    large = memcalc.serve("Qwen/Qwen3-32B", context=8192, engine="llama.cpp", weights="bf16", on="strix halo")
    assert large.verdict == "may_not_fit"
    small = memcalc.serve(
        "Qwen/Qwen3-32B", context=8192, engine="llama.cpp", weights="Q4_K_M", on="strix halo"
    )
    assert small.verdict == "fits"


def test_a_sweep_knows_unified_memory():
    numpy = pytest.importorskip("numpy")
    asked = {"engine": "llama.cpp", "weights": "Q8_0", "on": "gb10"}
    swept = memcalc.serve("Qwen/Qwen3-8B", context=numpy.array([4096, 8192]), **asked)
    single = [
        memcalc.serve("Qwen/Qwen3-8B", context=context, **asked).device.total_bytes
        for context in (4096, 8192)
    ]
    assert swept.device.total_bytes.tolist() == single
    assert swept.host is None


def test_training_on_unified_memory_offloads_nothing():
    offloaded, plain = (
        memcalc.train("Qwen/Qwen3-8B", seq=4096, on="gb10", offload=offload)
        for offload in (("optimizer",), ())
    )
    assert offloaded.host is None
    assert plain.host is None
    held = next(line for line in plain.device.lines if line.name == "held by the system at the start")
    assert (held.low, held.bytes, held.high) == devices()["gb10"].held_bytes
    assert "offloading moves nothing: host and device share the memory" in offloaded.assumed
    assert memcalc.train(SMALL, seq=64, on="gb10").fits


def test_what_lies_in_the_hosts_memory_is_beside_an_engines_share():
    """KTransformers' experts: its pool is what the share leaves, and no more than what they leave."""
    served = memcalc.serve("Qwen/Qwen3-30B-A3B", context=8192, engine="ktransformers", on="gb10")
    experts = [line for line in served.device.lines if "experts" in line.name and line.component == "weights"]
    assert 50 * GIB < sum(line.bytes for line in experts) < 60 * GIB
    assert all(line.outside for line in experts)
    assert served.device.share_bytes < served.device.total_bytes - 50 * GIB
    beside = sum(line.bytes for line in served.device.lines if line.outside and not line.moments)
    assert served.kv_pool.bytes < served.device.capacity_bytes - sum(line.bytes for line in experts) - beside


@pytest.mark.parametrize("engine", ["vllm", "sglang", "ktransformers"])
@pytest.mark.parametrize(("machine", "is_said"), [("arc-pro-b60", True), ("mi300x", False), ("80GiB", False)])
def test_figures_of_other_devices_are_said_to_be(engine, machine, is_said):
    """What was measured on CUDA devices is not passed off as measured on others."""
    served = memcalc.serve("Qwen/Qwen3-8B", context=8192, engine=engine, on=machine)
    assert any("as on CUDA's" in words for words in served.plan.defaults) is is_said
