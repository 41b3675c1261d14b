# What tests/report/run and tests/report/picture share; sourced by them from the repository's root.
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
    if ! cmp --quiet tests/report/package-lock.json "$tools/installed"; then
        cp tests/report/package.json tests/report/package-lock.json "$tools"
        npm ci --prefix "$tools" --silent --no-audit --no-fund --ignore-scripts
        cp tests/report/package-lock.json "$tools/installed"
    fi
    cp tests/report/*.mjs "$tools"
}
