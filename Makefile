# The project's commands. They set up what they need themselves: on Debian as root, Rust and git are enough.
# The rig (tools/rig) brings a Docker Engine where there is none, buildx, a registry and base images.

CARGO ?= cargo
RIG := target/debug/rig
# The push engine's program, static as in the action's image. Tests on the rig read where it is.
export STEP := $(CURDIR)/target/step/fast-ecr-push-step
# The same packages in every command: with others, Cargo picks other features and compiles their dependencies again.
ALL := --locked --workspace
# What needs the rig; a plain `cargo test` leaves it out.
ON_THE_RIG := --test e2e --test aws --test driver --test ecr --test buildkit
# These tests wait for others more than they compute.
export RUST_TEST_THREADS ?= 4

AS_ROOT := $(if $(filter-out 0,$(shell id -u)),--config 'target."cfg(unix)".runner="sudo"')

.PHONY: test build step check unit lint report e2e trees faults load fuzz test-kubernetes image demo side-by-side compare picture bench release tables clean

# Everything that CI checks.
test: build check unit lint report e2e

build:
	$(CARGO) build $(ALL)

step:
	RUSTC_WORKSPACE_WRAPPER=$(CURDIR)/tools/static $(CARGO) build $(ALL) --bin fast-ecr-push-step
	install -D target/debug/fast-ecr-push-step $(STEP)

check:
	$(CARGO) fmt --all --check
	$(CARGO) clippy $(ALL) --all-targets -- --deny warnings
	$(CARGO) clippy $(ALL) $(ON_THE_RIG) --test round_trip -- --deny warnings

# Unit tests and tests of the whole binary: no network, no Docker.
unit:
	$(CARGO) test $(ALL)
# Mounts overlays and makes devices.
	$(CARGO) test $(ALL) --test round_trip $(AS_ROOT)

lint:
	tools/lint/run

# The job summary before GitHub's Markdown renderer and Mermaid's parser.
report:
	tools/report/run

# The whole way on real BuildKit and a real registry. Compiled before the rig starts.
e2e: build step
	$(CARGO) test $(ALL) $(ON_THE_RIG) --no-run
	$(RIG) exec --aws --classic -- $(CARGO) test $(ALL) $(ON_THE_RIG)

# Real images with and without the push engine, unpacked by Docker and containerd and compared name by name: a table. Ten minutes.
trees: build step
	$(CARGO) test $(ALL) --test e2e --no-run
	$(RIG) exec --classic -- $(CARGO) test $(ALL) --test e2e trees:: -- --include-ignored --nocapture

# Every request of a run, and what can go wrong with it: the tables of docs/faults.md, compared, or with WRITE_TABLES=1 written.
# A quarter of an hour.
faults: build step
	$(CARGO) test $(ALL) --test e2e --no-run
	$(RIG) exec -- $(CARGO) test $(ALL) --test e2e faults:: -- --ignored --nocapture --test-threads=1

# Many runs at once, and many in a row, on an Engine and in a cluster: the tables of docs/load.md, shown, or with WRITE_TABLES=1 written.
# Needs root and the rig's own Engine, into whose processes it looks. Half an hour.
load: build step
	$(CARGO) test $(ALL) --test e2e --test driver --no-run
	$(RIG) exec -- $(CARGO) test $(ALL) --no-fail-fast --test e2e --test driver load:: -- --ignored --nocapture --test-threads=1

# libFuzzer over the readers of what comes from outside: each of TARGETS for SECONDS_EACH, new inputs in target/fuzz-corpus, failing
# ones in target/fuzz-found. Needs a C++ compiler. The flags are cargo-fuzz's, without the sanitizer that needs a nightly compiler.
# The program is the action's unit tests with libFuzzer's `main`; it writes the seeds itself.
SECONDS_EACH ?= 600
TARGETS ?=
fuzz: export CARGO_TARGET_DIR = $(CURDIR)/target/fuzz
fuzz: export RUSTFLAGS = --cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
	-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
	-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1
