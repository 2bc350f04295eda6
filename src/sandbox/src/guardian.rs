//! Nothing is left behind, however this process ends.
//!
//! `Drop` does not run for statics, nor when the process is killed. So one small shell outlives it: it holds the
//! reading end of a pipe, hears which process groups and folders exist, and when the pipe closes it kills the
//! groups and removes the folders. A death signal (`PR_SET_PDEATHSIG`) is bound to the thread that spawned, which
//! a test runner ends long before the process, and needs unsafe code.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{LazyLock, Mutex};

const SCRIPT: &str = r#"
newline='
'
IFS=$newline
set -f
groups= folders=
without() { for one in $1; do [ "$one" = "$2" ] || printf '%s\n' "$one"; done; }
while read -r line; do
  what=${line#* }
  case $line in
    '+group '*) groups=$groups$newline$what ;;
    '-group '*) groups=$(without "$groups" "$what") ;;
    '+folder '*) folders=$folders$newline$what ;;
    '-folder '*) folders=$(without "$folders" "$what") ;;
  esac
done
for one in $groups; do kill -s KILL -- "-$one" 2>/dev/null; done
for one in $folders; do rm -rf -- "$one" 2>/dev/null || { sleep 1; rm -rf -- "$one"; }; done
"#;

static PIPE: LazyLock<Mutex<Option<ChildStdin>>> = LazyLock::new(|| {
    let shell = Command::new("sh")
        .args(["-c", SCRIPT, "sandbox-guardian"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Its own group: the terminal's Ctrl-C is not for it.
        .process_group(0)
        .spawn();
    Mutex::new(match shell {
        Ok(mut child) => child.stdin.take(),
        Err(error) => {
            tracing::warn!(%error, "no shell: processes of the sandbox outlive it when it is killed");
            None
        }
    })
});

pub(crate) fn watch_group(group: i32) {
    tell(&format!("+group {group}"));
}

pub(crate) fn forget_group(group: i32) {
    tell(&format!("-group {group}"));
}

pub(crate) fn watch_folder(folder: &Path) {
    tell(&format!("+folder {}", folder.display()));
}

pub(crate) fn forget_folder(folder: &Path) {
    tell(&format!("-folder {}", folder.display()));
}

fn tell(line: &str) {
    let mut pipe = PIPE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(stdin) = pipe.as_mut()
        && let Err(error) = writeln!(stdin, "{line}")
    {
        tracing::warn!(%error, "the sandbox's guardian is gone: stop left-over processes by hand");
        *pipe = None;
    }
}
