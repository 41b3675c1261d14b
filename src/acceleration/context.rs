//! What the step is given: its job in its build context, and logins in a build secret.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use ::dockerfile::{Configuration, Entry};
use image::ImageRef;
use protocol::{
    Base, Destination, IndexJob, Job, Login, Proxies, RemovedInstruction, Secrets, Summary,
};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;

use super::Preparation;
use super::dockerfile::Read;
use super::index;
use crate::buildx::Reason;
use crate::plan::{EngineFiles, EnginePart, Hidden};
use crate::runner::private::{PrivateError, create_private_folder, write_private};

fn not_written(error: &PrivateError) -> Reason {
    Reason::new(error.to_string())
}

fn write(path: &Path, content: &impl Serialize) -> Result<(), Reason> {
    // Plain data of our own types always serializes.
    let json = serde_json::to_vec(content).unwrap_or_default();
    write_private(path, &json).map_err(|error| not_written(&error))
}

/// Creates the folders, empty.
pub(super) fn create_folders(files: &EngineFiles) -> Result<(), Reason> {
    // An earlier attempt may have left what it fetched.
    let _ = fs::remove_dir_all(&files.fetched);
    for folder in [&files.context, &files.empty, &files.fetched] {
        create_private_folder(folder).map_err(|error| not_written(&error))?;
    }
    Ok(())
}

/// 128 random bits in hexadecimal digits.
pub(super) fn nonce() -> Result<String, Reason> {
    let mut bits = [0; 16];
    let filled = getrandom::fill(&mut bits);
    filled.map_err(|error| Reason::new(format!("the system gives no random numbers: {error}")))?;
    Ok(format!("{:032x}", u128::from_le_bytes(bits)))
}

/// The nonce of the push in a run's folder, if the Engine needed an image for it.
pub(super) fn left_nonce(folder: &Path) -> Option<String> {
    let job = EngineFiles::below(folder).context.join(protocol::JOB_FILE);
    let job: Job = serde_json::from_slice(&fs::read(job).ok()?).ok()?;
    matches!(job.base, Base::Registry(_)).then_some(job.nonce)
}

impl Preparation<'_> {
    /// Writes the job of a part into a context of its own; the context.
    pub(super) fn write_context(
        &self,
        (place, part): (Option<usize>, &EnginePart),
        Read {
            configuration,
            image,
            ..
        }: &Read,
        base: Base,
        nonce: &str,
    ) -> Result<PathBuf, Reason> {
        let job = Job {
            version: protocol::VERSION,
            nonce: nonce.to_owned(),
            destinations: self.destinations(image.as_ref(), place.is_some()),
            compression: self.plan.compression,
            base,
            platform: part.platform.clone().filter(|_| place.is_some()),
            kept: kept(configuration),
            times: self.plan.times,
            previous: self.plan.previous.clone(),
            removed: removed(configuration),
            annotations: part.annotations.clone(),
            answer_within: self.answer_within(),
            threads: None,
            memory: part.memory,
        };
        let files = &self.plan.files;
        let mut context = files.context.clone();
        if let Some(place) = place {
            context.push(place.to_string());
            create_private_folder(&context).map_err(|error| not_written(&error))?;
        }
        write(&context.join(protocol::JOB_FILE), &job)?;
        write(&files.secrets, &self.secrets(image.as_ref()))?;
        Ok(context)
    }

    /// Writes the job of the step that writes an index; the context.
    pub(super) fn write_index_context(
        &self,
        index: &str,
        images: &[Summary],
        nonce: &str,
    ) -> Result<PathBuf, Reason> {
        let job = IndexJob {
            version: protocol::VERSION,
            nonce: nonce.to_owned(),
            destinations: self.plan.destinations.clone(),
            media_type: index::MEDIA_TYPE.to_owned(),
            index: index.to_owned(),
            images: images
                .iter()
                .map(|image| image.digest.to_string())
                .collect(),
            answer_within: self.answer_within(),
        };
        let context = self.plan.files.context.join("index");
        create_private_folder(&context).map_err(|error| not_written(&error))?;
        write(&context.join(protocol::INDEX_JOB_FILE), &job)?;
        Ok(context)
    }

    /// Two tries fit into the time after which the step itself is given up.
    fn answer_within(&self) -> Option<u64> {
        self.silence_timeout
            .map(|limit| limit.as_secs().div_ceil(2))
    }

    /// The plan's, each with the base image's repository where layers may be mounted from. The image of one of several platforms
    /// gets no tag.
    fn destinations(&self, base: Option<&ImageRef>, is_one_of_several: bool) -> Vec<Destination> {
        let destinations = self.plan.destinations.iter().cloned();
        destinations
            .map(|mut destination| {
                if is_one_of_several {
                    destination.tags.clear();
                }
                let base = base.filter(|base| {
                    base.host == destination.registry && base.repository != destination.repository
                });
                let repository = base.map(|base| base.repository.clone());
                destination.mount_from.extend(repository);
                destination
            })
            .collect()
    }

    fn secrets(&self, base: Option<&ImageRef>) -> Secrets {
        let destinations = self.plan.destinations.iter();
        let hosts = destinations.map(|destination| &destination.registry);
        // Only with the classic store the step reads the base image itself.
        let base = base.filter(|_| self.plan.engine.is_some());
        let hosts = hosts.chain(base.map(|base| &base.host));
        let mut logins = BTreeMap::new();
        for host in hosts {
            if let Some((user, password)) = self.credentials.login(host) {
                logins.insert(host.clone(), Login { user, password });
            }
        }
        Secrets {
            logins,
            proxies: proxies(&self.plan.proxies),
            authorities: self.plan.authorities.clone(),
        }
    }
}

