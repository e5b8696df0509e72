//! Id-mapped mounts: whose ids the files of a bind show.

use crate::cases;
use crate::test::{Outcome, Test};
use crate::{check, check_eq};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::MetadataExt;

cases!["idmap":
    mappings_of_a_mount, ranges_in_the_option, of_the_container, of_a_joined_namespace, bad_ones_are_refused,
];

/// A tmpfs whose files belong to ids 0 and 5; a mount on a folder of it as well.
const OWNED: &str = "mount -t tmpfs x source; mkdir source/sub; mount -t tmpfs y source/sub; \
                     touch source/zero source/five source/sub/zero; chown 5:6 source/five; \"$@\"";

fn mappings_of_a_mount(t: &Test) -> Outcome {
    let source = t.subfolder("source")?;
    let map = json!([{ "containerID": 0, "hostID": 1000, "size": 10 }]);
    let mount = |at: &str, options: Value| json!({ "destination": at, "type": "bind", "source": source, "options": options, "uidMappings": map, "gidMappings": map });
    let mut bundle = t.bundle()?;
    bundle.set("/mounts/-", mount("/mapped", json!(["rbind", "idmap"])));
    bundle.set("/mounts/-", mount("/implied", json!(["rbind"])));
    bundle.set("/mounts/-", mount("/all", json!(["rbind", "ridmap", "ro"])));
    bundle.mount("/plain", "bind", &source, &["rbind"]);
    let paths = [
        "/mapped/zero",
        "/mapped/five",
        "/mapped/sub/zero",
        "/implied/five",
        "/all/five",
        "/all/sub/zero",
        "/plain/five",
        "/all",
    ];
    let report = t.report_within(OWNED, &bundle.looking_at(&paths))?;
    let owner = |path: &str| (report.path(path)["uid"].as_u64(), report.path(path)["gid"].as_u64());
    check_eq!(owner("/mapped/zero"), (Some(1000), Some(1000)), "id 0");
    check_eq!(owner("/mapped/five"), (Some(1005), Some(1006)), "ids 5 and 6");
    check_eq!(owner("/mapped/sub/zero"), (Some(0), Some(0)), "below, not recursive");
    check_eq!(owner("/implied/five"), (Some(1005), Some(1006)), "mappings without the option");
    check_eq!(owner("/all/five"), (Some(1005), Some(1006)), "recursive");
    check_eq!(owner("/all/sub/zero"), (Some(1000), Some(1000)), "below, recursive");
    check_eq!(owner("/plain/five"), (Some(5), Some(6)), "not mapped");
    check!(report.mounted_with("/all", "ro"), "{}", report.mount("/all"));
    Ok(())
}

/// crun's ranges in the option itself; "@" is about the container's own ids.
fn ranges_in_the_option(t: &Test) -> Outcome {
    let source = t.subfolder("source")?;
    let mut bundle = t.mapped_bundle()?;
    bundle.mount("/mapped", "bind", &source, &["bind", "idmap=uids=0-100000-3#5-100007-1;gids=0-100020-10"]);
    bundle.mount("/own", "bind", &source, &["bind", "idmap=uids=@0-1-10;gids=@0-2-10"]);
    let paths = ["/mapped/five", "/own/five"];
    let report = t.report_within(OWNED, &bundle.looking_at(&paths))?;
    let owner = |path: &str| (report.path(path)["uid"].as_u64(), report.path(path)["gid"].as_u64());
    check_eq!(owner("/mapped/five"), (Some(7), Some(26)), "ids 5 and 6");
    check_eq!(owner("/own/five"), (Some(6), Some(8)), "ids 5 and 6 by the container's own mapping");
    for bad in ["idmap=", "idmap=uids=0-1-1", "idmap=uids=0-1;gids=0-1-1", "ridmap=uids=@70000-1-1;gids=0-1-1"] {
        let mut bundle = t.bundle()?;
        bundle.map_ids(100_000, 65_536);
        bundle.mount("/x", "bind", "/tmp", &["bind", bad]);
        t.run_refused(&bundle, "")?;
    }
    Ok(())
}

fn of_the_container(t: &Test) -> Outcome {
    let source = t.subfolder("source")?;
    let mut bundle = t.mapped_bundle()?;
    bundle.mount("/mapped", "bind", &source, &["bind", "idmap"]);
    bundle.mount("/plain", "bind", &source, &["bind"]);
    let paths = ["/mapped/five", "/plain/five", "/mapped"];
    let report = t.report_within(OWNED, &bundle.looking_at(&paths))?;
    check_eq!(report.path("/mapped/five")["uid"], 5, "on disk as in the container");
    check_eq!(report.path("/plain/five")["uid"], 65_534, "not mapped: nobody");
    check_eq!(report.path("/mapped")["create"], 0, "writing to it");
    Ok(())
}

fn of_a_joined_namespace(t: &Test) -> Outcome {
    let source = t.subfolder("source")?;
    let mut bundle = t.bundle()?;
    bundle.namespace("user", &t.folder.join("ns").to_string_lossy());
    std::os::unix::fs::chown(bundle.rootfs(), Some(100_000), Some(100_000))?;
    bundle.mount("/mapped", "bind", &source, &["bind", "idmap"]);
    let joined = "unshare -U sleep 20 & P=$!; while [ \"$(readlink /proc/$P/ns/user)\" = \"$(readlink /proc/self/ns/user)\" ]; do :; done; \
                  echo 0 100000 65536 > /proc/$P/uid_map; echo 0 100000 65536 > /proc/$P/gid_map; touch ns; \
                  mount --bind /proc/$P/ns/user ns; kill $P; ";
    let script = format!("{joined}{OWNED}");
    let report = t.report_within(&script, &bundle.looking_at(&["/mapped/five"]))?;
    check_eq!(report.path("/mapped/five")["uid"], 5, "on disk as in the container");
    Ok(())
}

fn bad_ones_are_refused(t: &Test) -> Outcome {
    let map = json!([{ "containerID": 0, "hostID": 1000, "size": 10 }]);
    let entries = [
        json!({ "destination": "/x", "type": "bind", "source": "/tmp", "options": ["bind", "idmap"] }),
        json!({ "destination": "/x", "type": "bind", "source": "/tmp", "options": ["bind"], "uidMappings": map }),
        json!({ "destination": "/x", "type": "tmpfs", "source": "x", "uidMappings": map, "gidMappings": map }),
        // procfs cannot be mapped.
        json!({ "destination": "/x", "type": "bind", "source": "/proc", "options": ["bind"], "uidMappings": map, "gidMappings": map }),
    ];
    for entry in entries {
        let mut bundle = t.bundle()?;
        bundle.set("/mounts/-", entry.clone());
        let said = t.run_refused(&bundle, "")?;
        check!(t.runtime.name != "runtime" || said.contains("/mounts/7"), "no JSON pointer: {said}");
    }
    check!(fs::metadata("/tmp")?.uid() == 0, "/tmp changed");
    Ok(())
}
