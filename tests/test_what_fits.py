"""Pages by card and by model: every number is memcalc's answer, every link asks the same again."""

from __future__ import annotations

import re
import shlex
from urllib.parse import unquote

import pytest
import yaml

from memcalc.__main__ import main
from memcalc.cli.command import parser_of
from memcalc.errors import BadInputError
from memcalc.files.catalogue import catalogue
from memcalc.files.machines import devices
from memcalc.serving import serve
from memcalc.training import train
from memcalc.training.autograd.by_type import ARCHITECTURES


@pytest.fixture(scope="module")
def what_fits(root):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(root / "tools")
        import what_fits

        yield what_fits


LINK = re.compile(r'<a href="\.\./book/calculator\.html#([^"]+)">([^<]+)</a>')


def links(page):
    """The commands of a page's links, and what each link shows."""
    return [(unquote(address).removeprefix("memcalc "), shown) for address, shown in LINK.findall(page)]


@pytest.fixture(scope="module")
def page_24(what_fits):
    return what_fits.PAGES["24_gb.md"]()


def test_the_table_of_contents_has_every_page(root, what_fits):
    toc = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
    (index,) = (one for part in toc["parts"] for one in part["chapters"] if one["file"] == "fits/index")
    listed = ["fits/index", *(one["file"] for one in index["sections"])]
    assert listed == [f"fits/{name.removesuffix('.md')}" for name in what_fits.PAGES]


def test_models_and_devices_are_of_the_record(what_fits):
    asked = {*what_fits.ASKED, *what_fits.BESIDE, *what_fits.TRAINED}
    assert asked <= set(catalogue())
    assert {one.device for one in what_fits.SIZES} | {*what_fits.COMMON, *what_fits.RENTED} <= set(devices())
    for size in what_fits.SIZES:
        assert devices()[size.device].nominal == size.nominal


def test_every_device_of_a_size_is_named(what_fits, page_24):
    named = re.search(r"^and what can be trained there: (.*)\.$", page_24, re.MULTILINE)[1].split(", ")
    sold = [what_fits.name_of(one) for one in devices().values() if one.nominal == "24 GB"]
    assert sorted(named) == sorted(sold)
    assert "RTX 3090" in named


@pytest.mark.parametrize("name", ["24_gb.md", "128_gb.md", "qwen3_6_27b.md", "gpt_oss_120b.md"])
def test_every_link_is_a_command(what_fits, name):
    asked = links(what_fits.PAGES[name]())
    assert len(asked) > 5
    for words, _ in asked:
        command, *options = shlex.split(words)
        parser_of(command).parse_args(options)


def test_a_cell_is_the_answer_of_its_link(what_fits, page_24):
    shown = dict(links(page_24))
    words = what_fits.Plan("Qwen/Qwen3-32B", "llama.cpp", "Q4_K_M").words("1x rtx-4090")
    served = serve("Qwen/Qwen3-32B", context=8192, weights="Q4_K_M", engine="llama.cpp", on="1x rtx-4090")
    assert served.max_context < served.model.max_context
    assert shown[words] == f"fits, {served.max_context:,} tokens"
    words = what_fits.Plan("Qwen/Qwen3-0.6B", "vllm").words("1x rtx-4090")
    assert shown[words] == f"fits, all {serve('Qwen/Qwen3-0.6B', context=1).model.max_context:,} tokens"
    words = what_fits.training_words("Qwen/Qwen3-8B", "QLoRA", "1x rtx-4090")
    options = {"regime": "pure-bf16", "recompute": "full", "lora_rank": 16, "quantize_base": "nf4-dq"}
    step = train("Qwen/Qwen3-8B", seq=2048, on="1x rtx-4090", **options)
    assert shown[words] == f"fits: {step.device.total_bytes}"


def test_the_words_of_a_link_say_the_same_at_a_shell(page_24, capsys):
    """The verdict of every row of a model, and the total of those that do not fit."""
    asked = [(words, shown) for words, shown in links(page_24) if " Qwen/Qwen3.6-27B " in f" {words} "]
    assert len(asked) == 3
    for words, shown in asked:
        assert main(shlex.split(words)) == 0
        said = capsys.readouterr().out
        verdict, _, amount = shown.partition(": ")
        assert {"no": "does not fit", "may not fit": "may not fit"}.get(verdict, "  fits") in said
        assert amount in said


def test_a_step_that_is_assumed_says_its_range(what_fits, monkeypatch):
    page = what_fits.PAGES["qwen3_6_27b.md"]()
    found = what_fits.step("Qwen/Qwen3.6-27B", "every weight").device
    low, high = what_fits.gib(found.low_bytes), what_fits.gib(found.high_bytes)
    assert low != what_fits.gib(found.total_bytes) != high
    assert f"the kernels decide for layers with a state: every weight {low} to {high}, LoRA " in page
    monkeypatch.delitem(ARCHITECTURES, "kimi_linear")
    unlisted = what_fits.model_page("moonshotai/Kimi-Linear-48B-A3B-Instruct")
    assert "their operations are not listed: every weight " in unlisted
    assert "is assumed, as" not in what_fits.PAGES["glm_5_2.md"]()
    assert "is assumed, as" not in what_fits.PAGES["qwen3_8b.md"]()


def test_a_model_without_a_step_says_why(what_fits, monkeypatch):
    def refused(*_):
        raise BadInputError("SOURCE", "another", "this", "take it")

    monkeypatch.setattr(what_fits, "step", refused)
    page = what_fits.PAGES["qwen3_6_27b.md"]()
    assert "`memcalc` refuses a step of this model, rather than guess: `SOURCE: expected" in page
    assert "memcalc train" not in page


def test_sixteen_bits_are_not_taken_for_less(what_fits):
    """A column of FP8 stands for models that are published in 16 bits alone; MXFP4 stays MXFP4 in GGUF."""
    assert what_fits.columns("openai/gpt-oss-20b")["FP8, vLLM"] is None
    assert what_fits.columns("openai/gpt-oss-20b")["4-bit GGUF, llama.cpp"].weights == "MXFP4_MOE"
    assert what_fits.columns("Qwen/Qwen3-8B")["FP8, vLLM"].weights == "fp8"
