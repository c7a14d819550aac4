"""What transformers keeps of the tokens seen is what memcalc says it keeps, tensor by tensor."""

from __future__ import annotations

from itertools import groupby

import ask
import pytest
from small import DRAWN, SEEDS, small_config
from test_tensors import PUBLISHED, SMALL

from memcalc.files.readers import read
from memcalc.serving.engines import engine
from memcalc.serving.engines.compressed import keeping

ENGINE = engine("transformers")
KEPT = ENGINE.kept
COMPRESSED = [name for name in SMALL if name.startswith(("deepseek_v4", "deepseek_ref"))]
WINDOWED = [name for name in SMALL if name not in COMPRESSED and set(ask.windows(SMALL[name])) - {None}]

BYTES = {"fp32": 4, "int64": 8}


def attention_of(name):
    """Which attention of a layer a tensor belongs to: LongCat's layers have two, each with its own cache."""
    half = name.split(".")[1]
    return half if half.isdecimal() else ""


def expected(fields, batch, context):
    """The shapes memcalc gives each layer; transformers writes a latent as keys and values of one head."""
    layers = []
    for layer in keeping(ENGINE.prepare(read(fields)), "now").layers:
        cached = {tensor.name: tensor.stored_shape for tensor in layer.cache(batch, context, KEPT)}
        one_head = {name for name in cached if name.endswith((".latent", ".rotated_key"))}
        one_head |= {
            name for name in ("self_attn.keys", "self_attn.values") if len(cached.get(name, ())) == 3
        }
        cached |= {name: (batch, 1, *cached[name][1:]) for name in one_head}
        halves = [tuple(cached[name] for name in names) for _, names in groupby(cached, attention_of)]
        layers += halves or [()]
    return layers


def bytes_of(fields, batch, context):
    """16 bits a number; most states of linear attention have 32."""
    tensors = ENGINE.cache(keeping(ENGINE.prepare(read(fields)), "now"), batch, context, ENGINE.defaults)
    return sum(BYTES.get(tensor.format, 2) * tensor.count for tensor in tensors)


@pytest.mark.sampled
@pytest.mark.parametrize("name", SMALL)
def test_caches_the_same_tensors(name):
    """Real models and real tokens: before, in and after their windows, one to three sequences."""
    model = ask.in_memory(SMALL[name])
    for batch, context in ask.SMALL_RUNS:
        held = ask.run(model, batch, context)
        assert expected(SMALL[name], batch, context) == ask.shapes_held(held), (batch, context)
        assert bytes_of(SMALL[name], batch, context) == ask.bytes_held(held)


@pytest.mark.sampled
@pytest.mark.parametrize("name", [f"{kind} {seed}" for kind in DRAWN for seed in (0, 1)])
def test_the_path_does_not_matter(name):
    """A prompt in pieces, then one token after another, ends in the cache of all tokens at once."""
    model = ask.in_memory(SMALL[name])
    held = ask.run(model, 2, 40, 20, *[1] * 20)
    assert ask.shapes_held(held) == expected(SMALL[name], 2, 80)


@pytest.mark.sampled(29)
@pytest.mark.parametrize("name", PUBLISHED)
def test_full_size_models_cache_the_same_tensors(name):
    """On the meta device: the real classes at the real sizes."""
    said = ask.figures(PUBLISHED[name])["cache"]
    for run, cached in said.items():
        batch, context = map(int, run.split(" x "))
        assert bytes_of(PUBLISHED[name], batch, context) == cached["bytes"], run
        layers = expected(PUBLISHED[name], batch, context)
        spelled = (" ".join("x".join(map(str, shape)) for shape in shapes) for shapes in layers)
        assert cached["layers"] == [f"{len(list(equal))} x {one}" for one, equal in groupby(spelled)]


def test_deepseek_keeps_the_latent():
    """Keys are the latent and values the rotated part, for all heads together: 576 numbers, not 40,960."""
    said = ask.figures(PUBLISHED["deepseek-ai/DeepSeek-V3"])["cache"]["1 x 64"]
    assert said == {"bytes": 61 * 576 * 2 * 64, "layers": ["61 x 1x1x64x512 1x1x64x64"]}


@pytest.mark.sampled
@pytest.mark.parametrize("name", WINDOWED)
def test_a_window_frees_memory_with_the_next_token_only(name):
    """What is kept is a slice: after a prompt its storage still holds every token, in decoding `window`."""
    fields = SMALL[name]
    model = ask.in_memory(fields)
    prompt = ask.run(model, 1, 200)
    whole = sum(2 * tensor.count for tensor in read(fields).cache(1, 200, lambda context, _window: context))
    assert ask.bytes_allocated(prompt) == whole
    decoded = ask.run(model, 1, 199, 1)
    wide = read(fields).cache(1, 200, lambda context, kept: context if kept is None else min(context, kept))
    assert ask.bytes_allocated(decoded) == sum(2 * tensor.count for tensor in wide)


@pytest.mark.sampled
@pytest.mark.parametrize("name", COMPRESSED)
def test_what_waits_keeps_the_pass_alive_until_the_next_token(name):
    """After a prompt vectors and buffers hold every token; in decoding a window, and what waited and one."""
    model, fields = ask.in_memory(SMALL[name]), SMALL[name]

    def allocated(tokens_in_window, waiting):
        total = 0
        for layer in keeping(read(fields), "now").layers:
            rate = dict(layer.parts)["self_attn"].compress_rate
            for tensor in layer.cache(1, 200, lambda context, window: context):
                size = tensor.shape[-1]
                if "buffer" in tensor.name:
                    total += 2 * waiting(rate) * size
                else:
                    plain = tensor.name in ("self_attn.keys", "self_attn.values")
                    total += 2 * (tokens_in_window * size if plain else tensor.count)
        return total

    assert ask.bytes_allocated(ask.run(model, 1, 200)) == allocated(200, lambda rate: 200)
    window = min(200, fields["sliding_window"])
    decoded = ask.run(model, 1, 199, 1)
    assert ask.bytes_allocated(decoded) == allocated(window, lambda rate: 199 % rate + 1)


def test_the_small_configs_have_windows_of_every_kind():
    """In all layers, in some of them, in none although one is stated."""
    for kind in "qwen2", "qwen3":
        seen = [ask.windows(small_config(kind, seed)) for seed in SEEDS]
        stated = [small_config(kind, seed)["sliding_window"] for seed in SEEDS]
        assert any(None not in layers for layers in seen)
        assert any(None in layers and set(layers) != {None} for layers in seen)
        assert any(set(layers) == {None} for layers in seen)
        assert min(stated) < 64 < max(stated) < 200
    for kind in "gemma2", "gemma3_text", "gpt_oss":
        seen = [ask.windows(small_config(kind, seed)) for seed in SEEDS]
        assert any(None in layers and set(layers) != {None} for layers in seen)
    for kind in "qwen3_moe", "mistral", "mixtral", "phi3":
        seen = [ask.windows(small_config(kind, seed)) for seed in SEEDS]
        assert any(None not in layers for layers in seen)
    assert any(set(ask.windows(small_config("mistral", seed))) == {None} for seed in SEEDS)
