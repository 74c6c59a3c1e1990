//! Which core a process runs on. What is measured has one of its own; everything else shares the other.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// What is measured runs here.
pub const MEASURED: usize = 0;
/// The load generator and all other servers run here.
pub const OTHERS: usize = 1;

/// Puts this thread, and whatever it starts, on a core. Does nothing on a machine with a single core.
pub fn settle(core: usize) {
    let Ok(allowed) = sched_getaffinity(None) else { return };
    if allowed.count() < 2 && !allowed.is_set(core) {
        // Narrowed before by this same function, or by whoever started this process.
        let mut both = CpuSet::new();
        both.set(MEASURED);
        both.set(OTHERS);
        let _ = sched_setaffinity(None, &both);
    }
    let mut set = CpuSet::new();
    set.set(core);
    // Refused where there is no such core: then nothing is pinned, and the figures say less.
    let _ = sched_setaffinity(None, &set);
}

/// Runs `start`, which starts a process without waiting for anything, on a core of its own.
pub fn on<T>(core: usize, start: impl FnOnce() -> T) -> T {
    settle(core);
    let started = start();
    settle(OTHERS);
    started
}
