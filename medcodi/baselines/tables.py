"""Table systems that medcodi is compared with, each a function of training rows.

CTGAN and TVAE are their authors' package ctgan (Xu et al. 2019; BUSL-1.1, the extra `competitors`).
The modern one is adversarial random forests (Watson et al. 2023; arfpy, MIT), which needs
scikit-learn alone: ForestDiffusion would bring xgboost, catboost and NCCL. DRAGAN (Kodali et al.
2017) and diffusion on columns, as TabDDPM (Kotelnikov et al. 2023), are our own. None of these
takes missing values: a missing category is a category, a missing number the mean beside a flag.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pandas as pd

from medcodi.baselines.dragan import DRAGAN
from medcodi.baselines.gaussian_copula import GaussianCopula
from medcodi.baselines.loop import drawing
from medcodi.baselines.row_codes import RowCodes
from medcodi.baselines.table_diffusion import TableDiffusion
from medcodi.data.table import TableSchema
from medcodi.metrics.tabular import independent_marginals
from medcodi.tabular.states import ColumnStates

MISSING, FLAG = "(missing)", " missing"
Sampler = Callable[[int], pd.DataFrame]


def independent(train: pd.DataFrame, schema: TableSchema, epochs: int, seed: int) -> Sampler:
    """The floor: right columns, no relation between them."""
    return lambda n: independent_marginals(train, seed).head(n)


def gaussian_copula(train: pd.DataFrame, schema: TableSchema, epochs: int, seed: int) -> Sampler:
    raw = schema.raw(train.astype(object).where(train.notna(), None).to_dict("records"))
    for column, values in zip(schema.columns, raw.T, strict=True):
        if not column.is_discrete:
            column.fit(values[~np.isnan(values)])
    states = [ColumnStates.fit(c, v) for c, v in zip(schema.columns, raw.T, strict=True)]
    table = np.stack([s.encode(v) for s, v in zip(states, raw.T, strict=True)], axis=1)
    model = GaussianCopula.fit(states, table, seed)

    def sample(n: int) -> pd.DataFrame:
        made = model.sample(n, seed)
        return pd.DataFrame(
            {s.column.name: s.stored(v) for s, v in zip(states, made.T, strict=True)}
        )

    return sample


def ctgan(train: pd.DataFrame, schema: TableSchema, epochs: int, seed: int) -> Sampler:
    return _of_package("CTGAN", train, schema, epochs, seed)


def tvae(train: pd.DataFrame, schema: TableSchema, epochs: int, seed: int) -> Sampler:
    return _of_package("TVAE", train, schema, epochs, seed)


def adversarial_forest(train: pd.DataFrame, schema: TableSchema, epochs: int, seed: int) -> Sampler:
    try:
        from arfpy import arf
    except ImportError:
        raise _lacks("arfpy") from None
    given, discrete = without_gaps(train, schema)
    given = given.astype(dict.fromkeys(discrete, "category"))
    np.random.seed(seed)  # noqa: NPY002  the package draws from it

    def sample(n: int) -> pd.DataFrame:
        with _old_numpy():
            return with_gaps(model.forge(n=n), schema)

    with _old_numpy():
        model = arf.arf(x=given, random_state=seed, verbose=False)
        model.forde()
    return sample


@contextmanager
def _old_numpy() -> Iterator[None]:
    """arfpy 0.1.1 uses a name that numpy 2.4 no longer has."""
    setattr(np, "in1d", np.isin)  # noqa: B010
    try:
        yield
    finally:
        delattr(np, "in1d")


def dragan(train: pd.DataFrame, schema: TableSchema, epochs: int, seed: int) -> Sampler:
    return _of_codes(DRAGAN, train, schema, epochs, seed)


def diffusion(train: pd.DataFrame, schema: TableSchema, epochs: int, seed: int) -> Sampler:
    return _of_codes(TableDiffusion, train, schema, epochs, seed)


SYSTEMS: dict[str, Callable[[pd.DataFrame, TableSchema, int, int], Sampler]] = {
    "independent": independent,
    "gaussian copula": gaussian_copula,
    "CTGAN": ctgan,
    "TVAE": tvae,
    "ARF": adversarial_forest,
    "DRAGAN": dragan,
    "diffusion": diffusion,
}


def _of_codes(
    kind: type[DRAGAN | TableDiffusion],
    train: pd.DataFrame,
    schema: TableSchema,
    epochs: int,
    seed: int,
) -> Sampler:
    given, discrete = without_gaps(train, schema)
    codes = RowCodes.fit(given, schema, discrete)
    with drawing(seed, "weights"):
        model = kind(len(codes.numbers), codes.sizes)
    model.fit(codes.encode(given), epochs, seed)
    return lambda n: with_gaps(codes.decode(model.sample(n, seed)), schema)


def _of_package(
    name: str, train: pd.DataFrame, schema: TableSchema, epochs: int, seed: int
) -> Sampler:
    try:
        import ctgan as package
    except ImportError:
        raise _lacks("ctgan") from None
    given, discrete = without_gaps(train, schema)
    model = getattr(package, name)(epochs=epochs, verbose=False)
    model.set_random_state(seed)
    model.fit(given, discrete)
    return lambda n: with_gaps(model.sample(n), schema)


def _lacks(package: str) -> ValueError:
    return ValueError(
        f"this system needs the package {package}: pip install 'medcodi[competitors]'"
    )


def without_gaps(train: pd.DataFrame, schema: TableSchema) -> tuple[pd.DataFrame, list[str]]:
    """Rows without missing cells, and the names of their discrete columns."""
    given, discrete = {}, []
    for column in schema.columns:
        cells = train[column.name]
        if column.is_discrete:
            given[column.name] = cells.astype(object).where(cells.notna(), MISSING)
            discrete.append(column.name)
        else:
            numbers = cells.astype(float)
            given[column.name] = numbers.fillna(numbers.mean())
            if cells.isna().any():
                given[column.name + FLAG] = cells.isna().map(str)
                discrete.append(column.name + FLAG)
    return pd.DataFrame(given), discrete


def with_gaps(made: pd.DataFrame, schema: TableSchema) -> pd.DataFrame:
    """Inverse of `without_gaps`."""
    columns = {}
    for column in schema.columns:
        cells = made[column.name]
        if column.is_discrete:
            cells = cells.astype(object)
            columns[column.name] = cells.where(cells != MISSING, None)
        elif column.name + FLAG in made:
            lost = made[column.name + FLAG].astype(str) == "True"
            columns[column.name] = cells.astype(float).mask(lost)
        else:
            columns[column.name] = cells.astype(float)
    return pd.DataFrame(columns)
