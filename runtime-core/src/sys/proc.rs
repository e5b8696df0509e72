//! What procfs tells about a process and this boot of the host.

use std::fs::File;
use std::io::{self, Read};

/// The members of `/proc/<pid>/stat` (proc_pid_stat(5)) in use here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Field 3: `R`, `S`, `D`, `T`, `Z` (ended, not reaped), `X` (going away) and others.
    pub state: char,
    /// Field 4: pid of the parent; 0 where it is outside the pid namespace of this procfs.
    pub parent: i32,
    /// Field 6: session; 0 where its leader is outside the pid namespace of this procfs.
    pub session: i32,
    /// Field 20: threads that are left; a first thread that has ended counts while there are others.
    pub threads: u32,
    /// Field 22: when the process started, in clock ticks since boot. With the pid and the boot it names a
    /// process for good.
    pub start: u64,
    /// Field 33: ignored signals 1 to 31, signal N at bit N-1.
    pub sigignore: u64,
}

impl Stat {
    /// Neither a zombie nor going away. A process lives on without its first thread.
    pub fn is_alive(&self) -> bool {
        !matches!(self.state, 'Z' | 'X' | 'x') || self.threads > 1
    }

    /// Whether the process ignores `signal` (1 to 31).
    #[cfg(test)]
    pub fn ignores(&self, signal: i32) -> bool {
        (1..=31).contains(&signal) && self.sigignore & (1 << (signal - 1)) != 0
    }
}

/// Reads `/proc/<pid>/stat`. Error NotFound, or ESRCH where it vanishes during the read: no such process.
pub fn stat(pid: i32) -> io::Result<Stat> {
    // 52 numbers of up to 20 digits and a name of up to 64 bytes fit.
    let mut buffer = [0; 2048];
    let mut length = 0;
    let mut file = File::open(format!("/proc/{pid}/stat"))?;
    while length < buffer.len() {
        match file.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        // seq_file gives the whole line at once, and it ends in a newline, which a process name cannot hide:
        // the kernel writes one there as an escape.
        if buffer[..length].ends_with(b"\n") {
            break;
        }
    }
    parse(&buffer[..length])
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid}/stat has an unknown form")))
}

/// Field 2, the name, stands in parentheses and may itself hold any byte, `)` too, so the last one ends it.
pub(crate) fn parse(line: &[u8]) -> Option<Stat> {
    let end = line.iter().rposition(|&b| b == b')')?;
    let rest = std::str::from_utf8(&line[end + 1..]).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    // Each counts on from the one before: field N, counted from 1, is at N-3 here.
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    let session = fields.nth(6 - 5)?.parse().ok()?;
    let threads = fields.nth(20 - 7)?.parse().ok()?;
    let start = fields.nth(22 - 21)?.parse().ok()?;
    let sigignore = fields.nth(33 - 23)?.parse().ok()?;
    Some(Stat { state, parent, session, threads, start, sigignore })
}

/// A random UUID of this boot of the host (random(4)).
pub fn boot_id() -> io::Result<String> {
    let mut buffer = [0; 64];
    let length = File::open("/proc/sys/kernel/random/boot_id")?.read(&mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..length]).trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_parentheses_and_spaces_misleads_nobody() {
        let numbers: Vec<String> = (4..=52).map(|n| (n * 100).to_string()).collect();
        for name in ["sh", "a b", ") Z 1 2 3", "((", "\u{e9})) S", "R)"] {
            let line = format!("77 ({name}) S {}\n", numbers.join(" "));
            let stat = parse(line.as_bytes()).unwrap();
            assert_eq!(
                stat,
                Stat { state: 'S', parent: 400, session: 600, threads: 2000, start: 2200, sigignore: 3300 },
                "{name}"
            );
        }
    }

    #[test]
    fn refuses_what_is_no_stat_line() {
        for line in ["", "1", "1 (sh", "1 (sh)", "1 (sh) S 1 2 3", "1 (sh) S x"] {
            assert_eq!(parse(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn reads_a_real_process() {
        let me = stat(std::process::id() as i32).unwrap();
        assert!(me.is_alive());
        assert!(me.start > 0);
        assert_eq!(me.parent, std::os::unix::process::parent_id() as i32);
        assert_eq!(stat(0x7fff_ffff).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(boot_id().unwrap().len(), 36);
    }

    /// As procfs has it, and as a pidfd has it.
    #[test]
    fn a_process_lives_on_without_its_first_thread() {
        let pid = headless();
        let pidfd = crate::sys::pidfd::open(pid).unwrap();
        let comes = |zombie: bool, alive: bool| {
            (0..2500).any(|_| {
                std::thread::sleep(std::time::Duration::from_millis(4));
                let ended = crate::sys::pidfd::has_ended(std::os::fd::AsFd::as_fd(&pidfd)).unwrap();
                stat(pid).is_ok_and(|stat| (stat.state == 'Z', stat.is_alive(), !ended) == (zombie, alive, alive))
            })
        };
        let headless = comes(true, true);
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
        let ended = comes(true, false);
        nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), None).unwrap();
        assert_eq!((headless, ended), (true, true));
    }

    /// A child whose first thread ends, and whose second one waits.
    fn headless() -> i32 {
        extern "C" fn wait(_: *mut libc::c_void) -> libc::c_int {
            loop {
                // SAFETY: takes and touches nothing.
                unsafe { libc::pause() };
            }
        }
        const THREAD: i32 =
            libc::CLONE_VM | libc::CLONE_FS | libc::CLONE_FILES | libc::CLONE_SIGHAND | libc::CLONE_THREAD;
        let mut stack = vec![0u128; 4096];
        let top = stack.as_mut_ptr_range().end;
        // SAFETY: the child is a copy that only makes system calls; its second thread has the copy of `stack` alone, which
        // nobody frees, as no code of the first one runs again.
        unsafe {
            let pid = libc::fork();
            if pid == 0 {
                libc::clone(wait, top.cast(), THREAD, std::ptr::null_mut());
                libc::syscall(libc::SYS_exit, 0);
            }
            assert!(pid > 0);
            pid
        }
    }

    #[test]
    fn sees_ignored_signals() {
        let mut child = std::process::Command::new("sh").args(["-c", "trap '' HUP; exec sleep 30"]).spawn().unwrap();
        let pid = child.id() as i32;
        let seen = (0..500).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(4));
            stat(pid).is_ok_and(|s| s.ignores(libc::SIGHUP) && !s.ignores(libc::SIGINT))
        });
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(seen);
    }
}
