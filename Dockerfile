# The action's image: our binary, the standalone buildx, and the certificates that both trust. Nothing else is in it.
# Built without any argument, on a machine of the image's architecture. Where nothing can be pulled,
# `--build-context STAGE=…` replaces a stage (tests/e2e/image.rs does). The same commit with the same SOURCE_DATE_EPOCH
# gives the same layers when the output has `rewrite-timestamp=true`.

# The version stands here for our binary, which would take 40 ms of every run to ask for it.
ARG BUILDX_VERSION=0.37.1

FROM docker/buildx-bin:0.37.1@sha256:0ef4e936b9057e45a8c6595c01a8116353acd102b6a5720af7c3bcb50346e2ca AS buildx

FROM rust:1.95.0-bookworm@sha256:6258907abe69656e41cd992e0b705cdcfabcbbe3db374f92ed2d47121282d4a1 AS toolchain

FROM scratch AS base

# The push engine's program for other architectures. A release brings it from machines of those; else there is none.
FROM scratch AS steps

# What Cargo wants to see before it compiles a dependency: the manifests, and a file for every target. With anything else gone,
# the stage below stays in the cache when only our own code changes.
FROM toolchain AS manifests
WORKDIR /source
COPY Cargo.toml Cargo.lock ./
COPY crates crates
COPY testkit testkit
COPY tools tools
RUN find . -type f -not -name 'Cargo.*' -not -path './crates/*/src/lib.rs' -not -path './crates/*/src/main.rs' -delete \
    && find . -type d -empty -delete \
    && for folder in . testkit/* tools/*; do mkdir -p "$folder/src" && touch "$folder/src/main.rs"; done \
    && touch testkit/aws/src/lib.rs testkit/readers/src/lib.rs \
    && awk -F '"' 'FNR == 1 { base = FILENAME; sub(/Cargo.toml$/, "", base) } \
        /^\[/ { folder = /test/ ? "tests/" : /bench/ ? "benches/" : "" } \
        folder && /^name = / { print base folder $2 ".rs" }' Cargo.toml ./*/*/Cargo.toml >targets \
    && while read -r target; do mkdir -p "${target%/*}" && touch "$target"; done <targets \
    && rm targets \
    && echo 'fn main() {}' >src/main.rs \
    && for file in crates/*/src/*.rs; do cp src/main.rs "$file"; done

# What comes from crates.io, compiled before our own code is there.
FROM toolchain AS dependencies
WORKDIR /source
# Static, as the final image has no C library. glibc has looked up names without loading plugins since 2.34
# (https://sourceware.org/legacy-ml/libc-announce/2021/msg00002.html). With `--target`, flags are not for build scripts and macros.
ENV RUSTFLAGS="-C target-feature=+crt-static"
COPY --from=manifests /source ./
RUN cargo build --locked --profile dist --package fast-ecr-push --package fast-ecr-push-step --target "$(rustc --print host-tuple)"

FROM dependencies AS compile
COPY crates crates
COPY src src
# A page that is also the header of a module, and the Role that an error names.
COPY docs/tags.md docs/
COPY examples/eks/role.yaml examples/eks/
# Newer than the placeholder, whatever the clock of the checkout said.
RUN find crates src -name '*.rs' -exec touch {} + \
    && cargo build --locked --profile dist --package fast-ecr-push --package fast-ecr-push-step --target "$(rustc --print host-tuple)" \
    && mv target/*/dist/fast-ecr-push target/*/dist/fast-ecr-push-step /

# Our files, laid out; the final stage has no shell.
FROM toolchain AS tree
ARG SOURCE_DATE_EPOCH=0
WORKDIR /tree
COPY --from=compile /fast-ecr-push usr/local/bin/
COPY --from=steps / usr/local/libexec/fast-ecr-push/
# The push engine runs it as a build step, and finds it by the architecture's name in Docker's words.
COPY --from=compile /fast-ecr-push-step /step
# Docker calls a credential helper, and the runner the post step, by name.
RUN install -D /step "usr/local/libexec/fast-ecr-push/fast-ecr-push-step-$(dpkg --print-architecture)" \
    && ln -s fast-ecr-push usr/local/bin/docker-credential-fast-ecr-push \
    && ln -s fast-ecr-push usr/local/bin/fast-ecr-push-post \
    && install -D --mode 644 /etc/ssl/certs/ca-certificates.crt etc/ssl/certs/ca-certificates.crt \
    && mkdir --mode 1777 tmp \
    && find . -exec touch --no-dereference --date "@$SOURCE_DATE_EPOCH" {} +

# The program for this architecture alone, which a release puts into the images of others.
FROM scratch AS step
COPY --from=tree /tree/usr/local/libexec/fast-ecr-push/ /

FROM base
ARG BUILDX_VERSION
ENV PATH=/usr/local/bin \
    FAST_ECR_PUSH_BUILDX_VERSION=$BUILDX_VERSION
COPY --from=buildx /buildx /usr/local/bin/buildx
COPY --from=tree /tree/ /
ENTRYPOINT ["/usr/local/bin/fast-ecr-push"]
