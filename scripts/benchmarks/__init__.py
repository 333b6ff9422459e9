"""What bench.py is made of: the cases and the engines, measuring, the machine's limits, accuracy, and the report.

bench.py runs each case in a process of its own, as `python -m benchmarks.case`, with this folder's parent on the path.
"""
