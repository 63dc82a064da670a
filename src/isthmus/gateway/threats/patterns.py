"""Does a text that a caller sent try to be code? A text is cut into tokens, and their order is looked at.

Most texts have no character that such an attempt needs, and are let go after one search. Of the others the families
are asked whose characters are there: SQL that closes a text or a number and goes on, markup that runs, paths that
climb, templates that are evaluated. Words alone are never enough: `Select Union Bank` and `drop table of contents`
are names, and become SQL only where they stand in the place of a statement.
"""

import re
from collections.abc import Iterator
from typing import Literal, TypeAlias
from urllib.parse import unquote_plus

from msgspec import Struct, to_builtins

Family: TypeAlias = Literal["sql", "markup", "path", "template"]
STRINGS_MAX, LENGTH_MAX = 2_000, 4_000
_MARKS = re.compile(r"""['"`<;\\(={%#|]""")
_SPOKEN = ("select", "union", "sleep", "waitfor", "insert", "update", "delete", "drop", "create", "alter", "exec")
_RARER = ("truncate", "shutdown", "copy", "declare", "order", "file", "extract", "randomblob", "into")
_TOKEN = re.compile(
    r"""(?P<comment>--|/\*|\*/|\#)|(?P<quote>['"`])|(?P<number>0x[0-9a-f]+|\d+(?:\.\d+)?)|(?P<word>[a-z_@][\w@.$]*)"""
    r"""|(?P<compare><=|>=|<>|!=|=|<|>)|(?P<mark>\|\||&&|[();,*+%|-])""",
    re.IGNORECASE,
)
_JOINS = frozenset({"or", "and", "||", "&&", "xor", "having", "where", "like", "between", "in", "div", "rlike"})
_OPENS = frozenset(
    {
        *("select", "insert", "update", "delete", "drop", "create", "alter", "exec", "execute", "declare", "truncate"),
        *("shutdown", "copy", "waitfor", "begin", "with", "set", "grant", "call"),
    }
)
_CALLED = frozenset(
    {
        *("sleep", "benchmark", "pg_sleep", "extractvalue", "updatexml", "load_file", "xp_cmdshell", "concat", "char"),
        *("chr", "ascii", "substring", "substr", "database", "version", "user", "current_user", "hex", "exp", "floor"),
        *("dbms_pipe.receive_message", "utl_inaddr.get_host_address", "randomblob", "if", "case", "count", "cast"),
        *(
            "ctxsys.drithsx.sn",
            "dbms_lock.sleep",
            "json_extract",
            "row",
            "elt",
            "make_set",
            "convert",
            "sqlite_version",
        ),
    }
)
_UNION = re.compile(
    r"\bunion(?:\s|/\*.{0,40}?\*/|\()+(?:all(?:\s|/\*.{0,40}?\*/|\()+|distinct\s+)?select\b", re.IGNORECASE
)
_STATED = re.compile(
    r"\b(?:select\b.{1,200}?\bfrom\s+(?:information_schema|pg_|sysobjects|sqlite_master|mysql\.|all_tables|dual\b)"
    r"|(?:pg_sleep|dbms_lock\.sleep|xp_cmdshell|load_file|randomblob|extractvalue|updatexml)\s*\("
    r"|waitfor\s+delay\b|into\s+(?:out|dump)file\b|order\s+by\s+\d+\s*(?:--|\#))",
    re.IGNORECASE | re.DOTALL,
)
_STARTED = re.compile(
    r"[;)]\s*(?:select\s.{0,99}?\bfrom\b|select\s+(?:pg_)?sleep|insert\s+into|update\s+\w+\s+set\s+\w+\s*=|delete\s+from|"
    r"drop\s+(?:table|database|schema|view)|create\s+(?:table|user|role|function)|alter\s+(?:table|user|role)|"
    r"exec(?:ute)?\s+\w|truncate\s+table|shutdown\b|copy\s+\w+\s+(?:to|from)|declare\s+@|waitfor\s)",
    re.IGNORECASE | re.DOTALL,
)
_MARKUP = re.compile(
    r"<\s*/?\s*(?:script|iframe|object|embed|applet|meta|base|svg|math|link|style|frameset|xss)\b"
    r"|<[a-z!/][^<>]{0,300}?[\s/'\"]on[a-z]{3,20}\s*=|(?:java|vb)script:\S|data:text/html[;,]"
    r"|<!(?:entity|doctype\s+\w+\s+\[)|['\"][^<>]{0,40}\s+on(?:error|load|focus|click|mouse\w+|toggle)\s*=\s*\S",
    re.IGNORECASE,
)
_CLIMB = re.compile(r"(?:\.\.+|%2e%2e|\.%2e|%2e\.|%252e%252e)(?:[/\\]+|%2f|%5c|%252f|%255c)", re.IGNORECASE)
_PATH = re.compile(
    r"(?:^|[/\\]|%2f|%5c)(?:etc|proc|windows|winnt|boot|web-inf)(?:[/\\]|%2f|%5c)[\w.-]+|win\.ini\b|/\.(?:git|env|ssh|aws)\b",
    re.IGNORECASE,
)
_SCHEME = re.compile(r"^(?:php|expect|file|gopher|jar|phar|dict)://\S", re.IGNORECASE)
_KNOWN = re.compile(r"^/(?:etc/(?:passwd|shadow|hosts)|proc/self/)", re.IGNORECASE)
_TEMPLATE = re.compile(
    r"\{\{[^{}]{0,60}?(?:\d+\s*[*+-]\s*['\"]?\d+|__\w+__|\.constructor\b|config\b|self\.|request\.|cycler\b|\(\s*\))"
    r"|\{%[^%]{0,80}?(?:import|include|for\s|if\s|set\s|debug)|[$#*]\{[^{}]{0,80}?(?:\d+\s*[*+-]\s*\d+|T\(|@|\(\)|jndi:)"
    r"|\$\{(?:jndi|env|sys|lower|upper|::-)\b|<%=?[^%]{0,80}%>|\#set\s*\(\s*\$",
    re.IGNORECASE,
)
_TOKENS_MAX = 60


