"""QR codes (ISO/IEC 18004) drawn as SVG: bytes, error correction level M, versions 1 to 15, which hold 412 bytes."""

from collections.abc import Iterable, Iterator, Sequence

LEVEL_M_BITS = 0
VERSION_MAX = 15
_BLOCKS = (0, 1, 1, 1, 2, 2, 4, 4, 4, 5, 5, 5, 8, 9, 9, 10)
_CHECKS = (0, 10, 16, 26, 18, 24, 16, 18, 22, 22, 26, 30, 22, 22, 24, 24)
"""Blocks, and check bytes of each block, by version at level M (table 9)."""
_FIELD, _FORMAT, _FORMAT_MASK, _VERSION = 0x11D, 0x537, 0x5412, 0x1F25
_QUIET, _LONG_LENGTH_FROM, _VERSION_SHOWN_FROM = 4, 10, 7
Grid = list[list[bool]]


class TooLong(ValueError):
    """The text does not fit the largest code that is drawn here."""


def qr_svg(text: str, *, label: str) -> str:
    """Return the code of a text as an SVG element; raises TooLong. `label` must be free of markup."""
    grid = qr_grid(text.encode())
    size = len(grid) + 2 * _QUIET
    runs = "".join(f"M{x + _QUIET} {y + _QUIET}h{length}v1h-{length}z" for x, y, length in _dark_runs(grid))
    return (
        f'<svg class="qr" viewBox="0 0 {size} {size}" role="img" aria-label="{label}" shape-rendering="crispEdges">'
        f'<path d="{runs}" fill="#000"/></svg>'
    )


def qr_grid(content: bytes) -> Grid:
    """Return the modules of a code, row by row, True for dark; raises TooLong."""
    version = next((each for each in range(1, VERSION_MAX + 1) if _fits(content, each)), None)
    if version is None:
        raise TooLong
    grid, fixed = _patterns(version)
    _place(grid, fixed, _codewords(content, version))
    drawn = [_masked(grid, fixed, mask) for mask in range(8)]
    return min(drawn, key=_penalty)


def _dark_runs(grid: Grid) -> Iterator[tuple[int, int, int]]:
    for y, row in enumerate(grid):
        start = None
        for x, dark in enumerate((*row, False)):
            if dark and start is None:
                start = x
            elif not dark and start is not None:
                yield start, y, x - start
                start = None


def _fits(content: bytes, version: int) -> bool:
    head = 12 if version < _LONG_LENGTH_FROM else 20
    return head + 8 * len(content) <= 8 * _room(version)


def _room(version: int) -> int:
    """Return how many bytes a version holds beside its checks."""
    return _all_bytes(version) - _BLOCKS[version] * _CHECKS[version]


def _all_bytes(version: int) -> int:
    bits = (16 * version + 128) * version + 64
    if version > 1:
        marks = version // 7 + 2
        bits -= (25 * marks - 10) * marks - 55
        bits -= 36 if version >= _VERSION_SHOWN_FROM else 0
    return bits // 8


def _codewords(content: bytes, version: int) -> bytes:
    room = _room(version)
    length_bits = 8 if version < _LONG_LENGTH_FROM else 16
    bits = f"0100{len(content):0{length_bits}b}" + "".join(f"{byte:08b}" for byte in content)
    bits += "0" * min(4, 8 * room - len(bits))
    bits += "0" * (-len(bits) % 8)
    whole = bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8))
    whole += (b"\xec\x11" * room)[: room - len(whole)]
    blocks = _cut(whole, _BLOCKS[version])
    checks = [_remainder(block, _generator(_CHECKS[version])) for block in blocks]
    return bytes((*_interleaved(blocks), *_interleaved(checks)))


def _cut(whole: bytes, blocks: int) -> list[bytes]:
    """Cut into blocks, of which the last ones are a byte longer."""
    short, longer = divmod(len(whole), blocks)
    ends = [short * (n + 1) + max(0, n + 1 - (blocks - longer)) for n in range(blocks)]
    return [whole[start:end] for start, end in zip((0, *ends), ends, strict=False)]


def _interleaved(blocks: Sequence[bytes]) -> Iterator[int]:
    for at in range(max(map(len, blocks))):
        yield from (block[at] for block in blocks if at < len(block))


def _multiply(a: int, b: int) -> int:
    product = 0
    for bit in range(7, -1, -1):
        product = (product << 1) ^ ((product >> 7) * _FIELD)
        product ^= (b >> bit & 1) * a
    return product


def _generator(degree: int) -> list[int]:
    found, root = [0] * (degree - 1) + [1], 1
    for _ in range(degree):
        scaled = [_multiply(each, root) for each in found]
        found = [each ^ after for each, after in zip(scaled, (*found[1:], 0), strict=True)]
        root = _multiply(root, 2)
    return found


def _remainder(block: bytes, generator: Sequence[int]) -> bytes:
    rest = [0] * len(generator)
    for byte in block:
        factor = byte ^ rest.pop(0)
        rest.append(0)
        rest = [each ^ _multiply(part, factor) for each, part in zip(rest, generator, strict=True)]
    return bytes(rest)


