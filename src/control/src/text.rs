//! Names that others chose and that are no [`model::Name`].

use model::fact::ObjectName;

use crate::Error;

/// A line of text that logs and the database can hold.
pub(crate) fn line(field: &'static str, text: &str) -> Result<(), Error> {
    let valid = (1..=253).contains(&text.len()) && !text.contains(char::is_control);
    if valid {
        Ok(())
    } else {
        Err(Error::at(
            field,
            "expected 1-253 bytes of text without control characters",
        ))
    }
}

/// The name of a Kubernetes object: a DNS subdomain of RFC 1123.
pub(crate) fn dns_subdomain(field: &'static str, text: &str) -> Result<(), Error> {
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let inner = |c: char| edge(c) || c == '-' || c == '.';
    let valid = (1..=253).contains(&text.len())
        && text.chars().all(inner)
        && text.starts_with(edge)
        && text.ends_with(edge);
    if valid {
        return Ok(());
    }
    let given: String = text.chars().take(100).collect();
    let given = given.escape_debug();
    Err(Error::at(
        field,
        format!(
            "`{given}` is no name of a Kubernetes object: expected 1-253 lower-case letters, digits, '-' or '.', starting and ending with a letter or digit"
        ),
    ))
}

pub(crate) fn object_name(object: &ObjectName) -> Result<(), Error> {
    dns_subdomain("namespace", &object.namespace)?;
    dns_subdomain("name", &object.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_are_refused_and_named() {
        for bad in [
            "",
            "A",
            "a b",
            "a\0",
            "../a",
            "ä",
            "-a",
            "a-",
            &"a".repeat(254),
            "a\u{202e}b",
        ] {
            let error = dns_subdomain("namespace", bad).unwrap_err();
            assert_eq!(error.field(), Some("namespace"), "{bad:?}");
        }
        assert!(dns_subdomain("namespace", "kube-system").is_ok());
        assert!(
            line("name", "a portal").is_ok() && line("name", "a\n").is_err() && line("name", "\0").is_err()
        );
    }
}
