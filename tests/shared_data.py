"""Where the shared test data is: real models, images, videos and broken files beside the checkout; not part of it."""

import os
from pathlib import Path

DATA = Path(os.environ.get("ZPIPE_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
