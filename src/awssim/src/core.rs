//! The whole simulator as one synchronous state machine: a call goes in, a decision comes out.

use std::time::Duration;

use jiff::Timestamp;

use crate::{
    action::{Action, Run},
    clock::{Clock, ClockMode, WallClock},
    error::AwsError,
    faults::{Fault, Faults, Subject},
    journal::{Entry, Journal},
    place::Place,
    query::{self, Credential, Form, Node},
    service::Service,
    settings::Settings,
    sts::{self, Identities},
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
    action: &'static str,
    service: Service,
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
            ids: Ids::new(seed),
        }
    }

    /// Judges a call, applies it unless a fault says otherwise, and writes it into the journal.
    pub(crate) fn handle(&mut self, call: Call) -> Decision {
        let now = self.clock.now();
        let request_id = self.ids.request_id();
        let action = query::lookup(&call.form, "Action").unwrap_or_default().to_owned();
        let service = call.credential.as_ref().and_then(|credential| credential.service);
        let region = call
            .credential
            .as_ref()
            .map_or("us-east-1", |credential| &credential.region)
            .to_owned();
        let access_key = call
            .credential
            .as_ref()
            .map_or("", |credential| credential.access_key.as_str())
            .to_owned();
        let caller = self.identities.caller(&access_key, &region, now);
        let account = caller
            .as_ref()
            .map_or_else(|_| String::new(), |caller| caller.account.clone());
        let place = Place::new(account, region);

        let outcome = match (&call.credential, service, caller) {
            (None, _, _) => Outcome::refused(
                AwsError::new(
                    "MissingAuthenticationToken",
                    "Request is missing Authentication Token",
                )
                .with_status(403),
            ),
            (Some(credential), None, _) => Outcome::refused(AwsError::new(
                "InvalidAction",
                format!("The service '{}' is not simulated", credential.signing_name),
            )),
            (_, _, Err(error)) => Outcome::refused(error),
            (_, Some(service), Ok(caller)) => self.run(service, &action, &place, &caller, &call.form, now),
        };

        let framing = service.unwrap_or(Service::Elbv2);
        let answer = match &outcome.result {
            Ok(result) => {
                let body = framing.frame(&action, &request_id, result);
                Answer {
                    status: 200,
                    body,
                    request_id: request_id.clone(),
                }
            }
            Err(error) => {
                let body = framing.frame_error(error, &request_id);
                Answer {
                    status: error.status,
                    body,
                    request_id: request_id.clone(),
                }
            }
        };
        let is_answered = !matches!(
            outcome.fault,
            Some(
                Fault::AppliedThenTimeout { .. }
                    | Fault::TimeoutNotApplied { .. }
                    | Fault::LateApply { .. }
                    | Fault::DroppedConnection { .. }
            )
        );
        let error_code = outcome
            .result
            .as_ref()
            .err()
            .map(|error| error.code(framing).to_owned());
        let entry = Entry {
            sequence: 0,
            received: call.received,
            simulated: now,
            answered: None,
            service,
            action: action.clone(),
            account: place.account.clone(),
            region: place.region.clone(),
            access_key,
            targets: call
                .form
                .iter()
                .filter(|(key, _)| key.starts_with("Targets.") && key.ends_with(".Id"))
                .count(),
            params: call.form.clone(),
            status: is_answered.then_some(answer.status),
            error_code,
            request_id,
            applied: outcome.applied,
            fault: outcome.fault.as_ref().map(|fault| fault.name().to_owned()),
            abandoned: false,
        };
        let sequence = self.journal.append(entry, self.settings.journal.capacity);
        let after = self.settings.latency.of(&action).sample(self.ids.random());
        let ending = match outcome.fault {
            Some(Fault::AppliedThenTimeout { hold } | Fault::TimeoutNotApplied { hold }) => {
                Ending::Silence { hold }
            }
            Some(Fault::DroppedConnection { .. }) => Ending::Drop { after },
            Some(Fault::LateApply { after }) => match service.and_then(|it| Action::find(it, &action)) {
                Some(found) => Ending::ApplyLater {
                    after,
                    call: LateCall {
                        action: found.name,
                        service: framing,
                        place,
                        form: call.form,
                        sequence,
                    },
                },
                None => Ending::Silence { hold: None },
            },
            Some(Fault::Slow { by }) => Ending::Answer {
                after: after + by,
                answer,
            },
            _ => Ending::Answer { after, answer },
        };
        Decision { sequence, ending }
    }

    fn run(
        &mut self,
        service: Service,
        action: &str,
        place: &Place,
        caller: &sts::Caller,
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
        let target_group_arn = query::lookup(form, "TargetGroupArn");
        let subject = Subject {
            service,
            action,
            account: &place.account,
            region: &place.region,
            target_group_arn,
        };
        let fault = self.faults.hit(subject);
        let refusal = match &fault {
            Some(Fault::Error {
                code,
                message,
                status,
            }) => Some(AwsError::new(code.clone(), message.clone()).with_status(*status)),
            Some(Fault::Throttle) => Some(self.settings.throttling.error(match service {
                Service::Ec2 => Category::Ec2Mutating,
                Service::Elbv2 | Service::Sts => Category::ElbMutating,
            })),
            Some(Fault::Http500) => {
                Some(AwsError::new("InternalFailure", "An internal error occurred").with_status(500))
            }
            Some(Fault::AccessDenied) => {
                let permission = format!("{}:{action}", service.iam_prefix());
                let code = if service == Service::Ec2 {
                    "UnauthorizedOperation"
                } else {
                    "AccessDenied"
                };
                Some(sts::access_denied(
                    caller,
                    &permission,
                    target_group_arn.unwrap_or("*"),
                    code,
                ))
            }
            Some(Fault::ExpiredToken) => Some(sts::expired_token()),
            _ => None,
        };
        if let Some(error) = refusal {
            return Outcome {
                fault,
                ..Outcome::refused(error)
            };
        }
        let is_skipped = matches!(
            fault,
            Some(
                Fault::TimeoutNotApplied { .. }
                    | Fault::LateApply { .. }
                    | Fault::DroppedConnection { applied: false }
            )
        );
        if is_skipped {
            return Outcome {
                result: Ok(Xml::new()),
                applied: false,
                fault,
            };
        }
        let params = Node::tree(form);
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
        let Some(action) = Action::find(call.service, call.action) else {
            return;
        };
        let params = Node::tree(&call.form);
        let (_, applied) = self.apply(action.run, &call.place, &params, now);
        self.journal.amend(call.sequence, |entry| entry.applied = applied);
    }
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
