"""The IAM policies of deploy/iam, enforced by awssim: they let Elbow's calls through, and nothing in them is spare."""

import copy
import itertools
import json
import uuid

import pytest
from botocore.exceptions import ClientError

from backends import REPOSITORY
from conftest import World

POLICIES = REPOSITORY / "deploy" / "iam"
PARTITIONS = {"aws": "eu-central-1", "aws-cn": "cn-north-1"}
TAG = {"Key": "elbow/installation", "Value": "prod"}


def policy(partition, name="elbow"):
    return json.loads((POLICIES / partition / f"{name}.json").read_text())


def as_list(value):
    return value if isinstance(value, list) else [value]


class Elbow:
    """Elbow's calls, by a principal that a policy holds."""

    def __init__(self, awssim, region):
        self.awssim, self.world = awssim, World(awssim, region=region)
        self.key = f"AKIA{uuid.uuid4().hex[:16].upper()}"
        awssim.admin("PUT", "/accounts", {self.key: self.world.account})
        self.elb, self.ec2, self.sts = (
            awssim.client(service, region=region, account=self.key) for service in ("elbv2", "ec2", "sts")
        )
        # A rule that may not be revoked again must not be in the way of the next one.
        self.ports = itertools.count(80)
        self.group, self.security_group = self.world.group(TargetType="ip"), self.world.security_group()

    def may(self, document):
        self.awssim.admin("PUT", "/policies", {self.key: document})

    def authorize(self, tags=(TAG,)):
        port = next(self.ports)
        specification = [{"ResourceType": "security-group-rule", "Tags": list(tags)}] if tags else []
        return self.ec2.authorize_security_group_ingress(
            GroupId=self.security_group,
            IpPermissions=[
                {
                    "IpProtocol": "tcp",
                    "FromPort": port,
                    "ToPort": port,
                    "IpRanges": [{"CidrIp": "10.0.0.0/8"}],
                }
            ],
            TagSpecifications=specification,
        )["SecurityGroupRules"][0]["SecurityGroupRuleId"]

    def revoke(self, rule):
        self.ec2.revoke_security_group_ingress(
            GroupId=self.security_group, SecurityGroupRuleIds=[rule]
        )

    def make(self, tags=(TAG,)):
        return self.elb.create_target_group(
            Name=self.world.name("tg"),
            Protocol="HTTP",
            Port=80,
            VpcId=self.world.vpc,
            TargetType="ip",
            **({"Tags": list(tags)} if tags else {}),
        )["TargetGroups"][0]["TargetGroupArn"]

    def manage(self):
        """The life of a managed target group, and taking over one that somebody else made."""
        arn = self.make()
        self.elb.describe_target_group_attributes(TargetGroupArn=arn)
        self.elb.describe_tags(ResourceArns=[arn])
        self.elb.modify_target_group(TargetGroupArn=arn, HealthCheckPath="/ready")
        delay = {"Key": "deregistration_delay.timeout_seconds", "Value": "30"}
        self.elb.modify_target_group_attributes(TargetGroupArn=arn, Attributes=[delay])
        self.elb.add_tags(ResourceArns=[arn], Tags=[{"Key": "team", "Value": "shop"}])
        self.elb.remove_tags(ResourceArns=[arn], TagKeys=["team"])
        self.elb.delete_target_group(TargetGroupArn=arn)
        self.elb.add_tags(ResourceArns=[self.group], Tags=[TAG])
        self.elb.remove_tags(ResourceArns=[self.group], TagKeys=[TAG["Key"]])

    def work(self):
        """Every call that Elbow makes, one after the other."""
        target = {"Id": "10.0.0.9", "Port": 80}
        self.elb.describe_target_groups(TargetGroupArns=[self.group])
        self.elb.register_targets(TargetGroupArn=self.group, Targets=[target])
        self.elb.describe_target_health(TargetGroupArn=self.group)
        self.elb.describe_target_group_attributes(TargetGroupArn=self.group)
        self.elb.deregister_targets(TargetGroupArn=self.group, Targets=[target])
        self.manage()
        self.ec2.describe_vpcs()
        self.ec2.describe_network_interfaces()
        self.ec2.describe_security_groups()
        self.ec2.describe_security_group_rules()
        self.revoke(self.authorize())


@pytest.fixture(params=sorted(PARTITIONS))
def partition(request):
    return request.param


@pytest.fixture
def elbow(awssim, partition):
    return Elbow(awssim, PARTITIONS[partition])


