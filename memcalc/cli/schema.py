"""JSON Schema of each command's answer; the options of a plan come from the table that declares them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, get_args, get_origin

from memcalc.cli.command import SUMMARIES
from memcalc.interview.language import LANGUAGES
from memcalc.interview.template import DIFFICULTIES, KINDS, TOPICS
from memcalc.ledger.budget import COMPONENTS
from memcalc.ledger.registry import Registry
from memcalc.options import options_of
from memcalc.serving.engines import EngineName
from memcalc.serving.options import ServingOptions
from memcalc.serving.which_options import WhichOptions
from memcalc.show.card import VERDICTS
from memcalc.training.options import TrainingOptions
from memcalc.training.plan import MOMENTS, MOMENTS_BESIDE, MOMENTS_RECOMPUTED, PHASES

if TYPE_CHECKING:
    from collections.abc import Callable

    from memcalc.options import Option

__all__ = ["OPTIONS", "schema"]

Schema = dict[str, object]

HOLDING = ("fits", "may_not_fit")
DRAFT = "https://json-schema.org/draft/2020-12/schema"
OPTIONS: Mapping[str, Callable[..., object]] = {
    "serve": ServingOptions,
    "train": TrainingOptions,
    "which": WhichOptions,
}
STATUS = (
    "What `memcalc {command} ... --json` prints. Exit status 0: answered. 1: does not fit, with --check; the "
    "answer is printed all the same. 2: could not answer: no JSON, but one line on stderr, which begins "
    "`memcalc: error:` and names the field, what was expected, what was given, and what to do. "
    "Bytes are whole numbers."
)


def schema(command: str) -> Schema:
    """Return the JSON Schema (draft 2020-12) of a command's answer.

    Parameters
    ----------
    command : {'model', 'serve', 'train', 'which', 'check', 'explain', 'compare', 'measure', 'ask', 'list'}
        The command.

    Returns
    -------
    dict
        Objects allow the keys that it lists, and no others.

    Raises
    ------
    UnknownNameError
        There is no such command.

    Examples
    --------
    >>> schema("model")["properties"]["parameters"]["type"]
    ['integer', 'null']

    """
    answer = ANSWERS[command]()
    about: Schema = {"$schema": DRAFT, "title": f"memcalc {command}: {SUMMARIES[command]}"}
    return {**about, "description": STATUS.format(command=command), **answer}


# ---- what values may be ----


def text(meaning: str) -> Schema:
    """Return the schema of a text."""
    return {"type": "string", "description": meaning}


def choice(meaning: str, *values: object) -> Schema:
    """Return the schema of one of a few values."""
    return {"enum": list(values), "description": meaning}


def number(meaning: str, least: int | None = 0) -> Schema:
    """Return the schema of a whole number."""
    return {"type": "integer", "description": meaning} | ({} if least is None else {"minimum": least})


def flag(meaning: str) -> Schema:
    """Return the schema of true and false."""
    return {"type": "boolean", "description": meaning}


def many(meaning: str, items: Schema) -> Schema:
    """Return the schema of a list."""
    return {"type": "array", "items": items, "description": meaning}


def by_name(meaning: str, value: Schema, *names: str) -> Schema:
    """Return the schema of values under names: any, or some of those that are listed."""
    known: Schema = {"propertyNames": {"enum": list(names)}} if names else {}
    return {"type": "object", "description": meaning, **known, "additionalProperties": value}


def closed(meaning: str, keys: Mapping[str, Schema], *optional: str) -> Schema:
    """Return the schema of an object with these keys and no others; all but the optional ones are there."""
    return {
        "type": "object",
        **({"description": meaning} if meaning else {}),
        "properties": dict(keys),
        "required": [key for key in keys if key not in optional],
        "additionalProperties": False,
    }


def or_null(one: Schema) -> Schema:
    """Return the schema of a value that may be null."""
    if "enum" in one:
        return one | {"enum": [*one["enum"], None]}  # type: ignore[misc]
    return one | {"type": [one["type"], "null"]}


def of_option(option: Option, *, filled: bool) -> Schema:
    """Return the schema of an option's value; one that a plan always fills in is never null."""
    kind, meaning = option.kind, option.meaning + (f", in {option.unit}" if option.unit else "")
    if isinstance(kind, tuple):
        found = choice(meaning, *kind)
    elif get_origin(kind) is tuple:
        words = get_args(kind)[0] is str
        found = many(meaning, {"type": "string" if words else "integer"})
    elif get_origin(kind) is Mapping:
        found = by_name(meaning, {"type": ["number", "boolean"]})
    elif kind is int:
        found = number(meaning, option.at_least)
    else:
        kinds: Mapping[object, str] = {bool: "boolean", float: "number"}
        found = {"type": kinds.get(kind, "string"), "description": meaning}
    return or_null(found) if option.optional and not filled else found


