"""Settings: the environment `ISTHMUS_*` over `isthmus.toml` over defaults; zero settings is valid.

Secrets come from files or the environment, never from the command line.
"""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from isthmus.app.engines import EngineSettings
from isthmus.kernel.errors import IsthmusError

PORT = 8080
_FILE = "isthmus.toml"
_PREFIX = "ISTHMUS_"
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


class BadSetting(IsthmusError):
    """A setting is unknown or has no sense."""

    status, code, title = 422, "bad-setting", "A setting is wrong"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How this program runs. `kek_file` holds the key-encryption key (64 hexadecimal digits).

    `public_url` is the address under which people and programs reach it, when it stands behind another server.
    Without `workspace`, commands act in the one that the running program was started for, or in the only one there is.
    `outbound_allow` lists networks of one's own that webhooks may lead to, `upstream_allow` those that services behind
    the gate may stand in. `authz_key_file` holds the key of proxies that ask about calls, `authz_loopback` lets those
    on this machine ask without it; `rlqs_listen` is where proxies get quotas, `127.0.0.1:8090` or `unix:/path`.
    `otlp_headers` are `name=value,…`. `trusted_proxies` are networks of proxies whose word on where a call comes from
    counts, and `proxy_header` is where they say it: `x-forwarded-for` or `forwarded`.
    """

    data_dir: Path
    host: str = "127.0.0.1"
    port: int = PORT
    workers: int = 1
    database_url: str | None = field(default=None, repr=False)
    database_app_url: str | None = field(default=None, repr=False)
    valkey_url: str | None = field(default=None, repr=False)
    valkey: bool = True
    kek_file: Path | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    public_url: str | None = None
    workspace: str | None = None
    log_level: str = "info"
    smtp_url: str | None = field(default=None, repr=False)
    mail_sender: str | None = None
    outbound_allow: str | None = None
    upstream_allow: str | None = None
    trusted_proxies: str | None = None
    proxy_header: str = "x-forwarded-for"
    authz_key_file: Path | None = None
    authz_loopback: bool = False
    rlqs_listen: str | None = None
    probe_url: str | None = None
    otlp_url: str | None = None
    otlp_headers: str | None = field(default=None, repr=False)

    @property
    def address(self) -> str:
        """The URL of the API and console on this machine."""
        scheme = "https" if self.tls_certificate else "http"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}"

    @property
    def issuer(self) -> str:
        """The URL under which everybody knows this server, without a slash at its end."""
        return (self.public_url or self.address).rstrip("/")

    @property
    def engines(self) -> EngineSettings:
        """The settings of the engines."""
        return EngineSettings(
            data_dir=self.data_dir,
            database_url=self.database_url,
            database_app_url=self.database_app_url,
            valkey_url=self.valkey_url,
            want_valkey=self.valkey,
        )


def read_settings(given: Mapping[str, object] | None = None, *, environ: Mapping[str, str] | None = None) -> Settings:
    """Return the settings; `given` are options of the command line. Raises BadSetting."""
    environment = os.environ if environ is None else environ
    known = {each.name: each for each in fields(Settings)}
    values: dict[str, object] = {}
    for source, found in (("isthmus.toml", _from_file(environment)), ("environment", _from_environment(environment))):
        for name, value in found.items():
            if name not in known:
                raise BadSetting(
                    f"{source}: there is no setting {name!r}.", fix=f"Known settings: {', '.join(sorted(known))}."
                )
            values[name] = _typed(name, value, _kind(known[name].type))
    values |= {name: value for name, value in (given or {}).items() if value is not None}
    if "data_dir" not in values:
        values["data_dir"] = default_directory(environment)
    settings = Settings(data_dir=Path(str(values.pop("data_dir"))).expanduser().absolute())
    return replace(settings, **values)


def networks_of(listed: str | None) -> list[str]:
    """Return the networks that a setting lists, between commas."""
    return [each.strip() for each in (listed or "").split(",") if each.strip()]


def default_directory(environment: Mapping[str, str]) -> Path:
    """Return `./.isthmus` when it is there, else the user's data directory."""
    here = Path.cwd() / ".isthmus"
    if here.is_dir():
        return here
    base = environment.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "isthmus"


def _from_environment(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        name.removeprefix(_PREFIX).lower(): value
        for name, value in environment.items()
        if name.startswith(_PREFIX) and name != "ISTHMUS_CONFIG"
    }


def _from_file(environment: Mapping[str, str]) -> dict[str, object]:
    path = Path(environment.get("ISTHMUS_CONFIG", _FILE))
    if not path.is_file():
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadSetting(f"{path} cannot be read: {error}.", fix="Correct the file, or remove it.") from error


def _kind(annotation: object) -> str:
    """Return the name of a field's type: `int`, `bool`, `str`, or something with `Path` in it."""
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)


def _typed(name: str, value: object, kind: str) -> object:
    text = str(value)
    try:
        if "Path" in kind:
            return Path(text).expanduser()
        if kind.startswith("int"):
            return int(text)
    except ValueError as error:
        raise BadSetting(f"{name} is {text!r}, which is no number.", fix="Give a whole number.") from error
    if kind.startswith("bool"):
        if text.lower() not in _TRUE + _FALSE:
            raise BadSetting(f"{name} is {text!r}.", fix="Give true or false.")
        return text.lower() in _TRUE
    return text
