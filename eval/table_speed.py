"""How long a table takes: CPU seconds to fit and to sample, and memory.

    python eval/table_speed.py --rows 100000 --columns 20 --sample 100000,1000000

Rows are drawn and written to a csv file block by block, and for comparison as one frame, each in a
process of its own that loads the model, so that its peak is that of the drawing.
Half of the columns are numbers, half categories with 2 to 11 levels; each depends on the one
before it, and a tenth of every other column is missing.
"""

import multiprocessing
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer

from medcodi.tabular import TabularSynthesizer
from medcodi.tabular.writing import write_table


def main(
    rows: Annotated[int, typer.Option(help="rows to learn")] = 100_000,
    columns: Annotated[int, typer.Option(help="columns")] = 20,
    sample: Annotated[
        str, typer.Option(help="comma-separated numbers of rows to draw")
    ] = "100000,1000000",
    seed: int = 0,
) -> None:
    frame = made_up(rows, columns, seed)
    start = time.process_time()
    synthesizer = TabularSynthesizer(progress=False).fit(frame, seed)
    typer.echo(f"fit: {time.process_time() - start:.1f} s, peak {_peak():.2f} GiB")
    with tempfile.TemporaryDirectory() as folder:
        synthesizer.save(folder, overwrite=True)
        for count in map(int, sample.split(",")):
            for by_blocks in (True, False):
                alone = multiprocessing.get_context("spawn")
                with ProcessPoolExecutor(1, mp_context=alone) as pool:
                    typer.echo(pool.submit(draw, folder, count, seed, by_blocks).result())


def draw(folder: str, count: int, seed: int, by_blocks: bool) -> str:
    synthesizer = TabularSynthesizer.load(folder, progress=False)
    loaded, start = _peak(), time.process_time()
    if by_blocks:
        drawn = synthesizer.sample_batches(count, seed=seed)
        write_table(Path(folder, "rows.csv"), drawn)
        told = "block by block to a csv file"
    else:
        size = synthesizer.sample(count, seed=seed).memory_usage().sum() / 2**30
        told = f"as one frame of {size:.2f} GiB"
    return (
        f"{count} rows {told}: {time.process_time() - start:.1f} s, peak {loaded:.2f} GiB before, "
        f"{_peak():.2f} GiB after"
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
    """GiB of this program; getrusage would count those of the one that started it, too."""
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if "VmHWM" in line)) / 2**20


if __name__ == "__main__":
    typer.run(main)
