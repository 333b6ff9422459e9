"""Build it yourself: an engine in eight stages that check themselves, from one number to Grad-CAM.

    stages/      for each stage one file: its page (the docstring) and the solution, from which the stub is cut
    source.py    page, stub, solution and notebook from that file
    checks/      for each stage what is looked at, with what classic mistakes would give
    compare.py   right, or which mistake this is
    child.py     the process in which a student's code runs
    check.py     starts it, stops it, and says what came of it
    material.py  the photograph and the weights that stages 6 to 8 look at; digits.py those of stage 4
    reference.py the project's own network, for comparison
    measure.py   a finished engine beside the project's

`python -m viz course` is the way in (viz/commands/course.py).
"""
