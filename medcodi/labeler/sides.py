"""Statements that tell the sides apart and name the finding once: "small right and no left pleural
effusion" says two things. Each is written out as a sentence of its own."""

import re
from collections.abc import Sequence

SIDE = r"(?:left|right)"
WORD = (
    r"(?:no|not|without|nil|none|absent|a|an|the|there|is|are|small|tiny|trace|minimal|mild|"
    r"moderate|large|severe|big|new|old|stable|unchanged|increased|decreased|"
    r"increasing|decreasing|improved|"
    r"improving|worsening|residual|persistent|definite|significant|appreciable|possible|"
    r"questionable|probable|likely|layering|loculated|evidence|of|any|also|only|moderately|sized|"
    r"pleural|apical|basilar|basal|subtle|very|slightly|to|seen|present|resolved|larger|smaller|"
    r"negative|positive|yes)"
)
JOIN = r"(?:, |and |but |with |while |whereas |though )+"
BOTH = r"(?:bilateral|both|bibasilar)"
BOTH_SIDES = re.compile(rf"\b{BOTH} ")
NAMED_AGAIN = re.compile(  # "none on the right, and a small one on the left", "that on the left"
    rf"(?P<join>{JOIN})(?:(?P<head>(?:[a-z]+ ){{0,8}}?(?:an?|the|small|tiny|trace|minimal|moderate|"
    r"large|big|new|old|another|second|sided|basal|basilar|apical|left|right) )ones?(?! of)"
    rf"|(?P<that>)(?:that|those)(?= (?:on|at|in) (?:the )?{SIDE})) "
)
NEGATIVE = re.compile(r"\b(?:no|not|without|nil|none|absent|negative|resolved|cleared)\b")
NONE = re.compile(r"\b(?:none|nil|absent|negative)\b")
ONE = rf"(?:{WORD} )*{SIDE} (?:sided )?(?:(?:apical|basal|basilar|pleural) )?"
BEFORE = re.compile(rf"(?P<a>{ONE})(?P<join>{JOIN})(?P<b>{ONE})(?P<noun>(?:[a-z]+ ){{0,3}})$")
NOT_SO = re.compile(  # "small right, trace left and no loculated effusion"
    rf"(?P<a>(?:{ONE})(?:{JOIN}{ONE})*)(?P<join>{JOIN})"
    rf"(?P<b>(?:no|without) (?!{SIDE} )(?:[a-z]+ ){{1,3}})$"
)
PLACE = (
    rf"(?:(?:is |are )?(?:seen |noted |present |identified )?(?:on|at|in) (?:the )?{SIDE} "
    r"(?:(?:side|base|apex|lung|lung base|hemithorax|costophrenic angle|upper lobe|lower lobe) )?)"
)
PLACES = re.compile(
    rf"{PLACE}(?P<join>{JOIN})(?P<b>(?:{WORD} ){{1,3}}?)(?:one )?(?P<place>{PLACE})"
)
BARE_PLACE = rf"{SIDE} (?:(?:apical|basal|basilar|base|apex|side|pleural) )?"
BARE_PLACES = re.compile(  # "no effusion left, small right"
    rf"{BARE_PLACE}(?P<join>{JOIN})(?P<b>(?:{WORD} ){{1,3}}?)(?P<place>{BARE_PLACE})(?=[.;])"
)
ITEM = rf"(?:on )?(?:the )?(?:{WORD} )*(?:on )?(?:the )?{SIDE} (?:side )?(?:{WORD} )*(?:, |and )*"
ITEMS = re.compile(rf"(?:: )?(?P<items>(?:{ITEM}){{2,}})(?=\.)")
SAID = r"(?:(?:has|have|is|are|was|were|it|there|no|longer|now) )*"
DONE = (
    rf"{SAID}(?:resolved|cleared|gone|seen|smaller|larger|unchanged|stable|decreased|increased|"
    r"improved|persists?|remains?|small|none|absent|present)"
)
ELSEWHERE = re.compile(  # "effusions have resolved on the right and persist on the left"
    rf"(?P<a>{DONE} {PLACE})(?P<join>{JOIN})(?P<b>{DONE} {PLACE})"
    rf"|(?P<c>{PLACE}{DONE} )(?P<join2>{JOIN})(?P<d>{PLACE}{DONE} )"
)
CLAUSE = re.compile(
    rf"(?P<first>[^,]*?)(?P<join>{JOIN})(?:the |on the )?(?P<side>{SIDE}) "
    r"(?:one |side |sided one )?"
    r"(?P<rest>(?:has|having|is|was|persists?|remains?|unchanged|stable|resolved|not|no longer|"
    r"none|larger|smaller|increased|decreased|improved|cleared|gone|absent)\b)"
)


