"""A report in pieces, each with the finding that the labeler reads in it."""

import re

from medcodi.labeler import NEGATIVE, POSITIVE, UNCERTAIN, Labeler

STATES = {POSITIVE: "present", NEGATIVE: "absent", UNCERTAIN: "uncertain"}


def highlighted(report: str, labeler: Labeler) -> list[tuple[str, str | None]]:
    """(text, state) pieces that join to `report`; a piece that names a finding reads "Pleural
    Effusion: present". A mention whose words the labeler rewrote is not marked."""
    pieces: list[tuple[str, str | None]] = []
    position = 0
    for mention in labeler.mentions(report):
        words = [re.escape(word) for word in re.findall(r"\w+", mention.phrase)]
        if not words:
            continue
        pattern = re.compile(r"\b" + r"\W+".join(words) + r"\b", re.IGNORECASE)
        found = pattern.search(report, position)
        if found is None:
            continue
        if found.start() > position:
            pieces.append((report[position : found.start()], None))
        pieces.append((found[0], f"{mention.observation}: {STATES[mention.status]}"))
        position = found.end()
    if position < len(report):
        pieces.append((report[position:], None))
    return pieces


def findings(report: str, labeler: Labeler) -> list[list[str]]:
    """(observation, state) of all that the report mentions."""
    return [[name, STATES[value]] for name, value in labeler.label_one(report).items()]
