//! Progress without secrets and values of build arguments, before anybody looks at it.

use super::rawjson::{SolveStatus, Vertex};
use crate::runner::redact::Redactor;

/// Takes them out of names and errors. Output of steps stays: nobody can tell which part of it is secret, and the log shows it as it is.
pub(super) fn status(status: &mut SolveStatus, redactor: &Redactor) {
    for vertex in &mut status.vertexes {
        redacted(vertex, redactor);
    }
}

fn redacted(vertex: &mut Vertex, redactor: &Redactor) {
    let Some(command) = command(&vertex.name) else {
        vertex.name = redactor.without_secrets(&vertex.name);
        vertex.error = redactor.without_secrets(&vertex.error);
        return;
    };
    let (before, command) = vertex.name.split_at(command);
    vertex.name = format!("{before}{}", redactor.text(command));
    vertex.error = redactor.text(&vertex.error);
}

/// Where in a step's name the Dockerfile's command begins, in which BuildKit has put the values of build arguments; none in
/// names of BuildKit's own work, whose words say what it is and which an argument's value must not take away: `[internal] load
/// build context`, `exporting to image`.
fn command(name: &str) -> Option<usize> {
    let ours = ["[internal] ", "[auth] "];
    if ours.iter().any(|start| name.starts_with(start)) {
        return None;
    }
    // What `ADD` fetches is a step of its own, named by its address.
    if ["https://", "http://", "git://"]
        .iter()
        .any(|start| name.starts_with(start))
    {
        return Some(0);
    }
    let end = "] ";
    name.starts_with('[')
        .then(|| name.find(end).map(|at| at + end.len()))
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_dockerfile_lose_values_and_those_of_buildkit_keep_their_words() {
        let redactor = Redactor::default();
        redactor.hide_argument("TARGET", "context");
        redactor.hide_argument("REGISTRY", "r.example.com");
        redactor.hide_argument("STAGE", "exporting");
        redactor.hide("hush");
        let cases = [
            (
                "[build 2/3] RUN curl r.example.com # hush",
                "[build 2/3] RUN curl $REGISTRY # ***",
            ),
            ("[exporting 2/3] COPY . .", "[exporting 2/3] COPY . ."),
            (
                "[internal] load build context",
                "[internal] load build context",
            ),
            (
                "[auth] hush/app:pull token for r.example.com",
                "[auth] ***/app:pull token for r.example.com",
            ),
            ("exporting to image", "exporting to image"),
            (
                "importing cache manifest from r.example.com/app:c",
                "importing cache manifest from r.example.com/app:c",
            ),
            ("https://hush@r.example.com/x", "https://***@$REGISTRY/x"),
            ("[no end", "[no end"),
            ("", ""),
        ];
        for (name, expected) in cases {
            let vertex = |name: &str| Vertex {
                name: name.to_owned(),
                ..Vertex::default()
            };
            let mut found = SolveStatus {
                vertexes: vec![vertex(name)],
                ..SolveStatus::default()
            };
            status(&mut found, &redactor);
            assert_eq!(found.vertexes, [vertex(expected)]);
        }
    }

    #[test]
    fn what_a_registry_says_of_a_push_stays_readable() {
        let redactor = Redactor::default();
        redactor.hide_argument("REGISTRY", "r.example.com");
        redactor.hide("hush");
        for (name, expected) in [
            ("exporting to image", "https://r.example.com/v2: 403 ***"),
            ("[2/2] RUN x", "https://$REGISTRY/v2: 403 ***"),
        ] {
            let mut found = Vertex {
                name: name.to_owned(),
                error: "https://r.example.com/v2: 403 hush".to_owned(),
                ..Vertex::default()
            };
            redacted(&mut found, &redactor);
            assert_eq!(found.error, expected);
        }
    }
}
