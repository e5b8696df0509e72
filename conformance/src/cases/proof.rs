//! proof: what has to hold for many and for much. Slow: all of it with ours; a sample with the others, unless --all.

use crate::cases;
use crate::runtime::Runtime;
use crate::test::{Failure, Outcome, Test};
use crate::{check, check_eq};
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

cases!["proof":
    hundred_megabytes_through_an_exec, thousand_short_terminals, many_execs_in_a_container_that_changes,
];

/// How many of `all`: every one with ours by its usual entry, a tenth with the others.
fn count(t: &Test, all: usize) -> usize {
    if t.all || t.runtime.name == "runtime" { all } else { all / 10 }
}

/// Bytes without a pattern that a lost or doubled block would hide in (xorshift).
struct Noise(u64);

impl Noise {
    fn fill(&mut self, buffer: &mut [u8]) {
        for word in buffer.chunks_mut(8) {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            word.copy_from_slice(&self.0.to_le_bytes()[..word.len()]);
        }
    }
}

const BLOCK: usize = 1 << 16;

/// Compares what comes out with what went in; how much was right.
fn compare(mut output: impl Read, wanted: usize) -> Outcome<usize> {
    let (mut noise, mut expected, mut got) = (Noise(1), vec![0; BLOCK], vec![0; BLOCK]);
    let mut right = 0;
    while right < wanted {
        let length = BLOCK.min(wanted - right);
        noise.fill(&mut expected);
        let mut filled = 0;
        while filled < length {
            match output.read(&mut got[filled..length])? {
                0 => return Err(format!("the end after {} bytes of {wanted}", right + filled).into()),
                more => filled += more,
            }
        }
        check!(got[..length] == expected[..length], "another byte in the block behind {right}");
        right += length;
    }
    check_eq!(output.read(&mut got)?, 0, "bytes behind the end");
    Ok(right)
}

/// Through pipes, in the foreground: both directions at once.
fn hundred_megabytes_through_an_exec(t: &Test) -> Outcome {
    let size = count(t, 100_000_000);
    t.sleeper(t.bundle()?)?;
    let mut command = t.command(&[], &["exec", &t.id, "/probe", "copy"]);
    t.allowed(&command)?;
    let errors = fs::File::create(t.folder.join("errors"))?;
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors).spawn()?;
    let start = Instant::now();
    let (input, output) = (child.stdin.take(), child.stdout.take());
    let (Some(mut input), Some(output)) = (input, output) else { return Err("no pipes".into()) };
    let writer = std::thread::spawn(move || {
        let (mut noise, mut block, mut left) = (Noise(1), vec![0; BLOCK], size);
        while left > 0 {
            noise.fill(&mut block);
            let length = BLOCK.min(left);
            input.write_all(&block[..length])?;
            left -= length;
        }
        std::io::Result::Ok(())
    });
    let right = compare(output, size);
    let written = writer.join().map_err(|_| "the writer panicked")?;
    let status = child.wait()?;
    t.delete()?;
    check_eq!(right?, size, "bytes");
    written?;
    check_eq!(status.code(), Some(0), "exit status");
    check_eq!(fs::read_to_string(t.folder.join("errors"))?, format!("copied {size}\n"), "what the program says");
    t.remark(&format!("{size} bytes both ways in {:?}", start.elapsed()));
    Ok(())
}

/// What a worker needs to start a runtime beside the test's own thread.
struct Caller {
    runtime: Runtime,
    state: PathBuf,
    id: String,
}

impl Caller {
    fn of(t: &Test) -> Self {
        Self { runtime: t.runtime.clone(), state: t.state.clone(), id: t.id.clone() }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.runtime.command(&[]);
        command.arg("--root").arg(&self.state).args(args).env(crate::leak::MARKER, &self.id);
        command.env_remove("NOTIFY_SOCKET").env_remove("LISTEN_FDS").stdin(Stdio::null());
        command
    }
}

/// Does `work` for each number below `count`, `width` at a time; the first few complaints.
fn in_parallel(count: usize, width: usize, work: impl Fn(usize) -> Result<(), String> + Sync) -> Vec<String> {
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..width {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    if let Err(error) = work(number)
                        && let Ok(mut wrong) = wrong.lock()
                    {
                        wrong.push(format!("number {number}: {error}"));
                    }
                }
            });
        }
    });
    let mut wrong = wrong.into_inner().unwrap_or_default();
    let total = wrong.len();
    wrong.truncate(5);
    wrong.extend((total > 5).then(|| format!("and {} more", total - 5)));
    wrong
}

