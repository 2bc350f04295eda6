//! Route × role × foreign: every use case of the table over REST and over gRPC, by everybody who may call. What is
//! expected follows from the table's [`Access`] and [`Reach`] and from what each caller has in cluster `one`.

use anyhow::{Context, ensure};
use api::use_case::{self, Access, Reach, UseCase};
use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use control::ApiRole;
use prost_types::FileDescriptorProto;
use serde_json::{Map, Value, json};
use tonic::Code;

use crate::{
    agents::Service,
    raw::{self, Client},
    routes::{Operation, operations, seeded_names},
    support::ARN,
};

/// What a caller has of cluster `one`, whose namespace `shop` binds target group `web`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Has {
    /// All that there is, of every cluster.
    Everything,
    /// All of the cluster, by team `alpha`.
    Team,
    Cluster,
    /// `one/shop`.
    Namespace,
    /// Another namespace of the cluster.
    Beside,
    Nothing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Nobody,
    Agent,
    Person(ApiRole, Has),
}

struct Caller {
    label: String,
    who: Who,
    token: Option<String>,
}

/// What is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Unauthenticated,
    Forbidden,
    NotFound,
    Served,
}

/// What the table says.
fn expected(case: &UseCase, who: Who) -> Answer {
    let (role, has) = match who {
        Who::Nobody => return Answer::Unauthenticated,
        Who::Agent => return Answer::Forbidden,
        Who::Person(role, has) => (role, has),
    };
    let allowed = match case.access {
        Access::Read => true,
        Access::Edit => role != ApiRole::Viewer,
        Access::Write => role == ApiRole::Admin,
    };
    if !allowed {
        return Answer::Forbidden;
    }
    match (case.reach, has) {
        (Reach::Token, _) if role != ApiRole::Admin => Answer::NotFound,
        (_, Has::Everything) | (Reach::Part | Reach::Own, _) | (Reach::Team, Has::Team) => Answer::Served,
        (Reach::Token | Reach::Team | Reach::Id, _) | (Reach::Group | Reach::WholeGroup, Has::Nothing) => {
            Answer::NotFound
        }
        (Reach::Everything, _)
        | (Reach::Cluster, Has::Nothing)
        | (Reach::Namespace, Has::Beside | Has::Nothing)
        // The test's group admits all of the cluster.
        | (Reach::WholeGroup, Has::Namespace | Has::Beside) => Answer::Forbidden,
        (Reach::Cluster | Reach::Namespace | Reach::Group | Reach::WholeGroup, _) => Answer::Served,
    }
}

/// Bodies that are whole, so that nothing but the caller decides. A use case with a body and no row here fails.
fn body(operation: &str) -> Value {
    let place =
        json!({"account": "123456789012", "region": "eu-central-1", "vpcId": "vpc-0a1b2c3d", "mode": "full"});
    match operation {
        "putCluster" => json!({ "spec": place }),
        "putTargetGroup" => json!({ "spec": { "arn": ARN, "clusters": ["one"] } }),
        "putBinding" => json!({ "spec": { "targetGroupArn": ARN, "service": "web", "port": "80" } }),
        "putAccount" => json!({ "spec": { "role": { "arn": "arn:aws:iam::123456789012:role/elbow" } } }),
        "putTeam" => json!({ "spec": { "scope": ["one"] } }),
        "pause" => json!({ "reason": "maintenance" }),
        "issueToken" => json!({ "name": "made", "role": "viewer", "expiresIn": "1h" }),
        "previewPlan" => json!({ "targetGroup": "web" }),
        other => panic!("`{other}` takes a body: give it a whole one here"),
    }
}

struct World {
    service: Service,
    client: Client,
    package: FileDescriptorProto,
    operations: Vec<Operation>,
    /// The id of a token that none of the scoped callers made.
    victim: String,
}

impl World {
    async fn new() -> anyhow::Result<Self> {
        let service = Service::start().await?;
        crate::routes::fill(&service.api).await?;
        let victim = service
            .api
            .issue(json!({ "name": "victim", "role": "viewer" }))
            .await?;
        let victim = victim["id"].as_str().context("an id")?.to_owned();
        let named = |parameter: &str| match parameter {
            "token" => victim.clone(),
            "team" => "alpha".to_owned(),
            other => seeded_names(other),
        };
        Ok(Self {
            client: Client::new(&service.url).await?,
            package: raw::package(),
            operations: operations(named),
            service,
            victim,
        })
    }

