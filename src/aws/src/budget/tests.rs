use std::time::Duration;

use tokio::time::{Instant, advance};

use super::*;
