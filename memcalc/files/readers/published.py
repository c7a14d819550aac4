"""Decoders whose code lies beside their weights, and in no version of transformers: a table of their words.

Each is read as its published code builds it; memcalc/data/published_classes.jsonl says where that is. Held by
the indices of their checkpoints, or by what others count (tests/test_published.py).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from memcalc.data.record import record
from memcalc.errors import BadInputError
from memcalc.files.readers.common import check_head_width, moe
from memcalc.files.readers.dense import qwen2
from memcalc.files.readers.plain import CLASSIC, ONE_NORM, Decoder, decoder_of, first_dense
from memcalc.ledger.model import Layer
from memcalc.ledger.parts.linear import Linear
from memcalc.ledger.parts.plain import Norm, Part
from memcalc.ledger.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memcalc.files.config import Config
    from memcalc.ledger.model import Model

__all__ = ["Frequencies", "baichuan", "chatglm", "mimo", "pangu_embedded", "published"]


@record
class Frequencies(Part):
    """Frequencies of the rotary embedding, which some checkpoints carry: no parameters, and computed anew.

    Parameters
    ----------
    numbers : int
        How many there are.
    wide : bool, default False
        Whether they have 32 bits whatever the other tensors have.

    Examples
    --------
    >>> [(tensor.name, tensor.count) for tensor in Frequencies(numbers=64).weights()]
    [('inv_freq', 64)]

    """

    numbers: int
    wide: bool = False

    def weights(self) -> Iterator[Tensor]:
        """Yield the one list."""
        yield Tensor("inv_freq", (self.numbers,), "buffer", format="fp32" if self.wide else None)


def half_inner(config: Config) -> int:
    """Return the inner width of Qwen's first generation, whose config counts gate and up together."""
    both = config.size("intermediate_size")
    if both % 2:
        raise BadInputError("intermediate_size", "an even number: gate and up", both, "correct config.json")
    return both // 2


