"""One colour a component everywhere: in figures, on pages, in notebooks."""

from __future__ import annotations

__all__ = ["CAPACITY", "COLOURS", "LABELS", "VERDICT_COLOURS"]

# Okabe and Ito's palette, which colour-blind readers can tell apart (https://jfly.uni-koeln.de/color/)
COLOURS = {
    "weights": "#0072B2",
    "kv_cache": "#E69F00",
    "state": "#CC79A7",
    "activations": "#009E73",
    "gradients": "#D55E00",
    "optimizer": "#56B4E9",
    "master": "#7A68B3",
    "logits": "#B8A800",
    "runtime": "#7F7F7F",
    "free": "#D9D9D9",
    "gathered": "#8C564B",
    "temporaries": "#9ACD6A",
    "workspace": "#A6761D",
}
CAPACITY = "#E5007D"  # the line up to which there is memory, dashed: no component has it
VERDICT_COLOURS = {"fits": "#009E73", "may_not_fit": "#E69F00", "does_not_fit": "#D55E00"}
LABELS = {"kv_cache": "KV cache", "master": "master copy"}
