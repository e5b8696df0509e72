#!/bin/sh
# Builds crictl, which Debian does not have, from the Go modules that cri/go.sum pins: DIRECTORY/crictl. Once, two minutes.
#
#   crictl.sh DIRECTORY
set -u
cri=$(cd "$(dirname "$0")/cri" && pwd) tools=${1:?}
PATH=$PATH:/usr/local/go/bin
recipe=$(cat "$cri/go.mod" "$cri/go.sum" | cksum)
[ "$(cat "$tools/recipe" 2> /dev/null)" != "$recipe" ] || exit 0
command -v go > /dev/null || { echo "crictl: Go is not installed"; exit 1; }
mkdir -p "$tools/source" && cp "$cri"/* "$tools/source" || exit 1
cd "$tools/source" || exit 1
# The copy's go.mod takes the requirements of the module it names.
timeout 600 env GOFLAGS="-mod=mod -buildvcs=false" CGO_ENABLED=0 GOTOOLCHAIN=local \
    go build -trimpath -ldflags="-s -w" -o "$tools/crictl" sigs.k8s.io/cri-tools/cmd/crictl > "$tools/log" 2>&1 ||
    { echo "crictl: $(tail -1 "$tools/log")"; exit 1; }
echo "$recipe" > "$tools/recipe"
