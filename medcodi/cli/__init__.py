"""The command line: `medcodi ...`, one file a group of commands."""
