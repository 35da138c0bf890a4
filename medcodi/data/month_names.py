"""Names of the months in several languages, long and short, and ordinal numbers of days, as they
are written."""

from functools import lru_cache

NAMES = {
    "en": "January February March April May June July August September October November December "
    "/ Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec",
    "de": "Januar Februar März April Mai Juni Juli August September Oktober November Dezember "
    "/ Jan Feb Mär Apr Mai Jun Jul Aug Sep Okt Nov Dez",
    "de2": "Jänner Februar Maerz April Mai Juni Juli August September Oktober November Dezember "
    "/ Jan Feb Mrz Apr Mai Jun Jul Aug Sep Okt Nov Dez",
    "de3": "Januar Februar Maerz April Mai Juni Juli August September Oktober November Dezember "
    "/ Jan. Feb. März Apr. Mai Juni Juli Aug. Sept. Okt. Nov. Dez.",
    "de4": "Jänner Februar März April Mai Juni Juli August September Oktober November Dezember "
    "/ Jan. Feb. Mär. Apr. Mai Jun. Jul. Aug. Sep. Okt. Nov. Dez.",
    "fr": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre "
    "/ janv. févr. mars avr. mai juin juil. août sept. oct. nov. déc.",
    "fr2": "janvier fevrier mars avril mai juin juillet aout septembre octobre novembre decembre "
    "/ janv fevr mars avr mai juin juil aout sept oct nov dec",
    "fr3": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre "
    "/ janv févr mars avr mai juin juil août sept oct nov déc",
    "fr4": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre "
    "/ jan fév mar avr mai jun jul aoû sep oct nov déc",
    "es": "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre "
    "diciembre / ene feb mar abr may jun jul ago sep oct nov dic",
    "it": "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre "
    "dicembre / gen feb mar apr mag giu lug ago set ott nov dic",
    "nl": "januari februari maart april mei juni juli augustus september oktober november december "
    "/ jan feb mrt apr mei jun jul aug sep okt nov dec",
    "pt": "janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro "
    "dezembro / jan fev mar abr mai jun jul ago set out nov dez",
}

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
FIRST = {
    "fr": "1er|1 er|1\u1d49\u02b3",
    "es": "1\u00ba|1ro|1.\u00ba",
    "it": "1\u00ba|1\u00b0",
    "pt": "1\u00ba|1\u00b0",
}


@lru_cache
def month_names(language: str) -> tuple[list[str], list[str]]:
    """(long, short) names of the twelve months. Raises KeyError for another language."""
    long, short = NAMES[language].split("/")
    return long.split(), short.split()


@lru_cache
def _lowered() -> dict[str, frozenset[str]]:
    """All names of a language, as `languages_of` compares them."""
    return {
        language: frozenset(n.lower().rstrip(".") for names in month_names(language) for n in names)
        for language in NAMES
    }


def languages_of(words: set[str]) -> list[str]:
    """The languages in which one of the `words` (in lower case) is a month, other than English,
    and whose months the English ones do not cover."""
    found = {language: words & names for language, names in _lowered().items()}
    return [one for one, names in found.items() if one != "en" and names - found["en"]]


def ordinals(language: str) -> str:
    """The pattern of a day as an ordinal number; most languages have one for the first alone."""
    first = FIRST.get(language[:2])
    return f"{first.replace('.', '[.]')}|\\d{{1,2}}" if first else r"\d{1,2}(?:st|nd|rd|th)"


def ordinal(language: str, day: int) -> str:
    if first := FIRST.get(language[:2]):
        return first.split("|")[0] if day == 1 else str(day)
    ends = {1: "st", 2: "nd", 3: "rd"}
    return f"{day}{'th' if 10 < day < 14 else ends.get(day % 10, 'th')}"
