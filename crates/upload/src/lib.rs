//! A registry client that uploads blobs while they are being made.
//!
//! In: content, in memory or from threads that produce it ([`Blob`], [`Writer`]), and credentials as values. Out: blobs
//! in one or several registries over many streams, then manifests and tags. Nothing is read from the environment.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::io::Write as _;
//! use upload::{Blob, Memory, RegistrySettings, Settings, Uploader};
//!
//! let uploader = Uploader::start(&Settings::default())?;
//! let registry = uploader.registry(RegistrySettings::new("127.0.0.1:5000"))?;
//! let repository = registry.repository("team/app");
//! let memory = Memory::new(128 << 20, 48 << 20);
//!
//! let (mut writer, blob) = Blob::written(&memory);
//! let layer = repository.push(blob);
//! writer.write_all(b"a layer, as it is packed")?;
//! writer.finish()?;
//! let config = repository.push(Blob::bytes(b"{}".as_slice().into()));
//! let blobs = [config.wait()?, layer.wait()?];
//!
//! # let (media_type, manifest) = ("", b"".as_slice());
//! let image = repository.complete(media_type, manifest, &blobs, &[])?;
//! uploader.publish(vec![(image, vec!["1.0".to_owned()])]).wait()?;
//! # Ok(())
//! # }
//! ```
//!
//! - A blob's way and the choice of requests: `push`. Another try, from memory or made again: `spool`, [`Blob::with_repeat`].
//! - How many uploads run at a time: `gate`, [`Streams`]. Quotas of Amazon ECR: `bucket`.
//! - A tag never names an incomplete image: `manifest`, [`Present`], [`Complete`].
//! - The specification: <https://github.com/opencontainers/distribution-spec/blob/main/spec.md>.

mod blob;
mod body;
mod bucket;
mod challenge;
mod connection;
mod credentials;
mod error;
mod gate;
mod host;
mod location;
mod manifest;
mod progress;
mod push;
mod reach;
mod repository;
mod retry;
mod retry_after;
mod settings;
mod spool;
mod uploader;
mod watched;

pub use blob::{Blob, Descriptor};
pub use connection::{Proxies, SettingsError};
pub use credentials::Credentials;
pub use error::{Answer, BoxError, Cause, Error, Place, SHOWN};
pub use gate::{Change, Streams};
pub use location::LocationError;
pub use manifest::{Complete, PublishError, Stored};
pub use progress::{Event, How, Observer, Progress};
pub use push::Present;
pub use repository::{Fetched, MANIFEST_LIMIT};
pub use settings::{RegistrySettings, Timing};
pub use spool::{Memory, Writer};
pub use uploader::{Download, Pending, Registry, Repository, Settings, Uploader};
