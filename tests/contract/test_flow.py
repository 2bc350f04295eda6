"""The black-box flow: what a caller of ELBv2, EC2 and STS may rely on. Runs against awssim and against moto; where moto
is known to differ, differences.json says so."""

import re

import pytest
from botocore.exceptions import ClientError


def code(call, *args, **kwargs):
    with pytest.raises(ClientError) as caught:
        call(*args, **kwargs)
    return caught.value.response["Error"]["Code"]


# Target groups


def test_a_target_group_has_the_defaults_of_its_protocol(world):
    group = world.target_group()
    assert group["HealthCheckPath"] == "/"
    assert group["HealthCheckIntervalSeconds"] == 30
    assert group["HealthyThresholdCount"] == 5
    assert group["UnhealthyThresholdCount"] == 2
    assert group["Matcher"] == {"HttpCode": "200"}
    assert group["ProtocolVersion"] == "HTTP1"


def test_a_target_group_arn_names_place_and_name(world):
    name = world.name("tg")
    arn = world.group(Name=name)
    assert re.fullmatch(
        rf"arn:aws:elasticloadbalancing:eu-central-1:\d{{12}}:targetgroup/{name}/[0-9a-f]{{16}}", arn
    )


def test_creating_the_same_target_group_again_answers_the_same_arn(world):
    name = world.name("tg")
    assert world.group(Name=name) == world.group(Name=name)


def test_creating_another_target_group_of_the_same_name_is_refused(world):
    name = world.name("tg")
    world.group(Name=name)
    assert code(world.group, Name=name, Port=9090) == "DuplicateTargetGroupName"


def test_a_target_group_name_follows_the_rules(world):
    for bad in ("x" * 33, "-x", "x-", "x_y"):
        assert code(world.group, Name=bad) == "ValidationError"


def test_a_target_group_needs_a_vpc_that_exists(world):
    call = world.elb.create_target_group
    assert code(call, Name=world.name(), Protocol="HTTP", Port=80, VpcId="vpc-0123456789abcdef0") == "ValidationError"


def test_target_groups_are_found_by_arn_and_by_name(world):
    name = world.name("tg")
    arn = world.group(Name=name)
    describe = world.elb.describe_target_groups
    assert [each["TargetGroupName"] for each in describe(TargetGroupArns=[arn])["TargetGroups"]] == [name]
    assert [each["TargetGroupArn"] for each in describe(Names=[name])["TargetGroups"]] == [arn]


def test_an_unknown_target_group_is_not_found(world):
    assert code(world.elb.describe_target_groups, Names=["not-there"]) == "TargetGroupNotFound"
    gone = world.group()
    world.elb.delete_target_group(TargetGroupArn=gone)
    assert code(world.elb.describe_target_groups, TargetGroupArns=[gone]) == "TargetGroupNotFound"


def test_a_target_group_of_another_region_is_a_validation_error(world):
    foreign = world.group().replace("eu-central-1", "eu-west-1")
    assert code(world.elb.describe_target_health, TargetGroupArn=foreign) == "ValidationError"


def test_a_target_group_of_another_partition_is_a_validation_error(world):
    foreign = world.group().replace("arn:aws:", "arn:aws-cn:")
    assert code(world.elb.describe_target_health, TargetGroupArn=foreign) == "ValidationError"


def test_target_groups_are_listed_in_pages(world):
    arns = {world.group() for _ in range(3)}
    pages = world.elb.get_paginator("describe_target_groups").paginate(PaginationConfig={"PageSize": 1})
    pages = [[each["TargetGroupArn"] for each in page["TargetGroups"]] for page in pages]
    assert all(len(page) <= 1 for page in pages)
    assert arns <= {arn for page in pages for arn in page}


def test_a_made_up_marker_is_refused(world):
    assert code(world.elb.describe_target_groups, Marker="made-up") == "ValidationError"


def test_health_check_settings_can_be_modified(world):
    arn = world.group()
    changed = world.elb.modify_target_group(TargetGroupArn=arn, HealthCheckPath="/live", HealthyThresholdCount=3)
    assert changed["TargetGroups"][0]["HealthCheckPath"] == "/live"
    assert changed["TargetGroups"][0]["HealthyThresholdCount"] == 3