def divides(config: Config) -> None:
    """Refuse heads that do not divide the stream, and a width of a head that these classes do not read."""
    check_head_width(config)
    config.restates("head_dim", config.size("hidden_size") // config.size("num_attention_heads"))


def every_head(config: Config) -> None:
    """Refuse fewer key/value heads too: these classes have as many as query heads whatever is said."""
    divides(config)
    config.restates("num_key_value_heads", config.size("num_attention_heads"))


def check_qwen(config: Config) -> None:
    """Refuse what the first Qwen's fields say twice, and say otherwise."""
    every_head(config)
    config.restates("kv_channels", config.size("hidden_size") // config.size("num_attention_heads"))
    config.restates("padded_vocab_size", config.size("vocab_size"))


def check_phi(config: Config) -> None:
    """Refuse a vocabulary that Phi's class would fill up with empty rows."""
    divides(config)
    multiple = config.size("pad_vocab_size_multiple")
    if config.size("vocab_size") % multiple:
        remedy = "give the number of rows that the embedding has"
        raise BadInputError("vocab_size", f"a multiple of {multiple}", config.size("vocab_size"), remedy)


def inner(config: Config) -> int:
    """Return the inner width, which has to be stated: no class says what an absent one means."""
    return config.size("intermediate_size")


def deepseek_moe(config: Config) -> Part:
    """Return the mixture of DeepSeek's first, with shared experts if it has some."""
    shared = config.optional("n_shared_experts")
    width = None if shared is None else shared * config.size("moe_intermediate_size")
    return moe(config, "n_routed_experts", shared_width=width)


LLAMA = Decoder(qkv_bias=False, out_bias=False, ffn=inner, check=divides)
PUBLISHED_DECODERS: dict[str, Decoder] = {
    "qwen": Decoder(
        qkv_bias=True,
        out_bias=False,
        ffn=half_inner,
        check=check_qwen,
        restated=(("no_bias", True), ("rotary_pct", 1.0)),
        harmless=("bf16", "fp16", "fp32", "onnx_safe", "scale_attn_weights", "tokenizer_type"),
    ),
    "deepseek": Decoder(
        mixture=deepseek_moe, dense=first_dense, restated=(("moe_layer_freq", 1),), check=divides
    ),
    "phi-msft": CLASSIC._replace(
        norms=ONE_NORM,
        ffn="n_inner",
        rotated=True,
        head_bias=True,
        rotated_width="rotary_dim",
        check=check_phi,
        harmless=("flash_rotary", "fused_dense"),
    ),
    "internlm": LLAMA._replace(qkv_bias="bias", out_bias="bias", check=every_head, harmless=("rotary",)),
    "internlm2": LLAMA._replace(qkv_bias="bias", out_bias="bias"),
    "minicpm": LLAMA._replace(
        qkv_bias="attention_bias", out_bias="attention_bias", harmless=("scale_emb", "dim_model_base")
    ),
}


def published(config: Config, name: str) -> Model:
    """Read a decoder of the table."""
    return decoder_of(config, name, PUBLISHED_DECODERS[str(config.fields["model_type"])])


def baichuan(config: Config, name: str) -> Model:
    """Read Baichuan and Baichuan 2: rotated at the width of the 7B models, ALiBi beyond."""
    rotated = config.size("hidden_size") == 4096
    stated = config.has("max_position_embeddings")
    limit = "max_position_embeddings" if stated else "model_max_length"
    harmless = ("z_loss_weight", "_from_model_config")
    words = LLAMA._replace(rotated=rotated, limit=limit, check=every_head, harmless=harmless)
    return decoder_of(config, name, words)


def chatglm(config: Config, name: str) -> Model:
    """Read ChatGLM2, ChatGLM3 and GLM-4-9B: half of a head is rotated, in pairs; frequencies in the file."""
    heads, head_dim = config.size("num_attention_heads"), config.size("head_dim")
    if head_dim % 4:
        raise BadInputError(
            "kv_channels", "a multiple of 4, as half is rotated in pairs", head_dim, "correct it"
        )
    groups = config.size("multi_query_group_num") if config.flag("multi_query_attention") else heads
    config.has("multi_query_group_num")
    if heads % groups:
        remedy = "every key/value head serves the same number of query heads"
        raise BadInputError("multi_query_group_num", "a divisor of num_attention_heads", groups, remedy)
    words = LLAMA._replace(
        check=None,
        qkv_bias="add_qkv_bias",
        ffn=lambda config: config.size("ffn_hidden_size"),
        kv_heads=lambda _: groups,
        rotated_width=lambda _: head_dim // 2,
        restated=(
            *(("add_bias_linear", False), ("rmsnorm", True), ("post_layer_norm", True)),
            ("tie_word_embeddings", False),  # the class names no head that could be tied
        ),
        harmless=(
            *("apply_query_key_layer_scaling", "apply_residual_connection_post_layernorm", "rope_ratio"),
            *("bias_dropout_fusion", "fp32_residual_connection", "original_rope", "interleaved_qkv"),
        ),
    )
    model = decoder_of(config, name, words)
    tabulated = ("model.rotary_pos_emb", Frequencies(head_dim // 4))
    return replace(model, outside=(model.outside[0], tabulated, *model.outside[1:]))


def pangu_embedded(config: Config, name: str) -> Model:
    """Read openPangu-Embedded: biases on attention; each layer of the file carries its frequencies."""
    words = LLAMA._replace(qkv_bias="bias", out_bias="bias", check=None)
    model = decoder_of(config, name, words)
    attention = dict(model.layers[0].parts)["self_attn"]
    carried = ("self_attn.rotary_emb", Frequencies(attention.head_dim // 2, wide=True))  # type: ignore[attr-defined]
    return model.map_layers(lambda layer, _: replace(layer, parts=(*layer.parts, carried)))


def mimo(config: Config, name: str) -> Model:
    """Read MiMo: Qwen2, and layers for multi-token prediction with norms of their own."""
    config.restates("attention_bias", *(True,))  # Qwen2's attention has biases, whatever the field says
    model, width = qwen2(config, name), config.size("hidden_size")
    norms = ("token_layernorm", "hidden_layernorm", "final_layernorm")
    extra = (*((one, Norm(width)) for one in norms), ("input_proj", Linear(width, 2 * width)))
    ahead = config.count("num_nextn_predict_layers") if config.has("num_nextn_predict_layers") else 0
    return replace(model, mtp=(Layer((*model.layers[0].parts, *extra)),) * ahead)
