//! `process.scheduler` and `process.ioPriority`.

use runtime_stage::fail::Step;
use serde::Serialize;

use super::{Context, known};
use crate::spec;

/// How the program gets CPU time (sched_setattr(2)).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Scheduler {
    /// SCHED_* number.
    pub policy: u32,
    /// SCHED_FLAG_* bits.
    pub flags: u64,
    /// Nice value of the normal policies.
    pub nice: i32,
    /// Priority of the real-time policies.
    pub priority: u32,
    /// SCHED_DEADLINE, nanoseconds: work, within, every.
    pub runtime: u64,
    /// The time within which the work is done.
    pub deadline: u64,
    /// How often.
    pub period: u64,
}

/// sched(7). SCHED_ISO is reserved and in no kernel.
const POLICIES: [(&str, u32); 7] = [
    ("SCHED_OTHER", 0),
    ("SCHED_FIFO", 1),
    ("SCHED_RR", 2),
    ("SCHED_BATCH", 3),
    ("SCHED_ISO", 4),
    ("SCHED_IDLE", 5),
    ("SCHED_DEADLINE", 6),
];
const DEADLINE: u32 = 6;

/// sched_setattr(2), include/uapi/linux/sched.h.
const FLAGS: [(&str, u64); 7] = [
    ("SCHED_FLAG_RESET_ON_FORK", 0x01),
    ("SCHED_FLAG_RECLAIM", 0x02),
    ("SCHED_FLAG_DL_OVERRUN", 0x04),
    ("SCHED_FLAG_KEEP_POLICY", 0x08),
    ("SCHED_FLAG_KEEP_PARAMS", 0x10),
    ("SCHED_FLAG_UTIL_CLAMP_MIN", 0x20),
    ("SCHED_FLAG_UTIL_CLAMP_MAX", 0x40),
];

pub(super) fn scheduler(cx: &mut Context<'_>) -> Option<Scheduler> {
    const AT: &str = "/process/scheduler";
    let wanted = cx.spec.process.as_ref()?.scheduler.as_ref()?;
    let name = wanted.policy.as_deref().unwrap_or_default();
    let policy = match POLICIES.iter().find(|(known, _)| *known == name) {
        Some((_, number)) => Some(*number),
        None if name.is_empty() => {
            cx.problem("/process/scheduler/policy", "scheduler policy is required");
            None
        }
        None => {
            cx.problem("/process/scheduler/policy", known("scheduler policy", name, POLICIES.iter().map(|p| p.0)));
            None
        }
    };
    let flags = flags(cx, wanted);
    let nice = wanted.nice.unwrap_or(0);
    if !(-20..=19).contains(&nice) {
        let message = format!("invalid scheduler.nice: {nice} when scheduler.policy is {name}; -20 to 19");
        cx.problem("/process/scheduler/nice", message);
    }
    let priority = wanted.priority.unwrap_or(0);
    let real_time = matches!(policy, Some(1 | 2));
    if priority != 0 && policy.is_some() && !real_time {
        let message = "scheduler.priority can only be specified for SchedFIFO or SchedRR policy";
        cx.problem("/process/scheduler/priority", message);
    } else if real_time && !(1..=99).contains(&priority) {
        cx.problem("/process/scheduler/priority", format!("{priority} is outside 1 to 99, which {name} takes"));
    }
    let given = [wanted.runtime, wanted.deadline, wanted.period];
    deadline(cx, policy, given);
    let times = given.map(|time| time.unwrap_or(0));
    let policy = policy?;
    cx.origins.note(Step::Scheduler, 0, AT, format!("change the scheduling policy to {name}"));
    let [runtime, deadline, period] = times;
    Some(Scheduler { policy, flags, nice, priority: u32::try_from(priority).unwrap_or(0), runtime, deadline, period })
}

fn flags(cx: &mut Context<'_>, wanted: &spec::Scheduler) -> u64 {
    let mut bits = 0;
    for (index, name) in wanted.flags.iter().flatten().enumerate() {
        match FLAGS.iter().find(|(known, _)| known == name) {
            Some((_, bit)) => bits |= bit,
            None => {
                let message = known("scheduler flag", name, FLAGS.iter().map(|flag| flag.0));
                cx.problem(format!("/process/scheduler/flags/{index}"), message);
            }
        }
    }
    bits
}

/// sched(7): runtime ≤ deadline ≤ period, at least 1024 ns, a period of 0 standing for the deadline.
fn deadline(cx: &mut Context<'_>, policy: Option<u32>, times: [Option<u64>; 3]) {
    const AT: &str = "/process/scheduler";
    match policy {
        Some(DEADLINE) => {
            if let Some((field, why)) = bad_deadline(times) {
                // Words of crun's; callers match on them.
                cx.problem(format!("{AT}/{field}"), format!("sched_setattr: `SCHED_DEADLINE` {why}"));
            }
        }
        Some(_) if times.iter().flatten().any(|time| *time != 0) => {
            cx.problem(AT, "scheduler runtime/deadline/period can only be specified for SchedDeadline policy");
        }
        _ => {}
    }
}

/// Which of the three times is wrong, and why.
fn bad_deadline([runtime, deadline, period]: [Option<u64>; 3]) -> Option<(&'static str, String)> {
    const MOST: u64 = (1 << 63) - 1;
    let Some(runtime) = runtime else { return Some(("runtime", "requires `runtime`".to_owned())) };
    let Some(deadline) = deadline else { return Some(("deadline", "requires `deadline`".to_owned())) };
    let period = period.filter(|period| *period != 0).unwrap_or(deadline);
    if runtime == 0 {
        return Some(("runtime", "runtime must be greater than 0".to_owned()));
    }
    for (name, time, least) in [("runtime", runtime, 1024), ("deadline", deadline, 0), ("period", period, 0)] {
        if !(least..=MOST).contains(&time) {
            return Some((name, format!("{name} {time} must be between {least} and {MOST} ns")));
        }
    }
    for (name, time, limit, most) in
        [("runtime", runtime, "deadline", deadline), ("deadline", deadline, "period", period)]
    {
        if time > most {
            return Some((name, format!("{name} {time} must be <= {limit} {most}")));
        }
    }
    None
}

/// ioprio_set(2): class and priority in one number.
pub(super) fn io_priority(cx: &mut Context<'_>) -> Option<u32> {
    const CLASSES: [(&str, u32); 3] = [("IOPRIO_CLASS_RT", 1), ("IOPRIO_CLASS_BE", 2), ("IOPRIO_CLASS_IDLE", 3)];
    let wanted = cx.spec.process.as_ref()?.io_priority.as_ref()?;
    let priority = wanted.priority.unwrap_or(0);
    if !(0..=7).contains(&priority) {
        cx.problem("/process/ioPriority/priority", format!("invalid ioPriority.Priority: {priority}; 0 to 7"));
    }
    let name = wanted.class.as_deref().unwrap_or_default();
    let Some((_, class)) = CLASSES.iter().find(|(known, _)| *known == name) else {
        let message =
            format!("invalid ioPriority.Class: {name:?}; {}", known("class", name, CLASSES.iter().map(|c| c.0)));
        cx.problem("/process/ioPriority/class", message);
        return None;
    };
    cx.origins.note(Step::IoPriority, 0, "/process/ioPriority", format!("set the I/O priority to {name} {priority}"));
    Some(class << 13 | u32::try_from(priority).unwrap_or(0))
}