def test_a_health_check_interval_out_of_range_is_refused(world):
    assert code(world.elb.modify_target_group, TargetGroupArn=world.group(), HealthCheckIntervalSeconds=1) == "ValidationError"


def test_attributes_are_changed_and_the_others_kept(world):
    arn = world.group()
    key = "deregistration_delay.timeout_seconds"
    world.elb.modify_target_group_attributes(TargetGroupArn=arn, Attributes=[{"Key": key, "Value": "17"}])
    found = world.elb.describe_target_group_attributes(TargetGroupArn=arn)["Attributes"]
    found = {each["Key"]: each["Value"] for each in found}
    assert found[key] == "17"
    assert found["stickiness.enabled"] == "false"


@pytest.mark.parametrize(
    ("key", "value"), [("deregistration_delay.timeout_seconds", "3601"), ("no.such.key", "1")], ids=["value", "key"]
)
def test_a_bad_attribute_is_refused(world, key, value):
    call = world.elb.modify_target_group_attributes
    assert code(call, TargetGroupArn=world.group(), Attributes=[{"Key": key, "Value": value}]) == "ValidationError"


def test_a_target_group_in_use_cannot_be_deleted(world):
    arn = world.group_in_use()
    assert code(world.elb.delete_target_group, TargetGroupArn=arn) == "ResourceInUse"


# Targets


def test_one_address_on_two_ports_is_two_targets(world):
    arn = world.group_in_use()
    world.register(arn, {"Id": "10.0.0.9", "Port": 80}, {"Id": "10.0.0.9", "Port": 81})
    assert set(world.health(arn)) == {("10.0.0.9", 80), ("10.0.0.9", 81)}


def test_a_target_without_a_port_gets_the_port_of_its_group(world):
    arn = world.group_in_use()
    world.register(arn, {"Id": "10.0.0.9"})
    assert set(world.health(arn)) == {("10.0.0.9", 8080)}


def test_registering_a_present_target_succeeds(world):
    arn = world.group_in_use()
    world.register(arn, {"Id": "10.0.0.9", "Port": 80})
    world.register(arn, {"Id": "10.0.0.9", "Port": 80})
    assert set(world.health(arn)) == {("10.0.0.9", 80)}


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ({"Id": "abc"}, "ValidationError"),
        ({"Id": "10.0.0.9", "Port": 0}, "ValidationError"),
        ({"Id": "8.8.8.8", "AvailabilityZone": "all"}, "InvalidTarget"),
        ({"Id": "192.168.0.9"}, "ValidationError"),
        ({"Id": "10.0.200.9"}, "ValidationError"),
        ({"Id": "10.0.0.9", "AvailabilityZone": "all"}, "ValidationError"),
    ],
    ids=[
        "not an address",
        "port 0",
        "public",
        "outside without zone",
        "in no subnet without zone",
        "in a subnet with zone all",
    ],
)
def test_a_target_that_cannot_be_is_refused(world, target, expected):
    assert code(world.register, world.group(), target) == expected


def test_an_address_outside_of_the_vpc_needs_zone_all(world):
    arn = world.group_in_use()
    world.register(arn, {"Id": "192.168.0.9", "Port": 80, "AvailabilityZone": "all"})
    assert set(world.health(arn)) == {("192.168.0.9", 80)}


def test_one_bad_target_refuses_the_whole_call_and_is_named(world):
    arn = world.group_in_use()
    with pytest.raises(ClientError) as caught:
        world.register(arn, {"Id": "10.0.0.9"}, {"Id": "192.168.0.9"})
    assert caught.value.response["Error"]["Code"] == "ValidationError"
    assert "192.168.0.9" in caught.value.response["Error"]["Message"]
    assert world.health(arn) == {}


def test_an_instance_group_takes_running_instances_of_its_vpc_only(world):
    arn = world.group(TargetType="instance")
    instance = world.instance()
    world.register(arn, {"Id": instance})
    assert set(world.health(arn)) == {(instance, 8080)}
    for bad in ("10.0.0.9", "i-0123456789abcdef0"):
        assert code(world.register, arn, {"Id": bad}) == "InvalidTarget"


def test_a_terminated_instance_is_no_target(world):
    arn = world.group(TargetType="instance")
    instance = world.instance()
    world.ec2.terminate_instances(InstanceIds=[instance])
    assert code(world.register, arn, {"Id": instance}) == "InvalidTarget"


