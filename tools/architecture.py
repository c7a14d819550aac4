"""The house, held: which room may ask which, and how large a room, a function and a door may be.

`python tools/architecture.py` reads memcalc's source and prints the lines of each wing. It fails on

* an arrow up: a wing that imports, anywhere in a module, from a wing above it (`FLOORS`);
* a circle: modules that import each other, or classes of one file that build or ask each other;
* a module that is imported by a name which is not written down, outside of `KEEPERS`;
* more than `ENTRIES` entries at the top of the package;
* a function of more than `LINES` lines without its docstring, or with more than `PARAMETERS` parameters;
* more than `CORE_LINES` lines in the wings that everything rests on.

An import counts where it stands in a function, for types alone, or as text in a `Registry` or in the map of
a package's lazy names.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).resolve().parents[1]

FLOORS = (
    ("__init__", "__main__"),
    ("cli",),
    ("interview",),
    ("evidence",),
    ("serving", "training"),
    ("show",),
    ("formula",),
    ("files",),
    ("ledger",),
    ("data", "errors", "options"),
)
"""From the roof down: a wing may import from its own floor and from those below."""

KEEPERS = ("data.lazy", "ledger.registry")
"""Modules that import by a name which others give them as data: their tables are read where they stand."""
LOADERS = {"import_module", "__import__", "spec_from_file_location", "run_module", "run_path"}

ENTRIES, LINES, PARAMETERS = 15, 60, 9
CORE, CORE_LINES = ("ledger", "formula"), 3000

# What does not keep to the rules yet, as this program prints it. The list may shrink, never grow: a line that
# is no longer true has to go.
KNOWN: frozenset[str] = frozenset()

Arrows = dict[str, set[str]]


class Module(NamedTuple):
    """A file of the package: its dotted name, path and syntax."""

    name: str
    path: Path
    tree: ast.Module

    @property
    def wing(self) -> str:
        """The entry at the top of the package that it belongs to."""
        parts = self.name.split(".")
        return parts[1] if len(parts) > 1 else "__init__"


def modules(package: Path) -> dict[str, Module]:
    """Read every module of a package."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = [package.name, *path.relative_to(package).with_suffix("").parts]
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = Module(name, path, ast.parse(path.read_text(encoding="utf-8"), path.name))
    return found


def imports(module: Module, known: Mapping[str, Module]) -> set[str]:
    """Return the modules of the package that a module imports, wherever and however it says so."""
    package = module.name.split(".")[0]
    here = module.name if module.path.stem == "__init__" else module.name.rpartition(".")[0]
    names: set[str] = set()
    for node in ast.walk(module.tree):
        match node:
            case ast.Import():
                names.update(alias.name for alias in node.names)
            case ast.ImportFrom(module=root, level=0) if root == package and is_version(node):
                pass  # a text that stands in the package's first line, which is loaded before any module
            case ast.ImportFrom():
                base = node.module or ""
                if node.level:
                    above = here.split(".")[: len(here.split(".")) - node.level + 1]
                    base = ".".join([*above, *filter(None, [node.module])])
                names.update(f"{base}.{alias.name}" for alias in node.names)
            case ast.Call():
                names.update(name for name in named_as_text(node, module.name) if name in known)
    homes = (home(name, known) for name in names if name.split(".")[0] == package)
    return {name for name in homes if name and name != module.name}


def is_version(node: ast.ImportFrom) -> bool:
    """Whether the package's version alone is asked for."""
    return all(alias.name == "__version__" for alias in node.names)


def named_as_text(call: ast.Call, name: str) -> Iterator[str]:
    """Yield the modules that a call will import: of lazy names, of a registry, of `import_module`."""
    function = ast.unparse(call.func).rpartition(".")[2]
    if function == "lazy_names":
        yield from (f"{name}.{word}" for table in call.args[1:] for word in words(table, keys=True))
    elif function == "Registry":
        package = next((item.value for item in call.keywords if item.arg == "package"), None)
        start = str(package.value) if isinstance(package, ast.Constant) else name
        tables = [table for table in call.args if isinstance(table, ast.Dict)]
        for word in (word for table in tables for word in words(table, keys=False)):
            yield f"{start}.{word.partition(':')[0]}"
    elif function in {"import_module", "__import__"}:
        yield from asked_for(call, name)


