"""Foreign weights into a recipe: Stable Diffusion, CLIP, BERT and GPT-2, or a published MedCoDi-M /
CoDi .pth.

    python scripts/import_weights.py autoencoder --config my.yaml --modality frontal --source
    SD_FOLDER --output imported/vae python scripts/import_weights.py autoencoder --config my.yaml
    --modality report --source BERT --decoder GPT2 --output ... python scripts/import_weights.py
    encoder --config my.yaml --modality frontal --source CLIP --output imported/clip python
    scripts/import_weights.py denoiser --config my.yaml --modality frontal --source SD_FOLDER
    --output imported/unet python scripts/import_weights.py start --config my.yaml --stage
    autoencoder --weights imported/vae [more folders]

A source is a local folder, a hub name or a weight file. The account of every key is printed, and
written to keys.json. The imports need no prepared data, except into networks that are built around
a tokenizer trained on them; `start` does.
"""

import argparse
import logging
import sys

import medcodi.modalities  # noqa: F401  registers the kinds
from medcodi.config import STAGES, load_recipe
from medcodi.foreign import (
    family_of,
    import_autoencoder,
    import_denoiser,
    import_encoder,
    start_stage,
)
from medcodi.foreign.ledger import summary


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for part in ("autoencoder", "encoder", "denoiser"):
        command = commands.add_parser(part, help=f"import {part} weights")
        command.add_argument("--modality", required=True, help="a name of the recipe")
        command.add_argument("--source", required=True, help="folder, hub name or weight file")
        command.add_argument("--output", required=True, help="folder to write")
        if part == "autoencoder":
            command.add_argument("--decoder", help="folder or hub name of GPT-2, for a report")
        if part == "denoiser":
            command.add_argument("--part", help="U-Net of a published .pth, such as unet_text")
    start = commands.add_parser(
        "start", help="put imported weights under a stage that has not begun"
    )
    start.add_argument("--stage", required=True, choices=STAGES[:3])
    start.add_argument("--weights", required=True, nargs="+", help="imported folders")
    for command in commands.choices.values():
        command.add_argument("--config", required=True, help="recipe YAML")
        command.add_argument(
            "--override", nargs="*", default=[], help="dotted overrides of the recipe"
        )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Exits with 1 and one line for what a user can mend."""
    a = parse(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    try:
        recipe = load_recipe(a.config, a.override, getattr(a, "stage", None))
        if a.command == "start":
            for path in start_stage(recipe, a.stage, a.weights):
                print(f"written: {path}")
            return
        family = family_of(recipe)
        if a.command == "autoencoder":
            report = import_autoencoder(family, a.modality, a.source, a.output, a.decoder)
        elif a.command == "encoder":
            report = import_encoder(family, a.modality, a.source, a.output)
        else:
            report = import_denoiser(family, a.modality, a.source, a.output, a.part)
        print(summary(report))
    except (ValueError, OSError) as error:
        logging.error("%s", error)
        sys.exit(1)


if __name__ == "__main__":
    main()