    async fn callers(&self) -> anyhow::Result<Vec<Caller>> {
        let api = &self.service.api;
        for (team, place) in [("alpha", "one"), ("beta", "two")] {
            let spec = json!({ "spec": { "scope": [place] } }).to_string();
            let json = [("content-type", "application/json")];
            let made = api.call("PUT", &format!("/v1/teams/{team}"), &json, spec).await?;
            ensure!(made.status == 201, "{made:?}");
        }
        let ended = api.issue(json!({ "name": "ended", "role": "admin" })).await?;
        let id = ended["id"].as_str().context("an id")?;
        let gone = api
            .call("DELETE", &format!("/v1/tokens/{id}"), &[], String::new())
            .await?;
        ensure!(gone.status == 204, "{gone:?}");
        let caller = |label: &str, who, token: Option<&str>| Caller {
            label: label.to_owned(),
            who,
            token: token.map(str::to_owned),
        };
        let unknown = control::Token::generate();
        let mut callers = vec![
            caller("nobody", Who::Nobody, None),
            caller("a bad token", Who::Nobody, Some("elbow_nonsense")),
            caller("an unknown token", Who::Nobody, Some(unknown.expose())),
            caller("an ended token", Who::Nobody, ended["token"].as_str()),
            caller("an agent", Who::Agent, Some(&api.agent)),
            caller(
                "an admin",
                Who::Person(ApiRole::Admin, Has::Everything),
                Some(&api.admin),
            ),
        ];
        for (role, word) in [(ApiRole::Viewer, "viewer"), (ApiRole::Editor, "editor")] {
            for (what, has) in [
                (json!({}), Has::Everything),
                (json!({ "team": "alpha" }), Has::Team),
                (json!({ "scope": ["one"] }), Has::Cluster),
                (json!({ "scope": ["one/shop"] }), Has::Namespace),
                (json!({ "scope": ["one/other"] }), Has::Beside),
                (json!({ "scope": ["two"] }), Has::Nothing),
                (json!({ "scope": ["two/shop"] }), Has::Nothing),
                (json!({ "team": "beta" }), Has::Nothing),
            ] {
                let mut wish = what.clone();
                wish["name"] = format!("{word} {what}").into();
                wish["role"] = word.into();
                let token = api.issue(wish).await?;
                callers.push(caller(
                    &format!("a {word} of {what}"),
                    Who::Person(role, has),
                    token["token"].as_str(),
                ));
            }
        }
        Ok(callers)
    }

    fn operation(&self, case: &UseCase) -> &Operation {
        let found = self
            .operations
            .iter()
            .find(|operation| operation.id == case.operation);
        found.unwrap_or_else(|| panic!("{} is no operation of REST", case.operation))
    }

    async fn over_rest(&self, case: &UseCase, caller: &Caller) -> anyhow::Result<(Answer, Value)> {
        let operation = self.operation(case);
        let mut path = operation.path.clone();
        for parameter in operation
            .query
            .iter()
            .filter(|name| ["dryRun", "overlap"].contains(&name.as_str()))
        {
            let separator = if path.contains('?') { '&' } else { '?' };
            let value = if parameter == "dryRun" { "true" } else { "1h" };
            path = format!("{path}{separator}{parameter}={value}");
        }
        let mut request = Request::builder().method(operation.method.clone()).uri(path);
        if let Some(token) = &caller.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = if operation.has_body {
            request
                .header(header::CONTENT_TYPE, "application/json")
                .body(Body::from(body(case.operation).to_string()))
        } else {
            request.body(Body::empty())
        };
        let answer = self.service.api.send(request?).await?;
        answer.is_problem_or_success()?;
        let told = match answer.status {
            StatusCode::UNAUTHORIZED => Answer::Unauthenticated,
            StatusCode::FORBIDDEN => Answer::Forbidden,
            StatusCode::NOT_FOUND => Answer::NotFound,
            status => {
                ensure!(!status.is_server_error(), "{answer:?}");
                // A conflict is of the object, after the caller was let through.
                ensure!(status.is_success() || case.access != Access::Read, "{answer:?}");
                Answer::Served
            }
        };
        Ok((told, answer.body))
    }

