//go:build tools

// Package tools names what conformance/src/suite/build.rs builds, so that go.mod and go.sum pin it: the OCI
// runtime-tools' validation suite. Nothing of it is part of the runtime.
package tools

import (
	_ "github.com/opencontainers/runtime-tools/cmd/runtimetest"
	_ "github.com/opencontainers/runtime-tools/validation/create"
)
