"""What the README shows is what memcalc does: commands, Python, picture; what it names is there."""

import doctest
import importlib.util
import re
import shlex

import pytest


def readme(root):
    return (root / "README.md").read_text(encoding="utf-8")


def blocks(root, language):
    """The blocks of a language, one after another."""
    return "\n".join(re.findall(rf"^```{language}\n(.*?)^```$", readme(root), re.DOTALL | re.MULTILINE))


def commands(root):
    """Yield the words of each command and what it is said to print, if anything."""
    for part in re.split(r"^\$ ", blocks(root, "console"), flags=re.MULTILINE)[1:]:
        line, _, shown = part.partition("\n")
        yield shlex.split(line), shown.strip("\n").rstrip()


@pytest.fixture(scope="module")
def writer(root):
    """tools/readme.py"""
    spec = importlib.util.spec_from_file_location("readme", root / "tools" / "readme.py")
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def test_commands_of_the_readme(root, command):
    found = list(commands(root))
    assert any(shown for _, shown in found)  # outputs are shown, and held
    for (program, *arguments), shown in found:
        assert program == "memcalc"
        done = command(*arguments)
        assert (done.returncode, done.stderr) == (0, ""), arguments
        if shown:
            assert done.stdout.rstrip() == shown, arguments


def test_it_begins_with_one_question_and_ones_own_config(root):
    """Both with their answers, and the second about a file that lies here."""
    (first, answer), ((_, _, path, *_), _), *_ = commands(root)
    assert first[1] == "serve"
    assert "largest batch 2" in answer
    assert path.endswith("config.json")
    assert (root / path).is_file()


def test_python_of_the_readme(root):
    example = doctest.DocTestParser().get_doctest(blocks(root, "pycon"), {}, "README.md", "README.md", 0)
    assert len(example.examples) >= 3
    assert doctest.DocTestRunner().run(example).failed == 0


def test_its_picture_is_what_the_program_draws(root, writer):
    """Of memcalc's own numbers; `python tools/readme.py` writes it."""
    assert writer.PICTURE.read_text(encoding="utf-8") == writer.picture()
    alt, path = re.search(r"!\[([^]]+)\]\(([^)]+)\)", readme(root)).groups()
    assert root / path == writer.PICTURE
    usable = writer.estimate(1).usable_bytes
    assert f"{usable}" in alt
    assert [writer.estimate(count).fits for count in (1, 2, 3)] == [True, True, False]  # as the alt text says


def test_its_picture_is_legible_on_any_page(writer):
    """It has a card of its own; its text is dark on it, and nothing takes the colour of the page."""
    drawn = writer.picture()
    assert re.search(r'<rect x="0.5" y="0.5" [^>]*fill="#FFFFFF"', drawn)
    assert set(re.findall(r'<text [^>]*fill="([^"]+)"', drawn)) == {"#1F2328", "#59636E"}
    assert "currentColor" not in drawn
    assert "style" not in drawn


def test_its_writer_renews_answers(root, writer):
    """What is shown already stays; a stale answer is replaced, and a command that shows none goes on so."""
    assert writer.renewed(readme(root)) == readme(root)
    stale = "```console\n$ memcalc --version\nmemcalc 0\n$ memcalc list models\n```"
    assert writer.renewed(stale).splitlines()[2:] == ["memcalc 0.1.0", "$ memcalc list models", "```"]


def test_targets_and_files_that_it_names_are_there(root):
    text, targets = readme(root), re.findall(r"^([\w-]+):", (root / "Makefile").read_text(), re.MULTILINE)
    named = set(re.findall(r"\bmake ([a-z-]+)", text))
    assert {"book", "lab", "fast", "test", "oracles", "all-checks"} <= named <= set(targets)
    files = re.findall(r"\]\(([^)#:]+)\)", text) + re.findall(r"`(\.?\w+/[\w/.-]+\.\w+)`", text)
    assert all((root / path).exists() for path in files), files