    /// The request that REST's path, required parameters and body make in gRPC.
    fn message(&self, case: &UseCase) -> Value {
        let operation = self.operation(case);
        let mut message = if operation.has_body {
            body(case.operation)
        } else {
            Value::Object(Map::new())
        };
        for (name, value) in &operation.names {
            let field = match name.as_str() {
                "hold" | "plan" | "token" => "id",
                "team" | "account" => "name",
                "securityGroup" if case.operation == "getSecurityGroup" => "id",
                "targetGroup" if case.rpc.starts_with("TargetGroup") => "name",
                "cluster" if case.rpc.starts_with("Cluster") && !case.operation.contains("Token") => "name",
                other => other,
            };
            message[field] = value.clone().into();
        }
        if case.rpc.starts_with("BindingService") && message["name"].is_string() {
            message["name"] = json!({ "cluster": "one", "namespace": "shop", "name": "web" });
        }
        if case.operation == "releaseShard" {
            message["name"] = "aws/123456789012/eu-central-1".into();
        }
        for (field, value) in [
            ("dryRun", json!(true)),
            ("noFollow", json!(true)),
            ("overlap", json!("1h")),
        ] {
            message[field] = value;
        }
        message
    }

    async fn over_grpc(&self, case: &UseCase, caller: &Caller) -> anyhow::Result<(Answer, String)> {
        let request = raw::request_of(&self.package, case.rpc);
        let message = raw::encode(&self.package, &request, &self.message(case));
        let answer = self.client.call(case.rpc, caller.token.as_deref(), message).await;
        Ok(match answer {
            Ok(bytes) => (Answer::Served, String::from_utf8_lossy(&bytes).into_owned()),
            Err(status) => {
                let told = match status.code() {
                    Code::Unauthenticated => Answer::Unauthenticated,
                    Code::PermissionDenied => Answer::Forbidden,
                    Code::NotFound => Answer::NotFound,
                    Code::FailedPrecondition | Code::Aborted if case.access != Access::Read => Answer::Served,
                    code => anyhow::bail!("{code:?}: {status:?}"),
                };
                (told, status.message().to_owned())
            }
        })
    }
}

#[tokio::test]
async fn each_use_case_answers_each_caller_as_the_table_says_over_both_transports() -> anyhow::Result<()> {
    let world = World::new().await?;
    let callers = world.callers().await?;
    let path = "/v1/clusters/one/bindings/shop/web";
    let before = world.service.api.call("GET", path, &[], String::new()).await?;
    let mut asked = 0;
    for case in use_case::ALL {
        for caller in &callers {
            let what = format!("{} by {}", case.operation, caller.label);
            let wanted = expected(case, caller.who);
            // Nothing has these ids, so that they are found by nobody; a foreign one is told in the same way.
            let wanted = match (wanted, case.operation) {
                (
                    Answer::Served,
                    "getPlan" | "getHold" | "releaseHold" | "getAccount" | "deleteAccount"
                    | "getSecurityGroup",
                ) => Answer::NotFound,
                (wanted, _) => wanted,
            };
            let (rest, told) = world
                .over_rest(case, caller)
                .await
                .with_context(|| what.clone())?;
            ensure!(
                rest == wanted,
                "{what} over REST: {rest:?}, the table says {wanted:?}: {told}"
            );
            let (grpc, said) = world
                .over_grpc(case, caller)
                .await
                .with_context(|| what.clone())?;
            ensure!(
                grpc == wanted,
                "{what} over gRPC: {grpc:?}, the table says {wanted:?}: {said}"
            );
            if matches!(
                caller.who,
                Who::Nobody | Who::Agent | Who::Person(_, Has::Nothing)
            ) {
                for text in [told.to_string(), said] {
                    ensure!(
                        !text.contains(ARN) && (case.reach == Reach::Token || !text.contains(&world.victim)),
                        "{what} is told: {text}"
                    );
                }
            }
            asked += 2;
        }
    }
    println!("{asked} calls");
    let after = world.service.api.call("GET", path, &[], String::new()).await?;
    ensure!(before.body == after.body, "{before:?} {after:?}");
    world.service.stop().await;
    Ok(())
}
