#!/usr/bin/env bash
# Builds a release into dist/: both programs for every platform, or for those
# that are named, such as linux/amd64, and their SHA-256 sums. The version is
# the commit's tag.
#
# The bytes depend on the commit alone, not on the directory, the machine or
# the time, so that anyone can build them again and compare.
set -euo pipefail
cd "$(dirname "$0")/.."

# What would change the bytes. An exact compiler: Go fetches it where it is not
# the one that is installed.
export GOTOOLCHAIN=go1.26.8 GOFLAGS=-mod=readonly GOWORK=off CGO_ENABLED=0
export GOAMD64=v1 GOARM64=v8.0 GOEXPERIMENT= GOFIPS140=off

[ -z "$(git status --porcelain)" ] || { echo "release.sh: there are files that are not committed" >&2; exit 1; }
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
