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
PLACE = (
    r"(?:heart(?:\s+size)?|cardiac\s+(?:silhouette|size)|(?:cardio)?mediastinum|lungs?|pleurae?|"
    r"bones)"
)
NONE = (
    r"(?:none|nothing)(?:\s+(?:is\s+|are\s+)?(?:seen|identified|noted|present|evident|"
    r"significant|acute|visible|detected|visuali[sz]ed|demonstrated|apparent|"
    r"observed|appreciated|found|today))?|nil|"
    r"negative|neg|absent|0|false|without|denied|excluded|ruled\s+out|no\s+evidence(?:\s+of)?|"
    r"not\s+(?:seen|present|identified|noted|detected|visuali[sz]ed|evident|found|visible|"
    r"demonstrated|apparent|observed|appreciated|suspected)"
)
PRESENT = r"yes|y|present|positive|pos|seen|noted|true|1"
NOT_SAID = (
    r"n/a|n\.a\.|na|not\s+(?:assessed|evaluated|applicable|commented(?:\s+on)?|reported|available|"
    r"mentioned|stated|recorded|included)|unknown|pending|tbd|to\s+be\s+determined|"
    r"_{2,}|x{3,}|-{2,3}|"
    r"unable\s+to\s+(?:assess|evaluate)|(?:cannot|can't|can\s+not)\s+be\s+(?:assessed|evaluated)"
)
VALUE = (  # the beginning of an answer other than yes or no
    r"(?:(?:very |only )?(?:small|tiny|trace|minimal|mild|moderate|large|severe|left|right|"
    r"bilateral|unilateral|possible|possibly|unchanged|stable|resolved|improved))"
)
SEPARATOR = (
    r"(?:\s*(?::|=|\||\.{3,})\s*|[ \t]+-+>?[ \t]+|[ \t]*[\u2013\u2014\u2192][ \t]*|[ \t]*\t[ \t]*)"
)
END = r"(?=[ \t]*(?:[.,;|()]|[-\u2013\u2014][ \t]|\n(?!\s*(?:on|in|at|of)\b)|$))"
CLOSED = (  # "no" at the end of a line may go on in the next
    rf"(?=[ \t]*(?:[.,;|()]|\n\s*\n|\n[ \t]*[(]?\d{{1,2}}[.):]|\n[ \t]*[-*\u2022][ \t]*{NOUN}"
    rf"|\n[ \t]*{NOUN}[ \t]*(?:[:=|]|-[ \t])|\s*$))"
)

