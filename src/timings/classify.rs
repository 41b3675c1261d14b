//! The phase of a vertex or a status, by the name that BuildKit or buildx gives it.
//!
//! In: names. Out: [`Phase`] and [`Clock`]. Names are no interface, so each rule cites the source line that makes the name;
//! BK is <https://github.com/moby/buildkit/blob/73ed6825c4b7569379ef89df0aedcdbe64473d31/>,
//! BX is <https://github.com/docker/buildx/blob/461836ba0fcb3e847dab6045a726889faa150bdb/>.

use super::Phase;
use super::clock::Clock;
use super::label::bracketed;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Class {
    pub phase: Phase,
    pub clock: Clock,
    /// Counts only while nothing else runs.
    pub weak: bool,
}

pub(super) fn vertex(name: &str) -> Class {
    let class = |phase, clock, weak| Class { phase, clock, weak };
    if let Some(phase) = of_buildx(name) {
        return class(phase, Clock::Arrival, false);
    }
    let Some((place, command)) = bracketed(name) else {
        return class(unbracketed(name), Clock::Builder, false);
    };
    if place.contains(&"auth") {
        // `[auth] app:pull,push token for 127.0.0.1:5000`, `[auth] sharing credentials for …` BK session/auth/authprovider/authprovider.go#L135
        let pushes = command.contains("push");
        let phase = if pushes { Phase::Push } else { Phase::Pull };
        return class(phase, Clock::Arrival, true);
    }
    let phase = if place.last() == Some(&"internal") {
        internal(command)
    } else if place.contains(&"context") {
        named_context(command)
    } else if command.starts_with("FROM ") || command.starts_with("load metadata for ") {
        // `[builder 1/4] FROM docker.io/library/rust:1@sha256:…` BK frontend/dockerfile/dockerfile2llb/convert.go#L749
        Phase::Pull
    } else {
        // `[linux/amd64 builder 2/4] RUN make`, `[stage-1 3/3] LINK COPY …` BK frontend/dockerfile/dockerfile2llb/convert.go#L1950-L1967;
        // `[linux/amd64] generating sbom using …` BK frontend/attestations/sbom/sbom.go#L74
        Phase::Build
    };
    class(phase, Clock::Builder, false)
}

/// Classifies a status inside a vertex; `None` if it has its vertex's phase.
pub(super) fn status(vertex: Phase, id: &str) -> Option<Phase> {
    match vertex {
        // `pushing layers`, `pushing manifest for REF@DIGEST` BK util/push/push.go#L131-L141
        Phase::Export | Phase::Push if id.starts_with("pushing ") => Some(Phase::Push),
        // Layers fetched meanwhile are part of the cache's cost.
        Phase::CacheExport | Phase::CacheImport | Phase::Builder => None,
        _ if is_pull(id) => Some(Phase::Pull),
        _ => None,
    }
}

// `resolve docker.io/library/busybox:latest` BK source/containerimage/pull.go#L128, `sha256:…` BK util/pull/pullprogress/progress.go#L119,
// `extracting sha256:…` BK cache/refs.go#L1383. They occur in any vertex whose input is fetched lazily.
fn is_pull(id: &str) -> bool {
    ["sha256:", "extracting sha256:", "resolve "]
        .iter()
        .any(|start| id.starts_with(start))
}

/// Vertices of buildx itself.
fn of_buildx(name: &str) -> Option<Phase> {
    match name {
        // BX driver/docker-container/driver.go#L75 (statuses `pulling image moby/buildkit:…`, `creating container …`), driver/kubernetes/driver.go#L74
        "[internal] booting buildkit"
        // BX driver/remote/driver.go#L51
        | "[internal] waiting for connection" => Some(Phase::Builder),
        // BX commands/bake.go#L727
        "[internal] load local bake definitions" => Some(Phase::Context),
        // BX util/dockerutil/client.go#L63
        "importing to docker"
        // BX build/provenance.go#L31
        | "resolving provenance for metadata file" => Some(Phase::Export),
        // `pushing REF with docker` BX build/build.go#L757
        _ if name.starts_with("pushing ")
        // `merging manifest list REF,REF` BX build/build.go#L819
        || name.starts_with("merging manifest list ") => Some(Phase::Push),
        // `loading policies FILE, FILE` BX build/opt.go#L725
        _ if name.starts_with("loading policies ") => Some(Phase::Context),
        _ => None,
    }
}