def plan(command: str, filled: str, derived: Mapping[str, Schema]) -> Schema:
    """Return the schema of a plan: every option, those that are always filled in never null; what follows."""
    options = options_of(OPTIONS[command])
    words = filled.split()
    asked = {one.name: of_option(one, filled=one.name in words) for one in options}
    return closed("every option with what was left open filled in, and what follows", asked | dict(derived))


# ---- the answers ----

VERSION: Schema = {"const": 1, "description": "the version of this schema"}
NAME = text("name of the model")
CLASS_DEFAULTS = many("sizes that the config does not state, with its class's values", {"type": "string"})
DEFAULTS = many("what was chosen where an option was left open, in words", {"type": "string"})
NO_LIMIT = "null: memory sets no limit"
UNBOUNDED = f"{NO_LIMIT}, or there is no machine"
VERDICT = or_null(
    choice(
        "may_not_fit: with every measured range at its upper end it does not; null where it is not known",
        *VERDICTS,
    )
)
CAUSE = or_null(text("why it does not fit, or may not; null where it does"))
REMEDIES = many(
    "the smallest changes that make it fit, three at most",
    closed(
        "a change",
        {
            "words": text("what changes"),
            "command": text("the command that asks for it, quoted for a shell"),
            "total_bytes": number("what the fullest device then holds"),
        },
    ),
)
NOT_READ = many("fields of the config.json that were not read; absent if there are none", {"type": "string"})
TENSOR: Schema = {
    "type": ["object", "integer", "string", "null"],
    "description": "a dtype and a shape, or bytes",
}
HEADER = or_null(
    closed(
        "the header of the checkpoint, null where none was read",
        {
            "tensors": number("tensors in it"),
            "bytes": or_null(number("bytes of all tensors; null where an index alone does not say")),
            "ledger_bytes": or_null(number("bytes of the same tensors, derived; null if not compared")),
            "files": number("headers that were read; 0 for an index alone"),
        },
    )
)
DIFFERENCES = many(
    "in what the header differs from the ledger",
    closed(
        "equal differences of several layers and experts are one",
        {
            "name": text("the tensor, with {layer} and {expert} for their numbers"),
            "kind": choice(
                "what differs", *("missing", "unexpected", "shape", "dtype", "bytes", "not compared")
            ),
            "expected": TENSOR,
            "found": TENSOR,
            "count": number("tensors that differ in this way", 1),
        },
    ),
)


POOL: Schema = {
    "type": "string",
    "pattern": "^(gpu[0-9]*|host)$",
    "description": "where it lies: gpu, or host for memory that only the host has; of unequal devices that "
    "hold what the engine gives each, gpu, gpu1, ... in the order of --on. Unified memory is gpu alone",
}


def line(*moments: str, least: int | None = 0) -> Schema:
    """Return the schema of the lines of a budget."""
    keys = {
        "pool": POOL,
        "component": choice("what it counts as", *COMPONENTS),
        "name": text("the tensor or the overhead"),
        "count": or_null(number("how many numbers they are; null where none were counted")),
        "bytes": number("bytes on the fullest device; below 0 where something leaves it", least),
        "formula": text("the product behind the bytes; empty where there is none"),
        "moments": many("when it lives; empty for what lives always", choice("a moment", *moments)),
        "evidence": choice("exact follows from shapes", "exact", "measured", "assumed"),
        "source": text("where it comes from"),
        "low": or_null(number("lower end of its range, which may lie below 0; null if it has none", None)),
        "high": or_null(number("upper end of its range; null if it has none", least)),
        "outside": flag("it comes on top of the share of a device that the engine takes"),
    }
    return many("tensors and overheads; those of a moment add up to it", closed("a line", keys))


