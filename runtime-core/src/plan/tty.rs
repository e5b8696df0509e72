//! `process.terminal`.

use runtime_stage::fail::Step;
use serde::Serialize;

use super::{Context, Receiver};

/// A terminal is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Terminal {
    /// Rows; 0 with columns 0: as the kernel makes it.
    pub rows: u16,
    /// Columns.
    pub columns: u16,
}

pub(super) fn plan(cx: &mut Context<'_>) -> Option<Terminal> {
    let process = cx.spec.process.as_ref()?;
    if !process.terminal {
        if cx.request.console == Receiver::Socket {
            cx.problem("/process/terminal", "cannot use console socket if runc will not detach or allocate tty");
        }
        return None;
    }
    if cx.request.console == Receiver::Nobody {
        cx.problem("/process/terminal", "cannot allocate tty if runc will detach without setting console socket");
    }
    let large = |size: u32| u16::try_from(size).is_err();
    if process.console_size.as_ref().is_some_and(|size| large(size.height) || large(size.width)) {
        cx.problem("/process/consoleSize", "a terminal has at most 65535 rows and columns");
    }
    let size = process.console_size.as_ref().and_then(|size| {
        Some((u16::try_from(size.height).ok()?, u16::try_from(size.width).ok()?))
            .filter(|(rows, columns)| *rows != 0 && *columns != 0)
    });
    let (rows, columns) = size.or(cx.request.console_size).unwrap_or_default();
    let whats = [
        "open /dev/pts/ptmx",
        "open the terminal's other side",
        "mount the terminal on /dev/console",
        "hand the terminal over",
        "take the terminal",
    ];
    for (index, what) in whats.into_iter().enumerate() {
        cx.origins.note(Step::Terminal, index, "/process/terminal", what);
    }
    Some(Terminal { rows, columns })
}