def asked_for(call: ast.Call, name: str) -> Iterator[str]:
    """Yield the module that a call of `import_module` or `__import__` names, relative or not."""
    given = [*call.args, *(item.value for item in call.keywords if item.arg == "name")]
    package = next((item.value for item in call.keywords if item.arg == "package"), None) or given[-1]
    for word in words(given[0], keys=False):
        start = str(package.value) if isinstance(package, ast.Constant) else name.rpartition(".")[0]
        yield f"{start}{word}" if word.startswith(".") else word


def unnamed(module: Module) -> Iterator[str]:
    """Yield the calls that import what the text does not name: allowed where names are kept as data."""
    if module.name.partition(".")[2] in KEEPERS:
        return
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in LOADERS:
            first = [*node.args, *(item.value for item in node.keywords if item.arg == "name")][:1]
            if not all(isinstance(one, ast.Constant) for one in first):
                yield f"{module.name} imports what it does not name: {ast.unparse(node)}"


def words(node: ast.expr, *, keys: bool) -> Iterator[str]:
    """Yield the texts of a literal; of a dict those of its keys, or of its values."""
    if isinstance(node, ast.Dict):
        for item in node.keys if keys else node.values:
            if item:
                yield from words(item, keys=keys)
    elif isinstance(node, ast.List | ast.Tuple):
        for item in node.elts:
            yield from words(item, keys=keys)
    elif isinstance(node, ast.Starred):
        yield from words(node.value, keys=keys)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value


def home(name: str, known: Mapping[str, Module]) -> str | None:
    """Return the module that a dotted name stands in."""
    while name and name not in known:
        name = name.rpartition(".")[0]
    return name or None


def circles(arrows: Mapping[str, set[str]]) -> list[list[str]]:
    """Return the strongly connected components of two and more (Tarjan's algorithm)."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        order[node] = lowest[node] = len(order)
        stack.append(node)
        for other in sorted(arrows.get(node, ())):
            if other not in order:
                visit(other)
            if other in stack:
                lowest[node] = min(lowest[node], lowest[other])
        if lowest[node] == order[node]:
            start = stack.index(node)
            if len(stack) - start > 1:
                found.append(sorted(stack[start:]))
            del stack[start:]

    for node in sorted(arrows):
        if node not in order:
            visit(node)
    return found


def floor(wing: str) -> int | None:
    """Return how far below the roof a wing lies."""
    return next((number for number, wings in enumerate(FLOORS) if wing in wings), None)


def wrong_arrows(known: Mapping[str, Module]) -> Iterator[str]:
    """Yield arrows up, rooms without a floor, circles between modules and between wings."""
    arrows = {name: imports(module, known) for name, module in known.items()}
    wings: Arrows = defaultdict(set)
    for name, targets in arrows.items():
        start = floor(known[name].wing)
        if start is None:
            yield f"no floor: {name}"
            continue
        for target in sorted(targets):
            end = floor(known[target].wing)
            if end is not None and end < start:
                yield f"arrow up: {name} -> {target}"
            if known[name].wing != known[target].wing:
                wings[known[name].wing].add(known[target].wing)
    yield from (f"circle: {', '.join(circle)}" for circle in circles(arrows))
    level = {wing: {other for other in wings[wing] if floor(other) == floor(wing)} for wing in list(wings)}
    yield from (f"circle of wings: {', '.join(circle)}" for circle in circles(level))


def annotated(node: ast.AST, own: set[str]) -> dict[str, set[str]]:
    """Return, for each parameter and field with an annotation, the classes of the file named in it."""
    found: dict[str, set[str]] = {}
    for item in ast.walk(node):
        match item:
            case ast.arg(arg=name, annotation=ast.expr() as kind):
                pass
            case ast.AnnAssign(target=ast.Name(id=name), annotation=ast.expr() as kind):
                pass
            case ast.AnnAssign(target=ast.Attribute(attr=name), annotation=ast.expr() as kind):
                pass
            case _:
                continue
        words = {word.id for word in ast.walk(kind) if isinstance(word, ast.Name)}
        words |= {str(word.value) for word in ast.walk(kind) if isinstance(word, ast.Constant)}
        if words & own:
            found.setdefault(name, set()).update(words & own)
    return found


class Uses(ast.NodeVisitor):
    """The names that code uses, annotations apart; and those whose attributes it asks for."""

    def __init__(self) -> None:
        """Begin with none."""
        self.names: set[str] = set()
        self.asked: set[str] = set()

    def visit_Name(self, node: ast.Name) -> None:
        """Note a name."""
        self.names.add(node.id)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        """Note whose attribute is asked for: `plan` in `plan.depth` and in `self.plan.depth`."""
        if isinstance(node.value, ast.Name):
            self.asked.add(node.value.id)
        elif isinstance(node.value, ast.Attribute):
            self.asked.add(node.value.attr)
        self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> None:
        """Pass over the annotation of a parameter."""

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        """Look at the value alone."""
        if node.value:
            self.visit(node.value)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        """Pass over what a function returns."""
        for part in [*node.decorator_list, node.args, *node.body]:
            self.visit(part)


def circles_inside(module: Module) -> Iterator[str]:
    """Yield the classes of a file that use each other: build one, or ask what is annotated as one."""
    top = {
        node.name: node
        for node in module.tree.body
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    }
    classes = {name for name, node in top.items() if isinstance(node, ast.ClassDef)}
    arrows: Arrows = {}
    for name, node in top.items():
        uses = Uses()
        uses.visit(node)
        kinds = annotated(node, classes)
        asked = {kind for word in uses.asked for kind in kinds.get(word, ())}
        arrows[name] = ((uses.names & set(top)) | asked) - {name}
    for circle in circles(arrows):
        if len(classes & set(circle)) > 1:
            yield f"circle inside {module.name}: {', '.join(sorted(classes & set(circle)))}"


def large_functions(module: Module) -> Iterator[str]:
    """Yield functions that are too long, or have too many parameters."""
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        name = f"{module.name}.{node.name}"
        lines = length(node)
        if lines > LINES:
            yield f"{name} is longer than {LINES} lines"
        given = node.args
        words = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
        if sum(word is not None and word.arg not in {"self", "cls"} for word in words) > PARAMETERS:
            yield f"{name} has more than {PARAMETERS} parameters"


def length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return a function's lines without its docstring."""
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    first = node.body[0]
    if ast.get_docstring(node, clean=False) is not None:
        lines -= (first.end_lineno or first.lineno) - first.lineno + 1
    return lines


