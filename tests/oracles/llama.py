"""A real llama.cpp, asked through its shared library: types of a mix, sizes of caches and buffers.

It never sees a number: quantising is a dry run, and contexts are made without allocating. The layouts of
structures belong to one version, so known defaults are looked at first.
"""

from __future__ import annotations

import ctypes
import importlib.util
import re
from collections import Counter
from pathlib import Path

from memcalc.files.gguf.header import NO_WEIGHTS, TYPES
from memcalc.files.gguf.presets import FILE_TYPES
from memcalc.files.readers import read
from tests.gguf_files import described, model_file, size_of, stored

ROOT = Path(__file__).resolve().parents[2]
spec = importlib.util.spec_from_file_location("llama_installer", ROOT / "tools" / "llama_cpp.py")
installer = importlib.util.module_from_spec(spec)
spec.loader.exec_module(installer)

POINTER, INT, WHOLE, FLAG, REAL = (
    ctypes.c_void_p,
    ctypes.c_int32,
    ctypes.c_uint32,
    ctypes.c_bool,
    ctypes.c_float,
)


def structure(name, *fields):
    """A C structure from (type, "names"), with room behind it for what a later version adds."""
    listed = [(word, kind) for kind, words in fields for word in words.split()]
    return type(name, (ctypes.Structure,), {"_fields_": [*listed, ("room", ctypes.c_byte * 64)]})


ModelParameters = structure(
    "ModelParameters",
    (POINTER, "devices buffer_types"),
    (INT, "n_gpu_layers split_mode load_mode lazy_mode main_gpu"),
    (POINTER, "tensor_split progress progress_data overrides"),
    (FLAG, "vocab_only check_tensors use_extra_bufts no_host no_alloc load_mtp"),
)
ContextParameters = structure(
    "ContextParameters",
    (WHOLE, "n_ctx n_batch n_ubatch n_seq_max n_rs_seq n_outputs_max n_outputs_max_per_seq"),
    (INT, "n_threads n_threads_batch ctx_type rope_scaling pooling attention flash_attn"),
    (REAL, "rope_base rope_scale yarn_ext yarn_attn yarn_fast yarn_slow"),
    (WHOLE, "yarn_orig_ctx"),
    (REAL, "defrag"),
    (POINTER, "eval eval_data"),
    (INT, "type_k type_v"),
    (POINTER, "abort abort_data"),
    (FLAG, "embeddings offload_kqv no_perf op_offload swa_full kv_unified"),
    (POINTER, "samplers"),
    (ctypes.c_size_t, "n_samplers"),
    (POINTER, "other"),
)
QuantiseParameters = structure(
    "QuantiseParameters",
    (INT, "nthread ftype output_type embedding_type"),
    (FLAG, "allow_requantize quantize_output only_copy pure keep_split dry_run"),
    (POINTER, "imatrix overrides tensor_types prune"),
    (ctypes.c_size_t, "max_buffer"),
)
CACHE_TYPES = {
    "f32": 0,
    "f16": 1,
    "q4_0": 2,
    "q4_1": 3,
    "q5_0": 6,
    "q5_1": 7,
    "q8_0": 8,
    "iq4_nl": 20,
    "bf16": 30,
}
TENSOR = re.compile(
    r"\[\s*\d+/\s*\d+\] (\S+)\s+- \[([^\]]*)\], type =\s*(\S+), size =\s*[\d.]+ MiB"
    r"(?: -> \s*[\d.]+ MiB \((\S+)\))?"
)
LOGGER = ctypes.CFUNCTYPE(None, INT, ctypes.c_char_p, POINTER)


