//! Who uses whom, directly or by others.

use std::collections::{BTreeMap, BTreeSet};

/// A module, and those that it uses itself.
pub(super) type Uses<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

/// All that one uses, directly or by others.
pub(super) fn reach<'a>(uses: &Uses<'a>, from: &'a str) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    let mut pending = vec![from];
    while let Some(name) = pending.pop() {
        let new = uses.get(name).into_iter().flatten();
        pending.extend(new.copied().filter(|next| seen.insert(*next)));
    }
    seen
}

/// Groups whose members use each other, as `one, another`.
pub(super) fn cycles(uses: &Uses<'_>) -> BTreeSet<String> {
    let reached: BTreeMap<&str, BTreeSet<&str>> =
        uses.keys().map(|name| (*name, reach(uses, name))).collect();
    let members = reached.iter().filter(|(name, seen)| seen.contains(*name));
    members
        .map(|(name, seen)| {
            let back = seen.iter().filter(|other| reached[*other].contains(name));
            back.copied().collect::<Vec<_>>().join(", ")
        })
        .collect()
}
