"""Pieces of the pages that medcodi writes: HTML by templates, Markdown tables, small drawings."""
