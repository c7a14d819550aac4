"""What the command line understands, and how it answers."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, NoReturn

from memcalc.errors import BadInputError, UnknownNameError, escaped

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from memcalc.files.compare import Check
    from memcalc.files.source import Source
    from memcalc.ledger.budget import PoolBudget
    from memcalc.ledger.model import Model
    from memcalc.serving.estimate import KVPool, Serving

    Answer = tuple[int, Callable[[], object], Callable[[], str]]  # exit status, for programs, for people

__all__ = ["parse"]


class Parser(argparse.ArgumentParser):
    """argparse, but an error is an exception of ours."""

    def _get_formatter(self) -> argparse.HelpFormatter:
        """Lay out help in 88 columns: add_argument asks, and looking at the terminal would load shutil."""
        return self.formatter_class(prog=self.prog, width=88)  # type: ignore[call-arg]

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing a usage text."""
        raise BadInputError(
            "command line", f"what `{self.prog} --help` lists", message, "correct the command"
        )


def whole_number(text: str) -> int | str:
    """Parse a whole number; other text stays, and is refused where the option's name is known."""
    digits = text.removeprefix("-")
    return int(text) if text.isascii() and digits.isdigit() and len(digits) < 1000 else text


def number(text: str) -> float | str:
    """Parse a number, in the same way."""
    try:
        return float(text)
    except ValueError:
        return text


SOURCE = (
    "a catalogue name, a config.json, its folder, a safetensors file or index, a GGUF file, a Hub repository"
)
OPTION = "see `memcalc list engines --json`"


def add_model(model: Parser) -> None:
    """Add the options of ``memcalc model``."""
    model.add_argument("source", metavar="SOURCE", help=SOURCE)
    model.add_argument("--engine", help="count the cache as this engine allocates it")


def add_list(listing: Parser) -> None:
    """Add the options of ``memcalc list``."""
    listing.add_argument("what", metavar="models|machines|formats|engines")


def add_serve(serve: Parser) -> None:
    """Add the options of ``memcalc serve``."""
    serve.add_argument("source", metavar="SOURCE", help=SOURCE)
    numbers = {
        "context": "tokens of a sequence at the end, prompt and answer",
        "prompt": "tokens of the prompt among them (default: all)",
        "tp": "tensor-parallel ranks",
        "pp": "pipeline stages",
        "ep": "ranks that share the experts, of tp x dp",
        "dp": "data-parallel ranks",
        "prefill-chunk": "tokens of the prompt in one pass (default: the engine's way)",
    }
    for name, text in numbers.items():
        serve.add_argument(f"--{name}", type=whole_number, metavar="N", help=text)
    serve.add_argument("--batch", type=whole_number, default=1, metavar="N", help="sequences at once (1)")
    serve.add_argument("--weights", metavar="FORMAT", help="default: what the source says of itself")
    serve.add_argument("--kv", metavar="FORMAT", help="of the cache, or K/V for one each (default: 16-bit)")
    serve.add_argument("--on", metavar="MACHINE", help='"COUNTx ID", and "+ 512GiB host"')
    serve.add_argument(
        "--engine", help="transformers (default), vllm, sglang, llama.cpp (default for GGUF), ..."
    )
    serve.add_argument("--engine-version", metavar="V", help=f"{OPTION}: versions and the default")
    serve.add_argument("--engine-option", action="append", default=[], metavar="KEY=VALUE", help=OPTION)
    serve.add_argument("--offload", metavar="RULE", help="which weights lie in host memory (see --engine)")
    serve.add_argument("--utilization", type=number, default=0.9, help="share of the device to use (0.9)")
    for name in ("max-context", "max-batch"):
        serve.add_argument(f"--{name}", action="store_true", help="always answered where --on is given")
    serve.add_argument("--check", action="store_true", help="exit status 1 if it does not fit")


def add_train(train: Parser) -> None:
    """Add the options of ``memcalc train``."""
    from memcalc.cli.train import add_options

    train.add_argument("source", metavar="SOURCE", help=SOURCE)
    add_options(train, whole_number)


def answer_train(given: argparse.Namespace) -> Answer:
    """Answer ``memcalc train``."""
    from memcalc.cli.train import answer

    return answer(given)


OPTIONS = {
    "model": (add_model, "parameters and cache of a model"),
    "list": (add_list, "what is known"),
    "serve": (add_serve, "does it fit?"),
    "train": (add_train, "what does a training step hold?"),
}


def with_options(command: Parser, name: str) -> Parser:
    """Return the parser with all options of a command."""
    OPTIONS[name][0](command)
    command.add_argument("--json", action="store_true", help="one JSON object, whole bytes")
    command.set_defaults(command=name)
    return command


