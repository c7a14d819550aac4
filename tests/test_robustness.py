"""Bad input, faults, load: one line, status 2, in time, and nothing that a terminal would obey."""

from __future__ import annotations

import io
import json
import os
import pickle
import signal
import struct
import subprocess
import sys
import time

import pytest

from memcalc import __main__ as program
from memcalc.__main__ import main
from memcalc.cli import command as cli
from memcalc.errors import LARGEST, BadInputError, MemcalcError, UnknownNameError, escaped, shown
from memcalc.files.catalogue import catalogue, record
from memcalc.files.compare import Check, Difference
from memcalc.files.config_classes import config_class, harmless_fields
from memcalc.files.gguf.header import Cursor, Listing
from memcalc.files.json_file import LONGEST_FILE, load, parse
from memcalc.files.patterns import quick_pattern
from memcalc.files.quantization import scheme
from memcalc.files.readers import read
from memcalc.files.safetensors import Header, file_tensors
from tests.gguf_files import described, header, write

QWEN3 = record("Qwen/Qwen3-32B").fields
GPT2 = {"model_type": "gpt2", "n_embd": 64, "n_head": 4, "n_layer": 2, "n_positions": 128, "vocab_size": 320}
HOSTILE = "a\nmemcalc: error: all fine\x1b[31m\u202e\x85b"
ABSURD = (10**400, 2**53 + 1, 2**64)


@pytest.fixture
def refusal(capsys):
    """Ask the command, get the one line that it refuses with; it has nothing that a terminal would obey."""

    def ask(*arguments):
        assert main([*map(str, arguments)]) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err.startswith("memcalc: error: ")
        assert printed.err.count("\n") == 1
        assert printed.err[:-1].isprintable()
        assert len(printed.err) < 2000
        return printed.err

    return ask


@pytest.fixture
def config(tmp_path):
    """Write a config.json."""

    def make(fields):
        path = tmp_path / "config.json"
        path.write_text(json.dumps(fields), encoding="utf-8")
        return path

    return make


def seconds(function):
    """What a call takes of the processor, others on the machine aside."""
    begin = time.process_time()
    function()
    return time.process_time() - begin


# Duplicates


def test_a_field_that_stands_twice_among_very_many_is_found_at_once():
    text = json.dumps({f"field_{number}": 1 for number in range(100_000)})
    twice = f'{text[:-1]}, "field_99999": 2}}'

    def refused():
        with pytest.raises(BadInputError, match="field_99999: expected each field once"):
            parse(twice)

    assert seconds(refused) < 1
    assert len(parse(text)) == 100_000


# Sizes


def nested_sizes(fields, path=()):
    """The place of every whole number in a config, however deep."""
    items = fields.items() if isinstance(fields, dict) else enumerate(fields)
    for name, value in items:
        if type(value) is int:
            yield (*path, name)
        elif isinstance(value, dict | list):
            yield from nested_sizes(value, (*path, name))


def with_size(fields, path, value):
    first, *rest = path
    copy = dict(fields) if isinstance(fields, dict) else list(fields)
    copy[first] = with_size(copy[first], rest, value) if rest else value
    return copy


@pytest.mark.parametrize("name", catalogue())
def test_no_number_of_a_config_is_beyond_any_size(name):
    """Every whole number of every config in the catalogue, wherever it stands; some can change nothing."""
    fields = record(name).fields
    places, parameters = list(nested_sizes(fields)), read(fields).parameters
    declared = config_class(fields["model_type"])
    aliases = declared.aliases if declared else {}
    assert len(places) >= 4
    for path in places:
        for value in ABSURD:
            changed = with_size(fields, path, value)
            said = outcome(changed)
            if {path[0], aliases.get(path[0])} & harmless_fields() and said == parameters:
                continue
            place = next(one for one in reversed(path) if isinstance(one, str))
            assert f"{place}: expected" in said or "they are one field" in said
            assert said.isprintable()


def outcome(fields):
    """A model's parameters, or the line with which it is refused."""
    try:
        return read(fields).parameters
    except MemcalcError as error:
        return str(error)


