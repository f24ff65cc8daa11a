#!/bin/bash
# run_instance.sh VERSION CATEGORY ONNX VNNLIB RESULTS TIMEOUT: writes RESULTS; the category is not looked at.
set -eu
if [ "${1:-}" != "v1" ]; then
    echo "run_instance.sh: expected version v1, got '${1:-}'" >&2
    exit 1
fi
if [ "$#" -ne 6 ]; then
    echo "usage: run_instance.sh v1 CATEGORY ONNX VNNLIB RESULTS TIMEOUT" >&2
    exit 1
fi
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
rbl=${RBL:-$here/.venv/bin/rbl}
onnx=$3
vnnlib=$4
[ -r "$onnx" ] || onnx=$3.gz
[ -r "$vnnlib" ] || vnnlib=$4.gz
# sat, unsat, unknown and timeout are all results; whatever stops the tool leaves `unknown`, which it wrote first
"$rbl" vnncomp "$onnx" "$vnnlib" "$5" --timeout "$6" || echo "run_instance.sh: rbl ended with $?" >&2
[ -s "$5" ] || echo unknown > "$5"
