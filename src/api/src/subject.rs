//! What pauses and explanations are about, as text: `cluster/east`, `binding/east/shop/web`. Both transports read it here.

use control::{Error, bindings::BindingName, explain, pauses};
use model::{Name, fact::ObjectName};

fn wrong(text: &str, expected: &str) -> Error {
    let given: String = text.chars().take(100).collect();
    Error::Invalid {
        field: Some("subject".to_owned()),
        message: format!("`{}` is not {expected}", given.escape_debug()),
    }
}

/// `CLUSTER/NAMESPACE/NAME`.
fn binding(text: &str) -> Option<BindingName> {
    let (cluster, object) = text.split_once('/')?;
    Some(BindingName {
        cluster: cluster.parse().ok()?,
        object: object_name(object)?,
    })
}

/// `NAMESPACE/NAME`.
fn object_name(text: &str) -> Option<ObjectName> {
    let (namespace, name) = text.split_once('/').filter(|(_, name)| !name.contains('/'))?;
    Some(ObjectName::new(namespace, name))
}

pub(crate) fn of_pause(text: &str) -> Result<pauses::Subject, Error> {
    let subject = match text.split_once('/') {
        None if text == "installation" => Some(pauses::Subject::Installation),
        Some(("shard", shard)) => shard.parse().ok().map(pauses::Subject::Shard),
        Some(("cluster", name)) => name.parse().ok().map(pauses::Subject::Cluster),
        Some(("binding", name)) => binding(name).map(pauses::Subject::Binding),
        _ => None,
    };
    subject.ok_or_else(|| {
        wrong(
            text,
            "`installation`, `shard/PARTITION/ACCOUNT/REGION`, `cluster/NAME` or `binding/CLUSTER/NAMESPACE/NAME`",
        )
    })
}

pub(crate) fn of_explanation(text: &str, cluster: Option<Name>) -> Result<explain::Subject, Error> {
    let subject = match text.split_once('/') {
        None => text.parse().ok().map(explain::Subject::Address),
        Some(("pod", pod)) => object_name(pod).map(|pod| explain::Subject::Pod { cluster, pod }),
        Some(("binding", name)) => binding(name).map(explain::Subject::Binding),
        Some(_) => None,
    };
    subject.ok_or_else(|| {
        wrong(
            text,
            "an IP address, `pod/NAMESPACE/NAME` or `binding/CLUSTER/NAMESPACE/NAME`",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_subject_is_refused_with_what_would_be_one() {
        for good in [
            "installation",
            "shard/aws/123456789012/eu-central-1",
            "cluster/east",
            "binding/east/shop/web",
        ] {
            assert!(of_pause(good).is_ok(), "{good}");
        }
        for good in ["10.0.0.1", "fd00::1", "pod/shop/web-1", "binding/east/shop/web"] {
            assert!(of_explanation(good, None).is_ok(), "{good}");
        }
        for bad in [
            "",
            "cluster",
            "cluster/",
            "cluster/UP",
            "binding/east/web",
            "binding/east/a/b/c",
            "shard/aws",
            "x\0",
        ] {
            assert_eq!(of_pause(bad).unwrap_err().field(), Some("subject"), "{bad}");
            assert_eq!(
                of_explanation(bad, None).unwrap_err().field(),
                Some("subject"),
                "{bad}"
            );
        }
    }
}
