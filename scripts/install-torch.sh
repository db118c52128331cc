#!/bin/sh
# Installs the torch of requirements/whisperx-overrides.txt, which no lock can hold: each machine has a build of its own.
# The CPU build is taken from a folder or index that the user has named (PIP_FIND_LINKS, UV_FIND_LINKS,
# PIP_EXTRA_INDEX_URL, or pip's configuration), as its version sorts above the plain one; else the index's is, with CUDA.
set -eu
python=${PYTHON:?the interpreter of the environment to install into}
torch=$(sed -n 's/^\(torch==[^ ;]*\).*/\1/p' requirements/whisperx-overrides.txt)
# uv parts its folders by commas, pip by spaces.
PIP_FIND_LINKS="$(printf '%s %s' "${PIP_FIND_LINKS:-}" "${UV_FIND_LINKS:-}" | tr , ' ')"
[ "$PIP_FIND_LINKS" != ' ' ] && export PIP_FIND_LINKS || unset PIP_FIND_LINKS

pip() { "$python" -m pip "$@" --quiet --disable-pip-version-check; }
if "$python" -c 'import sys, importlib.metadata as m; sys.exit(m.version("torch").split("+")[0] != sys.argv[1])' \
    "${torch#torch==}" 2>/dev/null; then
    exit 0
fi
build=$(pip install --dry-run --no-deps --report - "$torch" |
    "$python" -c 'import json, sys; print(json.load(sys.stdin)["install"][0]["metadata"]["version"])')
case $build in
*+cpu) echo "setup: installing torch $build" >&2 ;;
*) echo "setup: installing torch $build with CUDA, about 5 GB; for a machine without a GPU, name a folder with the CPU
       build in PIP_FIND_LINKS, or PyTorch's CPU index in PIP_EXTRA_INDEX_URL" >&2 ;;
esac
pip install "$torch"
