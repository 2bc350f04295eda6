use std::{path::PathBuf, time::Duration};

use aws::budget::{self, Rate};
use clap::Args;

/// How AWS is reached, and how much is asked of it. Credentials come from the SDK's default chain.
#[derive(Debug, Args)]
pub(crate) struct Aws {
    /// Where every AWS service is, instead of AWS's own endpoints.
    #[arg(long = "aws-endpoint-url", env = "ELBOW_AWS_ENDPOINT_URL")]
    endpoint_url: Option<String>,
    /// PEM certificates to trust beside the machine's.
    #[arg(long = "aws-ca-file", env = "ELBOW_AWS_CA_FILE")]
    ca_file: Option<PathBuf>,
    /// How long one attempt of a call may take.
    #[arg(long = "aws-attempt-timeout", env = "ELBOW_AWS_ATTEMPT_TIMEOUT", value_parser = humantime::parse_duration, default_value = "3s")]
    attempt_timeout: Duration,
    /// How long a connection may take to come up.
    #[arg(long = "aws-connect-timeout", env = "ELBOW_AWS_CONNECT_TIMEOUT", value_parser = humantime::parse_duration, default_value = "2s")]
    connect_timeout: Duration,
    /// How often a read is tried in all. Writes are tried once.
    #[arg(
        long = "aws-read-attempts",
        env = "ELBOW_AWS_READ_ATTEMPTS",
        default_value_t = 3
    )]
    read_attempts: usize,
    /// RegisterTargets and DeregisterTargets of one account and region: `BURST/PER_SECOND`.
    #[arg(long = "aws-budget-registration", env = "ELBOW_AWS_BUDGET_REGISTRATION", value_parser = rate, default_value = "20/4")]
    budget_registration: Rate,
    /// ELBv2 reads of one account and region: `BURST/PER_SECOND`.
    #[arg(long = "aws-budget-describe", env = "ELBOW_AWS_BUDGET_DESCRIBE", value_parser = rate, default_value = "200/50")]
    budget_describe: Rate,
    /// EC2 reads of one account and region: `BURST/PER_SECOND`.
    #[arg(long = "aws-budget-ec2-describe", env = "ELBOW_AWS_BUDGET_EC2_DESCRIBE", value_parser = rate, default_value = "100/20")]
    budget_ec2_describe: Rate,
}

fn rate(text: &str) -> Result<Rate, String> {
    let number = |text: &str| {
        text.parse()
            .ok()
            .filter(|number: &f64| number.is_finite() && *number > 0.0)
    };
    let parsed = text
        .split_once('/')
        .and_then(|(burst, per_second)| Some((number(burst)?, number(per_second)?)));
    match parsed {
        Some((burst, per_second)) => Ok(Rate::new(burst, per_second)),
        None => Err("expected `BURST/PER_SECOND`, two numbers above zero, e.g. `20/4`".to_owned()),
    }
}

impl From<Aws> for aws::Settings {
    fn from(options: Aws) -> Self {
        let Aws {
            endpoint_url,
            ca_file,
            attempt_timeout,
            connect_timeout,
            read_attempts,
            budget_registration: registration,
            budget_describe: describe,
            budget_ec2_describe: ec2_describe,
        } = options;
        let budgets = budget::Settings {
            registration,
            describe,
            ec2_describe,
            ..budget::Settings::default()
        };
        Self {
            endpoint_url,
            ca_file,
            attempt_timeout,
            connect_timeout,
            read_attempts,
            budgets,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_a_burst_and_a_rate() {
        assert_eq!(rate("20/4"), Ok(Rate::new(20.0, 4.0)));
        for bad in ["20", "20/0", "-1/4", "a/b", "20/inf", "NaN/1"] {
            assert!(rate(bad).is_err(), "{bad}");
        }
    }
}
