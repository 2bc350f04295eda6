use axum::http::Method;
use serde_json::json;
use tonic::{Request, Response, Status};
use wire::v1::{
    DeleteTargetGroupRequest, GetTargetGroupRequest, ListRequest, ListTargetGroupsResponse,
    PutTargetGroupRequest, TargetGroup, target_group_service_server::TargetGroupService,
};

use super::{Public, call::Call};

#[tonic::async_trait]
impl TargetGroupService for Public {
    async fn list_target_groups(
        &self,
        request: Request<ListRequest>,
    ) -> Result<Response<ListTargetGroupsResponse>, Status> {
        let ListRequest { cursor, limit } = request.get_ref();
        Call::new(request.metadata(), Method::GET, &["target-groups"])
            .page(cursor, *limit)
            .answer(self)
            .await
    }

    async fn get_target_group(
        &self,
        request: Request<GetTargetGroupRequest>,
    ) -> Result<Response<TargetGroup>, Status> {
        let GetTargetGroupRequest { name } = request.get_ref();
        Call::new(request.metadata(), Method::GET, &["target-groups", name])
            .answer(self)
            .await
    }

    async fn put_target_group(
        &self,
        request: Request<PutTargetGroupRequest>,
    ) -> Result<Response<TargetGroup>, Status> {
        let PutTargetGroupRequest {
            name,
            spec,
            expected_version,
            dry_run,
        } = request.get_ref();
        Call::new(request.metadata(), Method::PUT, &["target-groups", name])
            .flag("dryRun", *dry_run)
            .expecting(*expected_version)
            .json(json!({ "spec": spec }))
            .answer(self)
            .await
    }

    async fn delete_target_group(
        &self,
        request: Request<DeleteTargetGroupRequest>,
    ) -> Result<Response<TargetGroup>, Status> {
        let DeleteTargetGroupRequest {
            name,
            expected_version,
            dry_run,
            in_aws,
        } = request.get_ref();
        Call::new(request.metadata(), Method::DELETE, &["target-groups", name])
            .flag("dryRun", *dry_run)
            .query("inAws", in_aws)
            .expecting(*expected_version)
            .answer(self)
            .await
    }
}
