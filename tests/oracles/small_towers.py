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


def vit(draw, _width):
    """SigLIP's kind; heads need not be even."""
    heads, patch = draw.choice((1, 2, 3)), draw.randint(2, 5)
    return {
        "hidden_size": heads * draw.randint(4, 20),
        "intermediate_size": draw.randint(9, 90),
        "num_hidden_layers": draw.randint(1, 4),
        "num_attention_heads": heads,
        "image_size": patch * draw.randint(3, 9) + draw.randint(0, 1),
        "patch_size": patch,
    } | some(draw, num_channels=draw.randint(1, 4))


def siglip(draw, width):
    """With its head, or without."""
    kind = {"model_type": "siglip_vision_model"}
    return vit(draw, width) | kind | some(draw, vision_use_head=draw.random() < 0.5)


def siglip2(draw, width):
    fields = vit(draw, width)
    fields.pop("image_size")
    fields |= some(draw, vision_use_head=draw.random() < 0.5, model_type="siglip2_vision_model")
    return fields | {"num_patches": draw.randint(2, 9) ** 2}


def clip(draw, width):
    return vit(draw, width) | some(draw, model_type="clip_vision_model")


def pixtral(draw, width):
    """Heads that are rotated by quarters."""
    fields = vit(draw, width) | {"model_type": "pixtral"}
    return fields | {"hidden_size": 4 * fields["num_attention_heads"] * draw.randint(1, 5)}


def any_of(*towers):
    """One of some towers."""
    return lambda draw, width: draw.choice(towers)(draw, width)


def internvl(draw, width):
    """Images and patches with a side or with two."""
    fields = vit(draw, width)
    if draw.random() < 0.5:
        high = fields["image_size"] + fields["patch_size"] * draw.randint(0, 2)
        fields |= {"image_size": [high, fields["image_size"]], "patch_size": [fields["patch_size"]] * 2}
    return fields | some(
        draw,
        attention_bias=draw.random() < 0.5,
        use_qk_norm=draw.random() < 0.5,
        use_mask_token=draw.random() < 0.5,
        use_absolute_position_embeddings=draw.random() < 0.8,
        use_mean_pooling=draw.random() < 0.5,
    )


def gemma3n_audio(draw):
    """Two convolutions and a conformer."""
    heads = draw.choice((1, 2, 3))
    return {
        "hidden_size": heads * 2 * draw.randint(2, 15),
        "conf_num_hidden_layers": draw.randint(1, 4),
        "conf_num_attention_heads": heads,
        "input_feat_size": draw.randint(20, 90),
        "sscp_conv_channel_size": [draw.randint(1, 9), draw.randint(1, 9)],
    } | some(draw, conf_conv_kernel_size=draw.randint(2, 5), sscp_conv_kernel_size=[[3, 3], [2, 4]])


def gemma4_audio(draw):
    """A conformer."""
    heads = draw.choice((1, 2, 3))
    return {
        "hidden_size": heads * 2 * draw.randint(2, 15),
        "num_hidden_layers": draw.randint(1, 4),
        "num_attention_heads": heads,
        "subsampling_conv_channels": [4 * draw.randint(1, 9), draw.randint(1, 9)],
        "output_proj_dims": draw.randint(9, 90),
    } | some(draw, conv_kernel_size=draw.randint(2, 5), use_clipped_linears=draw.random() < 0.5)


def qwen3_omni(draw, width):
    """With mergers behind some layers."""
    fields = qwen2_5_vl(draw, width) | {"num_position_embeddings": draw.randint(2, 9) ** 2}
    return fields | {"deepstack_visual_indexes": list(range(draw.randint(0, fields["depth"])))}


def whisper(draw):
    """An encoder of sound."""
    heads = draw.choice((1, 2, 3))
    return {
        "d_model": heads * 2 * draw.randint(2, 15),
        "encoder_attention_heads": heads,
        "encoder_ffn_dim": draw.randint(9, 90),
        "encoder_layers": draw.randint(1, 4),
        "output_dim": draw.randint(9, 90),
    } | some(draw, num_mel_bins=draw.randint(9, 90))


def qwen2_5_omni_audio(draw):
    return whisper(draw)


def qwen3_omni_audio(draw):
    return whisper(draw) | {"downsample_hidden_size": draw.randint(4, 20)}