def tells_sides(sentence: str) -> bool:
    """May `sentence` say different things of the two sides?"""
    left, right = "left " in sentence, "right " in sentence
    return (left and right) or ((left or right) and bool(BOTH_SIDES.search(sentence)))


def name_again(sentence: str, nouns: Sequence[tuple[int, int]]) -> list[str] | None:
    """The statements of `sentence` where a later one says "one" or "that" for the last of the
    findings before it, which stand at the characters of `nouns`; None where none does."""
    if " one" not in sentence and " that " not in sentence and " those " not in sentence:
        return None
    match = NAMED_AGAIN.search(sentence)
    before = [noun for noun in nouns if match and noun[1] <= match.start()]
    if not (match and before):
        return None
    start, end = before[-1]
    second = f"{match['head'] or ''}{sentence[start:end]}{sentence[match.end() :]}"
    return [f"{sentence[: match.start()]}. ", second]


def tell_sides_apart(sentence: str, start: int, end: int) -> list[str] | None:
    """The statements of `sentence`, whose finding stands at [start, end), each a sentence; None
    where it makes one statement."""
    noun = sentence[start:end]
    if (match := NOT_SO.search(sentence, 0, start)) and not NEGATIVE.search(match["a"]):
        return [f"{sentence[: match.end('a')]}{noun}. ", sentence[match.start("b") :]]
    if match := BEFORE.search(sentence, 0, start):
        first, second = match["a"], match["b"]
        if _differ(first, second):
            whole = f"{match['noun']}{noun}"
            return [f"{sentence[: match.end('a')]}{whole}. ", f"{second}{whole}{sentence[end:]}"]
    if match := PLACES.match(sentence, end) or BARE_PLACES.match(sentence, end):
        second = NONE.sub("no", match["b"])
        head = sentence[: match.start("join")]
        return [f"{head}. ", f"{second}{noun}{match['place']}{sentence[match.end() :]}"]
    if match := ELSEWHERE.match(sentence, end):
        first, second = match["a"] or match["c"], match["b"] or match["d"]
        return [f"{sentence[:end]}{first}. ", f"{noun}{second}{sentence[match.end() :]}"]
    if match := ITEMS.match(sentence, end):
        items = [item for item in re.split(r"(?:, |and )+", match["items"]) if item.strip()]
        if len(items) > 1 and all(len(re.findall(SIDE, item)) == 1 for item in items):
            return [_item(item, sentence[:start] + noun) for item in items]
    return _clauses(sentence, start, end)


def _differ(first: str, second: str) -> bool:
    """Is one side denied and the other not? What only names the second side shares the denial."""
    denied = bool(NEGATIVE.search(first)), bool(NEGATIVE.search(second))
    named_only = re.fullmatch(rf"(?:the )?{SIDE} (?:sided )?", second)
    return denied == (False, True) or (denied == (True, False) and not named_only)


def _item(item: str, finding: str) -> str:
    if NEGATIVE.search(item):
        return f"no {finding}. "
    return f"{item}{finding}. "


def _clauses(sentence: str, start: int, end: int) -> list[str] | None:
    """ "The right effusion has resolved and the left is unchanged." """
    side = re.search(rf"(?:{SIDE}|{BOTH}) (?:sided )?(?:[a-z]+ ){{0,3}}$", sentence[:start])
    match = CLAUSE.match(sentence, end)
    if not (side and match) or side[0].startswith(match["side"]):
        return None
    noun = re.sub(rf"^(?:{SIDE}|{BOTH}) ", "", side[0]) + sentence[start:end]
    second = f"{match['side']} {noun}{sentence[match.start('rest') :]}"
    return [f"{sentence[: match.start('join')]}. ", second]
