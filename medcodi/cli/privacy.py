"""`medcodi privacy`: filters that keep copies of training records out of generated sets."""

from pathlib import Path
from typing import Annotated

import typer

from medcodi.cli.console import names, show_counts
from medcodi.cli.options import folder_to_write

privacy_app = typer.Typer(no_args_is_help=True, help="Privacy filters for generated studies.")


@privacy_app.callback()
def group() -> None:
    """Privacy filters for generated studies."""


@privacy_app.command("fit")
def fit(
    prepared: Annotated[Path, typer.Argument(help="prepared folder that the model was trained on")],
    output: Annotated[Path, folder_to_write("folder to write the filter to; keep it private")],
    modalities: Annotated[str, typer.Option(help="names that it judges; default: all")] = "",
    false_match_rate: Annotated[
        float, typer.Option(help="share of strangers that each modality may drop")
    ] = 0.01,
    image_threshold: Annotated[
        float | None, typer.Option(help="probability of the same patient that drops an image")
    ] = None,
    seed: int = 0,
) -> None:
    """Fit a filter on the training split, calibrated on the held-out patients."""
    from medcodi.privacy.filter import PrivacyFilter

    chosen = names(modalities) or None
    privacy = PrivacyFilter.fit(prepared, chosen, false_match_rate, image_threshold, seed=seed)
    privacy.save(output)
    counts = {key: privacy.about[key] for key in ("training_studies", "held_out_studies")}
    levels = {f"threshold of {n}": f"{x:.3g}" for n, x in privacy.about["thresholds"].items()}
    show_counts(f"privacy filter in {output}", counts | levels)
