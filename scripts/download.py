"""`python scripts/download.py --help` describes it; its code is in models/__main__.py: python -m models download."""

import begin

if __name__ == "__main__":
    begin.weights(__file__)
