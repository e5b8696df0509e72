#!/usr/bin/env python3
"""Default seccomp profiles of Docker, Podman and containerd, as their engines resolve them.

Takes Debian's packages of their sources (apt-get download, nothing is installed) and writes plain OCI profiles to
target/seccomp-profiles/, for x86_64 and aarch64, with Docker's default capabilities and with all of them.
The tests compare our compiler with libseccomp on whatever they find there. The profiles are not ours to ship.

usage: seccomp-profiles.py [DIRECTORY-WITH-UNPACKED-PACKAGES]
"""
import json
import os
import re
import subprocess
import sys

PACKAGES = ["golang-github-containers-common", "golang-github-docker-docker-dev", "golang-github-containerd-containerd-dev"]
HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
OUT = os.path.join(HERE, "target", "seccomp-profiles")
GO = "usr/share/gocode/src/github.com/"
# What Docker gives a container.
DEFAULT = {"CAP_" + name for name in (
    "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL "
    "AUDIT_WRITE").split()}
ALL = DEFAULT | {"CAP_" + name for name in (
    "DAC_READ_SEARCH SYS_ADMIN SYS_BOOT SYS_MODULE SYS_PACCT SYS_PTRACE SYS_RAWIO SYS_TIME SYS_TTY_CONFIG SYS_NICE "
    "SYSLOG BPF PERFMON AUDIT_READ").split()}
MACHINES = {"amd64": "SCMP_ARCH_X86_64", "arm64": "SCMP_ARCH_AARCH64"}


def fetch(into):
    os.makedirs(into, exist_ok=True)
    subprocess.run(["apt-get", "download", "-qq", *PACKAGES], cwd=into, check=True, stderr=subprocess.DEVNULL)
    for name in os.listdir(into):
        if name.endswith(".deb"):
            subprocess.run(["dpkg", "-x", os.path.join(into, name), into], check=True)
    return into


def resolve(profile, goarch, caps):
    """Docker's format: architectures by machine, rules with conditions on machine, capabilities, kernel."""
    native = MACHINES[goarch]
    arches = [native]
    for entry in profile.get("archMap") or []:
        if entry["architecture"] == native:
            arches += entry["subArchitectures"] or []
    rules = []
    for rule in profile["syscalls"]:
        has, without = rule.get("includes") or {}, rule.get("excludes") or {}
        if has.get("arches") and goarch not in has["arches"] or goarch in (without.get("arches") or []):
            continue
        if not set(has.get("caps") or []) <= caps or set(without.get("caps") or []) & caps:
            continue
        kept = {"names": rule.get("names") or [rule["name"]], "action": rule["action"]}
        for key in ("errnoRet", "args"):
            if rule.get(key) is not None:
                kept[key] = rule[key]
        rules.append(kept)
    out = {key: profile[key] for key in ("defaultAction", "defaultErrnoRet") if key in profile}
    return {**out, "architectures": arches, "syscalls": rules}


def containerd(source, goarch, caps):
    """containerd's is a Go function: the literals of its rules, and the cases they stand in."""
    arches = re.search(r'case "%s":\s+return \[\]specs.Arch\{(.*?)\}' % goarch, source).group(1)
    arches = [name.strip().replace("specs.Arch", "SCMP_ARCH_").upper() for name in arches.split(",")]
    rules, case, guard = [], None, None
    constants = {name: value for name, value in zip(
        "NEWNS NEWCGROUP NEWUTS NEWIPC NEWUSER NEWPID NEWNET".split(),
        (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000))}

    def number(text):
        total = 0
        for part in text.split("|"):
            part = part.strip()
            name = part.removeprefix("unix.CLONE_")
            total |= constants[name] if name in constants else {"unix.AF_ALG": 38, "unix.AF_VSOCK": 40}.get(part) or int(part, 0)
        return total

    def applies():
        if guard == "admin" and "CAP_SYS_ADMIN" in caps:
            return False
        if case is None:
            return True
        if case == ["default"]:
            return goarch not in ("s390", "s390x")
        return any(name in caps or name == goarch for name in case)

    lines = iter(source[source.index("func DefaultProfile"):].splitlines())
    rule = arg = None
    names = False
    for line in lines:
        text = line.strip()
        if match := re.match(r"case (.*):$", text):
            case = [name.strip().strip('"') for name in match.group(1).split(",")]
        elif text == "default:":
            case = ["default"]
        elif re.match(r"switch|for _, c :=", text):
            case = None
        elif re.match(r"if !admin", text):
            guard, case = "admin", None
        elif text.startswith("return"):
            break
        if "Names:" in text:
            rule = {"names": re.findall(r'"(\w+)"', text), "action": None}
            names = not text.rstrip(",").endswith("}")
        elif names and rule and (match := re.match(r'"(\w+)",$', text)):
            rule["names"].append(match.group(1))
        elif text == "}," and names:
            names = False
        elif match := re.match(r"Action:\s+specs.Act(\w+),", text):
            rule["action"] = "SCMP_ACT_" + match.group(1).upper()
            if applies():
                rules.append(rule)
        elif "ErrnoRet:" in text:
            rule["errnoRet"] = 38
        elif match := re.match(r"Index:\s+(\d)", text):
            arg = {"index": int(match.group(1)), "valueTwo": 0}
            rule.setdefault("args", []).append(arg)
        elif match := re.match(r"Value:\s+(.*?),", text):
            arg["value"] = number(match.group(1))
        elif match := re.match(r"Op:\s+specs.Op(\w+)", text):
            ops = {"EqualTo": "EQ", "NotEqual": "NE", "MaskedEqual": "MASKED_EQ"}
            arg["op"] = "SCMP_CMP_" + ops[match.group(1)]
    return {"defaultAction": "SCMP_ACT_ERRNO", "architectures": arches, "syscalls": rules}


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else fetch(os.path.join(HERE, "target", "seccomp-sources"))
    os.makedirs(OUT, exist_ok=True)
    read = lambda path: open(os.path.join(root, path)).read()
    docker = json.loads(read(GO + "docker/docker/profiles/seccomp/default.json"))
    podman = json.loads(read("usr/share/containers/seccomp.json"))
    source = read(GO + "containerd/containerd/contrib/seccomp/seccomp_default.go")
    for goarch in MACHINES:
        for label, caps in (("default", DEFAULT), ("all", ALL)):
            profiles = {
                "docker": resolve(docker, goarch, caps),
                "podman": resolve(podman, goarch, caps),
                "containerd": containerd(source, goarch, caps),
            }
            for engine, profile in profiles.items():
                with open(os.path.join(OUT, f"{engine}-{goarch}-{label}.json"), "w") as file:
                    json.dump(profile, file, indent=1)
                names = sum(len(rule["names"]) for rule in profile["syscalls"])
                print(f"{engine} {goarch} {label}: {len(profile['syscalls'])} rules, {names} names, {profile['architectures']}")


main()
