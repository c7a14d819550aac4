// Compiles what memcalc loads of Python's standard library, by the Python that will load it: it then starts in a third
// of the time. What it does not load stays as it is. Run by tools/pyodide.py: node compile_library.mjs PACKAGE ROOT OUT
import {readFileSync, writeFileSync} from "node:fs";
import {pathToFileURL} from "node:url";

const [folder, root, out] = process.argv.slice(2);
const {loadPyodide} = await import(pathToFileURL(`${folder}/pyodide.mjs`));
const python = await loadPyodide({indexURL: `${folder}/`, env: {HOME: "/", PYTHONDONTWRITEBYTECODE: "1"}});
python.FS.mkdir("/root");
python.mountNodeFS("/root", root);
python.FS.writeFile("/given.zip", readFileSync(`${folder}/python_stdlib.zip`));
python.runPython(`
import sys
sys.path.insert(0, "/root")
from memcalc.cli.command import parse

for words in ("model qwen3-8b", "serve qwen3-8b --context 8k --on h100-80g", "train qwen3-8b --seq 4k --json",
              "which qwen3-8b --context 8k", "list machines", "serve --help"):
    parse(words.split())
loaded = {getattr(module.__spec__, "origin", None) or "" for module in list(sys.modules.values()) if module.__spec__}

import importlib.util, marshal, re, zipfile

library = next(path for path in sys.path if path.endswith(".zip"))
UNCHECKED = (1).to_bytes(4, "little") + bytes(8)  # the flag of a module that is not held against its source
with zipfile.ZipFile("/given.zip") as given, zipfile.ZipFile("/made.zip", "w") as made:
    for name in sorted(given.namelist()):
        content, path = given.read(name), f"{library}/{name}"
        if path in loaded or re.sub(r"\\.py$", ".pyc", path) in loaded:
            code = marshal.dumps(compile(content, path, "exec", dont_inherit=True))
            name, content = f"{name}c", importlib.util.MAGIC_NUMBER + UNCHECKED + code
        made.writestr(zipfile.ZipInfo(name), content)
`);
writeFileSync(out, python.FS.readFile("/made.zip"));
