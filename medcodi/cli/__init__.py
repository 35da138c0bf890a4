"""The command line: `medcodi ...`, one file a group of commands."""

from medcodi.cli.app import main as main
