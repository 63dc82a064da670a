"""How alike two words are, as DuckDB measures it: for single rows, where planning a query takes longer than this."""

_BOOST_FROM, _PREFIX_MAX, _PREFIX_WEIGHT = 0.7, 4, 0.1


def jaro_winkler(one: str, other: str) -> float:
    """Return the similarity of Winkler (1990), 0 to 1; the common prefix counts from a Jaro similarity of 0.7 on."""
    jaro = _jaro(one, other)
    if jaro <= _BOOST_FROM:
        return jaro
    prefix = 0
    for a, b in zip(one[:_PREFIX_MAX], other[:_PREFIX_MAX], strict=False):
        if a != b:
            break
        prefix += 1
    return jaro + prefix * _PREFIX_WEIGHT * (1 - jaro)


def within_one_edit(one: str, other: str) -> bool:
    """Tell whether one insertion, deletion, substitution or swap of neighbours at most lies between two words."""
    if one == other:
        return True
    short, long = sorted((one, other), key=len)
    if len(long) - len(short) > 1:
        return False
    at = next((n for n, letter in enumerate(short) if letter != long[n]), len(short))
    if len(short) < len(long):
        return short[at:] == long[at + 1 :]
    swapped = short[at + 1 : at + 2] + short[at] + short[at + 2 :]
    return short[at + 1 :] == long[at + 1 :] or swapped == long[at:]


def _jaro(one: str, other: str) -> float:
    if not one or not other:
        return 1.0 if one == other else 0.0
    reach = max(max(len(one), len(other)) // 2 - 1, 0)
    taken = [False] * len(other)
    mine: list[str] = []
    for n, letter in enumerate(one):
        for place in range(max(0, n - reach), min(len(other), n + reach + 1)):
            if not taken[place] and other[place] == letter:
                taken[place] = True
                mine.append(letter)
                break
    if not mine:
        return 0.0
    theirs = [letter for letter, there in zip(other, taken, strict=True) if there]
    swaps = sum(a != b for a, b in zip(mine, theirs, strict=True)) // 2
    met = len(mine)
    return (met / len(one) + met / len(other) + (met - swaps) / met) / 3
