//! The texts of statistics files. Pure; a line that does not have the expected form is skipped, since kernels add
//! words.

use std::collections::BTreeMap;

use super::{IoEntry, Pressure, Stall};

/// Lines of a word and a number.
pub(super) fn table(text: &str) -> BTreeMap<String, u64> {
    let line = |line: &str| {
        let (key, value) = line.split_once(' ')?;
        Some((key.to_owned(), value.trim().parse().ok()?))
    };
    text.lines().filter_map(line).collect()
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`, and the same for `full` (which cpu.pressure lacks before 5.13).
pub(super) fn pressure(text: &str) -> Option<Pressure> {
    let mut pressure = Pressure::default();
    let mut found = false;
    for line in text.lines() {
        let Some((kind, rest)) = line.split_once(' ') else { continue };
        let stall = match kind {
            "some" => &mut pressure.some,
            "full" => &mut pressure.full,
            _ => continue,
        };
        *stall = self::stall(rest);
        found = true;
    }
    found.then_some(pressure)
}

fn stall(text: &str) -> Stall {
    let mut stall = Stall::default();
    for (key, value) in text.split_whitespace().filter_map(|word| word.split_once('=')) {
        let average = || value.parse().unwrap_or(0.0);
        match key {
            "avg10" => stall.avg10 = average(),
            "avg60" => stall.avg60 = average(),
            "avg300" => stall.avg300 = average(),
            "total" => stall.total = value.parse().unwrap_or(0),
            _ => {}
        }
    }
    stall
}

/// `0-2,5` as numbers.
pub(super) fn list(text: &str) -> Vec<u16> {
    let part = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse::<u16>().ok()?..=last.trim().parse::<u16>().ok()?)
    };
    text.split(',').filter_map(part).flatten().collect()
}

fn device(text: &str) -> Option<(u64, u64)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Version 1: `8:0 Read 4096`, `8:0 4096`; the line `Total 4096` is about no device.
pub(super) fn blkio(text: &str) -> Vec<IoEntry> {
    let line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (op, value) = match words.as_slice() {
            [_, op, value] => (*op, value),
            [_, value] => ("", value),
            _ => return None,
        };
        let (major, minor) = device(words.first()?)?;
        Some(IoEntry { major, minor, op: op.to_owned(), value: value.parse().ok()? })
    };
    text.lines().filter_map(line).collect()
}

/// Version 2: `8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6`; bytes, then operations.
pub(super) fn io_stat(text: &str) -> (Vec<IoEntry>, Vec<IoEntry>) {
    let (mut bytes, mut operations) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let Some(((major, minor), rest)) = line.split_once(' ').and_then(|(d, rest)| Some((device(d)?, rest))) else {
            continue;
        };
        for (key, value) in rest.split_whitespace().filter_map(|word| word.split_once('=')) {
            let (list, op) = match key {
                "rbytes" => (&mut bytes, "Read"),
                "wbytes" => (&mut bytes, "Write"),
                "dbytes" => (&mut bytes, "Discard"),
                "rios" => (&mut operations, "Read"),
                "wios" => (&mut operations, "Write"),
                "dios" => (&mut operations, "Discard"),
                _ => continue,
            };
            let Ok(value) = value.parse() else { continue };
            list.push(IoEntry { major, minor, op: op.to_owned(), value });
        }
    }
    (bytes, operations)
}

/// `mlx4_0 hca_handle=2 hca_object=max`: device, then handle and object.
pub(super) fn rdma(text: &str) -> BTreeMap<String, (Option<u64>, Option<u64>)> {
    let line = |line: &str| {
        let (device, rest) = line.split_once(' ')?;
        let value = |wanted: &str| {
            let (_, value) =
                rest.split_whitespace().filter_map(|w| w.split_once('=')).find(|(key, _)| *key == wanted)?;
            value.parse().ok()
        };
        Some((device.to_owned(), (value("hca_handle"), value("hca_object"))))
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(major: u64, minor: u64, op: &str, value: u64) -> IoEntry {
        IoEntry { major, minor, op: op.to_owned(), value }
    }

    #[test]
    fn tables_and_lists() {
        let read = table("usage_usec 12\nnew.key x\nnothing\nuser_usec 7\n");
        assert_eq!(read.get("usage_usec"), Some(&12));
        assert_eq!(read.len(), 2);
        assert_eq!(list("0-2,5\n"), [0, 1, 2, 5]);
        assert_eq!(list("\n"), [0u16; 0]);
        assert_eq!(list("3"), [3]);
    }

    #[test]
    fn pressure_of_old_and_new_kernels() {
        let text =
            "some avg10=1.50 avg60=0.25 avg300=0.00 total=1234\nfull avg10=0.50 avg60=0.00 avg300=0.00 total=7\n";
        let read = pressure(text).expect("pressure");
        assert_eq!((read.some.avg10, read.some.avg60, read.some.total), (1.5, 0.25, 1234));
        assert_eq!((read.full.avg10, read.full.total), (0.5, 7));
        let half = pressure("some avg10=0.00 avg60=0.00 avg300=0.00 total=9\n").expect("pressure");
        assert_eq!((half.some.total, half.full), (9, Stall::default()));
        assert_eq!(pressure(""), None);
    }

    #[test]
    fn block_devices_of_both_versions() {
        let read = blkio("8:0 Read 4096\n8:0 Total 4096\n8:16 77\nTotal 4096\n");
        assert_eq!(read, [entry(8, 0, "Read", 4096), entry(8, 0, "Total", 4096), entry(8, 16, "", 77)]);
        let (bytes, operations) =
            io_stat("8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6 cost.usage=7\nx\n7:1 \n");
        assert_eq!(bytes, [entry(8, 0, "Read", 1), entry(8, 0, "Write", 2), entry(8, 0, "Discard", 5)]);
        assert_eq!(operations, [entry(8, 0, "Read", 3), entry(8, 0, "Write", 4), entry(8, 0, "Discard", 6)]);
    }

    #[test]
    fn rdma_devices() {
        let read = rdma("mlx4_0 hca_handle=2 hca_object=max\nocrdma1 hca_object=5\n");
        assert_eq!(read["mlx4_0"], (Some(2), None));
        assert_eq!(read["ocrdma1"], (None, Some(5)));
    }
}
