//! What measures load, which the end-to-end tests use, too.

#[path = "../../../../tests/e2e/load/job.rs"]
pub(crate) mod job;
#[path = "../../../../tests/e2e/load/machine.rs"]
#[expect(dead_code, reason = "the end-to-end tests use more of it")]
pub(crate) mod machine;
#[path = "../../../../tests/e2e/load/many.rs"]
#[expect(dead_code, reason = "the end-to-end tests use more of it")]
pub(crate) mod many;
#[path = "../../../../tests/e2e/load/table.rs"]
pub(crate) mod table;
