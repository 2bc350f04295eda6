//! The whole simulator as one synchronous state machine: a call goes in, a decision comes out.

use std::time::Duration;

use jiff::Timestamp;

use crate::{
    action::{Action, Run},
    clock::{Clock, ClockMode, WallClock},
    error::AwsError,
    faults::{Fault, Faults, Subject},
    iam::{self, Policies},
    journal::{Entry, Journal},
    place::Place,
    query::{self, Credential, Form, Node},
    service::Service,
    settings::Settings,
    sts::{self, Caller, Identities},
    throttle::{Category, Throttle},
    world::{Change, Ids, View, World},
    xml::Xml,
};

/// A request as the shell has read it.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) credential: Option<Credential>,
    pub(crate) form: Form,
    pub(crate) received: Timestamp,
}

/// An answer that is ready to send.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
    pub(crate) request_id: String,
}

/// What the shell does with a call.
#[derive(Debug)]
pub(crate) struct Decision {
    pub(crate) sequence: u64,
    pub(crate) ending: Ending,
}

#[derive(Debug)]
pub(crate) enum Ending {
    Answer {
        after: Duration,
        answer: Answer,
    },
    /// Say nothing, until the client gives up or `hold` is over.
    Silence {
        hold: Option<Duration>,
    },
    /// Say nothing, and apply the call later.
    ApplyLater {
        after: Duration,
        call: LateCall,
    },
    Drop {
        after: Duration,
    },
}

/// A call that takes effect after its caller has been left without an answer.
#[derive(Debug)]
pub(crate) struct LateCall {
    action: Action,
    place: Place,
    form: Form,
    sequence: u64,
}

#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) settings: Settings,
    pub(crate) clock: Clock,
    pub(crate) world: World,
    pub(crate) throttle: Throttle,
    pub(crate) faults: Faults,
    pub(crate) journal: Journal,
    pub(crate) identities: Identities,
    pub(crate) policies: Policies,
    pub(crate) ids: Ids,
}

/// What came of a call before the shell is told.
struct Outcome {
    result: Result<Xml, AwsError>,
    applied: bool,
    fault: Option<Fault>,
}

impl Core {
    pub(crate) fn new(
        settings: Settings,
        wall: WallClock,
        mode: &ClockMode,
        default_account: String,
        seed: Option<u64>,
    ) -> Self {
        Self {
            settings,
            clock: Clock::new(wall, mode),
            world: World::default(),
            throttle: Throttle::default(),
            faults: Faults::default(),
            journal: Journal::default(),
            identities: Identities::new(default_account),
            policies: Policies::default(),
            ids: Ids::new(seed),
        }
    }

