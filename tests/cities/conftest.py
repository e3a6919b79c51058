"""Makes the two cities available as fixtures."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from cities import real_city, sample_city  # noqa: E402

__all__ = ["real_city", "sample_city"]
