"""Clinical shorthand and the layout of lines, written out as words before sentences are split:
signs (+, -, +/-, ?), check boxes, key-value lines ("Pneumothorax: none"), lines without a full
stop. Abbreviations are words of a vocabulary (its `rewrites`)."""

import itertools
import re

NOUN = (
    r"(?:(?:pleural|focal|acute|rib|lung|pulmonary|airspace|lobar|interstitial|pericardial)\s+)?"
    r"(?:effusions?|effs?|ptx|pneumothora(?:x|ces)|pna|pneumonia|consolidations?|o?edema|"
    r"atelectas[ie]s|opacit(?:y|ies)|infiltrates?|infiltration|nodules?|mass(?:es)?|lesions?|"
    r"fractures?|fx|cardiomegaly|chf|emphysema|fibrosis|thickening|hernia|congestion|scarring)\b"
)
NONE = (
    r"none(?:\s+(?:seen|identified|noted|present|evident))?|nil|negative|neg|absent|0|false|"
    r"no\s+evidence|not\s+(?:seen|present|identified|noted|detected|visuali[sz]ed|evident|found|"
    r"demonstrated|apparent|observed|appreciated)"
)
PRESENT = r"yes|y|present|positive|pos|seen|noted|true|1"
NOT_SAID = (
    r"n/a|n\.a\.|na|not\s+(?:assessed|evaluated|applicable|commented(?:\s+on)?|reported|available|"
    r"mentioned|stated|recorded|included)|unknown|_{2,}|x{3,}|unable\s+to\s+(?:assess|evaluate)"
)
SEPARATOR = (
    r"(?:\s*(?::|=|\||\.{3,})\s*|[ \t]+-+>?[ \t]+|[ \t]*[\u2013\u2014\u2192][ \t]*|[ \t]*\t[ \t]*)"
)
END = r"(?=[ \t]*(?:[.,;|()]|\n(?!\s*(?:on|in|at|of)\b)|$))"
CLOSED = r"(?=[ \t]*(?:[.,;|()]|\n\s*\n|\s*$))"  # "no" at the end of a line may go on in the next

SIGNS = frozenset("+\u00b1=|\t[]\u2610\u2611\u2612\u2713?:\u2013\u2014\u2192")
MINUS_SIGN = re.compile(r"-(?:[\s,;.)]|$|ve\b)|(?:^|[\s,;:(])-")
STEPS = [  # in this order
    (r"(?<!\w)\+\s?ve\b", "positive"),
    (r"(?<!\w)-\s?ve\b", "negative"),
    (r"\[\s*[x\u2713]\s*\]|[\u2611\u2612\u2713]", ". there is "),
    (r"\[\s*\]|\u2610", ". no "),
    (r"\+\s*/\s*-|\u00b1|\+-", " , possible "),
    (rf"(?:^|(?<=[.;\n]))[^.;:\n|]*{SEPARATOR}(?:{NOT_SAID}){END}", " "),
    (rf"(?:{SEPARATOR}|\?\s*)(?:(?:{NONE}){END}|(?:no|n){CLOSED})", " : none . "),
    (rf"(?:{SEPARATOR}|\?\s*)(?:{PRESENT}){END}", " : present . "),
    (r"(?<=\w)\s*(?:\(\s*-\s*\)|-)(?=\s*(?:[,;.|]|$)|\n\s*\n)", " : none . "),
    (r"(?<=\w)\s*(?:\(\s*\+\s*\)|\+)(?=\s*(?:[,;.|\n]|$))", " : present . "),
    (r"\(\s*-\s*\)\s*(?=\w)", " no "),
    (r"(?:\(\s*\+\s*\)\s*|(?<![\w+/])\+{1,2}\s*)(?=[a-z])", " , there is "),
    (r"(?:^|(?<=[\s,;(]))\?+\s*(?=[a-z])", " , possible "),
    (r"(?<=[\w)])\s*\?+(?=\s|[.,;)]|$)", " possible . "),
]
PATTERNS = [(re.compile(pattern, re.IGNORECASE), words) for pattern, words in STEPS]
MINUS = re.compile(r"(?:^|(?<=[\s,;:(]))-(?!ve\b)(?=[a-z])", re.IGNORECASE)
SPACED_MINUS = re.compile(
    rf"(?:^|(?<=[,;:.\n*]))\s*-\s+(?!(?-i:[A-Z][a-z]{{3}}|[A-Z]{{4}}\w*\s*(?:\.|$)))(?={NOUN}\s*(?:[,;.]|-\s|$))",
    re.IGNORECASE,
)
LATER_MINUS = re.compile(rf"(?<=[\s,;])-\s+(?={NOUN})", re.IGNORECASE)
BULLETS = re.compile(r"(?:^|\n)\s*-.*\n\s*-", re.DOTALL)

