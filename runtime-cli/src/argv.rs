//! Arguments as the programs that call runc write them: Go's flag package (one dash or two, `--flag=value`, no
//! bundling, `--switch=false`), flags after positionals. They are rewritten into what clap reads the same way.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgAction, ArgMatches, Command};

/// Why arguments do not fit a definition.
#[derive(Debug, PartialEq, Eq)]
pub enum Misuse {
    /// A flag is wrong; the text is Go's.
    Flag(String),
    /// There are too few or too many positionals: what would be right, as `exactly 1`.
    Count(String),
}

/// What arguments say.
#[derive(Debug)]
pub enum Parsed {
    /// `--help` was among them.
    Help,
    /// Values to act on.
    Matches(ArgMatches),
}

/// Splits `argv` (without the program's name) at the verb: global flags, verb and what follows.
pub fn split(definition: Command, argv: Vec<OsString>) -> Result<(Parsed, Vec<OsString>), Misuse> {
    let mut scan = Scan::new(&definition);
    let mut rest = argv.into_iter();
    let mut verb = Vec::new();
    while let Some(argument) = rest.next() {
        match Kind::of(&argument) {
            Kind::End => break,
            Kind::Flag => scan.flag(&argument, &mut rest)?,
            Kind::Positional => {
                verb.push(argument);
                break;
            }
        }
    }
    verb.extend(rest);
    let rewritten = scan.finish()?;
    Ok((read(definition, rewritten)?, verb))
}

/// Reads the arguments of a verb.
pub fn parse(definition: Command, arguments: Vec<OsString>) -> Result<Parsed, Misuse> {
    let mut scan = Scan::new(&definition);
    let mut rest = arguments.into_iter();
    while let Some(argument) = rest.next() {
        match Kind::of(&argument) {
            Kind::End => scan.positionals.extend(rest.by_ref()),
            // As in runc, what is no flag of the verb is only reported in front of the first positional.
            Kind::Flag if scan.positionals.is_empty() || scan.knows(&argument) => scan.flag(&argument, &mut rest)?,
            _ => {
                scan.positionals.push(argument);
                // The rest is a command line of its own.
                if open_ended(scan.definition) {
                    scan.positionals.extend(rest.by_ref());
                }
            }
        }
    }
    let rewritten = scan.finish()?;
    read(definition, rewritten)
}

/// Has clap read rewritten arguments; there are none where help is asked for.
fn read(definition: Command, rewritten: Option<Vec<OsString>>) -> Result<Parsed, Misuse> {
    let Some(arguments) = rewritten else { return Ok(Parsed::Help) };
    let parsed = definition.try_get_matches_from(arguments);
    parsed.map(Parsed::Matches).map_err(|error| Misuse::Flag(explain(&error)))
}

enum Kind {
    Flag,
    End,
    Positional,
}

impl Kind {
    fn of(argument: &OsStr) -> Self {
        match argument.as_bytes() {
            b"--" => Self::End,
            [b'-', _, ..] => Self::Flag,
            _ => Self::Positional,
        }
    }
}

struct Scan<'a> {
    definition: &'a Command,
    help: bool,
    /// Flags that were given, by name; the last one of a name wins, as in Go.
    flags: Vec<(&'a str, Option<OsString>)>,
    positionals: Vec<OsString>,
}

impl<'a> Scan<'a> {
    fn new(definition: &'a Command) -> Self {
        Self { definition, help: false, flags: Vec::new(), positionals: Vec::new() }
    }

