#!/bin/sh
# Sends a log file that has one JSON entry per line to the log ingester:
#
#   ./send-file.sh app.log
#
# GNU split cuts the file between lines into parts of at most 8 MB: xaa, xab, …
# curl sends each part again, for up to ten minutes, while the service is down
# or busy (503). At the first part that the service does not accept, split
# prints the name of the part and the script fails.
set -eu

export url=http://localhost:3002/ingest
key=KEY

# The key is in a file, because other users can see the arguments of a process.
header=$(mktemp)
trap 'rm -f "$header"' EXIT
echo "Authorization: Bearer $key" >"$header"
export header

split -C 8m --filter='
  gzip | curl -sS --fail-with-body --retry 1000 --retry-connrefused --retry-max-time 600 \
    -H "Content-Encoding: gzip" -H @"$header" --data-binary @- -w "\n" "$url"' "$1"