    /// Judges a call, applies it unless a fault says otherwise, and writes it into the journal.
    pub(crate) fn handle(&mut self, call: Call) -> Decision {
        let now = self.clock.now();
        let request_id = self.ids.request_id();
        let action = query::lookup(&call.form, "Action").unwrap_or_default().to_owned();
        let asked = self.identify(&call, now);
        let outcome = match &asked.caller {
            Ok((service, caller)) => self.run(*service, &action, &asked.place, caller, &call.form, now),
            Err(error) => Outcome::refused(error.clone()),
        };
        let framing = asked.service.unwrap_or(Service::Elbv2);
        let (status, body) = match &outcome.result {
            Ok(result) => (200, framing.frame(&action, &request_id, result)),
            Err(error) => (error.status, framing.frame_error(error, &request_id)),
        };
        let answer = Answer {
            status,
            body,
            request_id: request_id.clone(),
        };
        let is_answered = outcome.fault.as_ref().is_none_or(Fault::lets_answer);
        let entry = Entry {
            sequence: 0,
            received: call.received,
            simulated: now,
            answered: None,
            service: asked.service,
            action: action.clone(),
            account: asked.place.account.clone(),
            region: asked.place.region.clone(),
            access_key: asked.access_key,
            targets: call.form.iter().filter(|(key, _)| is_target_id(key)).count(),
            params: call.form.clone(),
            status: is_answered.then_some(status),
            error_code: outcome
                .result
                .as_ref()
                .err()
                .map(|error| error.code(framing).to_owned()),
            request_id,
            applied: outcome.applied,
            fault: outcome.fault.as_ref().map(|fault| fault.name().to_owned()),
            abandoned: false,
        };
        let sequence = self.journal.append(entry, self.settings.journal.capacity);
        let latency = self.settings.latency.of(&action).sample(self.ids.random());
        let late = |after| match Action::find(framing, &action) {
            Some(action) => {
                let call = LateCall {
                    action,
                    place: asked.place,
                    form: call.form,
                    sequence,
                };
                Ending::ApplyLater { after, call }
            }
            None => Ending::Silence { hold: None },
        };
        let ending = match outcome.fault {
            Some(Fault::AppliedThenTimeout { hold } | Fault::TimeoutNotApplied { hold }) => {
                Ending::Silence { hold }
            }
            Some(Fault::DroppedConnection { .. }) => Ending::Drop { after: latency },
            Some(Fault::LateApply { after }) => late(after),
            Some(Fault::Slow { by }) => Ending::Answer {
                after: latency + by,
                answer,
            },
            _ => Ending::Answer {
                after: latency,
                answer,
            },
        };
        Decision { sequence, ending }
    }

    /// Who asks, of which service, and where; or why nobody may.
    fn identify(&self, call: &Call, now: Timestamp) -> Asked {
        let Some(credential) = &call.credential else {
            let message = "Request is missing Authentication Token";
            let error = AwsError::new("MissingAuthenticationToken", message).with_status(403);
            let place = Place::new("", "us-east-1");
            return Asked {
                service: None,
                place,
                access_key: String::new(),
                caller: Err(error),
            };
        };
        let Credential {
            access_key,
            region,
            service,
            signing_name,
        } = credential.clone();
        let caller = self.identities.caller(&access_key, &region, now);
        let account = caller.as_ref().map_or("", |caller| caller.account.as_str());
        let place = Place::new(account, region);
        let unknown = || {
            AwsError::new(
                "InvalidAction",
                format!("The service '{signing_name}' is not simulated"),
            )
        };
        let caller = caller.and_then(|caller| Ok((service.ok_or_else(unknown)?, caller)));
        Asked {
            service,
            place,
            access_key,
            caller,
        }
    }

    fn run(
        &mut self,
        service: Service,
        action: &str,
        place: &Place,
        caller: &Caller,
        form: &Form,
        now: Timestamp,
    ) -> Outcome {
        let found = Action::find(service, action);
        let category = found.map_or(Category::Unlimited, |found| found.category);
        if let Err(error) = self
            .throttle
            .take(&self.settings.throttling, place, category, now)
        {
            return Outcome::refused(error);
        }
        let params = Node::tree(form);
        let allowed = self
            .policies
            .check(caller, service, action, &params, &self.world.region(place));
        if let Err(error) = allowed {
            return Outcome::refused(error);
        }
        let target_group_arn = query::lookup(form, "TargetGroupArn");
        let subject = Subject {
            service,
            action,
            account: &place.account,
            region: &place.region,
            target_group_arn,
        };
        let fault = self.faults.hit(subject);
        if let Some(error) = fault
            .as_ref()
            .and_then(|fault| self.refusal(fault, subject, caller))
        {
            return Outcome {
                fault,
                ..Outcome::refused(error)
            };
        }
        if fault.as_ref().is_some_and(Fault::skips) {
            return Outcome {
                result: Ok(Xml::new()),
                applied: false,
                fault,
            };
        }
        if service == Service::Sts {
            let result = self.identities.run(action, caller, &params, &mut self.ids, now);
            return Outcome {
                applied: false,
                result,
                fault,
            };
        }
        let Some(found) = found else {
            let message = format!("The action {action} is not valid for this web service");
            return Outcome {
                fault,
                ..Outcome::refused(AwsError::new("InvalidAction", message))
            };
        };
        let (result, applied) = match (&fault, found.run) {
            (Some(Fault::StaleReads { age }), Run::Read(read)) => {
                let region = self.world.region_ago(place, *age, now);
                let view = View {
                    region: &region,
                    now: now - *age,
                    settings: &self.settings,
                };
                (read(&view, &params), false)
            }
            (_, run) => self.apply(run, place, &params, now),
        };
        Outcome {
            result,
            applied,
            fault,
        }
    }

