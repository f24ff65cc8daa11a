"""Where to compute, from a user's word for it."""

from __future__ import annotations

import torch

from robustbench_local.errors import DeviceError

__all__ = ["find_device"]


def find_device(name: str | torch.device | None) -> torch.device:
    """The device `name` ("cpu", "cuda", "cuda:1", "mps"), or the CPU for None.

    Raises DeviceError if there is no such device here.
    """
    try:
        device = torch.device("cpu" if name is None else name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA answers with an AssertionError
        known = ["cpu", *(f"cuda:{k}" for k in range(torch.cuda.device_count()))]
        raise DeviceError(f"no device {str(name)!r} here", cure=f"available: {', '.join(known)}") from error
    return device