/// The variables' values, as programs read them: of two spellings the one in lower case counts.
fn proxies(variables: &[(String, Hidden)]) -> Proxies {
    let value = |name: &str| -> Option<SecretString> {
        let lower = name.to_ascii_lowercase();
        let mut found = [lower.as_str(), name].into_iter().filter_map(|name| {
            let mut variables = variables.iter();
            variables.find(|(other, value)| other == name && !value.0.expose_secret().is_empty())
        });
        found.next().map(|(_, value)| value.0.clone())
    };
    Proxies {
        http: value("HTTP_PROXY").or_else(|| value("ALL_PROXY")),
        https: value("HTTPS_PROXY").or_else(|| value("ALL_PROXY")),
        no_proxy: value("NO_PROXY")
            .map_or_else(String::new, |list| list.expose_secret().to_owned()),
    }
}

/// How many instructions the configuration knows.
fn kept(configuration: &Configuration) -> usize {
    let entries = configuration.entries.iter();
    entries.filter(|entry| **entry == Entry::Kept).count()
}

/// The instructions that the configuration does not know, each with the number of those that follow and that it knows.
fn removed(configuration: &Configuration) -> Vec<RemovedInstruction> {
    let mut followed_by = 0;
    let mut removed: Vec<RemovedInstruction> = Vec::new();
    for entry in configuration.entries.iter().rev() {
        match entry {
            Entry::Kept => followed_by += 1,
            Entry::Removed(instruction) => removed.push(RemovedInstruction {
                followed_by,
                text: instruction.text.clone(),
            }),
        }
    }
    removed.reverse();
    removed
}

#[cfg(test)]
mod tests {
    use ::dockerfile::{Build, Dockerfile};

    use super::*;

    #[test]
    fn instructions_that_make_files_have_their_place_in_the_history() {
        let text = b"FROM a\nENV A=1\nRUN one\nCOPY b /\nUSER 1\nRUN two\n";
        let build = Build::default();
        let file = Dockerfile::read(text).unwrap();
        let configuration = file.resolve(&build).unwrap().configuration().unwrap();
        let removed = removed(&configuration);
        let removed: Vec<(&str, usize)> = removed
            .iter()
            .map(|removed| (&*removed.text, removed.followed_by))
            .collect();
        assert_eq!(removed, [("RUN one", 1), ("COPY b /", 1), ("RUN two", 0)]);
    }

    #[test]
    fn proxies_are_read_as_programs_read_them() {
        let variable = |name: &str, value: &str| (name.to_owned(), Hidden(value.into()));
        let read = proxies(&[
            variable("HTTPS_PROXY", "http://upper:1"),
            variable("https_proxy", "http://lower:1"),
            variable("http_proxy", ""),
            variable("ALL_PROXY", "http://all:1"),
            variable("no_proxy", "a,b"),
        ]);
        let shown = |value: &Option<SecretString>| {
            value.as_ref().map(|value| value.expose_secret().to_owned())
        };
        assert_eq!(shown(&read.https).as_deref(), Some("http://lower:1"));
        assert_eq!(shown(&read.http).as_deref(), Some("http://all:1"));
        assert_eq!(read.no_proxy, "a,b");
    }

    #[test]
    fn no_two_nonces_are_the_same() {
        let nonces: std::collections::BTreeSet<String> =
            (0..100).map(|_| nonce().unwrap()).collect();
        assert_eq!(nonces.len(), 100);
        assert!(nonces.iter().all(|nonce| nonce.len() == 32));
    }
}
