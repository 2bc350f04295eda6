//! The demo on somebody else's clusters and database, which it leaves as it found them.

use std::time::Duration;

use sandbox::{
    Progress, Scratch, Wait, elbow,
    kubernetes::{Access, ControlPlane, Node, Options},
    postgres::{self, Postgres},
    process::{Process, Program},
    wait_until,
};

const LIMIT: Duration = Duration::from_mins(3);
const DEFINITION: &str = include_str!("../../../deploy/crds/targetgroupbindings.elbv2.k8s.aws.yaml");
/// A binding of the user's own, which is nothing to the demo.
const BINDING: &str = "{apiVersion: elbv2.k8s.aws/v1beta1, kind: TargetGroupBinding, metadata: {name: theirs, namespace: default, \
                       labels: {elbow.dev/serve: \"true\"}}, spec: {targetGroupName: web, serviceRef: {name: web, port: 80}}}";

async fn plane(name: &str, range: &str) -> ControlPlane {
    let nodes = Node::spread(name, 1, range.parse().unwrap(), &["cn-north-1a"]);
    ControlPlane::start(Options::full(name, nodes)).await.unwrap()
}

fn demo(scratch: &Scratch, name: &str, arguments: &[&str]) -> Process {
    let log = scratch.path().join(format!("{name}.log"));
    let program = elbow::programs().unwrap().join("elbow-sandbox");
    let program = Program::new(name, program, log).argument("demo");
    program.arguments(arguments).start().unwrap()
}

/// Runs it to its end, and answers whether it succeeded and what it said.
async fn ended(mut demo: Process) -> (bool, String) {
    let status = demo.wait_exit(LIMIT).await.unwrap();
    let said = std::fs::read_to_string(demo.log()).unwrap();
    (status.success(), said)
}

/// Everything in a cluster that somebody may have made.
fn contents(cluster: &Access) -> String {
    let kinds = "namespaces,crds,clusterroles,clusterrolebindings";
    let mut all = cluster.run(&format!("get {kinds} -o name")).unwrap().stdout;
    let kinds = "services,deployments,roles,rolebindings,serviceaccounts,secrets,configmaps";
    let names = "-o custom-columns=KIND:.kind,NAMESPACE:.metadata.namespace,NAME:.metadata.name";
    all += &cluster
        .run(&format!("get {kinds} --all-namespaces {names}"))
        .unwrap()
        .stdout;
    all
}

fn their_binding(cluster: &Access) -> String {
    let get = "get targetgroupbinding theirs -n default -o jsonpath={.metadata.resourceVersion}{.status}";
    cluster.run(get).unwrap().stdout
}

#[tokio::test]
async fn clusters_of_the_user_s_own_are_played_with_and_left_as_they_were() {
    if !tests::available() {
        return;
    }
    let (first, second, postgres) = tokio::join!(
        plane("first", "10.1.0.0/16"),
        plane("second", "10.2.0.0/16"),
        Postgres::start(postgres::Options::default())
    );
    let (postgres, scratch) = (postgres.unwrap(), Scratch::new("demo").unwrap());
    let database = postgres.fresh_database("demo").await.unwrap();
    let clusters: [&Access; 2] = [first.as_ref(), second.as_ref()];
    // The second has the definition already, and a binding.
    elbow::apply(&second, "definition", DEFINITION).unwrap();
    second
        .as_ref()
        .run("wait --for=condition=Established crd/targetgroupbindings.elbv2.k8s.aws")
        .unwrap();
    elbow::apply(&second, "theirs", BINDING).unwrap();
    let (before, theirs) = (clusters.map(contents), their_binding(clusters[1]));
    let kubeconfigs = [first.kubeconfig(), second.kubeconfig()].map(|path| path.to_str().unwrap());
    let [one, two] = kubeconfigs;

    let both = [
        "--kubeconfig",
        one,
        "--kubeconfig",
        two,
        "--database-url",
        &database,
    ];
    let (succeeded, said) = ended(demo(&scratch, "both", &[&["--once"], &both[..]].concat())).await;
    assert!(succeeded, "{said}");
    for words in [
        "makes namespace elbow-demo and the definition",
        "caught up in one call",
        "Removed namespace elbow-demo from secondcluster",
    ] {
        assert!(said.contains(words), "no `{words}` in {said}");
    }
    assert_eq!(clusters.map(contents), before);
    assert_eq!(their_binding(clusters[1]), theirs);

    // The database is not empty any more, and so is one of somebody else: told before anything is touched.
    let (succeeded, said) = ended(demo(&scratch, "again", &[&["--once"], &both[..]].concat())).await;
    assert!(!succeeded && said.contains("schema is not empty"), "{said}");
    assert!(!said.contains("makes namespace"), "{said}");

    // Up until it is interrupted.
    let mut up = demo(&scratch, "up", &["--bare", "--kubeconfig", one]);
    let url = wait_until(LIMIT, "the demo to be up", &Progress::silent(), async || {
        up.expect_running()?;
        let said = std::fs::read_to_string(up.log()).unwrap_or_default();
        let url = said.split("ELBOW_URL=https://localhost:").nth(1);
        let port = url.and_then(|url| url.split(' ').next()?.parse::<u16>().ok());
        port.filter(|_| said.contains("logs "))
            .ok_or_else(|| Wait::not_yet(said))
    })
    .await
    .unwrap();
    let address = (std::net::Ipv4Addr::LOCALHOST, url);
    tokio::net::TcpStream::connect(address).await.unwrap();
    up.stop(LIMIT).await.unwrap();
    assert!(
        tokio::net::TcpStream::connect(address).await.is_err(),
        "a server is left"
    );
    assert_eq!(contents(clusters[0]), before[0]);
}

#[tokio::test]
async fn a_schema_with_somebody_s_tables_is_refused_and_an_empty_one_beside_it_is_taken() {
    if !tests::available() {
        return;
    }
    let postgres = Postgres::start(postgres::Options::default()).await.unwrap();
    let database = postgres.fresh_database("demo").await.unwrap();
    postgres::execute(&database, "create table orders (); create schema elbow")
        .await
        .unwrap();
    let migrate = |url: String, arguments: &[&str]| {
        let server = elbow::programs().unwrap().join("elbow-server");
        let mut command = std::process::Command::new(server);
        let output = command
            .arg("migrate")
            .args(arguments)
            .env("ELBOW_DATABASE_URL", url)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success(), said)
    };
    let (succeeded, said) = migrate(database.clone(), &[]);
    assert!(!succeeded && said.contains("it has orders"), "{said}");
    let schema = format!("{database}?options=-csearch_path%3Delbow");
    let (succeeded, said) = migrate(schema.clone(), &["--empty"]);
    assert!(succeeded, "{said}");
    let (succeeded, said) = migrate(schema.clone(), &[]);
    assert!(succeeded, "Elbow's own tables are in nobody's way: {said}");
    let (succeeded, said) = migrate(schema, &["--empty"]);
    assert!(!succeeded && said.contains("not empty"), "{said}");
}
