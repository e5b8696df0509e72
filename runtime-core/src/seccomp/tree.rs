//! The decision tree on the system call number.
//!
//! Numbers with the same fate are intervals; a balanced tree of comparisons finds the interval. A few
//! single numbers that differ from everything around them (the denied calls in the middle of the
//! allowed ones) are a short list of equality tests, which is smaller than a tree over their edges.

use super::args::Id;
use super::bpf::{Assembler, JUMP_EQ, JUMP_GE, Label};

/// From this number on, up to the next interval, calls lead to the node.
pub type Interval = (u32, Id);

/// Longest list of equality tests at a leaf.
const LIST: usize = 4;

/// Intervals of the background (`regions`, the first from 0, ascending) with single numbers (`points`,
/// ascending) put over it; of two points of one number the later one counts.
pub fn intervals(regions: &[Interval], points: &[Interval]) -> Vec<Interval> {
    let background = |nr: u32| regions.iter().rev().find(|(start, _)| *start <= nr).map_or(0, |&(_, id)| id);
    let mut edges: Vec<Interval> = Vec::with_capacity(points.len() * 2 + regions.len());
    let mut regions_left = regions.iter().copied().peekable();
    for (at, &(nr, id)) in points.iter().enumerate() {
        if points.get(at + 1).is_some_and(|(next, _)| *next == nr) {
            continue;
        }
        while let Some(region) = regions_left.next_if(|(start, _)| *start <= nr) {
            edges.push(region);
        }
        edges.push((nr, id));
        let next = nr.wrapping_add(1);
        if next != 0 && points.get(at + 1).is_none_or(|(point, _)| *point != next) {
            edges.push((next, background(next)));
        }
    }
    edges.extend(regions_left);
    let mut merged: Vec<Interval> = Vec::with_capacity(edges.len());
    for (start, id) in edges {
        if merged.last().is_some_and(|(last, _)| *last == start) {
            merged.pop();
        }
        if merged.last().is_none_or(|(_, last)| *last != id) {
            merged.push((start, id));
        }
    }
    merged
}

/// Writes the tree over `intervals`, which must not be empty; the number is loaded already.
pub fn write(program: &mut Assembler, intervals: &[Interval]) -> Label {
    let [(_, first), rest @ ..] = intervals else { return Label::At(usize::MAX) };
    if rest.is_empty() {
        return Label::Node(*first);
    }
    if let Some(background) = list_background(intervals) {
        return write_list(program, intervals, background);
    }
    let middle = intervals.len() / 2;
    let above = write(program, &intervals[middle..]);
    let below = write(program, &intervals[..middle]);
    Label::At(program.branch(JUMP_GE, intervals[middle].0, above, below))
}

/// The node of all but a few single numbers, if a list of these is smaller than a tree.
fn list_background(intervals: &[Interval]) -> Option<Id> {
    if intervals.len() > 2 * LIST + 1 {
        return None;
    }
    intervals.iter().map(|&(_, id)| id).find(|&background| {
        let others = || intervals.iter().enumerate().filter(|(_, (_, id))| *id != background);
        let count = others().count();
        count <= LIST && count < intervals.len() - 1 && others().all(|(at, _)| is_single(intervals, at))
    })
}

fn is_single(intervals: &[Interval], at: usize) -> bool {
    intervals.get(at + 1).is_some_and(|next| next.0 - intervals[at].0 == 1)
}

fn write_list(program: &mut Assembler, intervals: &[Interval], background: Id) -> Label {
    let mut next = Label::Node(background);
    for &(nr, id) in intervals.iter().rev().filter(|(_, id)| *id != background) {
        next = Label::At(program.branch(JUMP_EQ, nr, Label::Node(id), next));
    }
    next
}