@pytest.mark.parametrize("value", [10**4, 10**4 + 1, 10**9, 2**64])
def test_layers_are_bounded_whatever_a_family_calls_them(value):
    """They are listed one by one."""
    for fields, field in ((GPT2, "n_layer"), (QWEN3, "num_hidden_layers")):
        changed = (
            {**fields, field: value, "max_window_layers": 1} if field in QWEN3 else {**fields, field: value}
        )
        if value == 10**4:
            assert read(changed).depth == value
        else:
            with pytest.raises(BadInputError, match=rf"{field}: expected at most"):
                read(changed)


def test_layers_that_a_model_may_do_without_are_bounded():
    fields = {**record("deepseek-ai/DeepSeek-V3").fields, "num_nextn_predict_layers": 10**9}
    with pytest.raises(BadInputError, match="num_nextn_predict_layers: expected at most 10000 layers"):
        read(fields)


def test_layers_in_megatrons_words_are_bounded_too(config, refusal):
    fields = {"num-layers": 4, "hidden-size": 64, "num-attention-heads": 4, "num-experts": 8, "swiglu": True}
    fields |= {"vocab-size": 320, "max-position-embeddings": 128, "normalization": "RMSNorm"}
    path = config({**fields, "moe-layer-freq": "([0]*1000000000+[1]*1)"})
    assert seconds(lambda: refusal("model", path)) < 1
    assert "moe_layer_freq" in refusal("model", path)
    assert "moe_layer_freq" in refusal("model", config({**fields, "moe-layer-freq": "([0]*²+[1]*1)"}))


SERVE = ["serve", "Qwen/Qwen3-8B", "--context", "8", "--on", "1x h200-141g"]
TRAIN = ["train", "Qwen/Qwen3-8B", "--seq", "8"]
OPTIONS = [
    *(
        (SERVE, f"--{name}")
        for name in ("context", "prompt", "batch", "tp", "pp", "ep", "dp", "prefill-chunk")
    ),
    *(
        (TRAIN, f"--{name}")
        for name in ("seq", "micro-batch", "accumulate", "world", "tp", "pp", "vpp", "cp")
    ),
    *((TRAIN, f"--{name}") for name in ("ep", "expert-tp", "lora-rank", "vocab-multiple")),
]


@pytest.mark.parametrize(("asked", "option"), OPTIONS)
@pytest.mark.parametrize("number", ["9" * 5000, "9" * 400, str(LARGEST + 1), "-" + "9" * 400])
def test_no_number_of_a_command_is_beyond_any_size(refusal, asked, option, number):
    assert option in refusal(*asked, option, number)


@pytest.mark.parametrize(
    "options",
    [
        [
            *TRAIN,
            "--pp",
            "2",
            "--world",
            "2",
            "--implementation",
            "megatron",
            "--pipeline-layout",
            "9" * 5000,
        ],
        [
            *TRAIN,
            "--pp",
            "2",
            "--world",
            "2",
            "--implementation",
            "megatron",
            "--pipeline-layout",
            "1," + "9" * 99,
        ],
        [*SERVE, "--engine", "vllm", "--engine-option", "block_size=" + "9" * 5000],
        [*SERVE[:-1], "9" * 5000 + "x h200-141g"],
        [*SERVE[:-1], "1x h200-141g + " + "9" * 5000 + "GiB host"],
        [*SERVE, "--utilization", "9" * 5000],
        [*SERVE, "--weights", "gptq-int4-g" + "9" * 5000],
        [*TRAIN, "--dropout", "9" * 5000],
    ],
)
def test_no_number_in_a_word_is_beyond_any_size(refusal, options):
    refusal(*options)


