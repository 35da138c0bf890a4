"""What is told about a trained pipeline: its data, its making, its figures."""

from dataclasses import dataclass, field


@dataclass
class Figure:
    """One measured value; `interval` is 95 %, `count` the number of samples it comes from."""

    name: str
    value: float
    count: int
    interval: list[float] | None = None


@dataclass
class Facts:
    """What a model card tells beyond the recipe. "" and {} stand for what is not known.

    `hours` by stage; `privacy` and `limits` are sentences that are added to the general ones;
    `data_hash` tells prepared folders apart.
    """

    data: str = ""
    data_hash: str = ""
    commit: str = ""
    hours: dict[str, float] = field(default_factory=dict)
    figures: list[Figure] = field(default_factory=list)
    privacy: str = ""
    limits: str = ""
    licence: str = ""
