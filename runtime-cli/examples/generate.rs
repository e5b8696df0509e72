//! Writes man pages and shell completions, from the definition the command line is read with. A program of its own, so
//! that `runtime` carries neither generator: `cargo run -p runtime-cli --example generate -- man DIR`, or
//! `-- completions DIR`.
#![allow(dead_code, clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::Path;

use clap::Command;
use clap_complete::{Shell, generate_to};
use clap_mangen::Man;

#[path = "../src/args.rs"]
mod args;

fn main() -> std::io::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["man", directory] => man(Path::new(directory)),
        ["completions", directory] => completions(Path::new(directory)),
        _ => Err(std::io::Error::other("usage: generate man|completions DIR")),
    }
}

/// The whole command line, built, with names that fit a page of their own.
fn tree() -> Command {
    // The words are read without the program's name, but a page and a completion show it.
    let mut tree = args::tree().no_binary_name(false).disable_version_flag(true);
    tree.build();
    tree
}

fn man(directory: &Path) -> std::io::Result<()> {
    fs::create_dir_all(directory)?;
    let tree = tree();
    page(directory, &tree, args::NAME.to_owned())?;
    for verb in tree.get_subcommands().filter(|verb| verb.get_name() != "help") {
        page(directory, verb, format!("{}-{}", args::NAME, verb.get_name()))?;
    }
    Ok(())
}

fn page(directory: &Path, command: &Command, name: String) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    let title: &'static str = Box::leak(name.clone().into_boxed_str());
    Man::new(command.clone().name(title)).section("8").render(&mut bytes)?;
    fs::write(directory.join(format!("{name}.8")), bytes)
}

fn completions(directory: &Path) -> std::io::Result<()> {
    fs::create_dir_all(directory)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        generate_to(shell, &mut tree(), args::NAME, directory)?;
    }
    Ok(())
}
