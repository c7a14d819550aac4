"""Repositories of the Hub, from a library that is made up here: no test asks the network."""

from __future__ import annotations

import json
import sys
from math import prod
from types import ModuleType, SimpleNamespace

import pytest

from memcalc.__main__ import main
from memcalc.errors import MemcalcError
from memcalc.files.sources import source
from memcalc.serving import serve


class Errors(ModuleType):
    """The classes of huggingface_hub.errors that matter, derived from each other as the real ones are."""

    class HTTPError(Exception):
        """What httpx and requests raise."""

    class HfHubHTTPError(HTTPError, OSError):
        """The Hub answered, but not with the file."""

    class RepositoryNotFoundError(HfHubHTTPError):
        """404, or 401 for a private one."""

    class GatedRepoError(RepositoryNotFoundError):
        """403."""

    class EntryNotFoundError(Exception):
        """No such file."""

    class LocalEntryNotFoundError(FileNotFoundError, EntryNotFoundError):
        """Not in the cache."""

    class OfflineModeIsEnabled(ConnectionError):  # noqa: N818 (its name)
        """HF_HUB_OFFLINE=1."""

    class SafetensorsParsingError(Exception):
        """Other bytes."""

    class HFValidationError(ValueError):
        """No name of a repository."""


CONFIG = {
    "model_type": "llama",
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "vocab_size": 10,
    "torch_dtype": "bfloat16",
}
MATRICES = {f"self_attn.{letter}_proj": (8, 8) for letter in "qkvo"}
MATRICES |= {"mlp.gate_proj": (16, 8), "mlp.up_proj": (16, 8), "mlp.down_proj": (8, 16)}
SHAPES = {
    "model.embed_tokens.weight": (10, 8),
    "model.norm.weight": (8,),
    "lm_head.weight": (10, 8),
    "model.layers.0.input_layernorm.weight": (8,),
    "model.layers.0.post_attention_layernorm.weight": (8,),
    **{f"model.layers.0.{name}.weight": shape for name, shape in MATRICES.items()},
}
TENSORS = {name: ("BF16", shape) for name, shape in SHAPES.items()}


class Hub:
    """A Hub with one repository, whose files lie in a folder; `down` is what the network raises, or None."""

    def __init__(self, folder):
        self.folder, self.down, self.header, self.asked, self.bars = folder, None, None, [], True
        self.errors = Errors("huggingface_hub.errors")

    def model_info(self, name, timeout):
        self.asked.append((name, timeout))
        if self.down:
            raise self.down
        files = [path.name for path in self.folder.iterdir()] + ["model.safetensors"] * bool(self.header)
        return SimpleNamespace(sha="abc", siblings=[SimpleNamespace(rfilename=name) for name in files])

    def get_safetensors_metadata(self, name):
        assert name == "some/model"
        if isinstance(self.header, Exception):
            raise self.header
        end, tensors = 0, {}
        for tensor, (dtype, shape) in self.header.items():
            begin, end = end, end + 2 * prod(shape)
            tensors[tensor] = SimpleNamespace(dtype=dtype, shape=shape, data_offsets=(begin, end))
        file = SimpleNamespace(tensors=tensors)
        return SimpleNamespace(metadata=None, files_metadata={"model.safetensors": file})

    def hf_hub_download(self, name, file, *, local_files_only=False):
        assert name == "some/model"
        assert not self.bars
        assert local_files_only == bool(self.down)
        if not (self.folder / file).exists():
            raise self.errors.LocalEntryNotFoundError(file)
        return str(self.folder / file)

    def show_bars(self, *, shown):
        self.bars = shown


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """The made-up library in the place of the real one."""
    made = Hub(tmp_path)
    module, utils = ModuleType("huggingface_hub"), ModuleType("huggingface_hub.utils")
    utils.are_progress_bars_disabled = lambda: not made.bars
    utils.disable_progress_bars = lambda: made.show_bars(shown=False)
    utils.enable_progress_bars = lambda: made.show_bars(shown=True)
    module.HfApi, module.hf_hub_download = lambda: made, made.hf_hub_download
    module.utils, module.errors = utils, made.errors
    for part in (module, utils, made.errors):
        monkeypatch.setitem(sys.modules, part.__name__, part)
    return made


