//! placeholder
use crate::diff::Diff;
/// A layer to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    pub(crate) entries: Vec<usize>,
    pub(crate) removed: Vec<usize>,
}
impl Layer {
    /// Everything in one layer.
    pub fn whole(diff: &Diff) -> Self {
        Self {
            entries: (0..diff.entries.len()).collect(),
            removed: (0..diff.removed.len()).collect(),
        }
    }
}
