"""For each stage the checks, in order: functions of the student's module; the docstring says what is looked at."""
