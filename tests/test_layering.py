"""The structure of the package, by ast: layers, no modality names below `modalities/`, sizes, safe
loading."""

import ast
import functools
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "medcodi"
FILES = sorted(PACKAGE.rglob("*.py"))

# What each layer may import of medcodi, docs/architecture.md: layers on one line do not import each
# other.
BOTTOM = {"config", "config_io", "files", "identity", "nn", "report"}
ENCODING = BOTTOM | {"data"}
DIFFUSION = ENCODING | {"encoders", "autoencoders"}
MODALITIES = DIFFUSION | {"diffusion"}
TRAINING = MODALITIES | {"modalities"}
SOURCES = ENCODING | {"phantom"}
METRICS = TRAINING | {"phantom"}
EVALUATION = METRICS | {
    "labeler",
    "privacy",
    "generation",
    "sources",
    "training",
    "pipeline",
    "metrics",
    "turing",
}
ALLOWED = {
    "config": set(),
    "config_io": {"config"},
    "identity": set(),
    "files": set(),
    "recipes": set(),
    "report": {"files"},
    "nn": {"files"},
    "data": BOTTOM,
    "phantom": ENCODING,
    "labeler": ENCODING | {"metrics"},
    "sources": SOURCES,
    "tabular": SOURCES | {"sources"},
    "encoders": ENCODING,
    "autoencoders": ENCODING,
    "diffusion": DIFFUSION,
    "modalities": MODALITIES | {"labeler"},
    "training": TRAINING,
    "pipeline": TRAINING | {"labeler"},
    "generation": METRICS | {"metrics", "pipeline", "privacy"},
    "metrics": METRICS,
    "privacy": METRICS | {"metrics"},
    "baselines": METRICS | {"metrics", "tabular"},
    "turing": METRICS | {"metrics", "pipeline", "generation"},
    "demo": METRICS | {"metrics", "pipeline", "privacy", "labeler", "generation"},
    "adapters": TRAINING | {"training", "pipeline"},
    "foreign": TRAINING | {"training"},
    "evaluation": EVALUATION,
    "bench": EVALUATION
    | {"adapters", "baselines", "evaluation", "export", "recipes", "start", "tabular"},
}

NAMES = {"frontal", "lateral", "report", "tabular"}
KINDS = {"image", "report", "tabular"}
BELOW_MODALITIES = (
    "nn",
    "data",
    "phantom",
    "sources",
    "encoders",
    "autoencoders",
    "diffusion",
    "training",
    "pipeline",
    "generation",
)
PHANTOM = (
    "phantom/",
    "sources/phantom.py",
)  # the phantom renders these four: here they are born
STORAGE_WORDS = (
    "data/storage.py",
    "sources/mapping.py",
    "sources/nih_cxr14.py",
)  # "image" is a storage word of the data layer there, or a column of the released table

# Over 300 lines a file, or 60 a function, with the reason.
LONG_FILES: dict[str, str] = {}  # path -> reason
LONG_FUNCTIONS: dict[str, str] = {  # path:name -> reason
    "pipeline/pipeline.py:__call__": "its arguments explained",
    "pipeline/pipeline.py:_run": "the denoising loop in one piece",
}


# Tests that belong to no one module, and what they hold together.
ACROSS = {
    "cli/test_outputs.py": "every output option of the command tree",
    "evaluation/test_covid.py": "the suite on a real collection",
    "generation/test_round_trip.py": "what was generated is prepared again",
    "labeler/test_sentences.py": "sentences through the command",
    "pipeline/test_call.py": "the call as users of diffusers know it",
    "pipeline/test_keep.py": "kept parts through the call",
    "pipeline/test_partners.py": "joint outputs of a pipeline",
    "pipeline/test_routes.py": "every route of a pipeline",
    "sources/test_covid_folder.py": "a real collection",
    "sources/test_dicom_choices.py": "the options of prepare dicom",
    "sources/test_dicom_fuzz.py": "damaged files",
    "sources/test_dicom_public.py": "the files that come with pydicom",
    "sources/test_output_paths.py": "outputs that cannot be written",
    "sources/test_public_cxr.py": "the mappings of a recipe",
    "training/parallel/test_global_batch.py": "one batch in any topology",
    "training/test_no_wait.py": "steps that do not wait for a GPU",
    "training/test_prompt_mean.py": "stage 2 with a prompt mean",
    "training/test_two_processes.py": "two processes equal one",
    "turing/test_page.py": "the page in a browser",
}


