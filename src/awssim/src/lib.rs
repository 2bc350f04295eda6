//! An AWS that speaks the real wire protocol on loopback: ELBv2, EC2 and STS as far as load balancing needs them.
//!
//! It owns a simulated world (accounts, regions, target groups, the health of targets as a state machine on a settable
//! clock), AWS's limits and errors, faults by rule, changes behind the callers' backs, and a journal of every call.
//! It must not know anything of its callers: it depends on no other crate here, and any SDK can talk to it.
//! No step of the ring is here; the sandbox, the tests and the benchmarks stand on it where a cloud would be.
//!
//! The state is a plain synchronous machine behind one lock; HTTP is a thin shell around it. Drive it in process by
//! [`Handle`], or over HTTP by the admin API that the README describes.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use awssim::{Fault, FaultRule, Fixture, Place, Simulator};
//!
//! let running = Simulator::builder().start_local().await?;
//! running.handle().load(&Fixture::network(Place::new("111122223333", "eu-central-1")))?;
//! running.handle().add_fault(FaultRule::on("RegisterTargets", Fault::Throttle).nth(1));
//! println!("endpoint URL: {}", running.url());
//! # Ok(())
//! # }
//! ```

mod action;
mod admin;
mod clock;
mod core;
mod drift;
mod ec2;
mod elbv2;
mod error;
mod faults;
mod fixture;
mod handle;
mod iam;
mod journal;
mod paging;
mod place;
mod query;
mod server;
mod service;
mod settings;
mod simulator;
mod sts;
#[cfg(test)]
mod testing;
mod throttle;
mod world;
mod xml;

pub use action::actions;
pub use clock::ClockMode;
pub use drift::{Drift, TargetSpec};
pub use ec2::model::InstanceState;
pub use elbv2::{
    health::{HealthState, ScriptedHealth},
    model::{Kind, Protocol, TargetType},
};
pub use faults::{Fault, FaultMatch, FaultRule, FaultStatus};
pub use fixture::{
    Fixture, InstanceFixture, ListenerFixture, LoadBalancerFixture, Loaded, NetworkInterfaceFixture,
    SecurityGroupFixture, SubnetFixture, TargetGroupFixture, VpcFixture,
};
pub use handle::{
    AdminError, ClockState, Handle, HealthCheckState, SecurityGroupRuleState, TargetGroupState, TargetState,
};
pub use iam::Policy;
pub use journal::{Counter, CounterRow, Entry, JournalFilter, JournalPage};
pub use place::Place;
pub use server::{Running, StartError, Tls};
pub use service::Service;
pub use settings::{
    HealthTiming, JournalSettings, Latencies, Latency, LoadBalancerTiming, Paging, Quotas, Settings,
};
pub use simulator::{Builder, Simulator};
pub use sts::Role;
pub use throttle::{Bucket, Category, Throttling};
