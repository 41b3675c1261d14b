//! The brackets before a vertex's name: `[linux/arm64 builder 2/4] RUN make`.
//!
//! Written by BuildKit's Dockerfile frontend:
//! <https://github.com/moby/buildkit/blob/73ed6825c4b7569379ef89df0aedcdbe64473d31/frontend/dockerfile/dockerfile2llb/convert.go#L1950-L1992>.

/// Where in the Dockerfile a vertex belongs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Label {
    pub platform: Option<String>,
    pub stage: Option<String>,
    /// Whether the name has a position such as `2/4`: only the Dockerfile's steps do.
    pub numbered: bool,
}

/// Splits `[builder 2/4] RUN make` into `builder`, `2/4` and the rest.
pub(super) fn bracketed(name: &str) -> Option<(Vec<&str>, &str)> {
    let (place, command) = name.strip_prefix('[')?.split_once("] ")?;
    Some((place.split_whitespace().collect(), command))
}

pub(crate) fn command(name: &str) -> &str {
    bracketed(name).map_or(name, |(_, command)| command)
}

/// Reads platform and stage from a vertex's name.
///
/// `[2/4] RUN make` has neither; a cross build is `[linux/amd64->arm64 builder 2/4] …`.
pub(super) fn label(name: &str) -> Label {
    let mut label = Label::default();
    let Some((place, _)) = bracketed(name) else {
        return label;
    };
    let Some((position, before)) = place.split_last() else {
        return label;
    };
    label.numbered = is_position(position);
    for word in if label.numbered { before } else { &place } {
        if is_platform(word) {
            label.platform = Some((*word).to_owned());
        } else if label.numbered {
            label.stage = Some((*word).to_owned());
        }
    }
    label
}

fn is_position(word: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    word.split_once('/')
        .is_some_and(|(n, m)| digits(n) && digits(m))
}

// A stage's name has no slash: <https://github.com/moby/buildkit/blob/73ed6825c4b7569379ef89df0aedcdbe64473d31/frontend/dockerfile/instructions/parse.go>.
fn is_platform(word: &str) -> bool {
    word.split_once('/')
        .is_some_and(|(os, _)| ["linux", "windows", "darwin", "freebsd", "wasi"].contains(&os))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_read_from_the_brackets() {
        let cases = [
            ("[2/4] RUN make", None, None),
            ("[builder 2/4] RUN make", None, Some("builder")),
            ("[builder  2/14] RUN make", None, Some("builder")),
            (
                "[linux/arm64 builder 2/4] RUN make",
                Some("linux/arm64"),
                Some("builder"),
            ),
            (
                "[linux/amd64->arm64 builder 2/4] RUN make",
                Some("linux/amd64->arm64"),
                Some("builder"),
            ),
            (
                "[linux/arm/v7 stage-1 2/4] RUN make",
                Some("linux/arm/v7"),
                Some("stage-1"),
            ),
            ("[linux/arm64 2/4] RUN make", Some("linux/arm64"), None),
            (
                "[linux/arm64 internal] load metadata for a",
                Some("linux/arm64"),
                None,
            ),
            ("[internal] load build context", None, None),
            ("exporting to image", None, None),
            ("[] ", None, None),
        ];
        for (name, platform, stage) in cases {
            let found = label(name);
            assert_eq!(
                (found.platform.as_deref(), found.stage.as_deref()),
                (platform, stage),
                "{name}"
            );
        }
    }
}