def relative(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def layer(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@functools.cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported_layers(module: ast.Module) -> set[str]:
    """Layers of medcodi that a module imports, also inside functions; relative imports are
    refused."""
    found = set()
    for node in ast.walk(module):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            names = [node.module]
            if node.module == "medcodi":
                names = [f"medcodi.{alias.name}" for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("medcodi.")}
    return found


def literals(module: ast.Module) -> list[tuple[str, int]]:
    """String constants with their lines, without docstrings (and other strings that are
    statements)."""
    statements = {id(node.value) for node in ast.walk(module) if isinstance(node, ast.Expr)}
    return [
        (node.value, node.lineno)
        for node in ast.walk(module)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in statements
    ]


def forbidden_literals(words: set[str], exempt: tuple[str, ...]) -> list[str]:
    return [
        f"{relative(path)}:{line}: {text!r}"
        for path in FILES
        if layer(path) in BELOW_MODALITIES and not relative(path).startswith(exempt)
        for text, line in literals(tree(path))
        if text in words
    ]


def test_the_checks_see_what_they_look_for():
    """The detectors themselves, on source that breaks each rule."""
    bad = ast.parse(
        '"""frontal"""\nfrom medcodi.training import loop\nimport medcodi.cli.app\nx = '
        '{"frontal": 1}\n'
    )
    assert imported_layers(bad) == {"training", "cli"}
    assert literals(bad) == [("frontal", 4)]
    assert imported_layers(ast.parse("def f():\n    from medcodi import pipeline")) == {"pipeline"}
    assert unsafe(
        ast.parse("import pickle\ntorch.load(p)\nm.load_state_dict(s, strict=False)")
    ) == [
        "line 1: pickle",
        "line 2: torch.load without weights_only=True",
        "line 3: strict=False",
    ]
    assert not unsafe(ast.parse("torch.load(p, weights_only=True)\nzip(a, b, strict=False)"))


@pytest.mark.parametrize("path", [p for p in FILES if layer(p) in ALLOWED], ids=relative)
def test_imports_go_one_way(path):
    allowed = ALLOWED[layer(path)] | {layer(path)}
    above = imported_layers(tree(path)) - allowed
    assert not above, f"{relative(path)} imports {sorted(above)}; it may import {sorted(allowed)}"


def test_every_folder_has_its_layer():
    """A new folder says where it stands; what is not in ALLOWED stands on top and may import
    everything."""
    top = {"quickstart", "cli", "export", "start", "registration", "train", "__init__"}
    assert {layer(path) for path in FILES} <= set(ALLOWED) | top


def test_scripts_use_the_package_and_nobody_uses_the_scripts():
    for path in FILES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ImportFrom):
                assert node.module.split(".")[0] not in {"train", "eval", "scripts", "tests"}, (
                    relative(path)
                )


def test_no_modality_name_below_modalities():
    assert forbidden_literals(NAMES, PHANTOM) == []


def test_no_modality_kind_below_modalities():
    assert forbidden_literals(KINDS, PHANTOM + STORAGE_WORDS) == []


def unsafe(module: ast.Module) -> list[str]:
    """Pickled code, and weights that load although they do not fit."""
    found = []
    for node in ast.walk(module):
        imported = (
            [a.name for a in node.names] if isinstance(node, (ast.Import, ast.ImportFrom)) else []
        )
        if "pickle" in imported or getattr(node, "module", None) == "pickle":
            found.append(f"line {node.lineno}: pickle")
        if not isinstance(node, ast.Call):
            continue
        keywords = {k.arg: getattr(k.value, "value", None) for k in node.keywords}
        called = ast.unparse(node.func)
        if called == "torch.load" and keywords.get("weights_only") is not True:
            found.append(f"line {node.lineno}: torch.load without weights_only=True")
        if keywords.get("strict") is False and called != "zip":
            found.append(f"line {node.lineno}: strict=False")
    return found


def test_loads_are_strict_and_nothing_is_unpickled():
    scripts = [
        p for folder in ("train", "eval", "scripts") for p in sorted((ROOT / folder).rglob("*.py"))
    ]
    assert {p.name: unsafe(tree(p)) for p in FILES + scripts if unsafe(tree(p))} == {}


def test_files_and_functions_stay_small():
    files = {relative(p): n for p in FILES if (n := len(p.read_text().splitlines())) > 300}
    functions = {
        f"{relative(path)}:{node.name}": node.end_lineno - node.lineno + 1
        for path in FILES
        for node in ast.walk(tree(path))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and node.end_lineno - node.lineno + 1 > 60
    }
    assert set(files) <= set(LONG_FILES), files
    assert set(functions) <= set(LONG_FUNCTIONS), functions


def test_tests_mirror_the_package():
    """`tests/ROOM/test_FILE.py` is of `medcodi/ROOM/FILE.py`, `test_ROOM.py` there of the room's
    `__init__.py`; what stands in `tests/` itself or in `contracts/` is about the whole."""
    modules = {relative(path).removesuffix(".py").removesuffix("/__init__") for path in FILES}
    strangers = []
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        name = path.relative_to(ROOT / "tests")
        module = (name.parent / name.stem.removeprefix("test_")).as_posix()
        whole = len(name.parts) == 1 or name.parts[0] == "contracts"
        of_its_room = name.stem == f"test_{name.parent.name}"  # of the room's __init__.py
        if not (whole or of_its_room or module in modules):
            strangers.append(name.as_posix())
    assert set(strangers) == set(ACROSS)


def test_tests_do_not_import_each_other():
    for path in sorted((ROOT / "tests").rglob("*.py")):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ImportFrom) and node.module:
                last = node.module.rpartition(".")[2]
                assert not last.startswith("test_"), f"{path.relative_to(ROOT)}: {node.module}"
