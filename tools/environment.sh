#!/usr/bin/env bash
# Makes a virtual environment, once: tools/environment.sh FOLDER REQUIREMENTS [OWN_BUILDS]
# Made again only when the requirements, the place or the Python change. Each file that is installed must have
# one of the hashes that REQUIREMENTS lists; OWN_BUILDS, if given, are packages that this machine has builds of.
set -euo pipefail
folder=$1 requirements=$2 own=${3:-}

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

# One at a time: two shells may ask for the same environment.
mkdir -p _build
exec 9>"_build/environment$(basename "$folder").lock"
if command -v flock >/dev/null; then flock 9; fi

# pip is the presumed installer, and knows how this machine reaches its packages. uv does the same work in a
# tenth of the time; where it does not run, or cannot be told what pip is told, pip does it.
install() {
    local pip=("$folder/bin/python" -m pip) hashed=(--no-deps --require-hashes) index cert
    sed -n '/^uv==/,/[^\\]$/p' requirements.txt >"$folder/uv.txt"
    index=$("${pip[@]}" config get :env:.index-url 2>/dev/null || "${pip[@]}" config get global.index-url 2>/dev/null || true)
    cert=$("${pip[@]}" config get :env:.cert 2>/dev/null || "${pip[@]}" config get global.cert 2>/dev/null || true)
    "${pip[@]}" install -qq --no-compile "${hashed[@]}" --requirement "$folder/uv.txt" &&
        env ${index:+UV_DEFAULT_INDEX="$index"} ${cert:+SSL_CERT_FILE="$cert"} VIRTUAL_ENV="$folder" \
            "$folder/bin/uv" pip install -q "${hashed[@]}" --requirement "$requirements" 2>"$folder/uv.log" ||
        "${pip[@]}" install -qq --no-compile "${hashed[@]}" --requirement "$requirements"
    [ -z "$own" ] || "${pip[@]}" install -qq --no-compile --requirement "$own"
}

place=$("$python" -c 'import os, sys; print(os.getcwd(), sys.version, sys.base_prefix)')
wanted=$({ cat "$requirements" ${own:+"$own"} "${BASH_SOURCE[0]}"; echo "$place"; } | cksum)
if [ ! -x "$folder/bin/python" ] || [ "$(cat "$folder/stamp" 2>/dev/null)" != "$wanted" ]; then
    SECONDS=0
    echo "== environment $folder (half a minute)"
    rm -rf "$folder"
    "$python" -m venv "$folder"
    install
    echo "$wanted" >"$folder/stamp"
    echo "   ${SECONDS} s"
fi

# The package itself, from this folder: again only when what is said of it changes (settings of tools stand below).
[ "$requirements" = requirements.txt ] || exit 0
wanted=$(sed '/^\[tool\.ruff\]/,$d' pyproject.toml | cksum)
if [ "$(cat "$folder/package" 2>/dev/null)" != "$wanted" ]; then
    "$folder/bin/python" -m pip install -qq --no-deps --no-build-isolation --editable .
    echo "$wanted" >"$folder/package"
fi
