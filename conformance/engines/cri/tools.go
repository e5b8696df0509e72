//go:build tools

// Package crictl pins the CRI client of the engine scenarios.
package crictl

import _ "sigs.k8s.io/cri-tools/cmd/crictl"