/// Beginnings of the names of BuildKit's own vertices; the first match counts.
const UNBRACKETED: [(&str, Phase); 17] = [
    // BK solver/llbsolver/bridge.go#L114
    ("importing cache manifest from ", Phase::CacheImport),
    // `exporting cache to registry`, `… to client directory`, `… to Amazon S3`, `… to Azure Blob Storage`, BK cache/remotecache/*, the `Name()` of each
    ("exporting cache ", Phase::CacheExport),
    ("exporting content cache", Phase::CacheExport),
    ("exporting inline cache", Phase::CacheExport),
    ("exporting to GitHub Actions Cache", Phase::CacheExport),
    // `exporting to image`, `… to docker image format`, `… to client directory`, `… to client tarball`, BK exporter/*, the `Name()` of each
    ("exporting to ", Phase::Export),
    // BK solver/llbsolver/export.go#L238
    ("Verifying build result", Phase::Export),
    // A vertex until BuildKit 0.12, a status since: BK solver/llbsolver/export.go#L164
    ("preparing layers for inline cache", Phase::Export),
    // `resolve image config for docker-image://docker.io/docker/dockerfile:1`, BK solver/llbsolver/bridge.go#L258
    ("resolve image config for ", Phase::Pull),
    // A source without a name has its identifier, BK solver/llbsolver/vertex.go#L471
    ("docker-image://", Phase::Pull),
    ("local://", Phase::Context),
    ("git://", Phase::Context),
    ("http://", Phase::Context),
    ("https://", Phase::Context),
    ("oci-layout://", Phase::Context),
    // `merge (…)`, `diff … -> …`, BK solver/llbsolver/vertex.go#L479-L501
    ("merge (", Phase::Build),
    ("diff ", Phase::Build),
];

fn unbracketed(name: &str) -> Phase {
    let known = UNBRACKETED
        .iter()
        .find(|(start, _)| name.starts_with(start));
    known.map_or(Phase::Other, |(_, phase)| *phase)
}

fn internal(command: &str) -> Phase {
    // `[internal] load metadata for docker.io/library/busybox:latest` BK frontend/dockerfile/dockerfile2llb/convert.go#L697
    if command.starts_with("load metadata for ") {
        Phase::Pull
    // `[internal] load build definition from Dockerfile`, `load .dockerignore`, `load build context` BK frontend/dockerui/config.go#L359-L541,
    // `load git source …`, `load remote build context`, `resolve main build context metadata` BK frontend/dockerui/context.go#L186-L331,
    // `load https://…` BX build/url.go#L28, `resolve SOURCE_DATE_EPOCH …` BK frontend/dockerfile/dockerfile2llb/epoch.go#L85
    } else if command.starts_with("load ") || command.starts_with("resolve ") {
        Phase::Context
    // `[internal] setting cache mount permissions` (`settings …` before BuildKit 0.16) BK frontend/dockerfile/dockerfile2llb/convert_runmount.go#L61,
    // `preparing inline document` convert.go#L1375
    } else if command.starts_with("setting") || command == "preparing inline document" {
        Phase::Build
    } else {
        Phase::Other
    }
}

