//! Facts from outside that the plan needs, as values: which buildx, which Docker Engine.
//!
//! In: the environment, and facts given by hand (`--fact name=value`), which are not probed.
//! Out: [`Facts`]. An Engine that can't be reached is a fact, too: with another builder it would
//! not matter. The Engine's API: <https://docs.docker.com/reference/api/engine/>.

mod address;
mod buildx;
pub(crate) mod cluster;
mod engine;

use std::collections::BTreeMap;
use std::ffi::OsString;

use image::Mutability;
use jiff::Timestamp;
use semver::Version;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use crate::credentials::kubeconfig::Access;
use crate::process::ProcessError;
use crate::runner::env::Env;

pub(crate) use address::Address;
pub(crate) use buildx::Buildx;
pub(crate) use engine::{Engine, ImageStore};

/// The oldest buildx whose options and metadata we rely on (January 2024).
pub(crate) const OLDEST_BUILDX: Version = Version::new(0, 13, 0);

/// What the plan may know of the world.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    pub buildx: Buildx,
    /// The Docker Engine, or why there is none.
    pub engine: Result<Engine, String>,
    /// Registry host of the AWS account, when the inputs don't name one.
    pub registry: Option<String>,
    /// The region of the AWS configuration, where an input needs one.
    pub region: Option<String>,
    /// The time that `{{date}}` prints.
    pub now: Timestamp,
    /// The way into the cluster that is to build. None where another builder takes over.
    pub cluster: Option<Access>,
    /// Which tags may move, by `host/repository`, as far as somebody has asked.
    pub repositories: BTreeMap<String, Mutability>,
}

impl Facts {
    /// Where the Engine listens, if there is one.
    pub(crate) fn engine_address(&self) -> Option<&Address> {
        self.engine.as_ref().ok().map(|engine| &engine.address)
    }

    /// The variables that lead buildx to the Engine.
    pub(crate) fn engine_variables(&self) -> BTreeMap<String, OsString> {
        let address = self.engine_address();
        address.map_or_else(BTreeMap::new, Address::variables)
    }
}

#[cfg(test)]
impl Facts {
    /// A machine of today.
    pub(crate) fn example(store: ImageStore) -> Self {
        Self {
            buildx: Buildx {
                program: "buildx".into(),
                version: Version::new(0, 37, 1),
            },
            engine: Ok(Engine {
                address: Address::usual(),
                version: "28.5.2".to_owned(),
                store,
                platform: "linux/amd64".to_owned(),
            }),
            registry: Some("123456789012.dkr.ecr.eu-west-1.amazonaws.com".to_owned()),
            region: None,
            now: "2026-11-23T12:00:00Z".parse().expect("a time"),
            cluster: None,
            repositories: BTreeMap::new(),
        }
    }
}

/// A fact could not be found out, or one given by hand makes no sense.
#[derive(Debug, Error)]
pub(crate) enum FactsError {
    #[error(
        "could not find buildx: no `buildx` or `docker-buildx` in PATH or among Docker's plugins"
    )]
    NoBuildx,
    #[error("could not ask buildx for its version")]
    BuildxVersion(#[source] ProcessError),
    #[error("could not read buildx's version from `{0}`")]
    UnknownVersion(String),
    #[error("fact `{given}`: expected {expected}")]
    BadFact { given: String, expected: String },
}

impl FactsError {
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::NoBuildx => Some(
                "install Docker Buildx: https://docs.docker.com/build/install-buildx/".to_owned(),
            ),
            Self::UnknownVersion(_) => Some(format!(
                "is it Docker Buildx {OLDEST_BUILDX} or newer? `docker buildx version` tells"
            )),
            Self::BuildxVersion(_) | Self::BadFact { .. } => None,
        }
    }

    /// Whether it ended because the run was cancelled.
    pub(crate) fn is_cancelled(&self) -> bool {
        matches!(self, Self::BuildxVersion(ProcessError::Cancelled { .. }))
    }
}

/// Facts given by hand; what is missing gets probed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct GivenFacts {
    buildx: Option<Version>,
    engine: Option<Option<Version>>,
    store: Option<ImageStore>,
    platform: Option<String>,
    registry: Option<String>,
    cluster: Option<String>,
    now: Option<Timestamp>,
    repositories: BTreeMap<String, Mutability>,
}

