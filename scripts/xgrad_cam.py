"""`python scripts/xgrad_cam.py --help` describes it; its code is in viz/commands/attribution.py."""

import begin

if __name__ == "__main__":
    begin.technique(__file__)
