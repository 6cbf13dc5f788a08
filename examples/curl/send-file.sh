#!/bin/sh
# Sends a log file that has one JSON entry per line to the log ingester:
#
#   ./send-file.sh app.log
#
# GNU split cuts the file between lines into parts of at most 8 MB: xaa, xab, …
# curl sends each part again, for up to ten minutes, while the service is down
# or busy (503). At the first part that the service does not accept, or whose
# response is lost, split prints the name of the part and the script fails. Then
# run it again: the service stores each part of an unchanged file once within 24
# hours, because its key consists of its name and its digest.
set -eu

export url='http://localhost:3002/ingest?wait=1'
key=KEY

# The key is in a file, because other users can see the arguments of a process.
header=$(mktemp)
trap 'rm -f "$header"' EXIT
echo "Authorization: Bearer $key" >"$header"
export header

split -C 8m --filter='
  part=$(mktemp)
  trap "rm -f \"$part\"" EXIT
  cat >"$part"
  gzip <"$part" | curl -sS --fail-with-body --retry 1000 --retry-connrefused --retry-max-time 600 \
    -H "Content-Encoding: gzip" -H @"$header" -H "Idempotency-Key: $FILE-$(sha256sum <"$part" | cut -c 1-64)" \
    --data-binary @- -w "\n" "$url"' "$1"
