"""Synthetic people as three systems hold them, with the truth of who is who."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


SYSTEMS = ("crm", "billing", "desk")
PEOPLE_PER_COMPANY = 14
_SEATS = ((1, 0, 0), (0, 1, 0), (1, 1, 0), (1, 0, 1), (0, 1, 1), (1, 1, 1))
_SEAT_WEIGHTS = (6, 4, 16, 14, 8, 52)
_GIVEN = _words("""
james mary robert patricia john jennifer michael linda david elizabeth william barbara richard susan joseph jessica
thomas sarah christopher karen charles lisa daniel nancy matthew sandra anthony ashley mark emily donald kimberly
steven margaret andrew donna paul michelle joshua carol kenneth amanda kevin melissa brian deborah george stephanie
timothy rebecca ronald laura jason helen edward sharon jeffrey cynthia ryan kathleen jacob amy nicholas angela gary
shirley eric brenda jonathan emma stephen anna larry pamela justin nicole scott samantha brandon katherine benjamin
christine samuel catherine gregory virginia alexander debra patrick rachel frank janet raymond maria jack heather
dennis diane jerry julie tyler joyce aaron victoria jose kelly adam christina nathan joan henry evelyn zachary judith
douglas olivia peter megan kyle hannah noah jacqueline ethan martha jeremy gloria walter teresa christian ann keith
sara roger janice terry madison austin frances sean isabella gerald sophia carl alice lukas lena felix sofia moritz
marie leon clara jonas ingrid sven astrid lars birgit olaf greta anders freya erik signe mateo lucia hugo carmen
diego elena pablo marta luca giulia marco chiara paolo francesca pierre camille antoine margot louis amelie jean
wei mei jun ling hiroshi yuki kenji aiko arjun priya rahul ananya omar layla yusuf amina ivan olga dmitri natalia
piotr agnieszka tomasz ewa jan zofia adriaan saskia bram femke koen lotte ahmed fatima kwame ama chidi ngozi
""")
_SHORT = {
    "james": ("jim", "jimmy", "jamie"),
    "robert": ("bob", "rob", "bobby"),
    "patricia": ("pat", "trish"),
    "john": ("jack", "johnny"),
    "jennifer": ("jen", "jenny"),
    "michael": ("mike", "mick"),
    "david": ("dave",),
    "elizabeth": ("liz", "beth", "betty"),
    "william": ("bill", "will", "liam"),
    "barbara": ("barb",),
    "richard": ("rick", "dick", "rich"),
    "susan": ("sue",),
    "joseph": ("joe",),
    "jessica": ("jess",),
    "thomas": ("tom", "tommy"),
    "christopher": ("chris",),
    "charles": ("chuck", "charlie"),
    "daniel": ("dan", "danny"),
    "matthew": ("matt",),
    "anthony": ("tony",),
    "emily": ("em", "millie"),
    "donald": ("don",),
    "kimberly": ("kim",),
    "steven": ("steve",),
    "margaret": ("maggie", "peggy", "meg"),
    "andrew": ("andy", "drew"),
    "michelle": ("shelly",),
    "kenneth": ("ken",),
    "amanda": ("mandy",),
    "deborah": ("debbie",),
    "stephanie": ("steph",),
    "timothy": ("tim",),
    "rebecca": ("becky",),
    "edward": ("ed", "ted", "ned"),
    "jeffrey": ("jeff",),
    "nicholas": ("nick", "nico"),
    "jonathan": ("jon",),
    "samantha": ("sam",),
    "benjamin": ("ben",),
    "samuel": ("sam",),
    "gregory": ("greg",),
    "alexander": ("alex", "sascha"),
    "katherine": ("kate", "kathy", "kit"),
    "virginia": ("ginny",),
    "jacob": ("jake",),
    "raymond": ("ray",),
    "victoria": ("vicky", "tori"),
    "henry": ("hank", "harry"),
    "zachary": ("zach",),
    "douglas": ("doug",),
    "peter": ("pete",),
    "walter": ("walt",),
    "teresa": ("terri",),
    "gerald": ("gerry",),
    "francesca": ("cesca",),
    "natalia": ("natasha",),
}
_HEADS = _words("b br c ch d dr f fl g gr h j k kl l m n p pr r s sch st t tr v w z")
_HEARTS = _words("a e i o u ai ei ie oo")
_TAILS = _words("ck d ff g l ll m n nd nn r rt s ss st t th tz x")
_ENDS = ("", "", "", "er", "mann", "son", "ini", "ez", "sen", "ski", "ton", "ley", "ova", "berg")
_TRADES = _words("Systems Logistics Foods Software Energy Labs Partners Media Steel Health Robotics Works Freight")
_FORMS = _words("GmbH Inc Ltd AG LLC SA BV Corp")
_MAIL = _words("gmail.com outlook.com yahoo.com icloud.com gmx.de proton.me")
_CITIES = _words(
    "Berlin Hamburg London Paris Madrid Milan Vienna Zurich Boston Austin Denver Oslo Lyon Leeds Porto Ghent"
)
_ALPHABET = "abcdefghijklmnopqrstuvwxyz"
_TYPO_LETTERS_MIN = 3
_POOL_ROWS = 10_000
_FAMILIES = 40_000
_RECORDS_PER_PERSON = 2.36


@dataclass(frozen=True, kw_only=True)
class Mishaps:
    """How often a record differs from the truth, as shares of records."""

    nickname: float = 0.13
    given_typo: float = 0.025
    family_typo: float = 0.04
    initial: float = 0.02
    private_mail: float = 0.08
    mail_typo: float = 0.01
    mail_missing: float = 0.06
    phone_missing: float = 0.28
    phone_other: float = 0.08
    company_form: float = 0.20
    company_missing: float = 0.04
    moved: float = 0.02
    city_missing: float = 0.25
    twice: float = 0.0


@dataclass
class _Company:
    name: str
    form: str
    domain: str
    style: int
    city: str
    board: str


@dataclass
class _Person:
    given: str
    family: str
    company: _Company
    mail: str
    private: str
    mobile: str
    former: tuple[_Company, str]


@dataclass
class _Columns:
    person: list[int] = field(default_factory=list[int])
    sources: list[int] = field(default_factory=list[int])
    email: list[str | None] = field(default_factory=list[str | None])
    phone: list[str | None] = field(default_factory=list[str | None])
    first_name: list[str | None] = field(default_factory=list[str | None])
    last_name: list[str | None] = field(default_factory=list[str | None])
    company: list[str | None] = field(default_factory=list[str | None])
    city: list[str | None] = field(default_factory=list[str | None])


@dataclass(frozen=True)
class People:
    """Records by column, `sources` (a bit for each system) among them, and who each is of."""

    columns: dict[str, list[str | None] | list[int]]
    truth: list[int]


def generate(rng: Random, *, records: int, mishaps: Mishaps | None = None) -> People:
    """Return about so many records of people whom three systems hold."""
    world = _World(rng, people=round(records / _RECORDS_PER_PERSON))
    columns, likely = _Columns(), mishaps or Mishaps()
    for number in range(world.people):
        person = world.person()
        seats = rng.choices(_SEATS, _SEAT_WEIGHTS)[0]
        for bit, taken in enumerate(seats):
            for _ in range(taken * (2 if rng.random() < likely.twice else 1)):
                _record(columns, rng, person, likely)
                columns.sources.append(1 << bit)
                columns.person.append(number)
    order = list(range(len(columns.person)))
    rng.shuffle(order)
    made: dict[str, list[str | None] | list[int]] = {
        name: [each[n] for n in order] for name, each in vars(columns).items() if name != "person"
    }
    return People(made, [columns.person[n] for n in order])


class _World:
    def __init__(self, rng: Random, *, people: int) -> None:
        self.people, self._rng = people, rng
        self._given = list(_GIVEN)
        self._given_weights = _falling(len(self._given), 0.6)
        self._families = [self._surname() for _ in range(_FAMILIES)]
        self._family_weights = _falling(len(self._families), 0.75)
        self._companies = [self._company() for _ in range(max(20, people // PEOPLE_PER_COMPANY))]
        self._company_weights = _falling(len(self._companies), 0.55)
        self._taken: set[str] = set()
        self._pool: list[tuple[str, str, _Company, _Company]] = []

    def _surname(self) -> str:
        parts = range(self._rng.choice((1, 2, 2)))
        core = "".join(self._pick(_HEADS) + self._pick(_HEARTS) + self._pick(_TAILS) for _ in parts)
        return core + self._pick(_ENDS)

    def _pick(self, words: Sequence[str]) -> str:
        return words[int(self._rng.random() * len(words))]

    def _company(self) -> _Company:
        word, trade = self._surname().title(), self._pick(_TRADES)
        domain = self._pick((f"{word}{trade}.com", f"{word}-{trade}.example", f"{word}.io", f"{word}{trade[:3]}.eu"))
        board = f"+49{self._rng.randrange(10**8, 10**9)}0"
        return _Company(
            f"{word} {trade}", self._pick(_FORMS), domain.lower(), self._rng.randrange(4), self._pick(_CITIES), board
        )

    def person(self) -> _Person:
        if not self._pool:
            size = _POOL_ROWS
            rng = self._rng
            given = rng.choices(self._given, cum_weights=self._given_weights, k=size)
            family = rng.choices(self._families, cum_weights=self._family_weights, k=size)
            company = rng.choices(self._companies, cum_weights=self._company_weights, k=size)
            former = rng.choices(self._companies, cum_weights=self._company_weights, k=size)
            self._pool = list(zip(given, family, company, former, strict=True))
        given, family, company, former = self._pool.pop()
        rng = self._rng
        tail = rng.choice(("", str(rng.randrange(100)), str(rng.randrange(1960, 2004))))
        private = self._free(
            rng.choice((f"{given}.{family}{tail}", f"{given[0]}{family}{tail}", f"{family}{given}{tail}")),
            self._pick(_MAIL),
        )
        mobile = f"+4915{rng.randrange(10**8, 10**9)}"
        return _Person(
            given,
            family,
            company,
            self._address(given, family, company),
            private,
            mobile,
            (former, self._address(given, family, former)),
        )

    def _address(self, given: str, family: str, company: _Company) -> str:
        local = (f"{given}.{family}", f"{given[0]}{family}", f"{given}", f"{family}.{given[0]}")[company.style]
        return self._free(local, company.domain)

    def _free(self, local: str, domain: str) -> str:
        address, number = f"{local}@{domain}", 1
        while address in self._taken:
            number += 1
            address = f"{local}{number}@{domain}"
        self._taken.add(address)
        return address


def _falling(count: int, power: float) -> list[float]:
    total, sums = 0.0, list[float]()
    for rank in range(1, count + 1):
        total += rank**-power
        sums.append(total)
    return sums


def _typo(rng: Random, word: str) -> str:
    if len(word) < _TYPO_LETTERS_MIN:
        return word
    at = rng.randrange(1, len(word) - 1)
    head, letter, tail = word[:at], word[at], word[at + 1 :]
    other = rng.choice(_ALPHABET)
    return rng.choice(
        (head + tail, head + other + letter + tail, head + other + tail, head + tail[:1] + letter + tail[1:])
    )


def _record(columns: _Columns, rng: Random, person: _Person, mishaps: Mishaps) -> None:
    chance = rng.random
    company, mail = person.company, person.mail
    if chance() < mishaps.moved:
        company, mail = person.former
    columns.first_name.append(_given(rng, person.given, mishaps))
    family = _typo(rng, person.family) if chance() < mishaps.family_typo else person.family
    columns.last_name.append(family.title())
    columns.email.append(_mail(rng, person, mail, mishaps))
    columns.phone.append(_phone(rng, person, company, mishaps))
    columns.company.append(_firm(rng, company, mishaps))
    columns.city.append(None if chance() < mishaps.city_missing else company.city)


def _given(rng: Random, given: str, mishaps: Mishaps) -> str:
    chance = rng.random()
    if chance < mishaps.initial:
        return given[0].upper() + "."
    if chance < mishaps.initial + mishaps.given_typo:
        return _typo(rng, given).title()
    if chance < mishaps.initial + mishaps.given_typo + mishaps.nickname:
        return rng.choice(_SHORT.get(given, (given,))).title()
    return given.title()


def _mail(rng: Random, person: _Person, mail: str, mishaps: Mishaps) -> str | None:
    chance = rng.random()
    if chance < mishaps.mail_missing:
        return None
    if chance < mishaps.mail_missing + mishaps.private_mail:
        return person.private
    return _typo(rng, mail) if chance > 1 - mishaps.mail_typo else mail


def _phone(rng: Random, person: _Person, company: _Company, mishaps: Mishaps) -> str | None:
    chance = rng.random()
    if chance < mishaps.phone_missing:
        return None
    if chance < mishaps.phone_missing + mishaps.phone_other / 2:
        return company.board
    if chance < mishaps.phone_missing + mishaps.phone_other:
        return f"+4930{rng.randrange(10**7, 10**8)}"
    digits = person.mobile
    return rng.choice(
        (digits, f"00{digits[1:]}", f"0{digits[3:6]} {digits[6:]}", f"{digits[:3]} {digits[3:6]} {digits[6:]}")
    )


def _firm(rng: Random, company: _Company, mishaps: Mishaps) -> str | None:
    chance = rng.random()
    if chance < mishaps.company_missing:
        return None
    if chance < mishaps.company_missing + mishaps.company_form:
        return rng.choice(
            (company.name, company.name.upper(), f"{company.name}, {company.form}.", company.name.split()[0])
        )
    return f"{company.name} {company.form}"