def test_registering_in_an_unknown_group_is_not_found(world):
    arn = world.group()
    world.elb.delete_target_group(TargetGroupArn=arn)
    assert code(world.register, arn, {"Id": "10.0.0.9"}) == "TargetGroupNotFound"


def test_too_many_targets_in_a_group_are_refused(world):
    arn = world.group()
    for start in range(0, 1000, 200):
        targets = ({"Id": f"10.0.0.{n % 250 + 1}", "Port": 80 + n // 250} for n in range(start, start + 200))
        world.register(arn, *targets)
    assert code(world.register, arn, {"Id": "10.0.0.251"}) == "TooManyTargets"


def test_deregistering_an_unknown_target_succeeds(world):
    world.elb.deregister_targets(TargetGroupArn=world.group_in_use(), Targets=[{"Id": "10.0.0.9", "Port": 80}])


def test_deregistering_needs_the_port_that_was_registered(world):
    arn = world.group_in_use()
    world.register(arn, {"Id": "10.0.0.9", "Port": 80}, {"Id": "10.0.0.9", "Port": 81})
    world.elb.deregister_targets(TargetGroupArn=arn, Targets=[{"Id": "10.0.0.9", "Port": 81}])
    draining = {target for target, (state, _) in world.health(arn).items() if state == "draining"}
    assert draining == {("10.0.0.9", 81)}


# Health


def test_a_target_nobody_uses_is_unused(world):
    arn = world.group()
    world.register(arn, {"Id": "10.0.0.9"})
    assert world.health(arn) == {("10.0.0.9", 8080): ("unused", "Target.NotInUse")}


def test_a_new_target_is_initial_and_then_healthy(world):
    arn = world.group_in_use()
    world.register(arn, {"Id": "10.0.0.9"})
    assert world.health(arn)[("10.0.0.9", 8080)] == ("initial", "Elb.RegistrationInProgress")
    world.backend.advance(600)
    assert world.health(arn)[("10.0.0.9", 8080)] == ("healthy", None)


def test_a_deregistered_target_drains_and_then_is_gone(world):
    arn = world.group_in_use()
    world.register(arn, {"Id": "10.0.0.9"})
    world.elb.deregister_targets(TargetGroupArn=arn, Targets=[{"Id": "10.0.0.9"}])
    assert world.health(arn) == {("10.0.0.9", 8080): ("draining", "Target.DeregistrationInProgress")}
    world.backend.advance(301)
    assert world.health(arn) == {}


def test_a_target_that_was_never_registered_is_unused_when_asked_for(world):
    arn = world.group_in_use()
    asked = world.health(arn, {"Id": "10.0.0.9", "Port": 80})
    assert asked == {("10.0.0.9", 80): ("unused", "Target.NotRegistered")}


# Load balancers and listeners


def test_load_balancers_have_arns_and_names_of_their_kind(world):
    application = world.load_balancer(Name=world.name("app"), Scheme="internal")
    network = world.load_balancer(Name=world.name("net"), Type="network")
    assert ":loadbalancer/app/" in application["LoadBalancerArn"]
    assert application["DNSName"].startswith("internal-")
    assert application["DNSName"].endswith(".eu-central-1.elb.amazonaws.com")
    assert ":loadbalancer/net/" in network["LoadBalancerArn"]
    assert network["DNSName"].endswith(".elb.eu-central-1.amazonaws.com")


def test_creating_the_same_load_balancer_again_answers_the_same_arn(world):
    name = world.name("lb")
    assert world.load_balancer(Name=name)["LoadBalancerArn"] == world.load_balancer(Name=name)["LoadBalancerArn"]


def test_creating_another_load_balancer_of_the_same_name_is_refused(world):
    name = world.name("lb")
    world.load_balancer(Name=name)
    assert code(world.load_balancer, Name=name, Scheme="internal") == "DuplicateLoadBalancerName"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"Name": "internal-x"}, "ValidationError"),
        ({"Name": "x" * 33}, "ValidationError"),
        ({"Subnets": ["subnet-0123456789abcdef0"]}, "SubnetNotFound"),
        ({"SecurityGroups": ["sg-0123456789abcdef0"]}, "InvalidSecurityGroup"),
    ],
    ids=["internal- name", "long name", "subnet", "security group"],
)
def test_a_load_balancer_that_cannot_be_is_refused(world, settings, expected):
    assert code(world.load_balancer, **settings) == expected