def understand(arguments: list[str]) -> argparse.Namespace:
    """Return the command and its options; only the parser of the command is built, if it stands first.

    Raises:
        BadInputError: no such command, or no such option.

    """
    if arguments and arguments[0] in OPTIONS:
        name, *rest = arguments
        return with_options(Parser(prog=f"memcalc {name}", allow_abbrev=False), name).parse_args(rest)
    if arguments and not arguments[0].startswith("-"):
        from memcalc.ledger.registry import nearest

        remedy = nearest(arguments[0], OPTIONS) or "see `memcalc --help`"
        raise UnknownNameError("command line", f"one of {', '.join(OPTIONS)}", arguments[0], remedy)
    top = Parser(prog="memcalc", description="How much memory a language model needs.", allow_abbrev=False)
    commands = top.add_subparsers(dest="command", required=True, parser_class=Parser)
    for name, (_, text) in OPTIONS.items():
        with_options(commands.add_parser(name, help=text, allow_abbrev=False), name)
    return top.parse_args(arguments)


def parse(arguments: list[str]) -> tuple[int, str]:
    """Answer the command: return the exit status and the text of the answer."""
    given = understand(arguments)
    answers = {"model": answer_model, "list": answer_list, "serve": answer_serve, "train": answer_train}
    status, fields, text = answers[given.command](given)
    return status, json.dumps(fields()) if given.json else text()


def cache_facts(model: Model, engine: str | None) -> dict[str, int]:
    """Return the cache a token and a sequence, 16-bit, as the architecture or an engine needs it."""
    from memcalc.ledger.formats import FORMATS
    from memcalc.ledger.model import everything

    kept, state = everything, model.cache(1, 1)
    if engine is not None:
        from memcalc.serving.engines import engine as named

        one = named(engine)
        model = one.held(model)
        kept, state = one.kept, one.cache(model, 1, 1, one.defaults)
    far = 2**40  # beyond every window

    def held(context: int) -> int:
        return sum(2 * tensor.count for tensor in model.cache(1, context, kept) if tensor.kind == "cache")

    states = sum(
        tensor.count * FORMATS[tensor.format or "bf16"].bits // 8
        for tensor in state
        if tensor.kind == "state"
    )
    return {
        "bytes_per_token": held(far + 1) - held(far),
        "bytes_per_token_in_window": sum(
            2 * tensor.count
            for tensor in model.cache(1, 1, lambda context, _window: context)
            if tensor.kind == "cache"
        ),
        "state_bytes_per_sequence": states,
    }


def answer_model(given: argparse.Namespace) -> Answer:
    """Answer ``memcalc model``."""
    from memcalc.files.sources import source

    found = source(given.source)
    model = found.model
    cache = cache_facts(model, given.engine)
    extra = {
        "mtp_parameters": model.mtp_parameters,
        "vision_parameters": model.vision_parameters,
        "buffer_values": model.buffer_values,
    }
    fields = {
        "name": model.name,
        "model_type": model.model_type,
        "parameters": model.parameters,
        "active_parameters": model.active_parameters,
        "embedding_parameters": model.embedding_parameters,
        "tied": model.tied,
        "depth": model.depth,
        "cache": cache,
        "extra": extra,
        **header_fields(compared := header_check(found)),
    }
    return 0, lambda: fields, lambda: "\n".join([model_text(model, cache), *header_text(compared)])


def header_check(found: Source) -> Check | None:
    """Compare the header of a source with the ledger; most sources have none, and load nothing for it."""
    if found.header is None:
        return None
    from memcalc.files.compare import check

    return check(found)


def header_fields(compared: Check | None) -> dict[str, object]:
    """Return what an answer says of a header, and in what the ledger differs from it."""
    if compared is None:
        return {"header": None, "differences": []}
    return {"header": compared.fields, "differences": [one._asdict() for one in compared.differences]}


def header_text(compared: Check | None) -> list[str]:
    """Return the same for people."""
    return [] if compared is None else [f"  {compared.text}"]


def model_text(model: Model, cache: Mapping[str, int]) -> str:
    """Return a model's answer for people."""
    from memcalc.ledger.amount import gb, gib, thin

    far, near = cache["bytes_per_token"], cache["bytes_per_token_in_window"]
    window = "" if far == near else f", {thin(near)} B while every window still grows"
    rows = [
        f"{model.name} ({model.model_type}, {model.depth} layers)",
        f"  parameters         {thin(model.parameters)}",
        f"  active a token     {thin(model.active_parameters)}",
        f"  cache a token      {thin(far)} B (16-bit){window}",
        f"  as 16-bit weights  {gib(2 * model.parameters)} = {gb(2 * model.parameters)}",
    ]
    if model.vision_parameters:
        rows.insert(
            2, f"  beside them        {thin(model.vision_parameters)} that see, in no other figure here"
        )
    return "\n".join(map(escaped, rows))


