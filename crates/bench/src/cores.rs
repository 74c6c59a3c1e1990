//! Which core a process runs on. What is measured has one of its own; everything else shares the other.

use std::{fs, io};

use rustix::{
    io::Errno,
    process::Pid,
    thread::{CpuSet, sched_setaffinity},
};

use crate::accounting;

/// Some of the machine's cores, by number.
pub type Cores = &'static [usize];

/// What is measured runs here.
pub const MEASURED: Cores = &[0];
/// The load generator and all other servers run here.
pub const OTHERS: Cores = &[1];
pub const EITHER: Cores = &[0, 1];

/// Puts this whole process, and whatever it starts, on the core of the others. Fails on a machine with a single core.
pub fn settle() -> io::Result<()> {
    pin_threads("self", OTHERS)
}

/// Has this whole process, but not what it has started, on these cores as long as `work` takes.
pub async fn during<T>(cores: Cores, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    pin_threads("self", cores)?;
    let done = work.await;
    settle()?;
    done
}

/// Runs `start`, which starts a process without waiting for anything, so that this process gets the cores given.
pub fn on<T>(cores: Cores, start: impl FnOnce() -> T) -> io::Result<T> {
    pin(None, cores)?;
    let started = start();
    pin(None, OTHERS)?;
    Ok(started)
}

/// Moves a process that runs, and its children, to these cores.
pub fn put(pid: u32, cores: Cores) -> anyhow::Result<()> {
    for pid in accounting::family(pid)? {
        pin_threads(&pid.to_string(), cores)?;
    }
    Ok(())
}

/// `process`: as it is called in `/proc`.
fn pin_threads(process: &str, cores: Cores) -> io::Result<()> {
    // What has just ended needs no core.
    let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    for thread in threads.filter_map(|entry| entry.file_name().to_str()?.parse().ok()) {
        match pin(Pid::from_raw(thread), cores) {
            Err(Errno::SRCH) => {}
            pinned => pinned?,
        }
    }
    Ok(())
}

/// A thread, or this one.
fn pin(thread: Option<Pid>, cores: Cores) -> Result<(), Errno> {
    let mut set = CpuSet::new();
    for core in cores {
        set.set(*core);
    }
    sched_setaffinity(thread, &set)
}
