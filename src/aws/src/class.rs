//! What AWS's error codes mean for us: one table.

use std::fmt;

use model::condition::Reason;

/// A family of errors that are handled alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ErrorClass {
    /// AWS asks for less. The budget has learned it; the same call may be made again.
    Throttled,
    /// AWS answered 5xx, or not in time.
    Unavailable,
    /// No connection came up, so nothing was sent.
    Unreachable,
    /// Part of what was asked for is so already: read again, send the rest.
    PartlyDone,
    /// The name or slot belongs to something else.
    NameTaken,
    /// Something else must go or come first.
    DependencyPending,
    /// A quota is full. Only this object stops.
    QuotaReached,
    /// AWS refuses a target. The others of the call are innocent.
    InvalidTarget,
    /// AWS refuses the request itself.
    InvalidInput,
    /// A protection of AWS forbids it, e.g. deletion protection.
    Protected,
    /// A permission is missing.
    AccessDenied,
    /// AWS does not accept our credentials, or we have none.
    CredentialsRejected,
    /// What the call names does not exist.
    Vanished,
    /// The lease does not leave time for the call; it was not sent.
    LeaseExpiring,
    /// The partition or endpoint does not have the call: the feature is absent.
    Unsupported,
    /// A code that the table does not have.
    Unrecognized,
}

/// Codes as they are on the wire (`Throttling`, not `ThrottlingException`, though some calls answer the latter), from
/// the service models of ELBv2 and EC2 and their pages "Common errors".
const CODES: &[(ErrorClass, &[&str])] = &[
    (
        ErrorClass::Throttled,
        &[
            "Throttling",
            "ThrottlingException",
            "ThrottledException",
            "RequestThrottled",
            "RequestThrottledException",
            "RequestLimitExceeded",
            "TooManyRequestsException",
            "PriorRequestNotComplete",
        ],
    ),
    (
        ErrorClass::Unavailable,
        &[
            "InternalError",
            "InternalFailure",
            "ServiceUnavailable",
            "Unavailable",
            "HealthUnavailable",
            "RequestTimeout",
        ],
    ),
    (
        ErrorClass::PartlyDone,
        &[
            "InvalidPermission.Duplicate",
            "InvalidPermission.NotFound",
            "InvalidSecurityGroupRuleId.NotFound",
        ],
    ),
    (
        ErrorClass::NameTaken,
        &[
            "DuplicateLoadBalancerName",
            "DuplicateTargetGroupName",
            "DuplicateListener",
            "PriorityInUse",
        ],
    ),
    (
        ErrorClass::DependencyPending,
        &[
            "ResourceInUse",
            "DependencyViolation",
            "CapacityReservationPending",
            "TrustStoreNotReady",
        ],
    ),
    (
        ErrorClass::QuotaReached,
        &[
            "TooManyTargets",
            "TooManyRegistrationsForTargetId",
            "TooManyRules",
            "TooManyTargetGroups",
            "TooManyUniqueTargetGroupsPerLoadBalancer",
            "TooManyListeners",
            "TooManyCertificates",
            "TooManyActions",
            "TooManyLoadBalancers",
            "TooManyTags",
            "TargetGroupAssociationLimit",
            "RulesPerSecurityGroupLimitExceeded",
        ],
    ),
    (ErrorClass::InvalidTarget, &["InvalidTarget"]),
    (
        ErrorClass::InvalidInput,
        &[
            "DuplicateTagKeys",
            "InvalidConfigurationRequest",
            "IncompatibleProtocols",
            "UnsupportedProtocol",
            "InvalidLoadBalancerAction",
            "InvalidScheme",
            "InvalidSubnet",
            "InvalidSecurityGroup",
            "SubnetNotFound",
            "CertificateNotFound",
            "SSLPolicyNotFound",
            "AvailabilityZoneNotSupported",
            "ValidationError",
            "InvalidParameterValue",
            "InvalidParameterCombination",
            "MissingParameter",
            "MalformedQueryString",
            "InvalidPermission.Malformed",
            "InvalidGroupId.Malformed",
            "InvalidGroup.NotInVpc",
        ],
    ),
    (
        ErrorClass::Unsupported,
        &["InvalidAction", "UnsupportedOperation", "OperationNotSupported"],
    ),
    (ErrorClass::Protected, &["OperationNotPermitted"]),
    (
        ErrorClass::AccessDenied,
        &["AccessDenied", "AccessDeniedException", "UnauthorizedOperation"],
    ),
    (
        ErrorClass::CredentialsRejected,
        &[
            "ExpiredToken",
            "ExpiredTokenException",
            "RequestExpired",
            "SignatureDoesNotMatch",
            "InvalidSignatureException",
            "IncompleteSignature",
            "InvalidClientTokenId",
            "UnrecognizedClientException",
            "AuthFailure",
            "MissingAuthenticationToken",
            "OptInRequired",
        ],
    ),
    (
        ErrorClass::Vanished,
        &[
            "LoadBalancerNotFound",
            "TargetGroupNotFound",
            "ListenerNotFound",
            "RuleNotFound",
            "InvalidGroup.NotFound",
            "InvalidVpcID.NotFound",
        ],
    ),
];

