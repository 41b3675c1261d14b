//! `RUN --mount`: comma-separated fields.
//!
//! Follows `instructions/commands_runmount.go` of BuildKit.

use crate::unsupported::Reason;

/// The fields of a mount, before variables are replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountFields {
    /// The flag's value as it is written.
    pub text: String,
    /// Names in lower case; a field without `=` has no value.
    pub fields: Vec<(String, Option<String>)>,
    /// The stage or image that it names, which takes no variables.
    pub from: Option<String>,
}

impl MountFields {
    pub(crate) fn read(text: &str) -> Result<Self, Reason> {
        let mut read = Self {
            text: text.to_owned(),
            fields: Vec::new(),
            from: None,
        };
        for field in csv(text)? {
            let (name, value) = match field.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (field.as_str(), None),
            };
            let name = name.to_lowercase();
            if name == "from"
                && let Some(from) = &value
            {
                if from.find('$').is_some_and(|first| first + 1 != from.len()) {
                    return Err(Reason::syntax("`from` of a mount takes no variables"));
                }
                read.from = Some(from.clone()).filter(|from| !from.is_empty());
            }
            read.fields.push((name, value));
        }
        Ok(read)
    }
}

/// What a mount is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MountType {
    /// Files of another stage, an image or a context.
    Bind,
    /// A folder that outlives the build.
    Cache,
    /// Memory.
    Tmpfs,
    /// A secret's value as a file or variable.
    Secret,
    /// An agent's socket.
    Ssh,
}

/// A mount with its variables replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// What it is.
    pub kind: MountType,
    /// The stage or image named by `from`.
    pub from: Option<String>,
    /// The path in what is mounted, or the secret's name.
    pub source: Option<String>,
    /// Where it is mounted.
    pub target: Option<String>,
    /// `id`: of a cache, a secret or an agent.
    pub id: Option<String>,
    /// The build fails without it: secrets and agents.
    pub required: bool,
}

impl Mount {
    /// With `value`, which replaces variables.
    pub(crate) fn evaluate<E>(
        fields: &MountFields,
        mut value: impl FnMut(&str) -> Result<String, E>,
    ) -> Result<Result<Self, Reason>, E> {
        let mut mount = Self {
            kind: MountType::Bind,
            from: fields.from.clone(),
            source: None,
            target: None,
            id: None,
            required: false,
        };
        for (name, given) in &fields.fields {
            let given = match given {
                Some(given) => value(given)?,
                None if name == "required" => "true".to_owned(),
                None if matches!(name.as_str(), "readonly" | "ro" | "readwrite" | "rw") => continue,
                None => {
                    return Ok(Err(Reason::syntax(format!(
                        "the mount's `{name}` has no value"
                    ))));
                }
            };
            let some = Some(given.clone()).filter(|given| !given.is_empty());
            match name.as_str() {
                "type" => {
                    mount.kind = match given.to_lowercase().as_str() {
                        "bind" => MountType::Bind,
                        "cache" => MountType::Cache,
                        "tmpfs" => MountType::Tmpfs,
                        "secret" => MountType::Secret,
                        "ssh" => MountType::Ssh,
                        _ => {
                            return Ok(Err(Reason::syntax(format!(
                                "unknown type of mount `{given}`"
                            ))));
                        }
                    };
                }
                "source" | "src" => mount.source = some,
                "target" | "dst" | "destination" => mount.target = some,
                "id" => mount.id = some,
                // Go's ParseBool.
                "required" => {
                    let yes = ["1", "t", "T", "true", "TRUE", "True"];
                    mount.required = yes.contains(&given.as_str());
                }
                "from" | "readonly" | "ro" | "readwrite" | "rw" | "size" | "sharing" | "mode"
                | "uid" | "gid" | "env" => {}
                _ => {
                    return Ok(Err(Reason::syntax(format!(
                        "unknown key `{name}` of a mount"
                    ))));
                }
            }
        }
        if mount.kind == MountType::Secret
            && mount.source.is_none()
            && mount.target.is_none()
            && mount.id.is_none()
        {
            return Ok(Err(Reason::syntax(
                "a secret's mount has neither id nor target",
            )));
        }
        Ok(Ok(mount))
    }

    /// The secret's name, for those that are one: its source, its id, or the last part of its target.
    #[must_use]
    pub fn secret(&self) -> Option<&str> {
        if self.kind != MountType::Secret {
            return None;
        }
        let target = self.target.as_deref();
        let last = target.and_then(|target| target.trim_end_matches('/').rsplit('/').next());
        self.source.as_deref().or(self.id.as_deref()).or(last)
    }
}

/// Fields of one line of CSV.
fn csv(line: &str) -> Result<Vec<String>, Reason> {
    let bad = || Reason::syntax("the mount's fields are not CSV");
    if line.is_empty() {
        return Err(bad());
    }
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let Some(mut quoted) = rest.strip_prefix('"') else {
            let (field, after) = match rest.split_once(',') {
                Some((field, after)) => (field, Some(after)),
                None => (rest, None),
            };
            if field.contains('"') {
                return Err(bad());
            }
            fields.push(field.to_owned());
            match after {
                Some(after) => rest = after,
                None => return Ok(fields),
            }
            continue;
        };
        let mut field = String::new();
        rest = loop {
            let (part, after) = quoted.split_once('"').ok_or_else(bad)?;
            field.push_str(part);
            match after.strip_prefix('"') {
                Some(after) => {
                    field.push('"');
                    quoted = after;
                }
                None => break after,
            }
        };
        fields.push(field);
        if rest.is_empty() {
            return Ok(fields);
        }
        rest = rest.strip_prefix(',').ok_or_else(bad)?;
    }
}
