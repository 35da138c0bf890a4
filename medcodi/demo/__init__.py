"""The demo: a page on this machine that shows what a pipeline can do (`medcodi serve demo`).

studio.py      what the page can do, without the page: prompts, generation, figures, downloads
studies.py     held-out studies to draw from; the nearest training study of a sample
highlight.py   a report with its findings
page.py        the page (Gradio)
server.py      where it listens, who may see it, where files are (in memory)
"""
