//! Why BuildKit pushes an image itself where the push engine was wanted: all reasons, from the plan, the Dockerfile and the build.
//!
//! docs/push-engine.md lists them; a test keeps it so.

use thiserror::Error;

/// Makes the reasons: a name, what the log says, `{0}` for what is special, and what the documentation adds.
macro_rules! fallbacks {
    ($($name:ident $(($shown:literal))? => $message:literal, $why:literal;)*) => {
        /// Why BuildKit pushes.
        #[derive(Debug, Clone, PartialEq, Eq, Error)]
        pub(crate) enum Fallback {
            $(#[error($message)] $name $((#[doc = concat!("`", $shown, "`")] String))?,)*
        }

        /// What the log says, and what the documentation adds.
        #[cfg(test)]
        pub(crate) const FALLBACKS: &[(&str, &str)] =
            &[$((concat!($message $(, "\0", $shown)?), $why)),*];
    };
}

fallbacks! {
    Buildx("0.28.0") => "the push engine needs buildx 0.29.0 or newer, and this is {0}",
        "`bake` of older ones was not tried";
    NoStep => "the build step of the push engine is not installed",
        "outside of the action's image, `FAST_ECR_PUSH_STEP` names its folder";
    NoStepFor("arm64") => "the build step of the push engine is not installed for {0}, the builder's architecture",
        "a release has it for amd64 and arm64; an image that is built from the Dockerfile has it for its own architecture";
    Outputs => "`outputs` says how BuildKit is to export the image",
        "the engine exports nothing";
    Digest => "the image is pushed by its digest",
        "as above";
    Load => "`load` takes the image from BuildKit's export",
        "as above";
    Attestations => "BuildKit makes attestations when it exports an image",
        "`provenance`, `sbom`, `attests`";
    Taken => "a tag exists and can't move, so that the image has to be the one that BuildKit made",
        "immutable tags";
    Platforms("6") => "the image is for {0} platforms",
        "the engine pushes at most 4, all at the same time";
    ClassicPlatforms => "the Engine's classic image store holds no image for several platforms",
        "containerd's does";
    Replicas => "a node of the builder has several pods",
        "`replicas`: the engine's step runs in one, and sees the files of that alone";
    HostNetwork => "`buildkitd-flags` does not allow `network.host`, which the build step needs to reach the registry",
        "the default flags allow it";
    InlineCache => "the inline cache is part of BuildKit's export",
        "`cache: inline`, `cache-to: type=inline`";
    Cache => "BuildKit has to compress the layers anyway for the cache, and its disk is new in every run",
        "not with `accelerate: on`: the image is there sooner, and the job ends later";
    CgroupParent => "`cgroup-parent` is set, which buildx's `bake` does not know",
        "";
    Compression("estargz") => "the push engine does not make layers of `compression: {0}`",
        "also `uncompressed`";
    PlatformAnnotation("manifest[linux/arm64]:a") => "the annotation `{0}` names a platform that `platforms` does not",
        "";
    DockerfileAddress("https://example.com/Dockerfile") => "the Dockerfile is at `{0}`",
        "the engine reads Dockerfiles of folders and Git repositories";
    Dockerfile("line 3: …") => "the push engine does not understand the Dockerfile: {0}",
        "another frontend, or an instruction or flag that is not known: nothing is guessed";
    Context("tools") => "the image starts from the context `{0}`, which is no image",
        "a folder has no configuration";
    NoBaseName => "the base image has no name in a registry",
        "";
    LocalBase => "the base image is in the Engine's classic store only, and in no registry",
        "that store does not know how layers were compressed";
    Trigger("[1/1] RUN make") => "the base image has ONBUILD instructions ({0})",
        "they would run for the configuration, too";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_says_what_is_special() {
        let text = Fallback::Context("tools".to_owned()).to_string();
        assert_eq!(
            text,
            "the image starts from the context `tools`, which is no image"
        );
    }
}
