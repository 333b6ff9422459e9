"""`python scripts/convert.py --help` describes it; its code is in models/__main__.py: python -m models convert."""

import begin

if __name__ == "__main__":
    begin.weights(__file__)
