"""The house keeps its rules, and the program that says so sees each kind of fault."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest


@pytest.fixture(scope="module")
def architecture(root):
    """tools/architecture.py"""
    spec = importlib.util.spec_from_file_location("architecture", root / "tools" / "architecture.py")
    found = importlib.util.module_from_spec(spec)
    sys.modules["architecture"] = found  # its records look for themselves there
    spec.loader.exec_module(found)
    return found


@pytest.fixture
def package(tmp_path):
    """A house without faults, in a repository; `package("ledger/tensor.py", text)` builds another room."""
    folder = tmp_path / "memcalc"
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)

    def build(path, text):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
        return folder

    build("__init__.py", "from memcalc.data.lazy import lazy_names\n")
    build("errors.py", "class BadInputError(ValueError): ...\n")
    build("ledger/__init__.py", 'get = lazy_names(__name__, {"tensor": ("Tensor",)})\n')
    build("ledger/tensor.py", "from memcalc.errors import BadInputError\nclass Tensor: ...\n")
    build("serving/__init__.py", "")
    return build


def test_a_house_without_faults(architecture, package):
    assert architecture.offences(package("serving/plan.py", "from memcalc.ledger import Tensor\n")) == []


@pytest.mark.parametrize(
    "text",
    [
        "from memcalc.serving.plan import Plan",
        "from memcalc.serving import plan",
        "import memcalc.serving.plan",
        "from ..serving.plan import Plan",
        "def late():\n    from memcalc.serving.plan import Plan",
        "if TYPE_CHECKING:\n    from memcalc.serving.plan import Plan",
        'PLANS = Registry("--plan", {"one": "plan:Plan"}, package="memcalc.serving")',
        'plan = import_module("memcalc.serving.plan")',
        'plan = importlib.import_module(name="memcalc.serving.plan")',
        'plan = import_module(".plan", "memcalc.serving")',
        'plan = __import__("memcalc.serving.plan", fromlist=["Plan"])',
    ],
)
def test_an_arrow_up(architecture, package, text):
    """However it is said."""
    package("serving/plan.py", "class Plan: ...\n")
    found = architecture.offences(package("ledger/budget.py", text))
    assert found == ["arrow up: memcalc.ledger.budget -> memcalc.serving.plan"]


@pytest.mark.parametrize(
    "text", ['import_module(f"memcalc.{wing}")', "__import__(name)", "runpy.run_path(path)"]
)
def test_a_module_that_is_imported_without_being_named(architecture, package, text):
    found = architecture.offences(package("ledger/budget.py", text))
    assert found == [f"memcalc.ledger.budget imports what it does not name: {text.replace(chr(34), chr(39))}"]
    assert architecture.offences(package("ledger/budget.py", "")) == []


def test_the_face_is_the_roof(architecture, package):
    found = architecture.offences(package("ledger/budget.py", "import memcalc\n"))
    assert found == ["arrow up: memcalc.ledger.budget -> memcalc"]


def test_the_version_is_no_room(architecture, package):
    assert architecture.offences(package("ledger/budget.py", "from memcalc import __version__\n")) == []


def test_a_room_without_a_floor(architecture, package):
    assert architecture.offences(package("shed.py", "")) == ["no floor: memcalc.shed"]


def test_a_circle_of_modules(architecture, package):
    package("serving/one.py", "def one():\n    from memcalc.serving.two import two\n")
    package("serving/two.py", "from memcalc.serving.three import three\n")
    found = architecture.offences(package("serving/three.py", "from memcalc.serving import one\n"))
    assert found == ["circle: memcalc.serving.one, memcalc.serving.three, memcalc.serving.two"]


@pytest.mark.parametrize("homes", ['{"tensor": ("Tensor",)}', '["tensor"]', '[*("model", "tensor")]'])
def test_a_module_that_asks_the_face_of_its_package(architecture, package, homes):
    """The face names the module, so they import each other."""
    package("ledger/__init__.py", f"get = lazy_names(__name__, {homes})\n")
    found = architecture.offences(package("ledger/tensor.py", "from memcalc.ledger import Tensor\n"))
    assert found == ["circle: memcalc.ledger, memcalc.ledger.tensor"]


def test_two_wings_of_a_floor_that_ask_each_other(architecture, package):
    package("serving/one.py", "from memcalc.training import two\n")
    package("serving/three.py", "")
    package("training/two.py", "")
    found = architecture.offences(package("training/four.py", "from memcalc.serving import three\n"))
    assert found == ["circle of wings: serving, training"]


CIRCLE = """
class Plan:
    def stage(self):
        return {built}

