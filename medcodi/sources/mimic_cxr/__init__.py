"""Source `mimic_cxr`: the folders of MIMIC-CXR (DICOM) and MIMIC-CXR-JPG as they are published on
PhysioNet. The map:

layout.py       names of files and folders, the csv files beside them
selection.py    which studies are taken, and how many are left after each condition
prepare.py      the run: an archive of the DICOM source with its own identity, views and studies
"""
