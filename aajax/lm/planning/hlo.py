"""What an optimised program does: FLOPs, bytes and collectives, counted from its HLO.

XLA's own `cost_analysis` counts the body of a loop once; here it counts as often as the
loop turns. Counted are

    FLOPs         2 for every product of a matrix product or convolution
    bytes         what instructions read from and write to main memory, tiles' padding
                  included; of an array that is sliced or updated in place, the slice
    collectives   bytes that a device receives: in a group of g devices (g − 1)/g of
                  what is gathered or exchanged, twice that of what is all-reduced

A loop whose number of turns is decided while it runs is counted apart, for one turn:
decoding goes on until all have stopped. If it is within another loop, as that over the
blocks of a cache that are in use, it is counted as often as the caller says.
"""

import dataclasses
import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from aajax.lm.planning.hlo_text import (
    ArrayType,
    Computation,
    Instruction,
    Module,
    read_module,
)

COLLECTIVES = (
    *("all-gather", "all-reduce", "reduce-scatter", "all-to-all"),
    *("collective-permute", "ragged-all-to-all", "collective-broadcast"),
)
# Names for what is there already, and what has no array of its own.
_FREE = {
    *("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all"),
    *("partition-id", "replica-id", "opt-barrier", "optimization-barrier", "domain"),
    *(
        "copy-done",
        "slice-done",
        "async-done",
        "async-update",
        "recv-done",
        "send-done",
    ),
}
_START = "AsyncCollectiveStart"
_FREE_CALLS = {"AllocateBuffer", "ConcatBitcast", _START, "AsyncCollectiveDone"}
_SPLASH = {"fwd": 2, "dq": 3, "dkv": 4}  # matrix products of its kernels
_SLICES = {"dynamic-slice", "slice", "gather"}
_VIEWS = {"bitcast", "reshape", "get-tuple-element"}


@dataclasses.dataclass(frozen=True)
class Collective:
    """A communication between devices.

    Attributes:
      kind: one of `COLLECTIVES`.
      arrays: what comes out of it.
      bytes: that a device receives each time.
      times: how often it runs.
      source: where it comes from in the traced program.
      channel: its number, by which devices find each other; empty without one.
    """

    kind: str
    arrays: tuple[ArrayType, ...]
    bytes: float
    times: float
    source: str
    channel: str


@dataclasses.dataclass(frozen=True)
class Counts:
    """What a device does.

    Attributes:
      flops, bytes: counts.
      each: all collectives.
      turn: one turn of the outermost loops whose number of turns is not known, which is
        not among the other numbers; None without such loops.
    """

    flops: float = 0.0
    bytes: float = 0.0
    each: tuple[Collective, ...] = ()
    turn: "Counts | None" = None

    @property
    def collectives(self) -> dict[str, float]:
        """Bytes by kind, in the order of their size."""
        found: dict[str, float] = {}
        for one in self.each:
            found[one.kind] = found.get(one.kind, 0.0) + one.bytes * one.times
        return dict(sorted(found.items(), key=lambda item: -item[1]))

    def times(self, number: float) -> "Counts":
        """Of that many repetitions."""
        each = (dataclasses.replace(one, times=one.times * number) for one in self.each)
        return Counts(self.flops * number, self.bytes * number, tuple(each), self.turn)


def total(parts: Iterable[Counts]) -> Counts:
    """The sum."""
    parts = list(parts)
    turns = [part.turn for part in parts if part.turn is not None]
    return Counts(
        flops=math.fsum(part.flops for part in parts),
        bytes=math.fsum(part.bytes for part in parts),
        each=tuple(one for part in parts for one in part.each),
        turn=total(turns) if turns else None,
    )


def count(text: str, inner_turns: int = 1) -> Counts:
    """Counts of an optimised program.

    Args:
      text: of `compiled.as_text()`.
      inner_turns: of loops within loops, where their number is not known.
    """
    module = read_module(text)
    return _Counter(module, inner_turns).of(module.entry, False)


