"""auto-LiRPA loaded and run on today's torch and numpy, with its side effects kept local.

The only release on the package index is 0.3 (2022). It fails on current numpy and torch by exactly
four things, all supplied here and only when version 0.3 is found:

1. `numpy.lib.arraysetops.isin`, imported but never used;
2. `torch.onnx.symbolic_helper._set_opset_version`;
3. subscripting of `torch._C.Node` (now `torch.onnx.symbolic_helper._node_get`);
4. the `remove_duplicate` argument that `nn.Module.named_parameters` now hands to `_named_members`.

1 to 3 are put back after use; 4 is a method of auto-LiRPA's own class. Importing auto-LiRPA also
changes the process's warning filters, root logger and TorchScript executor: those are restored too.
Newer versions (0.7.1 was tried) need none of it and run through the same door.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from robustbench_local.errors import MissingPackageError

__all__ = ["INSTALL", "auto_lirpa_version", "running_auto_lirpa"]

INSTALL = "pip install --no-deps auto-LiRPA==0.3 appdirs ninja packaging pyyaml tqdm"

_SHIMMED = "0.3"
_LOCK = threading.RLock()  # the shims touch process-wide names: one thread at a time runs auto-LiRPA


def auto_lirpa_version() -> str | None:
    """The version of the auto-LiRPA that an import would load, read without importing it; None if absent."""
    spec = find_spec("auto_LiRPA")
    if spec is None or spec.origin is None:
        return None
    found = re.search(r"__version__\s*=\s*['\"]([^'\"]+)", Path(spec.origin).read_text(encoding="utf-8"))
    return found.group(1) if found else "unknown"


@contextmanager
def running_auto_lirpa(dtype: torch.dtype) -> Iterator[ModuleType]:
    """The imported `auto_LiRPA` package, usable inside the block only, for networks of this `dtype`.

    Inside the block warnings are silenced and the default dtype is `dtype` (auto-LiRPA builds its
    tables in the default dtype); everything is as before afterwards. Other threads wait.
    Raises MissingPackageError, with the command that installs it, where the package is absent.
    """
    version = auto_lirpa_version()
    if version is None:
        raise MissingPackageError("auto-LiRPA is not installed", where="auto_LiRPA", cure=f"run: {INSTALL}")
    # recorded, not only ignored: auto-LiRPA puts filters of its own in front of ours
    silent = warnings.catch_warnings(record=True)
    with _LOCK, _default_dtype(dtype), _own_settings(), silent, np.errstate(all="ignore"), _no_messages():
        warnings.simplefilter("ignore")
        if version == _SHIMMED:
            with _names_of_2022():
                package = _imported()
                _accept_remove_duplicate(package)
                yield package
        else:
            yield _imported()


def _imported() -> ModuleType:
    handlers = list(logging.root.handlers)
    try:
        package = import_module("auto_LiRPA")
    except ImportError as error:
        missing = f"auto-LiRPA cannot be imported: {error}"
        raise MissingPackageError(missing, where="auto_LiRPA", cure=f"run: {INSTALL}") from error
    finally:
        logging.root.handlers[:] = handlers
    warnings.simplefilter("ignore")  # the import installed filters of its own
    return package


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def _no_messages() -> Iterator[None]:
    """auto-LiRPA logs every operator it does not know, which the error that follows says already."""
    own = logging.getLogger("auto_LiRPA.utils")  # its only logger
    before, own.disabled = own.disabled, True
    try:
        yield
    finally:
        own.disabled = before


def _exporter_settings() -> Any:
    return import_module("torch.onnx._internal.torchscript_exporter._globals").GLOBALS


@contextmanager
def _own_settings() -> Iterator[None]:
    """auto-LiRPA's choice of TorchScript executor; it and the exporter's settings as before afterwards."""
    settings = _exporter_settings()
    opset, inlining = settings.export_onnx_opset_version, settings.autograd_inlining
    executor = torch._C._jit_set_profiling_executor(False)
    mode = torch._C._jit_set_profiling_mode(False)
    try:
        yield
    finally:
        torch._C._jit_set_profiling_executor(executor)
        torch._C._jit_set_profiling_mode(mode)
        settings.export_onnx_opset_version, settings.autograd_inlining = opset, inlining


@contextmanager
def _names_of_2022() -> Iterator[None]:
    """The three names of numpy and torch that version 0.3 expects, for the length of the block."""
    helper: Any = import_module("torch.onnx.symbolic_helper")
    node: Any = torch._C.Node
    old_numpy: Any = ModuleType("numpy.lib.arraysetops")
    old_numpy.isin = np.isin
    before = sys.modules.get(old_numpy.__name__)  # numpy 1 still has the real one

    def set_opset_version(version: int) -> None:
        _exporter_settings().export_onnx_opset_version = version

    sys.modules[old_numpy.__name__] = old_numpy
    helper._set_opset_version = set_opset_version
    node.__getitem__ = helper._node_get
    try:
        yield
    finally:
        del sys.modules[old_numpy.__name__], helper._set_opset_version, node.__getitem__
        if before is not None:
            sys.modules[old_numpy.__name__] = before


def _accept_remove_duplicate(package: Any) -> None:
    bounded = package.BoundedModule
    members = bounded.__dict__["_named_members"]
    if "remove_duplicate" in members.__code__.co_varnames:
        return

    def _named_members(self: Any, *args: Any, remove_duplicate: bool = True, **options: Any) -> Any:
        return members(self, *args, **options)

    bounded._named_members = _named_members
