"""Serve the pages over the fake month, to look at them: ``python -m tests.dashboards.serve_fake [PORT] [--empty]``."""

import sys

from dashboards.server import run
from dashboards.settings import WebSettings
from dashboards.web import create_app
from driftline.testing import ManualClock
from tests.dashboards.fakes import MONITOR, NOW_S, FakePages, FakeReader, flights_alert, flights_page, flights_reader

if __name__ == "__main__":
    port = next((int(word) for word in sys.argv[1:] if word.isdigit()), 9086)
    empty = "--empty" in sys.argv
    reader = FakeReader() if empty else flights_reader()
    pages = FakePages()
    settings = WebSettings(port=port)
    monitors = {MONITOR.name: MONITOR}
    if not empty:
        pages.save_page(flights_page(reader, flights_alert()))
    app = create_app(
        reader,
        pages,
        lambda alert, since_s: flights_page(reader, alert),
        lambda _body: [flights_alert()],
        monitors,
        ManualClock(NOW_S),
        settings,
    )
    sys.exit(run(settings, app))