@dataclasses.dataclass(frozen=True, eq=False)
class _Counter:
    module: Module
    inner_turns: int

    def of(self, name: str, in_loop: bool) -> Counts:
        """One run of a computation whose instructions are run one by one."""
        computation = self.module.computations.get(name)
        if computation is None:
            return Counts()
        found = [
            self.instruction(computation, one, in_loop)
            for one in computation.instructions.values()
        ]
        return _once(total(found))

    def instruction(
        self, within: Computation, one: Instruction, in_loop: bool
    ) -> Counts:
        opcode = one.opcode
        if opcode == "while":
            return self.loop(within, one, in_loop)
        if opcode == "conditional":
            names = re.findall(
                r"%([\w.\-]+)", one.attribute("branch_computations") or ""
            )
            names = names or [one.called(f"{x}_computation") for x in ("true", "false")]
            branches = [self.of(name, in_loop) for name in names]
            return max(branches, key=lambda branch: branch.bytes)
        if opcode in ("call", "async-start"):
            return self.of(one.called("to_apply") or one.called("calls"), in_loop)
        if opcode == "fusion":
            inside, moved = (
                self.fused(one.called("calls")),
                self.fusion_bytes(within, one),
            )
            return dataclasses.replace(inside, bytes=inside.bytes + moved)
        kind = opcode.removesuffix("-start")
        if kind in COLLECTIVES:
            return Counts(0.0, _moved(within, one), (_collective(within, one, kind),))
        if opcode in _FREE or opcode.removesuffix("-done") in COLLECTIVES:
            return Counts()
        if opcode == "custom-call":
            return _custom_call(within, one)
        return Counts(_products(within, one), _moved(within, one))

    def loop(self, within: Computation, one: Instruction, in_loop: bool) -> Counts:
        names = one.called("body"), one.called("condition")
        turn = total([self.of(name, True) for name in names])
        number = trips(self.module, within, one)
        if number is None and not in_loop:
            return Counts(turn=turn)
        return turn.times(self.inner_turns if number is None else number)

    def fused(self, name: str) -> Counts:
        """Products and collectives in a fusion; its memory traffic is at its edges.

        A collective that goes on beside other work is in several fusions, of which one
        starts it.
        """
        computation = self.module.computations.get(name)
        if computation is None:
            return Counts()
        found = []
        for one in computation.instructions.values():
            kind = one.opcode.removesuffix("-start")
            if one.opcode in ("fusion", "call"):
                found.append(self.fused(one.called("calls") or one.called("to_apply")))
            elif kind in COLLECTIVES:
                starts = [
                    user
                    for user in computation.users[one.name]
                    if _target(user) == _START
                ]
                moved = _moved(computation, one) if starts else 0.0
                each = (_collective(computation, one, kind),)
                found.append(Counts(bytes=moved, each=each))
            elif one.opcode == "custom-call":
                found.append(Counts(_custom_call(computation, one).flops))
            else:
                found.append(Counts(_products(computation, one)))
        return total(found)

    def fusion_bytes(self, within: Computation, one: Instruction) -> float:
        inside = self.module.computations[one.called("calls")]
        read = 0.0
        for index in range(len(one.operands)):
            given = within.operand(one, index)
            if given is not None and len(given.arrays) == 1:
                read += self.bytes_read(inside, index, given.arrays[0])
        return read + self.bytes_written(inside, one)

    def bytes_read(self, inside: Computation, index: int, given: ArrayType) -> float:
        """Of a fusion's operand: all of it, or the slices that are taken."""
        parameter = inside.parameters.get(index)
        if parameter is None or not given.in_main:
            return 0.0
        return min(self.bytes_used(inside, parameter, given), given.bytes)

    def bytes_used(
        self, inside: Computation, value: Instruction, given: ArrayType
    ) -> float:
        used = 0.0
        for user in inside.users[value.name]:
            first = user.operands[0] == value.name
            if user.opcode in _SLICES and first:
                used += user.arrays[0].bytes
            elif user.opcode in ("dynamic-update-slice", "scatter") and first:
                continue  # in place: what is not updated stays where it is
            elif user.opcode in ("tuple", *COLLECTIVES) or _target(user) in _FREE_CALLS:
                continue  # handed on, or counted with the collective
            elif user.opcode in _VIEWS:
                used += self.bytes_used(inside, user, given)
            elif user.opcode == "fusion":
                own = self.module.computations[user.called("calls")]
                at = user.operands.index(value.name)
                used += self.bytes_read(own, at, given)
            else:
                return given.bytes
        return used

    def bytes_written(self, inside: Computation, one: Instruction) -> float:
        """Of a fusion's results: all of each, or the slice that is updated."""
        root = inside.instructions.get(inside.root)
        if root is not None and _target(root) in _FREE_CALLS:
            return 0.0
        parts: list[Instruction | None] = [root]
        if root is not None and root.opcode == "tuple":
            parts = [inside.instructions.get(name) for name in root.operands]
        if len(parts) != len(one.arrays):
            return sum(x.bytes for x in one.arrays if x.in_main)
        written = 0.0
        for part, result in zip(parts, one.arrays, strict=True):
            if not result.in_main or (part and part.opcode == "parameter"):
                continue  # handed on
            written += self.result_bytes(inside, part, result)
        return written

    def result_bytes(
        self, inside: Computation, part: Instruction | None, result: ArrayType
    ) -> float:
        while part is not None and part.opcode in _VIEWS:
            part = inside.operand(part, 0)
        if part is None:
            return result.bytes
        if part.opcode in COLLECTIVES:
            return 0.0  # counted with it
        if part.opcode == "fusion":
            own = self.module.computations[part.called("calls")]
            return self.result_bytes(own, own.instructions.get(own.root), result)
        updated = {"dynamic-update-slice": 1, "scatter": 2}.get(part.opcode)
        if updated is not None:
            update = inside.operand(part, updated)
            if update is not None:
                return min(update.arrays[0].bytes, result.bytes)
        return result.bytes


