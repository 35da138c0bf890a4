"""The five tasks of the visual Turing test (MedCoDi-M, section 3.5.3 and table 7)."""

from dataclasses import dataclass

FRONT, SIDE, TEXT = (
    "front",
    "side",
    "text",
)  # roles; what they are called in the data is said when a study is made
LABELS = {FRONT: "Frontal X-ray", SIDE: "Lateral X-ray", TEXT: "Report"}


@dataclass(frozen=True)
class Route:
    """One way to fill an item: `given` is always real, `judged` is real or synthetic (then made
    from `given`)."""

    given: tuple[str, ...]
    judged: tuple[str, ...]


@dataclass(frozen=True)
class Task:
    """`routes` take turns; `paper` are the table's mean and sd of real and of synthetic items
    (MIMIC-CXR, 3 readers)."""

    key: str
    title: str
    question: str
    low: str
    high: str
    routes: tuple[Route, ...]
    paper: tuple[tuple[float, float], tuple[float, float]]


TASKS = (
    Task(
        "xray",
        "X-ray realism",
        "How realistic is this X-ray?",
        "clearly artificial",
        "as in clinical routine",
        (Route((), (FRONT,)), Route((), (SIDE,))),
        ((4.1, 0.9), (3.7, 0.8)),
    ),
    Task(
        "report",
        "Report realism",
        "How plausible and realistic is this report?",
        "not a real report",
        "as written by a radiologist",
        (Route((), (TEXT,)),),
        ((3.5, 0.9), (4.0, 0.9)),
    ),
    Task(
        "report_of_pair",
        "Report of an X-ray pair",
        "How well does the report fit this pair of X-rays?",
        "contradicts the images",
        "fits in every finding",
        (Route((FRONT, SIDE), (TEXT,)),),
        ((3.4, 1.3), (3.3, 1.1)),
    ),
    Task(
        "pair_of_report",
        "X-rays of a report",
        "How plausible are these X-rays, given the report?",
        "contradict the report",
        "show what it says",
        (Route((TEXT,), (FRONT, SIDE)),),
        ((3.7, 0.9), (3.9, 0.8)),
    ),
    Task(
        "pair",
        "X-ray pair",
        "How well do the two views fit each other?",
        "cannot be one patient",
        "same anatomy and findings",
        (Route((FRONT,), (SIDE,)), Route((SIDE,), (FRONT,))),
        ((3.8, 0.7), (3.6, 0.8)),
    ),
)
