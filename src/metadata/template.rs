//! Text with expressions, `v{{major}}-{{sha}}`. Parsing checks every expression, so rendering cannot fail.
//!
//! A small part of [Handlebars](https://handlebarsjs.com/guide/expressions.html): `{{name}}` escapes for HTML,
//! `{{{name}}}` and `{{&name}}` do not, `\{{` is a literal `{{`. [`Expression`] parses the text between braces.

use super::expression::{Clocks, Expression, ExpressionError, Name, Scope};

#[derive(Debug, Clone)]
pub(crate) struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone)]
enum Part {
    Text(String),
    Expression {
        expression: Expression,
        escaped: bool,
    },
}

impl Template {
    /// Parses a text whose expressions may use the names of a scope.
    pub(crate) fn parse(text: &str, scope: Scope) -> Result<Self, ExpressionError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, from_braces)) = split_before(rest, "{{") {
            // `\\{{` is a backslash and an expression, `\{{` is literal text.
            if let Some(before) = before.strip_suffix("\\\\") {
                parts.push(Part::Text(format!("{before}\\")));
            } else if let Some(before) = before.strip_suffix('\\') {
                let (literal, after) = split_literal(from_braces);
                parts.push(Part::Text(format!("{before}{literal}")));
                rest = after;
                continue;
            } else {
                parts.push(Part::Text(before.to_owned()));
            }
            let unclosed = || ExpressionError::Unclosed(from_braces.to_owned());
            let (open, close) = if from_braces.starts_with("{{{") {
                ("{{{", "}}}")
            } else {
                ("{{", "}}")
            };
            let inside = from_braces.strip_prefix(open).ok_or_else(unclosed)?;
            let (inside, after) = split_outside_quotes(inside, close).ok_or_else(unclosed)?;
            if after.starts_with('}') {
                return Err(ExpressionError::Unbalanced(from_braces.to_owned()));
            }
            let (inside, escaped) = match inside.strip_prefix('&') {
                Some(inside) if open == "{{" => (inside, false),
                _ => (inside, open == "{{"),
            };
            parts.push(Part::Expression {
                expression: Expression::parse(inside, scope)?,
                escaped,
            });
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        parts.retain(|part| !matches!(part, Part::Text(text) if text.is_empty()));
        Ok(Self { parts })
    }

    pub(crate) fn is_only(&self, wanted: Name) -> bool {
        matches!(
            self.parts.as_slice(),
            [Part::Expression { expression: Expression::Value(name), .. }] if *name == wanted
        )
    }

    pub(crate) fn render(&self, clocks: Clocks, value: impl Fn(Name) -> String) -> String {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Expression {
                    expression,
                    escaped,
                } => push(&mut out, &expression.print(clocks, &value), *escaped),
            }
        }
        out
    }
}

/// Appends a value, escaped as Handlebars does it.
fn push(out: &mut String, value: &str, escaped: bool) {
    if !escaped {
        out.push_str(value);
        return;
    }
    for c in value.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#x27;"),
            '`' => out.push_str("&#x60;"),
            '=' => out.push_str("&#x3D;"),
            c => out.push(c),
        }
    }
}

fn split_before<'a>(text: &'a str, mark: &str) -> Option<(&'a str, &'a str)> {
    text.find(mark).and_then(|at| text.split_at_checked(at))
}

/// Splits a text that begins with escaped braces before the next braces and their backslashes.
fn split_literal(text: &str) -> (&str, &str) {
    let after = text.strip_prefix("{{").unwrap_or_default();
    let end = split_before(after, "{{").map(|(plain, _)| {
        let shorter = plain.strip_suffix("\\\\").or(plain.strip_suffix('\\'));
        2 + shorter.unwrap_or(plain).len()
    });
    end.and_then(|end| text.split_at_checked(end))
        .unwrap_or((text, ""))
}

