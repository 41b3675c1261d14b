# The project's commands. They set up what they need themselves: on Debian as root, Rust and git are enough.
# The rig (tests/rig) brings a Docker Engine where there is none, buildx, a registry and base images.

CARGO ?= cargo
RIG := target/debug/rig
# End-to-end tests and the lints that no tool knows, as soon as they exist.
E2E := $(wildcard tests/e2e.rs tests/e2e/main.rs)
LINT := $(wildcard tests/lint/run)
REPORT := $(wildcard tests/report/run)

.PHONY: test build check unit lint report e2e demo picture bench release clean

test: build check unit lint report e2e

build:
	$(CARGO) build --workspace

check:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- --deny warnings

unit:
	$(CARGO) test --workspace --bins

lint:
	$(LINT)

# The job summary before GitHub's Markdown renderer and Mermaid's parser.
report:
	$(REPORT)

# Compiled before the rig starts: what it reports as ready is then ready for tests.
e2e: build
ifneq ($(E2E),)
	$(CARGO) test --test e2e --no-run
	$(RIG) exec --classic -- $(CARGO) test --test e2e
endif

# The action on a real image of more than 300 MB, as the runner would start it; twice, so that the cache shows.
demo: build
	$(RIG) exec -- sh -c 'for run in first second; do echo "== $$run run"; env \
		INPUT_CONTEXT=examples/large-python-image \
		INPUT_TAGS="$$RIG_REGISTRY/demo/large-python-image:latest" \
		INPUT_BUILD-ARGS="BASE_IMAGE=$$RIG_REGISTRY/rig/python:3.11" \
		target/debug/fast-ecr-push || exit; done'

# The summary of a real run, drawn for the README: docs/summary.png.
picture: build
	$(RIG) exec -- tests/report/picture

bench: release
	$(CARGO) build --package rig
	$(RIG) exec -- tests/bench/run

release:
	$(CARGO) build --release --package fast-ecr-push

clean:
	if [ -x $(RIG) ]; then $(RIG) clean; fi
	$(CARGO) clean
