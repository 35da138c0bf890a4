"""Report text -> sentences in the form that phrases match: lower-case words and punctuation, each
followed by a blank."""

import re
import unicodedata
from collections.abc import Mapping, Sequence

# A full stop ends a sentence unless a digit follows ("1.5 cm"); so do ; ! ? a blank line, a bullet
# and a numbered item.
ENDS = re.compile(r"[.!?;]+(?=\D|$)|\n\s*\n|\n\s*(?=[-*•])|(?:^|(?<=[\s.;:]))\d{1,2}[.)](?=\s)")
ABBREVIATION = re.compile(
    r"\b(?:dr|mr|mrs|ms|vs|e\.g|i\.e|approx|resp|st|incl|cf)\.", re.IGNORECASE
)
TOKEN = re.compile(r"[a-z0-9]+(?:\.[0-9]+)?|[,:;()]")
HEADING = re.compile(r"(?:^|(?<=[\n.;]))[ \t]*([A-Za-z][A-Za-z /&]{2,40}?)[ \t]*:")
LONG = re.compile(
    r"\S(?:.{0,998}\S)?(?=\s|$)|\S{1,1000}", re.DOTALL
)  # no sentence: bounds the work of scope
DASHES = re.compile(r"\s+-+\s+|\s*(?:--+|[–—])\s*")


class TextCleaner:
    """`rewrites` maps spellings, abbreviations and multi-word variants to the words of the phrase
    tables; the sections whose headings are in `skipped_sections` (a question or an older
    examination, no finding) are left out."""

    def __init__(
        self,
        rewrites: Mapping[str, str],
        skipped_sections: Sequence[str],
        kept_sections: Sequence[str],
    ) -> None:
        self.rewrites = {
            key.lower() + " ": value.lower() + " " if value else ""
            for key, value in rewrites.items()
        }
        longest_first = sorted(self.rewrites, key=len, reverse=True)
        self._rewrite = (
            re.compile("(?<![^ ])(?:" + "|".join(map(re.escape, longest_first)) + ")")
            if rewrites
            else None
        )
        self._skipped, self._kept = set(skipped_sections), set(kept_sections)

    def sentences(self, text: str) -> list[str]:
        """Raw sentences of the sections that hold findings; what runs on for more than 1,000
        characters is cut."""
        text = unicodedata.normalize("NFKC", text) if not text.isascii() else text
        text = self._findings_only(text) if ":" in text else text
        text = ABBREVIATION.sub(lambda match: match[0].replace(".", ""), text)
        parts = [part.strip() for part in ENDS.split(text)]
        return [
            piece
            for part in parts
            if part
            for piece in (LONG.findall(part) if len(part) > 1000 else [part])
        ]

    def _findings_only(self, text: str) -> str:
        """Text without skipped sections. One that no known heading follows ends with its first
        sentence, so that an inline "Comparison: none." costs nothing else."""
        known = [
            m for m in HEADING.finditer(text) if m[1].strip().lower() in self._skipped | self._kept
        ]
        followers, parts, start = [*known[1:], None], [], 0
        for heading, following in zip(known, followers[: len(known)], strict=True):
            parts.append(text[start : heading.start()])
            start = heading.start()
            if heading[1].strip().lower() in self._skipped:
                start = heading.end()
                start = (
                    following.start()
                    if following
                    else start + len(ENDS.split(text[start:].split("\n")[0])[0])
                )
        return "\n\n".join([*parts, text[start:]])

    def clean(self, sentence: str) -> str:
        """The form that phrases match, e.g. `no effusion , or pneumothorax . `, always with a full
        stop."""
        lowered = DASHES.sub(" , ", sentence.lower().replace("\u2019", "'"))
        lowered = lowered.replace("'s", "").replace("n't", " not").replace("&", " and ")
        cleaned = "".join(f"{token} " for token in (*TOKEN.findall(lowered), "."))
        return (
            self._rewrite.sub(lambda match: self.rewrites[match[0]], cleaned)
            if self._rewrite
            else cleaned
        )
