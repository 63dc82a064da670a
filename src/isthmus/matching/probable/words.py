"""Words that tell nothing of who somebody is: hosts of private mail, accounts of roles, legal forms."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


FREE_MAIL = (
    "aol.com",
    "fastmail.com",
    "free.fr",
    "freenet.de",
    "gmail.com",
    "gmx.com",
    "gmx.de",
    "gmx.net",
    "googlemail.com",
    "hey.com",
    "hotmail.com",
    "hotmail.de",
    "icloud.com",
    "libero.it",
    "live.com",
    "mac.com",
    "mail.com",
    "mail.ru",
    "me.com",
    "msn.com",
    "orange.fr",
    "outlook.com",
    "outlook.de",
    "pm.me",
    "proton.me",
    "protonmail.com",
    "qq.com",
    "t-online.de",
    "web.de",
    "wp.pl",
    "yahoo.co.uk",
    "yahoo.com",
    "yahoo.de",
    "yandex.ru",
    "ymail.com",
    "zoho.com",
)
ROLE_ACCOUNTS = _words("""
accounting accounts admin billing buchhaltung career contact empfang finance hello help hr info invoice
invoices it jobs kontakt mail marketing noreply no-reply office orders press purchasing reception sales
service support team vertrieb webmaster
""")
LEGAL_FORMS = (
    "ab|ag|aps|as|asa|bv|co|company|corp|corporation|gmbh|group|holding|inc|incorporated|kg|kgaa|limited|llc|llp|ltd|nv"
    "|oy|plc|pty|sa|sarl|sas|se|sl|spa|srl|the|ug|und|and|sp|zoo|s|a|r|l|b|v"
)