def answer_list(given: argparse.Namespace) -> Answer:
    """Answer ``memcalc list``."""
    rows: list[dict[str, object]]
    if given.what == "models":
        from memcalc.files.catalogue import catalogue

        rows = [{"id": name} for name in catalogue()]
    elif given.what == "machines":
        from memcalc.ledger.machine import devices, servers

        rows = [{**item._asdict(), "capacity_bytes": item.capacity_bytes} for item in devices().values()]
        rows += [item._asdict() for item in servers().values()]
    elif given.what == "formats":
        rows = format_rows()
    elif given.what == "engines":
        from memcalc.serving.engines import ENGINES, engine

        rows = [
            {
                "id": one.id,
                "version": one.version,
                "versions": list(dict.fromkeys(begins for begins, _ in one.versions)),
                "options": dict(one.defaults),
                "offloads": list(one.offloads),
                "note": one.note,
            }
            for one in map(engine, ENGINES)
        ]
    else:
        known = "models, machines, formats or engines"
        raise UnknownNameError("memcalc list", known, given.what, "say what to list")
    return 0, lambda: rows, lambda: "\n".join(str(row["id"]) for row in rows)


def format_rows() -> list[dict[str, object]]:
    """Return a row for each format, each of llama.cpp's mixes, and what its cache may be stored as."""
    from memcalc.files.gguf.presets import PRESETS
    from memcalc.ledger.formats import FORMATS, GGUF_KV_FORMATS, GGUF_TYPES, KV_FORMATS

    caches = {**KV_FORMATS, **{item.id: item for item in GGUF_KV_FORMATS.values()}}
    rows: list[dict[str, object]] = [
        {
            "id": item.id,
            "bits": item.bits,
            "weights": item.id in FORMATS,
            "kv": item.id in caches,
            "note": item.note,
            "source": item.source,
        }
        for item in {**caches, **FORMATS}.values()
    ]
    known = {**FORMATS, **GGUF_TYPES}
    for preset in PRESETS.values():
        note = preset.note or f"a mix of llama.cpp: {preset.base}, and types of more bits for some tensors"
        source = "https://github.com/ggml-org/llama.cpp, src/llama-quant.cpp, v0.5.0, 2026-11"
        rows.append(
            {
                "id": preset.id,
                "bits": known[preset.base].bits,
                "weights": True,
                "kv": False,
                "note": note,
                "source": source,
            }
        )
    return rows


def pool_fields(pool: PoolBudget, kv_pool: KVPool | None) -> dict[str, object]:
    """Return a pool as the contract writes it, and what an engine takes in advance for the cache."""
    return {
        "name": pool.name,
        "devices": pool.devices,
        "capacity_bytes": pool.capacity_bytes,
        "usable_bytes": pool.usable_bytes,
        "components": pool.components,
        "moments": pool.moments,
        "total_bytes": pool.total_bytes,
        "low_bytes": pool.low_bytes,
        "high_bytes": pool.high_bytes,
        "free_bytes": pool.free_bytes,
        "fits": pool.fits,
        "kv_pool": kv_pool and kv_pool._asdict(),
    }


def answer_serve(given: argparse.Namespace) -> Answer:
    """Answer ``memcalc serve``."""
    from memcalc.serving.estimate import plan

    options: dict[str, str] = {}
    for item in given.engine_option:
        key, equals, value = item.partition("=")
        if not equals:
            raise BadInputError("--engine-option", "KEY=VALUE", item, "write for example block_size=16")
        if options.get(key, value) != value:
            raise BadInputError(
                f"--engine-option {key}", "it once", f"{options[key]} and {value}", "remove one"
            )
        options[key] = value
    serving = plan(
        given.source,
        context=given.context,
        prompt=given.prompt,
        batch=given.batch,
        weights=given.weights,
        kv=given.kv,
        on=given.on,
        tp=given.tp,
        pp=given.pp,
        ep=given.ep,
        dp=given.dp,
        engine_name=given.engine,
        engine_version=given.engine_version,
        engine_options=options,
        prefill_chunk=given.prefill_chunk,
        utilization=given.utilization,
        offload=given.offload,
    )
    if given.check and serving.budget.fits is None:
        if given.on is None:
            raise BadInputError(
                "--check", "a machine to check against", None, 'say --on, as in "2x rtx-a6000"'
            )
        remedy = 'say --on, as in "1x rtx-4090 + 512GiB host"'
        raise BadInputError("--check", "the size of the host's memory, which is used", given.on, remedy)
    status = 1 if given.check and serving.budget.fits is False else 0
    compared = header_check(serving.source)
    return (
        status,
        lambda: serve_fields(serving) | header_fields(compared),
        lambda: "\n".join([serve_text(serving), *header_text(compared)]),
    )


