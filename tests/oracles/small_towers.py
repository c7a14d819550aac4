"""Small vision towers, drawn from a seed: what small.py puts beside a text model."""

from __future__ import annotations


def some(draw, **fields):
    """Each field, or nothing: then the class's default holds."""
    return {key: value for key, value in fields.items() if draw.random() < 0.7}


def blocks(draw):
    """A tower of blocks with patches in space and time; heads are rotated by quarters."""
    heads = draw.choice((1, 2, 3))
    return {
        "hidden_size": heads * 4 * draw.randint(1, 5),
        "depth": draw.randint(1, 4),
        "num_heads": heads,
        "patch_size": draw.randint(2, 5),
    } | some(
        draw,
        spatial_merge_size=draw.randint(1, 3),
        temporal_patch_size=draw.randint(1, 3),
        in_channels=draw.randint(1, 4),
    )


def qwen2_vl(draw, width):
    """Its `hidden_size` is the text model's."""
    fields = blocks(draw)
    fields |= {"embed_dim": fields["hidden_size"], "hidden_size": width}
    return fields | some(draw, mlp_ratio=draw.randint(1, 4))


def qwen2_5_vl(draw, width):
    return blocks(draw) | {"out_hidden_size": width, "intermediate_size": draw.randint(9, 90)}


def glm4v(draw, width):
    """The inner width is the text model's; the merger's own is stated."""
    fields = qwen2_5_vl(draw, width)
    fields["image_size"] = fields["patch_size"] * draw.randint(3, 9) + draw.randint(0, 1)
    return fields | some(draw, attention_bias=draw.random() < 0.5)