def components(meaning: str) -> Schema:
    """Return the schema of bytes by component."""
    return by_name(meaning, number("bytes"), *COMPONENTS)


def answer_of_model() -> Schema:
    """Return the schema of ``memcalc model``; what a header alone does not say is null."""
    stored = {
        "name": text("its name"),
        "dtype": or_null(text("as the header names it; null where only names are known")),
        "shape": or_null(many("its axes, outputs first", {"type": "integer"})),
        "bytes": or_null(number("bytes")),
    }
    cache = {
        "bytes_per_token": or_null(number("added by a token once every window is full")),
        "bytes_per_token_in_window": or_null(number("added by a token while every window still grows")),
        "state_bytes_per_sequence": or_null(number("recurrent and convolution state")),
    }
    extra = {
        "mtp_parameters": or_null(number("parameters of layers for multi-token prediction")),
        "vision_parameters": or_null(number("parameters of the vision tower")),
        "buffer_values": or_null(number("numbers in buffers, such as a router's bias")),
    }
    keys = {
        "schema": VERSION,
        "name": NAME,
        "model_type": or_null(text("its type, as the config.json states it")),
        "parameters": or_null(number("parameters of the text model, tied ones once")),
        "active_parameters": or_null(number("those that a token uses")),
        "embedding_parameters": or_null(number("those of the token embedding")),
        "tied": or_null(flag("the head is the embedding")),
        "depth": or_null(number("layers")),
        "cache": closed("bytes of the cache, 16-bit", cache),
        "extra": closed("what `parameters` leaves out", extra),
        "quantization": or_null(text("how its checkpoint is quantised; null where nothing says so")),
        "defaults": DEFAULTS,
        "header": HEADER,
        "differences": DIFFERENCES,
        "not_read": NOT_READ,
        "class_defaults": CLASS_DEFAULTS,
        "cache_unknown": text("why the cache is null: a header alone does not say"),
        "weights": many("the tensors of a header alone", closed("a tensor", stored)),
    }
    return closed("", keys, "not_read", "class_defaults", "cache_unknown", "weights")


def pool_of_serve(moments: tuple[str, ...]) -> Schema:
    """Return the schema of a pool of memory."""
    kv_pool = {
        "bytes": number("bytes"),
        "low_bytes": number("lower end of the range"),
        "high_bytes": number("upper end of the range"),
        "tokens": or_null(number(f"tokens that it holds, as the engine prints them; {NO_LIMIT}")),
        "low_tokens": or_null(number(f"lower end of the range; {NO_LIMIT}")),
        "high_tokens": or_null(number(f"upper end of the range; {NO_LIMIT}")),
        "concurrency": or_null(number("requests of this context, where it prints them") | {"type": "number"}),
    }
    keys = {
        "name": POOL,
        "devices": number("devices of the pool", 1),
        "capacity_bytes": or_null(number("what a framework can use of one device; null without a machine")),
        "usable_bytes": or_null(number("the share of it that the engine may use")),
        "components": components("bytes at the fullest moment; they add up to total_bytes"),
        "moments": by_name("bytes without context and communicators", number("bytes"), *moments),
        "total_bytes": number("bytes at the fullest moment, with the runtime"),
        "low_bytes": number("lower end of the range"),
        "high_bytes": number("upper end of the range"),
        "free_bytes": or_null(number("what is left of the capacity; below 0 it is too small", None)),
        "fits": or_null(flag("whether it fits; null where that is not known")),
        "kv_pool": or_null(closed("what the engine takes for the cache in advance, per device", kv_pool)),
    }
    return closed("the fullest device of a pool", keys)