fn split_outside_quotes<'a>(text: &'a str, close: &str) -> Option<(&'a str, &'a str)> {
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match quote {
            Some(open) => {
                if c == open && !escaped {
                    quote = None;
                }
                escaped = c == '\\';
            }
            None if matches!(c, '\'' | '"') => {
                quote = Some(c);
                escaped = false;
            }
            None => {
                let (inside, after) = text.split_at_checked(at)?;
                if let Some(after) = after.strip_prefix(close) {
                    return Some((inside, after));
                }
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn render(text: &str) -> Result<String, ExpressionError> {
        let clocks = Clocks {
            now: "2020-01-10T00:30:00Z".parse().unwrap(),
            commit: "2019-12-31T15:00:00Z".parse().unwrap(),
        };
        Ok(
            Template::parse(text, Scope::Run)?.render(clocks, |name| match name {
                Name::Branch => "a&b".to_owned(),
                Name::Sha => "860c190".to_owned(),
                _ => String::new(),
            }),
        )
    }

    #[test]
    fn prints_values_between_text() {
        for (text, expected) in [
            ("", ""),
            ("plain } text }} { here", "plain } text }} { here"),
            ("x-{{ branch }}-{{sha}}", "x-a&amp;b-860c190"),
            ("{{{branch}}}{{&branch}}", "a&ba&b"),
            ("\\{{branch}}", "{{branch}}"),
            ("\\\\{{sha}}", "\\860c190"),
            ("\\{{a {{sha}}", "{{a 860c190"),
            ("{{tag}}", ""),
            ("{{date 'YYYY}}MM'}}", "2020}}01"),
            ("{{date \"HH:mm\" tz='Asia/Tokyo'}}", "09:30"),
            ("{{commit_date 'YYYY' tz = \"Asia/Tokyo\" }}", "2020"),
        ] {
            assert_eq!(render(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn says_what_is_wrong_with_an_expression() {
        for (text, why) in [
            ("a{{", "the braces opened at `{{`"),
            ("a{{branch}", "the braces opened at `{{branch}`"),
            ("a{{{branch}}", "the braces opened at `{{{branch}}`"),
            ("{{date 'x}}", "never closed"),
            (
                "a{{sha}}}",
                "more braces are closed than opened at `{{sha}}}`",
            ),
            ("{{}}", "expression ``, expected one of: branch, tag, sha"),
            ("{{brnch}}", "expression `brnch`"),
            ("{{#if branch}}", "expression `#if branch`"),
            ("{{!-- x --}}", "expected one of"),
            ("{{branch 'x'}}", "`branch 'x'` takes nothing"),
            ("{{date}}", "expected a format in quotes"),
            ("{{date YYYY}}", "expected a format in quotes"),
            ("{{date 'YYYY' zone='UTC'}}", "at most `tz='zone'`"),
            ("{{date 'YYYY'tz='UTC'}}", "at most `tz='zone'`"),
            (
                "{{date 'YYYY' tz='Mars/Olympus'}}",
                "unknown time zone `Mars/Olympus`",
            ),
        ] {
            let error = render(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
        let error = Template::parse("{{branch}}", Scope::Version).unwrap_err();
        assert!(error.to_string().contains("raw, version, major"), "{error}");
        assert!(Template::parse("{{date 'Y'}}", Scope::Version).is_err());
        assert!(Template::parse("{{branch}}", Scope::Dates).is_err());
    }

    #[test]
    fn knows_a_template_of_one_name() {
        for (text, only) in [
            ("{{raw}}", true),
            ("{{ raw }}", true),
            ("{{{raw}}}", true),
            ("{{raw}}x", false),
            ("{{raw}}{{raw}}", false),
            ("{{version}}", false),
            ("raw", false),
        ] {
            let template = Template::parse(text, Scope::Version).unwrap();
            assert_eq!(template.is_only(Name::Raw), only, "{text}");
        }
    }

    proptest! {
        #[test]
        fn survives_any_text(text in "([{}\\\\&'\" =]|branch|date|tz|YYYY|é){0,16}") {
            let _ = render(&text);
        }

        #[test]
        fn leaves_text_without_braces_alone(text in "[^{]{0,40}") {
            prop_assert_eq!(render(&text), Ok(text));
        }
    }
}
