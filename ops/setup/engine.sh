#!/usr/bin/env bash
# Makes the container engine answer on its socket.
#
# Used by `cargo xtask` and, embedded, by `sam setup`. Safe to run at any time: an engine that
# answers is left alone. Where systemd runs, it starts the engine; elsewhere this script does,
# in a session of its own, so that the engine outlives the terminal.
#
# Progress goes to stderr; stdout stays empty. SAM_CACHE_DIR says where the engine's log goes.
set -euo pipefail

readonly deadline_seconds=90
readonly cache="${SAM_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/sam}"
readonly log="$cache/dockerd.log"

say() { printf '%s\n' "$*" >&2; }
fail() { say "error: $*"; exit 1; }

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        fail "this needs root, and sudo is not installed: $*"
    fi
}

# Asked through root where the user is not yet allowed to use the socket.
answers() { timeout 10 docker version >/dev/null 2>&1 || as_root timeout 10 docker version >/dev/null 2>&1; }

install_engine() {
    command -v apt-get >/dev/null ||
        fail "no container engine, and no apt-get to install one: install Docker, then try again"
    say "installing docker.io and iptables with apt-get"
    as_root apt-get -qq update || true # A broken third-party source must not stop us here.
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -qq install -y --no-install-recommends docker.io iptables >&2
}

# The engine refuses to start while the process named in its pid file lives; after a crash that
# number may belong to somebody else, or to a corpse that nobody has buried.
remove_stale_pid_file() {
    local file=$1 name=$2 pid
    as_root test -f "$file" || return 0
    pid=$(as_root cat "$file")
    if [ "$(cat "/proc/$pid/comm" 2>/dev/null || true)" != "$name" ] ||
        grep -q '^State:[[:space:]]*Z' "/proc/$pid/status" 2>/dev/null; then
        as_root rm -f "$file"
    fi
}

wait_until_it_answers() {
    local pid=$1
    while [ "$SECONDS" -lt "$deadline_seconds" ]; do
        answers && return 0
        # An engine of somebody else may be starting at the same moment; only then go on waiting.
        if [ -n "$pid" ] && ! kill -0 "$pid" 2>/dev/null; then
            answers && return 0
            return 1
        fi
        sleep 0.3
    done
    return 1
}

start_engine_ourselves() {
    remove_stale_pid_file /var/run/docker.pid dockerd
    remove_stale_pid_file /var/run/docker/containerd/containerd.pid containerd
    : >"$log"
    local -a privileged=()
    [ "$(id -u)" -eq 0 ] || privileged=(sudo)
    "${privileged[@]}" setsid dockerd --host unix:///var/run/docker.sock "$@" </dev/null >>"$log" 2>&1 &
    wait_until_it_answers $!
}

main() {
    mkdir -p "$cache"
    if answers; then return 0; fi
    [ -z "${DOCKER_HOST:-}" ] || fail "no container engine answers at DOCKER_HOST=$DOCKER_HOST"
    exec 9>"$cache/engine.lock"
    flock -w "$deadline_seconds" 9 || fail "somebody else has been starting the engine for $deadline_seconds s"
    if answers; then return 0; fi
    command -v dockerd >/dev/null || [ -x /usr/sbin/dockerd ] || install_engine
    PATH="$PATH:/usr/sbin:/sbin"

    if [ -d /run/systemd/system ]; then
        say "starting the container engine with systemd"
        as_root systemctl start docker || fail "systemd could not start docker: see 'journalctl -u docker'"
        wait_until_it_answers '' || fail "docker is started but does not answer: see 'journalctl -u docker'"
        return 0
    fi

    say "no service manager runs here: starting the container engine ($log)"
    if start_engine_ourselves 9>&-; then return 0; fi
    if grep -qiE 'graphdriver|overlay' "$log"; then
        say "the engine refuses its default storage; trying the slower vfs"
        if start_engine_ourselves --storage-driver vfs 9>&-; then return 0; fi
    fi
    fail "the container engine does not start: $(grep -iE 'failed|error' "$log" | tail -n 1)"
}

main "$@"
