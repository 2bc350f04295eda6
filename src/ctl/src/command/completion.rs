use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::{Cli, Console, Error};

/// Prints the completions of a shell, e.g. `elbow completion bash > /etc/bash_completion.d/elbow`.
#[derive(Args, Debug)]
pub(crate) struct Completion {
    #[arg(value_enum)]
    shell: Shell,
}

impl Completion {
    pub(super) fn run(self, console: &mut Console) -> Result<(), Error> {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "elbow", &mut text);
        console.print(&String::from_utf8_lossy(&text))
    }
}
