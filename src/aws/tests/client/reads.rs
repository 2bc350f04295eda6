//! What is read from AWS, and what an answer may and may not mean.

use crate::support::{Answer, Endpoint, Form, arn, client, now, settings, value};
use aws::{Error, ErrorClass};
use model::{
    Observed,
    condition::Reason,
    target::{HealthState, TargetType},
    target_group::IpAddressType,
};

fn target_group() -> Answer {
    Answer::result(
        "DescribeTargetGroups",
        &format!(
            "<TargetGroups><member><TargetGroupArn>{}</TargetGroupArn><Protocol>HTTP</Protocol><Port>80</Port>\
             <VpcId>vpc-0a1b2c3d</VpcId><TargetType>ip</TargetType><IpAddressType>ipv6</IpAddressType>\
             <LoadBalancerArns><member>arn:aws-cn:elasticloadbalancing:x</member></LoadBalancerArns>\
             </member></TargetGroups>",
            arn()
        ),
    )
}

fn vpc() -> Answer {
    let v4 = |block, state| {
        format!(
            "<item><cidrBlock>{block}</cidrBlock><cidrBlockState><state>{state}</state></cidrBlockState></item>"
        )
    };
    Answer::Status(
        200,
        format!(
            "<DescribeVpcsResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><requestId>r</requestId>\
             <vpcSet><item><vpcId>vpc-0a1b2c3d</vpcId><cidrBlock>10.0.0.0/16</cidrBlock>\
             <cidrBlockAssociationSet>{}{}{}</cidrBlockAssociationSet>\
             <ipv6CidrBlockAssociationSet><item><ipv6CidrBlock>2001:db8::/56</ipv6CidrBlock>\
             <ipv6CidrBlockState><state>associated</state></ipv6CidrBlockState></item></ipv6CidrBlockAssociationSet>\
             </item></vpcSet></DescribeVpcsResponse>",
            v4("10.0.0.0/16", "associated"),
            v4("100.64.0.0/16", "associated"),
            v4("192.168.0.0/16", "disassociated"),
        ),
    )
}

fn ec2_denial() -> Answer {
    Answer::Status(
        403,
        "<Response><Errors><Error><Code>UnauthorizedOperation</Code><Message>You are not authorized</Message></Error>\
         </Errors><RequestID>r</RequestID></Response>"
            .to_owned(),
    )
}

fn actions(endpoint: &Endpoint) -> Vec<String> {
    endpoint
        .requests()
        .iter()
        .map(|form: &Form| value(form, "Action").to_owned())
        .collect()
}

#[tokio::test]
async fn a_target_group_is_described_with_all_cidr_blocks_of_its_vpc() {
    let endpoint = Endpoint::script([target_group(), vpc(), target_group()]).await;
    let client = client(settings(&endpoint.url)).await;
    let observed = client.target_group(&arn()).await.expect("described");
    assert_eq!(observed.at(), Some(now()));
    let facts = observed.present().expect("present");
    assert_eq!(facts.target_type, TargetType::Ip);
    assert_eq!(facts.ip_address_type, IpAddressType::Ipv6);
    assert_eq!(
        (facts.protocol.as_deref(), facts.port, facts.in_use),
        (Some("HTTP"), Some(80), true)
    );
    let blocks = ["10.0.0.0/16", "100.64.0.0/16", "2001:db8::/56"].map(|block| block.parse().unwrap());
    assert_eq!(facts.vpc_cidrs.as_deref(), Some(&blocks[..]));

    client.target_group(&arn()).await.expect("described");
    assert_eq!(
        actions(&endpoint),
        ["DescribeTargetGroups", "DescribeVpcs", "DescribeTargetGroups"]
    );
}

#[tokio::test]
async fn a_denied_describe_vpcs_leaves_the_blocks_unknown_and_is_not_asked_again() {
    let endpoint = Endpoint::script([target_group(), ec2_denial(), target_group()]).await;
    let client = client(settings(&endpoint.url)).await;
    for _ in 0..2 {
        let observed = client.target_group(&arn()).await.expect("described");
        assert_eq!(observed.present().expect("present").vpc_cidrs, None);
    }
    assert_eq!(endpoint.requests().len(), 3);
}

#[tokio::test]
async fn only_not_found_means_absent() {
    let endpoint = Endpoint::start(|_| Answer::error(400, "TargetGroupNotFound", "none")).await;
    let client = client(settings(&endpoint.url)).await;
    assert_eq!(
        client.target_group(&arn()).await.expect("an answer"),
        Observed::Absent { at: now() }
    );
    assert_eq!(
        client.target_health(&arn()).await.expect("an answer"),
        Observed::Absent { at: now() }
    );
}

#[tokio::test]
async fn a_list_without_the_group_is_no_answer() {
    let endpoint = Endpoint::script([Answer::result("DescribeTargetGroups", "<TargetGroups/>")]).await;
    let error = client(settings(&endpoint.url))
        .await
        .target_group(&arn())
        .await
        .expect_err("says nothing");
    assert!(matches!(error, Error::Answer { .. }), "{error}");
}

