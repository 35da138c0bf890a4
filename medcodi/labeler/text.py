"""Report text -> sentences in the form that phrases match: lower-case words and punctuation, each
followed by a blank."""

import html
import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from medcodi.data.headings import CONTENT, words
from medcodi.data.sections import has_content, split_sections
from medcodi.labeler.shorthand import NOUN, PLACE, write_out

# A full stop ends a sentence unless a digit follows ("1.5 cm"); so do ; ! ? a blank line, a bullet
# and a numbered item.
ENDS = re.compile(r"[.!?;]+(?=\D|$)|\n\s*\n|\n\s*(?=[-*•]|[o>»]\s)")
NUMBERED = re.compile(
    r"(?:^|(?<=[\s.;:]))(?:[(]?\d{1,2}[.)\]]+(?=\s|[A-Za-z])|[(]?[a-hA-H]\)(?=\s)|#\d{1,2}\b)"
)
ITEM = re.compile(r"\d[.)\]]|#\d|(?:^|[\s(])[a-hA-H]\)")
DASHED_NUMBERS = re.compile(  # where the first is a 1
    r"(?:^|(?<=\s))\d\s?[:/-](?=\s+[A-Za-z])|(?:^|(?<=\n))[ \t]*\d(?=[ \t]+[A-Z])"
)
OPENS_LIST = re.compile(r"\s*1[:/-]?\s")
ESCAPED = re.compile(r"(?:\\r)?\\n|\\r")  # a line end as an export of a table writes it
BROKEN = re.compile(r"\b([A-Za-z]{2,})-[ \t]*\n[ \t]*([A-Za-z]{2,})")  # a word over two lines
ABBREVIATION = re.compile(
    r"\b(?:(?:dr|mr|mrs|ms|vs?|e\.g|i\.e|approx|resp|st|incl|cf)"
    r"|(?:sm|mod|evid|pulm|vasc|sil|silh|poss|prob|assoc)(?=\.\s+[A-Za-z])"
    r"|(?:neg|pos|poss|prob|bilat|sm|mod|lt|rt|w|effs?|opacs?|consol|infil|atel|assoc|incr|decr|"
    r"pulm|vasc|evid|sil|silh|mediast|cardiomeg|unch|resid|inf|sup|lat)"
    r"(?=\.\s+(?![lr]\s*:)(?:for\b|or\b|and\b|(?-i:[a-z]))))\.",
    re.IGNORECASE,
)
SPACES = re.compile(r" {2,}")
COLUMNS = re.compile(rf"^([ \t]*(?:{NOUN}|{PLACE})) {{3,}}(?=\w)", re.MULTILINE | re.IGNORECASE)
SHORT = tuple(
    f"{before}{word}"
    for before in " \n"
    for word in words(
        "dr mr mrs ms v vs g e approx resp st incl cf neg pos poss prob bilat sm mod lt rt w eff "
        "effs opac opacs consol infil atel assoc incr decr pulm vasc evid sil silh mediast "
        "cardiomeg unch resid inf sup lat"
    )
)
TOKEN = re.compile(r"[a-z0-9]+(?:\.[0-9]+)?|[,:;()]")
HEADINGS = words(
    "finding impression conclusion opinion summary interpretation comment narrative indication "
    "technique comparison history"
)
HEADING_SIGNS = (":", "=", "[", " -", "-\n", "\u2013", "\u2014")
HEADED = re.compile(
    r"(?:^|[.!?])\s*(?:"
    + "|".join(form for name in HEADINGS for form in (name, name.title(), name.upper()))
    + ")",
    re.MULTILINE,
)
READ = ("", *CONTENT, "other")  # kinds of sections that hold findings
AGED = re.compile(r"\b\d{1,3} ?[MF]\b(?=,? (?:with|w/|s/p|h/o|c/o|p/w))")  # "67F w/ CHF"
SECOND_SIDE = re.compile(  # "no effusion on the left; small on the right"
    r";(?=[^.;]{0,60}\bones?\b(?!\s+of)"
    r"|\s*(?:left|right)\s+(?:is\s+|has\s+)?(?:un|not\s)?(?:changed|stable|persists?|remains?|"
    r"resolved|cleared|gone|larger|smaller|improved)\b"
    r"|\s*that\s+(?:on|at|in)\s+the\b"
    r"|\s*(?:(?:a|very|only|small|tiny|trace|minimal|mild|moderate|large|none|present|absent)\s+)"
    r"{1,3}"
    r"(?:on|at|in)\s+(?:the\s+)?(?:left|right)\b"
    r"|\s*(?:and\s+)?the\s+(?:left|right)\s+(?:one\s+)?(?:is|has|was|persists?|remains?)\b)",
    re.I,
)
IN_MAY = re.compile(  # no hedge: "in May", "3 May", "film of 3 MAY SHOWED"
    r"(?:(?<=\d )|(?<=\b(?:in|of) )|(?<=\bfrom ))May\b|\b(?:May|MAY) (?=\d)"
    r"|(?<=\d )(?i:may)(?=\s+(?i:showed|demonstrated|revealed|described|had|was)\b)"
)
DAY_IN_MAY = re.compile(r"\d may ")
OTHER_SIDE = re.compile(  # "No left effusion. The right-sided one is small."
    r"\.\s+(?=the\s+(?:left|right)(?:[ -]sided)?\s+one\b)", re.IGNORECASE
)
MARKUP = re.compile(
    r"</?(?:b|i|u|em|strong|span|div|p|br|li|ul|ol|tr|td|th|font)\b[^<>\n]{0,80}>", re.I
)
BLOCKS = ("br", "p", "/p", "li", "div", "/div", "tr")  # tags that end a line
LONG = re.compile(
    r"\S(?:.{0,998}\S)?(?=\s|$)|\S{1,1000}", re.DOTALL
)  # no sentence: bounds the work of scope
DASHES = re.compile(r"\s+-+\s+|\s*(?:--+|[–—])\s*")


