"""What an answer that is none of success means: https://developers.google.com/google-ads/api/docs/common-errors."""

from isthmus.connectors.googleads.answers import delay_s, failures, told
from isthmus.sync.calls import TOO_MANY, UNAUTHORISED, Answer
from isthmus.sync.connector import ConnectorError, KeyRefused, NotAsDocumented, Throttled

WAIT_S = 30.0
_FORBIDDEN = 403
_FIXES = {
    "DEVELOPER_TOKEN_INVALID": "Give the `developer_token` from the API centre of your manager account anew.",
    "DEVELOPER_TOKEN_PROHIBITED": "Use the developer token with the project that it was first used with.",
    "DEVELOPER_TOKEN_NOT_APPROVED": "Apply for basic access; a token for tests reads accounts for tests only.",
    "CUSTOMER_NOT_FOUND": "Check `customer_id`.",
    "NOT_ADS_USER": "Consent as somebody who has access to Google Ads.",
    "USER_PERMISSION_DENIED": "Check `customer_id`, and give the manager account as `login_customer_id`.",
    "CUSTOMER_NOT_ENABLED": "Finish setting up the account, or enable it again, in Google Ads.",
}


def refuse(answer: Answer) -> None:
    """Raise KeyRefused, Throttled, ConnectorError or NotAsDocumented for an answer that is none of success."""
    if answer.good:
        return
    codes = {code: kind for kind, code in failures(answer)}
    fix = next((_FIXES[code] for code in codes if code in _FIXES), "")
    if answer.status == TOO_MANY:
        wait = delay_s(answer)
        raise Throttled(
            f"Google Ads asks to slow down: {told(answer)}",
            retry_after_s=WAIT_S if wait is None else wait,
            fix="It is tried again by itself.",
        )
    if answer.status == UNAUTHORISED:
        raise KeyRefused(
            f"Google Ads refuses the key: {told(answer)}",
            fix=fix or "Consent again, or give a new `refresh_token`.",
        )
    if answer.status == _FORBIDDEN:
        raise ConnectorError(
            f"Google Ads lets us not read the account: {told(answer)}",
            fix=fix or "See what it says, and give the person who consented access to the account.",
        )
    raise NotAsDocumented(
        f"Google Ads answered {answer.status}{_listed(codes)}: {told(answer)}",
        fix="See what it says; if it cannot be right, report it to the author of the connector.",
    )


def _listed(codes: dict[str, str]) -> str:
    return f" ({', '.join(codes)})" if codes else ""