def describe(hub):
    (hub.folder / "config.json").write_text(json.dumps(CONFIG))


def test_a_repository_has_a_config_and_a_header(hub, capsys):
    hub.header = TENSORS
    describe(hub)
    assert main(["model", "some/model", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["name"] == "some/model"
    assert said["differences"] == []
    assert said["header"]["tensors"] == len(hub.header)
    assert hub.asked == [("some/model", 5)]
    assert hub.bars


def test_a_repository_without_safetensors_is_its_config(hub):
    describe(hub)
    assert source("some/model").header is None


def test_nvidia_says_it_in_a_file_of_its_own(hub):
    said = {"quantization": {"quant_algo": "NVFP4", "group_size": 16, "exclude_modules": ["lm_head"]}}
    describe(hub)
    (hub.folder / "hf_quant_config.json").write_text(json.dumps(said))
    assert serve("some/model", context=8).plan.weights == "nvfp4"


def test_a_catalogue_name_and_a_path_ask_nobody(hub, tmp_path, monkeypatch):
    """A folder some/model comes before the repository of that name."""
    describe(hub)
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "model").mkdir()
    (tmp_path / "some" / "model" / "config.json").write_text((tmp_path / "config.json").read_text())
    monkeypatch.chdir(tmp_path)
    for text in ("Qwen/Qwen3-32B", "some/model", "config.json"):
        source(text)
    assert hub.asked == []


@pytest.mark.parametrize("down", ["HTTPError", "OfflineModeIsEnabled"])
def test_without_a_network_the_cache_answers(hub, down):
    """And is silent about weights that are not in it."""
    hub.down = getattr(hub.errors, down)()
    with pytest.raises(MemcalcError, match="nothing in the cache"):
        source("some/model")
    describe(hub)
    found = source("some/model")
    assert (found.header, found.found) == (None, "some/model, from the cache")


@pytest.mark.parametrize(
    ("error", "says"),
    [
        ("GatedRepoError", "gated"),
        ("RepositoryNotFoundError", "private repository needs a login"),
        ("HFValidationError", "private repository needs a login"),
        ("HfHubHTTPError", "HfHubHTTPError"),
    ],
)
def test_what_the_hub_refuses_is_one_line(hub, capsys, error, says):
    """Although a copy lies in the cache: the Hub did answer."""
    describe(hub)
    hub.down = getattr(hub.errors, error)()
    assert main(["model", "some/model"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert says in said.err
    assert "some/model" in said.err


def test_a_repository_without_a_config_is_refused(hub):
    with pytest.raises(MemcalcError, match=r"a repository with a config\.json"):
        source("some/model")


@pytest.mark.parametrize(
    ("spoiled", "says"), [("parsing", "safetensors headers"), ("dtype", "a dtype among"), ("network", "try")]
)
def test_a_header_that_cannot_be_read_is_refused(hub, spoiled, says):
    describe(hub)
    hub.header = {
        "parsing": hub.errors.SafetensorsParsingError(),
        "dtype": TENSORS | {"model.norm.weight": ("F7", (8,))},
        "network": hub.errors.HTTPError(),
    }[spoiled]
    with pytest.raises(MemcalcError, match=says):
        source("some/model")


def test_without_the_library_it_says_how_to_get_it(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert main(["model", "some/model"]) == 2
    said = capsys.readouterr().err
    assert "pip install huggingface_hub" in said
    assert "download its config.json" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("text", ["nobody", "a/b/c", "models/", "/model", "some/", "-x/y"])
def test_what_is_no_repository_is_unknown(text, capsys):
    """Without asking anybody."""
    assert main(["model", text] if not text.startswith("-") else ["model", "--", text]) == 2
    assert "owner/name of a Hub repository" in capsys.readouterr().err