class Llama:
    """The library, and what it has logged."""

    version = installer.LLAMA

    def __init__(self):
        folder = installer.install()
        self.base = base = ctypes.CDLL(folder / "libggml-base.so", mode=ctypes.RTLD_GLOBAL)
        base.ggml_type_name.restype = ctypes.c_char_p
        base.ggml_blck_size.restype, base.ggml_type_size.restype = ctypes.c_int64, ctypes.c_size_t
        ggml = ctypes.CDLL(folder / f"libggml.{self.version}.so", mode=ctypes.RTLD_GLOBAL)
        self.library = library = ctypes.CDLL(folder / f"libllama.{self.version}.so", mode=ctypes.RTLD_GLOBAL)
        self.said = []
        self.logger = LOGGER(lambda _level, text, _data: self.said.append(text.decode("utf-8", "replace")))
        library.llama_log_set(self.logger, None)
        ggml.ggml_backend_load_all_from_path(str(folder).encode())
        library.llama_backend_init()
        library.llama_model_default_params.restype = ModelParameters
        library.llama_context_default_params.restype = ContextParameters
        library.llama_model_quantize_default_params.restype = QuantiseParameters
        library.llama_model_load_from_file.argtypes = [ctypes.c_char_p, ModelParameters]
        library.llama_init_from_model.argtypes = [POINTER, ContextParameters]
        library.llama_model_quantize.argtypes = [ctypes.c_char_p, ctypes.c_char_p, POINTER]
        for name in "llama_model_load_from_file", "llama_init_from_model":
            getattr(library, name).restype = POINTER
        for name in "llama_free", "llama_model_free":
            getattr(library, name).argtypes = [POINTER]
        known = library.llama_context_default_params()
        assert (known.n_ctx, known.n_batch, known.n_ubatch, known.n_seq_max) == (512, 2048, 512, 1)
        assert (known.type_k, known.type_v, known.swa_full, known.kv_unified) == (1, 1, True, False)
        assert library.llama_model_quantize_default_params().quantize_output

    def taken(self):
        """What was logged since."""
        text = "".join(self.said)
        self.said.clear()
        return text

    def blocks(self):
        """Number -> name, numbers and bytes of a block; a type that was removed has none of either."""
        base, found = self.base, {}
        for number in sorted({*TYPES, *NO_WEIGHTS}):
            name = base.ggml_type_name(number).decode().upper()
            found[str(number)] = [name, base.ggml_blck_size(number), base.ggml_type_size(number)]
        return found

    def types(self, path, mix):
        """Name -> type of every tensor, were the file quantised as a mix; None if a row fits no type."""
        parameters = self.library.llama_model_quantize_default_params()
        parameters.ftype = next(number for number, name in FILE_TYPES.items() if name == mix)
        parameters.dry_run = parameters.allow_requantize = True
        self.taken()
        status = self.library.llama_model_quantize(str(path).encode(), b"/dev/null", ctypes.byref(parameters))
        said = self.taken()
        if status and "no tensor type fallback is defined" in said:
            return None
        assert status == 0, said[-2000:]
        return {found[1]: (found[4] or found[3]).upper() for found in TENSOR.finditer(said)}

    def model(self, path):
        """A model without memory; it refuses files that lack a tensor, or have one too many."""
        parameters = self.library.llama_model_default_params()
        parameters.no_alloc, parameters.load_mode = True, 0
        self.taken()
        found = self.library.llama_model_load_from_file(str(path).encode(), parameters)
        assert found, self.taken()[-2000:]
        return found

    def context(self, model, n_ctx, cache=("f16", "f16"), **options):
        """MiB of cache, of states and of compute buffers, as the log says them; None if it refuses."""
        parameters = self.library.llama_context_default_params()
        parameters.n_ctx = n_ctx
        parameters.type_k, parameters.type_v = (CACHE_TYPES[name] for name in cache)
        for name, value in options.items():
            setattr(parameters, name, value)
        self.taken()
        made = self.library.llama_init_from_model(model, parameters)
        said = self.taken()
        if not made:
            return None
        self.library.llama_free(made)

        def total(pattern):
            return round(sum(float(number) for number in re.findall(pattern, said)), 2)

        return {
            "cache_mib": total(r"llama_kv_cache: size =\s*([\d.]+) MiB"),
            "state_mib": total(r"llama_memory_recurrent: size =\s*([\d.]+) MiB"),
            "compute_mib": total(r"compute buffer size =\s*([\d.]+) MiB"),
        }

    def free(self, model):
        self.library.llama_model_free(model)


