# The action's image: our binary, the standalone buildx, and the certificates that both trust. Nothing else is in it.
# Built without any argument, on a machine of the image's architecture. Where nothing can be pulled,
# `--build-context STAGE=…` replaces a stage (tests/e2e/image.rs does). The same commit with the same SOURCE_DATE_EPOCH
# gives the same layers when the output has `rewrite-timestamp=true`.

# The version stands here for our binary, which would take 40 ms of every run to ask for it.
ARG BUILDX_VERSION=0.37.1

FROM docker/buildx-bin:0.37.1@sha256:0ef4e936b9057e45a8c6595c01a8116353acd102b6a5720af7c3bcb50346e2ca AS buildx

FROM rust:1.95.0-bookworm@sha256:6258907abe69656e41cd992e0b705cdcfabcbbe3db374f92ed2d47121282d4a1 AS toolchain

FROM scratch AS base

# What comes from crates.io, compiled before our own code is there, so that it stays in the cache when that changes.
FROM toolchain AS dependencies
WORKDIR /source
# Static, as the final image has no C library. glibc has looked up names without loading plugins since 2.34
# (https://sourceware.org/legacy-ml/libc-announce/2021/msg00002.html).
ENV RUSTFLAGS="-C target-feature=+crt-static"
COPY Cargo.toml Cargo.lock ./
COPY crates/image/Cargo.toml crates/image/
COPY tests/aws/Cargo.toml tests/aws/
COPY tests/rig/Cargo.toml tests/rig/
COPY tests/kubernetes/Cargo.toml tests/kubernetes/
# Cargo wants a file for every target that a manifest names. With `--target`, flags are not for build scripts and macros.
RUN awk -F '"' 'FNR == 1 { base = FILENAME; sub(/Cargo.toml$/, "", base) } \
        /^\[/ { folder = /test/ ? "tests/" : /bench/ ? "benches/" : "" } \
        folder && /^name = / { print base folder $2 ".rs" }' Cargo.toml tests/*/Cargo.toml >targets \
    && printf '%s\n' src/main.rs crates/image/src/lib.rs tests/aws/src/lib.rs tests/rig/src/main.rs tests/kubernetes/src/main.rs >>targets \
    && while read -r target; do mkdir -p "${target%/*}" && echo 'fn main() {}' >"$target"; done <targets \
    && cargo build --locked --profile dist --package fast-ecr-push --target "$(rustc --print host-tuple)"

FROM dependencies AS compile
COPY crates crates
COPY src src
# A page that is also the header of a module, and the Role that an error names.
COPY docs/tags.md docs/
COPY examples/eks/role.yaml examples/eks/
# Newer than the placeholder, whatever the clock of the checkout said.
RUN touch src/main.rs crates/*/src/lib.rs \
    && cargo build --locked --profile dist --package fast-ecr-push --target "$(rustc --print host-tuple)" \
    && mv target/*/dist/fast-ecr-push /fast-ecr-push

# Our files, laid out; the final stage has no shell.
FROM toolchain AS tree
ARG SOURCE_DATE_EPOCH=0
WORKDIR /tree
COPY --from=compile /fast-ecr-push usr/local/bin/
# Docker calls a credential helper, and the runner the post step, by name.
RUN ln -s fast-ecr-push usr/local/bin/docker-credential-fast-ecr-push \
    && ln -s fast-ecr-push usr/local/bin/fast-ecr-push-post \
    && install -D --mode 644 /etc/ssl/certs/ca-certificates.crt etc/ssl/certs/ca-certificates.crt \
    && mkdir --mode 1777 tmp \
    && find . -exec touch --no-dereference --date "@$SOURCE_DATE_EPOCH" {} +

FROM base
ARG BUILDX_VERSION
ENV PATH=/usr/local/bin \
    FAST_ECR_PUSH_BUILDX_VERSION=$BUILDX_VERSION
COPY --from=buildx /buildx /usr/local/bin/buildx
COPY --from=tree /tree/ /
ENTRYPOINT ["/usr/local/bin/fast-ecr-push"]
