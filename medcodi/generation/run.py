"""`medcodi generate`: prompts from files or text, studies in one of the formats, one manifest.json.
Repeat the command of a run that was stopped and it goes on."""

import logging
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from tqdm.auto import tqdm

import medcodi
from medcodi.generation.formats import Facts, GeneratedStudy, StudyFormat, get_format
from medcodi.generation.formats.base import join
from medcodi.generation.header import describe, published
from medcodi.generation.keeping import GivenParts
from medcodi.generation.manifest import Ledger, described_files, read_manifest
from medcodi.generation.prompts import GivenPrompts, read_prompts
from medcodi.generation.refusals import tally
from medcodi.generation.request import Request
from medcodi.pipeline import MedCoDiPipeline
from medcodi.pipeline.solvers import build_solver

if TYPE_CHECKING:
    from medcodi.privacy.filter import PrivacyFilter

logger = logging.getLogger(__name__)

STUDIES_A_FOLDER = 1000  # larger runs are spread over part_00000, part_00001, ...


def generate_to_folder(request: Request) -> dict[str, Any] | None:
    """Generate and write. Returns the manifest, None where other shards are not finished.

    Raises ValueError when `output` holds another run, RuntimeError when it cannot be written to.
    """
    format_class = get_format(request.format)
    pipe = MedCoDiPipeline.from_pretrained(
        request.pipeline, torch_dtype=getattr(torch, request.dtype) if request.dtype else None
    ).to(request.device)
    pipe.set_progress_bar_config(disable=True)
    if request.lora is not None:
        pipe.load_lora_weights(request.lora, strength=request.lora_strength)
    if request.solver is not None:
        pipe.schedulers = {
            name: build_solver(request.solver, s) for name, s in pipe.schedulers.items()
        }
    if request.compile:
        pipe.compile()
    parts = GivenParts(pipe, request.keep, request.mask, request.strength)
    prompts = read_prompts(request, pipe, len(parts))
    outputs = pipe.check_outputs(request.outputs, dict.fromkeys(prompts.names))
    hashes = list(prompts.hashes(parts))
    header = describe(request, pipe, outputs, hashes)
    privacy = load_filter(request.private) if request.private else None
    if privacy is not None:
        pipe.check_privacy(privacy, outputs)
        header["privacy"] = privacy.summary(outputs)
    finished = read_manifest(request.output, header)
    if finished is not None:
        logger.info("%s is finished already", request.output)
        return finished
    ledger = Ledger(request.output, header, request.shard)
    try:
        facts = Facts(
            pipe.family.recipe.name,
            pipe.model_hash,
            medcodi.__version__,
            header["created"],
            {**published(header["settings"]), "outputs": outputs},
            request.pixel_spacing,
        )
        writer = format_class([pipe.family.modality(name) for name in outputs], facts)
        run = GenerationRun(request, pipe, prompts, parts, outputs, hashes, writer, ledger, privacy)
        run.make_studies()
        return run.finish()
    except OSError as error:
        raise RuntimeError(
            f"{request.output} cannot be written to: {error.strerror or error}. What is finished "
            "is safe; repeat the "
            "command to go on"
        ) from error
    finally:
        ledger.close()


def load_filter(folder: Path) -> "PrivacyFilter":
    from medcodi.privacy.filter import PrivacyFilter  # who does not filter does not wait for it

    return PrivacyFilter.load(folder)


