# The project's commands. They set up what they need themselves: on Debian as root, Rust and git are enough.
# The rig (tests/rig) brings a Docker Engine where there is none, buildx, a registry and base images.

CARGO ?= cargo
RIG := target/debug/rig

.PHONY: test build check unit lint report e2e image demo side-by-side compare picture bench release tables clean

# Everything that CI checks.
test: build check unit lint report e2e

build:
	$(CARGO) build --locked --workspace

check:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- --deny warnings

# Unit tests and tests of the whole binary: no network, no Docker.
unit:
	$(CARGO) test --locked --package fast-ecr-push --package rig
	$(CARGO) test --locked --package kubernetes-stand-in --bins
	$(CARGO) test --locked --package aws-stand-in --lib --bins

lint:
	tests/lint/run

# The job summary before GitHub's Markdown renderer and Mermaid's parser.
report:
	tests/report/run

# The whole way on real BuildKit and a real registry. Compiled before the rig starts.
e2e: build
	$(CARGO) test --locked --test e2e --no-run
	$(CARGO) test --locked --package kubernetes-stand-in --package aws-stand-in --no-run
	$(RIG) exec --aws --classic -- $(CARGO) test --locked --test e2e
	$(RIG) exec --aws -- $(CARGO) test --locked --package aws-stand-in --test aws
	$(RIG) exec -- $(CARGO) test --locked --package kubernetes-stand-in --test driver

# The action's own image, compiled through the Dockerfile as it is shipped: size, digest, first line, a push. 10 minutes and more.
image: build
	$(CARGO) test --locked --test e2e --no-run
	$(RIG) exec -- $(CARGO) test --locked --test e2e dist -- --ignored --nocapture

# A real image of more than 300 MB, built and pushed twice: the second run shows the cache.
demo: build
	$(RIG) exec -- tests/demo

# Plain buildx and the action, in turn, nothing cached.
side-by-side: build
	$(RIG) exec -- tests/side-by-side

# Two drivers on two Engines, and `compare` over their timings files.
compare: build
	$(RIG) exec --classic -- tests/compare

# The summary of a real run, drawn for the README: docs/summary.png.
picture: build
	$(RIG) exec -- tests/report/picture

# What the action costs beside buildx and the network.
bench:
	$(CARGO) build --locked --package rig
	$(CARGO) bench --locked --bench overhead --no-run
	$(RIG) exec -- $(CARGO) bench --locked --bench overhead

# The binary as it is shipped.
release:
	$(CARGO) build --locked --profile dist --package fast-ecr-push

# Writes the tables of inputs and outputs into action.yml and README.md.
tables:
	WRITE_TABLES=1 $(CARGO) test --locked --bin fast-ecr-push documents -- --test-threads=1

clean:
	if [ -x $(RIG) ]; then $(RIG) clean; fi
	$(CARGO) clean
