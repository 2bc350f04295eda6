use axum::http::Method;
use serde_json::json;
use tonic::{Request, Response, Status};
use wire::v1::{
    Account, DeleteRequest, GetAccountRequest, ListAccountsResponse, ListRequest, PutAccountRequest,
    account_service_server::AccountService,
};

use super::{Public, call::Call};

#[tonic::async_trait]
impl AccountService for Public {
    async fn list_accounts(
        &self,
        request: Request<ListRequest>,
    ) -> Result<Response<ListAccountsResponse>, Status> {
        let ListRequest { cursor, limit } = request.get_ref();
        Call::new(request.metadata(), Method::GET, &["accounts"])
            .page(cursor, *limit)
            .answer(self)
            .await
    }

    async fn get_account(&self, request: Request<GetAccountRequest>) -> Result<Response<Account>, Status> {
        let GetAccountRequest { name } = request.get_ref();
        Call::new(request.metadata(), Method::GET, &["accounts", name])
            .answer(self)
            .await
    }

    async fn put_account(&self, request: Request<PutAccountRequest>) -> Result<Response<Account>, Status> {
        let PutAccountRequest {
            name,
            spec,
            expected_version,
            dry_run,
        } = request.get_ref();
        Call::new(request.metadata(), Method::PUT, &["accounts", name])
            .flag("dryRun", *dry_run)
            .expecting(*expected_version)
            .json(json!({ "spec": spec }))
            .answer(self)
            .await
    }

    async fn delete_account(&self, request: Request<DeleteRequest>) -> Result<Response<Account>, Status> {
        let DeleteRequest {
            name,
            expected_version,
            dry_run,
        } = request.get_ref();
        Call::new(request.metadata(), Method::DELETE, &["accounts", name])
            .flag("dryRun", *dry_run)
            .expecting(*expected_version)
            .answer(self)
            .await
    }
}
