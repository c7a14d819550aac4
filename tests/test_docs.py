"""Reference and docstrings list what commands and functions take; one thing has one word everywhere."""

from __future__ import annotations

import importlib.util
import inspect
import json
import pydoc
import re
import sys

import pytest

import memcalc
from memcalc.__main__ import main
from memcalc.cli.command import COMMANDS, parser_of
from memcalc.cli.schema import OPTIONS
from memcalc.options import options_of

FUNCTIONS = [name for name in memcalc.__all__ if inspect.isfunction(getattr(memcalc, name))]
ASKED = {
    "serve": ["serve", "Qwen/Qwen3-32B", "--context", "8192", "--json"],
    "train": ["train", "Qwen/Qwen3-8B", "--seq", "4096", "--json"],
}


def tool(root, name):
    """A module of tools/."""
    spec = importlib.util.spec_from_file_location(name, root / "tools" / f"{name}.py")
    found = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@pytest.fixture(scope="module")
def reference(root):
    return tool(root, "reference")


@pytest.fixture(scope="module")
def house(root):
    return tool(root, "house")


@pytest.mark.parametrize("command", COMMANDS)
def test_the_reference_has_every_option_and_nothing_else(reference, command):
    """Flags as the command's own help lists them."""
    offered = re.findall(r"^  (?:-h, )?(--[\w-]+)", parser_of(command).format_help(), re.MULTILINE)
    documented = re.findall(r"^\| `(--[\w-]+)`", reference.section(command), re.MULTILINE)
    assert sorted(documented) == sorted(set(offered) - {"--help"})


@pytest.mark.parametrize("command", OPTIONS)
def test_the_reference_says_what_an_option_means(reference, command):
    rows = {row.keyword: row for row in reference.rows(command)}
    for option in options_of(OPTIONS[command]):
        row = rows[option.name]
        assert row.group
        assert option.meaning in row.meaning
        assert row.unit == option.unit
        assert row.default == ("required" if option.required else option.shown_default)


def test_the_page_shows_the_reference(root):
    page = (root / "book" / "api.md").read_text(encoding="utf-8")
    assert "{include} ../_build/generated/command_line.md" in page
    assert not re.search(r"^memcalc \w+ SOURCE", page, re.MULTILINE)  # nothing is typed beside it


def test_the_page_shows_what_there_is(root):
    """Every function and class that it has the docstring of; those of the face among them."""
    page = (root / "book" / "api.md").read_text(encoding="utf-8")
    named = re.findall(r"^\.\. auto(\w+):: ([\w.]+)$", page, re.MULTILINE)
    assert len({name for _, name in named}) == len(named)
    for kind, name in named:
        found = pydoc.locate(name)
        assert found is not None, name
        assert inspect.ismodule(found) if kind == "module" else callable(found), name
    assert {f"memcalc.{name}" for name in FUNCTIONS} <= {name for _, name in named}


def explained(function):
    """Each parameter that a docstring explains, with its type and its explanation (numpydoc)."""
    text = inspect.getdoc(function)
    parameters = re.search(r"^Parameters\n-+\n(.*?)(?:\n\n\w+\n-+\n|\Z)", text, re.DOTALL | re.MULTILINE)
    rows = re.findall(r"^\*?(\w+) : (.+)\n    (\S.*)", parameters[1] if parameters else "", re.MULTILINE)
    return {name: (kind, meaning) for name, kind, meaning in rows}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_parameter_is_explained_with_type_and_default(name):
    function = getattr(memcalc, name)
    parameters, found = inspect.signature(function).parameters, explained(function)
    assert list(found) == list(parameters)
    for one in parameters.values():
        kind, meaning = found[one.name]
        has_default = ", default " in kind or ", optional" in kind
        assert has_default == (one.default is not inspect.Parameter.empty), one.name
        assert meaning.strip()


def test_the_functions_that_answer_are_among_them():
    assert {"model", "serve", "train", "states"} <= set(FUNCTIONS)


def flag_of(option):
    """What the command line makes of a name: nothing but dashes, `no-` where it is on, one of several."""
    flag = "--" + option.name.replace("_", "-")
    if option.default is True:
        return flag.replace("--", "--no-", 1)
    return flag.removesuffix("s") if option.name == "engine_options" else flag


@pytest.mark.parametrize("command", OPTIONS)
def test_one_word_for_one_thing(command):
    """`--micro-batch`, `micro_batch=`, `plan.micro_batch`."""
    options = list(options_of(OPTIONS[command]))
    names = [option.name for option in options]
    flags = {action.dest: action.option_strings for action in parser_of(command).offered}
    assert [flags[option.name] for option in options] == [[flag_of(option)] for option in options]
    assert list(inspect.signature(getattr(memcalc, command)).parameters) == ["source", *names]


@pytest.mark.parametrize("command", [command for command in OPTIONS if command != "which"])
def test_the_plan_has_the_words_of_the_options(command, capsys):
    """But for `which`, whose plan is another one for each machine."""
    assert main(ASKED[command]) == 0
    names = {option.name for option in options_of(OPTIONS[command])}
    assert names <= set(json.loads(capsys.readouterr().out)["plan"])


def test_states_have_the_words_of_a_training_step():
    words = {option.name for option in options_of(OPTIONS["train"])}
    _, *asked = inspect.signature(memcalc.states).parameters
    assert set(asked) <= words


def test_the_picture_has_the_wings_of_the_house(root, house):
    """All of them, in the order in which imports run; every room that it names is there."""
    floors = [tuple(wing.name for wing in wings) for wings in house.FLOORS]
    folders = {path.parent.name for path in (root / "memcalc").glob("*/__init__.py")} - {"data"}
    assert {name for names in floors for name in names} == folders
    checked = [
        tuple(name for name in names if name in folders) for names in tool(root, "architecture").FLOORS
    ]
    assert floors == [names for names in checked if names]
    for wing in (wing for wings in house.FLOORS for wing in wings):
        rooms = wing.rooms.split(" · ")
        there = {path.stem for path in (root / "memcalc" / wing.name).iterdir()}
        assert set(rooms) <= there, wing.name


def test_the_steps_of_the_way_are_those_of_the_picture(root, house):
    page = (root / "book" / "how_it_is_built.md").read_text(encoding="utf-8")
    steps = re.findall(r"^(\d)\. \*\*", page, re.MULTILINE)
    drawn = {step for wings in house.FLOORS for wing in wings for step in wing.way.split()}
    assert steps == sorted(drawn)
    assert set(re.findall(r'text-anchor="middle" fill="white">(\d)<', house.svg())) == drawn


@pytest.mark.parametrize("page", ["book/how_it_is_built.md", "CONTRIBUTING.md"])
def test_every_path_that_a_page_names_is_there(root, page):
    """From the root, or within the package; a placeholder stands for one of several."""
    text = (root / page).read_text(encoding="utf-8")
    paths = re.findall(r"`((?:[\w.-]+/)+[\w.<>-]*)`", text)
    assert len(paths) > 20
    for path in paths:
        pattern = re.sub(r"<\w+>", "*", path)
        assert any(next(folder.glob(pattern), None) for folder in (root, root / "memcalc")), path
