//! Files of the run's directory that the plan names.

use secrecy::ExposeSecret as _;

use crate::plan::{Plan, RunDir, SecretSource};
use crate::runner::private::write_private;

/// Writes secrets, the kubeconfig, and the configuration of BuildKit's daemon with the certificates that it trusts.
///
/// # Errors
/// When one can't be written.
pub(super) fn write_files(plan: &Plan, dir: &RunDir) -> anyhow::Result<()> {
    for secret in plan.images.iter().flat_map(|image| &image.secrets) {
        if let SecretSource::Written(path) | SecretSource::GitToken(path) = &secret.source
            && let Some(value) = &secret.value
        {
            write_private(path, value.0.expose_secret().as_bytes())?;
        }
    }
    let builder = &plan.builder;
    if let Some(kubernetes) = &builder.kubernetes {
        let kubeconfig = kubernetes.kubeconfig.0.expose_secret();
        write_private(&dir.kubeconfig(), kubeconfig.as_bytes())?;
    }
    if let Some(file) = &builder.certificates {
        write_private(&file.path, file.text.as_bytes())?;
    }
    if let Some(path) = &builder.buildkitd_config {
        write_private(path, builder.buildkitd_config_text().as_bytes())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::facts::{Facts, ImageStore};
    use crate::inputs::{Inputs, RawInputs};
    use crate::runner::env::Env;
    use crate::runner::folder;

    #[test]
    fn secrets_are_written_where_nobody_else_reads_them() {
        let folder = folder::create(&Env::default()).unwrap();
        let dir = RunDir::at(folder.path());
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
        let plan = Plan::new(&inputs, None, &facts, &dir).unwrap();
        write_files(&plan, &dir).unwrap();
        for (path, content) in [
            (dir.secret(0), "b=c"),
            (dir.secret(1), "d\n e \n"),
            (
                dir.buildkitd_config(),
                "debug = true\ntrace = true\n\n[system]\nmaxRegistryConcurrency = 16\n",
            ),
        ] {
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            assert_eq!(std::fs::read_to_string(path).unwrap(), content);
        }
    }
}