#[tokio::test]
async fn the_targets_of_a_group_are_read_with_their_states() {
    let member = |id: &str, state: &str, more: &str| {
        format!(
            "<member><Target><Id>{id}</Id><Port>80</Port><AvailabilityZone>all</AvailabilityZone></Target>\
             <TargetHealth><State>{state}</State>{more}</TargetHealth></member>"
        )
    };
    let list = [
        member("10.0.0.1", "healthy", ""),
        member(
            "10.0.0.2",
            "unused",
            "<Reason>Target.NotInUse</Reason><Description>d</Description>",
        ),
        member("fd00::1", "brand-new", ""),
        member("10.0.0.3", "unhealthy.draining", ""),
    ]
    .concat();
    let result = format!("<TargetHealthDescriptions>{list}</TargetHealthDescriptions>");
    let endpoint = Endpoint::script([Answer::result("DescribeTargetHealth", &result)]).await;
    let observed = client(settings(&endpoint.url))
        .await
        .target_health(&arn())
        .await
        .expect("described");
    assert_eq!(observed.at(), Some(now()));
    let targets = observed.present().expect("present");
    let states: Vec<_> = targets
        .iter()
        .map(|target| (target.target.key.to_string(), target.state.clone()))
        .collect();
    assert_eq!(
        states,
        [
            ("10.0.0.1:80".to_owned(), HealthState::Healthy),
            ("10.0.0.2:80".to_owned(), HealthState::Unused),
            (
                "[fd00::1]:80".to_owned(),
                HealthState::Other("brand-new".to_owned())
            ),
            ("10.0.0.3:80".to_owned(), HealthState::UnhealthyDraining),
        ]
    );
    assert_eq!(targets[1].reason.as_deref(), Some("Target.NotInUse"));
}

#[tokio::test]
async fn health_that_aws_cannot_tell_is_an_error_and_not_an_empty_group() {
    let endpoint = Endpoint::start(|_| Answer::error(500, "HealthUnavailable", "later")).await;
    let error = client(settings(&endpoint.url))
        .await
        .target_health(&arn())
        .await
        .expect_err("unknown");
    assert!(
        matches!(&error, Error::Read(failure) if failure.class == ErrorClass::Unavailable),
        "{error}"
    );
    assert_eq!(endpoint.requests().len(), 3, "a read is tried again");
}

#[tokio::test]
async fn an_answer_without_a_list_is_no_empty_group() {
    for answer in [
        Answer::result("DescribeTargetHealth", ""),
        Answer::Status(200, "no XML".to_owned()),
    ] {
        let endpoint = Endpoint::start(move |_| answer.clone()).await;
        let result = client(settings(&endpoint.url)).await.target_health(&arn()).await;
        assert!(result.is_err(), "{result:?}");
    }
}

#[tokio::test]
async fn a_read_goes_on_after_an_error_that_passes() {
    let empty = Answer::result("DescribeTargetHealth", "<TargetHealthDescriptions/>");
    let endpoint = Endpoint::script([Answer::Drop, empty]).await;
    let observed = client(settings(&endpoint.url))
        .await
        .target_health(&arn())
        .await
        .expect("the second answer");
    assert_eq!(
        observed,
        Observed::Present {
            at: now(),
            value: vec![]
        }
    );
}

#[tokio::test]
async fn a_denied_read_names_the_permission_and_is_not_repeated() {
    let endpoint = Endpoint::start(|_| Answer::error(403, "AccessDenied", "no")).await;
    let error = client(settings(&endpoint.url))
        .await
        .target_health(&arn())
        .await
        .expect_err("denied");
    let problem = error.problem();
    assert_eq!(problem.reason, Reason::AccessDenied);
    assert!(
        problem
            .message
            .contains("`elasticloadbalancing:DescribeTargetHealth`"),
        "{}",
        problem.message
    );
    assert_eq!(endpoint.requests().len(), 1);
}

#[tokio::test]
async fn the_deregistration_delay_is_known_or_nobody_says() {
    let attribute = |key: &str| {
        let member = format!("<member><Key>{key}</Key><Value>120</Value></member>");
        Answer::result(
            "DescribeTargetGroupAttributes",
            &format!("<Attributes>{member}</Attributes>"),
        )
    };
    for (answer, expected) in [
        (
            attribute("deregistration_delay.timeout_seconds"),
            Some(std::time::Duration::from_mins(2)),
        ),
        (attribute("stickiness.enabled"), None),
        (Answer::error(400, "TargetGroupNotFound", "no"), None),
    ] {
        let endpoint = Endpoint::start(move |_| answer.clone()).await;
        let delay = client(settings(&endpoint.url))
            .await
            .deregistration_delay(&arn())
            .await;
        assert_eq!(delay.expect("an answer"), expected);
    }
}