def test_an_application_load_balancer_needs_two_zones(world):
    assert code(world.load_balancer, Subnets=[world.subnet("a")]) == "ValidationError"


def test_a_protected_load_balancer_cannot_be_deleted(world):
    arn = world.load_balancer()["LoadBalancerArn"]
    protect = [{"Key": "deletion_protection.enabled", "Value": "true"}]
    world.elb.modify_load_balancer_attributes(LoadBalancerArn=arn, Attributes=protect)
    assert code(world.elb.delete_load_balancer, LoadBalancerArn=arn) == "OperationNotPermitted"


def test_deleting_a_load_balancer_leaves_its_target_groups(world):
    group, load_balancer = world.group(), world.load_balancer()["LoadBalancerArn"]
    listener = world.listener(group, load_balancer)["ListenerArn"]
    world.elb.delete_load_balancer(LoadBalancerArn=load_balancer)
    found = world.elb.describe_target_groups(TargetGroupArns=[group])["TargetGroups"][0]
    assert found["LoadBalancerArns"] == []
    assert code(world.elb.describe_listeners, ListenerArns=[listener]) == "ListenerNotFound"


def test_deleting_a_missing_load_balancer_succeeds(world):
    arn = world.load_balancer()["LoadBalancerArn"]
    world.elb.delete_load_balancer(LoadBalancerArn=arn)
    world.elb.delete_load_balancer(LoadBalancerArn=arn)


def test_an_unknown_load_balancer_is_not_found(world):
    assert code(world.elb.describe_load_balancers, Names=["not-there"]) == "LoadBalancerNotFound"


def test_a_target_group_knows_its_load_balancer(world):
    group, load_balancer = world.group(), world.load_balancer()["LoadBalancerArn"]
    world.listener(group, load_balancer)
    found = world.elb.describe_target_groups(LoadBalancerArn=load_balancer)["TargetGroups"]
    assert [each["TargetGroupArn"] for each in found] == [group]
    assert found[0]["LoadBalancerArns"] == [load_balancer]


def test_creating_the_same_listener_again_answers_the_same_arn(world):
    group, load_balancer = world.group(), world.load_balancer()["LoadBalancerArn"]
    first, second = (world.listener(group, load_balancer)["ListenerArn"] for _ in range(2))
    assert first == second


def test_another_listener_on_a_used_port_is_refused(world):
    group, other, load_balancer = world.group(), world.group(), world.load_balancer()["LoadBalancerArn"]
    world.listener(group, load_balancer)
    assert code(world.listener, other, load_balancer) == "DuplicateListener"


def test_a_target_group_belongs_to_one_load_balancer(world):
    group = world.group_in_use()
    assert code(world.listener, group) == "TargetGroupAssociationLimit"


def test_a_secure_listener_needs_a_certificate(world):
    load_balancer = world.load_balancer()["LoadBalancerArn"]
    assert code(world.listener, world.group(), load_balancer, Protocol="HTTPS", Port=443) == "ValidationError"


def test_a_forward_action_shares_by_weight(world):
    blue, green, load_balancer = world.group(), world.group(), world.load_balancer()["LoadBalancerArn"]
    listener = world.listener(blue, load_balancer)["ListenerArn"]
    weights = [{"TargetGroupArn": blue, "Weight": 9}, {"TargetGroupArn": green, "Weight": 1}]
    world.elb.modify_listener(
        ListenerArn=listener, DefaultActions=[{"Type": "forward", "ForwardConfig": {"TargetGroups": weights}}]
    )
    found = world.elb.describe_listeners(ListenerArns=[listener])["Listeners"][0]["DefaultActions"][0]
    assert found["ForwardConfig"]["TargetGroups"] == weights


def test_a_weight_over_999_is_refused(world):
    group, load_balancer = world.group(), world.load_balancer()["LoadBalancerArn"]
    weights = [{"TargetGroupArn": group, "Weight": 1000}, {"TargetGroupArn": world.group(), "Weight": 1}]
    actions = [{"Type": "forward", "ForwardConfig": {"TargetGroups": weights}}]
    assert code(world.listener, group, load_balancer, DefaultActions=actions) == "ValidationError"


