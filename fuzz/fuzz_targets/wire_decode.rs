//! Whatever bytes the stage is given, it reads or refuses them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use runtime_core::plan::check;

fuzz_target!(|bytes: &[u8]| {
    check::reads(bytes);
    // Past the first word.
    check::reads(&[b"rtp1".as_slice(), bytes].concat());
});
