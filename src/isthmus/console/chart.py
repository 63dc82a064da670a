"""Charts as SVG, drawn here: shapes with classes and attributes only, so that they need neither script nor style."""

from markupsafe import Markup

WIDTH, HEIGHT = 1000, 20
_BAND_TOP, _BAND_HEIGHT = 7, 6
_TICK_WIDTH = 3


def bar(*, value: float, low: float | None = None, high: float | None = None) -> Markup:
    """Return one horizontal bar for a share of 0..1 of the axis, and the band between `low` and `high` across it.

    It stretches to the width it is given. It is decoration: the number stands beside it in text.
    """
    parts = [f'<rect class="track" width="{WIDTH}" height="{HEIGHT}" rx="3"/>']
    if value > 0:
        parts.append(f'<rect class="value" width="{_x(value)}" height="{HEIGHT}" rx="3"/>')
    if low is not None and high is not None and high > low:
        start, end = _x(low), _x(high)
        parts.append(
            f'<rect class="band" x="{start}" y="{_BAND_TOP}" width="{end - start}" height="{_BAND_HEIGHT}"/>'
            f'<rect class="tick" x="{start}" width="{_TICK_WIDTH}" height="{HEIGHT}"/>'
            f'<rect class="tick" x="{end - _TICK_WIDTH}" width="{_TICK_WIDTH}" height="{HEIGHT}"/>'
        )
    inside = "".join(parts)
    # Only numbers that were made here are in the text.
    return Markup(  # noqa: S704 - see above.
        f'<svg class="bar" viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" aria-hidden="true">{inside}</svg>'
    )


def _x(share: float) -> int:
    return round(max(0.0, min(share, 1.0)) * WIDTH)
