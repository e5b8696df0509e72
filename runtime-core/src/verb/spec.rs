//! The default config.

/// The default `config.json`, as text: byte for byte what `runc spec` of 1.5 writes.
///
/// `rootless`: for an unprivileged caller of this effective uid and gid. `unified`: whether the host has only
/// cgroup v2, where a container gets a cgroup namespace too.
pub fn default_config(rootless: Option<(u32, u32)>, unified: bool) -> String {
    let (gid, sys, linux) = match rootless {
        None => (",\n\t\t\t\t\"gid=5\"", SYS, RESOURCES.to_owned()),
        Some((uid, gid)) => ("", SYS_ROOTLESS, format!("{}{}", mapping("uid", uid), mapping("gid", gid))),
    };
    let mut namespaces = vec!["pid", "network", "ipc", "uts", "mount"];
    if unified {
        namespaces.push("cgroup");
    }
    if rootless.is_some() {
        namespaces.retain(|&name| name != "network");
        namespaces.push("user");
    }
    let namespaces: Vec<_> =
        namespaces.iter().map(|n| format!("\t\t\t{{\n\t\t\t\t\"type\": \"{n}\"\n\t\t\t}}")).collect();
    CONFIG
        .replace("@version", crate::state::OCI_VERSION)
        .replace("@gid", gid)
        .replace("@sys", sys)
        .replace("@linux", &linux)
        .replace("@namespaces", &namespaces.join(",\n"))
}

/// The caller becomes root inside, and is the only user there is.
fn mapping(kind: &str, id: u32) -> String {
    format!(
        "\t\t\"{kind}Mappings\": [\n\t\t\t{{\n\t\t\t\t\"containerID\": 0,\n\t\t\t\t\"hostID\": {id},\n\t\t\t\t\"size\": 1\n\t\t\t}}\n\t\t],\n"
    )
}

const SYS: &str = r#"			"type": "sysfs",
			"source": "sysfs",
			"options": [
"#;

/// sysfs shows the network namespace of who mounts it; without one of its own, only the host's can be bound.
const SYS_ROOTLESS: &str = r#"			"type": "none",
			"source": "/sys",
			"options": [
				"rbind",
"#;

const RESOURCES: &str = r#"		"resources": {
			"devices": [
				{
					"allow": false,
					"access": "rwm"
				}
			]
		},
"#;

/// The rest; `@` marks what depends on the caller.
const CONFIG: &str = r#"{
	"ociVersion": "@version",
	"process": {
		"terminal": true,
		"user": {
			"uid": 0,
			"gid": 0
		},
		"args": [
			"sh"
		],
		"env": [
			"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
			"TERM=xterm"
		],
		"cwd": "/",
		"capabilities": {
			"bounding": [
				"CAP_AUDIT_WRITE",
				"CAP_KILL",
				"CAP_NET_BIND_SERVICE"
			],
			"effective": [
				"CAP_AUDIT_WRITE",
				"CAP_KILL",
				"CAP_NET_BIND_SERVICE"
			],
			"permitted": [
				"CAP_AUDIT_WRITE",
				"CAP_KILL",
				"CAP_NET_BIND_SERVICE"
			]
		},
		"rlimits": [
			{
				"type": "RLIMIT_NOFILE",
				"hard": 1024,
				"soft": 1024
			}
		],
		"noNewPrivileges": true
	},
	"root": {
		"path": "rootfs",
		"readonly": true
	},
	"hostname": "runc",
	"mounts": [
		{
			"destination": "/proc",
			"type": "proc",
			"source": "proc"
		},
		{
			"destination": "/dev",
			"type": "tmpfs",
			"source": "tmpfs",
			"options": [
				"nosuid",
				"strictatime",
				"mode=755",
				"size=65536k"
			]
		},
		{
			"destination": "/dev/pts",
			"type": "devpts",
			"source": "devpts",
			"options": [
				"nosuid",
				"noexec",
				"newinstance",
				"ptmxmode=0666",
				"mode=0620"@gid
			]
		},
		{
			"destination": "/dev/shm",
			"type": "tmpfs",
			"source": "shm",
			"options": [
				"nosuid",
				"noexec",
				"nodev",
				"mode=1777",
				"size=65536k"
			]
		},
		{
			"destination": "/dev/mqueue",
			"type": "mqueue",
			"source": "mqueue",
			"options": [
				"nosuid",
				"noexec",
				"nodev"
			]
		},
		{
			"destination": "/sys",
@sys				"nosuid",
				"noexec",
				"nodev",
				"ro"
			]
		},
		{
			"destination": "/sys/fs/cgroup",
			"type": "cgroup",
			"source": "cgroup",
			"options": [
				"nosuid",
				"noexec",
				"nodev",
				"relatime",
				"ro"
			]
		}
	],
	"linux": {
@linux		"namespaces": [
@namespaces
		],
		"maskedPaths": [
			"/proc/acpi",
			"/proc/asound",
			"/proc/kcore",
			"/proc/keys",
			"/proc/latency_stats",
			"/proc/timer_list",
			"/proc/timer_stats",
			"/proc/sched_debug",
			"/sys/firmware",
			"/proc/scsi"
		],
		"readonlyPaths": [
			"/proc/bus",
			"/proc/fs",
			"/proc/irq",
			"/proc/sys",
			"/proc/sysrq-trigger"
		]
	}
}"#;

