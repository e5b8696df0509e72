//! systemd: the calls of `--systemd-cgroup` (contract 2.13), against a stand-in on a private bus. The real one is for the
//! guest.

use crate::bundle::Bundle;
use crate::cases;
use crate::command::Output;
use crate::fake_systemd::FakeSystemd;
use crate::test::{Outcome, Test, skip};
use crate::{check, check_eq};
use runtime_core::systemd::wire::Value;
use serde_json::json;
use std::fs;
use std::path::Path;

cases!["systemd":
    scope_holds_the_container, limits_are_properties, annotations_are_properties, failed_unit_is_reset,
    failed_job_is_an_error, failed_create_stops_the_unit, frozen_cgroup_is_seen_first, path_must_have_three_parts,
    no_bus_is_an_error,
];

struct Stage<'a> {
    t: &'a Test,
    fake: FakeSystemd,
    bundle: Bundle,
    slice: String,
}

/// A bus, and a bundle whose container is to be a scope in a slice of the test's own.
fn stage(t: &Test) -> Outcome<Stage<'_>> {
    if !crate::runtime::hybrid() || t.runtime.name != "runtime" {
        return skip("the stand-in is made for a hybrid host and for the calls of ours");
    }
    let Some(fake) = FakeSystemd::start(&t.folder)? else { return skip("no dbus-daemon") };
    let slice = t.id.replace('-', "_");
    let path = format!("{slice}.slice:rt:{}", t.id);
    let bundle = t.bundle()?.with("/linux/cgroupsPath", json!(path));
    Ok(Stage { t, fake, bundle, slice })
}

impl Stage<'_> {
    fn call(&self, args: &[&str]) -> Outcome<Output> {
        let mut command = self.t.command(&[], &[&["--systemd-cgroup"], args].concat());
        command.env("DBUS_SYSTEM_BUS_ADDRESS", &self.fake.address);
        self.t.finish(command)
    }

    fn run(&self) -> Outcome<Output> {
        self.bundle.save()?;
        self.call(&["run", "--bundle", &self.bundle.path.to_string_lossy(), &self.t.id])
    }

    fn unit(&self) -> String {
        format!("rt-{}.scope", self.t.id)
    }
}

fn scope_holds_the_container(t: &Test) -> Outcome {
    let stage = stage(t)?;
    let output = stage.run()?;
    check!(output.code == 0, "run: exit {}: {}", output.code, output.stderr.trim());
    let report = crate::report::Report::parse(&output.stdout)?;
    let cgroups = report.at("/cgroup").to_string();
    let place = format!("/{}.slice/{}", stage.slice, stage.unit());
    for controller in ["pids", "memory", "freezer", "name=systemd"] {
        check!(cgroups.contains(&format!(":{controller}:{place}\"")), "{controller} is not in {place}: {cgroups}");
    }
    check!(cgroups.contains(&format!("0::{place}\"")), "not in {place}: {cgroups}");
    let calls = stage.fake.calls();
    let wanted = ["Get", "Subscribe", "StartTransientUnit", "Subscribe", "StopUnit", "ResetFailedUnit"];
    check_eq!(calls, wanted, "calls");
    check!(!Path::new("/sys/fs/cgroup/pids").join(place.trim_start_matches('/')).exists(), "the scope is still there");
    Ok(())
}

fn limits_are_properties(t: &Test) -> Outcome {
    let mut stage = stage(t)?;
    stage.bundle.set("/linux/resources/memory", json!({ "limit": 100 << 20 }));
    stage.bundle.set("/linux/resources/pids", json!({ "limit": 44 }));
    stage.bundle.set("/linux/resources/cpu", json!({ "shares": 512, "quota": 50_000, "period": 100_000 }));
    stage.bundle = stage.bundle.probe(&["sleep", "600"]);
    stage.bundle.save()?;
    let created = stage.call(&["create", "--bundle", &stage.bundle.path.to_string_lossy(), &t.id])?;
    check!(created.code == 0, "create: {}", created.stderr);
    for (name, wanted) in [
        ("MemoryLimit", Value::U64(100 << 20)),
        ("TasksMax", Value::U64(44)),
        ("CPUShares", Value::U64(512)),
        ("CPUQuotaPerSecUSec", Value::U64(500_000)),
        ("Delegate", Value::Bool(true)),
        ("DefaultDependencies", Value::Bool(false)),
        ("MemoryAccounting", Value::Bool(true)),
        ("DevicePolicy", Value::text("strict")),
        ("Description", Value::text(format!("libcontainer container {}", t.id))),
        ("Slice", Value::text(format!("{}.slice", stage.slice))),
    ] {
        check_eq!(stage.fake.property(name), Some(wanted), "{name}");
    }
    // And in the files, which have what systemd cannot say.
    let place = format!("{}.slice/{}", stage.slice, stage.unit());
    let pids = fs::read_to_string(Path::new("/sys/fs/cgroup/pids").join(&place).join("pids.max"))?;
    check_eq!(pids.trim(), "44", "pids.max");
    // The process that held the place is gone.
    let inside = fs::read_to_string(Path::new("/sys/fs/cgroup/pids").join(&place).join("cgroup.procs"))?;
    check_eq!(inside.lines().count(), 1, "processes in the scope");
    check_eq!(stage.call(&["delete", "--force", &t.id])?.code, 0, "delete");
    Ok(())
}

