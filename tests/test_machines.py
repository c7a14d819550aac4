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
        ("3060 12GB", 1, "rtx-3060-12g"),
        ("RTX PRO 6000 Blackwell Workstation Edition", 1, "rtx-pro-6000-blackwell"),
        ("Jetson AGX Orin 64GB", 1, "jetson-orin-64g"),
        ("Gaudi 3", 1, "gaudi3"),
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
        ("m4 max", ["m4-max-128g"]),  # known with one size of several
        ("h100-80", ["h100-80g"]),
        ("rtx 4099", ["rtx-4090"]),
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


def test_nothing_is_near_to_nothing():
    assert nearest_ids("") == nearest_ids("q") == nearest_ids("nothing at all") == []
    with pytest.raises(UnknownNameError, match=r"rtx-a6000, .*, m5-max-128g, .*see `memcalc list machines`"):
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
    assert [name for name, row in rows.items() if row.get("nominal_only")] == ["rx-9060-xt-16g"]
    assert main(["list", "machines"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(rows)
    assert [line.split()[0] for line in lines if line.endswith("; the box's number, assumed")] == [
        "rx-9060-xt-16g"
    ]
    assert next(line for line in lines if line.startswith("gb10")).split()[1:4] == [
        "unified",
        "121.69",
        "GiB",
    ]


def test_a_device_known_by_its_box_alone_says_so():
    served = memcalc.serve(SMALL, context=8, on="rx-9060-xt-16g")
    assert "rx-9060-xt-16g: 16 GB as printed on the box is assumed to be 16.00 GiB" in served.defaults


def test_a_record_without_a_source_does_not_load():
    with pytest.raises(TypeError):
        Device(id="a", vendor="b", name="c", nominal="1 GB", printed_mib=1, visible_mib=None, date="2026-11")
