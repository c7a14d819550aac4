"""Models with a vision tower: the text model stands in `text_config`, the tower in `vision_config`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from memcalc.data.record import record
from memcalc.errors import BadInputError
from memcalc.files.config_classes import config_class
from memcalc.files.readers.common import check_head_width
from memcalc.ledger.model import Layer
from memcalc.ledger.parts import GQA, MLP, Norm, Part
from memcalc.ledger.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memcalc.files.config import Config
    from memcalc.ledger.model import Model, Named
    from memcalc.ledger.tensor import Axis

__all__ = [
    "Kernel",
    "Patches",
    "Values",
    "hidden_size_of",
    "nested_text_model",
    "tower_of_class",
    "vision_tower",
]


OF_THE_WHOLE = ("architectures", "auto_map")


@record
class Patches(Part):
    """A convolution that makes one vector of each square patch of an image.

    Source: Dosovitskiy et al. 2020, arXiv:2010.11929; names as in transformers' SiglipVisionEmbeddings.

    Parameters
    ----------
    width : int
        Width of the vision tower's stream.
    channels : int
        Numbers of one point of the image: its colours.
    patch : int
        Points along one side of a patch.
    frames : int, optional
        Images of a video that make one patch; None where the kernel has no axis for time.
    bias : bool, default True
        Whether there is a bias.

    Examples
    --------
    >>> [tensor.stored_shape for tensor in Patches(width=1152, channels=3, patch=14).weights()]
    [(1152, 3, 14, 14), (1152,)]

    """

    width: int
    channels: int
    patch: int
    frames: int | None = None
    bias: bool = True

    def weights(self) -> Iterator[Tensor]:
        """Yield the kernel and its bias."""
        time = () if self.frames is None else (self.frames,)
        yield Tensor("weight", (self.width, self.channels, *time, self.patch, self.patch), "conv")
        if self.bias:
            yield Tensor("bias", (self.width,), "bias")


@record
class Kernel(Part):
    """The kernel of a convolution: outputs, inputs and how far it reaches.

    >>> [tensor.stored_shape for tensor in Kernel((1280, 128, 3), bias=True).weights()]
    [(1280, 128, 3), (1280,)]
    """

    shape: tuple[int, ...]
    bias: bool = False

    def weights(self) -> Iterator[Tensor]:
        """Yield the kernel, and its bias if it has one."""
        yield Tensor("weight", self.shape, "conv")
        if self.bias:
            yield Tensor("bias", (self.shape[0],), "bias")


@record
class Values(Part):
    """Numbers beside a matrix, such as a scale: a `shape` of them (none is a single number), of a `kind`.

    >>> [tensor.count for tensor in Values((5120,), "norm").weights()]
    [5120]
    """

    shape: tuple[Axis, ...]
    kind: str = "buffer"

    def weights(self) -> Iterator[Tensor]:
        """Yield them."""
        yield Tensor("value", self.shape, self.kind)


def nested_text_model(
    config: Config,
    name: str,
    *text_types: str,
    others: bool = False,
    tied_inside: bool = False,
    tied_by_either: bool = False,
    aside: tuple[str, ...] = (),
) -> Model:
    """Return the text model of a config that nests one.

    Whether the head is tied to the embedding is said outside: most classes do not look inside. Which class
    the whole is says the outer config, too.

    Parameters
    ----------
    config : Config
        The outer config; its ``text_config`` and ``tie_word_embeddings`` are read.
    name : str
        What answers call the model.
    *text_types : str
        Known values of the text model's ``model_type``; the first one is meant where it says nothing.
    others : bool, default False
        Whether the class takes text models of every other type, too.
    tied_inside : bool, default False
        Whether the class has a text model with a head of its own, which looks inside.
    tied_by_either : bool, default False
        Whether the class ties a head as soon as one of the two configs says so.
    aside : tuple of str, default ()
        Fields of the text model's config that mean nothing there.

    Raises
    ------
    BadInputError
        The text model is of another type.

    """
    text = {"model_type": text_types[0], **config.mapping("text_config")}
    if text["model_type"] not in text_types and not others:
        remedy = "another text model under this model_type is not understood"
        raise BadInputError("text_config.model_type", " or ".join(text_types), text["model_type"], remedy)
    outside = config.flag("tie_word_embeddings")
    if not tied_inside:
        declared = config_class(str(text["model_type"]))
        usual = declared.defaults.get("tie_word_embeddings") if declared else False
        stated = text.get("tie_word_embeddings", usual)
        if tied_by_either and not (stated is None or isinstance(stated, bool)):
            field, remedy = "text_config.tie_word_embeddings", "correct config.json"
            raise BadInputError(field, "true or false", stated, remedy)
        inside = tied_by_either and stated is True
        text["tie_word_embeddings"] = outside or inside
    if config.read_model is None:
        raise TypeError("text_config: no reader for it was given")
    left_out = (*OF_THE_WHOLE, *aside)
    model = config.read_model({key: value for key, value in text.items() if key not in left_out}, name)
    if model.vision:
        remedy = "a tower inside of the text model is not understood"
        raise BadInputError("text_config.model_type", "a text model", text["model_type"], remedy)
    outer, text_type = str(config.fields["model_type"]), str(text["model_type"])
    return replace(model, model_type=outer, text_type=text_type)


def hidden_size_of(text: Model) -> int:
    """Return the width of the text model's stream, into which a tower is projected."""
    embedding = dict(text.outside)["model.embed_tokens"]
    return embedding.width  # type: ignore[attr-defined]


def tower_of_class(config: Config, text: Model) -> tuple[Model, bool]:
    """Return a text model whose config states no tower, and whether its class makes its default one.

    The class for text alone does not. Either way the answer says so.
    """
    stated = config.fields.get("architectures")
    if isinstance(stated, list) and stated and str(stated[0]).endswith("ForCausalLM"):
        return replace(text, not_read=(*text.not_read, "no vision_config: a tower is not counted")), False
    config.stated["vision_config"] = {}
    named = (*text.class_defaults, "vision_config: no tower is stated, and its class makes one")
    return replace(text, class_defaults=named), True


def vision_tower(
    config: Config, kernel: tuple[int, int | None], positions: Part, projection: Named
) -> tuple[Layer, ...]:
    """Return a vision tower of the usual kind, with LayerNorms and biases everywhere, and its projection.

    Parameters
    ----------
    config : Config
        The ``vision_config``: widths, heads, layers and ``patch_size``, in points along a side.
    kernel : (int, int or None)
        Numbers of one point of an image (3 for red, green, blue), and images of a video to a patch.
    positions : Part
        The table of learned positions.
    projection : tuple of (str, Part)
        What stands between the tower and the text model.

    """
    check_head_width(config)
    width, heads = config.size("hidden_size"), config.size("num_attention_heads")
    patches = Patches(width, kernel[0], config.size("patch_size"), kernel[1])
    attention = GQA(width, heads, heads, width // heads, qkv_bias=True, out_bias=True)
    mlp = MLP(width, config.size("intermediate_size"), gated=False, bias=True)
    norm = Norm(width, bias=True)
    layer: Named = (
        ("vision_tower.layers.{layer}.self_attn", attention),
        ("vision_tower.layers.{layer}.mlp", mlp),
        ("vision_tower.layers.{layer}.input_layernorm", norm),
        ("vision_tower.layers.{layer}.post_attention_layernorm", norm),
    )
    return (
        Layer((("vision_tower.patches", patches), ("vision_tower.positions", positions))),
        Layer(layer, times=config.size("num_hidden_layers")),
        Layer((("vision_tower.norm", norm), *projection)),
    )
