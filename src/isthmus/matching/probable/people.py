"""What is compared between rows about humans, whatever the type of record they come from."""

from isthmus.matching.probable.traits import Kind, Plan, Trait

PEOPLE = Plan(
    traits=(
        Trait("first_name", Kind.GIVEN),
        Trait("last_name", Kind.FAMILY),
        Trait("email", Kind.EMAIL),
        Trait("phone", Kind.NUMBER),
        Trait("company", Kind.ORGANISATION),
        Trait("city", Kind.WORDS),
    ),
    blocks=(
        ("email",),
        ("phone",),
        ("last_name", "company_word"),
        ("first_name_root", "company"),
        ("first_name_root", "last_name"),
        ("first_name_root", "last_name_sound"),
        ("last_name_sound", "first_name_letter", "company_word"),
        ("last_name_sound", "first_name_letter", "email_domain"),
        ("first_name", "last_name", "city"),
    ),
)