def answer_of_serve() -> Schema:
    """Return the schema of ``memcalc serve``."""
    moments = ("load", "prefill", "decode")
    derived: dict[str, Schema] = {
        "assumed": text("what the bytes of the weights take for granted; empty if nothing"),
        "unmatched": many("names in quantization_config that match no module", {"type": "string"}),
        "parameters_not_counted": number("parameters of the vision tower where it is not loaded"),
        "activations": text("format of the activations"),
        "source": text("where the config comes from"),
        "draft_weights": or_null(text("format of the draft's weights; null without a draft")),
        "draft_parameters": or_null(number("parameters of the draft, with its copies; null without one")),
    }
    beside = {name: number("bytes") for name in ("mtp", "vision", "buffers")}
    keys = {
        "schema": VERSION,
        "model": NAME,
        "engine": text("what serves the model"),
        "plan": plan("serve", "weights kv prompt task engine engine_version tp pp ep dp dcp", derived),
        "defaults": DEFAULTS,
        "pools": many("the devices, and the memory of the host where it is used", pool_of_serve(moments)),
        "weights_file_bytes": number(
            "tensor bytes of the text model's checkpoint in this format: without towers, MTP and buffers"
        ),
        "not_loaded_bytes": closed("tensor bytes of the checkpoint that the engine does not load", beside),
        "cache_bytes": number("the architecture's cache of the whole batch, all devices together"),
        "fits": or_null(flag("whether every pool is large enough; null where that is not known")),
        "verdict": VERDICT,
        "cause": CAUSE,
        "remedies": REMEDIES,
        "max_context": or_null(
            number(f"the longest context that fits, bounded by memory alone; {UNBOUNDED}")
        ),
        "max_batch": or_null(number(f"the largest batch that fits, bounded by memory alone; {UNBOUNDED}")),
        "model_max_context": or_null(number("the model's own limit")),
        "command": text("the engine's own command, quoted for a shell; with --engine-command alone"),
        "lines": line(*moments, least=None),
        "header": HEADER,
        "differences": DIFFERENCES,
        "not_read": NOT_READ,
        "class_defaults": CLASS_DEFAULTS,
    }
    return closed("", keys, "command", "not_read", "class_defaults")


SURELY = {  # each there where its flag is
    "max_seq": or_null(number("the longest sequence that surely fits")),
    "max_batch": or_null(number("the largest micro-batch that surely fits")),
    "fewest_devices": or_null(number("the fewest devices that surely hold it")),
}


def plan_of_train() -> Schema:
    """Return the schema of a training step's options."""
    derived: dict[str, Schema] = {
        "dp": number("data-parallel ranks", 1),
        "schedule": choice("order of passes in a pipeline", "1f1b", "gpipe", "interleaved"),
        "vocab": number("tokens of the padded vocabulary"),
    }
    filled = "gradients optimizer_step loss expert_tp pipeline_layout recompute_modules dropout lora_targets"
    return plan("train", f"{filled} vocab_multiple repeat_kv", derived)


def answer_of_ask() -> Schema:
    """Return the schema of ``memcalc ask``: of a question, or with --list of all."""
    named: Mapping[str, Schema] = {
        "id": text("the question's name"),
        "topic": choice("what it is about", *TOPICS),
        "subject": text("the same, closer"),
        "difficulty": choice("how difficult it is", *DIFFICULTIES),
        "title": text("the question in a line, without numbers"),
        "kind": choice("what kind of answer it wants", *KINDS),
        "by_hand": flag("whether a pen is enough: few operations, short numbers"),
    }
    listed = closed(
        "", {"schema": number("1"), "questions": many("with --list", closed("a question", named))}
    )
    answer: Schema = {
        "type": ["number", "string", "array"],
        "items": {"type": "string"},
        "description": "a number in `unit`; the letter of a choice; letters (of an order from the smallest); "
        "of kind explain a model answer",
    }
    wrong: Mapping[str, Schema] = {
        "answer": {"type": ["number", "string"], "description": "a common wrong answer"},
        "why": text("why it is wrong"),
    }
    asked: Mapping[str, Schema] = {
        "schema": number("1"),
        **named,
        "seed": number("which numbers"),
        "language": choice("in which it is asked", *LANGUAGES),
        "question": text("what is asked"),
        "answer": answer,
        "unit": text("of the answer; empty where it is no number"),
        "tolerance": {"type": "number", "description": "how far an answer may lie off, as a share of it"},
        "choices": many("A, B, C, ...", text("a choice")),
        "derivation": many("the way to the answer, which stands in the last line", text("a line")),
        "wrong": many("common wrong answers", closed("", wrong)),
        "hints": many("from a nudge to nearly the answer", text("a hint")),
        "further": text("what is asked next"),
        "source": text("where its facts can be read"),
        "chapter": text("the page of the book that explains it"),
        "grade": closed(
            "of an answer that was given; with --answer",
            {
                "right": or_null(flag("whether it is right; null: asked back, or yours to compare")),
                "says": text("why"),
            },
        ),
    }
    return {"type": "object", "anyOf": [listed, closed("", asked, "grade")]}


