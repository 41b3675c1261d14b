//! A secret that a plan carries.

use secrecy::SecretString;

/// A text that is never shown.
#[derive(Debug, Clone)]
pub(crate) struct Hidden(pub SecretString);

/// Plans are compared without their secrets.
impl PartialEq for Hidden {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Hidden {}
