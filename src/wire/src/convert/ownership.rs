//! Who acts on an object, and what the agent sees of others beside the objects.

use std::collections::BTreeSet;

use model::ownership::{Marks, Pulse, Surroundings, Webhook, WebhookKind};

use super::{
    ConvertError, Fault,
    field::{At, Result, count, counted, each, name, required, text},
};
use crate::agent::v1 as wire;

/// The longest value of a label (Kubernetes API, labels).
const LABEL_BYTES: usize = 63;
/// The longest name of a label, an annotation or a finalizer: a DNS subdomain, a slash and 63 bytes.
const KEY_BYTES: usize = 317;

fn key(value: String) -> Result<String> {
    if value.is_empty() {
        return Err(Fault::Missing.into());
    }
    Ok(text(value, KEY_BYTES)?)
}

fn keys(list: Vec<String>, said: Option<u32>, field: &str) -> Result<BTreeSet<String>> {
    Ok(counted(list, said, field, key)?.into_iter().collect())
}

impl TryFrom<wire::Marks> for Marks {
    type Error = ConvertError;

    fn try_from(marks: wire::Marks) -> Result<Self> {
        let wire::Marks {
            labels,
            label_count,
            finalizers,
            finalizer_count,
            annotations,
            annotation_count,
        } = marks;
        let labels = labels.into_iter().collect();
        let labels = counted(labels, label_count, "labels", |(name, value)| {
            Ok((key(name)?, text(value, LABEL_BYTES)?))
        })?;
        Ok(Self {
            labels: labels.into_iter().collect(),
            finalizers: keys(finalizers, finalizer_count, "finalizers")?,
            annotations: keys(annotations, annotation_count, "annotations")?,
        })
    }
}

impl From<Marks> for wire::Marks {
    fn from(marks: Marks) -> Self {
        let Marks {
            labels,
            finalizers,
            annotations,
        } = marks;
        let (finalizers, annotations): (Vec<_>, Vec<_>) = (
            finalizers.into_iter().collect(),
            annotations.into_iter().collect(),
        );
        Self {
            label_count: u32::try_from(labels.len()).ok(),
            labels,
            finalizer_count: count(&finalizers),
            finalizers,
            annotation_count: count(&annotations),
            annotations,
        }
    }
}

impl TryFrom<wire::Surroundings> for Surroundings {
    type Error = ConvertError;

    fn try_from(surroundings: wire::Surroundings) -> Result<Self> {
        let wire::Surroundings { webhooks, lbc } = surroundings;
        Ok(Self {
            webhooks: webhooks.map(self::webhooks).transpose().at("webhooks")?,
            lbc: lbc.map(Pulse::try_from).transpose().at("lbc")?,
        })
    }
}

// A name that is lost is a hint that is missing: they take nothing away.
fn webhooks(webhooks: wire::Webhooks) -> Result<Vec<Webhook>> {
    let wire::Webhooks { validating, mutating } = webhooks;
    let of = |kind| {
        move |text| {
            Ok(Webhook {
                kind,
                name: name(text)?,
            })
        }
    };
    let mut all = each(validating, "validating", of(WebhookKind::Validating))?;
    all.extend(each(mutating, "mutating", of(WebhookKind::Mutating))?);
    Ok(all)
}

impl From<Surroundings> for wire::Surroundings {
    fn from(surroundings: Surroundings) -> Self {
        let Surroundings { webhooks, lbc } = surroundings;
        let webhooks = webhooks.map(|all| {
            let names = |kind| {
                all.iter()
                    .filter(|webhook| webhook.kind == kind)
                    .map(|webhook| webhook.name.clone())
                    .collect()
            };
            wire::Webhooks {
                validating: names(WebhookKind::Validating),
                mutating: names(WebhookKind::Mutating),
            }
        });
        Self {
            webhooks,
            lbc: lbc.map(Into::into),
        }
    }
}

impl TryFrom<wire::Pulse> for Pulse {
    type Error = ConvertError;

    fn try_from(pulse: wire::Pulse) -> Result<Self> {
        match required(pulse.state).at("state")? {
            wire::pulse::State::None(wire::Absent {}) => Ok(Self::None),
            wire::pulse::State::Beats(wire::Beat { lease, holder }) => Ok(Self::Beats {
                lease: text(lease, 512).at("beats.lease")?,
                holder: text(holder, 512).at("beats.holder")?,
            }),
        }
    }
}

impl From<Pulse> for wire::Pulse {
    fn from(pulse: Pulse) -> Self {
        let state = match pulse {
            Pulse::None => wire::pulse::State::None(wire::Absent {}),
            Pulse::Beats { lease, holder } => wire::pulse::State::Beats(wire::Beat { lease, holder }),
        };
        Self { state: Some(state) }
    }
}
