"""The commands of the README do what it shows."""

import re
import shlex


def blocks(root):
    text = (root / "README.md").read_text(encoding="utf-8")
    return "\n".join(re.findall(r"^```console\n(.*?)^```$", text, re.DOTALL | re.MULTILINE))


def test_commands_of_the_readme(root, command):
    parts = re.split(r"^\$ ", blocks(root), flags=re.MULTILINE)[1:]
    assert any("\n" in part.strip() for part in parts)  # outputs are shown, and held
    for part in parts:
        line, _, shown = part.partition("\n")
        program, *arguments = shlex.split(line)
        assert program == "memcalc"
        done = command(*arguments)
        assert (done.returncode, done.stderr) == (0, ""), line
        if shown.strip():
            assert done.stdout.rstrip() == shown.rstrip(), line
