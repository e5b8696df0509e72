//! linux.netDevices: devices of the host move in with their addresses, and back out of a create that fails.
//!
//! "The host" is a network namespace of each test's own, with a veth pair in it.

use crate::bundle::Bundle;
use crate::cases;
use crate::command::Output;
use crate::report::Report;
use crate::test::{Outcome, Test};
use crate::{check, check_eq};
use serde_json::{Value, json};

cases!["net_device":
    moves_with_its_addresses, gets_another_name, template_gets_a_number, several_at_once, into_a_joined_namespace,
    with_a_user_namespace, missing_is_refused, loopback_is_refused, taken_name_is_refused,
    without_namespace_is_refused, into_the_hosts_namespace_is_refused, bad_names_are_refused,
    failed_create_moves_it_back,
];

/// Makes the pair, runs the words, and prints what is left on "the host" to stderr.
const HOST: &str = "ip link set lo up && ip link add cfa type veth peer name cfb && \
    ip addr add 192.0.2.77/25 brd 192.0.2.127 dev cfa && ip addr add 169.254.9.9/16 scope link dev cfa && \
    ip -6 addr add 2001:db8::77/64 dev cfa nodad && ip link set cfa up && ip link set cfb up || exit 99
    \"$@\"; code=$?; { ip -o addr show; ip -o link show; } | sed 's/^/host: /' >&2; exit $code";

fn run(t: &Test, bundle: &Bundle) -> Outcome<Output> {
    t.run_behind(&["unshare", "--net", "sh", "-c", HOST, "sh"], bundle)
}

/// The probe looks at its devices and addresses.
fn looking(t: &Test, devices: Value) -> Outcome<Bundle> {
    let bundle = t.bundle()?.with("/linux/netDevices", devices);
    Ok(bundle.looking_at(&["/sys/class/net", "/proc/net/fib_trie", "/proc/net/if_inet6", "/sys/class/net/cfa/flags"]))
}

fn moved(t: &Test, bundle: &Bundle) -> Outcome<(Report, String)> {
    let output = run(t, bundle)?;
    check_eq!(output.code, 0, "run: {}", output.stderr);
    Ok((Report::parse(&output.stdout)?, output.stderr))
}

fn devices(report: &Report) -> Vec<String> {
    let list = report.path("/sys/class/net")["list"].as_array().cloned().unwrap_or_default();
    list.iter().filter_map(|name| name.as_str().map(str::to_owned)).filter(|name| !name.starts_with("ifb")).collect()
}

fn has_addresses(report: &Report, name: &str) -> Outcome {
    let four = report.path("/proc/net/fib_trie")["read"].as_str().unwrap_or_default();
    check!(four.contains("192.0.2.77"), "the IPv4 address is gone: {four}");
    check!(!four.contains("169.254.9.9"), "an address of link scope moved along: {four}");
    let six = report.path("/proc/net/if_inet6")["read"].as_str().unwrap_or_default();
    let line = six.lines().find(|line| line.starts_with("20010db8000000000000000000000077")).unwrap_or_default();
    check!(line.ends_with(name), "the IPv6 address is not on {name}: {six}");
    Ok(())
}

fn moves_with_its_addresses(t: &Test) -> Outcome {
    let bundle = looking(t, json!({ "cfa": {} }))?;
    let (report, host) = moved(t, &bundle)?;
    check_eq!(devices(&report), ["cfa", "lo"], "devices");
    has_addresses(&report, "cfa")?;
    let flags = report.path("/sys/class/net/cfa/flags")["read"].as_str().unwrap_or_default().trim().to_owned();
    let flags = u32::from_str_radix(flags.trim_start_matches("0x"), 16).unwrap_or(0);
    check_eq!(flags & 1, 1, "IFF_UP of flags {flags:#x}");
    // The container has ended, and a veth with its namespace: nothing comes back.
    check!(!host.contains("cfa"), "the device is on the host: {host}");
    Ok(())
}

fn gets_another_name(t: &Test) -> Outcome {
    let (report, _) = moved(t, &looking(t, json!({ "cfa": { "name": "eth0" } }))?)?;
    check_eq!(devices(&report), ["eth0", "lo"], "devices");
    has_addresses(&report, "eth0")
}

fn template_gets_a_number(t: &Test) -> Outcome {
    let (report, _) = moved(t, &looking(t, json!({ "cfa": { "name": "net%d" } }))?)?;
    check_eq!(devices(&report), ["lo", "net0"], "devices");
    has_addresses(&report, "net0")
}

fn several_at_once(t: &Test) -> Outcome {
    let (report, host) = moved(t, &looking(t, json!({ "cfa": { "name": "net%d" }, "cfb": { "name": "net%d" } }))?)?;
    check_eq!(devices(&report), ["lo", "net0", "net1"], "devices");
    check!(!host.contains("cfb"), "the device is on the host: {host}");
    Ok(())
}

