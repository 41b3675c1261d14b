//! Lists and attributes, as Docker's actions and buildx write them: text in, items out, and back.

pub mod attributes;
pub mod list;
