"""A mask as polygons along the edges of its pixels."""

import numpy as np

Corner = tuple[int, int]

RIGHT, DOWN, LEFT, UP = (1, 0), (0, 1), (-1, 0), (0, -1)


def outlines(mask: np.ndarray) -> list[list[float]]:
    """The outlines of a mask's parts, without those of holes; pixels that share a corner alone are in two parts.

    Args:
        mask: (H, W) bool.

    Returns:
        [x0, y0, x1, y1, ...] for each part, clockwise, in pixels: (0, 0) is the photo's outer corner.
    """
    edges = _edges(mask)
    rings = []
    while edges:
        ring = _take_ring(edges)
        if _doubled_area(ring) > 0:  # around a hole the edges run anticlockwise
            rings.append([float(value) for corner in ring for value in corner])
    return rings


def _edges(mask: np.ndarray) -> dict[Corner, list[Corner]]:
    """Corner -> directions of the edges that start there, with the mask on their right."""
    padded = np.pad(np.asarray(mask, dtype=bool), 1)
    inside = padded[1:-1, 1:-1]
    # direction -> the neighbour that must be outside, and where the pixel's edge starts
    sides = {
        RIGHT: (padded[:-2, 1:-1], (0, 0)),
        DOWN: (padded[1:-1, 2:], (1, 0)),
        LEFT: (padded[2:, 1:-1], (1, 1)),
        UP: (padded[1:-1, :-2], (0, 1)),
    }
    edges: dict[Corner, list[Corner]] = {}
    for direction, (neighbour, (dx, dy)) in sides.items():
        rows, columns = np.nonzero(inside & ~neighbour)
        for x, y in zip((columns + dx).tolist(), (rows + dy).tolist(), strict=True):
            edges.setdefault((x, y), []).append(direction)
    return edges


def _take_ring(edges: dict[Corner, list[Corner]]) -> list[Corner]:
    """Removes the edges of one ring, and gives the corners where it turns."""
    start = corner = next(iter(edges))  # of an edge along the top: the ring turns there
    ring, direction = [], None
    while True:
        turned = _next_direction(edges, corner, direction)
        if turned != direction:
            ring.append(corner)
        direction = turned
        corner = (corner[0] + direction[0], corner[1] + direction[1])
        if corner == start:
            return ring


def _next_direction(edges: dict[Corner, list[Corner]], corner: Corner, direction: Corner | None) -> Corner:
    """Takes the edge that goes on from a corner: to the right where two do, so that parts stay apart there."""
    choices = edges[corner]
    right = None if direction is None else (-direction[1], direction[0])
    chosen = right if right in choices else choices[0]
    choices.remove(chosen)
    if not choices:
        del edges[corner]
    return chosen


def _doubled_area(ring: list[Corner]) -> int:
    """Twice the area within; positive for clockwise rings, as y points down."""
    return sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in zip(ring, [*ring[1:], ring[0]], strict=True))
