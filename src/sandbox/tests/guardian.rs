//! A killed owner leaves nothing behind: neither processes nor folders.
#![expect(clippy::unwrap_used, reason = "a test ends at its first surprise")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use sandbox::process::Program;
use sandbox::{Progress, Scratch, Wait, wait_until};

const ROLE: &str = "SANDBOX_TEST_OWNER";

#[tokio::test]
async fn a_killed_owner_leaves_no_process_and_no_folder() {
    if std::env::var_os(ROLE).is_some() {
        be_the_owner();
    }
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "a_killed_owner_leaves_no_process_and_no_folder",
            "--nocapture",
        ])
        .env(ROLE, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(owner.stdout.take().unwrap()).lines();
    let told = lines
        .map(Result::unwrap)
        .find_map(|line| line.strip_prefix("owns ").map(str::to_owned))
        .unwrap();
    let (process, folder) = told.split_once(' ').unwrap();
    let process = Pid::from_raw(process.parse().unwrap());
    assert_eq!(kill(process, None), Ok(()));

    owner.kill().unwrap();
    owner.wait().unwrap();
    wait_until(
        Duration::from_secs(10),
        "the end of what it owned",
        &Progress::silent(),
        async || {
            let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
            let ended = kill(process, None) == Err(Errno::ESRCH) || stat.contains(") Z ");
            match (ended, Path::new(folder).exists()) {
                (true, false) => Ok(()),
                seen => Err(Wait::not_yet(format!("(ended, folder left) = {seen:?}"))),
            }
        },
    )
    .await
    .unwrap();
}

fn be_the_owner() -> ! {
    let folder = Scratch::new("owned").unwrap();
    let process = Program::new("sleep", "/bin/sleep", folder.path().join("log"))
        .argument("1000")
        .start()
        .unwrap();
    println!("\nowns {} {}", process.id().unwrap(), folder.path().display());
    loop {
        std::thread::park();
    }
}
