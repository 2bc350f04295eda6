use std::time::Duration;

use model::guard::Guards;

/// What an operator can set about the use cases.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How often an agent says that it lives.
    pub heartbeat: Duration,
    /// How often is looked for news that no wake told of, and asked again for what an agent could not do.
    pub poll: Duration,
    /// The loop's guards, so that a preview says what the loop would do.
    pub guards: Guards,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(10),
            poll: Duration::from_secs(15),
            guards: Guards::default(),
        }
    }
}
