//! An answer of AWS that is an error.

use std::borrow::Cow;

use crate::service::Service;

/// An error as AWS answers it: a code, a message for people, and the HTTP status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AwsError {
    code: Code,
    pub(crate) message: String,
    pub(crate) status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Code {
    /// A parameter that is not there: ELB says `ValidationError`, EC2 `MissingParameter`.
    Missing,
    /// A parameter that does not parse: `ValidationError`, `InvalidParameterValue`.
    Malformed,
    Named(Cow<'static, str>),
}

impl AwsError {
    pub(crate) fn new(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self {
            code: Code::Named(code.into()),
            message: message.into(),
            status: 400,
        }
    }

    pub(crate) fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    pub(crate) fn missing(parameter: &str) -> Self {
        let message = format!("The request must contain the parameter {parameter}");
        Self {
            code: Code::Missing,
            message,
            status: 400,
        }
    }

    pub(crate) fn malformed(parameter: &str, value: &str) -> Self {
        let message = format!("Value ({value}) for parameter {parameter} is invalid");
        Self {
            code: Code::Malformed,
            message,
            status: 400,
        }
    }

    /// ELB's answer to anything that its model or its checks refuse.
    pub(crate) fn validation(message: impl Into<String>) -> Self {
        Self::new("ValidationError", message)
    }

    /// The code as the service puts it on the wire.
    pub(crate) fn code(&self, service: Service) -> &str {
        match (&self.code, service) {
            (Code::Named(code), _) => code,
            (Code::Missing, Service::Ec2) => "MissingParameter",
            (Code::Malformed, Service::Ec2) => "InvalidParameterValue",
            (Code::Missing | Code::Malformed, Service::Elbv2 | Service::Sts) => "ValidationError",
        }
    }
}