class TextCleaner:
    """`rewrites` maps spellings, abbreviations and multi-word variants to the words of the phrase
    tables; the sections of `skipped_sections` (further headings of questions or older
    examinations, which hold no finding) are left out, those of `kept_sections` are not. `words`:
    those of the phrases; one that a line end breaks is put together."""

    def __init__(
        self,
        rewrites: Mapping[str, str],
        skipped_sections: Sequence[str],
        kept_sections: Sequence[str],
        words: Collection[str] = (),
    ) -> None:
        self._words = frozenset(words)
        self._rewrites: dict[str, list[tuple[list[str], list[str]]]] = defaultdict(list)
        for variant, new in sorted(rewrites.items(), key=lambda item: -len(item[0].split())):
            old = variant.lower().split()
            self._rewrites[old[0]].append((old, (new or "").lower().split()))
        self._known = {
            **{name.lower(): "indication" for name in skipped_sections},
            **{name.lower(): "findings" for name in kept_sections},
        }

    def findings(self, text: str) -> str:
        """What `text` says of findings: without the question, the history, the technique, older
        examinations and preliminary readings. "" for a report without content."""
        text = unicodedata.normalize("NFKC", text) if not text.isascii() else text
        if "<" in text or "&" in text:
            text = html.unescape(MARKUP.sub(_without_tag, text)).replace("\u00a0", " ")
        if "   " in text:
            text = COLUMNS.sub(r"\1: ", text)  # a key and its value in columns
        text = SPACES.sub(" ", text.replace("\r\n", "\n").replace("\r", "\n"))
        if "\\" in text:
            text = ESCAPED.sub("\n", text)
        if "-\n" in text:
            text = BROKEN.sub(self._whole, text)
        if any(sign in text for sign in HEADING_SIGNS) or HEADED.search(text):
            kept = [
                f"{section.heading}: {section.text}"
                if section.kind == "other"
                else section.text.strip()
                for section in split_sections(text, self._known)
                if section.kind in READ and has_content(section.text)
            ]
            return "\n\n".join(kept)
        return text if has_content(text) else ""

    def _whole(self, broken: re.Match[str]) -> str:
        joined = f"{broken[1]}{broken[2]}"
        known = not self._words.isdisjoint((joined.lower(), joined.lower().removesuffix("s")))
        return joined if known else broken[0]

    def sentences(self, findings: str) -> list[str]:
        """Raw sentences of what `findings` gave; what runs on for more than 1,000 characters is
        cut."""
        if "one" in findings or "ONE" in findings:
            findings = OTHER_SIDE.sub(", ", findings)
        if "May" in findings or "MAY" in findings or DAY_IN_MAY.search(findings):
            findings = IN_MAY.sub("month ", findings)
        text = write_out(findings).replace("./", "/")  # "no consol./eff."
        if ";" in text:
            text = SECOND_SIDE.sub(",", text)
        text = AGED.sub("year old", text)
        if any(part.lower().endswith(SHORT) for part in f" {text}".split(".")[:-1]):
            text = ABBREVIATION.sub(lambda match: match[0].replace(".", ""), text)
        if ITEM.search(text):
            text = NUMBERED.sub("\n\n", text)
        if OPENS_LIST.match(text):
            text = DASHED_NUMBERS.sub("\n\n", text)
        parts = [part.strip() for part in ENDS.split(text)]
        return [
            piece
            for part in parts
            if part
            for piece in (LONG.findall(part) if len(part) > 1000 else [part])
        ]

    def clean(self, sentence: str) -> str:
        """The form that phrases match, e.g. `no effusion , or pneumothorax . `, always with a full
        stop."""
        lowered = DASHES.sub(" , ", sentence.lower().replace("\u2019", "'"))
        lowered = lowered.replace("'s", "").replace("n't", " not").replace("&", " and ")
        tokens = [*TOKEN.findall(lowered), "."]
        return " ".join(self._rewritten(tokens)) + " "

    def _rewritten(self, tokens: list[str]) -> list[str]:
        """`tokens` with the words of the rewrites, the longest variant at every place."""
        if self._rewrites.keys().isdisjoint(tokens):
            return tokens
        written, place = [], 0
        while place < len(tokens):
            for old, new in self._rewrites.get(tokens[place], ()):
                if tokens[place : place + len(old)] == old:
                    written += new
                    place += len(old)
                    break
            else:
                written.append(tokens[place])
                place += 1
        return written


def _without_tag(tag: re.Match[str]) -> str:
    """What stands for a tag of HTML: the end of a line, or nothing."""
    name = tag[0].strip("<>").split()[0].lower().rstrip("/")
    return "\n\n" if name in BLOCKS else ""