    fn find(&self, name: &[u8]) -> Option<&'a Arg> {
        let name = std::str::from_utf8(name).ok()?;
        self.definition.get_arguments().find(|argument| {
            let mut letters = name.chars();
            argument.get_long() == Some(name)
                || (argument.get_short().is_some()
                    && argument.get_short() == letters.next()
                    && letters.next().is_none())
        })
    }

    fn knows(&self, argument: &OsStr) -> bool {
        self.find(parts(argument).0).is_some()
    }

    fn flag(&mut self, argument: &OsStr, rest: &mut impl Iterator<Item = OsString>) -> Result<(), Misuse> {
        let (name, value) = parts(argument);
        let shown = String::from_utf8_lossy(name);
        if name.is_empty() || name.starts_with(b"-") {
            return Err(Misuse::Flag(format!("bad flag syntax: {}", argument.to_string_lossy())));
        }
        let Some(found) = self.find(name) else {
            return Err(Misuse::Flag(format!("flag provided but not defined: -{shown}")));
        };
        let Some(long) = found.get_long() else { return Ok(()) };
        let value = if optional_value(found) {
            Some(value.map_or(Ok(true), |value| boolean(value, &shown))?.to_string().into())
        } else if matches!(found.get_action(), ArgAction::SetTrue) {
            match value.map_or(Ok(true), |value| boolean(value, &shown))? {
                true if long == "help" => {
                    self.help = true;
                    return Ok(());
                }
                true => None,
                false => {
                    self.flags.retain(|(known, _)| *known != long);
                    return Ok(());
                }
            }
        } else if let Some(value) = value {
            Some(OsString::from_vec(value.to_vec()))
        } else {
            let missing = || Misuse::Flag(format!("flag needs an argument: -{shown}"));
            Some(rest.next().ok_or_else(missing)?)
        };
        if !matches!(found.get_action(), ArgAction::Append) {
            self.flags.retain(|(known, _)| *known != long);
        }
        self.flags.push((long, value));
        Ok(())
    }

    fn finish(self) -> Result<Option<Vec<OsString>>, Misuse> {
        if self.help {
            return Ok(None);
        }
        self.check_count()?;
        let mut rewritten = Vec::with_capacity(self.flags.len() + self.positionals.len() + 1);
        for (name, value) in self.flags {
            let mut flag = OsString::from(format!("--{name}"));
            if let Some(value) = value {
                flag.push("=");
                flag.push(value);
            }
            rewritten.push(flag);
        }
        rewritten.push("--".into());
        rewritten.extend(self.positionals);
        Ok(Some(rewritten))
    }

    fn check_count(&self) -> Result<(), Misuse> {
        let (mut least, mut most) = (0, 0);
        for positional in self.definition.get_positionals() {
            most += 1;
            least += usize::from(positional.is_required_set());
        }
        if open_ended(self.definition) {
            most = usize::MAX;
        }
        let given = self.positionals.len();
        let rule = match () {
            () if (least..=most).contains(&given) => return Ok(()),
            () if least == most => format!("exactly {least}"),
            () if given < least => format!("a minimum of {least}"),
            () => format!("a maximum of {most}"),
        };
        Err(Misuse::Count(rule))
    }
}

/// Whether false is something else than absence.
fn optional_value(flag: &Arg) -> bool {
    flag.get_num_args().is_some_and(|range| range.min_values() == 0)
}

/// Whether any number of positionals may follow the first.
fn open_ended(definition: &Command) -> bool {
    definition.get_positionals().any(|positional| matches!(positional.get_action(), ArgAction::Append))
}

/// Name and value of `-name`, `--name` or either with `=value`.
fn parts(argument: &OsStr) -> (&[u8], Option<&[u8]>) {
    let bytes = argument.as_bytes();
    let bytes = bytes.strip_prefix(b"--").or_else(|| bytes.strip_prefix(b"-")).unwrap_or(bytes);
    let mut halves = bytes.splitn(2, |byte| *byte == b'=');
    (halves.next().unwrap_or_default(), halves.next())
}

/// What Go's strconv.ParseBool takes.
fn boolean(value: &[u8], name: &str) -> Result<bool, Misuse> {
    match value {
        b"1" | b"t" | b"T" | b"true" | b"TRUE" | b"True" => Ok(true),
        b"0" | b"f" | b"F" | b"false" | b"FALSE" | b"False" => Ok(false),
        _ => {
            let value = String::from_utf8_lossy(value);
            Err(Misuse::Flag(format!("invalid boolean value {value:?} for -{name}: parse error")))
        }
    }
}

