"""What a person types: every technique as a command. It stands above the rest of viz, which knows nothing of it.

A technique's module holds `options`, for --help and the parser, and `run(job)`, which calls viz and writes the figure;
attribution.py holds fifteen that differ in a few words, techniques.py lists all. The frame: command.py runs one by its
name, options.py has what all can be asked, job.py is the run (model, image, results), record.py what it leaves,
and models has what it says of failure (exits.py, mistakes.py). `python -m viz NAME`, `minigrad-viz NAME` and `python
scripts/NAME.py` are the same.
"""