def test_no_number_of_a_gguf_file_is_beyond_any_size(tmp_path, refusal):
    """The line names the file's own key."""
    fields = {"model_type": "qwen3", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 1}
    fields |= {"num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 320}
    values = described(fields, read(fields))
    keys = [key for key, value in values.items() if type(value) is int and key.startswith("qwen3.")]
    assert len(keys) > 5
    for key in keys:
        said = refusal("model", write(tmp_path / "model.gguf", values | {key: 2**60}, []))
        assert f"{key}: expected at most" in said
        assert "config.json" not in said


def test_no_size_of_a_header_is_beyond_any_size(tmp_path, refusal):
    """Thousands of axes, or axes of thousands of digits, are refused before they are multiplied."""
    for shape in ([10**4000, 10**4000], [2**53 + 1], [2] * 10**5):
        text = json.dumps({"a": {"dtype": "F32", "shape": shape, "data_offsets": [0, 4]}}).encode()
        path = tmp_path / "model.safetensors"
        path.write_bytes(struct.pack("<Q", len(text)) + text + b"\0" * 4)
        (tmp_path / "config.json").write_text(json.dumps(QWEN3))
        assert "a shape of at most 8 whole numbers" in refusal("model", path)


# Names from files


def test_what_a_terminal_would_obey_is_written_as_an_escape():
    assert escaped(HOSTILE).isprintable()
    assert escaped("ordinary é 中文 \\n") == "ordinary é 中文 \\n"
    error = BadInputError(HOSTILE, HOSTILE, HOSTILE, HOSTILE)
    assert str(error).isprintable()
    assert str(BadInputError("a" * 10**6, "b" * 10**6, "c" * 10**6, "d" * 10**6)).count("...") == 4


def test_a_field_cannot_forge_a_line(config, refusal):
    for fields in (
        {**QWEN3, HOSTILE: 3},
        {**QWEN3, "model_type": HOSTILE},
        {**QWEN3, "layer_types": [HOSTILE] * 64},
        {**QWEN3, "quantization_config": {"quant_method": HOSTILE}},
        {**QWEN3, "quantization_config": {"quant_method": "fp8", HOSTILE: 1}},
        {**QWEN3, "quantization_config": {"quant_method": "fp8", "ignored_layers": [f"re:({HOSTILE}"]}},
        {**QWEN3, "rope_scaling": {"rope_type": HOSTILE}},
        {**QWEN3, "torch_dtype": HOSTILE},
    ):
        refusal("serve", config(fields), "--context", "8")


def test_a_tensor_cannot_forge_a_line(tmp_path, config, refusal, capsys):
    config(QWEN3)
    for entry in (3, {"dtype": HOSTILE, "shape": [1], "data_offsets": [0, 4]}):
        text = json.dumps({HOSTILE: entry}).encode()
        (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text)
        refusal("model", tmp_path)
    text = json.dumps({HOSTILE: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + b"\0" * 4)
    assert main(["model", str(tmp_path)]) == 0
    assert_calm(capsys.readouterr().out, 6)
    assert Check(Header({}, 1), 0, (Difference(HOSTILE, "unexpected"),)).text.isprintable()
    head, _ = header({"general.architecture": "qwen3"}, [(HOSTILE, (32,), "Q8_0")])
    (tmp_path / "model.gguf").write_bytes(head)
    refusal("model", tmp_path / "model.gguf")
    (tmp_path / "model.gguf").write_bytes(
        header({HOSTILE: [1]}, [])[0].replace(struct.pack("<I", 9), b"\xff" * 4)
    )
    refusal("model", tmp_path / "model.gguf")
    index = {"weight_map": {HOSTILE: f"../{HOSTILE}"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    refusal("model", tmp_path / "model.safetensors.index.json")


def assert_calm(text, lines):
    """So many lines, and nothing in them that a terminal would obey."""
    rows = text.removesuffix("\n").split("\n")
    assert len(rows) == lines
    assert all(row.isprintable() for row in rows)


@pytest.mark.parametrize("asked", [["model"], ["serve", "--context", "8"], ["train", "--seq", "8"]])
def test_a_path_cannot_forge_a_line_of_an_answer(tmp_path, capsys, asked):
    """The same lines as under an ordinary name; JSON has the true one."""
    what, *options = asked
    counts = []
    for name in ("plain", HOSTILE):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(QWEN3))
        assert main([what, str(folder), *options]) == 0
        counts.append(capsys.readouterr().out)
    assert_calm(counts[1], counts[0].count("\n"))
    assert main([what, str(folder), *options, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said.get("name", said.get("model")).startswith(str(folder))


# Things that are no regular file


@pytest.mark.parametrize("name", ["config.json", "model.gguf", "model.safetensors"])
def test_a_named_pipe_is_not_waited_for(tmp_path, refusal, name):
    os.mkfifo(tmp_path / name)
    if name == "model.safetensors":
        (tmp_path / "config.json").write_text(json.dumps(QWEN3))
    refusal("model", tmp_path / name)


def test_a_file_without_an_end_is_refused(refusal):
    assert "64 MiB" in refusal("model", "/dev/zero")
    assert refusal("model", "/dev/null")


def test_a_file_that_is_too_large_is_not_read(tmp_path, refusal):
    path = tmp_path / "config.json"
    with path.open("wb") as file:
        file.truncate(2**40)
    assert seconds(lambda: refusal("model", path)) < 1
    assert "64 MiB" in refusal("model", path)


def test_a_gguf_file_is_a_file(refusal, tmp_path):
    (tmp_path / "zero.gguf").symlink_to("/dev/zero")
    assert "no regular file" in refusal("model", tmp_path / "zero.gguf")


def test_a_safetensors_file_is_a_file(refusal, tmp_path):
    """What is there, and no file, is not said to be absent."""
    os.mkfifo(tmp_path / "pipe.safetensors")
    assert "no regular file" in refusal("model", tmp_path / "pipe.safetensors")
    assert "no file at" in refusal("model", tmp_path / "none.safetensors")


@pytest.mark.parametrize(
    ("text", "kind"), [("null", "null"), ("12", "a number"), ("[]", "a list"), ('"a"', "a text")]
)
def test_what_is_no_object_is_named_as_json_names_it(refusal, tmp_path, text, kind):
    (tmp_path / "config.json").write_text(text)
    assert f"config.json ({kind})" in refusal("model", tmp_path / "config.json")


def test_what_the_shell_puts_in_a_files_place_is_read(config, root):
    path = config(QWEN3)
    memcalc = f"{sys.executable} -m memcalc model"
    for line in (
        f"{memcalc} /dev/stdin --json < {path}",
        f"cat {path} | {memcalc} /dev/stdin --json",
        f"{memcalc} <(sleep 0.2; cat {path}) --json",
    ):
        done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False, cwd=root)
        assert done.stderr == ""
        assert json.loads(done.stdout)["parameters"] == 32_762_123_264


# Large, but legal


def test_of_a_huge_value_only_what_is_shown_is_written():
    huge = {"a": [0] * 10**7, "b": "x" * 10**8}
    assert seconds(lambda: shown(huge)) < 0.1
    assert shown(huge) == "{'a': [" + "0, " * 24 + "0..."
    assert shown([1, {"a": None}, "b"]) == "[1, {'a': None}, 'b']"
    assert shown(-(10**5000)) == "a whole number of 16610 bits"
    assert shown([[]] * 3) == "[[], [], []]"


@pytest.mark.slow
def test_a_list_of_sixty_megabytes_is_refused_by_its_kind(tmp_path):
    path = tmp_path / "config.json"
    path.write_text("[" + "0," * (LONGEST_FILE // 2 - 2) + "0]")
    with pytest.raises(BadInputError, match="a list"):
        load(str(path))


def test_headers_of_very_many_tensors(tmp_path):
    """Without Python's search for cycles, which takes twice as long for each tensor."""
    import gc

    number = 100_000
    entry = '"t{0}": {{"dtype": "U8", "shape": [1], "data_offsets": [{0}, {1}]}}'
    text = ("{" + ", ".join(entry.format(one, one + 1) for one in range(number)) + "}").encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"\0" * number)
    collected = []
    gc.callbacks.append(lambda phase, _: collected.append(phase))
    try:
        assert len(file_tensors(str(path))) == number
    finally:
        gc.callbacks.pop()
    assert len(collected) < 20
    assert gc.isenabled()


def test_texts_of_a_vocabulary_are_read_by_the_mebibyte(tmp_path):
    class Counting(io.BufferedReader):
        reads = 0

        def read(self, *size):
            self.reads += 1
            return super().read(*size)

    number = 300_000
    path = tmp_path / "texts"
    texts = struct.pack("<IIQ", 9, 8, number) + struct.pack("<Q3s", 3, b"abc") * number
    path.write_bytes(texts + struct.pack("<II", 4, 7))
    with Counting(io.FileIO(path)) as file:
        cursor = Cursor(file, "texts")
        assert cursor.value() == Listing(number)
        assert cursor.value() == 7
        assert cursor.place == path.stat().st_size
        assert file.reads < 8


SLOW = [
    "([a-z._0-9]+)+$X",
    "(a|aa)*$",
    "(.*)*",
    "((a+)?)*",
    ".*.*.*.*.*X",
    "(.|.)" * 20,
    ".?" * 30,
    "a" * 1001,
]
QUICK = [
    "exps",
    r"ffn_(up|down|gate)_exps",
    r"blk\.(1[0-9]|2[0-4])\.ffn_.*",
    r"^(?!.*experts).*$",
    r"[)(*+]+",
    "a{3}",
]


@pytest.mark.parametrize("expression", SLOW)
def test_an_expression_that_may_run_for_ever_is_refused(refusal, config, expression):
    assert quick_pattern(expression) is None
    asked = ["Qwen/Qwen3-30B-A3B", "--context", "8", "--engine", "llama.cpp"]
    assert "--offload" in refusal("serve", *asked, "--offload", f"{expression}=CPU")
    stated = {"quant_method": "compressed-tensors", "ignore": [f"re:{expression}"], "config_groups": {}}
    stated = {"quant_method": "fp8", "ignored_layers": [f"re:{expression}"]}
    assert "after re:" in refusal("serve", config({**QWEN3, "quantization_config": stated}), "--context", "8")


@pytest.mark.parametrize("expression", QUICK)
def test_an_expression_as_people_write_it_is_taken(expression):
    assert quick_pattern(expression) is not None


# Exit status


@pytest.mark.parametrize(
    "error", [RuntimeError(HOSTILE), MemoryError(), RecursionError("deep"), OverflowError()]
)
def test_an_accident_is_one_line_that_asks_for_a_report(monkeypatch, refusal, error):
    def fail(_):
        raise error

    monkeypatch.setattr(cli, "parse", fail)
    said = refusal("model", "Qwen/Qwen3-32B")
    assert type(error).__name__ in said
    assert "report it" in said
    assert program.TRACEBACK in said


def test_an_error_is_one_line_whatever_its_words(monkeypatch, refusal):
    def fail(_):
        raise MemcalcError(HOSTILE)

    monkeypatch.setattr(cli, "parse", fail)
    refusal("model", "Qwen/Qwen3-32B")


def test_developers_may_ask_where_it_was(monkeypatch, capsys):
    def fail(_):
        raise RuntimeError("an accident")

    monkeypatch.setattr(cli, "parse", fail)
    monkeypatch.setenv(program.TRACEBACK, "1")
    assert main(["model"]) == 2
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert "in fail" in said
    assert said.splitlines()[-1].startswith("memcalc: error: ")


def test_an_interruption_is_one_line(monkeypatch, capsys):
    def stop(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "parse", stop)
    assert main(["model"]) == 130
    assert capsys.readouterr().err == "memcalc: error: interrupted\n"


def test_control_c_at_the_shell(root):
    """The command waits for its standard input, of which it has read a letter, and is stopped."""
    import fcntl
    import termios

    words = [sys.executable, "-m", "memcalc", "model", "/dev/stdin"]
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    # A shell starts its background jobs with the signal ignored, and a child would inherit that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(words, cwd=root, text=True, **streams) as child:
        signal.signal(signal.SIGINT, before)
        child.stdin.write("{")
        child.stdin.flush()
        while any(fcntl.ioctl(child.stdin, termios.FIONREAD, bytes(4))):  # bytes that nobody has read yet
            time.sleep(0.01)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate()
    assert (child.returncode, out, err) == (130, "", "memcalc: error: interrupted\n")


FITS = "serve Qwen/Qwen3-8B --context 100 --on '1x h200-141g' --check"


def shell(root, line, **environment):
    """Run a line in bash, where {memcalc} is the command."""
    done = subprocess.run(
        ["bash", "-c", line.format(memcalc=f"{sys.executable} -m memcalc")],
        capture_output=True,
        check=False,
        cwd=root,
        env={**os.environ, "PYTHONUNBUFFERED": "", **environment},  # empty: written when it is flushed
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def test_a_closed_output_does_not_look_like_does_not_fit(root):
    status, out, err = shell(root, f"{{memcalc}} {FITS} >&-")
    assert (status, out) == (2, "")
    assert err.startswith("memcalc: error: output: expected an open standard output")
    assert err.count("\n") == 1
    assert shell(root, f"{{memcalc}} {FITS} > /dev/null") == (0, "", "")


def test_a_closed_error_output_leaves_the_status(root):
    assert shell(root, "{memcalc} model nowhere.json 2>&-") == (2, "", "")
    assert shell(root, "{memcalc} model nowhere.json >&- 2>&-") == (2, "", "")


def test_an_output_without_room(root):
    status, _, err = shell(root, "{memcalc} list models > /dev/full")
    assert status == 2
    assert err.startswith("memcalc: error: output: expected room to write")
    assert err.count("\n") == 1


def test_a_reader_that_has_seen_enough(root):
    assert shell(root, "{{ {memcalc} list machines --json; echo $? >&2; }} | true")[2] in ("2\n", "0\n")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_a_terminal_that_knows_few_letters(root, tmp_path, encoding):
    folder = tmp_path / "é中"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(QWEN3))
    for words in ("model {}", "serve {} --context 8", "model {}/nowhere.json"):
        done = subprocess.run(
            [sys.executable, "-m", "memcalc", *words.format(folder).split()],
            capture_output=True,
            check=False,
            cwd=root,
            env={**os.environ, "PYTHONIOENCODING": encoding},
        )
        assert done.returncode == (2 if "nowhere" in words else 0)
        said = (done.stdout + done.stderr).decode(encoding)
        assert (b"Traceback" in done.stderr, "config.json" in said or "nowhere" in said) == (False, True)


# Help


def test_an_unknown_name_offers_the_nearest_first(refusal):
    said = refusal("model", "Qwen/Qwen3-32")
    assert "did you mean Qwen/Qwen3-32B" in said
    assert said.index("did you mean") < (said.find("huggingface_hub") % len(said))
    assert "did you mean Qwen3-32B" in refusal("model", "Qwen3-32")
    assert "memcalc list models" in refusal("model", "nothing like it")


@pytest.mark.parametrize(("word", "meant"), [("sevre", "serve"), ("modelx", "model"), ("trainn", "train")])
def test_a_misspelt_command_is_answered_with_a_question(refusal, word, meant):
    said = refusal(word, "Qwen/Qwen3-32B")
    assert f"did you mean {meant}?" in said
    assert all(name in said for name in ("model", "list", "serve", "train"))


def test_choices_are_shown_to_the_end(refusal):
    """All of them, or none and where they are listed: a line of more than 1,000 characters is not read."""
    said = refusal("serve", "Qwen/Qwen3-32B", "--context", "8", "--weights", "nothing")
    assert all(name in said for name in ("bf16", "nvfp4", "mlx-Bbit-gG"))
    said = refusal("serve", "Qwen/Qwen3-32B", "--context", "8", "--on", "1x nothing")
    assert "memcalc list machines" in said
    with pytest.raises(UnknownNameError, match=r"gptq, .*, bitnet, given 'nobody_knows'"):
        scheme({"quant_method": "nobody_knows"})


def test_errors_keep_their_facts_and_travel_between_processes():
    for kind in (BadInputError, UnknownNameError):
        error = kind("--on", "one of a, b", "c", "say a or b")
        again = pickle.loads(pickle.dumps(error))
        for one in (error, again):
            assert (one.field, one.expected, one.given, one.remedy) == (
                "--on",
                "one of a, b",
                "c",
                "say a or b",
            )
            assert str(one) == "--on: expected one of a, b, given 'c'; say a or b"


@pytest.mark.parametrize(
    ("given", "ends"),
    [
        ("llama", "or download its config.json"),
        ("m.pt", "give the model's folder or config.json"),
        ("model.bin", "give the model's folder or config.json"),
        ({"architectures": ["Qwen3Foo"]}, "to count the rest"),
        ({"surprise": 7, "wonder": 8}, "each may change memory; remove it if it cannot"),
    ],
    ids=str,
)
def test_what_to_do_is_never_cut(given, ends, tmp_path, monkeypatch, refusal):
    """The list before it is; a sentence that holds for several fields is said once."""
    monkeypatch.chdir(tmp_path)
    for name in ("m.pt", "model.bin"):
        (tmp_path / name).write_bytes(b"")
    if isinstance(given, dict):
        (tmp_path / "changed.json").write_text(json.dumps({**QWEN3, **given}), encoding="utf-8")
    line = refusal("model", "changed.json" if isinstance(given, dict) else given)
    assert line.rstrip().endswith(ends)
    assert len(line.removeprefix("memcalc: error: ").rstrip()) <= 300
    assert line.count("may change memory") <= 1
