"""The commands of the README do what it shows."""

import re
import shlex


def commands(root):
    """Yield the words of each command and what it is said to print, if anything."""
    text = (root / "README.md").read_text(encoding="utf-8")
    blocks = "\n".join(re.findall(r"^```console\n(.*?)^```$", text, re.DOTALL | re.MULTILINE))
    for part in re.split(r"^\$ ", blocks, flags=re.MULTILINE)[1:]:
        line, _, shown = part.partition("\n")
        yield shlex.split(line), shown.strip("\n").rstrip()


def test_commands_of_the_readme(root, command):
    found = list(commands(root))
    assert any(shown for _, shown in found)  # outputs are shown, and held
    for (program, *arguments), shown in found:
        assert program == "memcalc"
        done = command(*arguments)
        assert (done.returncode, done.stderr) == (0, ""), arguments
        if shown:
            assert done.stdout.rstrip() == shown, arguments
