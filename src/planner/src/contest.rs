//! Whether somebody else writes to the targets of a group as well: LBC, which says so by its marks on an object of ours,
//! or whoever takes targets away behind our back, and again after they were registered anew.

use jiff::Timestamp;
use model::{binding::Lifecycle, ownership::Standing};

use crate::{input::Input, observe::later};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contest {
    /// LBC's marks are on a binding of the group that is ours.
    Marked,
    /// Targets vanished twice. Over when the last but one is long enough ago.
    Vanished { until: Timestamp },
}

impl Contest {
    pub(crate) fn of(input: &Input) -> Option<Self> {
        let marked = input.bindings.iter().any(|bound| {
            bound.binding.standing == Standing::Contested && bound.binding.lifecycle == Lifecycle::Active
        });
        if marked {
            return Some(Self::Marked);
        }
        let mut drifts = input.drifts.clone();
        drifts.sort_unstable();
        let [.., last_but_one, _] = drifts[..] else {
            return None;
        };
        let until = later(last_but_one, input.guards.contest_window);
        (input.now < until).then_some(Self::Vanished { until })
    }

    /// When time alone ends it.
    pub(crate) fn until(self) -> Option<Timestamp> {
        match self {
            Self::Marked => None,
            Self::Vanished { until } => Some(until),
        }
    }

    /// What happened and how it ends, for a person.
    pub(crate) fn explanation(self) -> &'static str {
        match self {
            Self::Marked => {
                "the AWS Load Balancer Controller began to act on an object of this target group; nothing is removed \
                 until it is stopped and `elbow adopt` takes the object over, or the object is handed over by the label \
                 elbow.dev/serve: \"false\""
            }
            Self::Vanished { .. } => {
                "targets vanished twice although nothing here removed them; nothing is removed until whoever does it is \
                 stopped and `elbow adopt` says so, or until no target has vanished for a while"
            }
        }
    }
}
