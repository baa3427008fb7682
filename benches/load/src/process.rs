//! What a process uses, with all processes that it started, read from `/proc`.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::time::Duration;

/// A process that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("process {pid} cannot be read: is it running, and yours?")]
pub struct ProcessError {
    /// Its id.
    pub pid: u32,
}

/// The processor cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("this process may not run on processor {0}")]
pub struct PinError(pub usize);

/// Keeps the calling thread on one processor, counted from 0.
pub fn pin_self(processor: usize) -> Result<(), PinError> {
    let pinned = core_affinity::set_for_current(core_affinity::CoreId { id: processor });
    if pinned { Ok(()) } else { Err(PinError(processor)) }
}

/// A process and all its descendants, as they were when it was looked up.
#[derive(Clone, Debug)]
pub struct Family {
    pid: u32,
    pids: HashSet<u32>,
}

impl Family {
    /// Looks it up.
    pub fn of(pid: u32) -> Result<Self, ProcessError> {
        if stat(pid).is_none() {
            return Err(ProcessError { pid });
        }
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let all = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let parents: Vec<(u32, u32)> = all.filter_map(|pid| Some((pid, stat(pid)?.parent))).collect();
        let mut pids = HashSet::from([pid]);
        loop {
            let children = parents.iter().filter(|(child, parent)| pids.contains(parent) && !pids.contains(child));
            let children: Vec<u32> = children.map(|(child, _)| *child).collect();
            if children.is_empty() {
                return Ok(Self { pid, pids });
            }
            pids.extend(children);
        }
    }

    /// Processor time used so far.
    pub fn processor(&self) -> Result<Processor, ProcessError> {
        let mut read = Processor { threads: HashMap::new(), ticks: HashMap::new() };
        for pid in self.pids.iter().copied() {
            read.ticks.extend(stat(pid).map(|stat| (pid, stat.ticks)));
            read.threads.extend(threads(pid));
        }
        if read.ticks.contains_key(&self.pid) { Ok(read) } else { Err(ProcessError { pid: self.pid }) }
    }

    /// Bytes of user-space memory that are resident: `Rss` of `/proc/PID/smaps_rollup`, which counts every page, or else
    /// `VmRSS` of `/proc/PID/status`, which may be some hundred KiB late. What the kernel keeps for sockets is not in it.
    pub fn resident_bytes(&self) -> Result<u64, ProcessError> {
        if stat(self.pid).is_none() {
            return Err(ProcessError { pid: self.pid });
        }
        Ok(self.pids.iter().filter_map(|pid| resident_bytes(*pid)).sum())
    }
}

/// Processor time used so far, user and system.
#[derive(Clone, Debug)]
pub struct Processor {
    /// Nanoseconds per thread, from `/proc/PID/task/*/schedstat`.
    threads: HashMap<u64, u64>,
    /// Ticks of 10 ms per process, from `/proc/PID/stat`; unlike the threads' they include threads that have ended.
    ticks: HashMap<u32, u64>,
}

impl Processor {
    /// What was used since an earlier reading: to the nanosecond where the kernel counts so and no thread has ended
    /// between the two, else in steps of 10 ms.
    pub fn since(&self, earlier: &Self) -> Duration {
        const TICK: Duration = Duration::from_millis(10);
        let none_ended = earlier.threads.keys().all(|thread| self.threads.contains_key(thread));
        if none_ended && !self.threads.is_empty() {
            return Duration::from_nanos(difference(&self.threads, &earlier.threads));
        }
        TICK * u32::try_from(difference(&self.ticks, &earlier.ticks)).unwrap_or(u32::MAX)
    }
}

fn resident_bytes(pid: u32) -> Option<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok();
    rollup.as_deref().and_then(|text| kib(text, "Rss:")).or_else(|| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        kib(&status, "VmRSS:")
    })
}

/// The value of a line `name 12 kB`, in bytes.
pub(crate) fn kib(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

struct Stat {
    parent: u32,
    /// User and system time.
    ticks: u64,
}

fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// proc(5): the name in parentheses may hold anything, so fields are counted from its end.
fn parse_stat(text: &str) -> Option<Stat> {
    let fields: Vec<&str> = text[text.rfind(')')? + 1..].split_whitespace().collect();
    let number = |place: usize| fields.get(place)?.parse::<u64>().ok();
    Some(Stat { parent: u32::try_from(number(1)?).ok()?, ticks: number(11)? + number(12)? })
}

fn threads(pid: u32) -> Vec<(u64, u64)> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let each = tasks.filter_map(|task| {
        let thread = task.file_name().to_str()?.parse().ok()?;
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        Some((thread, text.split_whitespace().next()?.parse().ok()?))
    });
    each.collect()
}

fn difference<K: std::hash::Hash + Eq>(now: &HashMap<K, u64>, earlier: &HashMap<K, u64>) -> u64 {
    now.iter().map(|(key, used)| used.saturating_sub(earlier.get(key).copied().unwrap_or(0))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_stat_line_whatever_the_name() {
        let line = "42 (a b) c)) S 7 1 1 0 -1 4194560 100 0 0 0 11 22 3 4 20 0 1 0 100 1 2\n";
        let stat = parse_stat(line).expect("a stat line");
        assert_eq!((stat.parent, stat.ticks), (7, 33));
        assert!(parse_stat("42 (a").is_none());
    }

    #[test]
    fn reads_this_process() {
        let family = Family::of(std::process::id()).expect("it runs");
        let before = family.processor().expect("it runs");
        let mut state = 1;
        while family.processor().expect("it runs").since(&before) < Duration::from_millis(5) {
            (0..100_000).for_each(|_| state = std::hint::black_box(crate::payload::scramble(state)));
        }
        assert!(family.resident_bytes().expect("it runs") > 100_000);
        assert!(Family::of(u32::MAX).is_err());
    }

    #[test]
    fn counts_descendants() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("`sleep` of coreutils is there");
        let family = Family::of(std::process::id()).expect("it runs");
        assert!(family.pids.contains(&child.id()));
        child.kill().and_then(|()| child.wait()).expect("it ends");
    }

    #[test]
    fn memory_is_in_kib() {
        assert_eq!(kib("a: 1\nRss:       12 kB\n", "Rss:"), Some(12 * 1024));
        assert_eq!(kib("Rss: 12\n", "Rss:"), None);
    }
}
