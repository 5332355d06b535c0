"""Optimised programs of XLA as text (HLO), read into computations of instructions.

    %name = bf16[8,3584]{1,0:T(8,128)(2,1)} opcode(%operand, ...), attribute=value, ...

In braces is how an array lies in memory: axes from the fastest on, tiles T(8,128) to
whose multiples the fastest axes are padded, and S(n), a memory other than the main one.
"""

import dataclasses
import functools
import math
import re
from typing import NamedTuple

_HEAD = re.compile(r"^(ENTRY )?%?([\w.\-]+) .*\{$")
_LINE = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = ")
_ARRAY = re.compile(r"([a-z]\w*)\[([\d,<=]*)\](?:\{([^}]*)\})?")
_COMMENT = re.compile(r"/\*.*?\*/")
_OPERAND = re.compile(r"%([\w.\-]+)")
_TILE = re.compile(r"T\(([\d,]*)\)")
_BITS = {"pred": 8, "token": 0, "opaque": 0}


class ArrayType(NamedTuple):
    """An array.

    Attributes:
      dtype: bf16, f32, s32, pred, ...
      shape: sizes of the axes.
      layout: what stands in braces.
    """

    dtype: str
    shape: tuple[int, ...]
    layout: str

    @property
    def in_main(self) -> bool:
        """Whether it lies in the device's main memory."""
        return re.search(r"S\([1-9]", self.layout) is None

    @property
    def bytes(self) -> float:
        """With padding to whole tiles."""
        sizes = list(self.shape)
        order, _, rest = self.layout.partition(":")
        tile = _TILE.search(rest)
        if tile and tile[1] and order:
            axes = [int(axis) for axis in order.split(",")]
            units = [int(unit) for unit in tile[1].split(",")][::-1]
            for axis, unit in zip(axes, units, strict=False):
                sizes[axis] = -(-sizes[axis] // unit) * unit
        return math.prod(sizes) * _bits(self.dtype) / 8


class Instruction(NamedTuple):
    """One line of a computation.

    Attributes:
      name: of the result.
      arrays: of the result, several for a tuple.
      opcode: what is done.
      operands: names.
      inside: what stands between the operands' parentheses.
      attributes: what stands after them.
    """

    name: str
    arrays: tuple[ArrayType, ...]
    opcode: str
    operands: tuple[str, ...]
    inside: str
    attributes: str

    def attribute(self, name: str) -> str | None:
        """The value of an attribute that has no comma, or stands in braces."""
        found = re.search(rf"(?:^|[ ,]){name}=(\{{[^}}]*\}}|[^,\s]+)", self.attributes)
        return found[1] if found else None

    def numbers(self, name: str) -> tuple[int, ...]:
        """Of an attribute such as lhs_contracting_dims={1}."""
        return tuple(int(x) for x in re.findall(r"\d+", self.attribute(name) or ""))

    def called(self, name: str) -> str:
        """The computation that an attribute names."""
        return (self.attribute(name) or "").removeprefix("%")

    @property
    def source(self) -> str:
        """Where it comes from in the traced program."""
        found = re.search(r'op_name="([^"]*)"', self.attributes)
        return found[1] if found else ""


@dataclasses.dataclass(frozen=True, eq=False)
class Computation:
    """A function of the program.

    Attributes:
      name: its own.
      instructions: by name, in order.
      root: the name of the one whose result is the computation's.
    """

    name: str
    instructions: dict[str, Instruction]
    root: str

    def operand(self, instruction: Instruction, index: int) -> Instruction | None:
        """The instruction that makes an operand; None if it is not there."""
        if index >= len(instruction.operands):
            return None
        return self.instructions.get(instruction.operands[index])

    @functools.cached_property
    def users(self) -> dict[str, list[Instruction]]:
        """The instructions that have an instruction, by its name, as an operand."""
        found: dict[str, list[Instruction]] = {name: [] for name in self.instructions}
        for instruction in self.instructions.values():
            for name in dict.fromkeys(instruction.operands):
                if name in found:
                    found[name].append(instruction)
        return found

    @functools.cached_property
    def parameters(self) -> dict[int, Instruction]:
        """Parameters by their numbers."""
        return {
            int(instruction.inside): instruction
            for instruction in self.instructions.values()
            if instruction.opcode == "parameter"
        }


class Module(NamedTuple):
    """A program.

    Attributes:
      computations: by name.
      entry: the name of the first.
    """

    computations: dict[str, Computation]
    entry: str


def read_module(text: str) -> Module:
    """Reads a program as `compiled.as_text()` prints it."""
    computations, entry = {}, ""
    name, lines, root = "", {}, ""
    for line in text.splitlines():
        if line.startswith("}"):
            computations[name] = Computation(name, lines, root)
        elif line[:1] not in ("", " ") and (head := _HEAD.match(line)):
            name, lines, root = head[2], {}, ""
            entry = name if head[1] else entry
        elif found := _LINE.match(line):
            lines[found[2]] = _instruction(found[2], line[found.end() :])
            root = found[2] if found[1] else root
    return Module(computations, entry)


def arrays_of(text: str) -> tuple[ArrayType, ...]:
    """The arrays of a type."""
    found = []
    for dtype, sizes, layout in _ARRAY.findall(text):
        shape = tuple(int(x.lstrip("<=")) for x in sizes.split(",") if x)
        found.append(ArrayType(dtype, shape, layout))
    return tuple(found)


def _instruction(name: str, rest: str) -> Instruction:
    rest = _COMMENT.sub("", rest)
    end = _closing(rest, 0) + 1 if rest.startswith("(") else rest.index(" ")
    result, rest = rest[:end], rest[end:].lstrip()
    opcode, _, _ = rest.partition("(")
    end = _closing(rest, len(opcode))
    inside, attributes = rest[len(opcode) + 1 : end], rest[end + 1 :].lstrip(", ")
    operands = tuple(_OPERAND.findall(inside))
    if not operands and opcode not in ("constant", "parameter"):
        # Before optimisation names are written without a sign.
        operands = tuple(word.split()[-1] for word in inside.split(",") if word.strip())
    return Instruction(name, arrays_of(result), opcode, operands, inside, attributes)


def _closing(text: str, start: int) -> int:
    """Index of the parenthesis that closes the one at `start`."""
    depth = 0
    for found in re.compile(r"[()]").finditer(text, start):
        depth += 1 if found[0] == "(" else -1
        if depth == 0:
            return found.start()
    return len(text)


@functools.cache
def _bits(dtype: str) -> int:
    if dtype in _BITS:
        return _BITS[dtype]
    found = re.search(r"\d+", dtype)
    return int(found[0]) if found else 0