#[cfg(test)]
mod tests {
    use super::*;

    fn namespaces(text: &str) -> Vec<String> {
        let linux = crate::spec::parse(text.as_bytes()).unwrap().linux.unwrap();
        linux.namespaces.unwrap().into_iter().map(|n| n.typ.unwrap()).collect()
    }

    #[test]
    fn parses_back() {
        for unified in [false, true] {
            for rootless in [None, Some((1000, 1001))] {
                let text = default_config(rootless, unified);
                assert!(!text.contains('@'), "{text}");
                let spec = crate::spec::parse(text.as_bytes()).unwrap();
                assert_eq!(spec.oci_version.as_deref(), Some("1.3.0"));
                assert_eq!(spec.mounts.unwrap().len(), 7);
            }
        }
    }

    #[test]
    fn namespaces_follow_caller_and_host() {
        assert_eq!(namespaces(&default_config(None, false)), ["pid", "network", "ipc", "uts", "mount"]);
        assert_eq!(namespaces(&default_config(None, true)), ["pid", "network", "ipc", "uts", "mount", "cgroup"]);
        assert_eq!(namespaces(&default_config(Some((7, 8)), true)), ["pid", "ipc", "uts", "mount", "cgroup", "user"]);
    }

    #[test]
    fn rootless_maps_the_caller_and_sets_no_limits() {
        let text = default_config(Some((1000, 1001)), false);
        let linux = crate::spec::parse(text.as_bytes()).unwrap().linux.unwrap();
        assert_eq!(linux.uid_mappings.unwrap()[0].host_id, 1000);
        assert_eq!(linux.gid_mappings.unwrap()[0].host_id, 1001);
        assert!(linux.resources.is_none());
        assert!(!text.contains("gid=5"));
        assert!(text.contains("\"rbind\",\n\t\t\t\t\"nosuid\""));
    }

    /// The same text as runc 1.1.5's, but for what 1.5 changed: the spec's version, and no ambient capabilities.
    #[test]
    fn is_what_runc_writes() {
        for rootless in [false, true] {
            let dir = std::env::temp_dir().join(format!("runtime-spec-{}-{rootless}", std::process::id()));
            std::fs::create_dir(&dir).unwrap();
            let mut runc = std::process::Command::new("runc");
            let made = runc.arg("spec").args(rootless.then_some("--rootless")).current_dir(&dir).output();
            let theirs = std::fs::read_to_string(dir.join("config.json"));
            std::fs::remove_dir_all(&dir).unwrap();
            let (Ok(_), Ok(theirs)) = (made, theirs) else { return };
            let caps = "\"CAP_AUDIT_WRITE\",\n\t\t\t\t\"CAP_KILL\",\n\t\t\t\t\"CAP_NET_BIND_SERVICE\"\n\t\t\t]";
            let theirs =
                theirs.replace("1.0.2-dev", "1.3.0").replace(&format!(",\n\t\t\t\"ambient\": [\n\t\t\t\t{caps}"), "");
            let ids = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
            let unified = theirs.contains("\"type\": \"cgroup\"\n");
            assert_eq!(default_config(rootless.then_some(ids), unified), theirs);
        }
    }
}