fn annotations_are_properties(t: &Test) -> Outcome {
    let mut stage = stage(t)?;
    stage.bundle.set(
        "/annotations",
        json!({ "org.systemd.property.TimeoutStopSec": "7", "org.systemd.property.CollectMode": "'inactive-or-failed'" }),
    );
    let output = stage.run()?;
    check!(output.code == 0, "run: {}", output.stderr);
    check_eq!(stage.fake.property("TimeoutStopUSec"), Some(Value::U64(7_000_000)), "TimeoutStopUSec");
    check_eq!(stage.fake.property("CollectMode"), Some(Value::text("inactive-or-failed")), "CollectMode");
    stage.bundle.set("/annotations", json!({ "org.systemd.property.CollectMode": "no text" }));
    let output = stage.run()?;
    check!(output.code == 1 && output.stderr.contains("/annotations/"), "{}", output.stderr);
    Ok(())
}

fn failed_unit_is_reset(t: &Test) -> Outcome {
    let stage = stage(t)?;
    stage.fake.has_failed(&stage.unit());
    let output = stage.run()?;
    check!(output.code == 0, "run: {}", output.stderr);
    check_eq!(
        stage.fake.calls()[..5],
        ["Get", "Subscribe", "StartTransientUnit", "ResetFailedUnit", "StartTransientUnit"],
        "calls"
    );
    Ok(())
}

fn failed_job_is_an_error(t: &Test) -> Outcome {
    let stage = stage(t)?;
    stage.fake.fail_with("failed");
    let output = stage.run()?;
    check!(output.code == 1 && output.stdout.is_empty(), "exit {}", output.code);
    check!(output.stderr.contains("error creating systemd unit"), "{}", output.stderr);
    check!(stage.fake.calls().contains(&"ResetFailedUnit".to_owned()), "calls: {:?}", stage.fake.calls());
    Ok(())
}

fn failed_create_stops_the_unit(t: &Test) -> Outcome {
    let mut stage = stage(t)?;
    stage.bundle.set("/process/args", json!(["/no/such/program"]));
    let output = stage.run()?;
    check!(output.code == 1, "exit {}", output.code);
    check!(stage.fake.calls().contains(&"StopUnit".to_owned()), "calls: {:?}", stage.fake.calls());
    t.fails(&["state", &t.id], "does not exist")?;
    Ok(())
}

/// What would not do as a container's cgroup is told before systemd makes a unit of it.
fn frozen_cgroup_is_seen_first(t: &Test) -> Outcome {
    let stage = stage(t)?;
    let slice = Path::new("/sys/fs/cgroup/freezer").join(format!("{}.slice", stage.slice));
    let folder = slice.join(stage.unit());
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("freezer.state"), "FROZEN")?;
    let output = stage.run();
    fs::remove_dir(&folder)?;
    fs::remove_dir(&slice)?;
    let output = output?;
    check!(output.code == 1, "exit {}", output.code);
    check!(output.stderr.contains("container's cgroup unexpectedly frozen"), "{}", output.stderr);
    check!(!stage.fake.calls().contains(&"StartTransientUnit".to_owned()), "calls: {:?}", stage.fake.calls());
    t.fails(&["state", &t.id], "does not exist").map(drop)
}

fn path_must_have_three_parts(t: &Test) -> Outcome {
    let mut stage = stage(t)?;
    stage.bundle.set("/linux/cgroupsPath", json!(format!("/{}", t.id)));
    let output = stage.run()?;
    check!(output.code == 1 && output.stderr.contains("expected cgroupsPath to be of format"), "{}", output.stderr);
    Ok(())
}

fn no_bus_is_an_error(t: &Test) -> Outcome {
    let stage = stage(t)?;
    stage.bundle.save()?;
    let args = ["--systemd-cgroup", "run", "--bundle", &stage.bundle.path.to_string_lossy(), &t.id];
    let mut command = t.command(&[], &args);
    command.env("DBUS_SYSTEM_BUS_ADDRESS", format!("unix:path={}", t.folder.join("nothing").display()));
    let output = t.finish(command)?;
    check!(output.code == 1 && output.stderr.contains("message bus"), "{}", output.stderr);
    Ok(())
}