def _patterns(version: int) -> tuple[Grid, Grid]:
    """Return the fixed patterns, and which modules they take."""
    size = 4 * version + 17
    grid = [[False] * size for _ in range(size)]
    fixed = [[False] * size for _ in range(size)]

    def put(x: int, y: int, *, dark: bool) -> None:
        if 0 <= x < size and 0 <= y < size:
            grid[y][x], fixed[y][x] = dark, True

    for at in range(size):
        put(6, at, dark=at % 2 == 0)
        put(at, 6, dark=at % 2 == 0)
    for cx, cy in ((3, 3), (size - 4, 3), (3, size - 4)):
        for dx, dy in _around(4):
            put(cx + dx, cy + dy, dark=max(abs(dx), abs(dy)) not in {2, 4})
    for cx, cy in _marks(version, size):
        for dx, dy in _around(2):
            put(cx + dx, cy + dy, dark=max(abs(dx), abs(dy)) != 1)
    for x, y in (*_format_places(size, 0), *_format_places(size, 1), (8, size - 8)):
        put(x, y, dark=(x, y) == (8, size - 8))
    for x, y, dark in _version_modules(version, size):
        put(x, y, dark=dark)
    return grid, fixed


def _version_modules(version: int, size: int) -> Iterator[tuple[int, int, bool]]:
    if version < _VERSION_SHOWN_FROM:
        return
    bits = version << 12 | _bch(version, _VERSION, 12)
    for at in range(18):
        near, far, dark = at // 3, size - 11 + at % 3, bool(bits >> at & 1)
        yield far, near, dark
        yield near, far, dark


def _around(reach: int) -> Iterator[tuple[int, int]]:
    return ((dx, dy) for dy in range(-reach, reach + 1) for dx in range(-reach, reach + 1))


def _marks(version: int, size: int) -> list[tuple[int, int]]:
    """Return the centres of alignment patterns."""
    if version == 1:
        return []
    count = version // 7 + 2
    step = (version * 8 + count * 3 + 5) // (count * 4 - 4) * 2
    places = [6, *reversed([size - 7 - at * step for at in range(count - 1)])]
    corners = {(6, 6), (6, size - 7), (size - 7, 6)}
    return [(x, y) for x in places for y in places if (x, y) not in corners]


def _format_places(size: int, copy: int) -> list[tuple[int, int]]:
    """Return where the bits of the format stand, lowest first."""
    if copy == 0:
        down = [(8, y) for y in (0, 1, 2, 3, 4, 5, 7, 8)]
        return [*down, *((x, 8) for x in (7, 5, 4, 3, 2, 1, 0))]
    return [*((size - 1 - at, 8) for at in range(8)), *((8, size - 15 + at) for at in range(8, 15))]


def _bch(number: int, generator: int, degree: int) -> int:
    rest = number << degree
    while rest.bit_length() > degree:
        rest ^= generator << (rest.bit_length() - generator.bit_length())
    return rest


def _place(grid: Grid, fixed: Grid, codewords: bytes) -> None:
    size = len(grid)
    bits = (byte >> shift & 1 for byte in codewords for shift in range(7, -1, -1))
    for right in range(size - 1, 0, -2):
        column = right if right > 6 else right - 1  # noqa: PLR2004 - the vertical timing pattern stands in column 6.
        upwards = (column + 1) & 2 == 0
        for step in range(size):
            y = size - 1 - step if upwards else step
            for x in (column, column - 1):
                if not fixed[y][x]:
                    grid[y][x] = bool(next(bits, 0))


def _masked(grid: Grid, fixed: Grid, mask: int) -> Grid:
    size = len(grid)
    drawn = [
        [dark ^ (not fixed[y][x] and _flips(mask, x, y)) for x, dark in enumerate(row)] for y, row in enumerate(grid)
    ]
    bits = (LEVEL_M_BITS << 3 | mask) << 10 | _bch(LEVEL_M_BITS << 3 | mask, _FORMAT, 10)
    bits ^= _FORMAT_MASK
    for copy in (0, 1):
        for at, (x, y) in enumerate(_format_places(size, copy)):
            drawn[y][x] = bool(bits >> at & 1)
    return drawn


def _flips(mask: int, x: int, y: int) -> bool:
    rests = (
        (x + y) % 2,
        y % 2,
        x % 3,
        (x + y) % 3,
        (x // 3 + y // 2) % 2,
        x * y % 2 + x * y % 3,
        (x * y % 2 + x * y % 3) % 2,
        ((x + y) % 2 + x * y % 3) % 2,
    )
    return rests[mask] == 0


def _penalty(grid: Grid) -> int:
    size = len(grid)
    columns = [list(each) for each in zip(*grid, strict=True)]
    lines = sum(_line_penalty(line) for line in (*grid, *columns))
    squares = sum(
        3
        for y in range(size - 1)
        for x in range(size - 1)
        if grid[y][x] == grid[y][x + 1] == grid[y + 1][x] == grid[y + 1][x + 1]
    )
    dark = sum(map(sum, grid))
    return lines + squares + abs(dark * 20 - size * size * 10) // (size * size) * 10


def _line_penalty(line: Sequence[bool]) -> int:
    runs = list(_runs(line))
    long = sum(length - 2 for _, length in runs if length >= 5)  # noqa: PLR2004 - as the standard counts.
    text = "".join("1" if dark else "0" for dark in line)
    finders = sum(text.startswith(("10111010000", "00001011101"), at) for at in range(len(text)))
    return long + 40 * finders


def _runs(line: Iterable[bool]) -> Iterator[tuple[bool, int]]:
    last, length = None, 0
    for dark in line:
        if dark == last:
            length += 1
            continue
        if last is not None:
            yield last, length
        last, length = dark, 1
    if last is not None:
        yield last, length
