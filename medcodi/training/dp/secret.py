"""The key of a private run.

Who knows the seed of the noise can take it away. A recipe's seed is in every model folder, so that
sampling and noise of a private stage are seeded by a key that is drawn from the operating system
when the stage begins, and that stays in the run folder. With it a resumed run draws what the
uninterrupted one would have drawn.
"""

import dataclasses
import json
import secrets
from dataclasses import dataclass
from pathlib import Path

from medcodi.config_io import build_dataclass
from medcodi.files import written
from medcodi.identity import differences
from medcodi.training.dp.accounting import Budget

FILE = "dp_secret.json"


@dataclass(frozen=True)
class Secret:
    """`key` seeds sampling and noise; `budget` is what the stage began with."""

    key: str
    budget: Budget

    @classmethod
    def of(cls, folder: Path, budget: Budget, step: int) -> "Secret":
        """That of the run folder, made when the stage begins. ValueError where a stage that has
        begun has lost it, and where it is of another budget."""
        path = folder / FILE
        if not path.is_file():
            if step:
                raise ValueError(
                    f"{path} is missing: {folder} trained {step} steps with dp and cannot go on "
                    "without its key. Put it back, or remove the folder to begin anew"
                )
            folder.mkdir(parents=True, exist_ok=True)
            made = {"key": secrets.token_hex(32), "budget": dataclasses.asdict(budget)}
            with written(path) as temporary:
                temporary.touch(mode=0o600)
                temporary.write_text(json.dumps(made, indent=1))
        held = json.loads(path.read_text())
        different = differences(held["budget"], dataclasses.asdict(budget), "budget")
        different = [text for text in different if not text.startswith("budget.noise_multiplier")]
        if different:
            raise ValueError(f"{path} is of another run: {'; '.join(different)}")
        return cls(held["key"], build_dataclass(Budget, held["budget"], str(path)))
