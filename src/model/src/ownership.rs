//! Who acts on an object that asks for load balancing: Elbow, the AWS Load Balancer Controller ("LBC"), or nobody.
//!
//! A cluster's agent states every object with its marks, whoever acts on it; what Elbow serves is decided here. So an
//! object that stops being served never looks like one that was deleted.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use crate::parse::{Invalid, text_type};

/// The label by which an object says whether Elbow is to serve it: `"true"`, or anything else for no.
pub const SERVE_LABEL: &str = "elbow.dev/serve";
/// The finalizer that LBC puts on a TargetGroupBinding that it acts on.
pub const LBC_FINALIZER: &str = "elbv2.k8s.aws/resources";
/// The annotations that LBC writes into a TargetGroupBinding that it acts on.
pub const LBC_ANNOTATIONS: [&str; 2] = ["elbv2.k8s.aws/checkpoint", "elbv2.k8s.aws/checkpoint-timestamp"];
/// What the labels begin with that LBC puts on a TargetGroupBinding which it made for another object.
pub const LBC_STACK_LABELS: [&str; 4] = [
    "ingress.k8s.aws/stack",
    "service.k8s.aws/stack",
    "gateway.k8s.aws.alb/stack",
    "gateway.k8s.aws.nlb/stack",
];

/// Which TargetGroupBindings of a cluster Elbow serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Serve {
    None,
    /// Those labelled [`SERVE_LABEL`]`: "true"`.
    #[default]
    Labelled,
    /// All but those labelled otherwise.
    All,
}

impl FromStr for Serve {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "none" => Ok(Self::None),
            "labelled" => Ok(Self::Labelled),
            "all" => Ok(Self::All),
            _ => Err(Invalid::new(
                "choice of what is served",
                text,
                "`none`, `labelled` or `all`",
            )),
        }
    }
}

impl fmt::Display for Serve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Labelled => "labelled",
            Self::All => "all",
        })
    }
}

text_type!(Serve);

/// What of an object's metadata tells who acts on it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Marks {
    /// Those labels that matter here.
    pub labels: BTreeMap<String, String>,
    pub finalizers: BTreeSet<String>,
    /// The names of those annotations that matter here.
    pub annotations: BTreeSet<String>,
}

impl Marks {
    /// Whether a label of this name tells who acts on the object.
    pub fn is_label(name: &str) -> bool {
        name == SERVE_LABEL || LBC_STACK_LABELS.iter().any(|stack| name.starts_with(stack))
    }

    /// Whether an annotation of this name tells who acts on the object.
    pub fn is_annotation(name: &str) -> bool {
        LBC_ANNOTATIONS.contains(&name)
    }

    /// Whether LBC acts on the object.
    fn lbc_acts(&self) -> bool {
        self.finalizers.contains(LBC_FINALIZER)
            || self.annotations.iter().any(|name| Self::is_annotation(name))
    }

    /// Whether LBC made the object for another one.
    fn lbc_made(&self) -> bool {
        self.labels
            .keys()
            .any(|name| LBC_STACK_LABELS.iter().any(|stack| name.starts_with(stack)))
    }

    fn asks(&self) -> Option<bool> {
        self.labels.get(SERVE_LABEL).map(|value| value == "true")
    }
}

/// Who acts on a binding. A binding that was declared by API is always served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Standing {
    Served,
    /// Nobody asked Elbow to. What it registered before stays.
    NotServed,
    /// The agent does not say: it is older than this question.
    Unstated,
    /// LBC does. Planned, and nothing written.
    #[serde(rename = "managedByLbc")]
    ManagedByLBC,
    /// LBC did and an operator took the object over; its finalizer is being removed. Until then nothing is written.
    Adopting,
    /// Elbow does, and LBC began to.
    Contested,
}

impl Standing {
    /// What an object's marks make of it. `before`: what it was; `adopted`: whether an operator ever took it over.
    pub fn of(marks: Option<&Marks>, serve: Serve, before: Option<Self>, adopted: bool) -> Self {
        let Some(marks) = marks else {
            return match before {
                Some(Self::Served) | None if serve == Serve::None => Self::NotServed,
                Some(Self::NotServed) if serve != Serve::None => Self::Unstated,
                before => before.unwrap_or(Self::Unstated),
            };
        };
        let wanted = match (serve, marks.asks()) {
            (Serve::None, _) => false,
            (_, Some(asks)) => asks,
            (Serve::Labelled, None) => adopted,
            (Serve::All, None) => true,
        };
        if marks.lbc_acts() {
            return match before {
                Some(Self::Served | Self::Contested) if wanted => Self::Contested,
                Some(Self::Adopting) if wanted => Self::Adopting,
                _ => Self::ManagedByLBC,
            };
        }
        if marks.lbc_made() && !adopted && before != Some(Self::Served) {
            return Self::ManagedByLBC;
        }
        if wanted { Self::Served } else { Self::NotServed }
    }

    /// What an operator's taking over makes of it: nothing is written while LBC's marks are there.
    pub fn adopted(marks: Option<&Marks>) -> Self {
        if marks.is_some_and(Marks::lbc_acts) {
            Self::Adopting
        } else {
            Self::Served
        }
    }

    /// Whether what it wants is planned at all.
    pub fn is_planned(self) -> bool {
        !matches!(self, Self::NotServed | Self::Unstated)
    }