def answer_of_measure() -> Schema:
    """Return the schema of ``memcalc measure train``."""
    moment = {
        "at": choice("which moment", *dict.fromkeys((*MOMENTS, *MOMENTS_RECOMPUTED))),
        "measured_bytes": number("what was held, or the most since the moment before"),
        "predicted_bytes": number("the same of the plan, with what lies beside its tensors: ids, counters"),
        "difference": number("measured less predicted", None),
    }
    keys = {
        "schema": VERSION,
        "model": NAME,
        "plan": plan_of_train(),
        "defaults": DEFAULTS,
        "device": text("the GPU by name, or that tensors were fake"),
        "fake": flag("whether nothing was computed, for want of a GPU"),
        "versions": by_name("of the libraries that ran", {"type": "string"}),
        "seed": number("of the random weights and tokens"),
        "date": text("when it ran"),
        "moments": many("the moments of the second step, in order", closed("a moment", moment)),
        "allocated_bytes": number("the largest of them"),
        "reserved_bytes": or_null(number("the most that the allocator had reserved; null without a GPU")),
    }
    return closed("", keys)


def beside_the_step() -> dict[str, Schema]:
    """Return the schemas of loading, evaluation and saving, and of those that are not counted."""
    beside = {
        "at": choice("which moment", *MOMENTS_BESIDE),
        "where": choice(
            "on the fullest device, or in the host's memory, all ranks together", "device", "host"
        ),
        "total_bytes": number("what is held, with context and communicators, or with the programs"),
        "low_bytes": number("lower end of its range"),
        "high_bytes": number("upper end of its range"),
        "capacity_bytes": or_null(number("what there is of this memory; null if it is not stated")),
        "verdict": VERDICT,
        "components": components("bytes that add up to the total"),
        "lines": line(*MOMENTS_BESIDE),
        "fixes": many("what people change where there is no room", {"type": "string"}),
    }
    gap = {"at": choice("which moment", *MOMENTS_BESIDE), "why": text("why it is not counted")}
    return {
        "beside_the_step": many("loading, evaluation and saving", closed("a moment in a memory", beside)),
        "not_counted": many("moments beside the step of which no bytes are known", closed("a moment", gap)),
    }


def answer_of_train() -> Schema:
    """Return the schema of ``memcalc train``."""
    of_steps = tuple(dict.fromkeys((*MOMENTS, *MOMENTS_RECOMPUTED)))
    moments = (*of_steps, *PHASES[:3], *(f"critic_{one}" for one in of_steps))
    moment = {
        "at": choice("which moment", *moments),
        "total_bytes": number("bytes that the allocator holds"),
        "components": components("bytes that add up to it"),
    }
    models = ("policy", "reference", "reward", "critic", "engine", "process")
    phase = {
        "name": choice("which phase", *PHASES),
        "moments": many("its moments, in order", choice("a moment", *moments)),
        "fullest": choice("its largest moment", *moments),
        "total_bytes": number("with context, communicators and the allocator's reserve"),
        "low_bytes": number("lower end of its range"),
        "high_bytes": number("upper end of its range"),
        "components": by_name("bytes of each model that add up to it", number("bytes"), *models),
    }
    keys = {
        "schema": VERSION,
        "model": NAME,
        "plan": plan_of_train(),
        "defaults": DEFAULTS,
        "parameters": number("parameters of the model and of its adapters, tied ones once"),
        "trainable_parameters": number("those that get a gradient"),
        "stage": number("the pipeline stage that is answered for, from 0"),
        "moments": many("the moments of a step, in order", closed("a moment", moment)),
        "phases": many("the phases of a method, in order; with --method alone", closed("a phase", phase)),
        "fullest_phase": choice("the phase that needs most; with --method alone", *PHASES),
        "peak_at": choice("the largest moment", *moments),
        "allocated_bytes": number("the largest moment: torch.cuda.max_memory_allocated"),
        "device_bytes": number("with context, communicators and the allocator's reserve"),
        "low_bytes": number("lower end of its range"),
        "high_bytes": number("upper end of its range"),
        "capacity_bytes": or_null(number("what a framework can use of one device; null without a machine")),
        "host_bytes": number("what all ranks put into the memory of the host"),
        **beside_the_step(),
        "fits": or_null(flag("whether what is held at once fits; null without a machine")),
        "verdict": VERDICT,
        "cause": CAUSE,
        "remedies": REMEDIES,
        "assumed": many("what no plan states, and what was assumed for it", {"type": "string"}),
        "lines": line(*moments),
        **SURELY,
        "not_read": NOT_READ,
        "class_defaults": CLASS_DEFAULTS,
    }
    return closed("", keys, "phases", "fullest_phase", *SURELY, "not_read", "class_defaults")