// `[context NAME] load metadata for REF`, `[context NAME] REF`, `[context NAME] load from client`, `[context NAME] https://…`,
// `[context NAME] OCI load from client` BK frontend/dockerui/namedcontext.go#L86-L340
fn named_context(command: &str) -> Phase {
    let fetched = [
        "load .dockerignore",
        "load from client",
        "OCI load from client",
        "git",
        "http",
    ];
    if fetched.iter().any(|start| command.starts_with(start)) {
        Phase::Context
    } else {
        Phase::Pull
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vertices_are_classified_by_name() {
        let cases = [
            (
                "[internal] load build definition from Dockerfile",
                Phase::Context,
            ),
            ("[internal] load .dockerignore", Phase::Context),
            ("[internal] load build context", Phase::Context),
            (
                "[internal] load git source https://github.com/o/r.git#main",
                Phase::Context,
            ),
            ("[internal] load remote build context", Phase::Context),
            ("[app internal] load build context", Phase::Context),
            ("[context base] load from client", Phase::Context),
            ("[context src] https://github.com/o/r.git", Phase::Context),
            (
                "[context base] docker.io/library/rust:1@sha256:ab",
                Phase::Pull,
            ),
            (
                "[context base] load metadata for docker.io/library/rust:1",
                Phase::Pull,
            ),
            (
                "[internal] load metadata for docker.io/library/rust:1",
                Phase::Pull,
            ),
            (
                "[linux/arm64 internal] load metadata for docker.io/library/rust:1",
                Phase::Pull,
            ),
            (
                "resolve image config for docker-image://docker.io/docker/dockerfile:1",
                Phase::Pull,
            ),
            (
                "resolve image config for docker.io/docker/dockerfile:1",
                Phase::Pull,
            ),
            (
                "docker-image://docker.io/docker/dockerfile:1@sha256:ab",
                Phase::Pull,
            ),
            (
                "[builder  1/12] FROM docker.io/library/rust:1@sha256:ab",
                Phase::Pull,
            ),
            ("FROM docker.io/library/rust:1", Phase::Other),
            ("[2/4] RUN make", Phase::Build),
            ("[linux/amd64->arm64 builder 2/4] RUN make", Phase::Build),
            (
                "[stage-1 3/3] LINK COPY --link --from=builder /app /",
                Phase::Build,
            ),
            ("[2/2] ADD https://example.com/big.tar /", Phase::Build),
            ("[3/3] RUN echo '] FROM '", Phase::Build),
            ("[internal] setting cache mount permissions", Phase::Build),
            ("[internal] settings cache mount permissions", Phase::Build),
            (
                "[linux/amd64] generating sbom using docker.io/docker/buildkit-syft-scanner:stable-1",
                Phase::Build,
            ),
            ("merge ([1/2] FROM a, [2/2] COPY b)", Phase::Build),
            (
                "importing cache manifest from registry/app:buildcache",
                Phase::CacheImport,
            ),
            ("exporting to image", Phase::Export),
            ("exporting to oci image format", Phase::Export),
            ("exporting to client directory", Phase::Export),
            ("importing to docker", Phase::Export),
            ("pushing registry/app:1 with docker", Phase::Push),
            ("merging manifest list registry/app:1", Phase::Push),
            ("exporting cache to registry", Phase::CacheExport),
            ("exporting to GitHub Actions Cache", Phase::CacheExport),
            (
                "exporting cache to GitHub Actions Cache",
                Phase::CacheExport,
            ),
            ("exporting content cache", Phase::CacheExport),
            ("[internal] booting buildkit", Phase::Builder),
            ("[internal] waiting for connection", Phase::Builder),
            ("[auth] app:pull,push token for registry", Phase::Push),
            (
                "[auth] library/rust:pull token for registry-1.docker.io",
                Phase::Pull,
            ),
            ("[auth] sharing credentials for registry", Phase::Pull),
            ("[internal] something new", Phase::Other),
            ("compiling", Phase::Other),
            ("", Phase::Other),
            ("[", Phase::Other),
            ("[] ", Phase::Build),
        ];
        for (name, expected) in cases {
            assert_eq!(vertex(name).phase, expected, "{name}");
        }
    }

    #[test]
    fn vertices_of_buildx_are_timed_by_arrival_and_tokens_are_weak() {
        let cases = [
            ("[internal] booting buildkit", Clock::Arrival, false),
            ("importing to docker", Clock::Arrival, false),
            (
                "resolving provenance for metadata file",
                Clock::Arrival,
                false,
            ),
            (
                "[auth] sharing credentials for registry",
                Clock::Arrival,
                true,
            ),
            ("[internal] load build context", Clock::Builder, false),
            ("exporting to image", Clock::Builder, false),
        ];
        for (name, clock, weak) in cases {
            let class = vertex(name);
            assert_eq!((class.clock, class.weak), (clock, weak), "{name}");
        }
    }

    #[test]
    fn statuses_are_classified_within_their_vertex() {
        let cases = [
            (Phase::Export, "exporting layers", None),
            (Phase::Export, "preparing layers for inline cache", None),
            (Phase::Export, "pushing layers", Some(Phase::Push)),
            (
                Phase::Export,
                "pushing manifest for registry/app:1@sha256:ab",
                Some(Phase::Push),
            ),
            (Phase::Export, "sha256:ab", Some(Phase::Pull)),
            (Phase::Build, "sha256:ab", Some(Phase::Pull)),
            (Phase::Build, "extracting sha256:ab", Some(Phase::Pull)),
            (Phase::Build, "merging", None),
            (
                Phase::Pull,
                "resolve docker.io/library/rust:1",
                Some(Phase::Pull),
            ),
            (Phase::Context, "transferring context:", None),
            (Phase::CacheExport, "preparing build cache for export", None),
            (Phase::CacheExport, "writing layer sha256:ab", None),
            (Phase::CacheExport, "sha256:ab", None),
            (
                Phase::Builder,
                "pulling image moby/buildkit:buildx-stable-1",
                None,
            ),
        ];
        for (vertex, id, expected) in cases {
            assert_eq!(status(vertex, id), expected, "{id} in {vertex:?}");
        }
    }
}
