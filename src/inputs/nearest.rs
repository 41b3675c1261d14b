//! The name that was probably meant.

/// The name that is most like another one, if one is.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let likenesses = known.map(|known| (strsim::jaro_winkler(name, known), known));
    let near = likenesses.filter(|(likeness, _)| *likeness > 0.85);
    let nearest = near.max_by(|one, other| one.0.total_cmp(&other.0));
    nearest.map(|(_, known)| known)
}
