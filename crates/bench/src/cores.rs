//! Which core a process runs on. What is measured has one of its own; everything else shares the other.

use std::fs;

use rustix::{
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

/// Puts this whole process, and whatever it starts, on the core of the others. On a machine with a single core, or
/// where the kernel refuses, nothing is pinned, and the figures say less.
pub fn settle() {
    settle_on(OTHERS);
}

/// Puts this whole process on these cores, but not what it has started.
pub fn settle_on(cores: Cores) {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    for thread in threads.filter_map(|entry| entry.file_name().to_str()?.parse().ok()) {
        pin(Pid::from_raw(thread), cores);
    }
}

/// Runs `start`, which starts a process without waiting for anything, so that this process gets the cores given.
pub fn on<T>(cores: Cores, start: impl FnOnce() -> T) -> T {
    pin(None, cores);
    let started = start();
    pin(None, OTHERS);
    started
}

/// Moves a process that runs, and its children, to these cores.
pub fn put(pid: u32, cores: Cores) -> anyhow::Result<()> {
    for pid in accounting::family(pid)? {
        let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        for thread in threads.filter_map(|entry| entry.file_name().to_str()?.parse().ok()) {
            pin(Pid::from_raw(thread), cores);
        }
    }
    Ok(())
}

/// A thread, or this one.
fn pin(thread: Option<Pid>, cores: Cores) {
    let mut set = CpuSet::new();
    for core in cores {
        set.set(*core);
    }
    let _ = sched_setaffinity(thread, &set);
}