KEY_LINE = re.compile(r"[ \t]*[A-Za-z][A-Za-z /&,-]{1,40}[ \t]*(?::|=|\||\t)")
GOES_ON = re.compile(  # a line that ends so goes on in the next
    r"(?:[,/&:-]|\b(?:no|not|of|the|an?|and|or|nor|with|without|in|on|at|to|for|from|by|is|are|was|"
    r"were|has|have|been|be|may|could|which|that|than|versus|vs|as|mild|moderate|severe|small|large"
    r"|left|right|new|dr|stable|focal|pleural|acute|definite|any|no evidence))\s*$",
    re.IGNORECASE,
)
CONTINUES = re.compile(  # a line that begins so goes on from the one before
    r"\s*(?:and|or|nor|with|without|in|on|at|to|for|from|by|is|are|was|were|has|have|not|no longer|"
    r"which|that|than|versus|vs|as|seen|identified|noted|present|resolved|cleared|but|of|the|"
    r"Kerley|Swan|Ganz|Hickman|Dobhoff|Dr|Foley)\b"
)
CAPITAL = re.compile(r"\s*[A-Z][a-z]+")
LOWER = re.compile(r"(?:^|\s)[a-z]{3,}")
DENIED_LINE = re.compile(rf"\s*(?:no|without|negative for)\b.*\b{NOUN}\s*$", re.IGNORECASE)


def write_out(text: str) -> str:
    """`text` with signs as words; a line that is a statement of its own ends with a blank line."""
    if "\n" in text:
        text = _lines(text)
    minus = "-" in text and MINUS_SIGN.search(text)
    if not minus and SIGNS.isdisjoint(text) and "..." not in text:
        return text
    if minus:
        text = _minus(text)
    for pattern, words in PATTERNS:
        text = pattern.sub(words, text)
    return text


def _minus(text: str) -> str:
    """A minus before a finding is "no"; before the items of a list it is a bullet."""
    if BULLETS.search(text):
        return text
    if SPACED_MINUS.search(text):
        text = LATER_MINUS.sub(" no ", SPACED_MINUS.sub(" no ", text))
    return MINUS.sub(" no ", text)


def _lines(text: str) -> str:
    """Every line that ends a statement, though no full stop says so, gets a blank line behind it.
    A line that was wrapped does not: its sentence goes on."""
    lines = text.split("\n")
    if not any(first and second for first, second in itertools.pairwise(lines)):
        return text
    width, parts = max(map(len, lines)), [lines[0]]
    for line, following in itertools.pairwise(lines):
        joint = " " if line.rstrip().endswith(",") and following.strip() else "\n"
        parts += ["\n\n" if _ends(line, following, width) else joint, following]
    return "".join(parts)


def _ends(line: str, following: str, width: int) -> bool:
    if not line.strip() or not following.strip():
        return False
    if KEY_LINE.match(following) and (KEY_LINE.match(line) or not GOES_ON.search(line)):
        return True
    if GOES_ON.search(line) or CONTINUES.match(following):
        return False
    if CAPITAL.match(following):
        return bool(LOWER.search(line) or LOWER.search(following))
    fits = len(line.rstrip()) + 1 + len(following.split()[0]) <= width
    return bool(fits and line.isupper() and DENIED_LINE.match(line))
