//! What needs the stand-in's tricks: troubles by script, faults of the API, refused credentials,
//! clocks, two BuildKits, and records of every call.

mod between;
mod cache;
mod cancel;
mod eks;
mod left;
mod load;
mod long;
mod network;
mod nodes;
mod removal;
mod stateful;
mod times;
mod troubles;
mod unchanged;

use std::time::Duration;

/// What the default script takes from the Deployment to its ready pod.
const POD: Duration = Duration::from_millis(50 + 100 + 100 + 1000);
