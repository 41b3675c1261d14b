# What tools/report/run and tools/report/picture share; sourced by them from the repository's root.
# shellcheck shell=bash

readonly tools=$PWD/target/report/tools

# install_debian PROGRAM PACKAGE…
install_debian() {
    local program=$1
    shift
    if ! command -v "$program" >/dev/null; then
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends "$@" >/dev/null
    fi
}

# Node resolves modules from where a script lies, so the scripts are copied beside them.
install_node_modules() {
    install_debian npm nodejs npm
    mkdir -p "$tools"
    if ! cmp --quiet tools/report/package-lock.json "$tools/installed"; then
        cp tools/report/package.json tools/report/package-lock.json "$tools"
        npm ci --prefix "$tools" --silent --no-audit --no-fund --ignore-scripts
        cp tools/report/package-lock.json "$tools/installed"
    fi
    cp tools/report/*.mjs "$tools"
}
