"""Compiled programs that JAX keeps on disk."""

import functools
from typing import Any

from jax._src import cache_key

HASHED = "_hash_serialized_compile_options"


def serve_all_devices() -> None:
    """Has what is kept of a program on one device serve all of its kind on a host; as JAX itself does for GPUs alone.

    JAX names what it keeps by the device too, and so compiles for each core of a CPU. What it reads it assigns to the
    device that asks: the same machine code, and the same bits. Programs on several devices are named as before: which
    these are may matter. Does nothing where a later JAX calls this otherwise: then each device has its compilation.
    """
    hashed: Any = getattr(cache_key, HASHED, None)
    if hashed is None or hasattr(hashed, "__wrapped__"):
        return

    @functools.wraps(hashed)
    def of_any_device(hash_obj: object, options: Any, strip_device_assignment: bool = False) -> None:
        places = options.device_assignment
        alone = places is not None and places.replica_count() * places.computation_count() == 1
        hashed(hash_obj, options, strip_device_assignment or alone)

    setattr(cache_key, HASHED, of_any_device)
