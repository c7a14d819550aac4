"""Record what torch holds in training small models of types with a program: tests/recorded/programs.json.

    python tests/oracles/record_programs.py [TYPE ...]    (in the environment of requirements-oracles.txt)

With types, or names of published models, only those are traced anew; the others stay as they are recorded.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path

import program_cases as cases

RECORDED = Path(__file__).resolve().parent.parent / "recorded" / "programs.json"


def recorded(model_type):
    """Every run of every config of a type."""
    for seed in cases.SEEDS:
        fields = cases.config(model_type, seed)
        for kind, run in cases.runs(model_type, seed).items():
            moments = cases.moments(fields, run)
            yield {"kind": kind, "seed": seed, "config": fields, "run": run.stated(), "moments": moments}


def of_published(name):
    """Every run of few layers of a model of the catalogue."""
    fields = cases.published(name)
    for kind, run in cases.published_runs(name).items():
        moments = cases.moments(fields, run)
        yield {"name": name, "kind": kind, "config": fields, "run": run.stated(), "moments": moments}


def of_states(names):
    """The plain runs of types whose layers keep a state, forward alone."""
    for name in names:
        for seed in cases.SEEDS:
            fields, run = cases.config(name, seed), cases.runs(name, seed)["plain"]
            found = cases.without_a_graph(fields, run)
            yield {"name": name, "seed": seed, "config": fields, "run": run.stated(), "bytes": found}


def of_last(names):
    """Every run of configs whose last layers keep a state."""
    for name in names:
        fields = cases.states_last(name)
        for kind, run in cases.states_last_runs(name).items():
            moments = cases.moments(fields, run)
            yield {"name": name, "kind": kind, "config": fields, "run": run.stated(), "moments": moments}


def further(types, known):
    """The further cases, in their order: traced anew if nothing is chosen, their type is, or they are new."""
    for name, seed, fields, run in cases.further():
        case = {"name": name, "seed": seed, "config": fields, "run": run.stated()}
        here = (step for step in known if {key: step[key] for key in case} == plain(case))
        step = next(here, None) if types and name not in types else None
        yield step or case | {"moments": cases.moments(fields, run)}


def plain(value):
    """As it stands in a file."""
    return json.loads(json.dumps(value))


def anew(names, types, known, asked):
    """The lines of all names, in their order: traced anew if nothing is chosen, or their type is."""
    found = []
    for name in names:
        chosen = not types or name.split()[0] in types
        found += asked([name]) if chosen else [line for line in known if line["name"] == name]
    return found


def main(types=()):
    """Write the file, a step a line: of some types anew, or of all."""
    known = json.loads(RECORDED.read_text(encoding="utf-8")) if RECORDED.exists() else {}
    asked = types or (*cases.TYPES, *cases.PUBLISHED)
    stays = [step for step in known.get("published", ()) if step["name"] not in asked]
    steps = {name: list(recorded(name)) if name in asked else known["steps"][name] for name in cases.TYPES}
    published = [
        step
        for name in cases.PUBLISHED
        for step in (of_published(name) if name in asked else [one for one in stays if one["name"] == name])
    ]
    states = anew(cases.STATES, types, known.get("without a graph", ()), of_states)
    last = anew(cases.LAST, types, known.get("states last", ()), of_last)
    added = list(further(types, known.get("further", ())))
    versions = {name: version(name) for name in ("torch", "transformers", "peft")}
    between = ",\n"
    of_types = (
        f"{json.dumps(name)}: [\n{between.join(map(json.dumps, lines))}\n]" for name, lines in steps.items()
    )
    steps_of_types = f'"steps": {{\n{between.join(of_types)}\n}}'
    rest = ",\n".join(
        f'"{name}": [\n{between.join(map(json.dumps, lines))}\n]'
        for name, lines in (
            *(("published", published), ("without a graph", states)),
            *(("states last", last), ("further", added)),
        )
    )
    text = f'{{"versions": {json.dumps(versions)},\n{steps_of_types},\n{rest}}}\n'
    RECORDED.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
