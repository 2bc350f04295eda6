use axum::http::Method;
use serde_json::json;
use tonic::{Request, Response, Status, metadata::MetadataMap};
use wire::v1::{
    AdoptBindingRequest, Adoption, Binding, BindingName, DeleteBindingRequest, GetBindingRequest,
    ListBindingsRequest, ListBindingsResponse, PutBindingRequest, binding_service_server::BindingService,
};

use super::{Public, call::Call};

fn at(metadata: &MetadataMap, method: Method, name: Option<&BindingName>) -> Result<Call, Status> {
    let name = name.ok_or_else(|| Status::invalid_argument("name: say which binding"))?;
    let BindingName {
        cluster,
        namespace,
        name,
    } = name;
    Ok(Call::new(
        metadata,
        method,
        &["clusters", cluster, "bindings", namespace, name],
    ))
}

#[tonic::async_trait]
impl BindingService for Public {
    async fn list_bindings(
        &self,
        request: Request<ListBindingsRequest>,
    ) -> Result<Response<ListBindingsResponse>, Status> {
        let ListBindingsRequest {
            cluster,
            cursor,
            limit,
        } = request.get_ref();
        Call::new(request.metadata(), Method::GET, &["bindings"])
            .query("cluster", cluster)
            .page(cursor, *limit)
            .answer(self)
            .await
    }

    async fn get_binding(&self, request: Request<GetBindingRequest>) -> Result<Response<Binding>, Status> {
        let GetBindingRequest { name, origin, wait } = request.get_ref();
        at(request.metadata(), Method::GET, name.as_ref())?
            .query("origin", origin)
            .query("wait", wait)
            .answer(self)
            .await
    }

    async fn put_binding(&self, request: Request<PutBindingRequest>) -> Result<Response<Binding>, Status> {
        let PutBindingRequest {
            name,
            spec,
            expected_version,
            dry_run,
        } = request.get_ref();
        at(request.metadata(), Method::PUT, name.as_ref())?
            .flag("dryRun", *dry_run)
            .expecting(*expected_version)
            .json(json!({ "spec": spec }))
            .answer(self)
            .await
    }

    async fn delete_binding(
        &self,
        request: Request<DeleteBindingRequest>,
    ) -> Result<Response<Binding>, Status> {
        let DeleteBindingRequest {
            name,
            expected_version,
            dry_run,
        } = request.get_ref();
        at(request.metadata(), Method::DELETE, name.as_ref())?
            .flag("dryRun", *dry_run)
            .expecting(*expected_version)
            .answer(self)
            .await
    }

    async fn adopt_binding(
        &self,
        request: Request<AdoptBindingRequest>,
    ) -> Result<Response<Adoption>, Status> {
        let AdoptBindingRequest {
            name,
            expected_version,
            dry_run,
            lbc_is_gone,
        } = request.get_ref();
        at(request.metadata(), Method::POST, name.as_ref())?
            .then("adopt")
            .flag("dryRun", *dry_run)
            .flag("lbcIsGone", *lbc_is_gone)
            .expecting(*expected_version)
            .answer(self)
            .await
    }
}
