//! The use cases that people and portals have, in one table: who may, and how each is reached.
//!
//! It is data, and here rather than in `control`, since it names transports. Tests hold it against the routes and the services, and run
//! each command of `elbow` to see that it ends up where the table says: an operation that one of them has and another
//! has not is an error.

/// Who may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Viewers, editors and admins, each in their scope.
    Read,
    /// Editors, in their scope, and admins.
    Edit,
    /// Admins.
    Write,
}

/// One use case.
#[derive(Clone, Copy, Debug)]
pub struct UseCase {
    /// The `operationId` in the OpenAPI document.
    pub operation: &'static str,
    pub access: Access,
    /// The service of `elbow.v1` and its method.
    pub rpc: &'static str,
    /// A command line of `elbow` that comes to it.
    pub command: &'static str,
}

const fn read(operation: &'static str, rpc: &'static str, command: &'static str) -> UseCase {
    UseCase {
        operation,
        rpc,
        access: Access::Read,
        command,
    }
}

const fn edit(operation: &'static str, rpc: &'static str, command: &'static str) -> UseCase {
    UseCase {
        operation,
        rpc,
        access: Access::Edit,
        command,
    }
}

const fn write(operation: &'static str, rpc: &'static str, command: &'static str) -> UseCase {
    UseCase {
        operation,
        rpc,
        access: Access::Write,
        command,
    }
}

/// Every use case. The commands are run in this order, and `-` reads a manifest that fits.
pub const ALL: &[UseCase] = &[
    write(
        "putCluster",
        "ClusterService/PutCluster",
        "cluster add east --account 123456789012 --region eu-central-1 --vpc-id vpc-0a1b2c3d --mode full",
    ),
    read("listClusters", "ClusterService/ListClusters", "get clusters"),
    read("getCluster", "ClusterService/GetCluster", "get cluster east"),
    write(
        "issueAgentToken",
        "ClusterService/IssueAgentToken",
        "cluster rotate-token east",
    ),
    write(
        "putTargetGroup",
        "TargetGroupService/PutTargetGroup",
        "apply -f -",
    ),
    read(
        "listTargetGroups",
        "TargetGroupService/ListTargetGroups",
        "get target-groups",
    ),
    read(
        "getTargetGroup",
        "TargetGroupService/GetTargetGroup",
        "get tg web",
    ),
    edit("putBinding", "BindingService/PutBinding", "apply -f -"),
    read(
        "listBindings",
        "BindingService/ListBindings",
        "get bindings --cluster east",
    ),
    read(
        "getBinding",
        "BindingService/GetBinding",
        "describe binding east/shop/web",
    ),
    write(
        "adoptBinding",
        "BindingService/AdoptBinding",
        "adopt east/shop/web --dry-run",
    ),
    read("listEndpoints", "InsightService/ListEndpoints", "get endpoints"),
    read(
        "listPlans",
        "InsightService/ListPlans",
        "get plans --target-group web",
    ),
    read(
        "getPlan",
        "InsightService/GetPlan",
        "get plan 00000000-0000-0000-0000-000000000007",
    ),
    read("previewPlan", "InsightService/PreviewPlan", "plan web"),
    read(
        "listSecurityGroups",
        "InsightService/ListSecurityGroups",
        "get security-groups",
    ),
    read(
        "getSecurityGroup",
        "InsightService/GetSecurityGroup",
        "plan sg-0123456789abcdef0",
    ),
    read(
        "listRulePlans",
        "InsightService/ListRulePlans",
        "get plans --security-group sg-0123456789abcdef0",
    ),
    read(
        "listGroupPlans",
        "InsightService/ListGroupPlans",
        "get plans --target-group web",
    ),
    read("listHolds", "OperationService/ListHolds", "get holds --ended"),
    read(
        "getHold",
        "OperationService/GetHold",
        "get hold 00000000-0000-0000-0000-000000000007",
    ),
    write(
        "releaseHold",
        "OperationService/ReleaseHold",
        "release hold 00000000-0000-0000-0000-000000000007",
    ),
    read("listShards", "OperationService/ListShards", "get shards"),
    write(
        "releaseShard",
        "OperationService/ReleaseShard",
        "release shard aws/123456789012/eu-central-1",
    ),
    write(
        "pause",
        "OperationService/Pause",
        "pause binding east/shop/web --reason maintenance",
    ),
    read("listPauses", "OperationService/ListPauses", "get pauses"),
    write(
        "resume",
        "OperationService/Resume",
        "resume binding east/shop/web",
    ),
    read(
        "explain",
        "InsightService/Explain",
        "explain binding/east/shop/web",
    ),
    read("listAudit", "InsightService/ListAudit", "get audit"),
    read("followEvents", "InsightService/FollowEvents", "get events"),
    write(
        "issueToken",
        "OperationService/IssueToken",
        "token create portal --role viewer --expires-in 90d",
    ),
    write("listTokens", "OperationService/ListTokens", "get tokens"),
    write(
        "endToken",
        "OperationService/EndToken",
        "token end 00000000-0000-0000-0000-000000000007",
    ),
    edit(
        "deleteBinding",
        "BindingService/DeleteBinding",
        "delete binding web --namespace shop --cluster east",
    ),
    write(
        "cordonCluster",
        "ClusterService/CordonCluster",
        "cluster cordon east",
    ),
    write(
        "uncordonCluster",
        "ClusterService/UncordonCluster",
        "cluster uncordon east",
    ),
    read("getFleet", "OperationService/GetFleet", "get fleet"),
    write("releaseFleet", "OperationService/ReleaseFleet", "release fleet"),
    write("putAccount", "AccountService/PutAccount", "apply -f -"),
    read("listAccounts", "AccountService/ListAccounts", "get accounts"),
    read(
        "getAccount",
        "AccountService/GetAccount",
        "get account 210987654321",
    ),
    write(
        "deleteAccount",
        "AccountService/DeleteAccount",
        "delete account 210987654321",
    ),
    write(
        "deleteTargetGroup",
        "TargetGroupService/DeleteTargetGroup",
        "delete target-group web --dry-run",
    ),
    write(
        "deleteCluster",
        "ClusterService/DeleteCluster",
        "delete cluster east --targets drain --dry-run",
    ),
];
