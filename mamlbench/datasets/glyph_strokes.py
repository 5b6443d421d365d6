"""Drawing made-up characters in integer arithmetic, so that every machine draws the same bytes.

A character has two to four strokes, each a cubic Bezier curve between nodes of a grid; later
strokes mostly begin where an earlier one begins or ends. A writer has a size, a slant and a pen,
and varies at random from drawing to drawing. Lengths are in 1/256 of a pixel.
"""

from __future__ import annotations

import numpy as np

SIDE = 28
_PIXEL = 256
_STROKES = 4
_STEPS = 32
_BRUSH = 2
_COLUMNS = np.array([6, 14, 22]) * _PIXEL
_ROWS = np.array([4, 11, 17, 24]) * _PIXEL


class _Dice:
    """Random integers from a counter-based stream of bits."""

    def __init__(self, key: int) -> None:
        self._bits = np.random.Philox(key=key)

    def below(self, bound: int, *shape: int) -> np.ndarray:
        """Uniform in 0..bound-1."""
        raw = self._bits.random_raw(int(np.prod(shape))).reshape(shape)
        return (raw % np.uint64(bound)).astype(np.int64)

    def around(self, reach: int, *shape: int) -> np.ndarray:
        """Triangular in -reach..reach."""
        return self.below(reach + 1, *shape) - self.below(reach + 1, *shape)


def draw(classes: int, writers: int, key: int) -> np.ndarray:
    """Every character by every writer, [classes, writers, 28, 28] uint8; ink is 255, paper 0."""
    dice = _Dice(key)
    curves, present = _characters(dice, classes)
    size, slant, pen = _hands(dice, writers)
    images = np.empty((classes, writers, SIDE, SIDE), dtype=np.uint8)
    for writer in range(writers):
        drawn = _by_hand(dice, curves, size[writer], slant[writer])
        width = pen[writer] + dice.around(40, classes)
        images[:, writer] = _ink(_points(drawn), present, width)
    return images


def _characters(dice: _Dice, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Control points [classes, strokes, 4, 2], and which strokes are used [classes, strokes]."""
    everyone = np.arange(classes)
    ends = np.zeros((classes, 2 * _STROKES, 2), dtype=np.int64)
    for stroke in range(_STROKES):
        start, end = _node(dice, classes), _node(dice, classes)
        if stroke:
            known = ends[everyone, dice.below(2 * stroke, classes)]
            start = np.where(dice.below(4, classes)[:, None] < 3, known, start)
        short = np.abs(end - start).sum(axis=1) < 10 * _PIXEL
        end[short, 1] = np.where(end[short, 1] < SIDE * _PIXEL // 2, _ROWS[-1], _ROWS[0])
        ends[:, 2 * stroke], ends[:, 2 * stroke + 1] = start, end
    starts, stops = ends[:, ::2], ends[:, 1::2]
    curves = np.stack([starts, *_controls(dice, starts, stops), stops], axis=2)
    present = np.arange(_STROKES) < 2 + dice.below(_STROKES - 1, classes)[:, None]
    return curves - _middle(curves, present), present


def _middle(curves: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Middle of each character, [classes, 1, 1, 2]; centring makes position uninformative."""
    there = present[:, :, None, None]
    low = np.where(there, curves, SIDE * _PIXEL).min(axis=(1, 2), keepdims=True)
    high = np.where(there, curves, 0).max(axis=(1, 2), keepdims=True)
    return (low + high) >> 1


def _node(dice: _Dice, classes: int) -> np.ndarray:
    columns, rows = dice.below(len(_COLUMNS), classes), dice.below(len(_ROWS), classes)
    return np.stack([_COLUMNS[columns], _ROWS[rows]], axis=1)


def _controls(dice: _Dice, start: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inner control points: half of the strokes are straight, the others arcs or waves."""
    along = end - start
    across = np.stack([-along[..., 1], along[..., 0]], axis=-1)
    bend = (4 + dice.below(8, *start.shape[:2])) * (2 * dice.below(2, *start.shape[:2]) - 1)
    bend = np.where(dice.below(2, *start.shape[:2]) == 0, 0, bend)[..., None]
    back = np.where(dice.below(4, *start.shape[:2]) == 0, -1, 1)[..., None]
    first = start + along // 3 + ((across * bend) >> 4)
    second = end - along // 3 + ((across * bend * back) >> 4)
    return first, second


def _hands(dice: _Dice, writers: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each writer's size [writers, 2] and slant [writers, 2] in 1/256, and pen width [writers]."""
    size = 215 + dice.around(35, writers, 2)
    slant = dice.around(60, writers, 2)
    return size, slant, 300 + dice.around(90, writers)


def _by_hand(dice: _Dice, curves: np.ndarray, size: np.ndarray, slant: np.ndarray) -> np.ndarray:
    """The curves [classes, strokes, 4, 2] as one writer draws them, once."""
    classes = len(curves)
    size = size + dice.around(45, classes, 1, 1, 2)
    slant = slant + dice.around(60, classes, 1, 1, 2)
    shaky = curves + dice.around(3 * _PIXEL, *curves.shape)
    shaky = shaky + dice.around(2 * _PIXEL, classes, _STROKES, 1, 2)
    drawn = (shaky * size + shaky[..., ::-1] * slant) >> 8
    return drawn + SIDE * _PIXEL // 2 + dice.around(3 * _PIXEL, classes, 1, 1, 2)


def _points(curves: np.ndarray) -> np.ndarray:
    """Points along the curves, [classes, strokes, steps, 2]."""
    t = np.arange(_STEPS + 1, dtype=np.int64)
    s = _STEPS - t
    weights = np.stack([s**3, 3 * s * s * t, 3 * s * t * t, t**3])
    # integers have no fast matrix product, so the four terms are added one by one
    terms = (weights[i][:, None] * curves[:, :, i, None] for i in range(4))
    return sum(terms, np.int64(0)) // _STEPS**3


def _ink(points: np.ndarray, present: np.ndarray, pen: np.ndarray) -> np.ndarray:
    """The points dabbed on paper with a round brush, [classes, 28, 28] uint8."""
    classes = len(points)
    image, stroke = np.nonzero(present)
    dabs = points[image, stroke]
    inner, outer = (pen[image, None] - _PIXEL // 2) ** 2, (pen[image, None] + _PIXEL // 2) ** 2
    column, row = (dabs >> 8)[..., 0], (dabs >> 8)[..., 1]
    margin = SIDE + 2 * _BRUSH
    paper = np.zeros(classes * margin * margin, dtype=np.uint8)
    inside = ((dabs >= 0) & (dabs < SIDE * _PIXEL)).all(axis=-1)
    corner = (image[:, None] * margin + row) * margin + column
    corner = np.where(inside, corner, 0)
    for down in range(2 * _BRUSH + 1):
        for right in range(2 * _BRUSH + 1):
            x = (column + right - _BRUSH) * _PIXEL + _PIXEL // 2 - dabs[..., 0]
            y = (row + down - _BRUSH) * _PIXEL + _PIXEL // 2 - dabs[..., 1]
            shade = (outer - x * x - y * y) * 255 // (outer - inner)
            shade = np.where(inside, np.clip(shade, 0, 255), 0).astype(np.uint8)
            np.maximum.at(paper, (corner + down * margin + right).ravel(), shade.ravel())
    sheets = paper.reshape(classes, margin, margin)
    return sheets[:, _BRUSH:-_BRUSH, _BRUSH:-_BRUSH]