fn into_a_joined_namespace(t: &Test) -> Outcome {
    let pid = t.sleeper(t.bundle()?)?;
    // Both ends: what stays behind ends with "the host", and takes the other end with it.
    let mut bundle = t.bundle_named("two")?.with("/linux/netDevices", json!({ "cfa": { "name": "eth7" }, "cfb": {} }));
    bundle.namespace("network", &format!("/proc/{pid}/ns/net"));
    let args = ["run", "--bundle", &bundle.saved()?, &format!("{}two", t.id)];
    let output = t.finish(t.command(&["unshare", "--net", "sh", "-c", HOST, "sh"], &args))?;
    check_eq!(output.code, 0, "run: {}", output.stderr);
    let seen = std::process::Command::new("nsenter")
        .args([&format!("--net=/proc/{pid}/ns/net"), "ip", "-o", "addr", "show", "dev", "eth7"])
        .output()?;
    let seen = String::from_utf8_lossy(&seen.stdout).into_owned();
    check!(seen.contains("192.0.2.77/25"), "the first container's namespace has {seen:?}");
    t.delete().map(drop)
}

fn with_a_user_namespace(t: &Test) -> Outcome {
    let mut bundle = looking(t, json!({ "cfa": { "name": "eth0" } }))?;
    bundle.map_root()?;
    let (report, _) = moved(t, &bundle)?;
    check_eq!(devices(&report), ["eth0", "lo"], "devices");
    has_addresses(&report, "eth0")
}

fn refused(t: &Test, bundle: &Bundle, text: &str) -> Outcome {
    let output = run(t, bundle)?;
    check_eq!(output.code, 1, "run: {}", output.stderr);
    check!(output.stdout.is_empty(), "something ran: {}", output.stdout);
    check!(output.stderr.contains(text), "does not say {text:?}: {}", output.stderr);
    on_the_host(&output)
}

/// The pair is as it was.
fn on_the_host(output: &Output) -> Outcome {
    for wanted in
        ["cfa    inet 192.0.2.77/25 brd 192.0.2.127 scope global", "cfa    inet6 2001:db8::77/64 scope global"]
    {
        check!(output.stderr.contains(wanted), "the host has lost {wanted:?}: {}", output.stderr);
    }
    Ok(())
}

fn missing_is_refused(t: &Test) -> Outcome {
    refused(t, &looking(t, json!({ "cfa": {}, "cfz": {} }))?, "cfz")
}

fn loopback_is_refused(t: &Test) -> Outcome {
    refused(t, &looking(t, json!({ "lo": { "name": "lo9" } }))?, "cannot leave its network namespace")
}

fn taken_name_is_refused(t: &Test) -> Outcome {
    refused(t, &looking(t, json!({ "cfa": { "name": "lo" } }))?, "\\\"lo\\\"")?;
    refused(t, &looking(t, json!({ "cfa": { "name": "same" }, "cfb": { "name": "same" } }))?, "same")
}

fn without_namespace_is_refused(t: &Test) -> Outcome {
    let mut bundle = looking(t, json!({ "cfa": {} }))?;
    bundle.drop_namespace("network");
    bundle.drop_mount("/sys");
    refused(t, &bundle, "unable to move network devices without a NET namespace")
}

fn into_the_hosts_namespace_is_refused(t: &Test) -> Outcome {
    let mut bundle = looking(t, json!({ "cfa": { "name": "cfc" } }))?;
    bundle.namespace("network", "/proc/self/ns/net");
    refused(t, &bundle, "network namespace")
}

fn bad_names_are_refused(t: &Test) -> Outcome {
    for name in ["0123456789abcdef", "a/b", "a:b", "a b", ".", "..", "%s", "a%d%d", "100%"] {
        let bundle = looking(t, json!({ "cfa": { "name": name } }))?;
        refused(t, &bundle, "invalid network device name").map_err(|e| format!("{name:?}: {e:?}"))?;
    }
    Ok(())
}

/// "As though it had not been tried": a later step fails, and the device is where and what it was.
fn failed_create_moves_it_back(t: &Test) -> Outcome {
    let mut bundle = looking(t, json!({ "cfa": { "name": "eth0" }, "cfb": { "name": "net%d" } }))?;
    bundle.set("/process/args", json!(["/no/such/program"]));
    let output = run(t, &bundle)?;
    check_eq!(output.code, 1, "run: {}", output.stderr);
    on_the_host(&output)?;
    check!(output.stderr.contains(": cfb"), "the other device is not on the host: {}", output.stderr);
    Ok(())
}
