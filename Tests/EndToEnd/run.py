#!/usr/bin/env python3
"""End-to-end tests of the gatehouse binary. `run.py --help` tells the options; README.md the rest."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True

if __name__ == "__main__":
    if sys.argv[1:] == ["--worker"]:
        from harness import worker
        worker.main()
    else:
        from harness import runner
        sys.exit(runner.main())