/// A program that prints more than a page, at once, and ends: all of it arrives.
fn thousand_short_terminals(t: &Test) -> Outcome {
    let count = count(t, 1000);
    t.sleeper(t.bundle()?)?;
    let caller = Caller::of(t);
    let start = Instant::now();
    let wrong = in_parallel(count, 4, |number| {
        let text = format!("<{number}>").repeat(1200);
        let output = caller.command(&["exec", "--tty", &caller.id, "/probe", "echo", &text]).output();
        let output = output.map_err(|error| error.to_string())?;
        // A terminal ends a line with CR LF, and without a terminal of our own the CR stays out.
        let printed = String::from_utf8_lossy(&output.stdout).replace('\r', "");
        if output.status.code() == Some(0) && printed == format!("{text}\n") {
            return Ok(());
        }
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(format!("{}, {} of {} bytes, {error}", output.status, printed.len(), text.len() + 1))
    });
    let pids: Vec<i32> = serde_json::from_str(&t.ok(&["ps", "--format", "json", &t.id])?.stdout)?;
    let terminals = fs::read_dir(format!("/proc/{}/root/dev/pts", pids[0]))?.count();
    t.delete()?;
    check!(wrong.is_empty(), "{}", wrong.join("; "));
    check_eq!(pids.len(), 1, "processes left in the container: {pids:?}");
    check_eq!(terminals, 1, "terminals left beside ptmx");
    t.remark(&format!("{count} terminals in {:?}", start.elapsed()));
    Ok(())
}

/// Pauses, updates and resumes until told to stop; how often, or what went wrong.
fn change(caller: &Caller, stop: &AtomicBool) -> Result<usize, String> {
    let call = |args: &[&str]| -> Result<(), String> {
        let output = caller.command(args).output().map_err(|error| error.to_string())?;
        let error = || format!("{args:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
        if output.status.success() { Ok(()) } else { Err(error()) }
    };
    let mut rounds = 0;
    while !stop.load(Ordering::Relaxed) {
        call(&["pause", &caller.id])?;
        std::thread::sleep(Duration::from_millis(30));
        call(&["update", "--pids-limit", &(400 + rounds % 7).to_string(), &caller.id])?;
        call(&["resume", &caller.id])?;
        std::thread::sleep(Duration::from_millis(60));
        call(&["update", "--cpu-share", &(500 + rounds % 11).to_string(), &caller.id])?;
        rounds += 1;
    }
    Ok(rounds)
}

/// One exec: its own exit status, or the refusal that is documented. False: it was that.
fn exec(caller: &Caller, number: usize) -> Result<bool, String> {
    let wanted = (number % 200) as i32;
    let patient = number.is_multiple_of(2);
    let mut args = vec!["exec"];
    args.extend(patient.then_some("--ignore-paused"));
    let text = wanted.to_string();
    args.extend([caller.id.as_str(), "/probe", "exit", &text]);
    let output = caller.command(&args).output().map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        Some(code) if code == wanted && said.is_empty() => Ok(true),
        Some(255) if !patient && said.contains("cannot exec in a paused container") => Ok(false),
        code => Err(format!("exit status {code:?}, wanted {wanted}: {said}")),
    }
}

fn many_execs_in_a_container_that_changes(t: &Test) -> Outcome {
    if t.runtime.v2_view {
        return crate::test::skip("crun cannot pause here");
    }
    // Ours is through with a tenth of them before the changer has gone round twice.
    let count = if t.runtime.is_ours() { 500 } else { count(t, 500) };
    t.sleeper(t.bundle()?)?;
    let (caller, stop, refused) = (Caller::of(t), AtomicBool::new(false), AtomicUsize::new(0));
    let start = Instant::now();
    let (wrong, rounds) = std::thread::scope(|scope| {
        let changer = scope.spawn(|| change(&caller, &stop));
        let wrong = in_parallel(count, 8, |number| {
            let ran = exec(&caller, number)?;
            refused.fetch_add(usize::from(!ran), Ordering::Relaxed);
            Ok(())
        });
        stop.store(true, Ordering::Relaxed);
        (wrong, changer.join().unwrap_or_else(|_| Err("panicked".into())))
    });
    let _ = t.rt(&["resume", &t.id])?;
    let status = t.state()?["status"].clone();
    let pids: Vec<i32> = serde_json::from_str(&t.ok(&["ps", "--format", "json", &t.id])?.stdout)?;
    let (files, groups) = (names(&t.state.join(&t.id))?, crate::leak::cgroups(&t.id).len());
    t.delete()?;
    check!(wrong.is_empty(), "{}", wrong.join("; "));
    let rounds = rounds.map_err(|error| Failure::Fail(format!("pause, update, resume: {error}")))?;
    check_eq!(status, serde_json::json!("running"), "status");
    check_eq!(pids.len(), 1, "processes left in the container: {pids:?}");
    if t.runtime.is_ours() {
        check_eq!(files, ["state.json"], "files of the container's state");
    }
    check!(rounds > 1, "it was paused {rounds} times: that proves nothing");
    let refused = refused.into_inner();
    t.remark(&format!("{count} execs, {refused} refused, {rounds} pauses, {groups} cgroups, in {:?}", start.elapsed()));
    Ok(())
}

fn names(folder: &Path) -> Outcome<Vec<String>> {
    let mut names: Vec<String> =
        fs::read_dir(folder)?.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names)
}
