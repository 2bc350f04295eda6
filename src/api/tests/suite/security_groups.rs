//! Security groups as operators see them: what is needed, what is ours, what is left to do, and who holds it back.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::Context;
use model::{
    PlanId, SecurityGroupId,
    binding::Peer,
    fact::Protocol,
    network::{Openings, Permission, PortRange, Standing},
    pause::Pause,
    plan::HoldReason,
    rule_plan::{Authorization, RuleHold, RulePlan, RuleStep, WhyAuthorize},
};
use serde_json::json;
use store::{BindingFilter, Outcome, SettledRule};

use crate::{
    operate::{declared, get},
    support::{ARN, Api},
};

const GROUP: &str = "sg-0123456789abcdef0";

fn port(port: u16) -> Permission {
    Permission {
        protocol: Protocol::Tcp,
        peer: Peer::Cidr("10.0.0.0/8".parse().unwrap()),
        ports: PortRange::single(port),
    }
}

/// A binding that needs two ports: one was opened, and the other is held back by a pause.
async fn opened() -> anyhow::Result<Api> {
    let api = declared().await?;
    let (store, group): (_, SecurityGroupId) = (&api.store, GROUP.parse()?);
    let bindings = store.bindings(&BindingFilter::default(), None, 1).await?;
    let (binding, cluster) = (bindings[0].binding.id, bindings[0].binding.cluster);
    let leases = store.lease("replica-0", Duration::from_mins(10), 1).await?;
    let fence = leases.first().context("a shard")?.fence();
    let openings = Openings::from([(group.clone(), BTreeSet::from([port(80), port(81)]))]);
    store
        .write_openings(&fence, &ARN.parse()?, binding, Some(&openings), None)
        .await?;
    let rule = Authorization {
        permission: port(80),
        clusters: BTreeSet::from([cluster]),
        bindings: BTreeSet::from([binding]),
        description: "Elbow for one: shop/web".into(),
        why: WhyAuthorize::Wanted,
    };
    let mut plan = RulePlan {
        security_group: group.clone(),
        steps: vec![RuleStep::Authorize { rules: vec![rule] }],
        holds: Vec::new(),
        borrowed: BTreeMap::new(),
        widened: Vec::new(),
        observe: None,
        wake_at: None,
        standings: BTreeMap::new(),
    };
    let id = PlanId(uuid::Uuid::from_u128(7));
    store.intend_rules(&fence, id, &plan, &plan.steps).await?;
    let settled = SettledRule {
        permission: port(80),
        rule: Some("sgr-0123456789abcdef0".parse()?),
        outcome: Outcome::Acknowledged,
        request_id: Some("a-request".into()),
    };
    store.settle_rules(&fence, id, &group, &[settled], None).await?;
    let standing = Standing {
        open: BTreeSet::from([port(80)]),
        ..Standing::default()
    };
    store
        .report_openings(&fence, &group, &BTreeMap::from([(binding, standing)]))
        .await?;
    plan.steps.clear();
    plan.holds = vec![RuleHold {
        reason: HoldReason::Paused,
        revocations: BTreeSet::new(),
        authorizations: BTreeSet::from([port(81)]),
        pauses: vec![Pause {
            by: "mia".into(),
            reason: "maintenance".into(),
            since: "2026-11-25T12:00:00Z".parse()?,
        }],
        until: None,
    }];
    store.write_outlook(&fence, &group, Some(&plan)).await?;
    Ok(api)
}

#[tokio::test]
async fn a_security_group_tells_what_is_needed_what_is_ours_and_who_holds_the_rest_back() -> anyhow::Result<()>
{
    let api = opened().await?;
    let permission =
        |port: u16| json!({"protocol": "TCP", "fromPort": port, "toPort": port, "peer": "10.0.0.0/8"});
    let group = get(&api, &format!("/v1/security-groups/{GROUP}")).await?;
    let opening = &group["openings"][0];
    assert_eq!(
        (&opening["needed"], &opening["open"]),
        (&json!([permission(80), permission(81)]), &json!([permission(80)]))
    );
    let rule = &group["rules"][0];
    assert_eq!(
        (&rule["permission"], &rule["state"], &rule["bindings"]),
        (
            &permission(80),
            &json!("authorized"),
            &json!([opening["binding"]])
        )
    );
    let hold = &group["plan"]["holds"][0];
    assert_eq!(
        (
            &hold["reason"],
            &hold["authorizations"],
            &hold["pauses"][0]["pausedBy"]
        ),
        (&json!("Paused"), &json!([permission(81)]), &json!("mia"))
    );
    assert_eq!(get(&api, "/v1/security-groups").await?["items"], json!([group]));

    let plans = get(&api, &format!("/v1/security-groups/{GROUP}/plans")).await?;
    let made = &plans["items"][0];
    assert_eq!(made["plan"]["steps"][0]["rules"][0]["permission"], permission(80));
    assert_eq!(made["outcome"][0]["requests"][0]["requestId"], "a-request");
    let answer = api
        .call(
            "GET",
            "/v1/security-groups/sg-00000000000000000",
            &[],
            String::new(),
        )
        .await?;
    assert_eq!(answer.status, 404);
    Ok(())
}

#[tokio::test]
async fn elbow_shows_the_rules_that_are_left_to_make_and_by_whose_word_they_wait() -> anyhow::Result<()> {
    let api = opened().await?;
    let plan = api.elbow(&format!("plan {GROUP}"), "").await?;
    for line in [
        "nothing to do",
        "held: Paused  +TCP 81 from 10.0.0.0/8",
        "paused by mia: maintenance",
    ] {
        anyhow::ensure!(plan.contains(line), "{plan}");
    }
    let groups = api.elbow("get sg", "").await?;
    anyhow::ensure!(groups.contains("1/2") && groups.contains("Paused"), "{groups}");
    let journal = api
        .elbow(&format!("get plans --security-group {GROUP}"), "")
        .await?;
    anyhow::ensure!(
        journal.contains("authorize 1") && journal.contains(GROUP),
        "{journal}"
    );
    Ok(())
}
