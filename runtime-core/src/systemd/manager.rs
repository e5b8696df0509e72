//! The calls to systemd's manager (org.freedesktop.systemd1(5)).

use super::bus::{Answer, Bus};
use super::unit::{Property, Unit};
use super::wire::Value;
use crate::{Error, ErrorKind, Result};

const NAME: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";
const INTERFACE: &str = "org.freedesktop.systemd1.Manager";
const SYSTEM_BUS: &str = "unix:path=/run/dbus/system_bus_socket";

/// A manager, the system's or a user's, on a connection of its own.
#[derive(Debug)]
pub(crate) struct Manager {
    bus: Bus,
    listening: bool,
    /// The unit this connection has made.
    made: Option<String>,
}

fn refused(what: &str, (name, text): (String, String)) -> Error {
    Error::new(ErrorKind::System, format!("systemd cannot {what}: {text} ({name})"))
}

fn is_unknown((name, _): &(String, String)) -> bool {
    name == "org.freedesktop.systemd1.NoSuchUnit"
}

impl Manager {
    /// Connects to the system's manager, or to the one of the user.
    pub(crate) fn connect(user: bool) -> Result<Self> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let addresses = if user {
            let below = variable("XDG_RUNTIME_DIR").map(|dir| format!("unix:path={dir}/bus"));
            variable("DBUS_SESSION_BUS_ADDRESS").or(below).ok_or_else(|| {
                let message = "there is no session bus: neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR is set";
                Error::new(ErrorKind::Unsupported, message)
            })?
        } else {
            variable("DBUS_SYSTEM_BUS_ADDRESS").unwrap_or_else(|| SYSTEM_BUS.to_owned())
        };
        Ok(Self { bus: Bus::connect(&addresses)?, listening: false, made: None })
    }

    fn call(&mut self, member: &str, body: Vec<Value>) -> Result<Answer> {
        self.bus.begin();
        self.bus.call(NAME, PATH, INTERFACE, member, body)
    }

    /// A property of the manager itself.
    fn property(&mut self, name: &str) -> Result<String> {
        self.bus.begin();
        let body = vec![Value::text(INTERFACE), Value::text(name)];
        let answer = self.bus.call(NAME, PATH, "org.freedesktop.DBus.Properties", "Get", body)?;
        let values = answer.map_err(|error| refused(&format!("tell its {name}"), error))?;
        let text = values.first().and_then(Value::as_text);
        text.map(str::to_owned).ok_or_else(|| Error::new(ErrorKind::System, format!("systemd has no {name}")))
    }

    /// The manager's own cgroup beneath the mount point, without slashes at the ends: units lie below it.
    pub(crate) fn cgroup(&mut self) -> Result<String> {
        let path = self.property("ControlGroup")?;
        let path = path.trim_matches('/');
        // PID 1 of a container with its own systemd, or one that keeps itself in a scope, has itself as the last part.
        Ok(path.strip_suffix("init.scope").unwrap_or(path).trim_end_matches('/').to_owned())
    }

    /// Makes the unit, with all its properties in one call, and waits until it is there.
    pub(crate) fn start(&mut self, unit: &Unit, properties: &[Property], pid: i32) -> Result<()> {
        self.listen()?;
        let mut all = properties.to_vec();
        if !unit.is_slice() {
            let pids = vec![Value::U32(u32::try_from(pid).unwrap_or(0))];
            all.push(("PIDs".to_owned(), Value::Array("u".into(), pids)));
        }
        let body = |all: &[Property]| {
            vec![
                Value::text(unit.name.as_str()),
                Value::text("replace"),
                listed(all),
                Value::Array("(sa(sv))".into(), vec![]),
            ]
        };
        let mut answer = self.call("StartTransientUnit", body(&all))?;
        if let Err((name, _)) = &answer
            && name == "org.freedesktop.systemd1.UnitExists"
        {
            if unit.is_slice() {
                return Ok(());
            }
            // One that failed is kept for people to look at. It is nobody's any more.
            let _ = self.call("ResetFailedUnit", vec![Value::text(unit.name.as_str())])?;
            answer = self.call("StartTransientUnit", body(&all))?;
        }
        let job = answer.map_err(|error| refused(&format!("start unit {:?}", unit.name), error))?;
        match self.finished(&job)?.as_str() {
            "done" => {
                self.made = Some(unit.name.clone());
                Ok(())
            }
            result => {
                let _ = self.call("ResetFailedUnit", vec![Value::text(unit.name.as_str())]);
                Err(Error::new(
                    ErrorKind::System,
                    format!("error creating systemd unit `{}`: got `{result}`", unit.name),
                ))
            }
        }
    }

    /// True for the unit that [`Manager::start`] has made.
    pub(crate) fn has_made(&self, unit: &Unit) -> bool {
        self.made.as_deref() == Some(unit.name.as_str())
    }

    /// Stops the unit and waits; one that is not there is stopped. A failed one is forgotten.
    pub(crate) fn stop(&mut self, unit: &Unit) -> Result<()> {
        self.listen()?;
        let name = Value::text(unit.name.as_str());
        match self.call("StopUnit", vec![name.clone(), Value::text("replace")])? {
            Err(error) if is_unknown(&error) => {}
            Err(error) => return Err(refused(&format!("stop unit {:?}", unit.name), error)),
            Ok(job) => drop(self.finished(&job)?),
        }
        match self.call("ResetFailedUnit", vec![name])? {
            Err(error) if !is_unknown(&error) => Err(refused(&format!("reset unit {:?}", unit.name), error)),
            _ => Ok(()),
        }
    }

    /// Changes limits, for as long as the unit lives.
    pub(crate) fn set(&mut self, unit: &Unit, properties: &[Property]) -> Result<()> {
        let body = vec![Value::text(unit.name.as_str()), Value::Bool(true), listed(properties)];
        let answer = self.call("SetUnitProperties", body)?;
        answer.map(drop).map_err(|error| refused(&format!("change unit {:?}", unit.name), error))
    }

    /// Asks for the signals that tell of jobs, once.
    fn listen(&mut self) -> Result<()> {
        if self.listening {
            return Ok(());
        }
        self.bus.begin();
        let rule = format!("type='signal',sender='{NAME}',interface='{INTERFACE}',member='JobRemoved',path='{PATH}'");
        let bus = "org.freedesktop.DBus";
        let answer = self.bus.call(bus, "/org/freedesktop/DBus", bus, "AddMatch", vec![Value::text(rule)])?;
        answer.map_err(|error| refused("tell of its jobs", error))?;
        self.call("Subscribe", vec![])?.map_err(|error| refused("tell of its jobs", error))?;
        self.listening = true;
        Ok(())
    }

    /// Waits for the job that a call has returned; its result.
    fn finished(&mut self, reply: &[Value]) -> Result<String> {
        let Some(job) = reply.first().and_then(Value::as_text) else {
            return Err(Error::new(ErrorKind::System, "systemd answered without a job"));
        };
        self.bus.begin();
        // (u id, o job, s unit, s result)
        self.bus.signal("JobRemoved", |message| {
            let removed = message.body.get(1).and_then(Value::as_text)?;
            let result = message.body.get(3).and_then(Value::as_text)?;
            (removed == job).then(|| result.to_owned())
        })
    }
}

fn listed(properties: &[Property]) -> Value {
    let one = |(name, value): &Property| {
        Value::Struct(vec![Value::text(name.as_str()), Value::Variant(Box::new(value.clone()))])
    };
    Value::Array("(sv)".into(), properties.iter().map(one).collect())
}
