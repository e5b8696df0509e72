//! The process's own plumbing, and the only `unsafe` of the command line: the entry point, descriptors that were
//! inherited, signal dispositions and the size of a terminal.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::sys::stat::Mode;

/// C entry point: without the standard library's own start-up code a verb starts about 25 µs sooner.
// SAFETY: the only definition of `main` in this program, with the C ABI the start code expects.
#[cfg(not(test))]
#[unsafe(no_mangle)]
extern "C" fn main(argc: libc::c_int, argv: *const *const libc::c_char) -> libc::c_int {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let count = usize::try_from(argc).unwrap_or(0);
    let arguments = (0..count).map(|at| {
        // SAFETY: the C start-up code hands over `argc` valid, NUL-terminated strings that live as long as the process.
        let text = unsafe { CStr::from_ptr(*argv.add(at)) };
        OsStr::from_bytes(text.to_bytes()).to_owned()
    });
    let arguments = arguments.collect();
    match settle() {
        Ok(()) => crate::main(arguments),
        Err(errno) => {
            let message = format!(
                "0, 1 and 2 are not all open, and /dev/null cannot stand in: {}",
                runtime_core::describe(errno as i32)
            );
            if open_streams()[2] {
                crate::log::Logger::default().fail(&message);
            }
            1
        }
    }
}

/// Makes a hostile inheritance harmless: 0, 1 and 2 are open (else the next file opened becomes the container's
/// stdout), SIGCHLD is not ignored (else exit statuses are lost), and a closed pipe or a limit on the size of files
/// (RLIMIT_FSIZE) is an error, not a death in the middle of `create`. Blocked, not ignored: whatever starts a program for
/// us gives it an empty mask, while what is ignored would be inherited.
#[cfg_attr(test, allow(dead_code))]
fn settle() -> Result<(), Errno> {
    for there in open_streams() {
        if !there {
            // Lowest free number, so the one that is missing; not close-on-exec, as it stands in for one that was inherited.
            std::mem::forget(nix::fcntl::open("/dev/null", OFlag::O_RDWR, Mode::empty())?);
        }
    }
    let _ = SigSet::from_iter([Signal::SIGPIPE, Signal::SIGXFSZ]).thread_block();
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: SIG_DFL runs no code of ours.
    let _ = unsafe { sigaction(Signal::SIGCHLD, &default) };
    Ok(())
}

/// Whether 0, 1 and 2 are open, by one system call.
#[cfg_attr(test, allow(dead_code))]
fn open_streams() -> [bool; 3] {
    let mut streams = [0, 1, 2].map(|fd| libc::pollfd { fd, events: 0, revents: 0 });
    // SAFETY: poll reads and writes these three, borrowed exclusively for the call, and does not wait.
    unsafe { libc::poll(streams.as_mut_ptr(), streams.len() as libc::nfds_t, 0) };
    streams.map(|stream| stream.revents & libc::POLLNVAL == 0)
}

fn descriptor_flags(fd: RawFd) -> Result<libc::c_int, Errno> {
    // SAFETY: F_GETFD takes no pointer and changes nothing; any number is allowed.
    Errno::result(unsafe { libc::fcntl(fd, libc::F_GETFD) })
}

/// Standard stream 0, 1 or 2.
pub fn stream(number: u8) -> BorrowedFd<'static> {
    // SAFETY: `settle` made sure that 0, 1 and 2 are open before anything else ran, and nothing closes them.
    unsafe { BorrowedFd::borrow_raw(RawFd::from(number.min(2))) }
}

/// Descriptor `fd` if the process was started with it. One that is close-on-exec cannot have been: it is ours.
pub fn inherited(fd: RawFd) -> Result<BorrowedFd<'static>, Errno> {
    if descriptor_flags(fd)? & libc::FD_CLOEXEC != 0 {
        return Err(Errno::EBADF);
    }
    // SAFETY: the descriptor is open, and as everything this process opens is close-on-exec and owned elsewhere, no
    // code of this process ever closes one that is not: it stays open until the process ends.
    Ok(unsafe { BorrowedFd::borrow_raw(fd) })
}

/// An extended regular expression, see regex(7).
pub struct Pattern(Box<libc::regex_t>);

impl Pattern {
    /// Compiles `text`; an error says what is wrong with it.
    pub fn new(text: &str) -> Result<Self, String> {
        let text = CString::new(text).map_err(|_| "it has a NUL byte".to_owned())?;
        let mut compiled = Box::new(MaybeUninit::<libc::regex_t>::zeroed());
        // SAFETY: the text ends in NUL, and `compiled` is a `regex_t` to be filled, on the heap so that it stays put.
        let code = unsafe { libc::regcomp(compiled.as_mut_ptr(), text.as_ptr(), libc::REG_EXTENDED | libc::REG_NOSUB) };
        if code == 0 {
            // SAFETY: regcomp(3) has filled it; all zeros were a valid `regex_t` to begin with.
            return Ok(Self(unsafe { compiled.assume_init() }));
        }
        let mut message = [0_u8; 128];
        // SAFETY: writes at most the given size, NUL included, and only reads the structure, which is initialized.
        unsafe { libc::regerror(code, compiled.as_ptr(), message.as_mut_ptr().cast(), message.len()) };
        Err(CStr::from_bytes_until_nul(&message).unwrap_or_default().to_string_lossy().into_owned())
    }

    /// Whether some part of `text` matches.
    pub fn matches(&self, text: &str) -> bool {
        let Ok(text) = CString::new(text) else { return false };
        // SAFETY: `self` was compiled, the text ends in NUL, and no places of matches are asked for.
        unsafe { libc::regexec(&raw const *self.0, text.as_ptr(), 0, std::ptr::null_mut(), 0) == 0 }
    }
}

impl Drop for Pattern {
    fn drop(&mut self) {
        // SAFETY: `self` was compiled, and is freed once.
        unsafe { libc::regfree(&raw mut *self.0) };
    }
}

mod ioctl {
    nix::ioctl_read_bad!(get_size, libc::TIOCGWINSZ, libc::winsize);
    nix::ioctl_write_ptr_bad!(set_size, libc::TIOCSWINSZ, libc::winsize);
}

/// Size of the terminal `fd`.
pub fn window_size(fd: BorrowedFd<'_>) -> Result<libc::winsize, Errno> {
    use std::os::fd::AsRawFd;
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ writes one `winsize`, and `size` is one, borrowed exclusively for the call.
    unsafe { ioctl::get_size(fd.as_raw_fd(), &mut size) }?;
    Ok(size)
}

/// Sets the size of the terminal `fd`; the kernel then sends SIGWINCH to its foreground process group.
pub fn set_window_size(fd: BorrowedFd<'_>, size: &libc::winsize) -> Result<(), Errno> {
    use std::os::fd::AsRawFd;
    // SAFETY: TIOCSWINSZ reads one `winsize`, and `size` is one, alive for the call.
    unsafe { ioctl::set_size(fd.as_raw_fd(), size) }.map(drop)
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[test]
    fn patterns() {
        let matches = |pattern: &str, text: &str| Pattern::new(pattern).unwrap().matches(text);
        assert!(matches("^a[0-9]+$", "a17") && matches("b|c", "xcx") && matches("", "x"));
        assert!(!matches("^a[0-9]+$", "a17b") && !matches("a+b", "aa") && !matches(".", "a\0"));
        for wrong in ["(", "[a", "*", "a{2,1}", "a\0b"] {
            assert!(Pattern::new(wrong).is_err_and(|message| !message.is_empty()), "{wrong}");
        }
    }
}