def _once(counts: Counts) -> Counts:
    """Counts without collectives that go on from one fusion to the next."""
    seen, each = set(), []
    for one in counts.each:
        # In one computation a channel is that of one collective.
        if not one.channel or (one.kind, one.channel) not in seen:
            each.append(one)
        seen.add((one.kind, one.channel))
    return dataclasses.replace(counts, each=tuple(each))


def _collective(within: Computation, one: Instruction, kind: str) -> Collective:
    given = [x for i in range(len(one.operands)) for x in _arrays(within, one, i)]
    sent = sum(x.bytes for x in given)
    # Of the asynchronous form, what is given is among the results.
    received = [x for x in one.arrays if x not in given] or list(one.arrays)
    received = [x for x in received if x.shape or x.dtype not in ("u32", "s32")]
    size = _group_size(one)
    most = max(sent, sum(x.bytes for x in one.arrays) if not given else 0.0)
    if kind == "all-gather":
        moved = sum(x.bytes for x in received) * (size - 1) / size
    elif kind == "all-reduce":
        moved = 2 * most * (size - 1) / size
    elif kind == "collective-permute":
        moved = most
    else:
        moved = most * (size - 1) / size
    channel = one.attribute("channel_id") or ""
    return Collective(kind, tuple(one.arrays), moved, 1.0, one.source, channel)


def _group_size(one: Instruction) -> int:
    """g, from one of the ways in which groups of devices are written."""
    text = one.attributes
    if found := re.search(r"replica_groups=mesh\[([^\]]*)\] ?\{([^}]*)\}", text):
        sizes = dict(re.findall(r"'([^']+)'=(\d+)", found[1]))
        return math.prod(
            int(sizes[name]) for name in re.findall(r"'([^']+)'", found[2])
        )
    if found := re.search(r"replica_groups=\[(\d+),(\d+)\]<=", text):
        return int(found[2])
    if found := re.search(r"replica_groups=\{\{([\d,]*)\}", text):
        return found[1].count(",") + 1
    return 2


def trips(module: Module, within: Computation, loop: Instruction) -> int | None:
    """How often a loop turns; None if that is decided while it runs."""
    found = re.search(r'known_trip_count"?:\s*\{"?n"?:\s*"?(\d+)', loop.attributes)
    if found:
        return int(found[1])
    condition = module.computations[loop.called("condition")]
    bound = _bound(module, condition)
    if bound is None:
        return None
    index, last, direction = bound
    first = _initial(within, loop, index)
    step = _step(module.computations[loop.called("body")], index)
    if not step or direction not in ("LT", "LE"):
        return None
    return max(0, math.ceil((last - first + (direction == "LE")) / step))


