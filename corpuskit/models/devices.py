"""The device of a name, checked before a model is brought to it."""

from __future__ import annotations

import torch

from corpuskit.errors import ConfigError


def device_of(name: str, where: str = "device", local_rank: int = 0) -> torch.device:
    """The torch device called `name`; "auto" is CUDA where there is one.

    Parameters
    ----------
    name : str
    where : str
        What an error names.
    local_rank : int
        Which of the machine's GPUs "auto" and "cuda" are, for a process among several.

    Raises
    ------
    ConfigError
        If there is no such device here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        # An index is made explicit only where there is something to choose.
        found = torch.device(f"cuda:{local_rank}" if name == "cuda" and local_rank else name)
        return torch.empty(0, device=found).device
    # torch says what it does not know with whatever its backend raises
    except (RuntimeError, AssertionError, NotImplementedError, ImportError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        here = "auto, cpu or cuda" if torch.cuda.is_available() else "auto or cpu: there is no CUDA here"
        raise ConfigError(
            f"there is no device {name!r}: {reason}", where=where, hint=f"choose {here}"
        ) from error
