"""How a row is cut into tiles, and which of them stay in shared memory between the passes."""

from __future__ import annotations

import dataclasses

TILE = 2048
"""Keys of a tile: 8 KiB, 16 a thread."""

RING = 6
"""Slots that tiles stream through: 48 KiB in flight cover the memory's latency."""

SLOTS = 23
"""Slots that fit in a block's shared memory beside the histogram."""

LINES = (128, 64, 32)
"""Keys of a line of a tile. A load has at most 256 lines, whole ones of at least 128 bytes."""


@dataclasses.dataclass(frozen=True)
class Tiling:
    """Tiles `[0, streamed)` of a row pass through the ring; `[streamed, tiles)` are loaded once.

    Attributes:
        line: keys of a line.
        lines: of a row, padded.
        tile_lines: of a tile.
        resident_slots, ring_slots: the former come first.
    """

    line: int
    lines: int
    tile_lines: int
    resident_slots: int
    ring_slots: int

    @property
    def num_keys(self) -> int:
        """Keys of a padded row."""
        return self.line * self.lines

    @property
    def tiles(self) -> int:
        """Tiles of a row."""
        return -(-self.lines // self.tile_lines)

    @property
    def streamed(self) -> int:
        """Tiles that are loaded in every pass."""
        return self.tiles - self.resident_slots

    @property
    def shared_lines(self) -> int:
        """Lines at the start of the last tile that belong to the tile before.

        Loads never reach past the row: the last one starts early.
        """
        return self.tiles * self.tile_lines - self.lines

    @property
    def bytes_read(self) -> int:
        """Bytes that all four passes over one row read from global memory."""
        return 4 * self.line * self.tile_lines * (self.resident_slots + 4 * self.streamed)


def tiling_of(vocab_size: int, *, tile: int = TILE, slots: int = SLOTS, ring: int = RING) -> Tiling:
    """Tiles of a row of `vocab_size` keys.

    A row is padded to whole lines and to one tile at least: sizes that 32 divides are not padded.
    """
    line = next((line for line in LINES if vocab_size % line == 0), LINES[0])
    tile_lines = tile // line
    lines = max(-(-vocab_size // line), tile_lines)
    tiles = -(-lines // tile_lines)
    if tiles <= slots:
        return Tiling(line, lines, tile_lines, tiles, 0)
    return Tiling(line, lines, tile_lines, slots - ring, ring)