TICKED = r"(?:[\[(]\s*[x\u2713]\s*[\])]|[\u2611\u2612\u2713])"
UNTICKED = r"(?:\[\s*\]|\(\s{0,3}\)|\u2610)"
YES, NO = r"\s*(?:yes|y)\b", r"\s*(?:no|n)\b"
SAID_YES, SAID_NO = (  # a box for yes and one for no, before or behind their words, one ticked
    rf"[:\s]*(?:{on}{YES}\W{{0,3}}{off}{NO}|{off}{NO}\W{{0,3}}{on}{YES}|{YES}\s*{on}{NO}\s*{off}"
    rf"|{NO}\s*{off}{YES}\s*{on})"
    for on, off in ((TICKED, UNTICKED), (UNTICKED, TICKED))
)
SIDED = r"(?:(?:left|right|l|r)(?:-?sided)?\s+)?"
ONE_SIDE = r"(left|right|l|r)"
MINUS_SIGN = re.compile(r"-(?:[\s,;.)]|$|ve\b)|(?:^|[\s,;:(=])-")
LETTERS = re.compile(r"\b(?:[NY](?=[,;.|\n]|\s*$)|neg(?:\.|(?:ative)?\s(?!for\b)))", re.IGNORECASE)
NO_BEHIND = {  # these are signs only before a "no"
    sign: re.compile(rf"{sign}\s*(?:n|abs|exc|not|den|rul|false|0)", re.IGNORECASE) for sign in ";/"
}
MORE_OR_LESS = r"(?:\+\s*/\s*-|\u00b1|\+-)"
KEYS = "-:=|\t.\u2013\u2014\u2192"  # what may stand between a key and its value; "." of three dots
BROKEN = r"ribs?|clavic\w+|humer\w+|sternal|vertebral|wedge|old|healed|healing"  # "rib #"
STEPS = [  # in this order: (signs, one of which a text must have; what is found; what it becomes)
    ("+", r"(?<!\w)\+\s?ve\b", "positive"),
    ("-", r"(?<!\w)-\s?ve\b", "negative"),
    ("\u2205\u00d8\u00f8", r"(?<!\w)[\u2205\u00d8\u00f8](?=\s*[a-z])", " no "),
    (
        "#",
        r"\b(ribs?|clavic\w+|humer\w+|sternal|vertebral|wedge|old|healed|healing)\s+#s?(?![\ds])",
        r"\1 fracture ",
    ),
    ("\u2191", r"\u2191", " increased "),
    ("\u2193", r"\u2193", " decreased "),
    (">", r"\b(ctr|(?:cardio-?thoracic|ct) ratio)((?: is|:)?)\s*>", r"\1\2 increased "),
    ("[(\u2611\u2612\u2713", rf"(?<=\w){SAID_YES}", " : present . "),
    ("[(\u2611\u2612\u2713", rf"(?<=\w){SAID_NO}", " : none . "),
    (":=", rf"([:=][^.,;:=\n]*\w)\s+(?={SIDED}{NOUN}\s*[:=])", r"\1 . "),
    (":=", rf"({NOUN})\s+{ONE_SIDE}\s*[:=]\s*([^;.:\n]+);\s*{ONE_SIDE}\s*[:=]", r"\1 : \2 \3, \4 "),
    (":=", rf"\s/\s+(?={NOUN}\s*[:=])", " . "),
    (":", rf"(?<=\w)[ \t]*:\s*{TICKED}", " : present . "),
    (":", rf"(?<=\w)[ \t]*:\s*{UNTICKED}", " : none . "),
    ("[(\u2611\u2612\u2713", TICKED, ". there is "),
    ("[(\u2610", UNTICKED, ". no "),
    ("[(", rf"(?<=\w)(?:\s*[:=])?\s*[(\[]\s*(?!\d)(?:{NONE}|no|n)\s*[)\]]", " : none . "),
    ("[(", rf"(?<=\w)(?:\s*[:=])?\s*[(\[]\s*(?!\d)(?:{PRESENT})\s*[)\]]", " : present . "),
    ("/", rf"([:=]\s*(?:{NONE}|no))(?:\s*/\s*(?:{NONE}|no))+{END}", r"\1"),
    (";", rf"({NOUN})\s*;\s*(?=(?:{NONE}){END}|no{CLOSED})", r"\1: "),
    ("?", rf"({NOUN})\s*\?+\s+(?={VALUE}\b)", r"\1: "),
    ("N", rf"({NOUN})\s+N(?=[,;.|\n]|\s*$)", r"\1 : none . "),
    ("N", rf"({NOUN})\s+Y(?=[,;.|\n]|\s*$)", r"\1 : present . "),
    ("N", rf"(?:^|(?<=[.,;\n]))(\s*)neg(?:\.|ative)?\s+(?={NOUN})", r"\1no "),
    ("-", rf"(?:^|(?<=[.;\n]))(\s*(?:{NOUN}|{PLACE}\b))[ \t]+-+[ \t]+(?=[a-z])", r"\1 : "),
    ("(", r"(?<=\w)(?:\s*[:=]\s*)?\(\s*-\s*\)", " : none . "),
    ("(", r"(?<=\w)(?:\s*[:=]\s*)?\(\s*\+\s*\)", " : present . "),
    (":=", r"(?<=\w)\s*[:=]\s*\?(?=\s*(?:[,;.|\n]|$))", " : possible . "),
    (":=", r"(?<=\w)\s*[:=]\s*-(?=\s*(?:[,;.|\n]|$))", " : none . "),
    (":=", r"(?<=\w)\s*[:=]\s*\?+\s*(?=[a-z])", " : query "),
    ("+\u00b1", rf"(\b(?:no|without|w/o)(?:\s+[\w-]+){{1,3}}?)\s*{MORE_OR_LESS}", r"\1 or "),
    ("+\u00b1", MORE_OR_LESS, " plus minus "),
    (KEYS, rf"(?:^|(?<=[.;\n]))[^.;:\n|]*{SEPARATOR}(?:{NOT_SAID}){END}", " "),
    (f"{KEYS}?", rf"(?:{SEPARATOR}|\?[\s-]*)(?:(?:{NONE}){END}|(?:no|n){CLOSED})", " : none . "),
    (f"{KEYS}?", rf"(?:{SEPARATOR}|\?[\s-]*)(?:{PRESENT}){END}", " : present . "),
    ("-", r"(?<=\w)\s*(?:\(\s*-\s*\)|-)(?=\s*(?:[,;.|]|$)|\n\s*\n)", " : none . "),
    ("+", r"(?<=\w)\s*(?:\(\s*\+\s*\)|\+)(?=\s*(?:[,;.|\n]|$))", " : present . "),
    ("-", r"\(\s*-\s*\)\s*(?=\w)", " no "),
    ("+", r"(?:\(\s*\+\s*\)\s*|(?<![\w+/])\+{1,2}\s*)(?=[a-z])", " , there is "),
    ("?", r"(?:^|(?<=[\s,;(]))\?+\s*(?=[a-z])", " , query "),
    ("?", r"(?<=[\w)])\s*\?+(?=\s|[.,;)]|$)", " queried . "),
]
PATTERNS = [
    (frozenset(signs), re.compile(pattern, re.IGNORECASE), words) for signs, pattern, words in STEPS
]
ALL_SIGNS = frozenset().union(*(signs for signs, _, _ in PATTERNS))
MINUS = re.compile(r"(?:^|(?<=[\s,;:(]))-(?!ve\b)(?=[a-z])", re.IGNORECASE)
SPACED_MINUS = re.compile(
    rf"(?:^|(?<=[,;:.\n*])|(?<=[\da-h]\)))\s*-\s+(?!(?-i:[A-Z][a-z]{{3}}|[A-Z]{{4}}\w*\s*(?:\.|$)))"
    rf"(?={NOUN}\s*(?:[,;.\n+]|[(]?\d{{1,2}}[.)]|-\s|$))",
    re.IGNORECASE,
)
LATER_MINUS = re.compile(rf"(?<=[\s,;])-\s+(?={NOUN})", re.IGNORECASE)
BULLETS = re.compile(r"(?:^|\n)\s*-.*\n\s*-", re.DOTALL)

