use axum::http::Method;
use serde_json::json;
use tonic::{Request, Response, Status};
use wire::v1::{
    EndTokenRequest, EndTokenResponse, Fleet, GetByIdRequest, GetFleetRequest, Hold, IssueTokenRequest,
    ListHoldsRequest, ListHoldsResponse, ListPausesRequest, ListPausesResponse, ListRequest,
    ListShardsResponse, ListTokensResponse, NewToken, PauseRequest, ReleaseFleetRequest, ReleaseHoldRequest,
    ReleaseShardRequest, ResumeRequest, RotateTokenRequest, Shard,
    operation_service_server::OperationService,
};

use super::{Public, call::Call};

#[tonic::async_trait]
impl OperationService for Public {
    async fn list_holds(
        &self,
        request: Request<ListHoldsRequest>,
    ) -> Result<Response<ListHoldsResponse>, Status> {
        let ListHoldsRequest { ended, cursor, limit } = request.get_ref();
        Call::new(request.metadata(), Method::GET, &["holds"])
            .flag("ended", *ended)
            .page(cursor, *limit)
            .answer(self)
            .await
    }

    async fn get_hold(&self, request: Request<GetByIdRequest>) -> Result<Response<Hold>, Status> {
        let GetByIdRequest { id } = request.get_ref();
        Call::new(request.metadata(), Method::GET, &["holds", id])
            .answer(self)
            .await
    }

    async fn release_hold(&self, request: Request<ReleaseHoldRequest>) -> Result<Response<Hold>, Status> {
        let ReleaseHoldRequest { id, dry_run } = request.get_ref();
        Call::new(request.metadata(), Method::POST, &["holds", id, "release"])
            .flag("dryRun", *dry_run)
            .answer(self)
            .await
    }

    async fn list_shards(
        &self,
        request: Request<ListRequest>,
    ) -> Result<Response<ListShardsResponse>, Status> {
        let ListRequest { cursor, limit } = request.get_ref();
        Call::new(request.metadata(), Method::GET, &["shards"])
            .page(cursor, *limit)
            .answer(self)
            .await
    }

    async fn release_shard(&self, request: Request<ReleaseShardRequest>) -> Result<Response<Shard>, Status> {
        let ReleaseShardRequest { name, dry_run } = request.get_ref();
        let path: Vec<_> = ["shards"]
            .into_iter()
            .chain(name.split('/'))
            .chain(["release"])
            .collect();
        Call::new(request.metadata(), Method::POST, &path)
            .flag("dryRun", *dry_run)
            .answer(self)
            .await
    }

    async fn list_pauses(
        &self,
        request: Request<ListPausesRequest>,
    ) -> Result<Response<ListPausesResponse>, Status> {
        Call::new(request.metadata(), Method::GET, &["pauses"])
            .answer(self)
            .await
    }

    async fn pause(&self, request: Request<PauseRequest>) -> Result<Response<ListPausesResponse>, Status> {
        let PauseRequest {
            subject,
            reason,
            dry_run,
        } = request.get_ref();
        Call::new(request.metadata(), Method::PUT, &["pauses"])
            .query("subject", subject)
            .flag("dryRun", *dry_run)
            .json(json!({ "reason": reason }))
            .answer(self)
            .await
    }

    async fn resume(&self, request: Request<ResumeRequest>) -> Result<Response<ListPausesResponse>, Status> {
        let ResumeRequest { subject, dry_run } = request.get_ref();
        Call::new(request.metadata(), Method::DELETE, &["pauses"])
            .query("subject", subject)
            .flag("dryRun", *dry_run)
            .answer(self)
            .await
    }

    async fn list_tokens(
        &self,
        request: Request<ListRequest>,
    ) -> Result<Response<ListTokensResponse>, Status> {
        let ListRequest { cursor, limit } = request.get_ref();
        Call::new(request.metadata(), Method::GET, &["tokens"])
            .page(cursor, *limit)
            .answer(self)
            .await
    }

    async fn issue_token(&self, request: Request<IssueTokenRequest>) -> Result<Response<NewToken>, Status> {
        let IssueTokenRequest {
            name,
            role,
            expires_in,
            scope,
            team,
        } = request.get_ref();
        let scope = Some(scope).filter(|places| !places.is_empty());
        let body =
            json!({ "name": name, "role": role, "expiresIn": expires_in, "scope": scope, "team": team });
        Call::new(request.metadata(), Method::POST, &["tokens"])
            .json(body)
            .answer(self)
            .await
    }

    async fn rotate_token(&self, request: Request<RotateTokenRequest>) -> Result<Response<NewToken>, Status> {
        let RotateTokenRequest { id, overlap } = request.get_ref();
        Call::new(request.metadata(), Method::POST, &["tokens", id, "rotate"])
            .query("overlap", overlap)
            .answer(self)
            .await
    }

    async fn end_token(
        &self,
        request: Request<EndTokenRequest>,
    ) -> Result<Response<EndTokenResponse>, Status> {
        let EndTokenRequest { id, overlap, dry_run } = request.get_ref();
        Call::new(request.metadata(), Method::DELETE, &["tokens", id])
            .query("overlap", overlap)
            .flag("dryRun", *dry_run)
            .send(self)
            .await?;
        Ok(Response::new(EndTokenResponse {}))
    }

    async fn get_fleet(&self, request: Request<GetFleetRequest>) -> Result<Response<Fleet>, Status> {
        Call::new(request.metadata(), Method::GET, &["fleet"])
            .answer(self)
            .await
    }

    async fn release_fleet(&self, request: Request<ReleaseFleetRequest>) -> Result<Response<Fleet>, Status> {
        let ReleaseFleetRequest { dry_run } = request.get_ref();
        Call::new(request.metadata(), Method::POST, &["fleet", "release"])
            .flag("dryRun", *dry_run)
            .answer(self)
            .await
    }
}
