//! What tests say to the AWS stand-in, and what it tells them: the harness of `rig exec --aws`.
//!
//! Each test takes an account of its own ([`Account::new`]), which nobody else uses: repositories, tokens, rules and
//! records are an account's, so tests need not wait for each other.
//!
//! ```no_run
//! let account = aws_stand_in::Account::new();
//! account.repository("team/app").immutable_except(&["cache*"]).create();
//! let tag = format!("{}/team/app:1", account.host());
//! ```

mod account;
mod http;
mod message;
pub mod names;

pub use account::{Account, Repository};
pub use http::send;
pub use message::{Answer, Call, Command, Fault, On, Record, Request, Resource};
