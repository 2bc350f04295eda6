"""One pair of servers per run, and the list of differences as expectations."""

import json
import pathlib
import uuid

import pytest
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

import wire
from backends import Awssim, Moto

DIFFERENCES = json.loads((pathlib.Path(__file__).parent / "differences.json").read_text())


@pytest.fixture(scope="session")
def servers():
    # Limits are tested for themselves; the flow must not run into them.
    started = {"awssim": Awssim("--no-throttling")}
    try:
        started["moto"] = Moto()
        yield started
    finally:
        for server in started.values():
            server.stop()


@pytest.fixture
def backend(request, servers):
    return servers[request.param]


@pytest.fixture(scope="session")
def awssim(servers):
    return servers["awssim"]


@pytest.fixture
def world(backend):
    return World(backend)


class World:
    """A region with a network of its own, and clients whose answers are checked on the wire."""

    def __init__(self, backend, region="eu-central-1", account="111122223333"):
        self.backend, self.region, self.account = backend, region, account
        self.elb, self.ec2, self.sts = (self._client(name) for name in ("elbv2", "ec2", "sts"))
        self._subnets = {}
        self._vpc = None

    def _client(self, service):
        client = self.backend.client(service, region=self.region, account=self.account)
        return wire.watch(client) if self.backend.name == "awssim" else client

    def name(self, prefix="x"):
        return f"{prefix}-{uuid.uuid4().hex[:12]}"

    @property
    def vpc(self):
        if self._vpc is None:
            self._vpc = self.ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        return self._vpc

    def subnet(self, letter):
        if letter not in self._subnets:
            made = self.ec2.create_subnet(
                VpcId=self.vpc,
                CidrBlock=f"10.0.{ord(letter) - ord('a')}.0/24",
                AvailabilityZone=self.region + letter,
            )
            self._subnets[letter] = made["Subnet"]["SubnetId"]
        return self._subnets[letter]

    def target_group(self, **settings):
        wanted = {"Name": self.name("tg"), "Protocol": "HTTP", "Port": 8080, "TargetType": "ip"} | settings
        return self.elb.create_target_group(VpcId=self.vpc, **wanted)["TargetGroups"][0]

    def group(self, **settings):
        # Addresses in the blocks of a VPC are targets without more ado only where a subnet has them.
        self.subnet("a")
        return self.target_group(**settings)["TargetGroupArn"]

    def load_balancer(self, **settings):
        wanted = {"Name": self.name("lb"), "Subnets": [self.subnet("a"), self.subnet("b")]} | settings
        return self.elb.create_load_balancer(**wanted)["LoadBalancers"][0]

    def listener(self, group, load_balancer=None, **settings):
        wanted = {
            "LoadBalancerArn": load_balancer or self.load_balancer()["LoadBalancerArn"],
            "Protocol": "HTTP",
            "Port": 80,
            "DefaultActions": [{"Type": "forward", "TargetGroupArn": group}],
        } | settings
        return self.elb.create_listener(**wanted)["Listeners"][0]

    def group_in_use(self, **settings):
        arn = self.group(**settings)
        self.listener(arn)
        return arn

    def register(self, arn, *targets):
        self.elb.register_targets(TargetGroupArn=arn, Targets=list(targets))

    def health(self, arn, *targets):
        asked = {"Targets": list(targets)} if targets else {}
        found = self.elb.describe_target_health(TargetGroupArn=arn, **asked)["TargetHealthDescriptions"]
        return {
            (each["Target"]["Id"], each["Target"].get("Port")): (
                each["TargetHealth"]["State"],
                each["TargetHealth"].get("Reason"),
            )
            for each in found
        }

    def instance(self, subnet="a"):
        made = self.ec2.run_instances(
            ImageId="ami-0123456789abcdef0", MinCount=1, MaxCount=1, SubnetId=self.subnet(subnet)
        )
        return made["Instances"][0]["InstanceId"]

    def security_group(self):
        made = self.ec2.create_security_group(
            GroupName=self.name("group"), Description="for a test", VpcId=self.vpc
        )
        return made["GroupId"]


def pytest_generate_tests(metafunc):
    if "backend" in metafunc.fixturenames:
        metafunc.parametrize("backend", ["awssim", "moto"], indirect=True, scope="session")


def check_of(item):
    """The name of a check without its backend: test_x, or test_x[case]."""
    name, _, case = item.name.removesuffix("]").partition("[")
    case = "-".join(part for part in case.split("-") if part not in ("awssim", "moto"))
    return f"{name}[{case}]" if case else name


def pytest_collection_modifyitems(config, items):
    """A listed difference must occur, and an unlisted one must not: strict expected failures."""
    unknown = set(DIFFERENCES)
    for item in items:
        if "backend" not in getattr(item, "fixturenames", ()):
            continue
        check = check_of(item)
        unknown.discard(check)
        if check in DIFFERENCES and item.callspec.params["backend"] == "moto":
            # Only a judgement that differs counts; a broken server or test does not.
            expected = (AssertionError, ClientError, ResponseParserError, pytest.fail.Exception)
            item.add_marker(pytest.mark.xfail(reason=DIFFERENCES[check], strict=True, raises=expected))
    everything = not any("::" in arg or arg.endswith(".py") for arg in config.args)
    if unknown and everything:
        raise pytest.UsageError(f"differences.json names checks that do not exist: {sorted(unknown)}")
