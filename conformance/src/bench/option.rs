//! The benchmark's command line.

use std::path::PathBuf;

use super::Result;
use super::verb::Verb;

pub const HELP: &str = "\
usage: bench [OPTION…]
  --rounds N           interleaved rounds (default 20)
  --runtime PATH=NAME  compare this runtime too; may be repeated
  --only VERB          measure one of run, run+seccomp, create+start+delete, exec, state, list, parallel;
                       may be repeated
  --cgroups            only the cgroup's part of a run, by our library and by the floor
  --list N             containers that `list` shows (default 100)
  --parallel N         containers of `parallel`, 8 at a time (default 50)
  --json FILE          write every figure to FILE
  --markdown           print the tables only, no progress
Ours is target/x86_64-unknown-linux-gnu/release/runtime, or $RUNTIME; runc, crun and youki are looked for in
PATH, ~/.cargo/bin and target/tools/bin. Needs root, gcc with a static libc, and busybox-static; system calls
are counted when strace is there.";

/// What to measure, and how often.
pub struct Options {
    pub help: bool,
    pub rounds: usize,
    pub runtimes: Vec<(PathBuf, String)>,
    pub only: Vec<Verb>,
    pub cgroups: bool,
    pub list: usize,
    pub parallel: usize,
    pub json: Option<PathBuf>,
    pub quiet: bool,
}

impl Options {
    pub fn parse(args: &[String]) -> Result<Self> {
        let mut options = Self {
            help: false,
            rounds: 20,
            runtimes: Vec::new(),
            only: Vec::new(),
            cgroups: false,
            list: 100,
            parallel: 50,
            json: None,
            quiet: false,
        };
        let mut args = args.iter().map(String::as_str);
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
            match arg {
                "-h" | "--help" => options.help = true,
                "--markdown" => options.quiet = true,
                "--cgroups" => options.cgroups = true,
                "--rounds" => options.rounds = number(value()?)?,
                "--list" => options.list = number(value()?)?,
                "--parallel" => options.parallel = number(value()?)?,
                "--json" => options.json = Some(value()?.into()),
                "--only" => options.only.push(Verb::from_name(value()?)?),
                "--runtime" => {
                    let (path, name) = value()?.split_once('=').ok_or("--runtime takes PATH=NAME")?;
                    options.runtimes.push((path.into(), name.to_owned()));
                }
                other => return Err(format!("unknown option {other}; try --help")),
            }
        }
        Ok(options)
    }

    /// True if `verb` is to be measured.
    pub fn wants(&self, verb: Verb) -> bool {
        self.only.is_empty() || self.only.contains(&verb)
    }
}

fn number(text: &str) -> Result<usize> {
    text.parse().ok().filter(|n| *n > 0).ok_or_else(|| format!("{text} is not a positive number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Options> {
        Options::parse(&args.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn options() {
        let options = parse(&["--rounds", "3", "--only", "exec", "--runtime", "/x=y"]).unwrap();
        assert!(options.rounds == 3 && options.wants(Verb::Exec) && !options.wants(Verb::Run));
        assert_eq!(options.runtimes, [(PathBuf::from("/x"), "y".to_owned())]);
        for wrong in [&["--rounds"][..], &["--rounds", "0"], &["--only", "fly"], &["--runtime", "/x"], &["-z"]] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
