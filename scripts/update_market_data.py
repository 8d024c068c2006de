"""Refresh the deployment's daily bars: the same as `tarazu data update`. Example: python scripts/update_market_data.py"""

import sys

from tarazu.cli import main

if __name__ == "__main__":
    main(["data", "update", *sys.argv[1:]])
