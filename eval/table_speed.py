"""How long a table takes: CPU seconds to fit and to sample, and memory.

    python eval/table_speed.py --rows 100000 --columns 20 --sample 1000000

Half of the columns are numbers, half categories with 2 to 11 levels; each depends on the one
before it, and a tenth of every other column is missing.
"""

import resource
import time
from typing import Annotated

import numpy as np
import pandas as pd
import typer

from medcodi.tabular import TabularSynthesizer


def main(
    rows: Annotated[int, typer.Option(help="rows to learn")] = 100_000,
    columns: Annotated[int, typer.Option(help="columns")] = 20,
    sample: Annotated[int, typer.Option(help="rows to draw")] = 1_000_000,
    seed: int = 0,
) -> None:
    frame = made_up(rows, columns, seed)
    start = time.process_time()
    synthesizer = TabularSynthesizer(progress=False).fit(frame, seed)
    fitted, before = time.process_time(), _peak()
    made = synthesizer.sample(sample, seed=seed)
    drawn = time.process_time()
    typer.echo(
        f"fit {fitted - start:.1f} s, sample {drawn - fitted:.1f} s; peak {before:.2f} GiB after "
        f"fit, {_peak():.2f} GiB after sampling, of which the frame of {len(made)} rows holds "
        f"{made.memory_usage().sum() / 2**30:.2f}"
    )


def made_up(rows: int, columns: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    hidden, made = rng.normal(size=rows), {}
    for j in range(columns):
        hidden = 0.7 * hidden + 0.7 * rng.normal(size=rows)
        if j % 2:
            edges = np.quantile(hidden, np.linspace(0, 1, j // 2 + 3)[1:-1])
            made[f"c{j}"] = pd.Series(np.char.add("level ", np.digitize(hidden, edges).astype(str)))
        else:
            made[f"c{j}"] = pd.Series(np.exp(hidden).round(2))
        if j % 4 > 1:
            made[f"c{j}"] = made[f"c{j}"].mask(rng.random(rows) < 0.1)
    return pd.DataFrame(made)


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    typer.run(main)