def refused(call, *arguments, **named):
    with pytest.raises(ClientError) as refusal:
        call(*arguments, **named)
    error = refusal.value.response["Error"]
    assert error["Code"] in ("AccessDenied", "UnauthorizedOperation"), error
    return error["Message"]


def test_the_policy_lets_every_call_through(elbow, partition):
    elbow.may(policy(partition))
    elbow.work()


def test_without_any_statement_some_call_fails(elbow, partition):
    whole = policy(partition)
    for index, statement in enumerate(whole["Statement"]):
        less = copy.deepcopy(whole)
        del less["Statement"][index]
        elbow.may(less)
        assert refused(elbow.work), statement["Sid"]


def test_without_any_action_its_call_fails_and_says_so(elbow, partition):
    whole = policy(partition)
    for index, statement in enumerate(whole["Statement"]):
        for action in as_list(statement["Action"]):
            less = copy.deepcopy(whole)
            less["Statement"][index]["Action"] = [
                other for other in as_list(statement["Action"]) if other != action
            ]
            elbow.may(less)
            assert f"not authorized to perform: {action} on resource: " in refused(elbow.work)


def test_a_rule_of_somebody_else_cannot_be_revoked(elbow, partition):
    theirs = elbow.authorize(tags=())
    elbow.may(policy(partition))
    assert "ec2:RevokeSecurityGroupIngress" in refused(elbow.revoke, theirs)


def test_a_rule_cannot_be_opened_without_the_tag_that_lets_it_be_closed(elbow, partition):
    elbow.may(policy(partition))
    assert "ec2:AuthorizeSecurityGroupIngress" in refused(elbow.authorize, tags=())


def test_a_rule_of_somebody_else_cannot_be_tagged_to_be_revoked(elbow, partition):
    theirs = elbow.authorize(tags=())
    elbow.may(policy(partition))
    assert "ec2:CreateTags" in refused(elbow.ec2.create_tags, Resources=[theirs], Tags=[TAG])


def test_a_target_group_cannot_be_made_without_the_tag_that_lets_it_be_changed(elbow, partition):
    elbow.may(policy(partition))
    assert "elasticloadbalancing:CreateTargetGroup" in refused(elbow.make, tags=())


def test_a_target_group_of_somebody_else_cannot_be_changed(elbow, partition):
    elbow.may(policy(partition))
    group = {"TargetGroupArn": elbow.group}
    refused(elbow.elb.modify_target_group, HealthCheckPath="/", **group)
    refused(elbow.elb.modify_target_group_attributes, Attributes=[{"Key": "a", "Value": "b"}], **group)
    refused(elbow.elb.add_tags, ResourceArns=[elbow.group], Tags=[{"Key": "team", "Value": "shop"}])
    refused(elbow.elb.remove_tags, ResourceArns=[elbow.group], TagKeys=["team"])


def test_what_elbow_never_does_is_refused(elbow, partition):
    elbow.may(policy(partition))
    refused(elbow.elb.delete_target_group, TargetGroupArn=elbow.group)
    refused(elbow.ec2.delete_security_group, GroupId=elbow.security_group)
    refused(elbow.elb.describe_load_balancers)


def test_a_policy_of_the_other_partition_opens_nothing(elbow, partition):
    (other,) = set(PARTITIONS) - {partition}
    elbow.may(policy(other))
    refused(elbow.elb.register_targets, TargetGroupArn=elbow.group, Targets=[{"Id": "10.0.0.9"}])


def test_another_account_is_entered_by_its_role_alone(elbow, awssim, partition):
    trust = policy(partition, "cross-account-trust")["Statement"][0]
    external_id = trust["Condition"]["StringEquals"]["sts:ExternalId"]
    role = f"arn:{partition}:iam::444455556666:role/elbow"
    awssim.admin("PUT", "/roles", {role: {"external_id": external_id}})
    awssim.admin("PUT", "/policies", {role: policy(partition)})
    assume = {"RoleArn": role, "RoleSessionName": "elbow", "ExternalId": external_id}

    elbow.may(policy(partition))
    assert "sts:AssumeRole" in refused(elbow.sts.assume_role, **assume)
    elbow.may(policy(partition, "cross-account"))
    assert "sts:AssumeRole" in refused(elbow.sts.assume_role, **assume | {"RoleArn": role + "-other"})
    refused(elbow.sts.assume_role, **assume | {"ExternalId": "guessed"})
    key = elbow.sts.assume_role(**assume)["Credentials"]["AccessKeyId"]

    there = awssim.client("elbv2", region=PARTITIONS[partition], account=key)
    there.describe_target_groups()
    refused(there.describe_load_balancers)
