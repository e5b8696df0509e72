//! The end of a hook that may not go on, with all it has started.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::fd::AsFd;

use crate::sys::pidfd;
use crate::sys::proc::{self, Stat};

/// How often it is looked for processes made meanwhile.
const ROUNDS: usize = 32;

/// Kills process `leader`, which began a session of its own, all of that session, and all descendants, also those
/// that have left it. One that left the session and whose parent has ended before is not found.
///
/// `leader` must not be reaped before this returns, so that its number stays its own.
pub(crate) fn kill_tree(leader: i32) {
    let mut killed = BTreeSet::new();
    for _ in 0..ROUNDS {
        let found = family(leader, &processes());
        let new: Vec<(i32, u64)> = found.into_iter().filter(|process| !killed.contains(process)).collect();
        if new.is_empty() {
            return;
        }
        for (pid, start) in new {
            // The descriptor first, then the proof that it is still the same process.
            if let Ok(process) = pidfd::open(pid)
                && proc::stat(pid).is_ok_and(|stat| stat.start == start)
            {
                let _ = pidfd::send_signal(process.as_fd(), libc::SIGKILL);
            }
            killed.insert((pid, start));
        }
    }
}

fn processes() -> Vec<(i32, Stat)> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid| Some((pid, proc::stat(pid).ok()?))).collect()
}

/// Pid and start time of the living.
fn family(leader: i32, all: &[(i32, Stat)]) -> Vec<(i32, u64)> {
    let me = std::process::id() as i32;
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for (pid, stat) in all {
        children.entry(stat.parent).or_default().push(*pid);
    }
    let mut members: BTreeSet<i32> = BTreeSet::new();
    let mut open: Vec<i32> =
        all.iter().filter(|(pid, stat)| *pid == leader || stat.session == leader).map(|(pid, _)| *pid).collect();
    while let Some(pid) = open.pop() {
        if pid != me && members.insert(pid) {
            open.extend(children.get(&pid).into_iter().flatten());
        }
    }
    all.iter().filter(|(pid, stat)| members.contains(pid) && stat.is_alive()).map(|(pid, s)| (*pid, s.start)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_the_session_and_all_descendants() {
        let stat = |parent, session, state| Stat { state, parent, session, threads: 1, start: 9, sigignore: 0 };
        let all = [
            (1, stat(0, 1, 'S')),
            (10, stat(1, 10, 'S')),
            (11, stat(10, 10, 'S')),
            // Has left the session, its parent is there.
            (12, stat(11, 12, 'S')),
            // Its parent has gone, it is still in the session.
            (13, stat(1, 10, 'R')),
            // Ended.
            (14, stat(10, 10, 'Z')),
            (20, stat(1, 20, 'S')),
        ];
        let pids: Vec<i32> = family(10, &all).into_iter().map(|(pid, _)| pid).collect();
        assert_eq!(pids, [10, 11, 12, 13]);
    }
}
