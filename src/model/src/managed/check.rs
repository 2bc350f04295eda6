//! What AWS would refuse, told before AWS is asked.

use std::{fmt, ops::RangeInclusive};

use super::{Protocol, ProtocolVersion, Settings};
use crate::{
    condition::{Problem, Reason},
    target::TargetType,
};

/// AWS's limits, as its API reference states them.
const NAME_CHARS: usize = 32;
const TAGS: usize = 50;
const TAG_KEY_CHARS: usize = 128;
const TAG_VALUE_CHARS: usize = 256;
const PATH_CHARS: usize = 1024;
const INTERVAL_SECONDS: RangeInclusive<u16> = 5..=300;
const TIMEOUT_SECONDS: RangeInclusive<u16> = 2..=120;
const THRESHOLD: RangeInclusive<u16> = 2..=10;
const DEREGISTRATION_DELAY_SECONDS: RangeInclusive<u32> = 0..=3600;
const SLOW_START_SECONDS: RangeInclusive<u32> = 30..=900;
const STICKINESS_SECONDS: RangeInclusive<u32> = 1..=604_800;

/// The prefix of the tags that are ours to write.
const OUR_TAGS: &str = "elbow/";

/// The first thing that is wrong: the field below `spec.managed`, and the way out.
pub(super) fn check(settings: &Settings) -> Result<(), Problem> {
    settings.check()
}

fn wrong(field: &str, message: impl Into<String>) -> Problem {
    Problem::at(Reason::Invalid, format!("spec.managed.{field}"), message)
}

fn within<T: PartialOrd + fmt::Display>(
    field: &str,
    value: Option<T>,
    range: &RangeInclusive<T>,
) -> Result<(), Problem> {
    match value {
        Some(value) if !range.contains(&value) => {
            let (least, most) = (range.start(), range.end());
            Err(wrong(
                field,
                format!("it is {value}; AWS takes {least} to {most}"),
            ))
        }
        _ => Ok(()),
    }
}

impl Settings {
    fn check(&self) -> Result<(), Problem> {
        self.check_name()?;
        if !matches!(self.target_type, TargetType::Ip | TargetType::Instance) {
            return Err(wrong(
                "targetType",
                format!(
                    "bindings put pods and nodes into groups of `ip` or `instance`, and not of `{}`",
                    self.target_type
                ),
            ));
        }
        if self.port == 0 {
            return Err(wrong("port", "it is 0; AWS takes 1 to 65535"));
        }
        if let Some(version) = self.protocol_version.filter(|_| !self.protocol.is_http()) {
            let message = format!(
                "`{}` is of HTTP and HTTPS; leave it out for {}",
                version.as_str(),
                self.protocol
            );
            return Err(wrong("protocolVersion", message));
        }
        self.check_health()?;
        self.check_attributes()?;
        self.check_tags()
    }

    fn check_name(&self) -> Result<(), Problem> {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let valid = (1..=NAME_CHARS).contains(&self.name.len())
            && self.name.chars().all(word)
            && !self.name.starts_with('-')
            && !self.name.ends_with('-');
        if valid {
            return Ok(());
        }
        let name: String = self.name.chars().take(100).collect();
        Err(wrong(
            "name",
            format!(
                "`{name}` cannot be a target group's name in AWS: give 1 to {NAME_CHARS} letters, digits or '-', not at the \
                 ends"
            ),
        ))
    }

