//! What processes cost: CPU time and memory, from the kernel's own books (`proc(5)`).

use std::{fs, time::Duration};

use anyhow::Context as _;

/// What a process and its children have cost so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// In user and kernel mode, of all threads; counted by the scheduler, given in units of 10 ms.
    pub cpu: Duration,
    /// Anonymous memory that is resident.
    pub memory_bytes: u64,
}

/// Process `pid` with its descendants, the ended ones too as far as they were waited for.
pub fn usage(pid: u32) -> anyhow::Result<Usage> {
    let mut total = Usage::default();
    for pid in family(pid)? {
        // A child may end while the others are looked at.
        let Ok(one) = own_usage(pid) else { continue };
        total.cpu += one.cpu;
        total.memory_bytes += one.memory_bytes;
    }
    Ok(total)
}

/// Process `pid` alone, with those of its children that have ended.
pub fn own_usage(pid: u32) -> anyhow::Result<Usage> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("the process is gone")?;
    let fields: Vec<&str> = after_name(&stat).split(' ').collect();
    // utime, stime, cutime, cstime are fields 14 to 17; the first one here is field 3.
    let ticks: u64 = (11..15).filter_map(|field| fields.get(field)?.parse::<u64>().ok()).sum();
    let cpu = Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64);
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    Ok(Usage { cpu, memory_bytes: kib.unwrap_or_default() * 1_024 })
}

/// A process and its descendants.
pub fn family(root: u32) -> anyhow::Result<Vec<u32>> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc").context("process accounting needs Linux")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        if let Some(parent) = after_name(&stat).split(' ').nth(1).and_then(|field| field.parse::<u32>().ok())
        {
            parents.push((pid, parent));
        }
    }
    let mut family = vec![root];
    let mut next = 0;
    while let Some(parent) = family.get(next).copied() {
        family.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    Ok(family)
}

/// The name of a program may hold anything, blanks and brackets too.
fn after_name(stat: &str) -> &str {
    stat.rsplit_once(") ").map_or("", |(_, rest)| rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_costs_something() {
        let begun = usage(std::process::id()).unwrap();
        let mut sum = 0_u64;
        while usage(std::process::id()).unwrap().cpu < begun.cpu + Duration::from_millis(20) {
            sum = (0..100_000).fold(sum, u64::wrapping_add);
        }
        assert!(begun.memory_bytes > 0);
        assert!(usage(u32::MAX).is_ok_and(|gone| gone.cpu.is_zero()));
    }
}
