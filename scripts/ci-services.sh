#!/bin/sh
# Install the servers and programs that only tests use; run by `make ci-services`, as root or with sudo.
# Nothing is started: tests start what they need as private children on free ports. Safe to run again.
set -eu

# package, then what needs it
PACKAGES='
swift-proxy      tests/storage: an S3 server that checks signatures, with its parts below
swift-account    tests/storage
swift-container  tests/storage
swift-object     tests/storage
memcached        tests/storage: Swift keeps its rings of account data there
chromium         tests/e2e: a real browser follows a job
rabbitmq-server  tests/rabbitmq: a private broker
prometheus       tests/deploy: promtool, and the queries of the dashboards
'

say() { printf 'ci-services: %s\n' "$*"; }

is_installed() { dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q '^install ok installed$'; }

version_of() { dpkg-query -W -f '${Version}' "$1"; }

command -v apt-get >/dev/null || {
    say 'this machine has no apt-get; on Debian 12 these are the packages wanted:' "$(printf '%s' "$PACKAGES" | awk 'NF {print $1}' | xargs)" >&2
    exit 1
}

missing=''
for package in $(printf '%s' "$PACKAGES" | awk 'NF {print $1}'); do
    if is_installed "$package"; then
        say "$package $(version_of "$package") is there"
    else
        missing="$missing $package"
    fi
done
[ -n "$missing" ] || exit 0

as_root=''
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { say "run this as root: apt-get must install$missing" >&2; exit 1; }
    as_root='sudo'
fi

# Debian starts the services it installs unless this file answers 101, "forbidden by policy".
policy=/usr/sbin/policy-rc.d
log=$(mktemp)
ours=''
clean_up() {
    rm -f "$log"
    [ -z "$ours" ] || $as_root rm -f "$policy"
}
trap clean_up EXIT
trap 'exit 1' INT TERM HUP
if [ ! -e "$policy" ]; then
    ours=yes
    printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
    $as_root chmod 755 "$policy"
fi

quietly() { "$@" >"$log" 2>&1 || { cat "$log" >&2; say "failed: $*" >&2; exit 1; }; }

quietly $as_root apt-get -o DPkg::Lock::Timeout=300 update
# shellcheck disable=SC2086  # a list of words
quietly $as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 \
    install -y --no-install-recommends $missing
for package in $missing; do
    say "$package $(version_of "$package") installed"
done