impl GivenFacts {
    /// Reads `name=value` pairs.
    ///
    /// # Errors
    /// At the first unknown name or unreadable value.
    pub(crate) fn parse<'a>(pairs: impl IntoIterator<Item = &'a str>) -> Result<Self, FactsError> {
        let mut facts = Self::default();
        for pair in pairs {
            let bad = |expected: &str| FactsError::BadFact {
                given: pair.to_owned(),
                expected: expected.to_owned(),
            };
            let version =
                |text| buildx::lenient_version(text).ok_or_else(|| bad("a version, as `0.37.1`"));
            match pair.split_once('=') {
                Some(("buildx", text)) => facts.buildx = Some(version(text)?),
                Some(("engine", "none")) => facts.engine = Some(None),
                Some(("engine", text)) => facts.engine = Some(Some(version(text)?)),
                Some(("store", "containerd")) => facts.store = Some(ImageStore::Containerd),
                Some(("store", "classic")) => facts.store = Some(ImageStore::Classic),
                Some(("store", _)) => return Err(bad("`containerd` or `classic`")),
                Some(("platform", text)) => facts.platform = Some(text.to_owned()),
                Some(("registry", text)) => facts.registry = Some(text.to_owned()),
                Some(("cluster", "")) => return Err(bad("a cluster's name")),
                Some(("cluster", text)) => facts.cluster = Some(text.to_owned()),
                Some(("now", text)) => {
                    let expected = "a time, as `2026-01-31T12:00:00Z`";
                    facts.now = Some(text.parse().map_err(|_| bad(expected))?);
                }
                Some((setting @ ("immutable" | "mutable"), text)) => {
                    let (name, mutability) = mutability(setting, text);
                    facts.repositories.insert(name, mutability);
                }
                _ => {
                    return Err(bad(
                        "`buildx=VERSION`, `engine=VERSION`, `engine=none`, `store=containerd`, \
                         `store=classic`, `platform=OS/ARCH`, `registry=HOST`, `cluster=NAME`, `now=TIME`, \
                         `immutable=HOST/REPOSITORY` or `immutable=HOST/REPOSITORY!FILTER,FILTER`",
                    ));
                }
            }
        }
        Ok(facts)
    }

    /// The registry given by hand.
    pub(crate) fn registry(&self) -> Option<&str> {
        self.registry.as_deref()
    }

    /// The cluster given by hand, which is not asked.
    pub(crate) fn cluster(&self) -> Option<&str> {
        self.cluster.as_deref()
    }
}

/// `host/repository`, and the filters behind an exclamation mark.
fn mutability(setting: &str, text: &str) -> (String, Mutability) {
    let (name, filters) = match text.split_once('!') {
        Some((name, filters)) => (name, filters.split(',').map(str::to_owned).collect()),
        None => (text, Vec::new()),
    };
    let mutability = match (setting, filters.is_empty()) {
        ("immutable", true) => Mutability::Immutable,
        ("immutable", false) => Mutability::ImmutableExcept(filters),
        (_, true) => Mutability::Mutable,
        (_, false) => Mutability::MutableExcept(filters),
    };
    (name.to_owned(), mutability)
}

/// Finds out what was not given, everything at once.
///
/// # Errors
/// When there is no usable buildx.
pub(crate) async fn probe(
    given: &GivenFacts,
    env: &Env,
    cancel: &CancellationToken,
) -> Result<Facts, FactsError> {
    let (buildx, engine) = tokio::join!(
        async {
            match &given.buildx {
                Some(version) => Ok(Buildx::given(env, version.clone())),
                None => Buildx::find(env, cancel).await,
            }
        },
        async {
            match (&given.engine, given.store) {
                (Some(None), _) => Err("the fact `engine=none` was given".to_owned()),
                // One given fact is enough: an Engine of today in all the rest.
                (Some(Some(_)), _) | (None, Some(_)) => Ok(Engine {
                    address: Address::of(env).unwrap_or_else(|_| Address::usual()),
                    version: given
                        .engine
                        .clone()
                        .flatten()
                        .map_or_else(|| "28.5.2".to_owned(), |version| version.to_string()),
                    store: given.store.unwrap_or(ImageStore::Containerd),
                    platform: given
                        .platform
                        .clone()
                        .unwrap_or_else(|| "linux/amd64".to_owned()),
                }),
                (None, None) => Engine::ask(env).await,
            }
        }
    );
    Ok(Facts {
        now: given.now.unwrap_or_else(Timestamp::now),
        buildx: buildx?,
        engine,
        registry: given.registry.clone(),
        region: None,
        cluster: None,
        repositories: given.repositories.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn given_facts_are_not_probed() {
        let given =
            GivenFacts::parse(["buildx=v0.37.1", "store=classic", "registry=r.example"]).unwrap();
        let facts = probe(&given, &Env::default(), &CancellationToken::new())
            .await
            .unwrap();
        assert_eq!(facts.buildx.version, Version::new(0, 37, 1));
        let engine = facts.engine.unwrap();
        assert_eq!(engine.store, ImageStore::Classic);
        assert_eq!(facts.registry.as_deref(), Some("r.example"));
    }

    #[test]
    fn refuses_facts_it_does_not_know() {
        for pair in ["store=zfs", "buildx=new", "weather=fine", "buildx"] {
            let error = GivenFacts::parse([pair]).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("fact `{pair}`: expected ")),
                "{error}"
            );
        }
    }
}
