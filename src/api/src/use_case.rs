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

/// How much of the fleet a use case is about: what a token with a scope gets, beside what its role lets it do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// What belongs to no cluster: forbidden with any scope.
    Everything,
    /// Everybody is served, and told of what is in its scope alone.
    Part,
    /// Everybody is served; what it makes has no more than itself.
    Own,
    /// A cluster of which anything is in scope; another one is forbidden.
    Cluster,
    /// A namespace that is in scope; another one is forbidden.
    Namespace,
    /// A target group that somebody in scope may use; another one is not found.
    Group,
    /// All that there is of a target group: forbidden where others may use it as well.
    WholeGroup,
    /// A token: an admin's call finds all, another one its own and those that it made.
    Token,
    /// A team: a caller with a scope finds its own.
    Team,
    /// Something with an id of its own; what is out of scope is not found.
    Id,
}

/// One use case.
#[derive(Clone, Copy, Debug)]
pub struct UseCase {
    /// The `operationId` in the OpenAPI document.
    pub operation: &'static str,
    pub access: Access,
    pub reach: Reach,
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
        reach: Reach::Everything,
        command,
    }
}

const fn edit(operation: &'static str, rpc: &'static str, command: &'static str) -> UseCase {
    UseCase {
        operation,
        rpc,
        access: Access::Edit,
        reach: Reach::Everything,
        command,
    }
}

const fn write(operation: &'static str, rpc: &'static str, command: &'static str) -> UseCase {
    UseCase {
        operation,
        rpc,
        access: Access::Write,
        reach: Reach::Everything,
        command,
    }
}

impl UseCase {
    const fn of(self, reach: Reach) -> Self {
        Self { reach, ..self }
    }
}

/// Every use case. The commands are run in this order, and `-` reads a manifest that fits.
pub const ALL: &[UseCase] = &[
    write(
        "putCluster",
        "ClusterService/PutCluster",
        "cluster add east --account 123456789012 --region eu-central-1 --vpc-id vpc-0a1b2c3d --mode full",
    ),
    read("listClusters", "ClusterService/ListClusters", "get clusters").of(Reach::Part),
    read("getCluster", "ClusterService/GetCluster", "get cluster east").of(Reach::Cluster),
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
    )
    .of(Reach::Part),
    read(
        "getTargetGroup",
        "TargetGroupService/GetTargetGroup",
        "get tg web",
    )
    .of(Reach::Group),
    edit("putBinding", "BindingService/PutBinding", "apply -f -").of(Reach::Namespace),
    read(
        "listBindings",
        "BindingService/ListBindings",
        "get bindings --cluster east",
    )
    .of(Reach::Part),
    read(
        "getBinding",
        "BindingService/GetBinding",
        "describe binding east/shop/web",
    )
    .of(Reach::Namespace),
    write(
        "adoptBinding",
        "BindingService/AdoptBinding",
        "adopt east/shop/web --dry-run",
    ),
    read("listEndpoints", "InsightService/ListEndpoints", "get endpoints").of(Reach::Cluster),
    read(
        "listPlans",
        "InsightService/ListPlans",
        "get plans --target-group web",
    )
    .of(Reach::WholeGroup),
    read(
        "getPlan",
        "InsightService/GetPlan",
        "get plan 00000000-0000-0000-0000-000000000007",
    )
    .of(Reach::Id),
    read("previewPlan", "InsightService/PreviewPlan", "plan web").of(Reach::WholeGroup),
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
    )
    .of(Reach::WholeGroup),
    read("listHolds", "OperationService/ListHolds", "get holds --ended").of(Reach::Part),
    read(
        "getHold",
        "OperationService/GetHold",
        "get hold 00000000-0000-0000-0000-000000000007",
    )
    .of(Reach::Id),
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
    )
    .of(Reach::Namespace),
    read("listAudit", "InsightService/ListAudit", "get audit").of(Reach::Part),
    read("followEvents", "InsightService/FollowEvents", "get events").of(Reach::Part),
    edit(
        "issueToken",
        "OperationService/IssueToken",
        "token create portal --role viewer --expires-in 90d",
    )
    .of(Reach::Own),
    edit("listTokens", "OperationService/ListTokens", "get tokens").of(Reach::Part),
    edit(
        "rotateToken",
        "OperationService/RotateToken",
        "token rotate 00000000-0000-0000-0000-000000000007 --overlap 1h",
    )
    .of(Reach::Token),
    edit(
        "endToken",
        "OperationService/EndToken",
        "token end 00000000-0000-0000-0000-000000000007",
    )
    .of(Reach::Token),
    edit(
        "deleteBinding",
        "BindingService/DeleteBinding",
        "delete binding web --namespace shop --cluster east",
    )
    .of(Reach::Namespace),
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
    write("putTeam", "TeamService/PutTeam", "apply -f -"),
    read("listTeams", "TeamService/ListTeams", "get teams").of(Reach::Part),
    read("getTeam", "TeamService/GetTeam", "get team shop").of(Reach::Team),
    write(
        "deleteTeam",
        "TeamService/DeleteTeam",
        "delete team shop --dry-run",
    ),
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