BULLET = r"[ \t]*(?:[-*\u2022]\s*)?"
GONE = r"(?:now\s+)?(?:resolved|cleared|gone)"
LAST = rf"(?:{NONE}|no|n|{PRESENT}|{GONE}|{NOT_SAID})[ \t]*[.;]?[ \t]*(?:\n|$)"  # of its line
VALUE_ALONE = re.compile(rf"\n{BULLET}{LAST}", re.IGNORECASE)
ENDS_HERE = rf"(?=[ \t]*[.;]?[ \t]*(?:\n[ \t]*(?:\n|{BULLET}{NOUN})|\s*$))"
VALUE_BELOW = re.compile(  # a key and, below, its value: "Effusion\\n- no", "Pneumothorax:\\n none"
    rf"({NOUN})[ \t]*-?[ \t]*\n(?:[ \t]*\n)?{BULLET}(?!can)(?=(?:{NONE}|no|n|yes|y|{GONE}|"
    rf"{NOT_SAID})"
    rf"{ENDS_HERE})"
    rf"|:[ \t]*\n{BULLET}(?={LAST})",
    re.IGNORECASE,
)
MARKED = r"[ \t]*(?:[-*\u2022]|[(]?\d{1,2}[.)]+)"  # an item of a list
LEAD = re.compile(  # "No evidence of:" with a list below
    r"(?:^|(?<=[\n.]))[^\n.:]*\b(?:no(?:\s+(?:evidence|signs?))?(?:\s+of)?(?:\s+the\s+following)?|"
    r"negative\s+for|without|absence\s+of|none\s+of(?:\s+the\s+following)?)[ \t]*:[ \t]*\n"
    rf"((?:{MARKED}[^\n]*(?:\n|$))+)",
    re.IGNORECASE,
)
ITEM = re.compile(rf"(?:^|(?<=\n)){MARKED}\s*([^\n]*)")
KEY_LINE = re.compile(r"[ \t]*[A-Za-z][A-Za-z /&,-]{1,40}[ \t]*(?::|=|\||\t)")
GOES_ON = re.compile(  # a line that ends so goes on in the next
    r"(?:[,/&:-]|\b(?:no|not|of|the|an?|and|or|nor|with|without|in|on|at|to|for|from|by|is|are|was|"
    r"were|has|have|been|be|may|could|which|that|than|versus|vs|as|mild|moderate|severe|small|large"
    r"|left|right|new|dr|stable|focal|pleural|acute|definite|any|no evidence|costophrenic|cp"
    r"|cardiac|cardiomediastinal|mediastinal|hilar|pulmonary|vascular))\s*$",
    re.IGNORECASE,
)
CONTINUES = re.compile(  # a line that begins so goes on from the one before
    r"\s*(?:and|or|nor|with|without|in|on|at|to|for|from|by|is|are|was|were|has|have|not|no longer|"
    r"which|that|than|versus|vs|as|seen|identified|noted|present|resolved|cleared|but|of|the|"
    r"Kerley|Swan|Ganz|Hickman|Dobhoff|Dr|Foley)\b"
)
CAPITAL = re.compile(r"\s*[A-Z][a-z]+")
LOWER = re.compile(r"(?:^|\s)[a-z]{3,}")
STARTS = re.compile(  # a line in capitals that begins so begins a statement
    r"\s*(?:heart|lungs?|the|there|bones?|cardiac|mediastinum|stable|unchanged|small|mild"
    r"|moderate|large|minimal|trace|new|no)\b",
    re.IGNORECASE,
)
DENIED_LINE = re.compile(rf"\s*(?:no|without|negative for)\b.*\b{NOUN}\s*$", re.IGNORECASE)


