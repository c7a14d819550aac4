"""What is published: the wheel alone answers in a bare environment, the sdist holds what its tests need."""

from __future__ import annotations

import email
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import PurePosixPath

import pytest

from tests.test_readme import commands

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("wheel")]  # it is built once


def run(*command, cwd, **more):
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, **more)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build(project, folder):
    """A wheel and an sdist, without a network: the build backend is installed here."""
    run(sys.executable, "-m", "hatchling", "build", "-d", str(folder), cwd=project)
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, sdist


@pytest.fixture(scope="module")
def built(root, tmp_path_factory):
    return build(root, tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def tracked(root):
    """What is or will be committed."""
    if not (root / ".git").exists():
        pytest.skip("what belongs to the project is known in its repository alone")
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    return {path for path in run(*listed, cwd=root).splitlines() if (root / path).exists()}


@pytest.fixture(scope="module")
def bare(built, tmp_path_factory):
    """An environment with the wheel and nothing else; `bare("memcalc", ...)` runs there, far from here."""
    folder = tmp_path_factory.mktemp("bare")
    run(sys.executable, "-m", "venv", "--without-pip", "environment", cwd=folder)
    programs = folder / "environment" / ("Scripts" if sys.platform == "win32" else "bin")
    pip = [sys.executable, "-m", "pip", "--python", str(programs / "python")]
    run(*pip, "install", "--quiet", "--no-index", "--no-deps", str(built[0]), cwd=folder)
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}

    def answer(program, *arguments):
        return run(str(programs / program), *arguments, cwd=folder, env=variables)

    answer.python, answer.folder = str(programs / "python"), folder
    return answer


def test_the_wheel_is_the_package_and_nothing_else(built, tracked):
    """Data and the marker of types too; no evidence, no tests."""
    names = {name for name in zipfile.ZipFile(built[0]).namelist() if ".dist-info/" not in name}
    assert names == {path for path in tracked if path.startswith("memcalc/")}
    assert {"memcalc/py.typed", "memcalc/data/machines.json"} <= names
    assert not {"record", "tests", "test"} & {part for name in names for part in PurePosixPath(name).parts}
    # 138 models of 1 KB each, 197 questions in two languages; a page would be seen
    assert built[0].stat().st_size < 1_300_000


def test_the_distribution_has_a_name_of_its_own(built):
    """`memcalc` on PyPI is a stranger's; who installs this one types memcalc all the same."""
    archive = zipfile.ZipFile(built[0])
    about = {PurePosixPath(name).name: name for name in archive.namelist() if ".dist-info/" in name}
    metadata = email.message_from_bytes(archive.read(about["METADATA"]))
    assert metadata["Name"] == "llm-memcalc"
    assert not metadata.get_all("Requires-Dist") or all(
        "extra ==" in need for need in metadata.get_all("Requires-Dist")
    )
    assert "memcalc = memcalc.__main__:" in archive.read(about["entry_points.txt"]).decode()
    assert {"LICENSE", "THIRD_PARTY.md"} <= about.keys()


def test_commands_of_the_readme_in_a_bare_environment(root, bare):
    (bare.folder / "notebooks").mkdir()
    shutil.copy(root / "notebooks" / "example_config.json", bare.folder / "notebooks")
    for words, shown in commands(root):
        said = bare(*words)
        if shown:
            assert said.rstrip() == shown, words


@pytest.mark.parametrize(
    ("what", "folder"), [("models", "models"), ("machines", None), ("formats", None), ("engines", None)]
)
def test_what_commands_read_is_there(root, bare, what, folder):
    found = json.loads(bare("memcalc", "list", what, "--json"))
    assert found
    assert not folder or len(found) == len(list((root / "memcalc" / "data" / folder).glob("*.json")))


def test_it_says_its_version(built, bare):
    said = bare("memcalc", "--version")
    assert said.split()[-1] == built[0].name.split("-")[1]


USE = """
import memcalc

memcalc.serve("Qwen/Qwen3-32B", context=8192)
memcalc.train("Qwen/Qwen3-32B", seq=4096)
memcalc.serve("Qwen/Qwen3-32B", context="8192")
memcalc.train("Qwen/Qwen3-32B", seq="4096")
"""


def test_a_users_mypy_sees_a_wrong_argument(bare, tmp_path):
    """The types of the installed package, not of this folder."""
    (tmp_path / "use.py").write_text(USE, encoding="utf-8")
    command = ["-m", "mypy", "--strict", "--python-executable", bare.python]
    done = subprocess.run(
        [sys.executable, *command, "use.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={name: value for name, value in os.environ.items() if name != "MYPYPATH"},
    )
    errors = [line for line in done.stdout.splitlines() if ": error:" in line]
    assert [line.partition(": error:")[0] for line in errors] == ["use.py:6", "use.py:7"], done.stdout
    assert all('"str"' in line for line in errors)


def test_the_sdist_holds_the_project(built, tracked):
    """All of it, so that its tests and its book need nothing else."""
    with tarfile.open(built[1]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names - {"PKG-INFO"} - tracked == set()
    assert tracked - names == set()


def test_the_sdist_builds_the_same_wheel(built, tmp_path):
    with tarfile.open(built[1]) as archive:
        archive.extractall(tmp_path, filter="data")
    (project,) = tmp_path.iterdir()
    again, _ = build(project, tmp_path / "dist")
    assert again.read_bytes() == built[0].read_bytes()
