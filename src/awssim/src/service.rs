//! The services that are simulated, and how each frames its answers.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{error::AwsError, xml::Xml};

/// A simulated service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Service {
    Elbv2,
    Ec2,
    Sts,
}

impl Service {
    /// By the name that a SigV4 credential scope carries.
    pub(crate) fn by_signing_name(name: &str) -> Option<Self> {
        match name {
            "elasticloadbalancing" => Some(Self::Elbv2),
            "ec2" => Some(Self::Ec2),
            "sts" => Some(Self::Sts),
            _ => None,
        }
    }

    /// The prefix of its actions in an IAM policy.
    pub(crate) fn iam_prefix(self) -> &'static str {
        match self {
            Self::Elbv2 => "elasticloadbalancing",
            Self::Ec2 => "ec2",
            Self::Sts => "sts",
        }
    }

    fn namespace(self) -> &'static str {
        match self {
            Self::Elbv2 => "http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/",
            Self::Ec2 => "http://ec2.amazonaws.com/doc/2016-11-15/",
            Self::Sts => "https://sts.amazonaws.com/doc/2011-06-15/",
        }
    }

    /// Puts the envelope of a success around the members of the result.
    pub(crate) fn frame(self, action: &str, request_id: &str, result: &Xml) -> String {
        let mut xml = Xml::document();
        let root = format!("{action}Response");
        xml.within_namespace(&root, self.namespace(), |xml| match self {
            Self::Ec2 => {
                xml.text("requestId", request_id);
                xml.append(result);
            }
            Self::Elbv2 | Self::Sts => {
                xml.within(&format!("{action}Result"), |xml| xml.append(result));
                xml.within("ResponseMetadata", |xml| xml.text("RequestId", request_id));
            }
        });
        xml.finish()
    }

    /// The document of an error.
    pub(crate) fn frame_error(self, error: &AwsError, request_id: &str) -> String {
        let mut xml = Xml::document();
        match self {
            Self::Ec2 => xml.within("Response", |xml| {
                xml.within("Errors", |xml| {
                    xml.within("Error", |xml| {
                        xml.text("Code", error.code(self));
                        xml.text("Message", &error.message);
                    });
                });
                xml.text("RequestID", request_id);
            }),
            Self::Elbv2 | Self::Sts => xml.within_namespace("ErrorResponse", self.namespace(), |xml| {
                xml.within("Error", |xml| {
                    xml.text("Type", if error.status >= 500 { "Receiver" } else { "Sender" });
                    xml.text("Code", error.code(self));
                    xml.text("Message", &error.message);
                });
                xml.text("RequestId", request_id);
            }),
        }
        xml.finish()
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Elbv2 => "elbv2",
            Self::Ec2 => "ec2",
            Self::Sts => "sts",
        })
    }
}
