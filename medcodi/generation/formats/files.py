"""Format `png`: every modality's own file (PNG, TXT, CSV), as `Modality.write` makes it."""

from pathlib import Path

from medcodi.generation.formats.base import GeneratedStudy, StudyFormat, Written


class FilesFormat(StudyFormat):
    name = "png"

    def write(self, study: GeneratedStudy, folder: Path, parent: str) -> Written:
        return Written(
            {
                m.name: self.write_as_user(m, study, folder, parent, study.stem)
                for m in self.modalities
            }
        )
