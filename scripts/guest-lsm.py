#!/usr/bin/env python3
"""process.apparmorProfile and process.selinuxLabel on a kernel that has the modules: a QEMU guest, a minute each.

usage: guest-lsm.py KERNEL RUNTIME [SCRATCH]

KERNEL is a Debian kernel image (vmlinuz of 6.1 or later), RUNTIME our static binary. Takes apparmor_parser and
checkpolicy from Debian's packages, without installing them, and a policy of a few lines that it writes itself.
"""
import os, re, shutil, subprocess, sys, tempfile

SIDS = """kernel security unlabeled fs file file_labels init any_socket port netif netmsg node igmp_packet icmp_socket
tcp_socket sysctl_modprobe sysctl sysctl_fs sysctl_kernel sysctl_net sysctl_net_unix sysctl_vm sysctl_dev kmod policy
scmp_packet devnull""".split()
PERMISSIONS = {
    "process": "fork transition sigchld sigkill sigstop signull signal ptrace getsched setsched getsession getpgid "
    "setpgid getcap setcap share getattr setexec setfscreate noatsecure siginh setrlimit rlimitinh dyntransition "
    "setcurrent execmem execstack execheap setkeycreate setsockcreate getrlimit",
    "key": "view read write search link setattr create",
}
POLICY = "".join(
    [f"class {c}\n" for c in PERMISSIONS]
    + [f"sid {s}\n" for s in SIDS]
    + [f"class {c} {{ {p} }}\n" for c, p in PERMISSIONS.items()]
    + ["type base_t;\ntype cont_t;\nrole base_r;\nrole base_r types { base_t cont_t };\n"]
    + [f"allow {{ base_t cont_t }} {{ base_t cont_t }}:{c} {{ {p} }};\n" for c, p in PERMISSIONS.items()]
    + ["user user_u roles { base_r };\n"]
    + [f"sid {s} user_u:base_r:base_t\n" for s in SIDS]
    + ["genfscon proc / user_u:base_r:base_t\n"]
)
KEY_LABEL = r"""
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(void) {
    char label[256] = {0};
    syscall(SYS_keyctl, 17 /* KEYCTL_GET_SECURITY */, -3 /* session keyring */, label, sizeof label - 1);
    printf("key=%s\n", label);
}
"""
INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t tmpfs none /new
cp -a /bin /lib /lib64 /main /new/
mkdir -p /new/proc /new/sys /new/dev /new/run /new/tmp
exec switch_root /new /main
"""
HEAD = """#!/bin/busybox sh
export PATH=/bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
mount -t securityfs sec /sys/kernel/security; mount -t cgroup2 cg /sys/fs/cgroup
mount -t selinuxfs s /sys/fs/selinux 2>/dev/null
mkdir -p /b/rootfs/bin /b/rootfs/proc /b/rootfs/sys /b/rootfs/dev
cp /bin/busybox /bin/keylabel /b/rootfs/bin/
for n in sh cat; do ln -s busybox /b/rootfs/bin/$n; done
echo secret > /b/rootfs/denied
cd /b; runtime spec; echo
go() {
  sed -e 's/"terminal": true/"terminal": false/' -e 's/"noNewPrivileges": true/"noNewPrivileges": false/' \\
    -e "s|\\"cwd\\": \\"/\\"|\\"cwd\\": \\"/\\", $2|" config.json | tr -d '\\n' > t.json
  sed -i "s|\\"args\\": *\\[[^]]*\\]|\\"args\\": [\\"/bin/sh\\", \\"-c\\", \\"$3\\"]|" t.json
  mkdir /c; mv t.json /c/config.json; ln -s /b/rootfs /c/rootfs.link; sed -i 's|"path": "rootfs"|"path": "/b/rootfs"|' /c/config.json
  echo "$1: $(runtime run --bundle /c $1 2>&1 | tr '\\n' ' ')"; rm -r /c
}
"""
SHOW = "cat /proc/self/attr/current; cat /denied"
APPARMOR = HEAD + f"""
echo 'profile cf-test flags=(attach_disconnected) {{ file, capability, signal, ptrace, mount, umount, network, unix,
deny /denied rwklx, }}' > /tmp/p
apparmor_parser -K -a /tmp/p
go applied '"apparmorProfile": "cf-test"' '{SHOW}'
go empty '"apparmorProfile": ""' '{SHOW}'
go missing '"apparmorProfile": "no-such"' '{SHOW}'
go other '"selinuxLabel": "user_u:base_r:cont_t"' '{SHOW}'
poweroff -f
"""
KEYS = "cat /proc/self/attr/current; keylabel"
SELINUX = HEAD + f"""
go early '"selinuxLabel": "user_u:base_r:cont_t"' '{KEYS}'
dd if=/bin/policy of=/sys/fs/selinux/load bs=1M 2>/dev/null
go applied '"selinuxLabel": "user_u:base_r:cont_t"' '{KEYS}'
go empty '"selinuxLabel": ""' '{KEYS}'
go missing '"selinuxLabel": "user_u:base_r:no_t"' '{KEYS}'
go other '"apparmorProfile": "cf-test"' '{KEYS}'
poweroff -f
"""
EXPECTED = {
    "apparmor": {
        "applied": r"cf-test \(enforce\).*denied': Permission denied",
        "empty": r"unconfined.*secret",
        "missing": r"/process/apparmorProfile: .*no such file",
        "other": r"/process/selinuxLabel: selinux label is specified in config, but selinux is disabled",
    },
    "selinux": {
        "early": r"selinux is disabled or not supported",
        "applied": r"^user_u:base_r:cont_t.*key=user_u:base_r:cont_t",
        "empty": r"^user_u:base_r:base_t.*key=user_u:base_r:base_t",
        "missing": r"/process/selinuxLabel: .*no_t",
        "other": r"/process/apparmorProfile: apparmor: config provided but apparmor not supported",
    },
}


def initrd(tree, to):
    """cpio, format newc: there is not always a cpio(1)."""
    out = bytearray()

    def entry(name, mode, data=b"", device=(0, 0)):
        name = name.encode() + b"\0"
        fields = (len(out) + 1, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(name), 0)
        for part in (b"070701" + b"".join(b"%08x" % f for f in fields) + name, data):
            out.extend(part)
            out.extend(b"\0" * (-len(out) % 4))

    for folder, _, files in os.walk(tree):
        relative = os.path.relpath(folder, tree)
        if relative != ".":
            entry(relative, 0o40755)
        for name in files:
            with open(os.path.join(folder, name), "rb") as file:
                entry(os.path.normpath(os.path.join(relative, name)), 0o100755, file.read())
    entry("dev/console", 0o20600, device=(5, 1))
    entry("TRAILER!!!", 0)
    with open(to, "wb") as file:
        file.write(out)


def boot(kind, main, kernel, scratch, append):
    tree = os.path.join(scratch, "tree")
    for name, text in (("init", INIT), ("main", main)):
        with open(os.path.join(tree, name), "w") as file:
            file.write(text)
    initrd(tree, os.path.join(scratch, "initrd"))
    words = ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-m", "1024", "-nographic", "-no-reboot"]
    words += ["-kernel", kernel, "-initrd", os.path.join(scratch, "initrd")]
    words += ["-append", "console=ttyS0 panic=-1 quiet " + append]
    done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=300)
    said = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", done.stdout.decode(errors="replace"))
    failed = 0
    for name, wanted in EXPECTED[kind].items():
        line = next((l[len(name) + 2 :] for l in said.splitlines() if l.startswith(name + ": ")), "(nothing)")
        good = re.search(wanted, line) is not None
        failed += not good
        print(f"{'passed' if good else 'FAILED'}  {kind}::{name}  {line.strip()[:230]}")
    return failed


def main():
    kernel, runtime = sys.argv[1:3]
    scratch = tempfile.mkdtemp(prefix="guest-lsm-", dir=sys.argv[3] if len(sys.argv) > 3 else None)
    tree = os.path.join(scratch, "tree")
    for folder in ("bin", "lib/x86_64-linux-gnu", "lib64", "proc", "sys", "dev", "new"):
        os.makedirs(os.path.join(tree, folder))
    for package in ("apparmor", "checkpolicy"):
        subprocess.run(["apt-get", "download", package], cwd=scratch, check=True, stdout=subprocess.DEVNULL)
    for package in (name for name in os.listdir(scratch) if name.endswith(".deb")):
        subprocess.run(["dpkg", "-x", package, "packages"], cwd=scratch, check=True)
    with open(os.path.join(scratch, "policy.conf"), "w") as file:
        file.write(POLICY)
    words = ["packages/usr/bin/checkpolicy", "-U", "allow", "-c", "33", "-o", "tree/bin/policy", "policy.conf"]
    subprocess.run(words, cwd=scratch, check=True)
    words = ["cc", "-static", "-x", "c", "-", "-o", os.path.join(tree, "bin/keylabel")]
    subprocess.run(words, input=KEY_LABEL.encode(), check=True)
    for source, to in (
        ("/bin/busybox", "bin/busybox"),
        (runtime, "bin/runtime"),
        (os.path.join(scratch, "packages/sbin/apparmor_parser"), "bin/apparmor_parser"),
        ("/lib/x86_64-linux-gnu/libc.so.6", "lib/x86_64-linux-gnu/libc.so.6"),
        ("/lib64/ld-linux-x86-64.so.2", "lib64/ld-linux-x86-64.so.2"),
    ):
        shutil.copy(source, os.path.join(tree, to))
    failed = boot("apparmor", APPARMOR, kernel, scratch, "")
    failed += boot("selinux", SELINUX, kernel, scratch, "security=selinux selinux=1 enforcing=0")
    shutil.rmtree(scratch)
    sys.exit(failed > 0)


main()
