"""Source `dicom`: any tree of DICOM files -> a prepared folder. The map:

options.py   what can be chosen, and the limits for hostile files
walk.py      the files of the tree; links and devices are refused
opening.py   one file -> pydicom Dataset, bounded in size
checks.py    is it a greyscale radiograph that may be used; identity and order of the image
view.py      which projection it shows, or unknown
grey.py      stored values -> greys in [0, 1] (modality LUT, VOI LUT or window, MONOCHROME1)
pixels.py    decode, resample to square pixels, pad, resize
report.py    text of a structured report, text files beside the images
identity.py  keyed hashes, removal of the patient's identity from texts
work.py      one file -> one Record, in a worker process
pool.py      workers with time limits; a crash costs one file
state.py     what is done already, kept outside the prepared folder
archive.py   what an archive is, and its files -> studies; mimic_cxr, openi and stony_brook are
archives too
hinted.py    archives whose tables say who, which study and which view
hints.py     one file of such an archive -> one Record, plain images too
prepare.py   the run: list the files, work, group to studies, write
"""

import importlib.util

NEEDED = ("pydicom", "pylibjpeg", "openjpeg", "libjpeg")
missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
if missing:
    raise RuntimeError(f"the DICOM source needs {', '.join(missing)}: pip install 'medcodi[dicom]'")
