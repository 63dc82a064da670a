"""What a provisioning client meets. `scim_type` is the detail error keyword of RFC 7644 §3.12."""

from typing import ClassVar

from isthmus.kernel.errors import Conflicting, Malformed, NotFound, PreconditionFailed, TooLarge


class ScimRefused(Malformed):
    """A request to provision somebody cannot be done as it is asked."""

    code, title = "scim-refused", "The provisioning request cannot be done as it is asked"
    scim_type: ClassVar[str] = "invalidValue"


class InvalidFilter(ScimRefused):
    """The filter is not of RFC 7644 §3.4.2.2, or longer than it may be."""

    code, title, scim_type = "scim-invalid-filter", "The filter cannot be read", "invalidFilter"


class InvalidPath(ScimRefused):
    """The path of a change is not of RFC 7644 §3.5.2, or names no attribute."""

    code, title, scim_type = "scim-invalid-path", "The path cannot be read", "invalidPath"


class NoTarget(ScimRefused):
    """The path of a change names nothing that is there."""

    code, title, scim_type = "scim-no-target", "The path names nothing", "noTarget"


class NotChangeable(ScimRefused):
    """The attribute cannot be changed from outside."""

    code, title, scim_type = "scim-read-only", "The attribute cannot be changed", "mutability"


class InvalidSyntax(ScimRefused):
    """The body is not of the shape that SCIM describes."""

    code, title, scim_type = "scim-invalid-syntax", "The body cannot be read", "invalidSyntax"


class NameTaken(Conflicting):
    """Somebody or something has this name already."""

    code, title = "scim-name-taken", "The name is taken"
    scim_type: ClassVar[str] = "uniqueness"


class ResourceMissing(NotFound):
    """There is no such user, group, schema or type of resource."""

    code, title = "scim-missing", "There is no such resource"


class ResourceChanged(PreconditionFailed):
    """The resource changed since it was read."""

    code, title = "scim-changed", "The resource has changed meanwhile"


class TooManyAtOnce(TooLarge):
    """More operations or values came in one request than are taken."""

    code, title = "scim-too-many", "Too much at once"
