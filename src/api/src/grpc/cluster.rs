use axum::http::Method;
use serde_json::json;
use tonic::{Request, Response, Status};
use wire::v1::{
    Cluster, CordonClusterRequest, DeleteClusterRequest, GetClusterRequest, IssueAgentTokenRequest,
    ListClustersResponse, ListRequest, NewToken, PutClusterRequest, cluster_service_server::ClusterService,
};

use super::{Public, call::Call};

#[tonic::async_trait]
impl ClusterService for Public {
    async fn list_clusters(
        &self,
        request: Request<ListRequest>,
    ) -> Result<Response<ListClustersResponse>, Status> {
        let call = Call::new(request.metadata(), Method::GET, &["clusters"]);
        let ListRequest { cursor, limit } = request.into_inner();
        call.page(&cursor, limit).answer(self).await
    }

    async fn get_cluster(&self, request: Request<GetClusterRequest>) -> Result<Response<Cluster>, Status> {
        let GetClusterRequest { name } = request.get_ref();
        Call::new(request.metadata(), Method::GET, &["clusters", name])
            .answer(self)
            .await
    }

    async fn put_cluster(&self, request: Request<PutClusterRequest>) -> Result<Response<Cluster>, Status> {
        let PutClusterRequest {
            name,
            spec,
            expected_version,
            dry_run,
        } = request.get_ref();
        Call::new(request.metadata(), Method::PUT, &["clusters", name])
            .flag("dryRun", *dry_run)
            .expecting(*expected_version)
            .json(json!({ "spec": spec }))
            .answer(self)
            .await
    }

    async fn delete_cluster(
        &self,
        request: Request<DeleteClusterRequest>,
    ) -> Result<Response<Cluster>, Status> {
        let DeleteClusterRequest {
            name,
            expected_version,
            dry_run,
            targets,
        } = request.get_ref();
        Call::new(request.metadata(), Method::DELETE, &["clusters", name])
            .query("targets", targets)
            .flag("dryRun", *dry_run)
            .expecting(*expected_version)
            .answer(self)
            .await
    }

    async fn issue_agent_token(
        &self,
        request: Request<IssueAgentTokenRequest>,
    ) -> Result<Response<NewToken>, Status> {
        let IssueAgentTokenRequest { cluster, overlap } = request.get_ref();
        Call::new(request.metadata(), Method::POST, &["clusters", cluster, "token"])
            .query("overlap", overlap)
            .answer(self)
            .await
    }

    async fn cordon_cluster(
        &self,
        request: Request<CordonClusterRequest>,
    ) -> Result<Response<Cluster>, Status> {
        let CordonClusterRequest { name, dry_run } = request.get_ref();
        Call::new(request.metadata(), Method::POST, &["clusters", name, "cordon"])
            .flag("dryRun", *dry_run)
            .answer(self)
            .await
    }

    async fn uncordon_cluster(
        &self,
        request: Request<CordonClusterRequest>,
    ) -> Result<Response<Cluster>, Status> {
        let CordonClusterRequest { name, dry_run } = request.get_ref();
        Call::new(request.metadata(), Method::POST, &["clusters", name, "uncordon"])
            .flag("dryRun", *dry_run)
            .answer(self)
            .await
    }
}