    /// Whether LBC acts, or its marks are yet to be removed: planned, and nothing written.
    pub fn waits_for_lbc(self) -> bool {
        matches!(self, Self::ManagedByLBC | Self::Adopting)
    }

    /// Whether Elbow registers and removes targets for it.
    pub fn acts(self) -> bool {
        matches!(self, Self::Served | Self::Contested)
    }
}

/// What a cluster's agent sees of LBC beside the objects. `None`: it could not look, as without the rights to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Surroundings {
    /// Webhooks that fail every write of a TargetGroupBinding once nobody answers them.
    pub webhooks: Option<Vec<Webhook>>,
    /// Whether LBC renews its Lease.
    pub lbc: Option<Pulse>,
}

/// Whether LBC is alive, by the Lease that its replicas choose their leader with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "camelCase")]
pub enum Pulse {
    /// No Lease is being renewed.
    None,
    Beats {
        /// `namespace/name` of the Lease.
        lease: String,
        holder: String,
    },
}

/// A configuration of webhooks that guards TargetGroupBindings with `failurePolicy: Fail`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Webhook {
    pub kind: WebhookKind,
    pub name: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum WebhookKind {
    Validating,
    Mutating,
}

impl Webhook {
    /// The command that removes it.
    pub fn removal(&self) -> String {
        let kind = match self.kind {
            WebhookKind::Validating => "validatingwebhookconfiguration",
            WebhookKind::Mutating => "mutatingwebhookconfiguration",
        };
        format!("kubectl delete {kind} {}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(labels: &[(&str, &str)], finalizers: &[&str], annotations: &[&str]) -> Marks {
        Marks {
            labels: labels
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            finalizers: finalizers.iter().map(ToString::to_string).collect(),
            annotations: annotations.iter().map(ToString::to_string).collect(),
        }
    }

    fn of(marks: &Marks, serve: Serve, before: Option<Standing>) -> Standing {
        Standing::of(Some(marks), serve, before, false)
    }

    #[test]
    fn the_label_chooses_and_the_cluster_decides_where_it_is_absent() {
        let (bare, yes, no) = (
            marks(&[], &[], &[]),
            marks(&[(SERVE_LABEL, "true")], &[], &[]),
            marks(&[(SERVE_LABEL, "false")], &[], &[]),
        );
        for (serve, expected) in [
            (Serve::None, [false, false, false]),
            (Serve::Labelled, [false, true, false]),
            (Serve::All, [true, true, false]),
        ] {
            let served = [&bare, &yes, &no].map(|marks| of(marks, serve, None).acts());
            assert_eq!(served, expected, "{serve}");
        }
    }

    #[test]
    fn each_mark_of_lbc_makes_an_object_its_own() {
        for marks in [
            marks(&[], &[LBC_FINALIZER], &[]),
            marks(&[], &[], &["elbv2.k8s.aws/checkpoint"]),
            marks(&[("ingress.k8s.aws/stack-name", "web")], &[], &[]),
            marks(&[("service.k8s.aws/stack-namespace", "shop")], &[], &[]),
        ] {
            assert_eq!(of(&marks, Serve::All, None), Standing::ManagedByLBC, "{marks:?}");
        }
    }

    #[test]
    fn a_finalizer_on_one_of_ours_is_a_contest_and_its_end_ends_it() {
        let (ours, both) = (marks(&[], &[], &[]), marks(&[], &[LBC_FINALIZER], &[]));
        let contested = of(&both, Serve::All, Some(Standing::Served));
        assert_eq!(contested, Standing::Contested);
        assert_eq!(
            of(&both, Serve::All, Some(Standing::Contested)),
            Standing::Contested
        );
        assert_eq!(of(&ours, Serve::All, Some(contested)), Standing::Served);
        // Handed over on purpose.
        let handed_over = marks(&[(SERVE_LABEL, "false")], &[LBC_FINALIZER], &[]);
        assert_eq!(
            of(&handed_over, Serve::All, Some(contested)),
            Standing::ManagedByLBC
        );
    }

    #[test]
    fn an_adopted_object_is_served_once_the_finalizer_is_gone_and_without_a_label() {
        let both = marks(
            &[("ingress.k8s.aws/stack", "g")],
            &[LBC_FINALIZER],
            &["elbv2.k8s.aws/checkpoint"],
        );
        let adopting = Standing::adopted(Some(&both));
        assert_eq!(adopting, Standing::Adopting);
        assert_eq!(
            Standing::of(Some(&both), Serve::Labelled, Some(adopting), true),
            Standing::Adopting
        );
        let released = Marks {
            finalizers: BTreeSet::new(),
            annotations: BTreeSet::new(),
            ..both
        };
        let served = Standing::of(Some(&released), Serve::Labelled, Some(adopting), true);
        assert_eq!(served, Standing::Served);
    }

    #[test]
    fn what_an_older_agent_does_not_say_changes_nothing_and_starts_nothing() {
        let unsaid = |serve, before| Standing::of(None, serve, before, false);
        assert_eq!(unsaid(Serve::All, None), Standing::Unstated);
        assert_eq!(unsaid(Serve::All, Some(Standing::Served)), Standing::Served);
        assert_eq!(
            unsaid(Serve::All, Some(Standing::ManagedByLBC)),
            Standing::ManagedByLBC
        );
        assert_eq!(unsaid(Serve::None, Some(Standing::Served)), Standing::NotServed);
    }
}
