#!/bin/bash
# Runs the blocks of docs/tutorial.md: run.sh PANDO TUTORIAL
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/bin"
ln -s "$(realpath "$1")" "$folder/bin/pando"
awk '/^```sh$/ {code = 1; next} /^```$/ {code = 0} code' "$2" > "$folder/commands.sh"
cd "$folder"
PATH=$folder/bin:$PATH bash -euxo pipefail commands.sh
grep -q '"max_difference": 0.0,' run.json
test -s timeline.html
