#!/bin/bash
# install_tool.sh VERSION: installs the tool into vnncomp/.venv of this checkout.
# RBL_PYTHON: the Python (>= 3.10) to make it with; default: python3. Set RBL to use an installed `rbl` instead.
set -eu
if [ "${1:-}" != "v1" ]; then
    echo "install_tool.sh: expected version v1, got '${1:-}'" >&2
    exit 1
fi
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
if [ -n "${RBL:-}" ]; then
    exec "$RBL" --version
fi
"${RBL_PYTHON:-python3}" -m venv "$here/.venv"
"$here/.venv/bin/pip" install --quiet "$here/..[onnxruntime]"
exec "$here/.venv/bin/rbl" --version
