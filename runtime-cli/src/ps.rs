//! `ps`: the host pids of a container's processes, or what ps(1) says about them.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use runtime_core::Container;

use crate::print;

/// Where ps(1) is where there is no PATH.
const PLACES: [&str; 4] = ["/usr/bin", "/bin", "/usr/local/bin", "/sbin"];

/// Prints the processes in `format`; `options` are those of ps(1), `-ef` if there are none.
pub fn ps(container: &Container, format: &str, options: Vec<OsString>) -> Result<(), String> {
    if !matches!(format, "table" | "json") {
        return Err("invalid format option".to_owned());
    }
    let pids = container.processes().map_err(|error| error.to_string())?;
    if format == "json" {
        // Go writes a slice nothing was put into as null, and callers know it.
        let text = if pids.is_empty() { "null".to_owned() } else { format!("{pids:?}").replace(' ', "") };
        return print::result(&(text + "\n"));
    }
    let options = if options.is_empty() { vec!["-ef".into()] } else { options };
    let program = match std::env::var_os("PATH").filter(|path| !path.is_empty()) {
        Some(_) => "ps".into(),
        None => PLACES.iter().map(|place| Path::new(place).join("ps")).find(|ps| ps.exists()).unwrap_or("ps".into()),
    };
    let output =
        Command::new(&program).args(options).output().map_err(|error| format!("ps: {}", print::cause(&error)))?;
    let said = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        return Err(format!("ps: {}: {}", output.status, complaint.trim().replace('\n', " ")));
    }
    print::result(&rows_of(&said, &pids)?)
}

/// The header, and the rows of these processes.
fn rows_of(table: &str, pids: &[i32]) -> Result<String, String> {
    let mut lines = table.lines();
    let header = lines.next().unwrap_or_default();
    let column = header.split_whitespace().position(|name| name == "PID");
    let column = column.ok_or("couldn't find PID field in ps output")?;
    let ours = |line: &&str| {
        let pid = line.split_whitespace().nth(column).and_then(|word| word.parse().ok());
        pid.is_some_and(|pid| pids.binary_search(&pid).is_ok())
    };
    let mut text = format!("{header}\n");
    for line in lines.filter(ours) {
        text.push_str(line);
        text.push('\n');
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_by_the_pid_column() {
        let table = "UID   PID  PPID CMD\nroot    1     0 init 7\nroot    7     1 sh\n  x    70     7 cat\n";
        assert_eq!(rows_of(table, &[7]).unwrap(), "UID   PID  PPID CMD\nroot    7     1 sh\n");
        assert_eq!(rows_of(table, &[]).unwrap(), "UID   PID  PPID CMD\n");
        assert_eq!(rows_of("A B\n1 2\n", &[1]).unwrap_err(), "couldn't find PID field in ps output");
    }
}
