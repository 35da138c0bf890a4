"""What tables measure with, put together for one evaluation of one pipeline: real studies, what is
generated for them, their labels, and networks that the suite trains."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from medcodi.config import Recipe
from medcodi.diffusion.sampler import SAMPLER_VERSION
from medcodi.evaluation.generations import Generations
from medcodi.evaluation.labels import LabelSources
from medcodi.evaluation.networks import Networks
from medcodi.evaluation.samples import samples_identity
from medcodi.evaluation.studies import LETTERS, Studies
from medcodi.identity import fingerprint
from medcodi.pipeline.hub import local_folder


class EvaluationContext:
    """`output` is results/NAME, `pipeline_dir` (a folder or a name) defaults to the run's own. A
    table takes the parts that it needs: `studies`, `generations`, `labels`, `networks`."""

    def __init__(
        self, recipe: Recipe, output: str | Path, pipeline_dir: str | Path | None = None
    ) -> None:
        self.recipe, self.settings, self.output = recipe, recipe.evaluation, Path(output)
        self.seed = self.settings.seed
        own = recipe.run_dir / "pipeline"
        self.pipeline_dir = local_folder(pipeline_dir) if pipeline_dir else own
        work = self.output / "work"
        self.studies = Studies(recipe)
        self.generations = Generations(self.studies, self.pipeline_dir, work / "generated")
        self.labels = LabelSources(self.studies)
        self.networks = Networks(self.studies, self.labels, work / "networks")

    def fingerprint(self) -> str:
        """Of everything that results depend on, but the table: settings, model, data."""
        made = self.generations
        model = [made.model_hash, made.sampling] if made.have_pipeline else None
        settings = dataclasses.asdict(self.settings)
        samples = samples_identity(list(self.settings.samples.values()))
        settings = {k: v for k, v in settings.items() if k != "tables"}
        return fingerprint([settings, model, SAMPLER_VERSION, self.studies.data_hash, samples])

    def missing(self, needs: Sequence[str]) -> list[str]:
        """Why a table with these needs does not apply, one sentence each; empty when it does."""
        reasons = []
        for need in needs:
            if need == "pipeline" and not self.generations.have_pipeline:
                reasons.append(f"there is no pipeline in {self.pipeline_dir}")
            elif need == "labels" and self.labels.own is None:
                reasons.append(
                    "the data set has no labels: no truth, no reports, nothing in evaluation.labels"
                )
            elif need == "truth" and not self.studies.have_truth:
                reasons.append("the truth is known for the phantom only")
            elif need in LETTERS:
                name = self.studies.name(need)
                if name not in self.recipe.modalities:
                    reasons.append(f"the recipe has no modality {name!r} ({need})")
                elif not self.studies.held_out([need]):
                    reasons.append(f"no held-out study has {name!r}")
        return reasons

    def picture(self, name: str) -> Path:
        """Where a table writes a PNG; give `str(...)` of it to `Result.pictures`."""
        pictures = self.output / "pictures"
        pictures.mkdir(parents=True, exist_ok=True)
        return pictures / f"{name}.png"
