//! The use cases that people and portals have, in one table: who may, and how each is reached.
//!
//! It is data, and here rather than in `control`, since it names transports. Tests hold it against the routes, and run
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
    /// A command line of `elbow` that comes to it.
    pub command: &'static str,
}

const fn read(operation: &'static str, command: &'static str) -> UseCase {
    UseCase {
        operation,
        access: Access::Read,
        command,
    }
}

const fn edit(operation: &'static str, command: &'static str) -> UseCase {
    UseCase {
        operation,
        access: Access::Edit,
        command,
    }
}

const fn write(operation: &'static str, command: &'static str) -> UseCase {
    UseCase {
        operation,
        access: Access::Write,
        command,
    }
}

/// Every use case. The commands are run in this order, and `-` reads a manifest that fits.
pub const ALL: &[UseCase] = &[
    write(
        "putCluster",
        "cluster add east --account 123456789012 --region eu-central-1 --vpc-id vpc-0a1b2c3d --mode full",
    ),
    read("listClusters", "get clusters"),
    read("getCluster", "get cluster east"),
    write("issueAgentToken", "cluster rotate-token east"),
    write("putTargetGroup", "apply -f -"),
    read("listTargetGroups", "get target-groups"),
    read("getTargetGroup", "get tg web"),
    edit("putBinding", "apply -f -"),
    read("listBindings", "get bindings --cluster east"),
    read("getBinding", "describe binding east/shop/web"),
    write("adoptBinding", "adopt east/shop/web --dry-run"),
    read("listEndpoints", "get endpoints"),
    read("listPlans", "get plans --target-group web"),
    read("getPlan", "get plan 00000000-0000-0000-0000-000000000007"),
    read("previewPlan", "plan web"),
    read("listHolds", "get holds --ended"),
    read("getHold", "get hold 00000000-0000-0000-0000-000000000007"),
    write("releaseHold", "release hold 00000000-0000-0000-0000-000000000007"),
    read("listShards", "get shards"),
    write("releaseShard", "release shard aws/123456789012/eu-central-1"),
    edit(
        "deleteBinding",
        "delete binding web --namespace shop --cluster east",
    ),
    write("cordonCluster", "cluster cordon east"),
    write("uncordonCluster", "cluster uncordon east"),
    read("getFleet", "get fleet"),
    write("releaseFleet", "release fleet"),
    write("putAccount", "apply -f -"),
    read("listAccounts", "get accounts"),
    read("getAccount", "get account 210987654321"),
    write("deleteAccount", "delete account 210987654321"),
    write("deleteTargetGroup", "delete target-group web --dry-run"),
    write("deleteCluster", "delete cluster east --targets drain --dry-run"),
];