def _bound(module: Module, condition: Computation) -> tuple[int, int, str] | None:
    """Which element of the loop's state is compared with which number, and how."""
    root = condition.instructions[condition.root]
    if root.opcode == "fusion":
        inside = module.computations[root.called("calls")]
        compare = inside.instructions[inside.root]
        sides = [
            condition.operand(root, int(side.inside))
            if side is not None and side.opcode == "parameter"
            else side
            for side in (inside.operand(compare, i) for i in (0, 1))
        ]
    else:
        compare, sides = root, [condition.operand(root, i) for i in (0, 1)]
    if compare.opcode != "compare" or None in sides:
        return None
    counter, limit = sides
    assert counter is not None and limit is not None
    index, last = counter.attribute("index"), _number(limit)
    if counter.opcode != "get-tuple-element" or index is None or last is None:
        return None
    return int(index), last, compare.attribute("direction") or ""


def _initial(within: Computation, loop: Instruction, index: int) -> int:
    """What the loop's state begins with; 0, as of JAX's loops, if it cannot be read."""
    state = within.operand(loop, 0)
    if state is None or state.opcode != "tuple":
        return 0
    value = within.operand(state, index)
    while value is not None and value.opcode in ("copy", "bitcast", "convert"):
        value = within.operand(value, 0)
    number = None if value is None else _number(value)
    return 0 if number is None else number


def _step(body: Computation, index: int) -> int:
    """By how much a turn increases an element of the loop's state."""
    root = body.instructions[body.root]
    if root.opcode != "tuple":
        return 1
    added = body.operand(root, index)
    while added is not None and added.opcode in ("copy", "bitcast", "convert"):
        added = body.operand(added, 0)
    if added is None or added.opcode != "add":
        return 1
    sides = (body.operand(added, i) for i in (0, 1))
    numbers = [_number(side) for side in sides if side is not None]
    return next((number for number in numbers if number is not None), 1)


def _number(one: Instruction) -> int | None:
    if one.opcode != "constant" or not re.fullmatch(r"-?\d+", one.inside):
        return None
    return int(one.inside)


def _arrays(within: Computation, one: Instruction, index: int) -> tuple[ArrayType, ...]:
    made = within.operand(one, index)
    return () if made is None else made.arrays


def _moved(within: Computation, one: Instruction) -> float:
    """Bytes that an instruction reads and writes, if it is no fusion."""
    results = sum(x.bytes for x in one.arrays if x.in_main)
    operands = [
        sum(x.bytes for x in _arrays(within, one, i) if x.in_main)
        for i in range(len(one.operands))
    ]
    if one.opcode == "copy-start":
        return sum(x.bytes for x in one.arrays[:2] if x.in_main)
    if one.opcode.endswith("-start"):
        return results
    if one.opcode in _SLICES:
        return 2 * results if operands and operands[0] else results
    if one.opcode == "dynamic-update-slice":
        return 2 * sum(x.bytes for x in _arrays(within, one, 1)) if results else 0.0
    if one.opcode == "scatter":
        return 2 * sum(operands[2:]) if results else sum(operands[2:])
    return results + sum(operands)


def _products(within: Computation, one: Instruction) -> float:
    """FLOPs of a matrix product or a convolution; 0 of anything else."""
    if one.opcode == "dot":
        (left, *_), axes = _arrays(within, one, 0), one.numbers("lhs_contracting_dims")
        summed = math.prod(left.shape[axis] for axis in axes)
        return 2.0 * math.prod(one.arrays[0].shape) * summed
    if one.opcode == "convolution":
        return _convolution(within, one)
    return 0.0


