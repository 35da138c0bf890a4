"""Mentions of earlier studies in a report.

A model that sees one study alone cannot know what changed since another: where its report says
"unchanged" or "compared with the prior", it repeats its training reports (Ramesh et al. 2022).
"""

import re

_PATTERNS = (
    r"compar(?:ed|ison|able|ing)",
    r"(?:prior|previous|earlier|last|old) (?:\w+ )?(?:study|studies|exam\w*|film\w*|radiograph\w*"
    r"|x-?rays?|image\w*|cxr|chest|ct|scan\w*)",
    r"(?:prior|previously|since (?:the )?(?:prior|previous|last|earlier))",
    r"(?:un|not (?:significantly )?)changed|no (?:significant |interval |relevant )*changes?",
    r"interval (?:\w+ )?(?:change|increase|decrease|improvement|worsening|development|resolution"
    r"|removal|placement)\w*",
    r"(?:has|have) (?:been )?(?:\w+ )?(?:improved|worsened|increased|decreased|resolved|progressed"
    r"|cleared|removed|changed|developed)",
    r"(?:improv|worsen|resolv|progress)(?:ed|ing)",
    r"(?:remains?|persist(?:s|ent)|again (?:seen|noted|demonstrated)|redemonstrat\w+|new(?:ly)?"
    r"|stable|unchanging)",
    r"as (?:seen )?before",
)
# what names no earlier study although it sounds so
_NOT = re.compile(
    r"no (?:prior|previous|comparison)\w*(?: \w+){0,3} (?:is|are|was|were)? ?(?:available|found)"
    r"|(?:without|no) (?:comparison|prior\w*|previous \w+)"
    r"|prior (?:surgery|sternotomy|cabg|operation|granulomatous|infection|trauma|fracture\w*)"
    r"|(?:may|might|could|should|recommend\w*) (?:be )?compar\w*"
    r"|(?:hemodynamically|clinically) stable",
    re.IGNORECASE,
)
_MENTION = re.compile(rf"\b(?:{'|'.join(_PATTERNS)})\b", re.IGNORECASE)


def prior_mentions(report: str) -> list[str]:
    """The words of `report` that speak of an earlier study or of a change since, in order. Says
    that none is available: []."""
    return _MENTION.findall(_NOT.sub(" ", report or ""))
