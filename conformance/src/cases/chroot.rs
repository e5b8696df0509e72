//! Without a mount namespace of its own a container's mounts are the caller's: made in its root, and taken away again.
//!
//! Every case runs in a mount namespace of the test's own, so that a runtime that does harm there does none to the host.

use crate::bundle::Bundle;
use crate::cases;
use crate::check;
use crate::command::Output;
use crate::test::{Outcome, Test, skip};
use serde_json::json;

cases!["chroot":
    the_mount_namespace_is_the_callers, nothing_is_left, nothing_is_left_of_a_create_that_fails,
    nothing_is_left_of_a_create_that_is_killed, what_was_bound_stays_mounted, others_see_one_mount_and_lose_it,
    exec_finds_the_root, exec_comes_from_another_namespace, delete_wants_the_creators_namespace, readonly_root,
    what_is_mounted_over_it_stays, a_moved_bundle_is_found, the_callers_root_is_refused,
    what_a_chroot_cannot_keep_is_refused, with_a_user_namespace_is_refused,
];

/// A container that sleeps, in the caller's mount namespace.
fn bundle(t: &Test) -> Outcome<Bundle> {
    let mut bundle = t.bundle()?.with("/process/args", json!(["/bin/sleep", "600"]));
    t.busybox(&bundle, &["sh", "sleep", "ls", "readlink", "touch", "true"])?;
    bundle.drop_namespace("mount");
    bundle.remove("/linux/maskedPaths");
    bundle.remove("/linux/readonlyPaths");
    Ok(bundle)
}