def _convolution(within: Computation, one: Instruction) -> float:
    """2 · features in · features out · batch · places of the window that are inside."""
    (left, *_), (right, *_) = _arrays(within, one, 0), _arrays(within, one, 1)
    labels = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", one.attributes)
    assert labels is not None
    of_left, of_right, of_out = labels.groups()
    shape, window = one.arrays[0].shape, one.attribute("window") or ""
    fields = dict(re.findall(r"(\w+)=([\w\-]+)", window))
    inside = 1.0
    for axis in range(len(of_left) - 2):
        number = str(axis)

        def field(name: str, default: str, axis: int = axis) -> str:
            return fields[name].split("x")[axis] if name in fields else default

        inside *= _valid(
            given=left.shape[of_left.index(number)],
            kernel=right.shape[of_right.index(number)],
            out=shape[of_out.index(number)],
            stride=int(field("stride", "1")),
            low=int(field("pad", "0_0").split("_")[0]),
            stretch=(int(field("lhs_dilate", "1")), int(field("rhs_dilate", "1"))),
        )
    groups = one.attribute("feature_group_count"), one.attribute("batch_group_count")
    features, batches = (int(group or 1) for group in groups)
    summed = left.shape[of_left.index("f")] / features
    batch = left.shape[of_left.index("b")] / batches
    return 2.0 * summed * batch * right.shape[of_right.index("o")] * inside


def _valid(
    given: int,
    kernel: int,
    out: int,
    stride: int,
    low: int,
    stretch: tuple[int, int],
) -> float:
    """Pairs of a place of the window and a place of the result that meet an input.

    Padding and what dilation puts between inputs are zeros, which nobody multiplies.
    """
    apart, wide = stretch
    at = np.arange(out)[:, None] * stride + np.arange(kernel)[None] * wide - low
    return float(((at >= 0) & (at < given * apart) & (at % apart == 0)).sum())


def _target(one: Instruction) -> str:
    return (one.attribute("custom_call_target") or "").strip('"')


def _custom_call(within: Computation, one: Instruction) -> Counts:
    target = _target(one)
    if target in _FREE_CALLS:
        return Counts()
    moved = _moved(within, one)
    options = _options(one)
    if "cost_estimate" in one.attributes:  # of a Pallas kernel
        found = re.search(r'"flops":\s*"?([\d.e+]+)', one.attributes)
        return Counts(float(found[1]) if found else 0.0, moved)
    if found := re.search(r"splash_m[hq]a_(fwd|dkv|dq)", f"{one.name} {one.source}"):
        return Counts(_splash(within, one, _SPLASH[found[1]]), moved)
    if target.startswith("__cublas") and "gemm_backend_config" in options:
        axes = options["gemm_backend_config"]["dot_dimension_numbers"]
        (left, *_) = _arrays(within, one, 0)
        names = axes.get("lhs_contracting_dimensions", [])
        summed = math.prod(left.shape[int(axis)] for axis in names)
        return Counts(2.0 * math.prod(one.arrays[0].shape) * summed, moved)
    if target.startswith("__cublas"):
        return Counts(0.0, moved)
    if target.startswith("__cudnn$fmha"):
        return Counts(_attention(within, one, "Backward" in target, options), moved)
    return Counts(0.0, moved)


def _splash(within: Computation, one: Instruction, products: int) -> float:
    """FLOPs of JAX's splash attention, whose mask says which blocks it multiplies.

    Of a causal mask they are those on and below the diagonal; of a window each row of
    blocks has as many as the mask is wide.
    """
    mask, _, query, key = (_arrays(within, one, i)[0].shape for i in range(4))
    rows, columns = mask[-2:]
    share = (rows + 1) / (2 * rows) if rows == columns else columns / rows
    return 2.0 * products * math.prod(query) * key[-2] * share


def _attention(
    within: Computation, one: Instruction, backward: bool, options: Mapping[str, Any]
) -> float:
    """FLOPs of cuDNN's attention: two matrix products forward, five backward."""
    (query, *_), (key, *_) = _arrays(within, one, 0), _arrays(within, one, 1)
    product = 2.0 * math.prod(query.shape) * key.shape[1]
    causal = "CAUSAL" in json.dumps(options)
    return product * (5 if backward else 2) * (0.5 if causal else 1.0)


def _options(one: Instruction) -> dict[str, Any]:
    """`backend_config`, where it is JSON."""
    _, found, rest = one.attributes.partition("backend_config=")
    if not found:
        return {}
    try:
        return json.JSONDecoder().raw_decode(rest)[0]
    except ValueError:
        return {}
