"""What `--preflight` prints: a row for each program, compiled for a TPU that is not there."""

import time
from collections.abc import Iterable
from typing import Any

import jax
from rich.table import Table

from sweeps.cli import command
from sweeps.execution.preflight import Checked, folder
from sweeps.execution.progress import clock

COLUMNS = "program", "runs", "lanes", "compiled", "2 blocks", "MFLOP", "HBM", "VMEM", "padding", "≥ µs", "bound by"


def show(programs: Iterable[Checked], topology: str) -> None:
    """Prints programs as they are checked, with what is not to be relied on."""
    table, begun, notes, count = Table(*COLUMNS), time.monotonic(), dict[str, list[str]](), 0
    for count, one in enumerate(programs, 1):
        for note in one.notes:
            notes.setdefault(note, []).append(str(count))
        cells = [""] * 8
        if found := one.found:
            seconds = "kept" if one.kept else f"{found.seconds:.0f} s"
            memory = f"{2 * found.memory / 2**20:.0f} MiB of {one.target.memory / 2**30:.1f} GiB"
            sizes = [f"{number / 1e3:,.1f} kB" for number in (found.main, found.on_chip)]
            bound = "products" if one.by_products >= one.by_memory else "HBM"
            least = f"{1e6 * max(one.by_products, one.by_memory):.3g}"
            cells = [seconds, memory, f"{found.flops / 1e6:.3g}", *sizes, f"{found.padding:.0%}", least, bound]
        table.add_row(str(count), str(one.runs), str(one.lanes), *cells)
    command.print_table(table, 130)
    for note, which in notes.items():
        print(f"program {', '.join(which)}: {note}")
    print("MFLOP, bytes and microseconds are of a lane-step with all rows of the table. Microseconds are a lower bound")
    print("by published peaks, no measurement; bytes are as the compiled step reads and writes them, padded to tiles")
    took, several = clock(time.monotonic() - begun), "s" * (count != 1)
    print(f"{count} program{several} for {topology} in {took}; nothing was trained")
    config: Any = jax.config
    print(f"findings are kept in {folder()}, compiled programs in {config.jax_compilation_cache_dir}")