def serve_fields(serving: Serving) -> dict[str, object]:
    """Return a plan's answer as the contract writes it."""
    budget, split = serving.budget, serving.split
    return {
        "model": serving.model.name,
        "engine": serving.engine.id,
        "plan": {
            **serving.named,
            "engine_version": serving.engine.release,
            "engine_options": dict(serving.options),
            "context": serving.context,
            "prompt": serving.prompt_of(serving.context),
            "batch": serving.batch,
            "prefill_chunk": serving.chunk,
            "tp": split.tp,
            "pp": split.pp,
            "ep": split.ep,
            "dp": split.dp,
            "utilization": serving.utilization,
            "offload": serving.offload,
        },
        "pools": [
            pool_fields(pool, serving.kv_pool if pool.name == "gpu" else None) for pool in budget.pools
        ],
        "weights_file_bytes": serving.weights_file_bytes,
        "file_bytes_beside": serving.file_beside,
        "cache_bytes": serving.cache_bytes,
        "fits": budget.fits,
        "max_context": serving.max_context,
        "max_batch": serving.max_batch,
        "model_max_context": serving.model.max_context,
        "lines": [
            {
                "pool": pool.name,
                "component": line.component,
                "name": line.name,
                "count": line.count,
                "bytes": line.bytes,
                "moments": line.moments,
                "evidence": line.evidence,
                "formula": line.formula,
                "source": line.source,
            }
            for pool in budget.pools
            for line in pool.lines
        ],
    }


def serve_text(serving: Serving) -> str:
    """Return a plan's answer for people."""
    from memcalc.ledger.amount import gib, thin
    from memcalc.ledger.search import LIMIT

    tokens, by = f"{serving.batch} x {thin(serving.context)} tokens", serving.engine
    rows = [f"{serving.model.name}: {tokens}, weights {serving.named['weights']}, {by.id} {by.release}"]
    unmatched = serving.named["unmatched"]
    if unmatched:
        rows.append(f"  names in quantization_config that match no module: {unmatched}")
    if serving.named["assumed"]:
        rows.append(f"  derived, under these assumptions: {serving.named['assumed']}")
    for pool in serving.budget.pools:
        where = "host memory" if pool.name == "host" else f"fullest of {pool.devices} device(s)"
        rows.append(f"  {where}, at {pool.fullest}")
        rows += [f"    {name:<12} {gib(size):>12}" for name, size in pool.components.items()]
        span = f"({gib(pool.low_bytes)} to {gib(pool.high_bytes)})"
        rows.append(f"    {'total':<12} {gib(pool.total_bytes):>12}  {span}")
        if pool.capacity_bytes is not None and pool.usable_bytes is not None:
            rows.append(
                f"    {'capacity':<12} {gib(pool.capacity_bytes):>12}  (usable: {gib(pool.usable_bytes)})"
            )
        if pool.share_bytes != pool.total_bytes:
            rows.append(f"    {'in the share':<12} {gib(pool.share_bytes):>12}  (the usable part holds this)")
    if serving.model.vision_parameters:
        beside = thin(serving.model.vision_parameters)
        rows.append(f"  the text model alone: {beside} parameters that see come on top")
    if serving.kv_pool is not None:
        left = serving.kv_pool
        rows.append(
            f"  pool for the KV cache {gib(left.bytes)} a device: {thin(left.tokens)} tokens"
            f" ({thin(left.low_tokens)} to {thin(left.high_tokens)})"
        )
    if serving.machine is not None:
        rows.append(f"  {verdict(serving)}")
        limit = serving.model.max_context
        own = "" if limit is None else f"; the model's own limit is {thin(limit)} tokens"
        longest = "any" if serving.max_context == LIMIT else thin(serving.max_context or 0)
        most = thin(serving.max_batch or 0)
        rows.append(f"  largest context {longest}, largest batch {most} (memory alone{own})")
    return "\n".join(map(escaped, rows))


def verdict(serving: Serving) -> str:
    """Return whether a plan fits, and whether the ranges of what was measured leave a doubt."""
    pools = serving.budget.pools
    if serving.budget.fits is None:
        return 'fits the devices; how large the host\'s memory is was not said: --on "... + 512GiB host"'
    if not serving.budget.fits:
        least = all(pool.fits_at_least is not False for pool in pools)
        return "does not fit" + ("; with every range at its lower end it does" if least else "")
    most = all(pool.fits_at_most for pool in pools)
    return "fits" if most else "fits; with every range at its upper end it does not"
