"""Fields of public configs that no class of transformers builds a tensor from, beside what does shape them.

Each config is as published (read 2026-11), without what every class passes over: its parameters are those
that transformers 5.23 builds of it.
"""

from __future__ import annotations

DEPTH_OF_HUNYUAN = 32
WITH_OTHER_FIELDS = {
    "EmbeddingGemma": (
        302_863_104,
        {
            "model_type": "gemma3_text",
            "vocab_size": 262_144,
            "hidden_size": 768,
            "intermediate_size": 1152,
            "num_hidden_layers": 24,
            "num_attention_heads": 3,
            "num_key_value_heads": 1,
            "head_dim": 256,
            "sliding_window": 512,
            "max_position_embeddings": 2048,
        },
        {"use_bidirectional_attention": True},
    ),
    "Hunyuan-A13B": (
        80_393_183_232,
        {
            "model_type": "hunyuan_v1_moe",
            "vocab_size": 128_167,
            "hidden_size": 4096,
            "intermediate_size": 3072,
            "num_hidden_layers": DEPTH_OF_HUNYUAN,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "num_experts": 64,
            "moe_topk": [8] * DEPTH_OF_HUNYUAN,
            "tie_word_embeddings": True,
        },
        {
            "attention_head_dim": 128,
            "num_shared_expert": [1] * DEPTH_OF_HUNYUAN,
            "moe_intermediate_size": [3072] * DEPTH_OF_HUNYUAN,
            "use_qk_norm": True,
            "use_mixed_mlp_moe": True,
            "use_cla": False,
            "cla_share_factor": 2,
        },
    ),
    "BLOOM-560m": (
        559_214_592,
        {
            "model_type": "bloom",
            "vocab_size": 250_880,
            "n_embed": 1024,
            "n_layer": 24,
            "num_attention_heads": 16,
        },
        {"offset_alibi": 100, "skip_bias_add": True, "bias_dropout_fusion": True},
    ),
    "Command R7B": (
        None,
        {"model_type": "cohere2", "sliding_window_pattern": 4},
        {
            "layer_switch": 4,
            "use_embedding_sharing": True,
            "use_gated_activation": True,
            "use_parallel_block": True,
        },
    ),
    "Falcon-11B": (
        10_836_484_096,
        {
            "model_type": "falcon",
            "vocab_size": 65_024,
            "hidden_size": 4096,
            "num_hidden_layers": 60,
            "num_attention_heads": 32,
            "num_kv_heads": 8,
            "new_decoder_architecture": True,
            "num_ln_in_parallel_attn": 1,
        },
        {"ff_factor": 4},
    ),
    "StarCoder": (
        15_517_456_384,
        {
            "model_type": "gpt_bigcode",
            "vocab_size": 49_152,
            "n_embd": 6144,
            "n_head": 48,
            "n_inner": 24_576,
            "n_layer": 40,
            "n_positions": 8192,
        },
        {"pad_key_length": True, "validate_runner_input": True},
    ),
    "Falcon-H1": (
        None,
        {"model_type": "falcon_h1", "intermediate_size": 4096},
        {"mamba_use_mlp": True, "mlp_expansion_factor": 8},
    ),
    "Zamba2": (None, {"model_type": "zamba2"}, {"use_shared_mlp_adapter": True}),
    "EXAONE 4": (None, {"model_type": "exaone4"}, {"reorder_and_qk_norm": True}),
    "ERNIE 4.5 MoE": (
        None,
        {"model_type": "ernie4_5_moe"},
        {"moe_capacity": [64, 64, 64], "moe_use_aux_free": True},
    ),
    **{
        f"Granite, {kind}": (
            None,
            {"model_type": kind},
            {
                "embedding_multiplier": 12,
                "logits_scaling": 8,
                "residual_multiplier": 2,
                "attention_multiplier": 3,
            },
        )
        for kind in ("granite", "granitemoe", "granitemoeshared", "granitemoehybrid")
    },
}
