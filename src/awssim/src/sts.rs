//! STS, and who a call comes from: access keys, accounts, roles.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{action::Reply, error::AwsError, place, query::Node, world::Ids, xml::Xml};

pub(crate) const ACTIONS: &[&str] = &["AssumeRole", "GetCallerIdentity"];

/// What AssumeRole asks of the caller of a role. A role that nothing is known of lets everybody in.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Role {
    /// Without it none is asked for.
    pub external_id: Option<String>,
    pub denied: bool,
}

/// Who made a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) account: String,
    pub(crate) arn: String,
    /// Whose policies count: an access key, or the ARN of the role that was assumed.
    pub(crate) principal: String,
    user_id: String,
}

#[derive(Debug, Clone)]
struct Session {
    caller: Caller,
    expires: Timestamp,
}

/// Access keys and roles.
#[derive(Debug)]
pub(crate) struct Identities {
    default_account: String,
    keys: BTreeMap<String, String>,
    roles: BTreeMap<String, Role>,
    sessions: HashMap<String, Session>,
}

impl Identities {
    pub(crate) fn new(default_account: String) -> Self {
        Self {
            default_account,
            keys: BTreeMap::new(),
            roles: BTreeMap::new(),
            sessions: HashMap::new(),
        }
    }

    pub(crate) fn set_account(&mut self, access_key: String, account: String) {
        self.keys.insert(access_key, account);
    }

    pub(crate) fn set_role(&mut self, arn: String, role: Role) {
        self.roles.insert(arn, role);
    }

    /// The account of an access key: of its session, as mapped, itself when it is twelve digits, or the default one.
    pub(crate) fn caller(&self, access_key: &str, region: &str, now: Timestamp) -> Result<Caller, AwsError> {
        if let Some(session) = self.sessions.get(access_key) {
            return if now < session.expires {
                Ok(session.caller.clone())
            } else {
                Err(expired_token())
            };
        }
        let is_account = access_key.len() == 12 && access_key.bytes().all(|byte| byte.is_ascii_digit());
        let account = match self.keys.get(access_key) {
            Some(account) => account,
            None if is_account => access_key,
            None => &self.default_account,
        };
        Ok(Caller {
            account: account.to_owned(),
            arn: format!(
                "arn:{}:iam::{account}:user/{access_key}",
                place::partition(region)
            ),
            principal: access_key.to_owned(),
            user_id: access_key.to_owned(),
        })
    }

    pub(crate) fn run(
        &mut self,
        action: &str,
        caller: &Caller,
        params: &Node<'_>,
        ids: &mut Ids,
        now: Timestamp,
    ) -> Reply {
        match action {
            "AssumeRole" => self.assume_role(caller, params, ids, now),
            "GetCallerIdentity" => {
                let mut xml = Xml::new();
                xml.text("Arn", &caller.arn);
                xml.text("UserId", &caller.user_id);
                xml.text("Account", &caller.account);
                Ok(xml)
            }
            other => Err(AwsError::new(
                "InvalidAction",
                format!("Could not find operation {other}"),
            )),
        }
    }

    fn assume_role(&mut self, caller: &Caller, params: &Node<'_>, ids: &mut Ids, now: Timestamp) -> Reply {
        let (arn, session_name) = (params.required("RoleArn")?, params.required("RoleSessionName")?);
        let parts: Vec<&str> = arn.splitn(6, ':').collect();
        let ["arn", partition, "iam", "", account, resource] = parts.as_slice() else {
            return Err(AwsError::validation(format!("{arn} is invalid")));
        };
        let Some(role_name) = resource
            .strip_prefix("role/")
            .and_then(|path| path.rsplit('/').next())
        else {
            return Err(AwsError::validation(format!("{arn} is invalid")));
        };
        let role = self.roles.get(arn).cloned().unwrap_or_default();
        let external_id_differs = role
            .external_id
            .as_deref()
            .is_some_and(|wanted| params.text("ExternalId") != Some(wanted));
        if role.denied || external_id_differs {
            let message = format!(
                "User: {} is not authorized to perform: sts:AssumeRole on resource: {arn}",
                caller.arn
            );
            return Err(AwsError::new("AccessDenied", message).with_status(403));
        }
        let seconds = params.parsed::<u64>("DurationSeconds")?.unwrap_or(3600);
        if !(900..=43_200).contains(&seconds) {
            return Err(AwsError::malformed("DurationSeconds", &seconds.to_string()));
        }
        let expires = now + Duration::from_secs(seconds);
        let access_key = format!("ASIA{}", ids.elb().to_uppercase());
        let user_id = format!("AROA{}:{session_name}", ids.elb().to_uppercase());
        let user_arn = format!("arn:{partition}:sts::{account}:assumed-role/{role_name}/{session_name}");
        let mut xml = Xml::new();
        xml.within("Credentials", |xml| {
            xml.text("AccessKeyId", &access_key);
            xml.text("SecretAccessKey", format_args!("{}{}", ids.elb(), ids.elb()));
            xml.text("SessionToken", format_args!("{}{}", ids.elb(), ids.elb()));
            xml.text("Expiration", format_args!("{expires:.0}"));
        });
        xml.within("AssumedRoleUser", |xml| {
            xml.text("AssumedRoleId", &user_id);
            xml.text("Arn", &user_arn);
        });
        let caller = Caller {
            account: (*account).to_owned(),
            arn: user_arn,
            principal: arn.to_owned(),
            user_id,
        };
        self.sessions.insert(access_key, Session { caller, expires });
        Ok(xml)
    }
}

pub(crate) fn expired_token() -> AwsError {
    AwsError::new(
        "ExpiredToken",
        "The security token included in the request is expired",
    )
    .with_status(403)
}
