"""A config.json that checks its sizes and remembers which fields were read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memcalc.errors import LARGEST, BadInputError, check_whole_number, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["HARMLESS", "Config"]

# Fields that cannot change the bytes of a text model's weights or cache.
HARMLESS = frozenset(
    [
        "architectures",
        "auto_map",
        "model_type",
        "transformers_version",
        "torch_dtype",
        "dtype",
        "use_cache",
        "initializer_range",
        "id2label",
        "label2id",
        "rms_norm_eps",
        "eos_token_id",
        "bos_token_id",
        "pad_token_id",
        "sep_token_id",
        "unk_token_id",
        "tokenizer_class",
        "hidden_act",
        "attention_dropout",
        "hidden_dropout",
        "router_jitter_noise",
        "max_position_embeddings",
        "max_window_layers",
        "seq_length",
        "original_max_position_embeddings",
        "rope_theta",
        "rope_scaling",
        "rope_parameters",
        "rope_interleave",
        "pretraining_tp",
        "norm_topk_prob",
        "routed_scaling_factor",
        "scoring_func",
        "topk_method",
        "topk_group",
        "n_group",
        "router_aux_loss_coef",
        "output_router_logits",
        "aux_loss_alpha",
        "seq_aux",
        "ep_size",
        "is_decoder",
        "is_encoder_decoder",
        "add_cross_attention",
        "output_hidden_states",
        "output_attentions",
        "output_scores",
        "return_dict",
        "torchscript",
        "pruned_heads",
        "chunk_size_feed_forward",
        "finetuning_task",
        "problem_type",
        "prefix",
        "cross_attention_hidden_size",
        "tie_encoder_decoder",
        "task_specific_params",
        "bad_words_ids",
        "suppress_tokens",
        "begin_suppress_tokens",
        "forced_bos_token_id",
        "forced_eos_token_id",
        "remove_invalid_values",
        "exponential_decay_length_penalty",
        "max_length",
        "min_length",
        "do_sample",
        "early_stopping",
        "num_beams",
        "num_beam_groups",
        "num_return_sequences",
        "diversity_penalty",
        "length_penalty",
        "repetition_penalty",
        "no_repeat_ngram_size",
        "encoder_no_repeat_ngram_size",
        "temperature",
        "top_k",
        "top_p",
        "typical_p",
        "quantization_config",
        "quantization",
        "name_or_path",
        "_name_or_path",
        "_attn_implementation_autoset",
        "prefill_chunk_size",
        "context_window_size",
        "kv_cache_scheme",
        "decoder_start_token_id",
        "layer_norm_eps",
        "num_nextn_predict_layers",
        "embd_pdrop",
        "resid_pdrop",
        "hidden_activation",
        "final_logit_softcapping",
        "attn_logit_softcapping",
        "query_pre_attn_scalar",
        "rope_local_base_freq",
        "swiglu_alpha",
        "swiglu_limit",
        "initial_context_length",
        "attention_sink_size",
        "tf_legacy_loss",
        "use_bfloat16",
        "return_dict_in_generate",
        "_attn_implementation",
        "ignore_index",
        "image_token_index",
        "boi_token_index",
        "eoi_token_index",
        "image_token_id",
        "video_token_id",
        "boi_token_id",
        "eoi_token_id",
        "vision_start_token_id",
        "vision_end_token_id",
        "media_placeholder_token_id",
        "video_placeholder",
        "use_unified_vision_chunk",
        "mm_tokens_per_image",
        "projector_hidden_act",
        "projector_ln_eps",
        "projection_layer_norm_eps",
    ]
)
# What ends like a size and may be 0 or null: generation settings, and what no decoder has.
NOT_SIZES = frozenset(
    [
        "cross_attention_hidden_size",
        "pruned_heads",
        "no_repeat_ngram_size",
        "encoder_no_repeat_ngram_size",
        "num_beams",
        "num_beam_groups",
        "num_return_sequences",
        "num_hidden_layers_to_drop",
    ]
)
# Counts for which 0 is an answer: no such layer.
ZERO_ALLOWED = frozenset(["num_nextn_predict_layers", "num_mtp_layers", "max_window_layers"])
# Sizes that an architecture may do without.
NULL_ALLOWED = frozenset(["sliding_window", "q_lora_rank", "max_window_layers", "n_inner"])
SIZE_PREFIXES = ("num_", "n_")
SIZE_SUFFIXES = (
    "_size",
    "_dim",
    "_rank",
    "_heads",
    "_layers",
    "_experts",
    "_window",
    "_embeddings",
    "_per_tok",
    "_group",
)
NAMES_OF_LISTS = frozenset({"mlp_only_layers", "merge_kernel_size"})
COUNTS_OF_LAYERS = ("_layers", "n_layer")
MOST_LAYERS = 10_000  # layers are listed one by one: a slip of some zeros must not fill the memory


def is_size(field: str) -> bool:
    """Say whether a field of config.json is a size: a whole number >= 1.

    >>> is_size("hidden_size"), is_size("rope_theta"), is_size("tie_word_embeddings")
    (True, False, False)
    """
    if field in NOT_SIZES or field in NAMES_OF_LISTS or field.startswith(("tie_", "use_", "output_")):
        return False
    return field.startswith(SIZE_PREFIXES) or field.endswith(SIZE_SUFFIXES)


class Config:
    """The fields of a config.json, with the class's defaults under them.

    >>> config = Config({"model_type": "llama", "hidden_size": 4096}, head_dim=128)
    >>> config.size("hidden_size"), config.size("head_dim")
    (4096, 128)
    """

    def __init__(self, fields: Mapping[str, object], /, **defaults: object) -> None:
        """Check every field that is a size, read later or not, and the range of every number.

        Raises:
            BadInputError: a size is no whole number >= 1, or a number is out of range.

        """
        self.fields = dict(fields)
        self.values = {**defaults, **self.fields}
        self.read: set[str] = set()
        for field, value in self.fields.items():
            if is_size(field):
                check_size(field, value)
            check_range(field, value)

    def has(self, field: str) -> bool:
        """Say whether a field is there and not null."""
        self.read.add(field)
        return self.values.get(field) is not None

    def size(self, field: str) -> int:
        """Return a size.

        Raises:
            BadInputError: it is missing, or null.

        """
        self.read.add(field)
        value = self.values.get(field)
        if value is None:
            remedy = "add the field to config.json"
            if "text_config" in self.fields:
                remedy = "this config nests a text model: give its text_config as a file of its own"
            raise BadInputError(field, "a whole number >= 1", None, remedy)
        check_size(field, value)
        return value  # type: ignore[return-value]

    def optional(self, field: str) -> int | None:
        """Return a size that an architecture may do without: None where it is missing or null."""
        return self.size(field) if self.has(field) else None

    def count(self, field: str) -> int:
        """Return a whole number that may be 0."""
        self.read.add(field)
        value = self.values.get(field)
        if type(value) is not int or value < 0:
            raise BadInputError(field, "a whole number >= 0", value, "correct the field in config.json")
        return value

    def flag(self, field: str) -> bool:
        """Return a field that is true or false."""
        self.read.add(field)
        value = self.values.get(field)
        if not isinstance(value, bool):
            raise BadInputError(field, "true or false", value, "correct the field in config.json")
        return value

    def mapping(self, field: str) -> dict[str, object]:
        """Return an object of further fields, such as the text model's of a model that sees."""
        self.read.add(field)
        value = self.values.get(field)
        if not isinstance(value, dict):
            raise BadInputError(field, "an object", value, "add the object to config.json")
        return value

    def restates(self, field: str, *expected: object) -> None:
        """Check a field that says again what another one has said, or that has one known meaning.

        Raises:
            BadInputError: it says something else.

        """
        if self.has(field) and self.values[field] not in expected:
            remedy = "correct config.json; with another meaning the field is not understood"
            known = " or ".join(one if isinstance(one, str) else shown(one) for one in expected)
            raise BadInputError(field, known, self.values[field], remedy)

    def whole_numbers(self, field: str) -> tuple[int, ...]:
        """Return a list of whole numbers; null is the empty list."""
        self.read.add(field)
        value = self.values.get(field)
        if value is None:
            return ()
        if not isinstance(value, list) or any(type(item) is not int for item in value):
            raise BadInputError(field, "a list of whole numbers", value, "correct the field in config.json")
        return tuple(value)

    def words(self, field: str, known: tuple[str, ...], length: int) -> tuple[str, ...] | None:
        """Return a list of one known word a layer, or None where the field is missing or null."""
        self.read.add(field)
        value = self.values.get(field)
        if value is None:
            return None
        if not isinstance(value, list) or len(value) != length:
            raise BadInputError(field, f"a list of {length} words, one a layer", value, "correct config.json")
        for item in value:
            if item not in known:
                remedy = "this kind of layer is not understood, so nothing is counted"
                raise BadInputError(field, f"only {', '.join(known)}", item, remedy)
        return tuple(value)

    def refuse_unread(self) -> None:
        """Refuse what no reader looked at and nobody knows to be harmless.

        Raises:
            BadInputError: a field says something that may change memory.

        """
        empty = (None, False, 0, "")
        for field, value in self.fields.items():
            known = field in self.read or field in HARMLESS
            if not known and value not in empty and value not in ([], {}):
                expected = f"only fields that the reader of {self.fields.get('model_type')} understands"
                remedy = f"{field} may change memory; remove it if it cannot"
                raise BadInputError(field, expected, value, remedy)


def check_size(field: str, value: object) -> None:
    """Refuse a size that is no whole number >= 1, and more layers than any model has.

    Raises:
        BadInputError: it is negative, zero, a string, a float, true, or null where null means nothing.

    """
    if value is None and field in NULL_ALLOWED:
        return
    least = 0 if field in ZERO_ALLOWED else 1
    size = check_whole_number(field, value, "correct the field in config.json", least=least)
    if field.endswith(COUNTS_OF_LAYERS) and size > MOST_LAYERS:
        raise BadInputError(field, f"at most {MOST_LAYERS} layers", value, "correct the field in config.json")


def check_range(field: str, value: object) -> None:
    """Refuse a field in which a number is beyond any size: floats could not hold it.

    Raises:
        BadInputError: there is such a number, however deep.

    """
    left = [value]
    while left:
        one = left.pop()
        if type(one) is dict:
            left += one.values()
        elif type(one) is list:
            left += one
        elif type(one) is int and abs(one) > LARGEST:
            raise BadInputError(field, f"at most {LARGEST} (2^53)", one, "correct the field in config.json")
