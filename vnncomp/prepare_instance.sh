#!/bin/bash
# prepare_instance.sh VERSION CATEGORY ONNX VNNLIB: exit 0 where the instance can be run, else 1.
# Nothing is converted or kept between instances; other runs of the tool on the machine are left alone.
set -eu
if [ "${1:-}" != "v1" ]; then
    echo "prepare_instance.sh: expected version v1, got '${1:-}'" >&2
    exit 1
fi
if [ "$#" -ne 4 ]; then
    echo "usage: prepare_instance.sh v1 CATEGORY ONNX VNNLIB" >&2
    exit 1
fi
for file in "$3" "$4"; do
    if [ ! -r "$file" ] && [ ! -r "$file.gz" ]; then
        echo "prepare_instance.sh: cannot read $file" >&2
        exit 1
    fi
done
