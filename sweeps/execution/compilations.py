"""Compiled programs that JAX keeps on disk."""

import functools
import os
import uuid
from typing import Any

from jax._src import cache_key, lru_cache

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


def keep_whole() -> None:
    """Has what JAX keeps appear whole or not at all, and what is broken there replaced.

    JAX writes each file in place (`jax._src.lru_cache`), and never again: another process may read half of it, and of
    what kill -9 left of it every later process says so and compiles anew, for ever. Object stores and a cache with a
    greatest size (`jax_compilation_cache_max_size`, which locks) are left as they are. Does nothing where a later JAX
    calls this otherwise.
    """
    put: Any = getattr(getattr(lru_cache, "LRUCache", None), "put", None)
    suffix: Any = getattr(lru_cache, "_CACHE_SUFFIX", None)
    if put is None or suffix is None or hasattr(put, "__wrapped__"):
        return

    @functools.wraps(put)
    def put_whole(self: Any, key: str, value: bytes) -> None:
        if self.eviction_enabled or "://" in str(self.path):
            return put(self, key, value)
        name = f"{key}.{uuid.uuid4().hex[:8]}.tmp"
        temporary = self.path / f"{name}{suffix}"
        try:
            put(self, name, value)
            os.replace(temporary, self.path / f"{key}{suffix}")
        finally:
            temporary.unlink(missing_ok=True)

    setattr(lru_cache.LRUCache, "put", put_whole)  # noqa: B010 (as above: JAX's own method)
