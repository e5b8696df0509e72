//! Any bytes are an error or a spec, never a panic; a spec survives being written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use runtime_core::spec::parse;

fuzz_target!(|bytes: &[u8]| {
    match parse(bytes) {
        Ok(spec) => {
            let text = serde_json::to_vec(&spec).expect("a spec can be written");
            assert_eq!(parse(&text).as_ref(), Ok(&spec));
        }
        Err(problems) => assert!(!problems.is_empty(), "an error names a problem"),
    }
});