def test_a_listener_takes_no_unknown_target_group(world):
    listener = world.listener(world.group())["ListenerArn"]
    gone = world.group()
    world.elb.delete_target_group(TargetGroupArn=gone)
    actions = [{"Type": "forward", "TargetGroupArn": gone}]
    assert code(world.elb.modify_listener, ListenerArn=listener, DefaultActions=actions) == "TargetGroupNotFound"


def test_a_listener_that_is_gone_frees_its_target_group(world):
    group = world.group()
    listener = world.listener(group)["ListenerArn"]
    world.elb.delete_listener(ListenerArn=listener)
    world.elb.delete_target_group(TargetGroupArn=group)


# Tags


def test_tags_are_added_replaced_and_removed(world):
    arn = world.group(Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "1"}])
    world.elb.add_tags(ResourceArns=[arn], Tags=[{"Key": "b", "Value": "2"}, {"Key": "c", "Value": "3"}])
    world.elb.remove_tags(ResourceArns=[arn], TagKeys=["a"])
    found = world.elb.describe_tags(ResourceArns=[arn])["TagDescriptions"][0]["Tags"]
    assert {each["Key"]: each["Value"] for each in found} == {"b": "2", "c": "3"}


def test_at_most_twenty_resources_are_described_by_tags(world):
    assert code(world.elb.describe_tags, ResourceArns=[world.group()] * 21) == "ValidationError"


def test_tags_of_an_unknown_resource_are_not_found(world):
    gone = world.group()
    world.elb.delete_target_group(TargetGroupArn=gone)
    assert code(world.elb.describe_tags, ResourceArns=[gone]) == "TargetGroupNotFound"


# EC2


def test_the_network_is_found_by_filters(world):
    subnet = world.subnet("b")
    world.ec2.create_tags(Resources=[subnet], Tags=[{"Key": "role", "Value": world.vpc}])
    by_tag = world.ec2.describe_subnets(Filters=[{"Name": "tag:role", "Values": [world.vpc]}])["Subnets"]
    assert [each["SubnetId"] for each in by_tag] == [subnet]
    assert by_tag[0]["AvailabilityZone"] == "eu-central-1b"
    vpc = world.ec2.describe_vpcs(VpcIds=[world.vpc])["Vpcs"][0]
    assert [each["CidrBlock"] for each in vpc["CidrBlockAssociationSet"]] == ["10.0.0.0/16"]


def test_a_region_has_three_zones(world):
    zones = world.ec2.describe_availability_zones()["AvailabilityZones"]
    assert [each["ZoneName"] for each in zones] == ["eu-central-1a", "eu-central-1b", "eu-central-1c"]
    assert zones[0]["ZoneId"].startswith("euc1-az")


@pytest.mark.parametrize(
    ("call", "argument", "expected"),
    [
        ("describe_vpcs", {"VpcIds": ["vpc-0123456789abcdef0"]}, "InvalidVpcID.NotFound"),
        ("describe_subnets", {"SubnetIds": ["subnet-0123456789abcdef0"]}, "InvalidSubnetID.NotFound"),
        ("describe_instances", {"InstanceIds": ["i-0123456789abcdef0"]}, "InvalidInstanceID.NotFound"),
        ("describe_security_groups", {"GroupIds": ["sg-0123456789abcdef0"]}, "InvalidGroup.NotFound"),
        (
            "describe_network_interfaces",
            {"NetworkInterfaceIds": ["eni-0123456789abcdef0"]},
            "InvalidNetworkInterfaceID.NotFound",
        ),
    ],
    ids=["vpc", "subnet", "instance", "security group", "interface"],
)
def test_an_unknown_resource_of_ec2_is_not_found(world, call, argument, expected):
    assert code(getattr(world.ec2, call), **argument) == expected


def test_an_instance_is_found_by_the_address_of_its_interface(world):
    instance = world.instance()
    found = world.ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]
    assert found["State"]["Name"] == "running"
    filters = [
        {"Name": "addresses.private-ip-address", "Values": [found["PrivateIpAddress"]]},
        {"Name": "vpc-id", "Values": [world.vpc]},
    ]
    interfaces = world.ec2.describe_network_interfaces(Filters=filters)["NetworkInterfaces"]
    assert [each["Attachment"]["InstanceId"] for each in interfaces] == [instance]


