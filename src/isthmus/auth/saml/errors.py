"""What is refused of an identity provider's answer; the sentence says which rule it broke."""

from isthmus.auth.people.errors import UpstreamRefused
from isthmus.kernel.errors import Conflicting, Fault, Invalid, NotFound


class SamlProviderMissing(NotFound):
    """There is no such SAML identity provider."""

    code, title = "saml-provider-missing", "There is no such identity provider"


class SamlProvidersFull(Conflicting):
    """There are as many SAML identity providers as a workspace may have."""

    code, title = "saml-providers-full", "There are too many identity providers"


class SigningKeyUnfit(Conflicting):
    """The key by which requests to the identity provider are signed is no RSA key. Set the provider up again."""

    code, title = "saml-signing-key-unfit", "Our key for the identity provider cannot sign"


class InvalidMetadata(Invalid):
    """The metadata does not describe an identity provider that can be used."""

    code, title = "saml-invalid-metadata", "The metadata cannot be used"

    def __init__(self, detail: str, *, fix: str = "") -> None:
        """Point at the field."""
        super().__init__(detail, fix=fix, faults=(Fault(pointer="/metadata", code=self.code, detail=detail),))


def refused(detail: str) -> UpstreamRefused:
    """Return the refusal of an answer."""
    return UpstreamRefused(f"The identity provider's answer was refused. {detail}", fix="Sign in again.")
