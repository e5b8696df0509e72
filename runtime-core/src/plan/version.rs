//! `ociVersion`: of which specification the config is. Any version will do, but it has to be one (config.md,
//! "Specification version").

use super::Context;

pub(super) fn check(cx: &mut Context<'_>) {
    let Some(version) = cx.spec.oci_version.as_deref() else { return };
    if !is_version(version) {
        cx.problem("/ociVersion", format!("{version:?} is no version: three numbers and dots (SemVer 2.0.0)"));
    }
}

/// SemVer 2.0.0, sections 2, 9 and 10.
fn is_version(text: &str) -> bool {
    let (text, build) = text.split_once('+').map_or((text, None), |(text, build)| (text, Some(build)));
    let (core, early) = text.split_once('-').map_or((text, None), |(core, early)| (core, Some(early)));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let number = |part: &str| digits(part) && (part == "0" || !part.starts_with('0'));
    let name = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    core.split('.').count() == 3
        && core.split('.').all(number)
        && early.is_none_or(|early| early.split('.').all(|part| name(part) && (!digits(part) || number(part))))
        && build.is_none_or(|build| build.split('.').all(name))
}

#[cfg(test)]
mod tests {
    use super::is_version;

    #[test]
    fn versions() {
        for good in ["1.0.0", "1.3.0", "1.0.2-dev", "1.0.0-rc5-dev", "1.1.0+dev", "1.0.0-rc.1+b.01", "10.20.30"] {
            assert!(is_version(good), "{good}");
        }
        for bad in [
            "", "1", "1.0", "1.0.0.0", "v1.0.0", "invalid", "1.0.x", "01.0.0", "1.0.0-", "1.0.0-01", "1.0.0+", " 1.0.0",
        ] {
            assert!(!is_version(bad), "{bad}");
        }
    }
}
