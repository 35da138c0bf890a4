from setuptools import find_packages, setup

CORE = [
    "torch>=2.11",
    "torchvision",
    "numpy",
    "scipy",
    "pandas",
    "pillow",
    "safetensors",
    "tokenizers",
    "transformers>=5",
    "diffusers>=0.42",
    "accelerate>=1.15",
    "datasets>=5",
    "open_clip_torch>=3.3",
    "omegaconf>=2.3",
    "typer",
    "rich",
    "matplotlib",
    "scikit-learn",
    "xxhash",
]
EXTRAS = {
    "dicom": ["pydicom>=3", "pylibjpeg", "pylibjpeg-libjpeg", "pylibjpeg-openjpeg"],
    "fhir": ["pydicom>=3", "fhir.resources"],
    "eval": [
        "evaluate",
        "torchmetrics",
        "torchxrayvision",
        "sacrebleu",
        "lightgbm",
        "scikit-image",
        "krippendorff",
    ],
    "sdmetrics": [
        "sdmetrics"
    ],  # MIT, but it brings copulas, BUSL-1.1: never a part of another extra
    "deepspeed": ["deepspeed"],
    "test": [
        "pytest",
        "pytest-xdist",
        "pytest-timeout",
        "hypothesis",
        "ruff",
        "mlcroissant",
        "selenium",
    ],
}

setup(
    name="medcodi",
    version="0.1.0",
    description="Any-to-any generation of chest X-ray studies: frontal, lateral, report and "
    "clinical table row",
    python_requires=">=3.11",
    packages=find_packages(include=["medcodi", "medcodi.*"]),
    package_data={"medcodi": ["**/*.yaml", "**/*.html", "**/*.json", "**/*.css", "**/*.js"]},
    install_requires=CORE,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["medcodi = medcodi.cli:main"]},
)
