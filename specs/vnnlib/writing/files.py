"""Writing a property to a file, whole or not at all."""

from __future__ import annotations

import gzip
import lzma
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import torch
from torch import Tensor

from robustbench_local.errors import DataError, SpecError

from ...bindings import bind
from ...lowering import lower
from ...query import Query
from ...spec import Spec
from ..property import VnnlibProperty
from ..version2 import Vnnlib2Property
from ..version2.printer import text_lines
from .from_property import from_property
from .from_query import flat_from_query, from_query
from .grid import on_grid
from .version1 import version1_lines
from .wiring import free_name, refused

__all__ = ["write_vnnlib"]


def write_vnnlib(
    found: VnnlibProperty | Vnnlib2Property | Query | Spec,
    path: str | Path,
    version: str = "1.0",
    *,
    input_shape: Sequence[int] | None = None,
    output_shape: Sequence[int] | None = None,
    grid: torch.dtype | None = None,
) -> None:
    """Writes a property as VNN-LIB 1.0, 2.0 or 2.1; gzip or xz where the name ends in .gz or .xz.

    The file's unsafe set is never smaller than the property's: in 1.0 strict conditions become non-strict,
    and decimals of bounds are rounded outward. So a proof of the file (`unsat`) is one of the property; a
    counterexample to the file must be replayed on the property. Nothing else is approximated.

    1.0 holds one network with one input and one output, boxes, bounds of outputs, and orders of two outputs.
    2.0 also holds linear conditions, products, polytopes, several networks and inputs, inner nodes.

    Args:
        found: a property that was read, one problem of a query, or a spec without values to be bound.
        path: of the file; it is replaced as a whole.
        input_shape, output_shape: the shapes in the ONNX file, batch axis included, that 2.0 declares for
            a flat property or a query of one network. Default: a batch axis of 1 before the shape of one
            sample, or before the number of elements where this is all that is known.
        grid: move bounds of inputs outward to numbers of this floating type, for tools that compute in it and
            round decimals to the nearest.

    Raises SpecError (E-EXPORT) for what the version cannot hold, DataError where the file cannot be written.
    """
    place = Path(path)
    lines = _lines(found, version, input_shape, output_shape, grid)
    _write(place, lines)


def _lines(
    found: VnnlibProperty | Vnnlib2Property | Query | Spec,
    version: str,
    input_shape: Sequence[int] | None,
    output_shape: Sequence[int] | None,
    grid: torch.dtype | None,
) -> Iterable[str]:
    if version not in ("1.0", "2.0", "2.1"):
        raise refused(f"there is no version {version!r}", "write version 1.0, 2.0 or 2.1")
    names = ("f", "X", "Y")
    if isinstance(found, Spec):
        net, variable = next(iter(found.nets.values())), found.variables[0]
        output_shape = output_shape or (1, *net.outputs)
        taken = [free_name(net.name, ())]
        for name in (variable.name, "Y"):
            taken.append(free_name(name, taken))
        names = (taken[0], taken[1], taken[2])
        found = _query(found)
    if version == "1.0":
        return list(version1_lines(_flat(found), grid or torch.float64))
    if isinstance(found, VnnlibProperty):
        sizes = (1, found.inputs), (1, found.outputs)
        found = from_property(found, input_shape or sizes[0], output_shape or sizes[1])
    elif isinstance(found, Query):
        found = from_query(found, input_shape, output_shape, names)
    if version == "2.0" and any(t.initialized for t in found.declared.tensors.values()):
        raise refused("VNN-LIB 2.0 has no `initialized` inputs", "write version 2.1")
    unsafe = found.unsafe if grid is None else on_grid(found, grid)
    return text_lines(version, found.declared, unsafe, outward=True)


def _flat(found: VnnlibProperty | Vnnlib2Property | Query) -> VnnlibProperty:
    if isinstance(found, Query):
        return flat_from_query(found)
    if isinstance(found, VnnlibProperty):
        return found
    try:
        return found.flat()
    except SpecError as error:
        if error.code in ("E-OP", "E-NONLIN", "E-DNF"):
            raise refused(f"VNN-LIB 1.0 cannot hold this: {error.what}", "write version 2.0") from error
        raise


def _query(spec: Spec) -> Query:
    """The problem of a spec, without its networks."""
    bound = bind(spec.slots, {})
    networks = dict.fromkeys(spec.nets, _no_network)
    found = lower(spec.variables, spec.domain, spec.body, spec.quantifier, networks, bound)
    return Query(found.network, found.inputs, found.C, found.d, found.tree, spec.text, layout=found.layout)


def _no_network(x: Tensor) -> Tensor:
    raise SpecError("the property was lowered to be written; it has no network")


def _write(path: Path, lines: Iterable[str]) -> None:
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as raw, _packed(raw, path) as stream:
                stream.writelines(f"{line}\n".encode() for line in lines)
            os.chmod(name, 0o666 & ~_umask())
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(f"cannot write the file: {reason}", where=str(path)) from error


@contextmanager
def _packed(raw: IO[bytes], path: Path) -> Iterator[IO[bytes]]:
    if path.suffix == ".gz":
        with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as stream:
            yield cast(IO[bytes], stream)
    elif path.suffix == ".xz":
        with lzma.open(raw, "wb") as packed:
            yield packed
    else:
        yield raw


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
