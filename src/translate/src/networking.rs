//! `spec.networking`: who may reach the targets.

use ipnet::IpNet;
use model::{
    binding::{IngressRule, OpenPort, Peer},
    condition::Problem,
    fact::Protocol,
};
use serde_json::Value;

use crate::fields::{Fields, clip, invalid};

pub(crate) fn networking(
    value: &Value,
    path: String,
    warnings: &mut Vec<String>,
) -> Result<Vec<IngressRule>, Problem> {
    let mut fields = Fields::of(value, path)?;
    let path = fields.at("ingress");
    let rules = each(
        fields.list("ingress")?.unwrap_or_default(),
        &path,
        |item, path| rule(item, path, warnings),
    )?;
    fields.finish(warnings);
    Ok(rules)
}

fn rule(value: &Value, path: String, warnings: &mut Vec<String>) -> Result<IngressRule, Problem> {
    let mut fields = Fields::of(value, path)?;
    let from = some_of(
        &mut fields,
        "from",
        "a rule for nobody opens nothing: name a peer, or remove the rule",
    )?;
    let ports = some_of(
        &mut fields,
        "ports",
        "a rule without ports opens nothing: list one, such as `protocol: TCP`",
    )?;
    let rule = IngressRule {
        from: each(from, &fields.at("from"), |item, path| peer(item, path, warnings))?,
        ports: each(ports, &fields.at("ports"), |item, path| {
            open_port(item, path, warnings)
        })?,
    };
    fields.finish(warnings);
    Ok(rule)
}

fn peer(value: &Value, path: String, warnings: &mut Vec<String>) -> Result<Peer, Problem> {
    let mut fields = Fields::of(value, path.clone())?;
    let peer = match (fields.get("ipBlock"), fields.get("securityGroup")) {
        (Some(block), None) => {
            let mut block = Fields::of(block, fields.at("ipBlock"))?;
            let text = block.required_text("cidr")?;
            let peer = Peer::Cidr(cidr(text, block.at("cidr"))?);
            block.finish(warnings);
            peer
        }
        (None, Some(group)) => {
            let mut group = Fields::of(group, fields.at("securityGroup"))?;
            let text = group.required_text("groupID")?;
            let Ok(id) = text.parse() else {
                let message = format!(
                    "`{}` is no security group: use its id, `sg-` and hexadecimal digits",
                    clip(text)
                );
                return Err(invalid(group.at("groupID"), message));
            };
            let peer = Peer::SecurityGroup(id);
            group.finish(warnings);
            peer
        }
        (None, None) => return Err(invalid(path, "names no peer: set ipBlock or securityGroup")),
        (Some(_), Some(_)) => {
            return Err(invalid(
                path,
                "names two peers: make two entries, one with ipBlock and one with securityGroup",
            ));
        }
    };
    fields.finish(warnings);
    Ok(peer)
}

fn cidr(text: &str, path: String) -> Result<IpNet, Problem> {
    let Ok(block) = text.parse::<IpNet>() else {
        let message = format!(
            "`{}` is no CIDR block: write an address and a length, such as 10.0.0.0/8",
            clip(text)
        );
        return Err(invalid(path, message));
    };
    // AWS would cut the bits off, and the rule would cover more than its text seems to say.
    if block != block.trunc() {
        let message = format!(
            "`{block}` has bits beyond its length: write `{}` if the whole block is meant",
            block.trunc()
        );
        return Err(invalid(path, message));
    }
    Ok(block)
}

fn open_port(value: &Value, path: String, warnings: &mut Vec<String>) -> Result<OpenPort, Problem> {
    let mut fields = Fields::of(value, path)?;
    let protocol = match fields.word("protocol", &["TCP", "UDP"])? {
        Some("UDP") => Protocol::Udp,
        _ => Protocol::Tcp,
    };
    let port = OpenPort {
        protocol,
        port: fields.port("port")?,
    };
    fields.finish(warnings);
    Ok(port)
}

/// A list that must be there and hold something.
fn some_of<'a>(fields: &mut Fields<'a>, name: &'static str, empty: &str) -> Result<&'a [Value], Problem> {
    match fields.list(name)? {
        None => Err(fields.missing(name)),
        Some([]) => Err(invalid(fields.at(name), empty)),
        Some(items) => Ok(items),
    }
}

fn each<T>(
    items: &[Value],
    path: &str,
    mut read: impl FnMut(&Value, String) -> Result<T, Problem>,
) -> Result<Vec<T>, Problem> {
    items
        .iter()
        .enumerate()
        .map(|(index, item)| read(item, format!("{path}[{index}]")))
        .collect()
}
