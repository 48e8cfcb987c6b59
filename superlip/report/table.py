"""The table of layers: some of its columns or all for people, all of them as CSV for programs."""

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

from rich.console import Console

from superlip.tools.terminal import Column, Fit, Row, print_table

from .rows import LayerRow

__all__ = ["layers_csv", "print_layers"]


def print_layers(
    console: Console, rows: Sequence[LayerRow], title: str, *, estimated: bool = False, wide: bool = False
) -> None:
    """Print rows (``report.LayerRow``) with a total; ``wide``: all columns, in several tables where they don't fit."""
    quantities = _ESTIMATED if estimated else _MEASURED
    if not wide:
        quantities = [quantity for quantity in quantities if quantity.short]
    if not any(row.host_bytes for row in rows):
        quantities = [quantity for quantity in quantities if quantity.field != "host_bytes"]
    columns = [Column("layer", Fit.SHORTENED), Column("partition")]
    columns += [Column(quantity.title, right=quantity.right) for quantity in quantities]
    lines = [_row(row, quantities, last=row is rows[-1]) for row in rows]
    lines.append(Row(["total", "", *(quantity.total(rows) for quantity in quantities)]))
    print_table(console, columns, lines, title=title)


def layers_csv(rows: Sequence[LayerRow]) -> str:
    """Rows as CSV text: a column for each field, plain numbers, nothing where a number was not measured."""

    text = io.StringIO()
    writer = csv.DictWriter(text, [f.name for f in fields(LayerRow)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    return text.getvalue()


def _row(row, quantities, *, last):
    if row.partition == "host":
        cells = (f"{row.host_bytes:,}" if quantity.field == "host_bytes" else "" for quantity in quantities)
        return Row([row.name, "host", *cells], style="yellow", section=last)
    style = "red" if row.mismatches else ""
    return Row([row.name, row.partition, *(quantity.cell(row) for quantity in quantities)], style, section=last)


@dataclass(frozen=True)
class _Quantity:
    """A column: the field of a row that it shows, and its total. ``short``: it is in the short table."""

    title: str
    field: str
    short: bool = False
    right: bool = True

    def cell(self, row):
        value = getattr(row, self.field)
        match self.field:
            case "bound":
                return value
            case "mismatches":
                return _bits(value)
            case "share_of_peak":
                return f"{100 * value:.1f} %" if row.macs else ""
            case "host_bytes" | "dram_bytes" | "link_bytes" | "macs":
                return _prefixed(value) if value else ""
        return f"{value:,}" if value or self.field == "cycles" else ""

    def total(self, rows):
        match self.field:
            case "bound":
                return ""
            case "mismatches":
                return _bits(sum(row.mismatches for row in rows))
            case "share_of_peak":
                return _total_share(rows)
        total = sum(getattr(row, self.field) for row in rows)
        if self.field in ("macs", "dram_bytes", "link_bytes", "host_bytes"):
            return _prefixed(total)
        return f"{total:,}" if total or self.field == "cycles" else ""


def _bits(mismatches):
    return f"{mismatches:,} differ" if mismatches else "equal"


def _prefixed(value):
    """A number of at most five digits, or three digits with a prefix: 21.3 M."""
    for prefix, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if value >= size and value >= 100_000:
            return f"{value / size:.{2 if value < 10 * size else 1 if value < 100 * size else 0}f} {prefix}"
    return f"{value:,}"


def _total_share(rows):
    """Share of the peak of all rows: each one's is its MACs against what was possible in its cycles."""
    known = next((row for row in rows if row.share_of_peak), None)
    if known is None:
        return ""
    possible = known.macs / known.share_of_peak / known.cycles
    return f"{100 * sum(row.macs for row in rows) / (possible * sum(row.cycles for row in rows)):.1f} %"


_TRAFFIC = [
    _Quantity("DRAM bytes", "dram_bytes"),
    _Quantity("link bytes", "link_bytes"),
    _Quantity("host bytes", "host_bytes"),
]
_ESTIMATED = [
    _Quantity("cycles", "cycles", short=True),
    _Quantity("MACs", "macs", short=True),
    _Quantity("bound by", "bound", short=True, right=False),
    *_TRAFFIC,
]
_MEASURED = [
    _Quantity("cycles", "cycles", short=True),
    _Quantity("busy", "busy"),
    _Quantity("weights", "weights"),
    _Quantity("IFM", "ifm"),
    _Quantity("accum.", "accumulators"),
    _Quantity("link", "link"),
    _Quantity("fill, drain", "fill_drain"),
    _Quantity("MACs", "macs"),
    _Quantity("peak", "share_of_peak", short=True),
    *_TRAFFIC,
    _Quantity("bits", "mismatches", short=True, right=False),
]
