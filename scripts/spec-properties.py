#!/usr/bin/env python3
"""Writes the names of all properties of config.json (Linux) that the JSON schema of runtime-spec knows.

    scripts/spec-properties.py [SCHEMA-DIRECTORY] > runtime-core/tests/data/runtime-spec/properties.txt

Without a directory it is that of the Go module github.com/opencontainers/runtime-spec, which conformance/runtime-tools
pins. `-` stands for any element of an array and `*` for any name in an object. Only names, nothing of the schema's text.
"""
import json
import pathlib
import subprocess
import sys

OTHER_SYSTEMS = ("solaris", "windows", "vm", "zos", "freebsd")
ROOT = pathlib.Path(__file__).resolve().parent.parent
MODULE = "github.com/opencontainers/runtime-spec"


def directory():
    if len(sys.argv) > 1:
        return pathlib.Path(sys.argv[1])
    command = ["go", "list", "-mod=mod", "-m", "-f", "{{.Dir}}", MODULE]
    run = subprocess.run(command, cwd=ROOT / "conformance/runtime-tools", capture_output=True, text=True, check=True)
    return pathlib.Path(run.stdout.strip()) / "schema"


class Schema:
    def __init__(self, place):
        self.place, self.files, self.found = place, {}, []

    def load(self, name):
        if name not in self.files:
            self.files[name] = json.loads((self.place / name).read_text())
        return self.files[name]

    def follow(self, name, node):
        while "$ref" in node:
            other, _, pointer = node["$ref"].partition("#")
            name = other or name
            node = self.load(name)
            for word in pointer.split("/")[1:]:
                node = node[word]
        return name, node

    def walk(self, name, node, path):
        name, node = self.follow(name, node)
        for kind in ("anyOf", "oneOf", "allOf"):
            for member in node.get(kind, []):
                self.walk(name, member, path)
        for key, value in node.get("properties", {}).items():
            if path == "" and key in OTHER_SYSTEMS:
                continue
            if f"{path}/{key}" not in self.found:
                self.found.append(f"{path}/{key}")
            self.walk(name, value, f"{path}/{key}")
        if isinstance(node.get("items"), dict):
            self.walk(name, node["items"], f"{path}/-")
        for value in [node.get("additionalProperties"), *node.get("patternProperties", {}).values()]:
            if isinstance(value, dict):
                self.walk(name, value, f"{path}/*")


schema = Schema(directory())
schema.walk("config-schema.json", schema.load("config-schema.json"), "")
print("\n".join(schema.found))
