//! Where an address or a pod is known: the beginning of an explanation.

use std::net::IpAddr;

use model::{ClusterId, TargetGroupArn, TargetKey, fact::ObjectName};
use serde_json::json;

use crate::{Op, Result, Store, row::Row};

/// A target group that may have to do with what is asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Candidate {
    pub target_group: TargetGroupArn,
    /// Where the ledger has it as a target already.
    pub target: Option<TargetKey>,
}

impl Store {
    /// The target groups whose ledger has the address, or whose bindings' Services have an endpoint with it.
    pub async fn candidates_of_address(&self, address: IpAddr) -> Result<Vec<Candidate>> {
        let endpoint = json!({ "endpoints": [{ "addresses": [address] }] });
        let query = sqlx::query!(
            r#"
            select target_group_arn as "arn!", target_id as "id?", port as "port?" from ledger_targets where target_id = $1
            union
            select b.target_group_arn, null, null from endpoint_slices s
            join bindings b on b.cluster_id = s.cluster_id and b.namespace = s.namespace and b.service = s.service
            where s.body @> $2 and b.target_group_arn is not null
            "#,
            address.to_string(),
            endpoint,
        );
        let rows = self.read(Op::Query, query.fetch_all(&self.pool)).await?;
        rows.into_iter()
            .map(|row| candidate(&row.arn, row.id.as_deref(), row.port))
            .collect()
    }

    /// As [`Self::candidates_of_address`], for a pod, in one cluster or in any.
    pub async fn candidates_of_pod(
        &self,
        cluster: Option<ClusterId>,
        pod: &ObjectName,
    ) -> Result<Vec<Candidate>> {
        let named = json!({ "namespace": pod.namespace, "name": pod.name });
        let query = sqlx::query!(
            r#"
            select l.target_group_arn as "arn!", l.target_id as "id?", l.port as "port?" from ledger_targets l
            where l.pod @> $1 and ($3::uuid is null or exists (
                select from bindings b where b.id = any(l.bindings) and b.cluster_id = $3
            ))
            union
            select b.target_group_arn, null, null from endpoint_slices s
            join bindings b on b.cluster_id = s.cluster_id and b.namespace = s.namespace and b.service = s.service
            where s.body @> $2 and b.target_group_arn is not null and ($3::uuid is null or s.cluster_id = $3)
            "#,
            named.clone(),
            json!({ "endpoints": [{ "pod": named }] }),
            cluster.map(|cluster| cluster.0),
        );
        let rows = self.read(Op::Query, query.fetch_all(&self.pool)).await?;
        rows.into_iter()
            .map(|row| candidate(&row.arn, row.id.as_deref(), row.port))
            .collect()
    }
}

fn candidate(arn: &str, id: Option<&str>, port: Option<i32>) -> Result<Candidate> {
    let at = Row::new("ledger_targets", &arn);
    let target = match (id, port) {
        (Some(id), Some(port)) => Some(TargetKey {
            id: at.text("target_id", id)?,
            port: at.number("port", port.into())?,
        }),
        _ => None,
    };
    Ok(Candidate {
        target_group: at.text("target_group_arn", arn)?,
        target,
    })
}
