#!/usr/bin/env bash
# Makes the image in which a coding agent runs, and prints its tag.
#
#   coding-agent.sh claude-code
#
# The base image plus Node and the agent's published ACP adapter at a pinned version. Hundreds of
# megabytes: made only once a key for the agent is there, and by the tests. Safe to run at any
# time: an image whose recipe has not changed is left alone.
#
# stdout: the tag, nothing else. stderr: progress. SAM_BASE_IMAGE names the image below it.
set -euo pipefail

readonly version=1
readonly base="${SAM_BASE_IMAGE:-sam-base:1}"
readonly cache="${SAM_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/sam}"
# An old Node would make npm choose an older adapter without a word.
readonly node=node@22

say() { printf 'coding agent: %s\n' "$*" >&2; }
fail() { printf 'error: coding agent: %s\n' "$*" >&2; exit 1; }

choose() {
    case "${1:-}" in
        claude-code)
            image="sam-claude:$version"
            adapter=@agentclientprotocol/claude-agent-acp@0.100.0
            program=claude-agent-acp
            ;;
        *) fail "unknown coding agent '${1:-}'; there is: claude-code" ;;
    esac
}

# Debian's npm is only needed to fetch; it stays behind in the first stage.
recipe() {
    cat <<DOCKERFILE
FROM $base AS fetched
USER root
ENV DEBIAN_FRONTEND=noninteractive
RUN apt-get -qq update && apt-get -qq install -y --no-install-recommends npm
RUN mkdir -p /opt/node /opt/coding-agent \
 && npm install --no-audit --no-fund --loglevel=error --prefix /opt/node $node
RUN PATH=/opt/node/node_modules/.bin:\$PATH \
    npm_config_engine_strict=true \
    node /usr/share/nodejs/npm/bin/npm-cli.js install --no-audit --no-fund --loglevel=error \
      --prefix /opt/coding-agent $adapter \
 && rm -rf /opt/coding-agent/node_modules/@anthropic-ai/*-musl
LABEL sam.stage=fetched

FROM $base
USER root
COPY --from=fetched /opt/node /opt/node
COPY --from=fetched /opt/coding-agent /opt/coding-agent
RUN ln -s /opt/node/node_modules/.bin/node /usr/local/bin/node \
 && ln -s /opt/coding-agent/node_modules/.bin/$program /usr/local/bin/$program \
 && node --version && test -x /usr/local/bin/$program
USER dev
WORKDIR /workspace
DOCKERFILE
}

main() {
    local image adapter program base_id hash context
    choose "$@"
    mkdir -p "$cache"
    base_id=$(docker image inspect --format '{{.Id}}' "$base" 2>/dev/null) ||
        fail "the image $base is missing: make it with build.sh first"
    hash=$({ recipe; printf '%s' "$base_id"; } | sha256sum | cut -c 1-32)
    exec 9>"$cache/coding-agent.lock"
    flock 9
    if [ "$(docker image inspect --format '{{index .Config.Labels "sam.recipe"}}' "$image" 2>/dev/null || true)" != "$hash" ]; then
        say "fetching $adapter and $node (a minute or two)"
        context=$(mktemp -d)
        recipe >"$context/Dockerfile"
        # The classic builder, because it is there with every engine.
        DOCKER_BUILDKIT=0 docker build --tag "$image" --label "sam.recipe=$hash" \
            --build-arg http_proxy --build-arg https_proxy --build-arg no_proxy \
            "$context" >"$cache/coding-agent.log" 2>&1 ||
            fail "the build failed: $(tail -n 1 "$cache/coding-agent.log") ($cache/coding-agent.log)"
        rm -rf "$context"
        docker image prune --force --filter label=sam.stage=fetched >/dev/null
        say "made $image"
    fi
    printf '%s\n' "$image"
}

main "$@"
