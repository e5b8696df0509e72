//! What a bundle's seccomp profile says of one system call.

use super::create::{absolute, config};
use crate::seccomp::{Arch, Explanation};
use crate::{Create, Error, Result};

/// The verdict on `call`; `None`: there is no profile.
pub(crate) fn explain(request: &Create<'_>, call: &str, args: &[u64]) -> Result<Option<Vec<Explanation>>> {
    let (spec, _) = config(&absolute(request.bundle)?, request.config)?;
    let Some(profile) = spec.linux.and_then(|linux| linux.seccomp) else { return Ok(None) };
    let explained = crate::seccomp::explain(&profile, Arch::native(), call, args);
    explained.map(Some).map_err(|problems| Error::problems("config.json", problems))
}