impl ErrorClass {
    /// The class of an answer with this code and HTTP status.
    pub(crate) fn of(code: Option<&str>, status: u16) -> Self {
        let known = code.and_then(|code| CODES.iter().find(|(_, codes)| codes.contains(&code)));
        match known {
            Some((class, _)) => *class,
            None if status >= 500 => Self::Unavailable,
            None if status == 429 => Self::Throttled,
            None => Self::Unrecognized,
        }
    }

    /// What a binding's condition says.
    pub fn reason(self) -> Reason {
        match self {
            Self::Throttled => Reason::Throttled,
            Self::Unavailable | Self::Unreachable => Reason::AwaitingAws,
            Self::DependencyPending | Self::LeaseExpiring => Reason::Progressing,
            Self::QuotaReached => Reason::QuotaExceeded,
            Self::InvalidTarget => Reason::InvalidTarget,
            Self::AccessDenied => Reason::AccessDenied,
            Self::CredentialsRejected => Reason::CredentialsRejected,
            Self::Vanished => Reason::TargetGroupNotFound,
            Self::PartlyDone
            | Self::NameTaken
            | Self::InvalidInput
            | Self::Protected
            | Self::Unsupported
            | Self::Unrecognized => Reason::AwsError,
        }
    }

    /// Whether the same call may succeed soon without anybody doing anything.
    pub fn is_transient(self) -> bool {
        matches!(self, Self::Throttled | Self::Unavailable | Self::Unreachable)
    }

    /// Whether the error is about the targets that were sent, so that a call about others may still succeed.
    pub(crate) fn is_about_targets(self) -> bool {
        matches!(
            self,
            Self::InvalidTarget | Self::InvalidInput | Self::QuotaReached
        )
    }

    /// Whether the error may be about one of the security-group rules that were sent. EC2 then makes or ends none of them.
    pub(crate) fn is_about_rules(self) -> bool {
        matches!(
            self,
            Self::PartlyDone | Self::InvalidInput | Self::QuotaReached | Self::Vanished | Self::Unrecognized
        )
    }

    /// As a label of metrics.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::Unavailable => "unavailable",
            Self::Unreachable => "unreachable",
            Self::PartlyDone => "partly_done",
            Self::NameTaken => "name_taken",
            Self::DependencyPending => "dependency_pending",
            Self::QuotaReached => "quota_reached",
            Self::InvalidTarget => "invalid_target",
            Self::InvalidInput => "invalid_input",
            Self::Protected => "protected",
            Self::AccessDenied => "access_denied",
            Self::CredentialsRejected => "credentials_rejected",
            Self::Vanished => "vanished",
            Self::LeaseExpiring => "lease_expiring",
            Self::Unsupported => "unsupported",
            Self::Unrecognized => "unrecognized",
        }
    }
}

impl fmt::Display for ErrorClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_code_has_two_classes() {
        let mut seen = HashSet::new();
        for code in CODES.iter().flat_map(|(_, codes)| *codes) {
            assert!(seen.insert(code), "{code} is listed twice");
        }
    }

    #[test]
    fn the_code_says_the_class_whatever_the_status() {
        for (code, status, class) in [
            ("Throttling", 400, ErrorClass::Throttled),
            ("RequestLimitExceeded", 503, ErrorClass::Throttled),
            ("PriorRequestNotComplete", 429, ErrorClass::Throttled),
            ("HealthUnavailable", 500, ErrorClass::Unavailable),
            ("TargetGroupNotFound", 400, ErrorClass::Vanished),
            ("TooManyTargets", 400, ErrorClass::QuotaReached),
            ("TooManyRegistrationsForTargetId", 400, ErrorClass::QuotaReached),
            ("InvalidTarget", 400, ErrorClass::InvalidTarget),
            ("AccessDenied", 403, ErrorClass::AccessDenied),
            ("UnauthorizedOperation", 403, ErrorClass::AccessDenied),
            ("ExpiredToken", 403, ErrorClass::CredentialsRejected),
            ("OperationNotPermitted", 400, ErrorClass::Protected),
            ("InvalidPermission.Duplicate", 400, ErrorClass::PartlyDone),
        ] {
            assert_eq!(ErrorClass::of(Some(code), status), class, "{code}");
        }
    }

    #[test]
    fn without_a_known_code_the_status_decides() {
        assert_eq!(ErrorClass::of(None, 502), ErrorClass::Unavailable);
        assert_eq!(ErrorClass::of(Some("Strange"), 500), ErrorClass::Unavailable);
        assert_eq!(ErrorClass::of(Some("Strange"), 429), ErrorClass::Throttled);
        assert_eq!(ErrorClass::of(Some("Strange"), 400), ErrorClass::Unrecognized);
    }
}
