"""Benchmarks as commands: `medcodi bench NAME`, one file each with its own options."""
