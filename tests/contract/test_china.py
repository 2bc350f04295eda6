"""The other partition: ARNs and DNS names of aws-cn."""

import pytest

from conftest import World


@pytest.fixture
def china(backend):
    return World(backend, region="cn-north-1")


def test_china_has_its_own_partition_in_arns(china):
    assert china.group().startswith("arn:aws-cn:elasticloadbalancing:cn-north-1:")
    role = "arn:aws-cn:iam::444455556666:role/elbow"
    made = china.sts.assume_role(RoleArn=role, RoleSessionName="contract")
    assert made["AssumedRoleUser"]["Arn"].startswith("arn:aws-cn:sts::444455556666:assumed-role/")


def test_china_has_its_own_dns_suffix(china):
    assert china.load_balancer()["DNSName"].endswith(".cn-north-1.elb.amazonaws.com.cn")