# The models of the record: the catalogue's by name, others with a config in tests/recorded/models.json.
RECORDED = (
    "meta-llama/Meta-Llama-3.1-8B",
    "meta-llama/Llama-2-7b-hf",
    "meta-llama/Llama-3.3-70B-Instruct",
    "mistralai/Mixtral-8x7B-v0.1",
    "Qwen/Qwen2.5-72B",
    "Qwen/Qwen3-32B",
    "Qwen/Qwen3-235B-A22B",
    "Qwen/Qwen3-Next-80B-A3B-Instruct",
    "deepseek-ai/DeepSeek-V2-Lite",
    "deepseek-ai/DeepSeek-R1",
    "deepseek-ai/DeepSeek-R1, old",
    "google/gemma-3-27b-it",
    "microsoft/phi-4",
    "openai/gpt-oss-120b",
    "zai-org/GLM-4.5-Air",
    "deepseek-ai/DeepSeek-V3.2",
    "zai-org/GLM-5",
    "moonshotai/Kimi-Linear-48B-A3B-Instruct",
    "tiiuae/falcon-40b",
)
# with three sequences the library aborts: it wants as many tokens of each in a pass
EVEN = ("moonshotai/Kimi-Linear-48B-A3B-Instruct",)
LONG = {"n_ctx": 32768}
ASKED = (
    {"n_ctx": 4096},
    {"n_ctx": 1000},
    LONG,
    {"n_ctx": 131072},
    {**LONG, "cache": "q8_0/q8_0"},
    {**LONG, "cache": "q4_0/q4_0"},
    {**LONG, "cache": "q8_0/f16"},
    {"n_ctx": 10000, "n_seq_max": 3},
    {**LONG, "n_seq_max": 4},
    {**LONG, "n_seq_max": 4, "kv_unified": True},
    {**LONG, "n_ubatch": 2048},
    {**LONG, "n_ubatch": 256},
    {**LONG, "swa_full": False},
    {**LONG, "swa_full": False, "n_ubatch": 2048},
    {**LONG, "swa_full": False, "n_seq_max": 4},
    {**LONG, "swa_full": False, "n_seq_max": 4, "kv_unified": True},
    {"n_ctx": 1000, "swa_full": False},
)


def asked(llama, model, options):
    """A context under options as the record writes them."""
    rest = {name: value for name, value in options.items() if name not in ("n_ctx", "cache")}
    return llama.context(model, options["n_ctx"], tuple(options.get("cache", "f16/f16").split("/")), **rest)


def recorded(llama, folder, config_of, names):
    """What the library says of every mix and of contexts; `config_of(name)` is a model's config."""
    models = {}
    for name in names:
        whole, _, old = name.partition(", ")
        config = config_of(whole)
        path = model_file(Path(folder) / "model.gguf", config, old=bool(old))
        mixes = {}
        for mix in FILE_TYPES.values():
            types = llama.types(path, mix)
            shapes = {one: shape for one, shape, _ in stored(read(config), old=bool(old))}
            mixes[mix] = types and {
                "bytes": sum(size_of(shapes[one], kind) for one, kind in types.items()),
                "types": dict(sorted(Counter(types.values()).items())),
            }
        loaded = llama.model(path)
        windowed = any("sliding_window" in key for key in described(config, read(config)))
        contexts = [
            {**options, **found}
            for options in ASKED
            if (windowed or "swa_full" not in options)
            and not (name in EVEN and options.get("n_seq_max") == 3)
            and (found := asked(llama, loaded, options))
        ]
        llama.free(loaded)
        models[name] = {"mixes": mixes, "contexts": contexts}
    return models
