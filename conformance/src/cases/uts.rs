//! `hostname` and `domainname`.

use crate::cases;
use crate::check_eq;
use crate::test::{Outcome, Test};
use serde_json::json;
use std::fs;

cases!["uts": domainname, hostname, long_hostname, bad_names_are_refused];

fn domainname(t: &Test) -> Outcome {
    let bundle = t.bundle()?.with("/hostname", json!("inner")).with("/domainname", json!("example.org"));
    let report = t.report(&bundle)?;
    check_eq!(report.at("/uts/hostname"), &json!("inner"), "host name");
    check_eq!(report.at("/uts/domainname"), &json!("example.org"), "domain name");
    Ok(())
}

fn hostname(t: &Test) -> Outcome {
    let own = || nix::sys::utsname::uname().map(|names| names.nodename().to_owned());
    let before = own()?;
    let report = t.report(&t.bundle()?.with("/hostname", json!("inside-1")))?;
    check_eq!(report.at("/uts/hostname"), &json!("inside-1"), "host name");
    check_eq!(own()?, before, "the host's own name");
    Ok(())
}

fn long_hostname(t: &Test) -> Outcome {
    let report = t.report(&t.bundle()?.with("/hostname", json!("x".repeat(64))))?;
    check_eq!(report.at("/uts/hostname"), &json!("x".repeat(64)), "host name of 64 bytes");
    t.run_refused(&t.bundle()?.with("/hostname", json!("x".repeat(65))), "").map(drop)
}

fn bad_names_are_refused(t: &Test) -> Outcome {
    for property in ["/hostname", "/domainname"] {
        t.run_refused(&t.bundle()?.with(property, json!("x".repeat(65))), &property[1..])?;
        fs::remove_dir_all(t.folder.join("bundle"))?;
        let mut bundle = t.bundle()?;
        bundle.remove("/hostname");
        bundle.set(property, json!("x"));
        bundle.drop_namespace("uts");
        t.run_refused(&bundle, "private uts namespace")?;
        fs::remove_dir_all(t.folder.join("bundle"))?;
    }
    Ok(())
}