@dataclass
class GenerationRun:
    """One process's part of a run. Sample i belongs to prompt row i // num_samples and to its own
    seed."""

    request: Request
    pipe: MedCoDiPipeline
    prompts: GivenPrompts
    parts: GivenParts
    outputs: list[str]
    prompt_hashes: list[str]
    writer: StudyFormat
    ledger: Ledger
    privacy: "PrivacyFilter | None" = None

    def __post_init__(self) -> None:
        self.total = len(self.prompt_hashes) * self.request.num_samples
        generator = torch.Generator().manual_seed(self.request.seed)
        self.seeds = self.pipe.draw_seeds(generator, None, self.total)
        self.digits = max(5, len(str(self.total - 1)))
        size, (k, n) = self.request.batch_size, self.request.shard
        batches = -(
            -self.total // size
        )  # shards begin where a batch does: any number of them samples the same batches
        self.own = range(
            min(k * batches // n * size, self.total), min((k + 1) * batches // n * size, self.total)
        )
        self.stage = self.request.output / f".partial_{k}_of_{n}"

    def stem(self, index: int) -> str:
        return f"sample_{index:0{self.digits}d}"

    def make_studies(self) -> None:
        """Batches start at the same samples in every run, whatever is finished: a batch that was
        cut short is sampled again as a whole, so that its studies come out equal to the bit."""
        size = self.request.batch_size
        done = set(
            self.ledger.everything()
        )  # of all shards: another batch size moves their borders
        missing = sum(self.stem(i) not in done for i in self.own)
        with tqdm(total=len(self.own), initial=len(self.own) - missing, unit="study") as bar:
            for start in range(self.own.start, self.own.stop, size):
                indices = range(start, min(start + size, self.own.stop))
                if all(self.stem(i) in done for i in indices):
                    continue
                for index, study in zip(indices, self.sample(indices), strict=True):
                    if study.stem not in done:
                        self.store(index, study)
                        bar.update()
        shutil.rmtree(self.stage, ignore_errors=True)

    def sample(self, indices: range) -> list[GeneratedStudy]:
        """One study of each sample; a filter has those that it refuses drawn again."""
        rows = [i // self.request.num_samples for i in indices]
        given, interval = self.prompts.take(rows), self.request.guidance_interval
        keep = self.parts.take(rows)
        out = self.pipe(
            given,
            self.outputs,
            self.request.num_inference_steps,
            self.request.guidance_scale,
            num_images_per_prompt=1 if given or keep else len(rows),
            batch_size=len(rows),
            seeds=[self.seeds[i] for i in indices],
            guidance_interval=dict.fromkeys(self.outputs, interval) if interval else None,
            privacy=self.privacy,
            keep=keep,
            strength=self.parts.strength,
            coupling_scale=self.request.coupling_scale,
            order=self.request.order,
        )
        modalities = {name: self.pipe.family.modality(name) for name in self.outputs}
        studies = []
        for at, (index, row) in enumerate(zip(indices, rows, strict=True)):
            # each row is shown alone: a column of a whole batch has another type where one of its
            # cells is missing
            shown = {n: m.show(out.stored[n][at : at + 1]) for n, m in modalities.items()}
            studies.append(
                GeneratedStudy(
                    self.stem(index),
                    out.seeds[at],
                    self.prompt_hashes[row],
                    {name: values[at] for name, values in out.stored.items()},
                    shown,
                    out.refused[at],
                    {name: values[at] for name, values in given.items()},
                )
            )
        return studies

    def store(self, index: int, study: GeneratedStudy) -> None:
        """Write beside, move into place, then enter in the ledger."""
        part = f"part_{index // STUDIES_A_FOLDER:05d}" if self.total > STUDIES_A_FOLDER else ""
        parent = join(self.writer.root, part) if part else self.writer.root
        if not self.ledger.is_open:
            self.ledger.open()
        shutil.rmtree(self.stage, ignore_errors=True)
        (self.stage / parent).mkdir(parents=True)
        written = self.writer.write(study, self.stage, parent)
        entry: dict[str, Any] = {
            "id": study.stem,
            "seed": study.seed,
            "prompt_row": index // self.request.num_samples,
            "files": described_files(self.stage, written.files),
        }
        if written.left_out:
            entry["left_out"] = written.left_out
        if study.refused:
            entry["refused"] = list(study.refused)
        if written.row is not None:
            entry["row"] = written.row
        for path in written.files.values():
            (self.request.output / path).parent.mkdir(parents=True, exist_ok=True)
            os.replace(self.stage / path, self.request.output / path)
        self.ledger.append(entry)

    def finish(self) -> dict[str, Any] | None:
        """Write what belongs to the whole set, and the manifest, once every process's studies are
        there."""
        with self.ledger.alone():
            finished = read_manifest(self.request.output, self.ledger.header)
            if finished is not None:
                return finished
            done = self.ledger.everything()
            stems = [self.stem(i) for i in range(self.total)]
            if any(stem not in done for stem in stems):
                return None
            samples = [done[stem] for stem in stems]
            files = described_files(
                self.request.output, self.writer.finish(self.request.output, samples)
            )
            samples = [
                {key: value for key, value in sample.items() if key != "row"} for sample in samples
            ]
            manifest = {
                **self.ledger.header,
                **({"refusals": tally(samples)} if self.privacy else {}),
                "samples": samples,
                **({"files": files} if files else {}),
            }
            self.ledger.finish(manifest)
            return manifest
