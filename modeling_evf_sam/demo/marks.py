"""Points and a box that a visitor clicks on a photo."""

from dataclasses import dataclass, replace
from typing import Any

from PIL import Image, ImageDraw

MAX_POINTS = 20
SMALLEST_VIEW, LARGEST_VIEW = 640, 1280  # pixels of the longer side of the photo that a page shows
ON, BESIDE, LINE = (0, 158, 115), (213, 94, 0), (86, 180, 233)  # of Okabe and Ito's palette

Point = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Marks:
    """What was clicked, in photo pixels.

    Attributes:
        points: (x, y) of each point.
        labels: for each point 1 if it is on the object, 0 if beside it.
        corners: of the box: none, the first one, or two opposite ones.
    """

    points: tuple[Point, ...] = ()
    labels: tuple[int, ...] = ()
    corners: tuple[Point, ...] = ()

    def click(self, point: Point, kind: str) -> "Marks":
        """The marks after one more click.

        Args:
            point: (x, y) in photo pixels.
            kind: "on" or "beside" for a point, "box" for a corner; a third corner starts a new box.

        Raises:
            ValueError: too many points, or a second corner that leaves the box without area.
        """
        if kind == "box":
            return replace(self, corners=self._with_corner(point))
        if len(self.points) == MAX_POINTS:
            raise ValueError(f"There are {MAX_POINTS} points already: clear them to start again.")
        return replace(self, points=(*self.points, point), labels=(*self.labels, int(kind == "on")))

    def _with_corner(self, point: Point) -> tuple[Point, ...]:
        if len(self.corners) != 1:
            return (point,)
        first = self.corners[0]
        if point[0] == first[0] or point[1] == first[1]:
            raise ValueError("This box has no area: click the corner opposite to the first one.")
        return (first, point)

    @property
    def box(self) -> list[float] | None:
        """[x0, y0, x1, y1], once there are two corners."""
        if len(self.corners) < 2:
            return None
        columns, rows = (sorted(values) for values in zip(*self.corners, strict=True))
        return [columns[0], rows[0], columns[1], rows[1]]

    def prompts(self, count: int) -> dict[str, Any]:
        """The arguments of `EvfSamPredictor.predict` that give these marks to each of `count` sentences.

        Raises:
            ValueError: a box with one corner.
        """
        if len(self.corners) == 1:
            raise ValueError("The box has one corner: click the opposite one, or clear the marks.")
        prompts: dict[str, Any] = {}
        if self.points:
            prompts["points"] = [[list(point) for point in self.points]] * count
            prompts["point_labels"] = [list(self.labels)] * count
        if self.box is not None:
            prompts["boxes"] = [self.box] * count
        return prompts


def view_size(photo: Image.Image) -> tuple[int, int]:
    """(width, height) at which a page shows a photo: small ones are enlarged, large ones reduced."""
    longer = max(photo.size)
    scale = min(max(longer, SMALLEST_VIEW), LARGEST_VIEW) / longer
    return max(1, round(photo.width * scale)), max(1, round(photo.height * scale))


def to_photo(pixel: tuple[int, int], photo: Image.Image) -> Point:
    """The photo's coordinates (x, y) of the middle of a pixel (x, y) of its view."""
    width, height = view_size(photo)
    return (pixel[0] + 0.5) * photo.width / width, (pixel[1] + 0.5) * photo.height / height


def view_of(photo: Image.Image) -> Image.Image:
    """A photo as large as a page shows it."""
    return photo.resize(view_size(photo), Image.Resampling.LANCZOS)


def draw_marks(photo: Image.Image, marks: Marks, view: Image.Image) -> Image.Image:
    """A copy of the view of an RGB photo, with the box, and a plus or a minus for each point."""
    view = view.copy()
    draw = ImageDraw.Draw(view)
    radius = max(view.size) // 64

    def place(point: Point) -> Point:
        return point[0] * view.width / photo.width, point[1] * view.height / photo.height

    if marks.box is not None:
        corners = [place((marks.box[0], marks.box[1])), place((marks.box[2], marks.box[3]))]
        draw.rectangle(corners, outline="black", width=radius // 2)
        draw.rectangle(corners, outline=LINE, width=radius // 3)
    for corner in marks.corners:
        x, y = place(corner)
        draw.rectangle((x - radius / 2, y - radius / 2, x + radius / 2, y + radius / 2), fill=LINE, outline="black")
    for point, label in zip(marks.points, marks.labels, strict=True):
        _draw_point(draw, place(point), radius, on=label == 1)
    return view


def _draw_point(draw: ImageDraw.ImageDraw, centre: Point, radius: int, *, on: bool) -> None:
    x, y = centre
    arm, width = radius * 0.55, max(2, radius // 4)
    draw.circle(centre, radius, fill=ON if on else BESIDE, outline="white", width=width)
    draw.line((x - arm, y, x + arm, y), fill="white", width=width)
    if on:
        draw.line((x, y - arm, x, y + arm), fill="white", width=width)
