"""What a compiled program moves: read off its optimised HLO, where XLA says of each array how it lies in which memory.

XLA's own `cost_analysis` adds all memories up and counts the body of a loop once. Here arrays of a TPU's main memory
(HBM) are told from those that stay on the chip (VMEM), as padded to tiles, and loops count as often as they are made.
"""

import dataclasses
import functools
import math
import re
from collections.abc import Iterator, Mapping

VERSION = 1  # of what is counted: another makes kept findings void
ITEM = {"pred": 1, "s4": 1, "u4": 1, "bf16": 2, "token": 0, "opaque": 0}  # others say their bits
ARRAY = re.compile(r"\b(\w+)\[([\d,]*)\](?:\{([\d,]*)(?::([^}]*))?\})?")
COMPUTATION = re.compile(r"^(?:ENTRY )?%?([\w.\-]+) \(.*\{$")
INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%([\w.\-]+) = (.*)$")
CALLED = re.compile(r"(?:body|to_apply|true_computation|false_computation)=%([\w.\-]+)|branch_computations=\{([^}]*)\}")
SCOPE = re.compile(r'op_name="([^"]*)"')
MOVES_NOTHING = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "partition-id"}


@dataclasses.dataclass(frozen=True)
class Moved:
    """Bytes that instructions read and write.

    Attributes:
      main: of the device's main memory (HBM of a TPU).
      chip: of memory on the chip (VMEM of a TPU).
      padding: how many of both are padding of tiles.
    """

    main: float = 0.0
    chip: float = 0.0
    padding: float = 0.0

    def __add__(self, other: "Moved") -> "Moved":
        return Moved(self.main + other.main, self.chip + other.chip, self.padding + other.padding)

    def __mul__(self, times: float) -> "Moved":
        return Moved(self.main * times, self.chip * times, self.padding * times)

    @property
    def bytes(self) -> float:
        """Of all memories."""
        return self.main + self.chip


@dataclasses.dataclass(frozen=True)
class Instruction:
    """A line of HLO: the type of what it gives, what it does, with what, and the rest of the line."""

    name: str
    shape: str
    operation: str
    operands: tuple[str, ...]
    rest: str

    @property
    def scope(self) -> str:
        """Where in the traced program it comes from."""
        found = SCOPE.search(self.rest)
        return found[1] if found else ""

    def loops_in(self, scope: str) -> bool:
        """Whether it is a loop that was traced directly in a scope of this name."""
        return self.operation == "while" and self.scope.endswith((f"/{scope}/while", f"({scope})/while"))


class Module:
    """An HLO module as text, read."""

    def __init__(self, text: str):
        self.computations: dict[str, dict[str, Instruction]] = {}
        own: dict[str, Instruction] = {}
        for line in text.splitlines():
            if begins := COMPUTATION.match(line):
                own = self.computations.setdefault(begins[1], {})
            elif (found := INSTRUCTION.match(line)) and (read := _read(found[1], found[2])):
                own[read.name] = read

    def loops(self, scope: str) -> list[str]:
        """The bodies of the loops that were traced directly in a `jax.named_scope`, in the order of the text."""
        every = (i for own in self.computations.values() for i in own.values())
        return [_called(i)[0] for i in every if i.loops_in(scope)]

    def moved(self, computation: str, rounds: Mapping[str, int] | None = None) -> Moved:
        """What a computation moves when it is made once.

        Args:
          computation: its name.
          rounds: how often the loops of a `jax.named_scope` are made, by its name; others count once, and of branches
            the one that moves most.
        """
        total = Moved()
        for _, part in self.parts(computation, rounds or {}):
            total += part
        return total

    def parts(self, computation: str, rounds: Mapping[str, int]) -> Iterator[tuple[Instruction, Moved]]:
        """What each instruction of a computation moves, those in loops and branches too; see `moved`."""
        own = self.computations[computation]
        for instruction in own.values():
            called = _called(instruction)
            if instruction.operation == "while":
                name = next(filter(instruction.loops_in, rounds), None)
                times = rounds[name] if name else 1
                for one, part in self.parts(called[0], rounds):
                    yield one, part * times
            elif instruction.operation in ("conditional", "call"):
                yield from self.parts(max(called, key=lambda c: self.moved(c, rounds).bytes), rounds)
            elif instruction.operation not in MOVES_NOTHING and not instruction.operation.endswith("-done"):
                yield instruction, _moved(instruction, own)


def _moved(instruction: Instruction, own: Mapping[str, Instruction]) -> Moved:
    """What one instruction reads and writes. An asynchronous copy gives its source too, and a place for its state."""
    if "AllocateBuffer" in instruction.rest:
        return Moved()
    texts = [instruction.shape]
    if not instruction.operation.endswith("-start"):
        texts += [own[name].shape for name in instruction.operands if name in own]
    total = Moved()
    for text in texts:
        total += _size(text)
    return total


@functools.lru_cache(4096)
def _size(shape: str) -> Moved:
    """The bytes of the arrays of a type, such as f32[64,31]{1,0:T(8,128)S(1)}."""
    total = Moved()
    for dtype, dims, order, layout in ARRAY.findall(shape):
        bits = re.search(r"\d+", dtype)
        item = ITEM[dtype] if dtype in ITEM else int(bits[0]) // 8 if bits else 0
        sizes = [int(d) for d in dims.split(",") if d]
        major = [sizes[int(i)] for i in reversed(order.split(","))] if order else sizes
        tile = re.search(r"T\(([\d,]+)\)", layout)
        padded = list(major)
        for back, edge in enumerate(reversed([int(t) for t in tile[1].split(",")] if tile else []), 1):
            if back <= len(padded):
                padded[-back] = -(-padded[-back] // edge) * edge
        whole, space = item * math.prod(padded), re.search(r"S\((\d+)\)", layout)
        padding = whole - item * math.prod(sizes)
        if space is None or space[1] in ("0", "5"):
            total += Moved(main=whole, padding=padding)
        elif space[1] == "1":
            total += Moved(chip=whole, padding=padding)
    return total


def _read(name: str, text: str) -> Instruction | None:
    """An instruction, from what stands behind its name."""
    end = _closing(text, 0) + 1 if text.startswith("(") else text.find(" ")
    shape, (operation, bracket, rest) = text[:end], text[end:].strip().partition("(")
    if not bracket:
        return None
    close = _closing("(" + rest, 0)
    return Instruction(name, shape, operation, tuple(re.findall(r"%([\w.\-]+)", rest[:close])), rest[close:])


def _closing(text: str, start: int) -> int:
    """Where the bracket that opens at `start` closes."""
    depth = 0
    for i in range(start, len(text)):
        depth += (text[i] == "(") - (text[i] == ")")
        if depth == 0:
            return i
    return len(text)


def _called(instruction: Instruction) -> list[str]:
    """The computations that a loop, branch or call makes."""
    found = CALLED.findall(instruction.rest)
    return [name.strip().lstrip("%") for one, many in found for name in (one or many).split(",")]
