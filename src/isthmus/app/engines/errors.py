"""What can go wrong with an engine, each with the way out."""

from isthmus.kernel.errors import Conflicting, Invalid, Unavailable


class EngineMissing(Unavailable):
    """No PostgreSQL was given by URL, came with the installation or stands on this machine."""

    code, title = "engine-missing", "A database engine is missing"


class EngineFailed(Unavailable):
    """An engine ended or did not answer while it was being started or stopped."""

    code, title = "engine-failed", "An engine did not start"


class EnginesHeld(Conflicting):
    """Another program supervises the engines of this directory and has not made them ready."""

    code, title = "engines-held", "The engines belong to another program"


class EngineDirectoryUnusable(Conflicting):
    """The directory of the engines belongs to somebody else, or to another version, or cannot be reached."""

    code, title = "engine-directory-unusable", "The engine directory cannot be used"


class EngineUrlRefused(Invalid):
    """The URL of an external engine is malformed or would speak without verified TLS."""

    code, title = "engine-url-refused", "The engine URL is refused"


class ExternalEngineUnfit(Unavailable):
    """An external engine does not answer, is too old, or its roles are not separate."""

    code, title = "external-engine-unfit", "The external engine cannot be used"
