//! Space where the data is.

use std::path::Path;

use super::Check;

const NAME: &str = "disk";
const WARNING_BYTES: u64 = 2 << 30;
const FAILURE_BYTES: u64 = 200 << 20;

/// Only this machine's disk can be looked at: that of the data directory, else that of the working directory.
pub fn check(data: Option<&Path>) -> Check {
    let path = data.unwrap_or(Path::new("."));
    let found = match rustix::fs::statvfs(path) {
        Ok(found) => found,
        Err(error) => return Check::skipped(NAME, format!("{}: {error}", path.display())),
    };
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    judge(free, &path.display().to_string())
}

fn judge(free: u64, place: &str) -> Check {
    let detail = format!("{} MiB free at {place}", free >> 20);
    let hint = "make room: a full disk stops the log and Postgres";
    match free {
        ..FAILURE_BYTES => Check::failed(NAME, detail, hint),
        FAILURE_BYTES..WARNING_BYTES => Check::warning(NAME, detail, hint),
        _ => Check::ok(NAME, detail),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Status;

    #[test]
    fn little_space_is_a_warning_and_very_little_a_failure() {
        assert_eq!(judge(50 << 30, "/").status, Status::Ok);
        assert_eq!(judge(1 << 30, "/").status, Status::Warning);
        assert_eq!(judge(1 << 20, "/").status, Status::Failed);
    }
}