def family_of(text: str) -> Family | None:
    """Return which kind of code a text tries to be, or None. The first `LENGTH_MAX` characters are looked at."""
    slashed = "/" in text
    if not slashed and _MARKS.search(text) is None and not (text[:1].isdigit() and " " in text) and "--" not in text:
        return None
    shown = text if len(text) <= LENGTH_MAX else text[:LENGTH_MAX]
    if slashed or "\\" in shown or "%" in shown:
        if _is_path(shown):
            return "path"
        if _MARKS.search(shown) is None:
            return None
    if ("<" in shown or "=" in shown or "script:" in shown) and _MARKUP.search(shown) is not None:
        return "markup"
    if ("{" in shown or "#" in shown or "<%" in shown) and _TEMPLATE.search(shown) is not None:
        return "template"
    return "sql" if _is_sql(shown) else None


def family_in_query(query: bytes) -> Family | None:
    """Return the first family found among the values of a query string, as it was sent."""
    if len(query) <= LENGTH_MAX and query.isascii():
        text = query.decode("ascii")
        for part in text.split("&"):
            found = family_of(unquote_plus(part.partition("=")[2]))
            if found is not None:
                return found
    return None


def family_in(body: Struct) -> Family | None:
    """Return the first family found among the texts of a body; the first `STRINGS_MAX` of them are looked at."""
    left = STRINGS_MAX
    for text in _texts(to_builtins(body)):
        found = family_of(text)
        left -= 1
        if found is not None or not left:
            return found
    return None


def _texts(value: object) -> Iterator[str]:
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, str):
            yield each
        elif isinstance(each, dict):
            waiting.extend(each.values())  # pyright: ignore[reportUnknownArgumentType] - JSON has no types of its own.
        elif isinstance(each, list | tuple | set | frozenset):
            waiting.extend(each)  # pyright: ignore[reportUnknownArgumentType] - as above.


def _is_path(text: str) -> bool:
    """Tell whether a text climbs out of a directory, or names a file that nobody asks a service for."""
    climbs = _CLIMB.findall(text) if ".." in text or "%2" in text else ()
    if climbs:
        return len(climbs) > 1 or _PATH.search(text) is not None
    return _SCHEME.match(text) is not None or _KNOWN.match(text) is not None


def _is_sql(text: str) -> bool:
    """Tell whether a text leaves the place of a value and goes on as SQL."""
    low = text.lower()
    if any(each in low for each in _SPOKEN) or any(each in low for each in _RARER):
        if _UNION.search(text) is not None or _STATED.search(text) is not None:
            return True
        if (";" in text or ")" in text) and _STARTED.search(text) is not None:
            return True
    if "'" not in text and '"' not in text and "`" not in text:
        return (text[:1].isdigit() or text[:1] in "-(") and _goes_on(_tokens(low), 1, quoted=False)
    tokens = _tokens(low)
    quotes = [place for place, (kind, _) in enumerate(tokens) if kind == "quote"]
    return any(_goes_on(tokens, place + 1, quoted=True) for place in quotes[:4])


def _tokens(text: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for each in _TOKEN.finditer(text):
        found.append((each.lastgroup or "", each[0]))
        if len(found) >= _TOKENS_MAX:
            break
    return found


def _goes_on(tokens: list[tuple[str, str]], start: int, *, quoted: bool) -> bool:
    """Tell whether SQL follows a value that ends before the token at `start`."""
    place = start
    while place < len(tokens) and tokens[place][1] in {")", "("}:
        place += 1
    if place >= len(tokens):
        return False
    kind, text = tokens[place]
    rest = tokens[place + 1 : place + 12]
    if kind == "comment":
        return quoted and not rest
    if text == ";":
        return bool(rest) and ((rest[0][1] in _OPENS and len(rest) > 1) or (rest[0][0] == "comment" and len(rest) == 1))
    return text in _JOINS and _is_condition(rest, quoted=quoted)


def _is_condition(rest: list[tuple[str, str]], *, quoted: bool) -> bool:
    """Tell whether tokens are a comparison of constants, or a call that SQL answers."""
    while rest and rest[0][1] in {"(", "not", "-", "+"}:
        rest = rest[1:]
    if not rest:
        return False
    (kind, text), following = rest[0], rest[1:]
    if text in _CALLED and following and following[0][1] == "(":
        return True
    if text in {"select", "exists"} and following:
        return following[0][1] in {"(", "select", "*"} or following[0][1] in _CALLED or ("word", "from") in following
    if text in {"true", "1"}:
        ends = not following and quoted
        return ends or bool(following and following[0][0] == "comment") or _compares(following, quoted=quoted)
    return kind in {"number", "quote", "compare"} and _compares(rest[1:] if kind != "compare" else rest, quoted=quoted)


def _compares(rest: list[tuple[str, str]], *, quoted: bool) -> bool:
    """Tell whether a comparison with a constant comes next, after the rest of a quoted value."""
    for place, (kind, text) in enumerate(rest[:4]):
        if kind == "compare" or text in {"like", "between"}:
            after = rest[place + 1 : place + 2]
            return bool(after) and (after[0][0] == "number" or (quoted and after[0][0] == "quote"))
    return False
