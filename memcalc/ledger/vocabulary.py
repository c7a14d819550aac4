"""Every quantity, named once.

A quantity's name is at once the dataclass field, the keyword argument, the SymPy symbol, the table column
and the JavaScript variable. Only its LaTeX is extra. The order of the list is the order in which products
are printed: counts, then widths and heads as textbooks write them (``2had``, ``3Ehf_E``).
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["WORDS", "Quantity", "word"]


class Quantity(NamedTuple):
    """LaTeX, unit and meaning of one quantity; the unit of a pure count is ``1``."""

    latex: str
    unit: str
    meaning: str


WORDS: dict[str, Quantity] = {
    # how often
    "batch": Quantity("B", "sequence", "sequences held at once"),
    "context": Quantity("T", "token", "tokens held for one sequence, prompt and answer together"),
    "prompt": Quantity("P", "token", "tokens of one sequence that are processed in one pass before decoding"),
    "answer": Quantity("A", "token", "tokens of one sequence that are generated after the prompt"),
    "depth": Quantity("L", "layer", "layers of the model"),
    "attention_depth": Quantity("L_A", "layer", "layers with this kind of attention"),
    "window_depth": Quantity("L_w", "layer", "layers with a sliding window"),
    "state_depth": Quantity("L_S", "layer", "layers that remember a state instead of every token"),
    "dense_depth": Quantity("L_D", "layer", "layers with a dense feed-forward part"),
    "moe_depth": Quantity("L_E", "layer", "layers with a mixture of experts"),
    "experts": Quantity("E", "expert", "routed experts of one layer"),
    "top_k": Quantity("k_E", "expert", "routed experts that one token uses"),
    "vocab": Quantity("V", "token", "rows of the embedding: the vocabulary, padding included"),
    "positions": Quantity("P_M", "token", "positions of a sequence that have a learned vector"),
    # widths
    "width": Quantity("h", "1", "width of the residual stream (hidden_size)"),
    "q_rank": Quantity("r_q", "1", "rank of the query projection (q_lora_rank)"),
    "kv_rank": Quantity("r", "1", "rank of the key/value latent (kv_lora_rank)"),
    "heads": Quantity("a", "head", "query heads"),
    "kv_heads": Quantity("k", "head", "key/value heads"),
    "head_dim": Quantity("d", "1", "width of one head"),
    "window": Quantity("w", "token", "tokens that a sliding-window layer can see"),
    "ffn_width": Quantity("f", "1", "inner width of a dense feed-forward part (intermediate_size)"),
    "expert_width": Quantity("f_E", "1", "inner width of one routed expert"),
    "shared_width": Quantity("f_S", "1", "inner width of the shared experts together"),
    "nope_dim": Quantity("d_N", "1", "part of a query/key head that is not rotated"),
    "rope_dim": Quantity("d_R", "1", "part of a query/key head that is rotated"),
    "value_dim": Quantity("d_V", "1", "width of one value head"),
    "index_heads": Quantity("a_X", "head", "query heads of the indexer of sparse attention"),
    "index_dim": Quantity("d_X", "1", "width of one head of the indexer, and of its key of a token"),
    "linear_key_heads": Quantity("k_K", "head", "key heads of linear attention"),
    "linear_value_heads": Quantity("k_V", "head", "value heads of linear attention"),
    "linear_key_dim": Quantity("d_K", "1", "width of one key head of linear attention"),
    "linear_value_dim": Quantity("d_S", "1", "width of one value head of linear attention"),
    "conv_kernel": Quantity("c_K", "token", "tokens that a short convolution sees"),
    "channels": Quantity("c_I", "1", "colours of a picture's point"),
    "patch": Quantity("p_I", "1", "points along one side of a square patch of a picture"),
    "lora_rank": Quantity("r_A", "1", "rank of the adapter beside a matrix: rows of its A, columns of its B"),
    # formats
    "bits": Quantity("q", "bit", "bits of one stored number"),
    "scale_bits": Quantity("q_s", "bit", "bits of one scale"),
    "zero_bits": Quantity("q_z", "bit", "bits of one zero point"),
    "index_bits": Quantity("q_i", "bit", "bits of one input channel's group index"),
    "matrix_bits": Quantity("q_1", "bit", "bits that are stored once a matrix"),
    "scales_per_scale": Quantity("g_s", "1", "scales that share a scale of their own"),
    "block_bytes": Quantity("q_b", "byte", "bytes of one block of GGUF, codes and scales together"),
    "bytes_per_element": Quantity(r"\beta", "byte", "bytes of one stored number"),
    "rows": Quantity("m", "1", "rows of a matrix: its outputs"),
    "columns": Quantity("n", "1", "columns of a matrix: its inputs"),
    "rows_per_scale": Quantity("g_m", "1", "rows of the block that shares a scale"),
    "columns_per_scale": Quantity("g_n", "1", "columns of the block that shares a scale"),
    "row_blocks": Quantity("b_m", "1", "blocks that share a scale, one below the other"),
    "column_blocks": Quantity("b_n", "1", "blocks that share a scale, side by side"),
    # machines and ranks
    "tp": Quantity("t", "rank", "tensor-parallel ranks: each holds a slice of every matrix"),
    "pp": Quantity("p", "rank", "pipeline-parallel ranks: each holds some of the layers"),
    "ep": Quantity("e", "rank", "expert-parallel ranks: each holds some of the experts"),
    "dp": Quantity("D", "rank", "data-parallel ranks: each serves or trains on data of its own"),
    "world": Quantity("N", "rank", "devices that share the optimizer states"),
    "parameters": Quantity(r"\Phi", "1", "trainable numbers of the model"),
    "share": Quantity("s", "1", "parameters of which one rank keeps the states"),
    "block": Quantity("b", "token", "tokens of one block of a paged cache"),
    "prefill_chunk": Quantity("c", "token", "tokens of a prompt that are processed in one pass"),
}


def word(name: str) -> Quantity:
    """Return the quantity called `name`.

    >>> word("kv_heads").meaning
    'key/value heads'

    Raises:
        LookupError: no quantity has this name.

    """
    if name not in WORDS:
        raise LookupError(f"no quantity is called {name!r}; the names stand in memcalc/ledger/vocabulary.py")
    return WORDS[name]
