"""Compiled programs that JAX keeps on disk."""

import functools
from typing import Any

from jax._src import cache_key

HASHED = "_hash_serialized_compile_options"


def serve_all_devices() -> None:
    """Has what is kept of a program for one device serve all of its kind on a host; as JAX itself does for GPUs alone.

    JAX names what it keeps by the device too, and so compiles for each core of a CPU. What it reads it assigns to the
    device that asks, on every platform: the same machine code, and the same bits. Does nothing where a later JAX names
    this otherwise: then programs are compiled for each device.
    """
    hashed: Any = getattr(cache_key, HASHED, None)
    if hashed is None or hasattr(hashed, "__wrapped__"):
        return

    @functools.wraps(hashed)
    def of_any_device(hash_obj: object, options: object, strip_device_assignment: bool = True) -> None:
        hashed(hash_obj, options, strip_device_assignment=True)

    setattr(cache_key, HASHED, of_any_device)
