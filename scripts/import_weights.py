"""Foreign weights into a recipe: the same as `medcodi import`.

python scripts/import_weights.py autoencoder --config my.yaml --modality frontal
    --source SD_FOLDER --output imported/vae
python scripts/import_weights.py start --config my.yaml --stage autoencoder
    --weights imported/vae
"""

import sys

from medcodi.cli import main

if __name__ == "__main__":
    main(["import", *sys.argv[1:]])
