//! All clusters together, and what operators say of them.

use jiff_sqlx::Timestamp as SqlTimestamp;
use model::fleet::Fleet;

use crate::{Op, Result, Store, audit, database::transaction, row::Row, wake};

impl Store {
    /// When the clusters that count were last heard of.
    pub async fn fleet(&self) -> Result<Fleet> {
        let query = sqlx::query!(
            r#"
            select clock_timestamp() as "now!: SqlTimestamp", fleet_released_at as "released_at: SqlTimestamp",
                (
                    select coalesce(json_agg(seen_at), '[]') from clusters
                    where seen_at is not null and cordoned_at is null and leaving is null
                ) as "last_seen!"
            from installation
            "#,
        );
        let row = self.read(Op::Fleet, query.fetch_one(&self.pool)).await?;
        Ok(Fleet {
            now: row.now.to_jiff(),
            last_seen: Row::new("clusters", &"all").json("seen_at", row.last_seen)?,
            released_at: row.released_at.map(SqlTimestamp::to_jiff),
        })
    }

    /// An operator says that the clusters which are silent now are not coming back: they count no longer.
    pub async fn release_fleet(&self, actor: &str) -> Result<()> {
        transaction!(self, Op::Release, |tx| {
            sqlx::query!(
                "update installation set fleet_released_at = clock_timestamp(), fleet_released_by = $1",
                actor
            )
            .execute(&mut *tx)
            .await?;
            audit::append(tx, actor, "fleet.release", "fleet", None, None).await?;
            wake::everything(tx).await
        })
        .await
    }
}
