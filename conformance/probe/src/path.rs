//! `--path P`: what one path is, and what may be done with it.

use serde_json::{Map, Value, json};
use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};

/// How much of a file's start is reported, in bytes.
const CONTENT: u64 = 65536;

/// Type, mode, owner, device and link target of `path`, without following it.
pub fn stat(path: &str) -> Value {
    let meta = match fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(e) => return failed(&e),
    };
    let mut out = Map::new();
    out.insert("type".into(), json!(kind(meta.mode())));
    out.insert("mode".into(), json!(format!("{:o}", meta.mode() & 0o7777)));
    out.insert("uid".into(), json!(meta.uid()));
    out.insert("gid".into(), json!(meta.gid()));
    out.insert("ino".into(), json!(meta.ino()));
    out.insert("rdev".into(), json!(format!("{}:{}", libc::major(meta.rdev()), libc::minor(meta.rdev()))));
    if let Ok(target) = fs::read_link(path) {
        out.insert("link".into(), json!(target.to_string_lossy()));
    }
    Value::Object(out)
}

/// `stat`, and what reading, listing and opening for writing give.
pub fn examine(path: &str) -> Value {
    let mut out = stat(path);
    if out.get("errno").is_some() {
        return out;
    }
    let follow = fs::metadata(path);
    out["is_dir"] = json!(follow.as_ref().is_ok_and(fs::Metadata::is_dir));
    let kind = follow.map(|m| kind(m.mode())).unwrap_or("missing");
    match kind {
        "dir" => {
            out["list"] = list(path);
            out["create"] = create_in(path);
        }
        "file" | "char" => {
            out["read"] = read(path);
            out["write"] = verdict(OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(path).map(drop));
        }
        _ => {}
    }
    out
}

fn kind(mode: u32) -> &'static str {
    match mode & libc::S_IFMT {
        libc::S_IFREG => "file",
        libc::S_IFDIR => "dir",
        libc::S_IFLNK => "link",
        libc::S_IFCHR => "char",
        libc::S_IFBLK => "block",
        libc::S_IFIFO => "fifo",
        _ => "socket",
    }
}

fn failed(e: &io::Error) -> Value {
    json!({ "errno": e.raw_os_error().unwrap_or(-1) })
}

/// 0 or the errno.
fn verdict(result: io::Result<()>) -> Value {
    match result {
        Ok(()) => json!(0),
        Err(e) => json!(e.raw_os_error().unwrap_or(-1)),
    }
}

fn list(path: &str) -> Value {
    match fs::read_dir(path) {
        Err(e) => failed(&e),
        Ok(entries) => {
            let mut names: Vec<String> =
                entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
            names.sort();
            json!(names)
        }
    }
}

/// Tries to make a file in the directory, and takes it away again.
fn create_in(path: &str) -> Value {
    let name = format!("{}/.probe", path.trim_end_matches('/'));
    let made = OpenOptions::new().write(true).create_new(true).open(&name).map(drop);
    if made.is_ok() {
        let _ = fs::remove_file(&name);
    }
    verdict(made)
}

/// Content of a regular file; of a device only whether reading works (kmsg and ttys would block or never end).
fn read(path: &str) -> Value {
    let file = match OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path) {
        Ok(file) => file,
        Err(e) => return failed(&e),
    };
    let mut content = Vec::new();
    match file.take(CONTENT).read_to_end(&mut content) {
        Err(e) => failed(&e),
        Ok(_) if content.iter().all(|b| *b == 0) && !content.is_empty() => json!({ "zeros": content.len() }),
        Ok(_) => json!(String::from_utf8_lossy(&content)),
    }
}