    fn check_health(&self) -> Result<(), Problem> {
        let check = &self.health_check;
        let default = if self.protocol.is_http() {
            self.protocol
        } else {
            Protocol::Tcp
        };
        let protocol = check.protocol.unwrap_or(default);
        match protocol {
            Protocol::Http | Protocol::Https => {}
            Protocol::Tcp if !self.protocol.is_http() => {}
            other => {
                let message = format!(
                    "a group of {} is checked by HTTP, HTTPS{}, and not by {other}",
                    self.protocol,
                    if self.protocol.is_http() { "" } else { " or TCP" }
                );
                return Err(wrong("healthCheck.protocol", message));
            }
        }
        let is_number = |port: &str| {
            port.parse()
                .is_ok_and(|number: u16| number > 0 && number.to_string() == port)
        };
        if let Some(port) = &check.port
            && port != "traffic-port"
            && !is_number(port)
        {
            return Err(wrong(
                "healthCheck.port",
                "give `traffic-port`, or a number from 1 to 65535",
            ));
        }
        if let Some(path) = &check.path {
            if !protocol.is_http() {
                return Err(wrong(
                    "healthCheck.path",
                    format!("a check by {protocol} has none: leave it out, or check by HTTP"),
                ));
            }
            if !path.starts_with('/') || path.chars().count() > PATH_CHARS {
                return Err(wrong(
                    "healthCheck.path",
                    format!("give a path that begins with `/`, of at most {PATH_CHARS} characters"),
                ));
            }
        }
        within(
            "healthCheck.intervalSeconds",
            check.interval_seconds,
            &INTERVAL_SECONDS,
        )?;
        within(
            "healthCheck.timeoutSeconds",
            check.timeout_seconds,
            &TIMEOUT_SECONDS,
        )?;
        within(
            "healthCheck.healthyThreshold",
            check.healthy_threshold,
            &THRESHOLD,
        )?;
        within(
            "healthCheck.unhealthyThreshold",
            check.unhealthy_threshold,
            &THRESHOLD,
        )?;
        if let (Some(timeout), Some(interval)) = (check.timeout_seconds, check.interval_seconds)
            && timeout >= interval
        {
            return Err(wrong(
                "healthCheck.timeoutSeconds",
                format!("{timeout} must be less than intervalSeconds, which is {interval}"),
            ));
        }
        // Application load balancers know none above 499.
        let (codes, example) = match self.protocol_version {
            Some(ProtocolVersion::Grpc) => (0..=99, "`0`, `0,12` or `0-99`"),
            _ if self.protocol.is_http() => (200..=499, "`200`, `200,202` or `200-499`"),
            _ => (200..=599, "`200`, `200,202` or `200-599`"),
        };
        match &check.matcher {
            Some(_) if !protocol.is_http() => Err(wrong(
                "healthCheck.matcher",
                format!("a check by {protocol} knows no codes: leave it out, or check by HTTP"),
            )),
            Some(matcher) if !is_matcher(matcher, codes) => Err(wrong(
                "healthCheck.matcher",
                format!("give codes of {} such as {example}", self.protocol),
            )),
            _ => Ok(()),
        }
    }

    fn check_attributes(&self) -> Result<(), Problem> {
        let attributes = &self.attributes;
        within(
            "attributes.deregistrationDelaySeconds",
            attributes.deregistration_delay_seconds,
            &DEREGISTRATION_DELAY_SECONDS,
        )?;
        within(
            "attributes.slowStartSeconds",
            attributes.slow_start_seconds.filter(|seconds| *seconds != 0),
            &SLOW_START_SECONDS,
        )?;
        within(
            "attributes.stickinessCookieSeconds",
            attributes.stickiness_cookie_seconds,
            &STICKINESS_SECONDS,
        )?;
        let known = attributes.named();
        for key in attributes.other.keys() {
            if let Some((field, ..)) = known.iter().find(|(_, name, _)| name == key) {
                return Err(wrong(
                    &format!("attributes.other.{key}"),
                    format!("say it as attributes.{field}"),
                ));
            }
            if key.trim().is_empty() {
                return Err(wrong("attributes.other", "name each attribute as AWS does"));
            }
        }
        Ok(())
    }

    fn check_tags(&self) -> Result<(), Problem> {
        let room = TAGS - 2;
        if self.tags.len() > room {
            return Err(wrong(
                "tags",
                format!(
                    "{} tags and the two of Elbow are more than AWS's {TAGS}: give at most {room}",
                    self.tags.len()
                ),
            ));
        }
        for (key, value) in &self.tags {
            let field = format!("tags.{}", key.chars().take(TAG_KEY_CHARS).collect::<String>());
            if key.starts_with("aws:") || key.starts_with(OUR_TAGS) {
                return Err(wrong(
                    &field,
                    format!("keys that begin with `aws:` and `{OUR_TAGS}` are taken: choose another"),
                ));
            }
            if key.is_empty()
                || key.chars().count() > TAG_KEY_CHARS
                || value.chars().count() > TAG_VALUE_CHARS
            {
                return Err(wrong(
                    &field,
                    format!(
                        "AWS takes keys of 1 to {TAG_KEY_CHARS} and values of up to {TAG_VALUE_CHARS} characters"
                    ),
                ));
            }
        }
        Ok(())
    }
}

/// Codes and ranges of codes with commas between.
fn is_matcher(text: &str, codes: RangeInclusive<u16>) -> bool {
    let code = |text: &str| text.parse().ok().filter(|code| codes.contains(code));
    text.split(',').all(|part| match part.split_once('-') {
        None => code(part).is_some(),
        Some((from, to)) => code(from).zip(code(to)).is_some_and(|(from, to)| from <= to),
    })
}
