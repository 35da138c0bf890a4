"""The prompts of a generation run, a row a study: what the command line gave, or the studies of a
prepared folder.

Legend: R prompt rows.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from medcodi.config_io import unknown_key
from medcodi.data.prepared import PreparedDataset
from medcodi.generation.formats.base import hash_prompts
from medcodi.generation.keeping import GivenParts, hashed
from medcodi.generation.request import Request
from medcodi.pipeline.keeping import equal_rows
from medcodi.pipeline.pipeline import MedCoDiPipeline

CHUNK = 64


class GivenPrompts:
    """`prompts` and `labels` as a call of the pipeline takes them: name -> R values, or one for all
    rows. None at all is one row, or as many as `rows`.

    Raises ValueError as the call would.
    """

    def __init__(
        self,
        pipe: MedCoDiPipeline,
        prompts: dict[str, Any],
        rows: int = 1,
        labels: Sequence[str] = (),
    ) -> None:
        self.pipe, self.stored = pipe, pipe.check_prompts(prompts, list(labels) or None)
        self.names = list(self.stored)
        self.rows = equal_rows({"prompt": self.stored, "keep": {"": [None] * rows}})

    def __len__(self) -> int:
        return self.rows

    def take(self, rows: Sequence[int]) -> dict[str, list[Any]]:
        """name -> stored values of `rows`, None where a row lacks it."""
        return {name: [values[row] for row in rows] for name, values in self.stored.items()}

    def hashes(self, parts: GivenParts) -> Iterator[str]:
        """One hash a row of what is given and kept, see `hash_prompts`."""
        for start in range(0, len(self), CHUNK):
            rows = range(start, min(start + CHUNK, len(self)))
            stored = self.pipe.check_prompts(self.take(rows))
            kept = parts.take(rows)
            for i in range(len(rows)):
                of_row = {name: stored[name][i] for name in self.names}
                yield hash_prompts(of_row | hashed({n: several[i] for n, several in kept.items()}))


class StudyPrompts(GivenPrompts):
    """The first `limit` studies of a split that have every one of `names`; values are read when
    they are needed.

    Raises ValueError for an unknown split or name, and where no study has them all;
    FileNotFoundError.
    """

    def __init__(
        self,
        pipe: MedCoDiPipeline,
        folder: Path,
        split: str,
        names: Sequence[str],
        limit: int | None = None,
    ) -> None:
        if not names:
            raise ValueError(
                "say which values of the studies are the prompts; names: "
                f"{', '.join(pipe.modalities)}"
            )
        for name in names:
            if name not in pipe.modalities:
                raise unknown_key(name, pipe.modalities, "the modalities of this pipeline")
        self.pipe, self.names = pipe, list(names)
        self.data = PreparedDataset.load(folder, split, self.names).having(*self.names)
        self.data = self.data.select(range(min(len(self.data), limit or len(self.data))))
        self.rows = len(self.data)
        if not len(self.data):
            raise ValueError(
                f"{folder}: no study of the split {split!r} has all of {', '.join(self.names)}"
            )

    def take(self, rows: Sequence[int]) -> dict[str, list[Any]]:
        studies = self.data.batch(list(rows))
        return {name: [study.values[name] for study in studies] for name in self.names}


def parse_prompts(pipe: MedCoDiPipeline, texts: Sequence[str]) -> dict[str, list[Any]]:
    """`NAME=VALUE` texts -> prompts. A name given several times makes several rows."""
    prompts: dict[str, list[Any]] = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator or not value:
            raise ValueError(
                f"a prompt must read NAME=VALUE, got {text!r}; names: {', '.join(pipe.modalities)}"
            )
        if name not in pipe.modalities:
            raise ValueError(
                f"unknown modality {name!r} in prompt; names: {', '.join(pipe.modalities)}"
            )
        prompts.setdefault(name, []).extend(pipe.family.modality(name).parse(value))
    return prompts


def read_prompts(request: Request, pipe: MedCoDiPipeline, rows: int = 1) -> GivenPrompts:
    """The prompts of a request, `rows` rows of them where what is kept has several. Raises
    ValueError as its parts do."""
    if request.studies is None:
        return GivenPrompts(pipe, parse_prompts(pipe, request.prompts), rows, request.labels)
    prompts = StudyPrompts(pipe, request.studies, request.split, request.given, request.limit)
    if rows not in (1, len(prompts)):
        raise ValueError(
            f"{rows} parts are kept of {len(prompts)} studies: expected one, or as many"
        )
    return prompts
