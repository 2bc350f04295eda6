//! Nodes of a sandbox's cluster: what EC2 and a kubelet would have said about them.

use ipnet::Ipv4Net;
use serde_json::{Value, json};

/// A node that kwok plays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// The range that its pods get addresses from.
    pub pod_cidr: Ipv4Net,
    /// Its own address.
    pub internal_ip: std::net::Ipv4Addr,
    /// Its availability zone, like `us-east-1a`.
    pub zone: String,
    /// Its EC2 instance, like `i-0a0000000000000001`.
    pub instance_id: String,
}

impl Node {
    /// `count` nodes in `range`, a /24 of it for the pods of each, spread over `zones`. Two clusters with ranges
    /// apart share no address, as in a VPC.
    ///
    /// # Panics
    /// When `range` holds fewer than `count` /24s, or `zones` is empty.
    pub fn spread(cluster: &str, count: usize, range: Ipv4Net, zones: &[&str]) -> Vec<Self> {
        let slices = range
            .subnets(24)
            .expect("a node's range is a /24, so the cluster's is no smaller");
        let nodes: Vec<_> = slices
            .take(count)
            .zip(zones.iter().cycle())
            .enumerate()
            .map(|(index, (pod_cidr, zone))| Self {
                name: format!("{cluster}-{index}"),
                pod_cidr,
                // The last address of its own range; kwok hands them out from the first.
                internal_ip: pod_cidr.hosts().last().expect("a /24 has hosts"),
                zone: (*zone).to_owned(),
                instance_id: format!("i-{:017x}", u32::from(pod_cidr.network())),
            })
            .collect();
        assert_eq!(nodes.len(), count, "{range} is too small for {count} nodes");
        nodes
    }

    pub(super) fn manifest(&self) -> Value {
        let region = self
            .zone
            .trim_end_matches(|letter: char| letter.is_ascii_lowercase());
        json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": self.name,
                "labels": {
                    "kubernetes.io/hostname": self.name,
                    "kubernetes.io/os": "linux",
                    "kubernetes.io/arch": "amd64",
                    "node.kubernetes.io/instance-type": "m7i.16xlarge",
                    "topology.kubernetes.io/region": region,
                    "topology.kubernetes.io/zone": self.zone,
                },
                "annotations": { "sandbox.elbow/internal-ip": self.internal_ip },
            },
            "spec": {
                "podCIDR": self.pod_cidr,
                "podCIDRs": [self.pod_cidr],
                "providerID": format!("aws:///{}/{}", self.zone, self.instance_id),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_of_a_range_share_no_address_and_take_turns_in_the_zones() {
        let nodes = Node::spread(
            "east",
            3,
            "192.168.16.0/20".parse().unwrap(),
            &["us-east-1a", "us-east-1b"],
        );
        assert_eq!(nodes[1].pod_cidr, "192.168.17.0/24".parse().unwrap());
        assert_eq!(nodes[1].internal_ip, std::net::Ipv4Addr::new(192, 168, 17, 254));
        assert_eq!(
            nodes.iter().map(|node| node.zone.as_str()).collect::<Vec<_>>(),
            ["us-east-1a", "us-east-1b", "us-east-1a"]
        );
        assert_eq!(
            nodes[0].manifest()["metadata"]["labels"]["topology.kubernetes.io/region"],
            "us-east-1"
        );
    }
}