def lines_by_wing(known: Mapping[str, Module]) -> Counter[str]:
    """Return the lines of each wing."""
    return Counter(
        {
            wing: sum(
                len(module.path.read_text(encoding="utf-8").splitlines())
                for module in known.values()
                if module.wing == wing
            )
            for wing in {module.wing for module in known.values()}
        }
    )


def entries(package: Path) -> set[str]:
    """Return what stands at the top of the package, of all that is or will be committed."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", "."]
    done = subprocess.run(listed, cwd=package, capture_output=True, text=True, check=True)
    return {line.partition("/")[0] for line in done.stdout.splitlines() if (package / line).exists()}


def offences(package: Path) -> list[str]:
    """Return all that does not keep to the rules."""
    known = modules(package)
    found = list(wrong_arrows(known))
    for module in known.values():
        found += [*circles_inside(module), *large_functions(module), *unnamed(module)]
    if len(entries(package)) > ENTRIES:
        found.append(f"more than {ENTRIES} entries at the top of {package.name}")
    if sum(lines_by_wing(known)[wing] for wing in CORE) > CORE_LINES:
        found.append(f"more than {CORE_LINES} lines in {' and '.join(CORE)}")
    return sorted(set(found))


def main() -> int:
    """Print the lines of each wing, and what does not keep to the rules."""
    package = ROOT / "memcalc"
    lines = lines_by_wing(modules(package))
    print("   " + ", ".join(f"{wing} {count:,}" for wing, count in lines.most_common()), flush=True)
    found = set(offences(package))
    for offence in sorted(found - KNOWN):
        print(offence, file=sys.stderr)
    for offence in sorted(KNOWN - found):
        print(f"no longer true, take it out of KNOWN: {offence}", file=sys.stderr)
    return 1 if found != KNOWN else 0


if __name__ == "__main__":
    sys.exit(main())
