"""The five tasks of the visual Turing test (MedCoDi-M, section 3.5.3 and table 7), and its two
arms."""

from dataclasses import dataclass

FRONT, SIDE, TEXT = (
    "front",
    "side",
    "text",
)  # roles; what they are called in the data is said when a study is made
LABELS = {FRONT: "Frontal X-ray", SIDE: "Lateral X-ray", TEXT: "Report"}


@dataclass(frozen=True)
class Arm:
    """How readers answer: by one of `labels`, kept as its place 1, 2, ... A higher one is nearer to
    real. `low` and `high` explain the ends; "" leaves that to the task."""

    key: str
    labels: tuple[str, ...]
    low: str = ""
    high: str = ""


RATING = Arm("rating", ("1", "2", "3", "4", "5"))
CHOICE = Arm(
    "choice",  # forced: there is no middle
    (
        "computer, sure",
        "computer, rather sure",
        "computer, a guess",
        "real, a guess",
        "real, rather sure",
        "real, sure",
    ),
    "made by a computer, sure",
    "real, sure",
)
ARMS = {arm.key: arm for arm in (RATING, CHOICE)}


def arm_of(key: str) -> Arm:
    """ValueError names the arms that there are."""
    if key not in ARMS:
        raise ValueError(f"unknown arm {key!r}; arms: {', '.join(ARMS)}")
    return ARMS[key]


@dataclass(frozen=True)
class Route:
    """One way to fill an item: `given` is always real, `judged` is real or synthetic (then made
    from `given`)."""

    given: tuple[str, ...]
    judged: tuple[str, ...]


@dataclass(frozen=True)
class Task:
    """`question` is that of the arm of ratings, `choice` that of the forced choice. `routes` take
    turns; `paper` are the table's mean and sd of real and of synthetic items
    (MIMIC-CXR, 3 readers)."""

    key: str
    title: str
    question: str
    choice: str
    low: str
    high: str
    routes: tuple[Route, ...]
    paper: tuple[tuple[float, float], tuple[float, float]]


TASKS = (
    Task(
        "xray",
        "X-ray realism",
        "How realistic is this X-ray?",
        "Is this X-ray real, or made by a computer?",
        "clearly artificial",
        "as in clinical routine",
        (Route((), (FRONT,)), Route((), (SIDE,))),
        ((4.1, 0.9), (3.7, 0.8)),
    ),
    Task(
        "report",
        "Report realism",
        "How plausible and realistic is this report?",
        "Is this report real, or made by a computer?",
        "not a real report",
        "as written by a radiologist",
        (Route((), (TEXT,)),),
        ((3.5, 0.9), (4.0, 0.9)),
    ),
    Task(
        "report_of_pair",
        "Report of an X-ray pair",
        "How well does the report fit this pair of X-rays?",
        "The X-rays are real. Is the report, too, or was it made by a computer?",
        "contradicts the images",
        "fits in every finding",
        (Route((FRONT, SIDE), (TEXT,)),),
        ((3.4, 1.3), (3.3, 1.1)),
    ),
    Task(
        "pair_of_report",
        "X-rays of a report",
        "How plausible are these X-rays, given the report?",
        "The report is real. Are the X-rays, too, or were they made by a computer?",
        "contradict the report",
        "show what it says",
        (Route((TEXT,), (FRONT, SIDE)),),
        ((3.7, 0.9), (3.9, 0.8)),
    ),
    Task(
        "pair",
        "X-ray pair",
        "How well do the two views fit each other?",
        "Are both views real, or was one of them made by a computer?",
        "cannot be one patient",
        "same anatomy and findings",
        (Route((FRONT,), (SIDE,)), Route((SIDE,), (FRONT,))),
        ((3.8, 0.7), (3.6, 0.8)),
    ),
)
