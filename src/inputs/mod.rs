//! What the user asked for, as it was typed: the grammars of the action's inputs.

pub(crate) mod list;
