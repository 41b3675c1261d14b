//! Command lines as text, without possible secrets.

use std::borrow::Cow;

/// A command line for a POSIX shell, without the values of build arguments and of a builder's variables: users put tokens there.
pub(crate) fn shell_line<'a>(words: impl IntoIterator<Item = Cow<'a, str>>) -> String {
    let mut line = String::new();
    let mut flag = Cow::from("");
    for word in words {
        if !line.is_empty() {
            line.push(' ');
        }
        match (&*flag, word.split_once('=')) {
            ("--build-arg", Some((name, _))) => line.push_str(&format!("{}=…", quoted(name))),
            // A quotation mark is CSV's, where the value has a comma.
            ("--driver-opt", Some((name, _)))
                if name.trim_start_matches('"').starts_with("env.") =>
            {
                line.push_str(&format!("{}=…", quoted(name.trim_start_matches('"'))));
            }
            _ => line.push_str(&quoted(&word)),
        }
        flag = word;
    }
    line
}

fn quoted(argument: &str) -> String {
    let plain =
        |character: char| character.is_ascii_alphanumeric() || "-_./:=,@%+#".contains(character);
    if !argument.is_empty() && argument.chars().all(plain) {
        argument.to_owned()
    } else {
        format!("'{}'", argument.replace('\'', r"'\''"))
    }
}
