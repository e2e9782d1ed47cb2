#!/usr/bin/env bash
# Makes the image in which lightweight workspaces run, and prints its tag.
#
# Used by `cargo xtask` and, embedded, by `sam setup` (`bash -c "$script"` works as well as a
# file). Safe to run at any time: the image carries the hash of its recipe, and one whose hash
# is current is left alone. The small system below it is pulled where a registry answers within
# seconds, else it is made with debootstrap from this machine's own package mirror.
#
# The host's trusted certificates go into the image, since many networks re-sign TLS.
#
# stdout: the tag, nothing else. stderr: progress.
set -euo pipefail

readonly version=1
readonly image="sam-base:$version"
readonly root_image="sam-root:$version"
readonly registry_seconds=6
readonly cache="${SAM_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/sam}"

say() { printf 'base image: %s\n' "$*" >&2; }
fail() { printf 'error: base image: %s\n' "$*" >&2; exit 1; }

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        fail "this needs root, and sudo is not installed: $*"
    fi
}

recipe() {
    cat <<DOCKERFILE
FROM $root_image
ENV DEBIAN_FRONTEND=noninteractive
RUN apt-get -qq update \
 && apt-get -qq install -y --no-install-recommends \
      bash ca-certificates curl git less openssh-client procps python3 \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin
RUN if id 1000 >/dev/null 2>&1; then userdel --remove "\$(id -un 1000)"; fi \
 && useradd --uid 1000 --create-home --shell /bin/bash dev \
 && mkdir -p /workspace && chown dev:dev /workspace
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
    NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt \
    DEBIAN_FRONTEND=
WORKDIR /workspace
USER dev
CMD ["/bin/bash"]
DOCKERFILE
}

certificates() {
    local file
    for file in "${SSL_CERT_FILE:-}" /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt; do
        if [ -n "$file" ] && [ -r "$file" ]; then
            printf '%s' "$file"
            return 0
        fi
    done
    fail "this machine has no list of trusted certificates: install ca-certificates, then try again"
}

# What the image is made from; a change of any of it makes a new image.
recipe_hash() {
    { recipe; declare -f make_root_image debootstrap_root; cat "$(certificates)"; } | sha256sum | cut -c 1-32
}

label_of() { docker image inspect --format "{{index .Config.Labels \"$2\"}}" "$1" 2>/dev/null || true; }

# Prints "<mirror> <suite> <components>" of the distribution this machine itself runs.
package_mirror() {
    # shellcheck source=/dev/null
    . /etc/os-release
    local components=main mirror
    [ "${ID:-}" = ubuntu ] && components=main,universe
    mirror=$(
        cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null |
            awk -v suite="${VERSION_CODENAME:-}" '
                $1 == "deb" {
                    i = 2
                    if ($i ~ /^\[/) { while (i < NF && $i !~ /\]$/) i++; i++ }
                    if ($(i + 1) == suite) { print $i; exit }
                }
                $1 == "URIs:" { uri = $2 }
                $1 == "Suites:" { for (i = 2; i <= NF; i++) if ($i == suite) { print uri; exit } }
            '
    )
    [ -n "$mirror" ] || fail "no package source for '${VERSION_CODENAME:-this system}' under /etc/apt"
    printf '%s %s %s\n' "$mirror" "$VERSION_CODENAME" "$components"
}

debootstrap_root() {
    local scratch mirror suite components
    command -v debootstrap >/dev/null || [ -x /usr/sbin/debootstrap ] || {
        say "installing debootstrap with apt-get"
        as_root apt-get -qq update || true
        as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends debootstrap >&2
    }
    PATH="$PATH:/usr/sbin:/sbin"
    read -r mirror suite components <<<"$(package_mirror)"
    scratch=$(mktemp -d "${TMPDIR:-/var/tmp}/sam-root.XXXXXX")
    # shellcheck disable=SC2064 # The path is to be expanded now.
    trap "as_root rm -rf '$scratch'" EXIT
    say "no registry answers: making a small $suite with debootstrap (about a minute)"
    as_root debootstrap --variant=minbase --components="$components" --include=ca-certificates \
        "$suite" "$scratch/system" "$mirror" >"$cache/debootstrap.log" 2>&1 ||
        fail "debootstrap failed: $(tail -n 1 "$cache/debootstrap.log") ($cache/debootstrap.log)"
    # The mirror may speak TLS that only this machine's own certificates explain.
    as_root cp -L "$(certificates)" "$scratch/system/etc/ssl/certs/ca-certificates.crt"
    as_root sh -c "rm -rf '$scratch'/system/var/cache/apt/archives/*.deb '$scratch'/system/var/lib/apt/lists/*"
    as_root tar -C "$scratch/system" -c . | docker import - "$root_image" >/dev/null
}

make_root_image() {
    if timeout "$registry_seconds" docker manifest inspect debian:bookworm-slim >/dev/null 2>&1 &&
        timeout 300 docker pull -q debian:bookworm-slim >/dev/null; then
        docker tag debian:bookworm-slim "$root_image"
    else
        debootstrap_root
    fi
}

main() {
    mkdir -p "$cache"
    docker version >/dev/null 2>&1 || fail "the container engine does not answer"
    local hash
    hash=$(recipe_hash)
    exec 9>"$cache/base-image.lock"
    flock 9
    if [ "$(label_of "$image" sam.recipe)" != "$hash" ]; then
        docker image inspect "$root_image" >/dev/null 2>&1 || make_root_image
        say "adding git, python3 and what else a workspace needs (about a minute)"
        local context
        context=$(mktemp -d)
        recipe >"$context/Dockerfile"
        cp -L "$(certificates)" "$context/ca-certificates.crt"
        chmod 644 "$context/ca-certificates.crt"
        # The classic builder, because it is there with every engine.
        DOCKER_BUILDKIT=0 docker build --tag "$image" --label "sam.recipe=$hash" \
            --build-arg http_proxy --build-arg https_proxy --build-arg no_proxy \
            "$context" >"$cache/base-image.log" 2>&1 ||
            fail "the build failed: $(tail -n 1 "$cache/base-image.log") ($cache/base-image.log)"
        rm -rf "$context"
        say "made $image"
    fi
    printf '%s\n' "$image"
}

main "$@"
