//! What happens while buildx runs.

pub(crate) mod rawjson;
