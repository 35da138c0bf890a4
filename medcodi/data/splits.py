"""Radiographs that are in a data set twice stay in one split: the studies of their patients are
moved together, and every pair is listed in duplicates.csv."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
from datasets.arrow_writer import ArrowWriter

from medcodi.data.duplicates import Fingerprints, Groups, Pair
from medcodi.data.png import decode_image
from medcodi.data.study import SPLITS

DUPLICATES = "duplicates.csv"
HEAD = ["study_id", "name", "other_study_id", "other_name", "likeness", "patients"]
BATCH = 64  # rows in memory while studies are moved


@dataclass(slots=True)
class Picture:
    """Where an image stands: row `row` of the file of `split`. `fixed`: the source gave the
    split."""

    study: str
    patient: str
    name: str
    split: str
    row: int
    fixed: bool


class DuplicateSearch:
    """Collects the fingerprints of the images of a folder while it is written."""

    def __init__(self) -> None:
        self.prints, self.pictures = Fingerprints(), []

    def add(self, picture: Picture, mark: bytes) -> None:
        if mark:
            self.prints.add(len(self.pictures), mark)
            self.pictures.append(picture)

    def run(self, folder: Path) -> tuple[dict[str, str], dict[str, int]]:
        """(patient -> split that the patient moves to, counts), and writes the list of pairs."""
        rows = {
            split: datasets.Dataset.from_file(str(folder / f"{split}.arrow")).data
            for split in SPLITS
        }

        def read(position: int) -> np.ndarray:
            at = self.pictures[position]
            return decode_image(rows[at.split].column(at.name)[at.row].as_py()["bytes"])

        pairs, left = self.prints.pairs(read)
        pairs = [pair for pair in pairs if self._of(pair)[0].study != self._of(pair)[1].study]
        self._list(pairs, folder / DUPLICATES)
        moves, crossing = self._moves(pairs)
        apart = sum(first.patient != second.patient for first, second in map(self._of, pairs))
        counts = {"pairs": len(pairs), "pairs of two patients": apart}
        counts |= {"patients moved to one split": len(moves)}
        counts |= {"pairs across given splits": crossing} if crossing else {}
        return moves, counts | ({"candidates not compared": left} if left else {})

    def _of(self, pair: Pair) -> tuple[Picture, Picture]:
        return self.pictures[pair.first], self.pictures[pair.second]

    def _list(self, pairs: list[Pair], path: Path) -> None:
        with open(path, "w", newline="", encoding="utf-8") as file:
            listing = csv.writer(file)
            listing.writerow(HEAD)
            for pair in pairs:
                a, b = self._of(pair)
                patients = "one" if a.patient == b.patient else "two"
                listing.writerow([a.study, a.name, b.study, b.name, f"{pair.likeness:g}", patients])

    def _moves(self, pairs: list[Pair]) -> tuple[dict[str, str], int]:
        """(patient -> new split: that of the patient of the group whose id comes first; pairs that
        stay apart because a source gave the split)."""
        groups, splits = Groups(), {}
        fixed: set[str] = set()
        for a, b in map(self._of, pairs):
            groups.join(a.patient, b.patient)
            for one in (a, b):
                splits[one.patient] = one.split
                fixed |= {one.patient} if one.fixed else set()
        held = {groups.of(patient) for patient in fixed}
        moves = {
            patient: splits[first]
            for patient, split in splits.items()
            if (first := groups.of(patient)) not in held and splits[first] != split
        }
        crossing = sum(
            a.split != b.split and groups.of(a.patient) in held for a, b in map(self._of, pairs)
        )
        return moves, crossing


def move_patients(
    folder: Path, features: datasets.Features, moves: dict[str, str]
) -> Iterator[tuple[str, str, dict[str, bool]]]:
    """Write the split files of `folder` again with the studies of `moves` (patient -> split) in
    their new split. Yields (old split, new split, which fields it has) of each moved study."""
    writers, paths = {}, {split: folder / f"{split}.arrow" for split in SPLITS}
    fresh = {split: folder / f"{split}.arrow.new" for split in SPLITS}
    for split in SPLITS:
        writers[split] = ArrowWriter(features=features, path=str(fresh[split]))
    for split in SPLITS:
        table = datasets.Dataset.from_file(str(paths[split])).data
        for start in range(0, len(table), BATCH):
            part = table.slice(start, BATCH)
            part = part.table if hasattr(part, "table") else part
            targets = [moves.get(one, split) for one in part.column("patient_id").to_pylist()]
            for target in sorted(set(targets)):
                chosen = np.flatnonzero([one == target for one in targets])
                rows = part.take(pa.array(chosen))
                writers[target].write_table(rows)
                if target != split:
                    for row in range(len(rows)):
                        yield split, target, _present(rows, row)
    for split in SPLITS:
        writers[split].finalize()
        fresh[split].replace(paths[split])


def _present(rows: pa.Table, row: int) -> dict[str, Any]:
    return {name: rows.column(name)[row].is_valid for name in rows.column_names}