def answer_of_which() -> Schema:
    """Return the schema of ``memcalc which``."""
    holding = {
        "id": text("id of the device or the server"),
        "count": number("how many of it, the fewest of 1, 2, 4 and 8", 1),
        "verdict": choice("may_not_fit: with every measured range at its upper end it does not", *HOLDING),
        "total_bytes": number("what the fullest device holds"),
        "capacity_bytes": number("what a framework can use of one device"),
        "max_context": or_null(number(f"the longest context that fits, bounded by memory alone; {NO_LIMIT}")),
    }
    keys = {
        "schema": VERSION,
        "model": NAME,
        "engine": text("what serves the model"),
        "defaults": DEFAULTS,
        "machines": many("the machines that hold it, the smallest memory first", closed("some", holding)),
    }
    return closed("", keys)


def answer_of_check() -> Schema:
    """Return the schema of ``memcalc check``."""
    bytes_or_count = "where it is no memory: blocks, tokens, slots, requests, a ratio"
    told: dict[str, Schema] = {
        "text": text("the line of the log, without the colours of a terminal"),
        "quantity": text("what the figure is"),
        "printed": text("the figure as the line has it"),
        "bytes": {"type": "integer", "description": "the figure; absent of a count"},
        "count": {"type": "number", "description": f"the figure {bytes_or_count}"},
        "scope": text("of what: rank, device, host, all, or a device by its own name"),
        "ledger_bytes": {
            "type": ["number", "null"],
            "description": "what memcalc says of it; a count of a count",
        },
        "difference": {"type": ["number", "null"], "description": "the log's figure less that"},
        "cause": or_null(text("what a difference is likely to come from; null where there is none")),
    }
    ignored: dict[str, Schema] = {"text": text("the line"), "why": text("why it is no memory of a device")}
    keys: dict[str, Schema] = {
        "schema": VERSION,
        "engine": or_null(text("whose log it is; null where it cannot be told")),
        "version": or_null(text("the version that the log names")),
        "model": or_null(text("the model that the log names, or that was stated")),
        "plan": {"type": "object", "description": "options of `memcalc serve` that the log tells"},
        "not_compared": or_null(text("why no figure was compared; null where some were")),
        "lines": many("the figures, in the order of the log", closed("one", told, "bytes", "count")),
        "ignored": many("lines that only look like a figure of memory", closed("one", ignored)),
        "record": many("rows of the record of measurements; with --record", {"type": "object"}),
    }
    return closed("", keys, "record")


