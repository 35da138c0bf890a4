"""README and the pages of docs/: their commands and examples."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
SCRIPTS = {"eval/run.py": "evaluate", "scripts/generate_dataset.py": "generate"}
LAUNCHERS = ("accelerate", "torchrun")


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str) -> list[str]:
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", page.read_text(), re.DOTALL | re.M)
    return [re.sub(rf"^{indent}", "", text, flags=re.M) for indent, text in found]


def commands(page: Path) -> list[list[str]]:
    """The words of each command of a page's bash blocks; settings of the environment left out."""
    lines = "\n".join(blocks(page, "bash")).replace("\\\n", " ").splitlines()
    lines = [re.sub(r"(^|\s)#.*", "", line) for line in lines]
    split = [shlex.split(part) for line in lines for part in line.split("; ")]
    return [[w for i, w in enumerate(words) if i or "=" not in w] for words in split if words]


def with_replaced(words: list[str], replaced: dict[str, str]) -> list[str]:
    """Words of a command, some of them replaced; a key is a word, or an option and its value
    (`--config phantom`)."""
    return [
        replaced.get(f"{before} {word}", replaced.get(word, word))
        for before, word in zip(["", *words], words, strict=False)
    ]


def medcodi_words(words: list[str]) -> list[str] | None:
    """The arguments of `medcodi` that a command stands for; None for another program."""
    if words[0] == "medcodi":
        return words[1:]
    if words[0] not in (*LAUNCHERS, "python"):
        return None
    for i, word in enumerate(words):
        if word == "medcodi.train":
            return ["train", *words[i + 1 :]]
        if word.startswith("train/"):
            return ["train", Path(word).stem, *words[i + 1 :]]
        if word in SCRIPTS:
            return [SCRIPTS[word], *words[i + 1 :]]
    return None
