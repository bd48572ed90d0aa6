"""How many pieces of memory this process has: Linux gives each 65,530, and compiled code takes many."""

from pathlib import Path

MAPS, LIMIT = Path("/proc/self/maps"), Path("/proc/sys/vm/max_map_count")
SHARE = 3


def crowded() -> bool:
    """Whether the process has more than a third of the memory mappings that it may have; False where that is not known.

    A program that is compiled for a CPU has 200 to 2,000 of them, and beyond the limit the process dies.
    """
    try:
        with MAPS.open("rb") as maps:
            return SHARE * sum(1 for _ in maps) > int(LIMIT.read_text())
    except OSError:
        return False
