"""Build it yourself: an engine in stages that check themselves, from one number to convolution.

    stages/      for each stage one file: its page (the docstring) and the solution, from which the stub is cut
    source.py    page, stub, solution and notebook from that file
    checks/      for each stage what is looked at, with what classic mistakes would give
    compare.py   right, or which mistake this is
    child.py     the process in which a student's code runs
    check.py     starts it, stops it, and says what came of it

`python -m viz course` is the way in (viz/commands/course.py).
"""
