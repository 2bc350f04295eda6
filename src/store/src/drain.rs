//! Targets of pods that ended, from their removal until AWS has let them finish what they serve.

use model::{TargetGroupArn, drain::Drained};
use serde_json::{Value, json};

use crate::{Op, Result, Store, database::transaction, lease};

impl Store {
    /// Ends drains, and tells those who follow of each that came to its end.
    pub async fn finish_drains(
        &self,
        fence: &lease::Fence,
        arn: &TargetGroupArn,
        drained: &[Drained],
    ) -> Result<()> {
        if drained.is_empty() {
            return Ok(());
        }
        let rows: Vec<_> = drained
            .iter()
            .map(|Drained { key, at }| json!({ "target_id": key.id, "port": key.port, "at": at }))
            .collect();
        transaction!(self, Op::FinishDrains, |tx| {
            lease::check_group(tx, fence, arn).await?;
            sqlx::query!(
                r#"
                with over as (
                    delete from drains d
                    using jsonb_to_recordset($2) as over (target_id text, port integer, at timestamptz)
                    where d.target_group_arn = $1 and d.target_id = over.target_id and d.port = over.port
                    returning d.*, over.at as drained_at
                )
                select event('target.drained', object, jsonb_build_object(
                    'targetGroupArn', target_group_arn, 'id', target_id, 'port', port,
                    'pod', pod ->> 'namespace' || '/' || (pod ->> 'name'),
                    'deregisteredAt', since, 'drainedBy', drained_at
                )) as "void: ()"
                from over where drained_at is not null
                "#,
                arn.to_string(),
                Value::from(rows.clone()),
            )
            .execute(&mut *tx)
            .await?;
            Ok(())
        })
        .await
    }
}
