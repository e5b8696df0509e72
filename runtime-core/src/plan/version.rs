//! `ociVersion`: a version by the rules of Semantic Versioning 2, whichever it is. What a newer one adds is not known here
//! and passed over, as the spec wants it.

use super::Context;

pub(super) fn check(cx: &mut Context<'_>) {
    let Some(version) = cx.spec.oci_version.as_deref().filter(|version| !version.is_empty()) else { return };
    if !is_semantic(version) {
        cx.problem("/ociVersion", format!("{version:?} is not a version like \"1.3.0\" (semver.org)"));
    }
}

fn is_semantic(version: &str) -> bool {
    let (version, build) = version.split_once('+').map_or((version, None), |(version, build)| (version, Some(build)));
    let (core, pre) = version.split_once('-').map_or((version, None), |(core, pre)| (core, Some(pre)));
    let numbers: Vec<&str> = core.split('.').collect();
    numbers.len() == 3
        && numbers.into_iter().all(is_number)
        && pre.is_none_or(|pre| words(pre).all(|word| is_word(word) && (!is_digits(word) || is_number(word))))
        && build.is_none_or(|build| words(build).all(is_word))
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split('.')
}

fn is_word(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn is_digits(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_number(word: &str) -> bool {
    !word.is_empty() && is_digits(word) && (word == "0" || !word.starts_with('0'))
}

#[cfg(test)]
mod tests {
    use super::is_semantic;

    #[test]
    fn semantic_versions() {
        for good in ["1.0.0", "1.3.0", "2.11.0", "1.0.2-dev", "1.2.1+dev", "1.0.0-rc5-dev", "1.0.0-a.1+b.01"] {
            assert!(is_semantic(good), "{good}");
        }
        for bad in
            ["invalid", "1", "1.3", "1.3.0.0", "v1.3.0", "01.3.0", "1.3.", "1.3.0-", "1.3.0-01", "1.3.0+", "1.3.0 "]
        {
            assert!(!is_semantic(bad), "{bad}");
        }
    }
}
