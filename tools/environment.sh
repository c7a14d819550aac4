#!/usr/bin/env bash
# Makes a virtual environment, once: tools/environment.sh FOLDER REQUIREMENTS
# Made again only when the requirements, pyproject.toml, the place or the Python changes.
set -euo pipefail
folder=$1 requirements=$2

missing() { echo "missing: $1" >&2; exit 1; }
command -v git >/dev/null || missing "git"
new_enough='import sys; sys.exit(sys.version_info < (3, 11))'
python=""
for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11 python}; do
    if "$candidate" -c "$new_enough" >/dev/null 2>&1; then python=$candidate; break; fi
done
[ -n "$python" ] || missing "Python 3.11 or newer (looked for ${PYTHON:-python3, python3.14 to python3.11, python})"
"$python" -c 'import venv, ensurepip' >/dev/null 2>&1 ||
    missing "the venv module of $python (on Debian and Ubuntu: the package python3-venv)"

stamp=$folder/stamp
key=$({ cat "$requirements" pyproject.toml; pwd -P; "$python" -c 'import sys; print(sys.version, sys.base_prefix)'; } | cksum)
if [ -x "$folder/bin/python" ] && [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$key" ]; then exit 0; fi

SECONDS=0
echo "== environment $folder (about a minute)"
rm -rf "$folder"
"$python" -m venv "$folder"
"$folder/bin/python" -m pip install -qq --requirement "$requirements"
if [ "$requirements" = requirements.txt ]; then
    "$folder/bin/python" -m pip install -qq --no-deps --no-build-isolation --editable .
fi
echo "$key" >"$stamp"
echo "   ${SECONDS} s"
