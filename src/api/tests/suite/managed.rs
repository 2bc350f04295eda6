//! Managed target groups over REST and by `elbow`: declared, tried, changed, given up, ended.

use std::time::Duration;

use anyhow::Context;
use model::{
    Observed, PlanId,
    condition::{Readiness, Reason, Truth},
    managed::{Difference, GroupPlan, GroupStatus, GroupStep, ObservedGroup},
};
use runtime::Tasks;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::{ARN, Answer, Api};

const PATH: &str = "/v1/target-groups/web";

/// A declaration, changed.
fn spec(change: impl FnOnce(&mut Value)) -> Value {
    let mut spec = json!({
        "clusters": ["one"],
        "managed": {
            "account": "123456789012", "region": "eu-central-1", "vpcId": "vpc-0a1b2c3d", "name": "web",
            "targetType": "ip", "protocol": "HTTP", "port": 80,
            "healthCheck": {"path": "/ready", "intervalSeconds": 10, "timeoutSeconds": 5},
            "attributes": {"deregistrationDelaySeconds": 30},
            "tags": {"team": "shop", "empty": ""},
        },
    });
    change(&mut spec);
    spec
}

async fn put(api: &Api, query: &str, spec: &Value) -> anyhow::Result<Answer> {
    let json = [("content-type", "application/json")];
    let body = json!({ "spec": spec }).to_string();
    api.call("PUT", &format!("{PATH}{query}"), &json, body).await
}

async fn call(api: &Api, method: &str, path: &str) -> anyhow::Result<Answer> {
    api.call(method, path, &[], String::new()).await
}

fn told(answer: &Answer) -> (u16, &str, &str) {
    let text = |field: &str| answer.body[field].as_str().unwrap_or_default();
    (answer.status.as_u16(), text("field"), text("detail"))
}

