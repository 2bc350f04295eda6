use std::time::Duration;

use model::guard::Guards;
use store::Retention;

/// What an operator can set about the use cases.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How often an agent says that it lives.
    pub heartbeat: Duration,
    /// How often is looked for news that no wake told of, and asked again for what an agent could not do.
    pub poll: Duration,
    /// The loop's guards, so that a preview says what the loop would do.
    pub guards: Guards,
    pub retention: Retention,
}

/// Forgetting goes on after so long while there is more to forget, and looks again after so long.
pub(crate) const BETWEEN_BATCHES: Duration = Duration::from_millis(100);
pub(crate) const BETWEEN_LOOKS: Duration = Duration::from_mins(10);

impl Default for Settings {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(10),
            poll: Duration::from_secs(15),
            guards: Guards::default(),
            retention: Retention::default(),
        }
    }
}
