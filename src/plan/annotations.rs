//! Annotations as buildx takes them: `NAME=VALUE`, or with levels in front, `manifest[linux/arm64],index:NAME=VALUE`
//! (<https://docs.docker.com/build/metadata/annotations/>).

use super::Fallback;

/// What an annotation is written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    Manifest,
    /// The manifest's descriptor in the index.
    ManifestDescriptor,
    Index,
    /// The index's descriptor, which metadata alone has.
    IndexDescriptor,
}

/// An annotation of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Annotation<'a> {
    /// Each with its platform, if it is for that alone.
    levels: Vec<(Level, Option<&'a str>)>,
    pub name: &'a str,
    pub value: &'a str,
}

impl<'a> Annotation<'a> {
    /// Reads one; none if it has no value. A name that begins with anything but levels has none.
    pub(crate) fn read(text: &'a str) -> Option<Self> {
        let (name, value) = text.split_once('=')?;
        let with_levels = name.split_once(':').and_then(|(levels, name)| {
            let levels: Option<Vec<_>> = levels.split(',').map(level).collect();
            Some((levels?, name))
        });
        let (levels, name) = with_levels.unwrap_or((vec![(Level::Manifest, None)], name));
        Some(Self {
            levels,
            name,
            value,
        })
    }

    /// Whether it is written to this level, for all platforms.
    pub(crate) fn is_of(&self, level: Level) -> bool {
        self.levels.contains(&(level, None))
    }
}

fn level(text: &str) -> Option<(Level, Option<&str>)> {
    let (name, platform) = match text.strip_suffix(']') {
        Some(text) => text
            .split_once('[')
            .map(|(name, platform)| (name, Some(platform)))?,
        None => (text, None),
    };
    let level = match name {
        "manifest" => Level::Manifest,
        "manifest-descriptor" => Level::ManifestDescriptor,
        "index" => Level::Index,
        "index-descriptor" => Level::IndexDescriptor,
        _ => return None,
    };
    Some((level, platform))
}

/// Those of a level, by name; of a manifest or its descriptor for this platform.
pub(super) fn of(given: &[String], level: Level, platform: Option<&str>) -> Vec<(String, String)> {
    let read = given.iter().filter_map(|text| Annotation::read(text));
    let is_here = |annotation: &Annotation<'_>| {
        annotation.is_of(level)
            || (platform.is_some() && annotation.levels.contains(&(level, platform)))
    };
    read.filter(is_here)
        .map(|annotation| (annotation.name.to_owned(), annotation.value.to_owned()))
        .collect()
}

/// Refuses those for a platform that the image is not built for: what BuildKit makes of them is its own.
pub(super) fn check(given: &[String], platforms: &[String]) -> Result<(), Fallback> {
    let read = given
        .iter()
        .filter_map(|text| Some((text, Annotation::read(text)?)));
    for (text, annotation) in read {
        let mut named = annotation.levels.iter().filter_map(|(_, named)| *named);
        if named.any(|named| platforms.iter().all(|platform| platform != named)) {
            let (name, _) = text.split_once('=').unwrap_or((text, ""));
            return Err(Fallback::PlatformAnnotation(name.to_owned()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given() -> Vec<String> {
        let given = [
            "a=1",
            "manifest:b=2=3",
            "index:c=4",
            "index,manifest-descriptor[linux/arm64]:d=5",
            "manifest[linux/arm64]:e=6",
            "manifest,index-descriptor:f=7",
            "org.example:g=8",
            "index-descriptor:h",
        ];
        given.map(str::to_owned).to_vec()
    }

    #[test]
    fn an_annotation_is_written_to_its_levels() {
        let of = |level, platform| -> Vec<String> {
            let found = of(&given(), level, platform).into_iter();
            found
                .map(|(name, value)| format!("{name}={value}"))
                .collect()
        };
        let (amd64, arm64) = (Some("linux/amd64"), Some("linux/arm64"));
        let all = ["a=1", "b=2=3", "f=7", "org.example:g=8"];
        assert_eq!(of(Level::Manifest, None), all);
        assert_eq!(of(Level::Manifest, amd64), all);
        assert_eq!(
            of(Level::Manifest, arm64),
            ["a=1", "b=2=3", "e=6", "f=7", "org.example:g=8"]
        );
        assert_eq!(of(Level::ManifestDescriptor, arm64), ["d=5"]);
        assert_eq!(of(Level::ManifestDescriptor, amd64), [""; 0]);
        assert_eq!(of(Level::Index, None), ["c=4", "d=5"]);
        assert_eq!(of(Level::IndexDescriptor, None), ["f=7"]);
    }

    #[test]
    fn an_annotation_of_another_platform_is_buildkits() {
        let platforms =
            |given: &str| -> Vec<String> { given.split_whitespace().map(str::to_owned).collect() };
        assert_eq!(
            check(&given(), &platforms("linux/amd64 linux/arm64")),
            Ok(())
        );
        for other in ["", "linux/amd64", "linux/amd64 linux/arm64/v8"] {
            let found = check(&given(), &platforms(other));
            let name = "index,manifest-descriptor[linux/arm64]:d".to_owned();
            assert_eq!(found, Err(Fallback::PlatformAnnotation(name)), "{other}");
        }
    }
}
