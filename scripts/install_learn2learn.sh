#!/usr/bin/env bash
# Installs learn2learn 0.2.0 into an environment that already has torch (Python 3.10 to 3.12).
#
#   scripts/install_learn2learn.sh [PYTHON]     default: .venv/bin/python, else python
#
# A plain `pip install learn2learn` fails: the C files in its archive are too old for Python 3.11,
# and its requirement qpth does not install. So this script regenerates the C files from the Cython
# sources and installs only the requirements that the import needs. A second run does nothing.
#
# Exit codes: 0 it is installed; 2 the installation failed; 3 this Python version is not supported.
set -euo pipefail

readonly VERSION=0.2.0
readonly SELF="install_learn2learn.sh"

fail() {
    echo "$SELF: $*" >&2
    exit 2
}

# Runs a command quietly; if it fails, shows the end of its output.
step() {
    local what=$1
    shift
    "$@" >"$work/log" 2>&1 && return
    grep -v '^ *$' "$work/log" | tail -n 25 >&2
    fail "$what failed; the end of its output is above"
}

pip() {
    PIP_DISABLE_PIP_VERSION_CHECK=1 "$python" -m pip "$@"
}

has() {
    "$python" -c "import importlib.metadata as m, sys; m.version(sys.argv[1])" "$1" 2>/dev/null
}

installed() {
    has learn2learn && "$python" -c "
import sys
from mamlbench.learn2learn_import import learn2learn
sys.exit(learn2learn().__version__ != '$VERSION')"
}

check_environment() {
    if ! "$python" -c "import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))"; then
        echo "$SELF: learn2learn $VERSION needs Python 3.10, 3.11 or 3.12;" \
            "$python is $("$python" -c "import platform; print(platform.python_version())")" >&2
        exit 3
    fi
    pip --version >/dev/null 2>&1 || fail "$python has no pip; '$python -m ensurepip' installs it"
    has torch || fail "$python has no torch; install mamlbench there first"
    command -v "${CC:-cc}" >/dev/null || fail "learn2learn is built from source; no C compiler found"
}

install() {
    # The build's tools stay out of the environment: only this build has them on its path.
    step "Installing the build's tools" pip install --target "$work/tools" \
        "cython>=3,<4" "setuptools>=77,<85" wheel
    step "Installing what learn2learn imports" pip install gym==0.26.2 tqdm requests scipy
    if ! has torchvision; then
        # Without its requirements, which would replace a CPU-only torch by one of gigabytes.
        step "Installing torchvision" pip install --no-deps torchvision==0.26.0
    fi
    step "Building learn2learn" env CFLAGS="-O2 -g0" PYTHONPATH="$work/tools" \
        "$python" -m pip install --no-deps --no-cache-dir --no-build-isolation --use-pep517 \
        --config-settings=--build-option=build_ext "learn2learn==$VERSION"
    step "Importing learn2learn" installed
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=${1:-$root/.venv/bin/python}
if [[ $# -eq 0 && ! -x $python ]]; then
    python=python
fi
python=$(command -v "$python") || fail "${1:-python} is not a Python"
[[ $python == /* ]] || python=$PWD/$python
cd "$root" # where mamlbench is importable, installed or not
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if ! installed 2>/dev/null; then
    check_environment
    install
    echo "learn2learn $VERSION is installed in $("$python" -c "import sys; print(sys.prefix)")"
fi
