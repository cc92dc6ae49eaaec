"""Write the golden file of the boards anew: ``python -m tests.dashboards.write_golden``; read its diff."""

import json

from tests.dashboards.test_boards import BOARDS, GOLDEN, compact

if __name__ == "__main__":
    made = {name: compact(board) for name, board in sorted(BOARDS.items())}
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text(json.dumps(made, indent=1) + "\n")
