"""Step-3: attention whose queries pass a narrow stream, one key/value head, and experts behind a tower.

Source: modeling_step3.py and vision_encoder.py of stepfun-ai/step3; vllm-project/vllm, model_executor/models/
step3_text.py and step3_vl.py, commit 8d9b52f; both read 2026-11. Transformers 5.23 has no class of it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from memcalc.data.record import record
from memcalc.errors import BadInputError
from memcalc.files.config_classes import config_class
from memcalc.files.readers.common import check_head_width, decoder, decoder_layer, dense_mlp, moe, stack
from memcalc.files.readers.vision import Kernel, Patches, Values, hidden_size_of, nested_text_model
from memcalc.ledger.model import Layer
from memcalc.ledger.parts import GQA, MLP, Linear, Norm, PositionTable
from memcalc.ledger.tensor import OUT, linear, under

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memcalc.files.config import Config
    from memcalc.ledger.model import Model
    from memcalc.ledger.tensor import Tensor

__all__ = ["FactorizedQueries", "step3_text", "step3_vl"]

INSIDE = "vision_model.transformer.layers.{layer}."


@record
class FactorizedQueries(GQA):
    """Attention whose queries pass a narrow stream and its norm: every rank makes that of all heads.

    Source: Multi-matrix Factorization Attention, arXiv:2412.19255.

    Parameters
    ----------
    q_rank : int
        Numbers of the narrow stream.

    Examples
    --------
    >>> part = FactorizedQueries(width=7168, heads=64, kv_heads=1, head_dim=256, q_rank=2048)
    >>> sum(tensor.count for tensor in part.weights())
    169347072

    """

    q_rank: int = 0

    def weights(self) -> Iterator[Tensor]:
        """Yield the queries' two matrices with the norm between them, and the others as they are."""
        for tensor in super().weights():
            if tensor.name == "q_proj.weight":
                yield from linear("q_proj", self.q_rank, self.width)
                yield from under("inter_norm", Norm(self.q_rank).weights())
                yield from linear("wq", (self.heads, self.head_dim), self.q_rank, shard_axis=OUT)
            else:
                yield tensor


def step3_text(config: Config, name: str) -> Model:
    """Read the text model: one key/value head whatever is said, and a shared expert beside the others."""
    config.restates("num_attention_groups", 1)
    config.restates("tie_word_embeddings", False)  # noqa: FBT003 (a value that a field must have)
    config.has("max_seq_len")
    width, heads, head_dim = (
        config.size(field) for field in ("hidden_size", "num_attention_heads", "head_dim")
    )
    attention = FactorizedQueries(width, heads, 1, head_dim, q_rank=config.size("share_q_dim"))
    sparse = moe(config, "moe_num_experts", shared_width=config.size("share_expert_dim"))
    config.has("intermediate_size")  # the width of dense layers: needed only where there are some
    listed = layers_with_experts(config)
    layers = stack(
        (index in listed for index in range(config.size("num_hidden_layers"))),
        lambda mixed: decoder_layer(attention, sparse if mixed else dense_mlp(config), width),
    )
    return decoder(config, name, layers)


def layers_with_experts(config: Config) -> frozenset[int]:
    """Return the numbers of the layers that have experts: all but the first where null says nothing.

    Files list them with commas in between; what has read one of them may write a list, or the ends of a run.

    Raises
    ------
    BadInputError
        It is no such text, and no list of whole numbers.

    """
    stated = config.value("moe_layers_enum")
    if stated is None:
        return frozenset(range(1, config.size("num_hidden_layers")))
    if not isinstance(stated, str):
        return frozenset(config.whole_numbers("moe_layers_enum"))
    found: set[int] = set()
    for piece in stated.split(","):
        first, _, last = (one.strip() for one in piece.partition("-"))
        ends = [first, last or first]
        if not all(one.isascii() and one.isdigit() and len(one) < 5 for one in ends):
            expected, remedy = "layers with commas in between, such as 4,5,6", "correct config.json"
            raise BadInputError("moe_layers_enum", expected, stated, remedy)
        found.update(range(int(ends[0]), int(ends[1]) + 1))
    return frozenset(found)


def step3_vl(config: Config, name: str) -> Model:
    """Read the text model, its vision tower, and the two convolutions that bring patches together."""
    for field in ("im_end_token", "im_patch_token", "im_start_token", "image_token_len", "patch_token_len"):
        config.has(field)
    config.has("understand_projector_stride")  # how far a kernel is moved on: it has the same numbers
    config.restates("tie_word_embeddings", False)  # noqa: FBT003 (the classes have a head of their own)
    model = nested_text_model(config, name, "step3_text", aside=("tie_word_embeddings",))
    config.restates("hidden_size", hidden_size_of(model))
    return replace(model, vision=tower(config, hidden_size_of(model)))


def tower(config: Config, text_width: int) -> tuple[Layer, ...]:
    """Read the vision tower: a CLIP without a norm at its ends.

    Raises
    ------
    BadInputError
        A patch is larger than the image.

    """
    vision = config.nested("vision_config", config_class("step3_vision_encoder"))
    vision.restates("model_type", "step3_vision_encoder")
    check_head_width(vision)
    width, heads, patch = (
        vision.size(field) for field in ("hidden_size", "num_attention_heads", "patch_size")
    )
    places, joined = vision.size("image_size") // patch, vision.size("output_hidden_size")
    if not places:
        expected, remedy = f"at most image_size {vision.size('image_size')}", "correct one of the two"
        raise BadInputError("vision_config.patch_size", expected, patch, remedy)
    attention = GQA(width, heads, heads, width // heads, qkv_bias=True, out_bias=True)
    mlp, norm = MLP(width, vision.size("intermediate_size"), gated=False, bias=True), Norm(width, bias=True)
    inside = (("self_attn", attention), ("mlp", mlp), ("layer_norm1", norm), ("layer_norm2", norm))
    before = (
        ("class_embedding", Values((1, width), "positions")),
        ("patch_embedding", Patches(width, vision.size("num_channels"), patch)),
        ("position_embedding", PositionTable((places**2 + 1,), width)),
    )
    behind = (
        ("vit_downsampler", Kernel((joined, width, 2, 2), bias=True)),
        ("vit_downsampler2", Kernel((2 * joined, joined, 3, 3), bias=True)),
        ("vit_large_projector", Linear(text_width, 2 * joined, bias=config.flag("projector_bias"))),
    )
    return (
        Layer(tuple((f"vision_model.embeddings.{name}", part) for name, part in before)),
        Layer(
            tuple((f"{INSIDE}{name}", part) for name, part in inside), times=vision.size("num_hidden_layers")
        ),
        Layer(behind),
    )
