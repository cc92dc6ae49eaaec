"""Runs a peer's script in the peer's environment, or says why there is none."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from benchmarks.peers.environments import python_of
from tests.parts.missing import MissingPartError

#: The peers that are asked, by their environments, and what is asked of each.
ASKED = {
    "evidently": "Evidently 0.7.23, DataDriftPreset",
    "nannyml": "NannyML 0.13.1, univariate drift",
    "whylogs": "whylogs 1.6.4, drift scores of profiles",
    "alibi-detect": "alibi-detect 0.13.0, TabularDrift",
    "river": "river 0.26.1, ADWIN a numeric column",
}
# They would report their use, and use all cores for what one core's time is measured of.
_QUIET = {
    "DO_NOT_TRACK": "1",
    "NML_DISABLE_USAGE_LOGGING": "1",
    "WHYLOGS_NO_ANALYTICS": "True",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
_TIMEOUT_S = 1100.0


def ask(peer: str, directory: Path, limit_s: float) -> dict[str, Any]:
    """What the peer says of every stream of the directory; ``{"failed": why}`` where it cannot be asked."""
    script = Path(__file__).parent / f"ask_{peer.replace('-', '_')}.py"
    try:
        done = subprocess.run(
            [python_of(peer), str(script), str(directory), str(limit_s)],
            env={**os.environ, **_QUIET, "PYTHONPATH": "", "PYTHONWARNINGS": "ignore"},
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (MissingPartError, subprocess.TimeoutExpired) as error:
        return {"failed": str(error)[:300]}
    if done.returncode != 0:
        return {"failed": done.stderr.strip()[-300:]}
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))
