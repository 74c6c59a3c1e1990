//! Which core a process runs on. What is measured has one of its own; everything else shares the other.

use std::fs;

use rustix::{
    process::Pid,
    thread::{CpuSet, sched_setaffinity},
};

/// What is measured runs here.
pub const MEASURED: usize = 0;
/// The load generator and all other servers run here.
pub const OTHERS: usize = 1;
/// Both.
pub const EITHER: usize = usize::MAX;

/// Puts this whole process, and whatever it starts, on the core of the others. On a machine with a single core, or
/// where the kernel refuses, nothing is pinned, and the figures say less.
pub fn settle() {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    for thread in threads.filter_map(|entry| entry.file_name().to_str()?.parse().ok()) {
        pin(Pid::from_raw(thread), OTHERS);
    }
}

/// Runs `start`, which starts a process without waiting for anything, so that this process gets the core given.
pub fn on<T>(core: usize, start: impl FnOnce() -> T) -> T {
    pin(None, core);
    let started = start();
    pin(None, OTHERS);
    started
}

/// Lets a process with a single thread, and what it starts from now on, use both cores.
pub fn release(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        pin(Some(pid), EITHER);
    }
}

/// A thread, or this one.
fn pin(thread: Option<Pid>, core: usize) {
    let mut set = CpuSet::new();
    let cores = if core == EITHER { [MEASURED, OTHERS] } else { [core, core] };
    cores.into_iter().for_each(|core| set.set(core));
    let _ = sched_setaffinity(thread, &set);
}
