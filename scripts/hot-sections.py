#!/usr/bin/env python3
"""Addresses that were executed, `nm -S`, and the linker's map -> a linker script that puts their functions first.

Prints patterns, not names: the disambiguators of crates differ from compiler to compiler, and a pattern that matches nothing
does no harm. Of the C library, whose functions have no sections of their own, whole members are named.
"""
import bisect
import re
import sys

addresses, symbols, linked = sys.argv[1:]


def functions():
    """Executed functions, each once, by name."""
    table = []
    for line in open(symbols):
        words = line.split()
        if len(words) == 4 and words[2] in "tTwWi":
            table.append((int(words[0], 16), int(words[1], 16), words[3]))
    table.sort()
    starts = [start for start, _, _ in table]
    found = set()
    for address in {int(line, 16) for line in open(addresses)}:
        at = bisect.bisect_right(starts, address) - 1
        if at >= 0 and address < table[at][0] + table[at][1]:
            # Names of one function stand at one place.
            while at > 0 and table[at - 1][0] == table[at][0]:
                at -= 1
            found.add(table[at])
    return found


def sections():
    """The input section of every symbol in the linker's map: the file, the section's name."""
    # lld: VMA, LMA, size, alignment, then one column for the output section, its inputs, and their symbols.
    number = r"\s*[0-9a-f]+\s+[0-9a-f]+\s+[0-9a-f]+\s+\d+"
    of, current = {}, None
    for line in open(linked):
        if match := re.match(number + r"\s{9}(\S.*):\((\.\S+)\)$", line):
            current = match.groups()
        elif match := re.match(number + r"\s{17}(\S+)$", line):
            of.setdefault(match[1], current)
    return of


def patterns():
    of = sections()
    for _, _, name in functions():
        if name.startswith("_R") or name == "main":
            # The compiler takes what runs once for unlikely, and a start is full of that.
            pattern = re.sub(r"Cs[0-9A-Za-z]+_", "Cs*_", name)
            yield f"*(.text.{pattern} .text.unlikely.{pattern})"
            continue
        file, section = of.get(name, (None, None))
        if section is None or not section.startswith(".text"):
            continue
        if member := re.search(r"(lib[\w.-]+\.a)\((\S+)\)$", file):
            yield "*%s:%s(%s)" % (*member.groups(), section)


print("/* Written by scripts/hot-sections.sh: what the usual verbs run, side by side. */")
print("SECTIONS {\n  .text.hot : {")
for pattern in sorted(set(patterns())):
    print("    " + pattern)
print("  }\n} INSERT BEFORE .text;")
