use axum::http::Method;
use serde_json::json;
use tonic::{Request, Response, Status};
use wire::v1::{
    DeleteRequest, GetTeamRequest, ListRequest, ListTeamsResponse, PutTeamRequest, Team,
    team_service_server::TeamService,
};

use super::{Public, call::Call};

#[tonic::async_trait]
impl TeamService for Public {
    async fn list_teams(&self, request: Request<ListRequest>) -> Result<Response<ListTeamsResponse>, Status> {
        let ListRequest { cursor, limit } = request.get_ref();
        Call::new(request.metadata(), Method::GET, &["teams"])
            .page(cursor, *limit)
            .answer(self)
            .await
    }

    async fn get_team(&self, request: Request<GetTeamRequest>) -> Result<Response<Team>, Status> {
        let GetTeamRequest { name } = request.get_ref();
        Call::new(request.metadata(), Method::GET, &["teams", name])
            .answer(self)
            .await
    }

    async fn put_team(&self, request: Request<PutTeamRequest>) -> Result<Response<Team>, Status> {
        let PutTeamRequest {
            name,
            spec,
            expected_version,
            dry_run,
        } = request.get_ref();
        Call::new(request.metadata(), Method::PUT, &["teams", name])
            .flag("dryRun", *dry_run)
            .expecting(*expected_version)
            .json(json!({ "spec": spec }))
            .answer(self)
            .await
    }

    async fn delete_team(&self, request: Request<DeleteRequest>) -> Result<Response<Team>, Status> {
        let DeleteRequest {
            name,
            expected_version,
            dry_run,
        } = request.get_ref();
        Call::new(request.metadata(), Method::DELETE, &["teams", name])
            .flag("dryRun", *dry_run)
            .expecting(*expected_version)
            .answer(self)
            .await
    }
}
