#!/bin/sh
# Makes an environment with everything of one locked set: `setup.sh core` (.venv, to run Escriba), `setup.sh dev` (.venv,
# to work on it), `setup.sh whisperx` (.venv-whisperx, for the engine server that hosts WhisperX).
# Needs Python 3.11 or newer with venv, and a package index; no root, no system package.
set -eu
cd "$(dirname "$0")/.."
set_name=$1
venv=.venv
needed_mb=1500
[ "$set_name" != whisperx ] || { venv=.venv-whisperx; needed_mb=4000; }
say() { printf '%s\n' "$*" >&2; }
die() { say "setup: $*"; exit 1; }

python=${PYTHON:-python3}
command -v "$python" >/dev/null || die "there is no $python here; install Python 3.11 or newer, or say PYTHON=/path/to/it"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    die "$("$python" --version) is too old; Escriba needs Python 3.11 or newer (say PYTHON=/path/to/it)"
"$python" -c 'import ensurepip, venv' 2>/dev/null ||
    die "this Python has no venv; on Debian and Ubuntu: apt install python3-venv"
free_mb=$(df -Pm . | awk 'NR == 2 { print $4 }')
[ "$free_mb" -ge "$needed_mb" ] || die "only $free_mb MB are free here; the environment needs $needed_mb"

[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
# uv reads no configuration of pip's: hand it the index that pip has been told of, where there is one.
if [ -z "${UV_DEFAULT_INDEX:-}" ]; then
    index=$("$venv/bin/python" -m pip config get global.index-url 2>/dev/null || true)
    [ -z "$index" ] || export UV_DEFAULT_INDEX="$index"
fi
# Trust what this machine trusts: behind a company's proxy that is more than what uv brings along.
export UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-1}"
install() { "$venv/bin/uv" pip install --quiet --python "$venv/bin/python" "$@"; }
say "setup: installing the packages of requirements/$set_name.txt"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt ||
    die "uv could not be installed; is a package index reachable? (pip's own words stand above)"
[ "$set_name" != whisperx ] || PYTHON="$venv/bin/python" sh scripts/install-torch.sh
install --require-hashes --no-deps -r "requirements/$set_name.txt" ||
    die "the packages could not be installed (uv's own words stand above)"
install --no-deps --no-build-isolation --offline -e . ||
    die "the project itself could not be installed in place (uv's own words stand above)"
touch "$venv/.$set_name"
