"""What awssim has beside AWS: limits, faults, drift, clock, journal, TLS; driven over its admin API."""

import collections
import datetime
import subprocess
import time

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, ConnectionError, ReadTimeoutError

from backends import Awssim
from conftest import World


@pytest.fixture
def world(awssim):
    world = World(awssim)
    yield world
    awssim.admin("DELETE", "/faults")


def fault(world, action, kind, when=None, **settings):
    rule = {"when": {"action": action, **(when or {})}, "fault": {"kind": kind, **settings}}
    return world.backend.admin("POST", "/faults", rule)["id"]


def state(world, arn):
    """Straight from the state, not by a call that AWS has."""
    return {(each["id"], each["port"]) for each in world.backend.admin("GET", f"/targets?arn={arn}")["targets"]}


def last(world, **filters):
    query = "&".join(f"{key}={value}" for key, value in filters.items())
    return world.backend.admin("GET", f"/journal?{query}")["entries"][-1]


def eventually(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true within 10 s"
        time.sleep(0.01)


def impatient(world):
    return world.backend.client("elbv2", read_timeout=0.3)


TARGET = {"Id": "10.0.0.9", "Port": 80}


@pytest.mark.parametrize(
    ("kind", "settings", "status", "expected"),
    [
        ("throttle", {}, 400, "Throttling"),
        ("http500", {}, 500, "InternalFailure"),
        ("expired_token", {}, 403, "ExpiredToken"),
        ("error", {"code": "HealthUnavailable", "status": 500}, 500, "HealthUnavailable"),
    ],
)
def test_an_error_by_rule_is_answered_once_and_nothing_applied(world, kind, settings, status, expected):
    arn = world.group_in_use()
    # An empty message would be no error of AWS; the wire check wants one.
    settings = {"message": "by rule"} | settings if kind == "error" else settings
    fault(world, "RegisterTargets", kind, {"nth": 1}, **settings)
    with pytest.raises(ClientError) as caught:
        world.register(arn, TARGET)
    assert caught.value.response["Error"]["Code"] == expected
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert state(world, arn) == set()
    world.register(arn, TARGET)
    assert state(world, arn) == {("10.0.0.9", 80)}


def test_a_denied_call_names_the_missing_permission(world):
    arn = world.group_in_use()
    fault(world, "RegisterTargets", "access_denied")
    with pytest.raises(ClientError) as caught:
        world.register(arn, TARGET)
    error = caught.value.response["Error"]
    assert error["Code"] == "AccessDenied"
    assert "is not authorized to perform: elasticloadbalancing:RegisterTargets on resource: " + arn in error["Message"]


@pytest.mark.parametrize(("kind", "applied"), [("applied_then_timeout", True), ("timeout_not_applied", False)])
def test_a_call_that_times_out_is_applied_as_the_rule_says(world, kind, applied):
    arn = world.group_in_use()
    fault(world, "RegisterTargets", kind)
    with pytest.raises(ReadTimeoutError):
        impatient(world).register_targets(TargetGroupArn=arn, Targets=[TARGET])
    assert (state(world, arn) != set()) == applied
    eventually(lambda: last(world, action="RegisterTargets", target_group_arn=arn)["abandoned"])
    entry = last(world, action="RegisterTargets", target_group_arn=arn)
    assert (entry["applied"], entry["status"], entry["fault"]) == (applied, None, kind)


def test_a_late_call_is_applied_after_its_caller_has_gone(world):
    arn = world.group_in_use()
    fault(world, "RegisterTargets", "late_apply", after="600ms")
    with pytest.raises(ReadTimeoutError):
        impatient(world).register_targets(TargetGroupArn=arn, Targets=[TARGET])
    assert state(world, arn) == set()
    eventually(lambda: state(world, arn) == {("10.0.0.9", 80)})
    assert last(world, action="RegisterTargets", target_group_arn=arn)["applied"]


@pytest.mark.parametrize("applied", [True, False])
def test_a_dropped_connection_is_no_answer(world, applied):
    arn = world.group_in_use()
    fault(world, "RegisterTargets", "dropped_connection", applied=applied)
    with pytest.raises((ConnectionClosedError, ConnectionError)):
        world.register(arn, TARGET)
    assert (state(world, arn) != set()) == applied


def test_stale_reads_answer_the_past(world):
    arn = world.group_in_use()
    fault(world, "DescribeTargetHealth", "stale_reads", age="30s")
    world.register(arn, TARGET)
    assert world.health(arn) == {}
    assert state(world, arn) == {("10.0.0.9", 80)}
    world.backend.advance(31)
    assert set(world.health(arn)) == {("10.0.0.9", 80)}


def test_drift_is_seen_by_callers_and_not_in_the_journal(world):
    arn = world.group_in_use()
    before = world.backend.admin("GET", "/journal?limit=1000000")["next"]
    add = {"do": "add_targets", "target_group_arn": arn, "targets": [{"id": "10.0.0.7", "port": 80}]}
    world.backend.admin("POST", "/drift", add)
    world.backend.admin("POST", "/drift", {**add, "targets": [{"id": "10.0.0.8"}]})
    world.backend.admin("POST", "/drift", {**add, "do": "remove_targets"})
    assert set(world.health(arn)) == {("10.0.0.8", 8080)}
    actions = [each["action"] for each in world.backend.admin("GET", f"/journal?since={before}")["entries"]]
    assert actions == ["DescribeTargetHealth"]


def test_health_follows_its_script(world):
    arn = world.group_in_use()
    world.register(arn, TARGET)
    world.backend.advance(600)
    script = {"do": "set_health", "target_group_arn": arn, "target": {"id": "10.0.0.9", "port": 80}}
    bad = {"state": "unhealthy", "reason": "Target.Timeout", "description": "Request timed out"}
    world.backend.admin("POST", "/drift", {**script, "health": bad})
    assert world.health(arn) == {("10.0.0.9", 80): ("unhealthy", "Target.Timeout")}
    world.backend.admin("POST", "/drift", script)
    assert world.health(arn) == {("10.0.0.9", 80): ("healthy", None)}


def test_the_journal_waits_for_the_next_call_and_tells_all_of_it(world):
    arn = world.group_in_use()
    since = world.backend.admin("GET", "/journal?limit=1000000")["next"]
    before = datetime.datetime.now(datetime.UTC)
    world.register(arn, TARGET, {"Id": "10.0.0.10"})
    page = world.backend.admin("GET", f"/journal?since={since}&wait=5s&action=RegisterTargets")
    (entry,) = page["entries"]
    assert (entry["service"], entry["account"], entry["region"]) == ("elbv2", "111122223333", "eu-central-1")
    assert (entry["status"], entry["error_code"], entry["applied"], entry["targets"]) == (200, None, True, 2)
    assert ["TargetGroupArn", arn] in entry["params"]
    received, answered = (datetime.datetime.fromisoformat(entry[key]) for key in ("received", "answered"))
    assert before - datetime.timedelta(seconds=1) < received <= answered
    assert world.backend.admin("GET", f"/journal?since={page['next']}")["entries"] == []


def test_counters_tell_calls_and_targets_apart(world):
    account = "777788889999"
    own = World(world.backend, account=account)
    arn = own.group_in_use()
    own.register(arn, TARGET, {"Id": "10.0.0.10"})
    rows = world.backend.admin("GET", "/counters")["counters"]
    (row,) = [each for each in rows if each["account"] == account and each["action"] == "RegisterTargets"]
    assert (row["calls"], row["applied"], row["targets"], row["errors"]) == (1, 1, 2, 0)


def test_an_access_key_belongs_to_the_account_that_was_set(world):
    world.backend.admin("PUT", "/accounts", {"AKIAEXAMPLE": "999900001111"})
    client = world.backend.client("sts", account="AKIAEXAMPLE")
    assert client.get_caller_identity()["Account"] == "999900001111"


def test_a_role_asks_for_its_external_id(world):
    arn = "arn:aws:iam::444455556666:role/guarded"
    world.backend.admin("PUT", "/roles", {arn: {"external_id": "secret"}})
    with pytest.raises(ClientError) as caught:
        world.sts.assume_role(RoleArn=arn, RoleSessionName="x")
    assert caught.value.response["Error"]["Code"] == "AccessDenied"
    world.sts.assume_role(RoleArn=arn, RoleSessionName="x", ExternalId="secret")


def test_credentials_of_a_role_expire(world):
    made = world.sts.assume_role(RoleArn="arn:aws:iam::444455556666:role/x", RoleSessionName="x", DurationSeconds=900)
    client = world.backend.client("sts", account=made["Credentials"]["AccessKeyId"])
    client.get_caller_identity()
    world.backend.advance(901)
    with pytest.raises(ClientError) as caught:
        client.get_caller_identity()
    assert caught.value.response["Error"]["Code"] == "ExpiredToken"


def test_a_mistake_in_a_fixture_leaves_nothing_behind(world):
    fixture = {
        "account": "222233334444",
        "region": "eu-west-1",
        "vpcs": [{"id": "vpc-1", "cidrs": ["10.0.0.0/16"]}],
        "target_groups": [{"name": "web", "vpc": "vpc-2", "port": 80}],
    }
    world.backend.admin("POST", "/fixtures", fixture, expect=(422,))
    client = world.backend.client("ec2", region="eu-west-1", account="222233334444")
    assert client.describe_vpcs()["Vpcs"] == []
    fixture["target_groups"][0]["vpc"] = "vpc-1"
    arn = world.backend.admin("POST", "/fixtures", fixture)["target_groups"]["web"]
    elb = world.backend.client("elbv2", region="eu-west-1", account="222233334444")
    assert elb.describe_target_groups()["TargetGroups"][0]["TargetGroupArn"] == arn


def test_limits_are_those_of_aws_and_refill_by_the_clock():
    server = Awssim("--manual-clock")
    try:
        world = World(server)
        arn = world.group()
        assert registered(world, arn, 30) == {"ok": 20, "Throttling": 10}
        server.advance(1)
        assert registered(world, arn, 30) == {"ok": 4, "Throttling": 26}
        ec2 = collections.Counter(outcome(world.ec2.describe_vpcs) for _ in range(110))
        assert ec2["RequestLimitExceeded"] > 0
    finally:
        server.stop()


def registered(world, arn, calls):
    return collections.Counter(outcome(world.register, arn, TARGET) for _ in range(calls))


def outcome(call, *args):
    try:
        call(*args)
    except ClientError as error:
        return error.response["Error"]["Code"]
    return "ok"


def test_latency_holds_the_answer_back_and_not_the_effect():
    server = Awssim("--latency", "200ms")
    try:
        started = time.monotonic()
        World(server).sts.get_caller_identity()
        assert time.monotonic() - started >= 0.2
        (entry,) = server.admin("GET", "/journal")["entries"]
        received, answered = (datetime.datetime.fromisoformat(entry[key]) for key in ("received", "answered"))
        assert answered - received >= datetime.timedelta(milliseconds=200)
    finally:
        server.stop()


def test_it_serves_tls_with_a_given_certificate(tmp_path):
    cert, key = self_signed(tmp_path)
    server = Awssim("--tls-cert", str(cert), "--tls-key", str(key))
    try:
        server.url = server.url.replace("http://", "https://")
        client = server.client("sts", verify=str(cert))
        assert client.get_caller_identity()["Account"] == "111122223333"
    finally:
        server.stop()


def self_signed(folder):
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(cert)),
        ],
        check=True,
        capture_output=True,
    )
    return cert, key