def answer_of_explain() -> Schema:
    """Return the schema of ``memcalc explain``."""
    symbol: dict[str, Schema] = {
        "name": text("its name in the vocabulary; `width_2` is a second width"),
        "latex": text("its letter in LaTeX"),
        "value": number("its number"),
        "meaning": text("what it is"),
    }
    of_none = "null where there is nothing but `words`"
    explained: dict[str, Schema] = {
        "component": text("what it counts as; of a model the kind of tensor"),
        "name": text("the tensor or the overhead"),
        "formula": or_null(text(f"how it was made, by the names of the symbols; {of_none}")),
        "numbers": or_null(text(f"the same with the numbers put in; {of_none}")),
        "latex": or_null(text(f"the formula in LaTeX; {of_none}")),
        "words": text("what the estimate says of it; empty if nothing"),
        "value": number("bytes, or a count, as the section's unit says", None),
        "moments": many("when it lives; empty for what lives always", {"type": "string"}),
        "evidence": choice("exact follows from shapes", "exact", "measured", "assumed"),
        "source": text("where it comes from"),
        "low": or_null(number("lower end of its range; null if it has none", None)),
        "high": or_null(number("upper end of its range; null if it has none", None)),
        "outside": flag("it comes on top of the share of a device that the engine takes"),
    }
    part: dict[str, Schema] = {
        "name": text("a component"),
        "value": number("what it adds; below 0 what is taken away", None),
    }
    added: dict[str, Schema] = {
        "name": text("a moment, `total`, or `free`; of other sections what they count"),
        "parts": many("they add up to the value", closed("a part", part)),
        "value": number("the sum", None),
        "note": text("why a moment is the fullest; of the total its range; else empty"),
    }
    section: dict[str, Schema] = {
        "heading": text("of what"),
        "pool": or_null(POOL),
        "unit": choice("of the values", "bytes", "numbers"),
        "lines": many("tensors and overheads", closed("a line", explained)),
        "sums": many("what they add up to", closed("a sum", added)),
    }
    keys: dict[str, Schema] = {
        "schema": VERSION,
        "of": choice("the command that is explained", "model", "serve", "train"),
        "model": NAME,
        "title": text("what was asked, in a line"),
        "defaults": DEFAULTS,
        "facts": many("how the plan was understood, and what was assumed", {"type": "string"}),
        "symbols": many("the quantities of the formulas", closed("a symbol", symbol)),
        "sections": many("the derivation", closed("a section", section)),
        "conclusion": many(
            "what follows: the verdict, the largest load, what is not counted", {"type": "string"}
        ),
        "answer": number("the bytes of the fullest device; of a model its parameters"),
        "answer_text": text("the answer as the last line of the text"),
    }
    return closed("", keys)


def answer_of_compare() -> Schema:
    """Return the schema of ``memcalc compare``."""
    size = number("bytes; of models a count", None)
    side: dict[str, Schema] = {
        "command": choice("what is asked", "model", "serve", "train"),
        "model": NAME,
        "title": text("what is asked, in a line"),
        "defaults": DEFAULTS,
        "components": by_name("at the fullest moment; `host ` begins those of the host's memory", size),
        "at": or_null(text("the fullest moment; null of a model")),
        "total": number("what the fullest device holds; of a model its parameters"),
        "unit": choice("of the total", "bytes", "parameters"),
        "low_bytes": or_null(number("lower end of the range; null of a model")),
        "high_bytes": or_null(number("upper end of the range; null of a model")),
        "capacity_bytes": or_null(number("what a framework can use of one device; null without a machine")),
        "verdict": VERDICT,
        "cause": CAUSE,
        "max_context": or_null(number(f"the longest context that fits; {UNBOUNDED}, or it is none of serve")),
        "max_batch": or_null(number(f"the largest batch that fits; {UNBOUNDED}, or it is none of serve")),
    }
    option: dict[str, Schema] = {
        "name": text("the option, or what follows from several"),
        "values": {"type": "array", "items": {}, "description": "its value in each plan, filled in"},
        "asked": many("whether it was stated in each plan", {"type": "boolean"}),
    }
    component: dict[str, Schema] = {
        "name": text("the component, device or limit"),
        "values": many("its size in each plan", size),
        "differences": many("its size in each plan less that in the first", size),
        "causes": many(
            "why it differs from the first plan, for each plan", many("causes", {"type": "string"})
        ),
    }
    keys: dict[str, Schema] = {
        "schema": VERSION,
        "plans": many("the plans, the first of which the others are compared with", closed("a plan", side)),
        "options": many("options that differ, of those that all plans have", closed("an option", option)),
        "components": many("all components of all plans", closed("a component", component)),
        "devices": many("what each of unequal devices holds", closed("a device", component)),
        "limits": many("largest context and batch, where memory sets them", closed("a limit", component)),
        "moments": many(
            "plans whose fullest moment is another than the first's, and why", {"type": "string"}
        ),
        "remarks": many("what cannot be compared", {"type": "string"}),
        "answer_text": text("the last line of the text: what each plan holds against the first"),
    }
    return closed("", keys)


