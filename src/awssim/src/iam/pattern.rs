//! IAM's wildcards: `*` is any text, `?` one character.

use serde::Deserialize;

/// A text of a policy. Variables such as `${aws:username}` are refused.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Pattern(String);

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.contains("${") {
            return Err(format!("'{text}': policy variables are not simulated"));
        }
        Ok(Self(text))
    }
}

impl Pattern {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        matches(&self.0, text)
    }

    pub(super) fn matches_in_any_case(&self, text: &str) -> bool {
        matches(&self.0.to_ascii_lowercase(), &text.to_ascii_lowercase())
    }
}

/// Whether the whole of `text` matches.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    // Where the last star stood, and what it has swallowed so far: only that one can need another try.
    let (mut at, mut seen, mut star) = (0, 0, None);
    while seen < text.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, seen));
                at += 1;
            }
            Some(&wanted) if wanted == '?' || wanted == text[seen] => {
                at += 1;
                seen += 1;
            }
            _ => {
                let Some((of_star, swallowed)) = star else {
                    return false;
                };
                star = Some((of_star, swallowed + 1));
                (at, seen) = (of_star + 1, swallowed + 1);
            }
        }
    }
    pattern[at..].iter().all(|rest| *rest == '*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_star_is_any_text_and_a_question_mark_one_character() {
        for (pattern, text) in [
            ("*", ""),
            ("ec2:Describe*", "ec2:DescribeVpcs"),
            (
                "*:targetgroup/*/*",
                "arn:aws:elasticloadbalancing:r:a:targetgroup/web/1",
            ),
            ("a*b*c", "a-b-b-c"),
            ("sg-?", "sg-1"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("", "x"),
            ("ec2:*", "sts:x"),
            ("a*b", "ab-"),
            ("sg-?", "sg-12"),
            ("sg-?", "sg-"),
        ] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }
}