/// clap's objection in Go's words; only values can still be wrong at this point.
fn explain(error: &clap::Error) -> String {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    match (text(ContextKind::InvalidArg), text(ContextKind::InvalidValue)) {
        (Some(flag), Some(value)) => {
            let name = flag.trim_start_matches('-').split([' ', '=']).next().unwrap_or_default();
            format!("invalid value {value:?} for flag -{name}: parse error")
        }
        _ => error.to_string().trim().replace('\n', " "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args;

    fn words(text: &str) -> Vec<OsString> {
        text.split_whitespace().map(OsString::from).collect()
    }

    fn verb(line: &str) -> Result<Parsed, Misuse> {
        let mut words = words(line);
        let name = words.remove(0).into_string().unwrap();
        parse(args::verb(&name).unwrap(), words)
    }

    fn matches(line: &str) -> ArgMatches {
        match verb(line) {
            Ok(Parsed::Matches(matches)) => matches,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn text<'a>(matches: &'a ArgMatches, name: &str) -> Option<&'a str> {
        matches.get_one::<OsString>(name).and_then(|value| value.to_str())
    }

    #[test]
    fn flags_as_go_takes_them() {
        for line in [
            "create -bundle /b x",
            "create --bundle /b x",
            "create -b=/b x",
            "create x --b /b",
            "create --bundle=/b -- x",
        ] {
            let matches = matches(line);
            assert_eq!((text(&matches, "bundle"), text(&matches, "container-id")), (Some("/b"), Some("x")), "{line}");
        }
        assert!(matches("run -no-subreaper x").get_flag("no-subreaper"));
        assert!(!matches("run --detach --detach=false x").get_flag("detach"));
        assert!(matches("run --detach=false x -d=T").get_flag("detach"));
        assert_eq!(text(&matches("create -b /1 -b /2 x"), "bundle"), Some("/2"));
        assert_eq!(text(&matches("create --bundle=a=b x"), "bundle"), Some("a=b"));
        assert_eq!(text(&matches("create --bundle= x"), "bundle"), Some(""));
        assert_eq!(text(&matches("create -b -x y"), "bundle"), Some("-x"));
        assert_eq!(matches("create --preserve-fds 4 y").get_one::<u32>("preserve-fds"), Some(&4));
        assert_eq!(text(&matches("start -- -x"), "container-id"), Some("-x"));
        assert_eq!(text(&matches("kill x -9"), "signal"), Some("-9"));
        assert!(matches!(verb("start x -h"), Ok(Parsed::Help)));
        assert_eq!(text(&matches("start -- --help"), "container-id"), Some("--help"));
    }

    #[test]
    fn false_is_not_absence() {
        for (line, wanted) in [
            ("exec x sh", None),
            ("exec --no-new-privs x sh", Some(true)),
            ("exec -no-new-privs=T x sh", Some(true)),
            ("exec --no-new-privs=false x sh", Some(false)),
            ("exec --no-new-privs --no-new-privs=0 x sh", Some(false)),
        ] {
            assert_eq!(matches(line).get_one::<bool>("no-new-privs").copied(), wanted, "{line}");
        }
        assert!(matches!(verb("exec --no-new-privs=maybe x sh"), Err(Misuse::Flag(_))));
    }

    #[test]
    fn exec_ends_at_the_container() {
        let matches = matches("exec -t -e A=1 --env B=2 -cap CAP_KILL x sh -c -t --cwd / -- y");
        let all = |name: &str| {
            let values = matches.get_many::<OsString>(name).unwrap_or_default();
            values.map(|value| value.to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(all("env"), ["A=1", "B=2"]);
        assert_eq!(all("cap"), ["CAP_KILL"]);
        assert_eq!(all("container-id"), ["x"]);
        assert_eq!(all("command"), ["sh", "-c", "-t", "--cwd", "/", "--", "y"]);
        assert_eq!(text(&matches, "cwd"), None);
    }

    #[test]
    fn misuse_in_runcs_words() {
        let flag = |text: &str| Err(Misuse::Flag(text.to_owned()));
        let count = |text: &str| Err(Misuse::Count(text.to_owned()));
        for (line, expected) in [
            ("start --bogus a", flag("flag provided but not defined: -bogus")),
            ("run -dk a", flag("flag provided but not defined: -dk")),
            ("create --bundle", flag("flag needs an argument: -bundle")),
            ("run --keep=maybe a", flag("invalid boolean value \"maybe\" for -keep: parse error")),
            ("create --preserve-fds x y", flag("invalid value \"x\" for flag -preserve-fds: parse error")),
            ("create --preserve-fds=-1 y", flag("invalid value \"-1\" for flag -preserve-fds: parse error")),
            ("create ---b y", flag("bad flag syntax: ---b")),
            ("start", count("exactly 1")),
            ("start a b", count("exactly 1")),
            ("kill", count("a minimum of 1")),
            ("kill a b c", count("a maximum of 2")),
            ("list a", count("exactly 0")),
            ("exec", count("a minimum of 1")),
        ] {
            assert_eq!(verb(line).map(|_| ()), expected, "{line}");
        }
    }

    #[test]
    fn global_flags_end_at_the_verb() {
        let (parsed, verb) = split(args::global(), words("-root /r --debug=1 state --debug x")).unwrap();
        let Parsed::Matches(matches) = parsed else { panic!("help") };
        assert_eq!(text(&matches, "root"), Some("/r"));
        assert!(matches.get_flag("debug"));
        assert_eq!(verb, words("state --debug x"));
        assert_eq!(split(args::global(), words("-- state")).unwrap().1, words("state"));
        assert!(matches!(split(args::global(), words("--nope")), Err(Misuse::Flag(_))));
    }

    #[test]
    fn bytes_that_are_not_text_survive() {
        let bundle = OsString::from_vec(b"--bundle=/\xff".to_vec());
        let parsed = parse(args::verb("create").unwrap(), vec![bundle, "x".into()]);
        let Ok(Parsed::Matches(matches)) = parsed else { panic!("{parsed:?}") };
        assert_eq!(matches.get_one::<OsString>("bundle").unwrap().as_bytes(), b"/\xff");
    }
}
