#!/usr/bin/env bash
# Builds a release into dist/: both programs for all platforms, or for those
# given as arguments, such as linux/amd64, and their SHA-256 sums. The version
# is the tag of the commit.
#
# The bytes depend only on the commit, not on the directory, the machine or the
# time, so anyone can rebuild a release and compare.
set -euo pipefail
cd "$(dirname "$0")/.."

# These settings affect the bytes. The go command downloads this exact version
# if another one is installed.
export GOTOOLCHAIN=go1.26.8 GOFLAGS=-mod=readonly GOWORK=off CGO_ENABLED=0
export GOAMD64=v1 GOARM64=v8.0 GOEXPERIMENT= GOFIPS140=off

[ -z "$(git status --porcelain)" ] || { echo "release.sh: uncommitted changes in the work tree" >&2; exit 1; }
version=$(git describe --tags --always --abbrev=12)
commit=$(git rev-parse HEAD)
flags="-s -w -X main.version=$version -X main.commit=$commit"
[ $# -gt 0 ] || set -- linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64

rm -rf dist
mkdir dist
for target; do
  export GOOS=${target%/*} GOARCH=${target#*/}
  suffix=${version}_${GOOS}_$GOARCH
  if [ "$GOOS" = windows ]; then suffix+=.exe; fi
  go build -trimpath -buildvcs=false -ldflags "$flags" -o "dist/log-ingester_$suffix" .
  go build -C forward -trimpath -buildvcs=false -ldflags "$flags" -o "../dist/forward_$suffix" .
done
cd dist
sha256sum -- * >SHA256SUMS
cat SHA256SUMS