def test_rules_are_authorized_with_ids_and_revoked_by_id(world):
    group, source = world.security_group(), world.security_group()
    permission = {
        "IpProtocol": "tcp",
        "FromPort": 80,
        "ToPort": 81,
        "IpRanges": [{"CidrIp": "10.1.0.0/16", "Description": "one"}],
        "UserIdGroupPairs": [{"GroupId": source}],
    }
    tags = [{"ResourceType": "security-group-rule", "Tags": [{"Key": "owner", "Value": "us"}]}]
    made = world.ec2.authorize_security_group_ingress(
        GroupId=group, IpPermissions=[permission], TagSpecifications=tags
    )["SecurityGroupRules"]
    assert len(made) == 2
    by_group = [{"Name": "group-id", "Values": [group]}]
    found = world.ec2.describe_security_group_rules(Filters=by_group)["SecurityGroupRules"]
    ingress = {each["SecurityGroupRuleId"]: each for each in found if not each["IsEgress"]}
    assert set(ingress) == {each["SecurityGroupRuleId"] for each in made}
    assert all(each["Tags"] == [{"Key": "owner", "Value": "us"}] for each in ingress.values())
    world.ec2.revoke_security_group_ingress(GroupId=group, SecurityGroupRuleIds=list(ingress))
    left = world.ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]
    assert left["IpPermissions"] == []


def permission(cidr, port=80):
    return {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": [{"CidrIp": cidr}]}


def test_an_equal_rule_is_a_duplicate_and_nothing_of_the_call_is_applied(world):
    group = world.security_group()
    authorize = world.ec2.authorize_security_group_ingress
    authorize(GroupId=group, IpPermissions=[permission("10.1.0.0/16")])
    both = [permission("10.2.0.0/16"), permission("10.1.0.0/16")]
    assert code(authorize, GroupId=group, IpPermissions=both) == "InvalidPermission.Duplicate"
    found = world.ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["IpPermissions"]
    assert [each["CidrIp"] for each in found[0]["IpRanges"]] == ["10.1.0.0/16"]


def test_a_rule_is_revoked_by_what_it_matches(world):
    group = world.security_group()
    world.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[permission("10.1.0.0/16")])
    revoke = world.ec2.revoke_security_group_ingress
    revoke(GroupId=group, IpPermissions=[permission("10.1.0.0/16")])
    assert code(revoke, GroupId=group, IpPermissions=[permission("10.1.0.0/16")]) == "InvalidPermission.NotFound"


def test_sixty_rules_fill_a_security_group(world):
    group = world.security_group()
    authorize = world.ec2.authorize_security_group_ingress
    authorize(GroupId=group, IpPermissions=[permission(f"10.1.{n}.0/24") for n in range(60)])
    full = code(authorize, GroupId=group, IpPermissions=[permission("10.2.0.0/24")])
    assert full == "RulesPerSecurityGroupLimitExceeded"


def test_a_security_group_that_a_rule_names_cannot_be_deleted(world):
    group, source = world.security_group(), world.security_group()
    pair = {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": source}]}
    world.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[pair])
    assert code(world.ec2.delete_security_group, GroupId=source) == "DependencyViolation"


# Identity and places


def test_an_assumed_role_acts_in_the_account_of_its_arn(world):
    arn = "arn:aws:iam::444455556666:role/elbow"
    made = world.sts.assume_role(RoleArn=arn, RoleSessionName="contract")
    assert made["AssumedRoleUser"]["Arn"] == "arn:aws:sts::444455556666:assumed-role/elbow/contract"
    assumed = world.backend.client("sts", account=made["Credentials"]["AccessKeyId"])
    assert assumed.get_caller_identity()["Account"] == "444455556666"


def test_regions_share_nothing(world):
    name = world.name("tg")
    world.group(Name=name)
    elsewhere = world.backend.client("elbv2", region="eu-west-1")
    assert code(elsewhere.describe_target_groups, Names=[name]) == "TargetGroupNotFound"


def test_an_unknown_action_is_an_error_that_an_sdk_can_read(world):
    assert code(world.elb.describe_trust_stores) in ("InvalidAction", "UnsupportedOperation")
