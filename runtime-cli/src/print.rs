//! What verbs write: bytes to standard output and error, the version, the state and the list of containers.

use nix::errno::Errno;
use runtime_core::state::State;

use crate::sys;
use crate::table::Table;

/// Writes all of `bytes` to standard stream `number`, in as few writes as it takes.
pub fn write_all(number: u8, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match nix::unistd::write(sys::stream(number), bytes) {
            Ok(0) => return Err(Errno::EIO),
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => wait_writable(number)?,
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// A pipe of the caller may be non-blocking.
fn wait_writable(number: u8) -> Result<(), Errno> {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    match poll(&mut [PollFd::new(sys::stream(number), PollFlags::POLLOUT)], PollTimeout::NONE) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Writes a verb's result to standard output. A reader must not take half of it for the whole.
pub fn result(text: &str) -> Result<(), String> {
    bytes(text.as_bytes())
}

fn bytes(bytes: &[u8]) -> Result<(), String> {
    write_all(1, bytes).map_err(|errno| format!("write to standard output: {}", runtime_core::describe(errno as i32)))
}

/// Why a call of the standard library failed.
pub fn cause(error: &std::io::Error) -> String {
    runtime_core::describe(error.raw_os_error().unwrap_or(libc::EIO))
}

/// Writes help to standard output, best effort.
pub fn help(text: &str) {
    let _ = write_all(1, text.as_bytes());
}

/// Writes a plain line to standard error, best effort.
pub fn error_line(message: &str) {
    let _ = write_all(2, format!("{message}\n").as_bytes());
}

/// `--version`. go-runc wants the first line to start with `runc version `, and reads `commit:` and `spec:`, as does
/// moby; the number is that of the runc whose command line this is. Our own follows.
pub fn version() -> Result<(), String> {
    let own = env!("CARGO_PKG_VERSION");
    let commit = option_env!("RUNTIME_COMMIT").filter(|commit| !commit.is_empty()).unwrap_or("unknown");
    result(&format!("runc version 1.5.1\ncommit: {commit}\nspec: 1.3.0\nruntime: {own}\n"))
}

/// `state`: indented by two, and no newline at the end, as runc has it.
pub fn state(state: &State) -> Result<(), String> {
    let text = serde_json::to_string_pretty(state).map_err(|error| error.to_string())?;
    result(&text)
}

/// How `list` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListFormat {
    /// For people.
    Table,
    /// One array on one line.
    Json,
    /// Ids only.
    Quiet,
}

/// `list`.
pub fn list(states: &[State], format: ListFormat) -> Result<(), String> {
    match format {
        ListFormat::Quiet => result(&states.iter().map(|state| format!("{}\n", state.id)).collect::<String>()),
        // Go writes a slice nothing was put into as null, and callers know it.
        ListFormat::Json if states.is_empty() => result("null\n"),
        ListFormat::Json => {
            let text = serde_json::to_string(states).map_err(|error| error.to_string())?;
            result(&(text + "\n"))
        }
        ListFormat::Table => bytes(&rows(states).text()),
    }
}

fn rows(states: &[State]) -> Table<'_, 6> {
    let mut table = Table::new(["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"], states.len());
    for state in states {
        table.push([
            state.id.as_str().into(),
            state.pid.unwrap_or(0).to_string().into(),
            state.status.name().into(),
            state.bundle.as_str().into(),
            state.created.as_str().into(),
            state.owner.as_str().into(),
        ]);
    }
    table
}
