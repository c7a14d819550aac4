"""The models and the machines that questions are drawn from: those which interviews name."""

from __future__ import annotations

__all__ = ["CARDS", "DENSE", "EXPERTS", "LATENT", "SMALL"]

SMALL = (
    "meta-llama/Llama-3.2-1B", "meta-llama/Llama-3.2-3B", "meta-llama/Llama-2-7b-hf",
    "meta-llama/Meta-Llama-3.1-8B", "Qwen/Qwen2.5-7B-Instruct", "Qwen/Qwen3-4B", "Qwen/Qwen3-8B",
    "Qwen/Qwen3-14B", "mistralai/Mistral-7B-v0.3", "microsoft/phi-4",
)  # fmt: skip
"""Dense models whose layers all see the whole context, up to 15 billion parameters."""
DENSE = (
    *SMALL, "meta-llama/Llama-2-13b-hf", "Qwen/Qwen3-32B", "meta-llama/Llama-2-70b-hf",
    "meta-llama/Llama-3.3-70B-Instruct", "Qwen/Qwen2.5-72B", "meta-llama/Meta-Llama-3.1-405B",
)  # fmt: skip
EXPERTS = ("Qwen/Qwen3-30B-A3B", "Qwen/Qwen3-235B-A22B", "mistralai/Mixtral-8x7B-v0.1")
LATENT = ("deepseek-ai/DeepSeek-V3", "deepseek-ai/DeepSeek-V2-Lite", "moonshotai/Kimi-K2-Instruct")
CARDS = ("rtx-3090", "rtx-4090", "rtx-5090", "l40s-ecc", "a100-80g", "h100-80g", "h200-141g", "b200")
