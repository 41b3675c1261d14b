//! Files that the plan names, filled from inputs and environment.

use secrecy::ExposeSecret as _;

use crate::inputs::Inputs;
use crate::network::certificates;
use crate::plan::{Place, Plan, SecretSource};
use crate::runner::env::Env;
use crate::runner::private::{PrivateError, write_private};

/// Writes secrets, and the configuration of BuildKit's daemon with the certificates it trusts.
///
/// # Errors
/// When one can't be written.
pub(super) fn fill(
    place: &Place,
    plan: &Plan,
    inputs: &Inputs,
    env: &Env,
) -> Result<(), PrivateError> {
    for (index, secret) in inputs.secrets.iter().enumerate() {
        let value = secret.value.expose_secret();
        write_private(&place.secret_file(index), value.as_bytes())?;
    }
    let mut secrets = plan.images.iter().flat_map(|image| &image.secrets);
    if secrets.any(|secret| matches!(secret.source, SecretSource::GitToken(_)))
        && let Some(token) = &inputs.github_token
    {
        write_private(&place.git_token_file(), token.expose_secret().as_bytes())?;
    }
    if let Some(path) = &plan.builder.buildkitd_config {
        let mut text = plan.builder.buildkitd_text.clone();
        if let Some(file) = &plan.builder.certificates {
            write_private(file, certificates::named(env).as_bytes())?;
            text.push_str(&certificates::configuration(file));
        }
        write_private(path, text.as_bytes())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::facts::{Facts, ImageStore};
    use crate::inputs::RawInputs;
    use crate::runner::folder;

    #[test]
    fn secrets_are_written_where_nobody_else_reads_them() {
        let folder = folder::create(&Env::default()).unwrap();
        let place = Place::at(folder.path());
        let mut given = RawInputs::default();
        for (name, text) in [
            ("push", "false"),
            ("driver", "docker-container"),
            ("secrets", "A=b=c\n\"B=d\n e \n\""),
            ("buildkitd-config-inline", "debug = true\ntrace = true"),
        ] {
            given.set(name, text.to_owned());
        }
        let inputs = Inputs::parse(&given).unwrap();
        let facts = Facts::example(ImageStore::Containerd);
        let plan = Plan::new(&inputs, None, &facts, &place).unwrap();
        fill(&place, &plan, &inputs, &Env::default()).unwrap();
        for (path, content) in [
            (place.secret_file(0), "b=c"),
            (place.secret_file(1), "d\n e \n"),
            (
                place.buildkitd_config_file(),
                "debug = true\ntrace = true\n\n[system]\nmaxRegistryConcurrency = 16\n",
            ),
        ] {
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            assert_eq!(std::fs::read_to_string(path).unwrap(), content);
        }
    }
}