/// Runs a script in a mount namespace of its own, in which "$@" is the runtime, `$b` the bundle, `$i` the id and
/// `table` lists all mounts but their numbers.
fn script(t: &Test, bundle: &Bundle, text: &str) -> Outcome<Output> {
    bundle.save()?;
    let (folder, path) = (t.folder.display(), bundle.path.display());
    let text = format!(
        "set -eu; cd {folder}; b={path} i={}
         table() {{ cut -d' ' -f3- /proc/self/mountinfo | sed 's/ shared:[0-9]*//; s/ master:[0-9]*//'; }}
         fail() {{ echo \"$*\" >&2; exit 9; }}
         {text}",
        t.id
    );
    t.finish(t.command(&["unshare", "--mount", "--propagation", "private", "sh", "-c", &text, "sh"], &[]))
}

/// The same, which must end well.
fn passes(t: &Test, bundle: &Bundle, text: &str) -> Outcome {
    let output = script(t, bundle, text)?;
    check!(output.code == 0, "exit {}: {}{}", output.code, output.stdout, output.stderr);
    Ok(())
}

fn the_mount_namespace_is_the_callers(t: &Test) -> Outcome {
    let text = r#"
        "$@" create --pid-file pid --bundle $b $i </dev/null >out 2>&1 || fail "$(cat out)"
        [ "$(readlink /proc/$(cat pid)/ns/mnt)" = "$(readlink /proc/self/ns/mnt)" ] || fail another namespace
        [ "$(readlink /proc/$(cat pid)/root)" = $b/rootfs ] || fail "the root is $(readlink /proc/$(cat pid)/root)"
        table | grep -q " $b/rootfs/proc " || fail /proc is not mounted in the root
        "$@" start $i
        "$@" delete --force $i"#;
    passes(t, &bundle(t)?, text)
}

fn nothing_is_left(t: &Test) -> Outcome {
    let text = r#"
        mount --make-rshared /; table >before; propagation() { cut -d' ' -f7 /proc/self/mountinfo | cut -d: -f1; }
        propagation >kinds
        "$@" run --bundle $b $i </dev/null
        table | cmp - before || fail left behind
        propagation | cmp - kinds || fail the propagation of the callers mounts is another"#;
    passes(t, &bundle(t)?.with("/process/args", json!(["/bin/true"])), text)
}

fn nothing_is_left_of_a_create_that_fails(t: &Test) -> Outcome {
    let text = r#"
        table >before
        "$@" create --bundle $b $i </dev/null >out 2>&1 && fail created
        grep -q no-such-program out || fail "$(cat out)"
        table | cmp - before || fail left behind"#;
    passes(t, &bundle(t)?.with("/process/args", json!(["/no-such-program"])), text)
}

/// By a hook of its own, when everything is mounted.
fn nothing_is_left_of_a_create_that_is_killed(t: &Test) -> Outcome {
    let hook = json!([{ "path": "/bin/sh", "args": ["sh", "-c", "kill -KILL $PPID; sleep 1"] }]);
    let text = r#"
        table >before
        "$@" create --bundle $b $i </dev/null >out 2>&1 && fail created
        table | cmp -s - before && fail nothing was mounted yet
        "$@" delete --force $i
        table | cmp - before || fail left behind"#;
    passes(t, &bundle(t)?.with("/hooks/createRuntime", hook), text)
}

/// Taking away a clone of shared mounts must not take away the mounts, the well-known end of /dev/pts; also where somebody
/// else has bound them there.
fn what_was_bound_stays_mounted(t: &Test) -> Outcome {
    let mut bundle = bundle(t)?;
    let source = t.subfolder("source")?;
    bundle.mount("/plain", "", &source, &["rbind"]);
    bundle.mount("/shared", "", &source, &["rbind", "rshared"]);
    bundle.mount("/slave", "", &source, &["rbind", "rslave"]);
    let text = r#"
        mount -t tmpfs a source; mount --make-shared source; mkdir source/sub; mount -t tmpfs b source/sub
        mkdir $b/rootfs/later; table >before
        "$@" create --bundle $b $i </dev/null >out 2>&1 || fail "$(cat out)"
        table | grep -q " $b/rootfs/slave/sub " || fail not bound
        mount --rbind source $b/rootfs/later
        "$@" delete --force $i
        table | cmp - before || fail the binds took something along"#;
    passes(t, &bundle, text)
}

fn others_see_one_mount_and_lose_it(t: &Test) -> Outcome {
    let text = r#"
        mount --bind . .; cd "$PWD"; mount --make-shared .
        unshare --mount --propagation unchanged sleep 60 & other=$!; trap 'kill $other' EXIT
        until [ "$(readlink /proc/$other/ns/mnt)" != "$(readlink /proc/self/ns/mnt)" ]; do :; done
        count() { grep -c "$b/rootfs" /proc/$other/mountinfo || :; }
        "$@" create --bundle $b $i </dev/null >out 2>&1 || fail "$(cat out)"
        [ $(count) -le 1 ] || fail "$(count) mounts are to be seen elsewhere"
        "$@" delete --force $i
        [ $(count) = 0 ] || fail "$(count) mounts were left elsewhere""#;
    passes(t, &bundle(t)?, text)
}

fn exec_finds_the_root(t: &Test) -> Outcome {
    let text = r#"
        touch $b/rootfs/marker
        "$@" create --bundle $b $i </dev/null >out 2>&1 || fail "$(cat out)"
        "$@" exec $i /bin/sh -c '/bin/ls -a /; /bin/ls -a /..' </dev/null >said
        "$@" delete --force $i
        [ $(grep -c marker said) = 2 ] || fail "$(cat said)""#;
    passes(t, &bundle(t)?, text)
}

fn exec_comes_from_another_namespace(t: &Test) -> Outcome {
    let text = r#"
        touch $b/rootfs/marker
        "$@" create --pid-file pid --bundle $b $i </dev/null >out 2>&1 || fail "$(cat out)"
        unshare --mount "$@" exec $i /bin/sh -c '/bin/ls /; /bin/readlink /proc/self/ns/mnt' </dev/null >said
        own=$(readlink /proc/$(cat pid)/ns/mnt)
        "$@" delete --force $i
        grep -q marker said && grep -qF "$own" said || fail "$(cat said)""#;
    passes(t, &bundle(t)?, text)
}

fn delete_wants_the_creators_namespace(t: &Test) -> Outcome {
    let text = r#"
        table >before
        "$@" create --bundle $b $i </dev/null >out 2>&1 || fail "$(cat out)"
        unshare --mount "$@" delete --force $i >said 2>&1 && fail deleted
        grep -q 'another mount namespace' said || fail "$(cat said)"
        "$@" delete $i
        table | cmp - before || fail left behind"#;
    passes(t, &bundle(t)?, text)
}

fn readonly_root(t: &Test) -> Outcome {
    let text = r#"
        "$@" create --bundle $b $i </dev/null >out 2>&1 || fail "$(cat out)"
        "$@" exec $i /bin/touch /x </dev/null 2>said && fail written
        touch outside
        "$@" delete --force $i
        touch $b/rootfs/x"#;
    passes(t, &bundle(t)?.with("/root/readonly", json!(true)), text)
}

fn what_is_mounted_over_it_stays(t: &Test) -> Outcome {
    let text = r#"
        table >before
        "$@" create --bundle $b $i </dev/null >out 2>&1 || fail "$(cat out)"
        mount -t tmpfs over $b/rootfs
        "$@" delete --force $i >said 2>&1 && fail deleted
        grep -q 'mounted over' said || fail "$(cat said)"
        umount $b/rootfs
        "$@" delete --force $i
        table | cmp - before || fail left behind"#;
    passes(t, &bundle(t)?, text)
}

/// The kernel moves the mounts along with a directory above them.
fn a_moved_bundle_is_found(t: &Test) -> Outcome {
    let text = r#"
        table >before
        "$@" create --bundle $b $i </dev/null >out 2>&1 || fail "$(cat out)"
        mv $b elsewhere; mkdir -p $b/rootfs
        mount -t tmpfs decoy $b/rootfs
        "$@" delete --force $i
        umount $b/rootfs
        table | cmp - before || fail left behind"#;
    passes(t, &bundle(t)?, text)
}

/// Also by a link that leads there. Nothing is deleted: there is no container.
fn the_callers_root_is_refused(t: &Test) -> Outcome {
    if !t.runtime.is_ours() {
        return skip("no other runtime is let near a root that is the host's");
    }
    for path in ["/", "/tmp/..", "link"] {
        let bundle = bundle(t)?.with("/root/path", json!(path));
        std::fs::remove_dir_all(bundle.rootfs())?;
        std::os::unix::fs::symlink("/", bundle.path.join("link"))?;
        let text = r#"
            table >before
            "$@" create --bundle $b $i </dev/null >out 2>&1 && fail created
            grep -q 'no mount namespace of its own' out && grep -q /root/path out || fail "$(cat out)"
            table | cmp - before || fail left behind"#;
        passes(t, &bundle, text)?;
        std::fs::remove_dir_all(&bundle.path)?;
    }
    Ok(())
}

fn what_a_chroot_cannot_keep_is_refused(t: &Test) -> Outcome {
    for (pointer, value) in [
        ("/linux/maskedPaths", json!(["/proc/kcore"])),
        ("/linux/readonlyPaths", json!(["/proc/sys"])),
        ("/linux/rootfsPropagation", json!("shared")),
    ] {
        let output = script(t, &bundle(t)?.with(pointer, value), r#""$@" create --bundle $b $i </dev/null"#)?;
        check!(output.code == 1, "{pointer}: exit {}: {}", output.code, output.stderr);
        check!(!t.runtime.is_ours() || output.stderr.contains(pointer), "{pointer}: {}", output.stderr);
        std::fs::remove_dir_all(t.folder.join("bundle"))?;
    }
    Ok(())
}

fn with_a_user_namespace_is_refused(t: &Test) -> Outcome {
    let mut bundle = bundle(t)?;
    bundle.map_ids(0, 65536);
    let output = script(t, &bundle, r#""$@" create --bundle $b $i </dev/null"#)?;
    check!(output.code == 1, "exit {}: {}", output.code, output.stderr);
    check!(!t.runtime.is_ours() || output.stderr.contains("mount namespace"), "{}", output.stderr);
    Ok(())
}