    /// The error of a fault that is one.
    fn refusal(&self, fault: &Fault, subject: Subject<'_>, caller: &Caller) -> Option<AwsError> {
        let Subject {
            service,
            action,
            target_group_arn,
            ..
        } = subject;
        match fault {
            Fault::Error {
                code,
                message,
                status,
            } => Some(AwsError::new(code.clone(), message.clone()).with_status(*status)),
            Fault::Throttle => Some(self.settings.throttling.error(match service {
                Service::Ec2 => Category::Ec2Mutating,
                Service::Elbv2 | Service::Sts => Category::ElbMutating,
            })),
            Fault::Http500 => {
                Some(AwsError::new("InternalFailure", "An internal error occurred").with_status(500))
            }
            Fault::AccessDenied => {
                let permission = format!("{}:{action}", service.iam_prefix());
                let resource = target_group_arn.unwrap_or("*");
                Some(iam::not_allowed(service, caller, &permission, resource))
            }
            Fault::ExpiredToken => Some(sts::expired_token()),
            _ => None,
        }
    }

    fn apply(
        &mut self,
        run: Run,
        place: &Place,
        params: &Node<'_>,
        now: Timestamp,
    ) -> (Result<Xml, AwsError>, bool) {
        match run {
            Run::Read(read) => {
                let region = self.world.region(place);
                (
                    read(
                        &View {
                            region: &region,
                            now,
                            settings: &self.settings,
                        },
                        params,
                    ),
                    false,
                )
            }
            Run::Write(write) => {
                let region = self.world.region_mut(place, now);
                let mut change = Change {
                    region,
                    now,
                    settings: &self.settings,
                    ids: &mut self.ids,
                };
                let result = write(&mut change, params);
                let applied = result.is_ok();
                (result, applied)
            }
        }
    }

    /// Applies a call whose caller got no answer.
    pub(crate) fn apply_late(&mut self, call: &LateCall) {
        let now = self.clock.now();
        let params = Node::tree(&call.form);
        let (_, applied) = self.apply(call.action.run, &call.place, &params, now);
        self.journal.amend(call.sequence, |entry| entry.applied = applied);
    }
}

/// What the credential of a call says.
struct Asked {
    service: Option<Service>,
    place: Place,
    access_key: String,
    caller: Result<(Service, Caller), AwsError>,
}

fn is_target_id(key: &str) -> bool {
    key.starts_with("Targets.") && key.ends_with(".Id")
}

