//! A private message bus and a stand-in for systemd's manager on it: answers the calls a runtime makes, and does with
//! cgroups what the real one would, so that the wire format and the order of calls can be seen. What systemd itself makes
//! of the properties only the guest shows.

use runtime_core::systemd::unit::Unit;
use runtime_core::systemd::wire::{CALL, ERROR, Message, RETURN, SIGNAL, Value};
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const NAME: &str = "org.freedesktop.systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const PATH: &str = "/org/freedesktop/systemd1";

/// What the stand-in does with the next units.
#[derive(Debug, Default)]
struct Script {
    /// Result of every start job; empty: `done`.
    result: String,
    /// Units that failed and were not reset.
    failed: Vec<String>,
    /// Every call: its name, and its arguments.
    calls: Vec<(String, Vec<Value>)>,
    /// Directories made.
    made: Vec<PathBuf>,
}

/// The bus and the stand-in; both end with this value.
#[derive(Debug)]
pub struct FakeSystemd {
    daemon: Child,
    /// For `DBUS_SYSTEM_BUS_ADDRESS`.
    pub address: String,
    script: Arc<Mutex<Script>>,
}

impl FakeSystemd {
    /// Starts both; `None` where there is no dbus-daemon.
    pub fn start(folder: &Path) -> io::Result<Option<Self>> {
        let Some(program) = crate::runtime::in_path("dbus-daemon") else { return Ok(None) };
        let socket = folder.join("bus");
        let address = format!("unix:path={}", socket.display());
        let config = folder.join("bus.conf");
        fs::write(
            &config,
            format!(
                "<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN\" \
                 \"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\"><busconfig><listen>{address}</listen>\
                 <auth>EXTERNAL</auth><policy context=\"default\"><allow send_destination=\"*\" eavesdrop=\"true\"/>\
                 <allow eavesdrop=\"true\"/><allow own=\"*\"/></policy></busconfig>"
            ),
        )?;
        let daemon = Command::new(program)
            .arg("--nofork")
            .arg("--nopidfile")
            .arg(format!("--config-file={}", config.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let script = Arc::new(Mutex::new(Script::default()));
        let fake = Self { daemon, address, script: Arc::clone(&script) };
        let mut service = Service { stream: dial(&socket)?, script, serial: 0 };
        service.introduce()?;
        std::thread::spawn(move || while service.serve().is_ok() {});
        Ok(Some(fake))
    }

    /// Every start job from now on ends like this.
    pub fn fail_with(&self, result: &str) {
        self.with(|script| script.result = result.to_owned());
    }

    /// A unit of this name failed before, and is still there.
    pub fn has_failed(&self, unit: &str) {
        self.with(|script| script.failed.push(unit.to_owned()));
    }

    /// The calls so far, by name.
    pub fn calls(&self) -> Vec<String> {
        self.with(|script| script.calls.iter().map(|(name, _)| name.clone()).collect())
    }

    /// A property that the last unit was started with.
    pub fn property(&self, name: &str) -> Option<Value> {
        self.with(|script| {
            let (_, arguments) = script.calls.iter().rev().find(|(member, _)| member == "StartTransientUnit")?;
            find(arguments.get(2)?, name)
        })
    }

    fn with<T>(&self, action: impl FnOnce(&mut Script) -> T) -> T {
        action(&mut self.script.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

impl Drop for FakeSystemd {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
        let made = self.with(|script| std::mem::take(&mut script.made));
        for path in made.iter().rev() {
            let _ = fs::remove_dir(path);
        }
    }
}

/// The last property of a name in an `a(sv)`.
fn find(properties: &Value, name: &str) -> Option<Value> {
    let Value::Array(_, items) = properties else { return None };
    items.iter().rev().find_map(|item| match item {
        Value::Struct(pair) => match pair.as_slice() {
            [Value::Text(key), Value::Variant(value)] if key == name => Some((**value).clone()),
            _ => None,
        },
        _ => None,
    })
}

fn dial(socket: &Path) -> io::Result<UnixStream> {
    let start = Instant::now();
    loop {
        match UnixStream::connect(socket) {
            Err(_) if start.elapsed() < Duration::from_secs(5) => std::thread::sleep(Duration::from_millis(10)),
            result => return result,
        }
    }
}

struct Service {
    stream: UnixStream,
    script: Arc<Mutex<Script>>,
    serial: u32,
}

impl Service {
    fn introduce(&mut self) -> io::Result<()> {
        self.stream.write_all(b"\0AUTH EXTERNAL 30\r\n")?;
        self.line()?;
        self.stream.write_all(b"BEGIN\r\n")?;
        for (member, body) in [("Hello", vec![]), ("RequestName", vec![Value::text(NAME), Value::U32(0)])] {
            let bus = "org.freedesktop.DBus".to_owned();
            let call = Message {
                kind: CALL,
                path: "/org/freedesktop/DBus".into(),
                interface: bus.clone(),
                destination: bus,
                member: member.into(),
                body,
                ..Message::default()
            };
            let serial = self.send(call)?;
            while self.receive()?.reply_to != serial {}
        }
        Ok(())
    }

    fn line(&mut self) -> io::Result<()> {
        let mut byte = [0];
        while byte != *b"\n" {
            self.stream.read_exact(&mut byte)?;
        }
        Ok(())
    }

    fn send(&mut self, mut message: Message) -> io::Result<u32> {
        self.serial += 1;
        message.serial = self.serial;
        self.stream.write_all(&message.encode())?;
        Ok(self.serial)
    }

    fn receive(&mut self) -> io::Result<Message> {
        let mut head = [0; 16];
        self.stream.read_exact(&mut head)?;
        let length = Message::length(&head).ok_or_else(|| io::Error::other("no message"))?;
        let mut bytes = head.to_vec();
        bytes.resize(length, 0);
        self.stream.read_exact(&mut bytes[16..])?;
        Message::decode(&bytes).ok_or_else(|| io::Error::other("no message"))
    }

    fn serve(&mut self) -> io::Result<()> {
        let call = self.receive()?;
        if call.kind != CALL {
            return Ok(());
        }
        let script = Arc::clone(&self.script);
        let mut script = script.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        script.calls.push((call.member.clone(), call.body.clone()));
        let (answer, result) = answer(&mut script, &call)?;
        drop(script);
        self.send(answer)?;
        if let Some(result) = result {
            self.send(Message {
                kind: SIGNAL,
                path: PATH.into(),
                interface: MANAGER.into(),
                member: "JobRemoved".into(),
                body: vec![Value::U32(1), job(&call), Value::text(unit(&call)), Value::text(result)],
                ..Message::default()
            })?;
        }
        Ok(())
    }
}

/// The unit that a call is about.
fn unit(call: &Message) -> &str {
    call.body.first().and_then(Value::as_text).unwrap_or_default()
}

/// The job that a call starts.
fn job(call: &Message) -> Value {
    Value::Path(format!("{PATH}/job/{}", call.serial))
}

/// The reply to a call, and how the job ends that it starts, if it starts one.
fn answer(script: &mut Script, call: &Message) -> io::Result<(Message, Option<String>)> {
    let reply = |body: Vec<Value>| Message {
        kind: RETURN,
        reply_to: call.serial,
        destination: call.sender.clone(),
        body,
        ..Message::default()
    };
    let error = |name: &str| Message {
        kind: ERROR,
        error: format!("{NAME}.{name}"),
        ..reply(vec![Value::text(format!("the stand-in says {name}"))])
    };
    let unit = unit(call);
    Ok(match call.member.as_str() {
        "Get" => (reply(vec![Value::Variant(Box::new(Value::text("")))]), None),
        "StartTransientUnit" if script.failed.iter().any(|name| name == unit) => (error("UnitExists"), None),
        "StartTransientUnit" if script.result.is_empty() => {
            start(script, unit, &call.body)?;
            (reply(vec![job(call)]), Some("done".to_owned()))
        }
        "StartTransientUnit" => (reply(vec![job(call)]), Some(script.result.clone())),
        "StopUnit" if script.made.is_empty() => (error("NoSuchUnit"), None),
        "StopUnit" => (reply(vec![job(call)]), Some("done".to_owned())),
        "ResetFailedUnit" => {
            script.failed.retain(|name| name != unit);
            (reply(vec![]), None)
        }
        _ => (reply(vec![]), None),
    })
}

/// What systemd does on a hybrid host: the scope in every hierarchy it keeps, with the processes in it.
fn start(script: &mut Script, name: &str, body: &[Value]) -> io::Result<()> {
    let properties = body.get(2).cloned().unwrap_or(Value::Bool(false));
    let slice = find(&properties, "Slice").and_then(|slice| slice.as_text().map(str::to_owned)).unwrap_or_default();
    let unit = Unit { name: name.to_owned(), slice, user: false };
    let Some(Value::Array(_, pids)) = find(&properties, "PIDs") else { return Err(io::Error::other("no PIDs")) };
    // What the runtime makes above the scope in the other hierarchies stays, as it would with systemd.
    if let Some(above) = unit.path().split('/').next() {
        for hierarchy in fs::read_dir("/sys/fs/cgroup")?.flatten() {
            script.made.push(hierarchy.path().join(above));
        }
    }
    for hierarchy in ["systemd", "memory", "pids", "cpu", "unified"] {
        let mut path = Path::new("/sys/fs/cgroup").join(hierarchy);
        for part in unit.path().split('/') {
            path.push(part);
            if fs::create_dir(&path).is_ok() {
                script.made.push(path.clone());
            }
        }
        for pid in &pids {
            if let Value::U32(pid) = pid {
                fs::write(path.join("cgroup.procs"), pid.to_string())?;
            }
        }
    }
    Ok(())
}