LEFT_ALONE = (  # "None today." as a sentence of its own
    rf"\.\s+(?:{NONE})(?:\s+(?:today|now|currently|at\s+present|on\s+(?:this|today's|the\s+current)"
    r"\s+\w+))?[ \t]*(?=[.;\n]|$)"
)
ALONE = re.compile(LEFT_ALONE, re.IGNORECASE)
ANSWERED = re.compile(  # "History of effusion. None today.": the answer to the sentence before
    r"(\b(?:history|rule\s+out|r/o|h/o|hx|evaluate|evaluation|assess|exclude|previous|prior|known|"
    rf"looking|check|query|suspected)\b[^.;:?]*?\b({NOUN})[^.;:?]{{0,40}}){LEFT_ALONE}",
    re.IGNORECASE,
)
WORD_LINE = re.compile(  # of several lines "Consolidation no", "Effusion yes"
    rf"^([ \t]*{NOUN})[ \t]+(no|yes|none|nil|absent|present|neg|negative|positive)[ \t.;]*$",
    re.IGNORECASE | re.MULTILINE,
)
ABSENT = re.compile(rf"(?:^|(?<=[.;\n]))(\s*)absent\s+(?={NOUN})", re.IGNORECASE)
BY_POSITION = re.compile(  # "Pneumothorax/Effusion: No/Yes"
    rf"({NOUN}(?:\s*/\s*{NOUN})+)\s*[:=]\s*([^/.:;,\n]+(?:/\s*[^/.:;,\n]+)+)", re.IGNORECASE
)


def write_out(text: str) -> str:
    """`text` with signs as words; a line that is a statement of its own ends with a blank line."""
    if "\n" in text:
        if len(WORD_LINE.findall(text)) > 1:
            text = WORD_LINE.sub(r"\1: \2", text)
        if ":" in text:
            text = LEAD.sub(lambda lead: ITEM.sub(r"\n\nno \1.", lead[1]) + "\n\n", text)
        if VALUE_ALONE.search(text):
            text = VALUE_BELOW.sub(lambda match: f"{match[1] or ''}: ", text)
        text = _lines(text)
    if "bsent" in text or "BSENT" in text:
        text = ABSENT.sub(r"\1no ", text)
    if "/" in text:
        text = BY_POSITION.sub(_by_position, text)
    if ALONE.search(text):
        text = ANSWERED.sub(r"\1. no \2", text)
    signs = _signs(text)
    if "-" in signs:
        text = _minus(text)
    if signs:
        for needed, pattern, words in PATTERNS:
            if not signs.isdisjoint(needed):
                text = pattern.sub(words, text)
    return text


def _by_position(line: re.Match) -> str:
    """As many answers as findings: each finding with its own."""
    findings, answers = (re.split(r"\s*/\s*", part.strip()) for part in line.groups())
    if len(findings) != len(answers):
        return line[0]
    return " . ".join(
        f"{finding}: {answer}" for finding, answer in zip(findings, answers, strict=True)
    )


def _signs(text: str) -> set[str]:
    """The signs of `text`; "N" stands for letters alone, and hyphens and full stops are none."""
    signs = set(ALL_SIGNS.intersection(text)) - {"N"}
    if "-" in signs and not MINUS_SIGN.search(text):
        signs.remove("-")
    if "." in signs and "..." not in text:
        signs.remove(".")
    for sign, pattern in NO_BEHIND.items():
        if sign in signs and not pattern.search(text):
            signs.remove(sign)
    if LETTERS.search(text):
        signs.add("N")
    return signs


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
    begins = fits or STARTS.match(following)
    return bool(begins and line.isupper() and DENIED_LINE.match(line))
