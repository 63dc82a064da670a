"""Charts over time as SVG, with classes and attributes only. What they show stands beside them in text.

The horizontal axis is time in equal steps; a value that is not there leaves a gap. They stretch to their width.
"""

from collections.abc import Sequence

from markupsafe import Markup

WIDTH, HEIGHT = 1000, 180
_FINENESS = (1, 2, 5)
_GRID = 4


def round_top(value: float) -> float:
    """Return the next of 1, 2, 5, 10, 20, 50, … that is not below the value; 1 for nothing."""
    size = 1.0
    while True:
        for each in _FINENESS:
            if each * size >= value:
                return each * size
        size *= 10


def lines(series: Sequence[tuple[str, Sequence[float | None]]], *, top: float) -> Markup:
    """Return a chart with a line for each named series; `top` is the value at its upper edge."""
    drawn = "".join(f'<path class="line {name}" d="{_path(values, top)}"/>' for name, values in series)
    return _framed(drawn)


def columns(values: Sequence[float], marked: Sequence[float], *, top: float) -> Markup:
    """Return a chart with a column for each value, of which the share `marked` is set off at its foot."""
    count = max(len(values), 1)
    width = WIDTH / count
    drawn: list[str] = []
    for index, (value, mark) in enumerate(zip(values, marked, strict=True)):
        left, wide = f"{index * width + width * 0.1:.1f}", f"{width * 0.8:.1f}"
        for name, size in (("column", value), ("fault", mark)):
            high = min(size / top, 1.0) * HEIGHT
            if size > 0:
                # A fault is never too small to be seen.
                high = max(high, 3.0 if name == "fault" else 1.0)
                drawn.append(
                    f'<rect class="{name}" x="{left}" y="{HEIGHT - high:.1f}" width="{wide}" height="{high:.1f}"/>'
                )
    return _framed("".join(drawn))


def _path(values: Sequence[float | None], top: float) -> str:
    step = WIDTH / max(len(values) - 1, 1)
    parts: list[str] = []
    drawing = False
    for index, value in enumerate(values):
        if value is None:
            drawing = False
            continue
        place = f"{index * step:.1f} {HEIGHT - min(value / top, 1.0) * HEIGHT:.1f}"
        alone = (index + 1 == len(values) or values[index + 1] is None) and not drawing
        parts.append(f"{'L' if drawing else 'M'}{place}{'h.01' if alone else ''}")
        drawing = True
    return "".join(parts)


def _framed(inside: str) -> Markup:
    grid = "".join(f'<path class="grid" d="M0 {HEIGHT * line / _GRID:.1f}H{WIDTH}"/>' for line in range(_GRID + 1))
    # Only numbers and names that were made here are in the text.
    return Markup(  # noqa: S704 - see above.
        f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" aria-hidden="true">'
        f"{grid}{inside}</svg>"
    )