def answer_of_list() -> Schema:
    """Return the schema of ``memcalc list``: rows of one kind."""
    named = {
        "id": text("its name"),
        "note": text("what else is known"),
        "source": text("where it comes from"),
    }
    identity, note, source = ({key: one} for key, one in named.items())
    dated = {**source, "date": text("when that was")}
    device = {
        **identity,
        "vendor": text("who makes it"),
        "name": text("as it is sold"),
        "nominal": text("memory on the box"),
        "printed_mib": or_null(number("memory as the driver prints it, MiB; null if it was not found")),
        "visible_mib": or_null(number("memory as a framework sees it, MiB; null if it was not found")),
        **dated,
        **note,
        "capability": or_null(text("CUDA's name of the generation")),
        "kind": choice("unified: host and device share the memory", "gpu", "npu", "tpu", "unified"),
        "free_mib": or_null(
            many("of unified memory at the start: least, typical, most; null if not measured", number("MiB"))
        ),
        "aliases": many("other names that it alone has", {"type": "string"}),
        "taken_for": many("names that can mean others, too", {"type": "string"}),
        "nominal_only": flag("the capacity is the number on the box, which is assumed"),
        "capacity_bytes": number("what a framework can use"),
    }
    server = {
        **identity,
        "name": text("as it is sold"),
        "device": text("id of its devices"),
        "devices": number("how many it has", 1),
        "kind": choice("what it is", "server"),
        **dated,
    }
    form: dict[str, Schema] = {
        **identity,
        "bits": {"type": "number", "description": "of a number, without scales"},
        "weights": flag("for weights"),
        "kv": flag("for the KV cache"),
        **note,
        **source,
    }
    kinds = (
        closed("a model of the catalogue", identity),
        closed("a device", device),
        closed("a server", server),
        closed("a format", form),
        *engines_of_list(identity, note, dated),
    )
    return {"type": "array", "items": {"anyOf": list(kinds)}}


def engines_of_list(
    identity: Mapping[str, Schema], note: Mapping[str, Schema], dated: Mapping[str, Schema]
) -> tuple[Schema, Schema]:
    """Return the schemas of an engine that is modelled, and of one that is not."""
    release = closed("one of its releases", {"version": text("its number"), **dated})
    engine = {
        **identity,
        "modelled": {"const": True, "description": "memcalc has its rules"},
        "name": text("as it writes itself"),
        "version": text("the version that is meant where none is named"),
        "date": text("when the newest release that is modelled appeared"),
        "releases": many("those from which on its behaviour is modelled, the newest last", release),
        "versions": many("how the versions begin that are known", {"type": "string"}),
        "options": by_name("its own options with their defaults", {"type": ["number", "boolean"]}),
        "offloads": many("its rules for weights in the memory of the host", {"type": "string"}),
        **note,
    }
    unmodelled = {
        **identity,
        "modelled": {"const": False, "description": "memcalc does not have its rules"},
        "name": text("as it writes itself"),
        "version": text("its newest version, where one was looked up"),
        "date": text("when that appeared"),
        "nearest": choice("the engine whose rules are nearest", *get_args(EngineName)),
        **note,
    }
    return closed("an engine", engine), closed("an engine that is not modelled", unmodelled)


ANSWERS: Registry[Callable[[], Schema]] = Registry(
    "command",
    {
        "model": answer_of_model,
        "serve": answer_of_serve,
        "train": answer_of_train,
        "which": answer_of_which,
        "check": answer_of_check,
        "explain": answer_of_explain,
        "compare": answer_of_compare,
        "measure": answer_of_measure,
        "ask": answer_of_ask,
        "list": answer_of_list,
    },
    remedy="see `memcalc --help`",
)