impl Outcome {
    fn refused(error: AwsError) -> Self {
        Self {
            result: Err(error),
            applied: false,
            fault: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{faults::FaultRule, journal::JournalFilter, testing::Bench, throttle::Throttling};

    fn register(bench: &mut Bench) -> Ending {
        let group = bench.group.clone();
        let fields = [
            ("TargetGroupArn", group.as_str()),
            ("Targets.member.1.Id", "10.0.0.9"),
        ];
        bench.decide("RegisterTargets", &fields).ending
    }

    fn install(bench: &mut Bench, fault: Fault) {
        bench.core.faults.add(FaultRule::on("RegisterTargets", fault));
    }

    fn applied(bench: &Bench) -> bool {
        bench
            .core
            .journal
            .page(&JournalFilter::default())
            .entries
            .last()
            .expect("a call")
            .applied
    }

    #[test]
    fn a_call_that_times_out_takes_effect_or_not_as_the_rule_says() {
        for (fault, takes_effect) in [
            (Fault::AppliedThenTimeout { hold: None }, true),
            (Fault::TimeoutNotApplied { hold: None }, false),
        ] {
            let mut bench = Bench::new();
            install(&mut bench, fault);
            assert!(matches!(register(&mut bench), Ending::Silence { hold: None }));
            assert_eq!(applied(&bench), takes_effect);
            assert_eq!(bench.health().len(), usize::from(takes_effect));
        }
    }

    #[test]
    fn a_late_call_takes_effect_when_it_is_told_to() {
        let mut bench = Bench::new();
        install(
            &mut bench,
            Fault::LateApply {
                after: Duration::from_secs(1),
            },
        );
        let Ending::ApplyLater { call, .. } = register(&mut bench) else {
            panic!("it must be late")
        };
        assert!(bench.health().is_empty());
        bench.core.apply_late(&call);
        assert_eq!(bench.health().len(), 1);
        let calls = bench.core.journal.page(&JournalFilter::default()).entries;
        assert!(
            calls
                .iter()
                .any(|entry| entry.action == "RegisterTargets" && entry.applied)
        );
    }

    #[test]
    fn a_dropped_call_takes_effect_or_not_as_the_rule_says() {
        for takes_effect in [true, false] {
            let mut bench = Bench::new();
            install(
                &mut bench,
                Fault::DroppedConnection {
                    applied: takes_effect,
                },
            );
            assert!(matches!(register(&mut bench), Ending::Drop { .. }));
            assert_eq!(bench.health().len(), usize::from(takes_effect));
        }
    }

    #[test]
    fn a_refused_call_is_in_the_journal_with_its_code() {
        let mut bench = Bench::new();
        install(&mut bench, Fault::Throttle);
        register(&mut bench);
        let entry = bench
            .core
            .journal
            .page(&JournalFilter::default())
            .entries
            .remove(0);
        assert_eq!(entry.error_code.as_deref(), Some("Throttling"));
        assert_eq!(
            (entry.status, entry.applied, entry.fault.as_deref()),
            (Some(400), false, Some("throttle"))
        );
    }

    #[test]
    fn a_throttled_call_does_not_use_up_a_fault() {
        let mut bench = Bench::new();
        let registration = Some(crate::throttle::Bucket::new(1.0, 0.0));
        bench.core.settings.throttling = Throttling {
            elb_registration: registration,
            ..Throttling::default()
        };
        bench
            .core
            .faults
            .add(FaultRule::on("RegisterTargets", Fault::Http500).nth(2));
        register(&mut bench);
        register(&mut bench);
        assert_eq!(bench.core.faults.list()[0].seen, 1);
    }

    #[test]
    fn the_journal_forgets_old_entries_and_counters_do_not() {
        let mut bench = Bench::new();
        bench.core.settings.journal.capacity = 2;
        for _ in 0..3 {
            register(&mut bench);
        }
        let page = bench.core.journal.page(&JournalFilter::default());
        assert_eq!(
            page.entries
                .iter()
                .map(|entry| entry.sequence)
                .collect::<Vec<_>>(),
            [2, 3]
        );
        assert_eq!(page.next, 3);
        assert_eq!(bench.core.journal.counters()[0].counter.calls, 3);
    }

    #[test]
    fn a_page_of_the_journal_goes_on_where_the_last_one_ended() {
        let mut bench = Bench::new();
        for _ in 0..3 {
            register(&mut bench);
        }
        let limit = Some(2);
        let first = bench.core.journal.page(&JournalFilter {
            limit,
            ..JournalFilter::default()
        });
        let rest = bench.core.journal.page(&JournalFilter {
            since: first.next,
            ..JournalFilter::default()
        });
        assert_eq!((first.entries.len(), rest.entries.len()), (2, 1));
    }
}
