//! libseccomp, asked through a small C program that is compiled when the tests run: the test binary is
//! static and cannot load a library.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;

use runtime_core::seccomp::Arch;
use runtime_core::spec::{Seccomp, SyscallArg};

/// Numbers libseccomp 2.5.4 sees differently on Docker's profile, each explained in docs/seccomp.md.
pub const KNOWN_DIFFERENCES: &[(Arch, &[u32])] = &[(Arch::Parisc64, &[140]), (Arch::S390, &[447])];

pub struct Scmp {
    program: PathBuf,
    numbers: Mutex<HashMap<Arch, HashMap<String, i32>>>,
}

/// Return value of a filter as libseccomp writes it, which is the kernel's but for the kills.
pub fn action(name: &str, errno: Option<u32>) -> u32 {
    match name {
        "SCMP_ACT_ALLOW" => 0x7fff_0000,
        "SCMP_ACT_LOG" => 0x7ffc_0000,
        "SCMP_ACT_TRACE" => 0x7ff0_0000 | errno.unwrap_or(1),
        "SCMP_ACT_ERRNO" => 0x0005_0000 | errno.unwrap_or(1),
        "SCMP_ACT_TRAP" => 0x0003_0000,
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => 0,
        "SCMP_ACT_KILL_PROCESS" => 0x8000_0000,
        other => panic!("{other}"),
    }
}

/// libseccomp's token: the audit value, but for x32.
fn token(arch: Arch) -> u32 {
    if arch == Arch::X32 { 0x4000_003e } else { arch.audit() }
}

impl Scmp {
    /// `None` where there is no C compiler or no libseccomp to build against.
    pub fn load() -> Option<Scmp> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/seccomp/scmp.c");
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("scmp");
        let built = Command::new("cc").arg("-o").arg(&program).arg(source).arg("-lseccomp").output();
        let built = built.is_ok_and(|output| output.status.success());
        built.then(|| Scmp { program, numbers: Mutex::new(HashMap::new()) })
    }

    fn ask(&self, what: &str, input: &str) -> Output {
        let piped = || Stdio::piped();
        let mut child =
            Command::new(&self.program).arg(what).stdin(piped()).stdout(piped()).stderr(piped()).spawn().unwrap();
        // A refusal ends the program before it has read everything; it answers nothing before the end.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }

    fn resolve(&self, arch: Arch, name: &str) -> i32 {
        let mut numbers = self.numbers.lock().unwrap();
        let of_arch = numbers.entry(arch).or_default();
        if let Some(&number) = of_arch.get(name) {
            return number;
        }
        let output = self.ask("numbers", &format!("{} {name}\n", token(arch)));
        let number = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
        of_arch.insert(name.to_owned(), number);
        number
    }

    /// Asks for many names at once: one process in place of one each.
    pub fn learn<'a>(&self, arch: Arch, names: impl Iterator<Item = &'a str>) {
        let mut numbers = self.numbers.lock().unwrap();
        let of_arch = numbers.entry(arch).or_default();
        let names: Vec<&str> = names.filter(|name| !of_arch.contains_key(*name)).collect();
        let input = names.iter().fold(String::new(), |input, name| format!("{input}{} {name}\n", token(arch)));
        let output = String::from_utf8(self.ask("numbers", &input).stdout).unwrap();
        assert_eq!(output.lines().count(), names.len());
        for (name, number) in names.iter().zip(output.lines()) {
            of_arch.insert((*name).to_owned(), number.parse().unwrap());
        }
    }

    pub fn knows(&self, name: &str) -> bool {
        self.resolve(Arch::X86_64, name) != -1
    }

    /// The number of a call; none where libseccomp sees it through a multiplexer only.
    pub fn number(&self, arch: Arch, name: &str) -> Option<u32> {
        u32::try_from(self.resolve(arch, name)).ok()
    }

    /// The exported program, in this machine's byte order; an errno where libseccomp refuses.
    pub fn compile(&self, profile: &Seccomp, native: Arch) -> Result<Vec<u8>, i32> {
        let default = action(profile.default_action.as_deref().unwrap(), profile.default_errno_ret);
        let mut input = format!("default {default}\nnative {}\n", token(native));
        for name in profile.architectures.iter().flatten() {
            let arch = Arch::from_name(name).unwrap();
            if arch != native {
                writeln!(input, "arch {}", token(arch)).unwrap();
            }
        }
        for rule in profile.syscalls.iter().flatten() {
            let action = action(rule.action.as_deref().unwrap(), rule.errno_ret);
            if action == default {
                continue;
            }
            for name in rule.names.iter().flatten() {
                for args in split(rule.args.as_deref().unwrap_or_default()) {
                    writeln!(input, "rule {action} {name}{args}").unwrap();
                }
            }
        }
        let output = self.ask("compile", &input);
        if !output.status.success() {
            // Ended by its alarm, it says nothing.
            return Err(String::from_utf8(output.stderr).unwrap().trim().parse().unwrap_or(libc::ETIME));
        }
        let mut bytes = output.stdout;
        if native.is_big_endian() {
            bytes.chunks_exact_mut(8).for_each(swap);
        }
        Ok(bytes)
    }
}

/// libseccomp writes the program in the byte order of its architecture, but for the values of some
/// returns (those it repeats for long jumps), which stay in the order of the machine.
fn swap(instruction: &mut [u8]) {
    instruction[..2].reverse();
    let value = u32::from_ne_bytes(instruction[4..].try_into().unwrap());
    let is_return = instruction[0] == 0x06;
    let is_action =
        |value: u32| matches!(value >> 16, 0x7fff | 0x7ffc | 0x7ff0 | 0x0005 | 0x0003 | 0x8000) || value == 0;
    if !(is_return && is_action(value)) {
        instruction[4..].reverse();
    }
}

/// As runc: conditions with a repeated argument become rules of their own.
fn split(args: &[SyscallArg]) -> Vec<String> {
    const OPS: [&str; 8] = ["", "NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"];
    let text = |arg: &SyscallArg| {
        let name = arg.op.as_deref().unwrap().trim_start_matches("SCMP_CMP_");
        let op = OPS.iter().position(|op| *op == name).unwrap();
        format!(" {} {op} {} {}", arg.index, arg.value, arg.value_two)
    };
    let mut indices: Vec<u32> = args.iter().map(|arg| arg.index).collect();
    indices.sort_unstable();
    indices.dedup();
    if indices.len() == args.len() { vec![args.iter().map(text).collect()] } else { args.iter().map(text).collect() }
}