/// A declared group that AWS has made, as its shard's writer tells of it.
async fn made(api: &Api) -> anyhow::Result<()> {
    if call(api, "GET", PATH).await?.status == 404 {
        put(api, "", &spec(|_| ())).await?;
    }
    let (store, name) = (&api.store, "web".parse()?);
    let leases = store.lease("replica-0", Duration::from_mins(10), 1).await?;
    let fence = leases.first().context("a shard")?.fence();
    let drift = Difference {
        setting: "healthCheck.path".parse()?,
        declared: "/ready".into(),
        observed: Some("/".into()),
    };
    let confirm = GroupStep::Confirm { arn: ARN.parse()? };
    let plan = GroupPlan {
        name,
        version: 1,
        steps: vec![confirm.clone()],
        observe: None,
        wake_at: None,
        status: GroupStatus {
            ready: Readiness {
                status: Truth::True,
                reason: Reason::Drifted,
                message: "somebody changed it".into(),
            },
            steps: Vec::new(),
            holds: Vec::new(),
            drift: vec![drift],
        },
    };
    let shard = fence.shard.clone();
    let snapshot = store
        .managed_group(&shard, &plan.name)
        .await?
        .context("declared")?;
    let (at, value) = (
        snapshot.now,
        ObservedGroup {
            arn: ARN.parse()?,
            identity: snapshot.definition.spec.managed.identity(),
            load_balancers: Vec::new(),
            settings: snapshot.our_tags(),
        },
    );
    let id = PlanId(uuid::Uuid::from_u128(7));
    store.intend_group(&fence, id, &plan, &confirm).await?;
    store
        .report_managed_group(&fence, &plan.name, &plan.status, &Observed::Present { at, value })
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_managed_group_is_tried_declared_and_changed() -> anyhow::Result<()> {
    let api = Api::start().await?;
    let tried = put(&api, "?dryRun=true", &spec(|_| ())).await?;
    assert_eq!(tried.status, 201, "{tried:?}");
    let step = &tried.body["status"]["managed"]["steps"][0];
    assert_eq!(step["action"], "create");
    assert_eq!(step["settings"]["healthCheck.path"], "/ready");
    assert_eq!(step["settings"]["tags.elbow/target-group"], "web");
    assert_eq!(
        step["settings"]["attributes.deregistration_delay.timeout_seconds"], "30",
        "a trial tells all that is set, by however many calls"
    );
    assert_eq!(call(&api, "GET", PATH).await?.status, 404, "nothing was declared");

    let created = put(&api, "", &spec(|_| ())).await?;
    assert_eq!(
        (created.status.as_u16(), created.body["version"].as_i64()),
        (201, Some(1))
    );
    let status = &created.body["status"];
    assert_eq!(status.get("arn"), None, "AWS has not named it");
    assert_eq!(status["managed"]["ready"]["reason"], "AwaitingAws");
    let got = call(&api, "GET", PATH).await?;
    assert_eq!(got.body["spec"]["managed"]["deletionProtection"], true);
    assert_eq!(got.body["spec"]["managed"]["tags"]["empty"], "");
    let same = put(&api, "", &got.body["spec"]).await?;
    assert_eq!(
        (same.status.as_u16(), same.body["version"].as_i64()),
        (200, Some(1)),
        "what is read can be put again: {same:?}"
    );
    let listed = call(&api, "GET", "/v1/target-groups").await?;
    assert_eq!(listed.body["items"][0], got.body);

    let changed = spec(|spec| spec["managed"]["healthCheck"]["path"] = json!("/live"));
    let tried = put(&api, "?dryRun=true", &changed).await?;
    assert_eq!(tried.body["version"], 2);
    let changed = put(&api, "", &changed).await?;
    assert_eq!(
        changed.body["version"], 2,
        "as the trial said, which left no trace"
    );
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_is_refused_with_the_field_and_the_way_out() -> anyhow::Result<()> {
    let api = Api::start().await?;
    for (field, value, told_field, told) in [
        ("/managed/name", json!("-web"), "spec.managed.name", "1 to 32"),
        ("/managed/port", json!(0), "spec.managed.port", "1 to 65535"),
        (
            "/managed/targetType",
            json!("lambda"),
            "spec.managed.targetType",
            "`ip` or `instance`",
        ),
        (
            "/managed/protocol",
            json!("http"),
            "spec.managed.protocol",
            "HTTP",
        ),
        (
            "/managed/healthCheck/timeoutSeconds",
            json!(10),
            "spec.managed.healthCheck.timeoutSeconds",
            "less than",
        ),
        (
            "/managed/healthCheck/path",
            json!("ready"),
            "spec.managed.healthCheck.path",
            "begins with",
        ),
        (
            "/managed/healthCheck/path",
            Value::Null,
            "spec.managed.healthCheck.path",
            "null, expected a string",
        ),
        (
            "/managed/attributes/deregistrationDelaySeconds",
            json!(3601),
            "spec.managed.attributes.deregistrationDelaySeconds",
            "0 to 3600",
        ),
        (
            "/managed/tags",
            json!({"elbow/x": "1"}),
            "spec.managed.tags",
            "elbow/",
        ),
        (
            "/managed/region",
            json!("eu-west-1"),
            "spec.clusters",
            "eu-central-1",
        ),
        ("/clusters", json!([]), "spec.clusters", "at least one"),
        ("/managed", json!("yes"), "spec.managed", "struct"),
    ] {
        let mut wrong = spec(|_| ());
        *wrong.pointer_mut(field).context("a field")? = value;
        for query in ["", "?dryRun=true"] {
            let answer = put(&api, query, &wrong).await?;
            let (status, at, detail) = self::told(&answer);
            assert!(
                status == 422
                    && at.starts_with(told_field)
                    && detail.contains(told)
                    && !detail.contains("at line"),
                "{field}: {answer:?}"
            );
        }
    }
    let neither = put(&api, "", &json!({"clusters": ["one"]})).await?;
    assert_eq!((told(&neither).0, told(&neither).1), (422, "spec.arn"));

    put(&api, "", &spec(|_| ())).await?;
    let other = put(&api, "", &spec(|spec| spec["managed"]["port"] = json!(81))).await?;
    assert_eq!(told(&other).0, 409, "{other:?}");
    assert!(told(&other).2.contains("AWS cannot change it"), "{other:?}");
    let second = json!({ "spec": spec(|_| ()) }).to_string();
    let json = [("content-type", "application/json")];
    let second = api.call("PUT", "/v1/target-groups/web2", &json, second).await?;
    assert!(
        told(&second).2.contains("declared as `web` already"),
        "{second:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_managed_group_ends_only_by_a_choice_and_not_while_it_is_protected_or_used() -> anyhow::Result<()> {
    let api = Api::start().await?;
    made(&api).await?;
    let binding = "/v1/clusters/one/bindings/default/web";
    let bound = json!({"spec": {"targetGroupArn": ARN, "service": "web", "port": "http"}}).to_string();
    let json = [("content-type", "application/json")];
    let bound = api.call("PUT", binding, &json, bound).await?;
    assert_eq!(
        bound.status, 201,
        "a group with an ARN is bound like any other: {bound:?}"
    );

    let unsaid = call(&api, "DELETE", PATH).await?;
    assert_eq!((told(&unsaid).0, told(&unsaid).1), (422, "inAws"));
    let protected = call(&api, "DELETE", &format!("{PATH}?inAws=delete&dryRun=true")).await?;
    assert_eq!(told(&protected).0, 409);
    assert!(
        told(&protected).2.contains("deletionProtection: false"),
        "{protected:?}"
    );
    let off = spec(|spec| spec["managed"]["deletionProtection"] = json!(false));
    assert_eq!(put(&api, "", &off).await?.status, 200);
    let used = call(&api, "DELETE", &format!("{PATH}?inAws=delete")).await?;
    assert_eq!(told(&used).0, 409);
    assert!(told(&used).2.contains("used by 1 bindings"), "{used:?}");

    assert_eq!(call(&api, "DELETE", binding).await?.status, 200);
    // Its writer would do so.
    let (store, group) = (&api.store, ARN.parse()?);
    let leases = store.lease("replica-0", Duration::from_mins(10), 1).await?;
    store.finish_bindings(&leases[0].fence(), &group).await?;
    let tried = call(&api, "DELETE", &format!("{PATH}?inAws=delete&dryRun=true")).await?;
    assert_eq!(tried.status, 200, "{tried:?}");
    assert_eq!(
        call(&api, "GET", PATH).await?.body["status"]["managed"].get("ending"),
        None
    );
    assert_eq!(
        call(&api, "DELETE", &format!("{PATH}?inAws=delete"))
            .await?
            .status,
        200
    );
    let going = call(&api, "GET", PATH).await?;
    assert_eq!(going.body["status"]["managed"]["ending"], "delete");
    let again = put(&api, "", &off).await?;
    assert!(told(&again).2.contains("on its way out"), "{again:?}");
    Ok(())
}

#[tokio::test]
async fn a_binding_by_name_waits_for_its_group_and_is_to_it_once_aws_has_made_it() -> anyhow::Result<()> {
    let api = Api::start().await?;
    let path = "/v1/clusters/one/bindings/default/web";
    let bind = async |path: &str, spec: Value| {
        let json = [("content-type", "application/json")];
        api.call("PUT", path, &json, json!({ "spec": spec }).to_string())
            .await
    };
    let by_name = json!({"targetGroup": "web", "service": "web", "port": "http"});
    for (spec, field) in [
        (by_name.clone(), "spec.targetGroup"),
        (json!({"service": "web", "port": "http"}), "spec.targetGroupArn"),
        (
            json!({"targetGroup": "web", "targetGroupArn": ARN, "service": "web", "port": "1"}),
            "spec.targetGroupArn",
        ),
    ] {
        let refused = bind(path, spec).await?;
        assert_eq!((told(&refused).0, told(&refused).1), (422, field), "{refused:?}");
    }

    let protected = spec(|spec| spec["managed"]["deletionProtection"] = json!(false));
    put(&api, "", &protected).await?;
    let tried = bind(&format!("{path}?dryRun=true"), by_name.clone()).await?;
    assert_eq!(
        tried.body["status"]["ready"]["reason"], "TargetGroupPending",
        "{tried:?}"
    );
    let pending = bind(path, by_name.clone()).await?;
    assert_eq!(
        (pending.status.as_u16(), &pending.body["spec"]),
        (201, &by_name),
        "{pending:?}"
    );
    assert_eq!(pending.body["status"]["ready"]["reason"], "TargetGroupPending");
    assert_eq!(pending.body["status"].get("targetGroupArn"), None);
    let waiting = call(&api, "DELETE", &format!("{PATH}?inAws=delete")).await?;
    assert!(told(&waiting).2.contains("1 bindings wait"), "{waiting:?}");

    let tasks = Tasks::new();
    api.spawn(&tasks);
    made(&api).await?;
    let bound = timeout(Duration::from_mins(1), async {
        loop {
            let binding = call(&api, "GET", &format!("{path}?wait=1s")).await?;
            if binding.body["status"]["targetGroupArn"] == ARN {
                return anyhow::Ok(binding);
            }
        }
    })
    .await??;
    assert_eq!(bound.body["spec"], by_name, "it stays as it was declared");
    assert_eq!(api.store.unannounced_groups().await?, []);
    let same = bind(path, by_name).await?;
    assert_eq!(
        (same.status.as_u16(), &same.body["version"]),
        (200, &bound.body["version"])
    );
    let used = call(&api, "DELETE", &format!("{PATH}?inAws=delete")).await?;
    assert!(told(&used).2.contains("used by 1 bindings"), "{used:?}");

    // One that comes later is to it at once, and one that never was is gone at once.
    let second = "/v1/clusters/one/bindings/shop/web";
    let second_spec = json!({"targetGroup": "web", "service": "web", "port": "80"});
    let second = bind(second, second_spec).await?;
    assert_eq!(second.body["status"]["targetGroupArn"], ARN, "{second:?}");
    Ok(())
}

#[tokio::test]
async fn a_binding_that_waits_for_a_group_is_gone_when_it_is_deleted() -> anyhow::Result<()> {
    let api = Api::start().await?;
    put(&api, "", &spec(|_| ())).await?;
    let manifest = json!({"apiVersion": "elbow.dev/v1", "kind": "Binding",
        "metadata": {"cluster": "one", "namespace": "default", "name": "web"},
        "spec": {"targetGroup": "web", "service": "web", "port": "80"}});
    api.elbow("apply -f -", &manifest.to_string()).await?;
    let table = api.elbow("get bindings", "").await?;
    assert!(table.contains("TargetGroupPending"), "{table}");
    api.elbow("delete binding one/default/web", "").await?;
    let listed = call(&api, "GET", "/v1/bindings").await?;
    assert_eq!(listed.body["items"], json!([]));
    Ok(())
}

#[tokio::test]
async fn a_group_of_somebody_else_is_taken_over_and_given_up_by_its_declaration() -> anyhow::Result<()> {
    let api = Api::start().await?;
    let external = json!({"arn": ARN, "clusters": ["one"]});
    assert_eq!(put(&api, "", &external).await?.status, 201);
    let deleted = call(&api, "DELETE", &format!("{PATH}?inAws=delete")).await?;
    assert_eq!(
        (told(&deleted).0, told(&deleted).1),
        (422, "inAws"),
        "what somebody else made is not deleted"
    );
    let refused = put(&api, "", &spec(|_| ())).await?;
    assert!(told(&refused).2.contains("taken over"), "{refused:?}");
    let taken = put(&api, "", &spec(|spec| spec["arn"] = json!(ARN))).await?;
    assert_eq!(
        (taken.status.as_u16(), taken.body["version"].as_i64()),
        (200, Some(2))
    );
    assert_eq!(taken.body["status"]["arn"], ARN);
    let tried = put(&api, "?dryRun=true", &external).await?;
    assert_eq!(tried.body["version"], 2, "{tried:?}");
    for (field, told_field, value) in [
        ("name", "spec.managed.name", "shop"),
        ("region", "spec.arn", "eu-west-1"),
    ] {
        let other = spec(|spec| {
            spec["arn"] = json!(ARN);
            spec["managed"][field] = json!(value);
        });
        let refused = put(&api, "", &other).await?;
        assert_eq!(
            (told(&refused).0, told(&refused).1),
            (422, told_field),
            "{refused:?}"
        );
    }
    let given = put(&api, "", &external).await?;
    assert_eq!(given.status, 200, "{given:?}");
    assert_eq!(
        given.body["spec"].get("managed"),
        None,
        "nothing in AWS was ours yet"
    );
    Ok(())
}

#[tokio::test]
async fn elbow_tries_applies_shows_and_deletes_a_managed_group() -> anyhow::Result<()> {
    let api = Api::start().await?;
    let manifest = |spec: &Value| {
        json!({"apiVersion": "elbow.dev/v1", "kind": "TargetGroup", "metadata": {"name": "web"}, "spec": spec})
            .to_string()
    };
    let tried = api
        .elbow("apply -f - --dry-run", &manifest(&spec(|_| ())))
        .await?;
    assert!(
        tried.contains("+ create") && tried.contains("healthCheck.path=/ready"),
        "{tried}"
    );
    made(&api).await?;
    let table = api.elbow("get tg", "").await?;
    assert!(table.contains("MANAGED") && table.contains("Drifted"), "{table}");
    assert!(
        table.contains("present") && table.contains("REGISTERED"),
        "it was asked about, though nothing is bound to it: {table}"
    );
    let plan = api.elbow("plan web", "").await?;
    assert!(
        plan.contains("managed target group web: Drifted")
            && plan.contains("healthCheck.path=/, declared /ready"),
        "{plan}"
    );
    let journal = api.elbow("get plans --target-group web", "").await?;
    assert!(
        journal.contains("confirm") && journal.contains("web"),
        "{journal}"
    );
    let described = api.elbow("describe tg web", "").await?;
    assert!(described.contains("runbooks/conditions/Drifted"), "{described}");
    let written = api.elbow("get tg web -o yaml", "").await?;
    let unchanged = api.elbow("apply -f -", &written).await?;
    assert_eq!(unchanged.trim(), "target-group/web unchanged");
    let refused = api.elbow("delete tg web", "").await.unwrap_err().to_string();
    let kept = api.elbow("delete tg web --in-aws keep", "").await?;
    assert_eq!(kept.trim(), "target-group/web deleted", "{refused}");
    Ok(())
}