class Stage:
    def __init__(self, plan: Plan):
        self.plan = plan

    def bytes(self):
        return {asked}

def make(plan):
    return Stage(plan)
"""


@pytest.mark.parametrize("built", ["Stage(self)", "make(self)"])
@pytest.mark.parametrize("asked", ["self.plan.depth", "Plan()", "(lambda plan: plan.depth)(self.plan)"])
def test_a_circle_inside_a_file(architecture, package, built, asked):
    found = architecture.offences(package("serving/plan.py", CIRCLE.format(built=built, asked=asked)))
    assert found == ["circle inside memcalc.serving.plan: Plan, Stage"]


@pytest.mark.parametrize(("built", "asked"), [("Stage(self)", "0"), ("0", "self.plan.depth")])
def test_one_way_is_no_circle(architecture, package, built, asked):
    assert architecture.offences(package("serving/plan.py", CIRCLE.format(built=built, asked=asked))) == []


def test_recursion_is_no_circle(architecture, package):
    text = "class Node:\n    def again(self) -> Node:\n        return Node()\n"
    text += "def even(n):\n    return n == 0 or odd(n - 1)\ndef odd(n):\n    return n > 0 and even(n - 1)\n"
    assert architecture.offences(package("serving/plan.py", text)) == []


@pytest.mark.parametrize(("lines", "fault"), [(60, []), (61, ["is longer than 60 lines"])])
def test_a_function_has_sixty_lines(architecture, package, lines, fault):
    """Its docstring apart."""
    text = 'def long():\n    """One.\n\n    Two.\n    """\n' + "    work()\n" * (lines - 1)
    found = architecture.offences(package("serving/plan.py", text))
    assert found == [f"memcalc.serving.plan.long {words}" for words in fault]


@pytest.mark.parametrize(("more", "fault"), [("", []), (", **rest", ["has more than 9 parameters"])])
def test_a_function_has_nine_parameters(architecture, package, more, fault):
    """The object apart; fields of a dataclass are no parameters."""
    text = f"class Plan:\n    def wide(self, a, b, c, /, d, e, *f, g, h, i{more}): ...\n"
    text += "@dataclass\nclass Options:\n" + "".join(f"    field_{n}: int\n" for n in range(20))
    found = architecture.offences(package("serving/plan.py", text))
    assert found == [f"memcalc.serving.plan.wide {words}" for words in fault]


def test_entries_at_the_top(architecture, package):
    """What git ignores is none."""
    (package("__main__.py", "").parent / ".gitignore").write_text("__pycache__/\n", encoding="utf-8")
    package("__pycache__/memcalc.pyc", "")
    for name in range(10):
        folder = package(f"text_{name}.txt", "")
    assert architecture.offences(folder) == []
    package("one_more.txt", "")
    assert architecture.offences(folder) == ["more than 15 entries at the top of memcalc"]


def test_lines_of_the_core(architecture, package):
    package("formula/lift.py", "\n" * 1500)
    already = sum(architecture.lines_by_wing(architecture.modules(package("errors.py", ""))).values())
    folder = package("ledger/more.py", "\n" * (3000 - already + 1))  # the roof's line does not count
    assert architecture.offences(folder) == []
    package("ledger/more.py", "\n" * (3000 - already + 2))
    assert architecture.offences(folder) == ["more than 3000 lines in ledger and formula"]
