use std::pin::Pin;

use axum::http::Method;
use control::events::{Follower, News};
use futures::{Stream, StreamExt, stream};
use serde_json::json;
use tonic::{Request, Response, Status};
use wire::v1::{
    Event, ExplainRequest, ExplainResponse, FollowEventsRequest, FollowEventsResponse, GetByIdRequest,
    JournaledPlan, ListAuditRequest, ListAuditResponse, ListEndpointsRequest, ListEndpointsResponse,
    ListGroupPlansRequest, ListGroupPlansResponse, ListPlansRequest, ListPlansResponse, ListRequest,
    ListRulePlansRequest, ListRulePlansResponse, ListSecurityGroupsResponse, Manifests, Preview,
    PreviewPlanRequest, SecurityGroup, insight_service_server::InsightService, preview_plan_request::Of,
};

use super::{Public, call::Call};
use crate::status::{principal, status};

#[tonic::async_trait]
impl InsightService for Public {
    async fn list_endpoints(
        &self,
        request: Request<ListEndpointsRequest>,
    ) -> Result<Response<ListEndpointsResponse>, Status> {
        let ListEndpointsRequest {
            cluster,
            namespace,
            service,
            cursor,
            limit,
        } = request.get_ref();
        Call::new(
            request.metadata(),
            Method::GET,
            &["clusters", cluster, "endpoints"],
        )
        .query("namespace", namespace)
        .query("service", service)
        .page(cursor, *limit)
        .answer(self)
        .await
    }

    async fn list_plans(
        &self,
        request: Request<ListPlansRequest>,
    ) -> Result<Response<ListPlansResponse>, Status> {
        let ListPlansRequest {
            target_group,
            cursor,
            limit,
        } = request.get_ref();
        Call::new(request.metadata(), Method::GET, &["plans"])
            .query("targetGroup", target_group)
            .page(cursor, *limit)
            .answer(self)
            .await
    }

    async fn get_plan(&self, request: Request<GetByIdRequest>) -> Result<Response<JournaledPlan>, Status> {
        let GetByIdRequest { id } = request.get_ref();
        Call::new(request.metadata(), Method::GET, &["plans", id])
            .answer(self)
            .await
    }

    async fn preview_plan(&self, request: Request<PreviewPlanRequest>) -> Result<Response<Preview>, Status> {
        let call = Call::new(request.metadata(), Method::POST, &["plans"]);
        match request.into_inner().of {
            Some(Of::TargetGroup(name)) => call.json(json!({ "targetGroup": name })).answer(self).await,
            Some(Of::Manifests(Manifests { cluster, yaml })) => {
                call.query("cluster", &cluster).yaml(yaml).answer(self).await
            }
            None => Err(Status::invalid_argument("of: say a target group or manifests")),
        }
    }

    async fn list_security_groups(
        &self,
        request: Request<ListRequest>,
    ) -> Result<Response<ListSecurityGroupsResponse>, Status> {
        let ListRequest { cursor, limit } = request.get_ref();
        Call::new(request.metadata(), Method::GET, &["security-groups"])
            .page(cursor, *limit)
            .answer(self)
            .await
    }

    async fn get_security_group(
        &self,
        request: Request<GetByIdRequest>,
    ) -> Result<Response<SecurityGroup>, Status> {
        let GetByIdRequest { id } = request.get_ref();
        Call::new(request.metadata(), Method::GET, &["security-groups", id])
            .answer(self)
            .await
    }

    async fn list_group_plans(
        &self,
        request: Request<ListGroupPlansRequest>,
    ) -> Result<Response<ListGroupPlansResponse>, Status> {
        let ListGroupPlansRequest {
            target_group,
            cursor,
            limit,
        } = request.get_ref();
        let path = ["target-groups", target_group, "plans"];
        Call::new(request.metadata(), Method::GET, &path)
            .page(cursor, *limit)
            .answer(self)
            .await
    }

    async fn list_rule_plans(
        &self,
        request: Request<ListRulePlansRequest>,
    ) -> Result<Response<ListRulePlansResponse>, Status> {
        let ListRulePlansRequest {
            security_group,
            cursor,
            limit,
        } = request.get_ref();
        let path = ["security-groups", security_group, "plans"];
        Call::new(request.metadata(), Method::GET, &path)
            .page(cursor, *limit)
            .answer(self)
            .await
    }

    async fn explain(&self, request: Request<ExplainRequest>) -> Result<Response<ExplainResponse>, Status> {
        let ExplainRequest { subject, cluster } = request.get_ref();
        Call::new(request.metadata(), Method::GET, &["explanations"])
            .query("subject", subject)
            .query("cluster", cluster)
            .answer(self)
            .await
    }

    async fn list_audit(
        &self,
        request: Request<ListAuditRequest>,
    ) -> Result<Response<ListAuditResponse>, Status> {
        let ListAuditRequest {
            actor,
            object,
            cursor,
            limit,
        } = request.get_ref();
        Call::new(request.metadata(), Method::GET, &["audit"])
            .query("actor", actor)
            .query("object", object)
            .page(cursor, *limit)
            .answer(self)
            .await
    }

    type FollowEventsStream = Pin<Box<dyn Stream<Item = Result<FollowEventsResponse, Status>> + Send>>;

    async fn follow_events(
        &self,
        request: Request<FollowEventsRequest>,
    ) -> Result<Response<Self::FollowEventsStream>, Status> {
        let principal = principal(&self.control, request.metadata()).await?;
        let FollowEventsRequest { after, no_follow } = request.into_inner();
        let after = Some(after.as_str()).filter(|after| !after.is_empty());
        let follower = self.control.follow(&principal, after).await;
        let follower = follower.map_err(|error| status(&error))?;
        Ok(Response::new(Box::pin(messages(follower, !no_follow))))
    }
}

/// Ends with the first error: the caller comes back and goes on where it was.
fn messages(follower: Follower, endless: bool) -> impl Stream<Item = Result<FollowEventsResponse, Status>> {
    let batches = stream::try_unfold(follower, move |mut follower| async move {
        let news = if endless {
            follower.next().await
        } else {
            follower.ready().await
        };
        let news = news.map_err(|error| status(&error))?;
        let told: Vec<_> = news.into_iter().filter_map(message).map(Ok).collect();
        let more = endless || !told.is_empty();
        Ok(more.then(|| (stream::iter(told), follower)))
    });
    batches.flat_map(|batch| match batch {
        Ok(told) => told.left_stream(),
        Err(error) => stream::iter([Err(error)]).right_stream(),
    })
}

fn message(news: News) -> Option<FollowEventsResponse> {
    match news {
        News::Event(event) => {
            let id = event.id.to_string();
            let event = crate::rest::event(event);
            let event = serde_json::to_value(event).and_then(serde_json::from_value::<Event>);
            Some(FollowEventsResponse {
                id,
                event: event.ok(),
                forgotten: false,
            })
        }
        News::Forgotten => Some(FollowEventsResponse {
            forgotten: true,
            ..FollowEventsResponse::default()
        }),
        News::Quiet => None,
    }
}
