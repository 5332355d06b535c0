"""Tables that fit the width of a terminal."""

import dataclasses
import textwrap
from collections.abc import Iterator, Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

GAP = 2  # columns of a terminal between two of a table
LINES = 4  # that a heading is broken into at most
NAME = 12  # the least room for names that fold


@dataclasses.dataclass(frozen=True)
class WideTable:
    """A table that is split into parts, one below the other, if it is too wide.

    Every part begins with the columns that say what a row is of. Headings are broken
    between words; names that are longer than the room that is left for them are folded,
    and nothing is cut off.

    Attributes:
      title: above the first part.
      keys: headings of the columns that every part begins with.
      values: headings of all others.
      rows: cells, those of `keys` first.
      numeric: whether `keys` are numbers rather than names.
    """

    title: str
    keys: Sequence[str]
    values: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: bool = False

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[Table | Text]:
        yield _plain(console, self.title, "italic")
        # As wide as the console will write them: "+-" for "±" where there is none.
        rows = [[_plain(console, x).plain for x in row] for row in self.rows]
        yield from dataclasses.replace(self, rows=rows)._tables(options)

    def _tables(self, options: ConsoleOptions) -> Iterator[Table | Text]:
        widths, keys, parts = [], [], []
        for lines in range(1, LINES + 1):
            widths = [self._width(i, lines) for i in range(len(self.rows[0]))]
            keys = self._keys(widths, options.max_width)
            parts = self._parts(widths, options.max_width - sum(keys) - GAP * len(keys))
            if len(parts) == 1:
                break
        for number, part in enumerate(parts):
            table = Table(
                box=box.SIMPLE_HEAD,
                padding=(0, 1, 0, 0),
                show_edge=False,
                pad_edge=False,
            )
            justify = "right" if self.numeric else "left"
            for heading, width in zip(self.keys, keys, strict=True):
                table.add_column(heading, justify=justify, overflow="fold", width=width)
            for i in part:
                heading = self.values[i - len(keys)]
                table.add_column(heading, justify="right", width=widths[i])
            for row in self.rows:
                table.add_row(*row[: len(keys)], *(row[i] for i in part))
            if number:
                yield Text()
            yield table

    def _keys(self, widths: Sequence[int], room: int) -> list[int]:
        """Widths of `keys`, beside which the widest value has room."""
        num_keys = len(self.keys)
        most = (room - max(widths[num_keys:], default=0)) // max(num_keys, 1) - GAP
        return [min(width, max(most, NAME)) for width in widths[:num_keys]]

    def _width(self, i: int, lines: int) -> int:
        """What a column needs for its cells, and for its heading in so many lines."""
        heading = (*self.keys, *self.values)[i]
        width = max((cell_len(row[i]) for row in self.rows), default=1)
        width = max(width, *map(len, heading.split()), 1)
        while len(textwrap.wrap(heading, width, break_on_hyphens=False)) > lines:
            width += 1
        return width

    def _parts(self, widths: Sequence[int], room: int) -> list[list[int]]:
        """Columns beside `keys`, in parts of so much room, each with one at least."""
        parts: list[list[int]] = [[]]
        left = room
        for i in range(len(self.keys), len(self.keys) + len(self.values)):
            if parts[-1] and widths[i] > left:
                parts.append([])
                left = room
            parts[-1].append(i)
            left -= widths[i] + GAP
        return parts


@dataclasses.dataclass(frozen=True)
class FirstToFit:
    """The first of several tables for which there is room, or the last of them.

    Attributes:
      title: above it.
      tables: that say the same.
    """

    title: str
    tables: Sequence[Table]

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[Table | Text]:
        yield _plain(console, self.title, "italic")
        unbounded = options.update(max_width=10**6)
        yield next(
            (
                table
                for table in self.tables
                if Measurement.get(console, unbounded, table).maximum
                <= options.max_width
            ),
            self.tables[-1],
        )


def _plain(console: Console, text: str, style: str = "") -> Text:
    """A text as the console will write it, with nothing read into it."""
    return console.render_str(
        text, style=style, markup=False, emoji=False, highlight=False
    )