fuzz: FUZZ = $(CARGO) test --locked --profile fuzz --package fast-ecr-push --bin fast-ecr-push --target $(shell rustc -vV | sed -n 's/^host: //p')
fuzz:
	$(FUZZ) --no-run
	@mkdir -p target/fuzz-found
	@for target in $(or $(TARGETS),$$($(FUZZ) --quiet)); do mkdir -p target/fuzz-corpus/$$target target/fuzz-seeds/$$target; \
		FUZZ_TARGET=$$target FUZZ_SEEDS=$(CURDIR)/target/fuzz-seeds/$$target nice $(FUZZ) --quiet -- \
			-max_total_time=$(SECONDS_EACH) -max_len=20000 -timeout=10 -rss_limit_mb=2048 \
			-print_final_stats=1 -verbosity=0 -artifact_prefix=$(CURDIR)/target/fuzz-found/$$target- \
			$(CURDIR)/target/fuzz-corpus/$$target $(CURDIR)/target/fuzz-seeds/$$target || exit 1; done

# The Kubernetes tests on a real cluster: that of KUBECONFIG, with buildx from PATH. Its pods are in NAMESPACE, which lets
# them be privileged, build from BASE and push below REGISTRY (host/prefix), where this machine may log in and read, too.
NAMESPACE ?= buildx
BASE ?= busybox:latest
test-kubernetes: build step
	@test -n "$(KUBECONFIG)" -a -n "$(REGISTRY)" || { echo "usage: make test-kubernetes KUBECONFIG=FILE REGISTRY=HOST/PREFIX [NAMESPACE=$(NAMESPACE)] [BASE=$(BASE)]" >&2; exit 2; }
	@echo "Left out, since they need what only the API stand-in does (make e2e runs them):"
	@$(CARGO) test --quiet $(ALL) --test driver -- --list stand_in:: | grep ': test$$'
	TEST_KUBECONFIG="$(abspath $(KUBECONFIG))" TEST_NAMESPACE="$(NAMESPACE)" TEST_REGISTRY="$(REGISTRY)" TEST_BASE="$(BASE)" \
		$(CARGO) test $(ALL) --test driver any_cluster:: -- --test-threads=1

# The action's own image, compiled through the Dockerfile as it is shipped: size, digest, first line, a push. 10 minutes and more.
image: build step
	$(CARGO) test $(ALL) --test e2e --no-run
	$(RIG) exec -- $(CARGO) test $(ALL) --test e2e dist -- --ignored --nocapture

# A real image of more than 300 MB, built and pushed twice: the second run shows the cache.
demo: build
	$(RIG) exec -- tools/demo

# Plain buildx and the action, in turn, nothing cached.
side-by-side: build
	$(RIG) exec -- tools/side-by-side

# Two drivers on two Engines, and `compare` over their timings files.
compare: build
	$(RIG) exec --classic -- tools/compare

# The summary of a real run, drawn for the README: docs/summary.png.
picture: build
	$(RIG) exec -- tools/report/picture

# What the action costs beside buildx and the network, what each cache spares, how long builders take to boot, and what a push
# takes with BuildKit and with the push engine, what a skipped build takes.
bench: BENCHES := --bench overhead --bench cache --bench boot --bench push --bench unchanged
bench: STEP := $(CURDIR)/target/step-release/fast-ecr-push-step
bench:
	$(CARGO) build $(ALL)
	RUSTC_WORKSPACE_WRAPPER=$(CURDIR)/tools/static $(CARGO) build $(ALL) --release --bin fast-ecr-push-step
	install -D target/release/fast-ecr-push-step $(STEP)
	$(CARGO) bench $(ALL) $(BENCHES) --no-run
	$(RIG) exec -- $(CARGO) bench $(ALL) --no-fail-fast $(BENCHES)

# The binary as it is shipped.
release:
	$(CARGO) build --locked --profile dist --package fast-ecr-push

# Writes what is generated into action.yml, README.md, CONTRIBUTING.md and docs: tables, and the picture of the modules.
tables:
	WRITE_TABLES=1 $(CARGO) test $(ALL) --bin fast-ecr-push documents -- --test-threads=1
	WRITE_TABLES=1 $(CARGO) test $(ALL) --test action architecture::picture
	WRITE_TABLES=1 $(CARGO) test $(ALL) --test action faults::

clean:
	if [ -x $(RIG) ]; then $(RIG) clean; fi
	$(CARGO) clean
