from setuptools import setup

setup()  # everything stands in pyproject.toml; this file is for tools that ask for it
