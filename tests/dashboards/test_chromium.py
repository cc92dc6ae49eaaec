"""The pages in a real browser: no errors, something to see, light and dark apart, no sideways scrolling on a phone."""

import re
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.request
import zlib
from pathlib import Path

import httpx
import pytest
import uvicorn
from fastapi.responses import HTMLResponse

from dashboards.web import create_app
from driftline.names import PAGE_DESK_PATH
from driftline.testing import ManualClock
from tests.dashboards.conftest import parse_plain
from tests.dashboards.fakes import MONITOR, NOW_S, FakePages, flights_alert, flights_page
from tests.parts.processes import free_ports, wait_until

pytestmark = [pytest.mark.real, pytest.mark.slow]
PATHS = ("/", "/models/default/flights", "/pages/made-elsewhere", "/report/default/flights")
_QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run", "--hide-scrollbars", "--disable-dev-shm-usage", "--enable-logging=stderr",
)  # fmt: skip


def frame(path: str) -> HTMLResponse:
    """A frame of 360 px that says how wide its page wants to be; headless windows are never that narrow themselves."""
    html = (
        f"<iframe id=f width=360 height=800 src='{path}'></iframe><p id=out></p>"
        "<script>f.onload=()=>{out.textContent='wants '+f.contentDocument.documentElement.scrollWidth}</script>"
    )
    return HTMLResponse(html, headers={"Content-Security-Policy": "default-src 'self' 'unsafe-inline'"})


@pytest.fixture(scope="module")
def address(reader):
    pages = FakePages()
    pages.save_page(flights_page(reader, flights_alert()))
    app = create_app(
        reader,
        pages,
        lambda alert, since_s: flights_page(reader, alert),
        parse_plain,
        {MONITOR.name: MONITOR},
        ManualClock(NOW_S),
    )
    app.add_api_route("/frame", frame, methods=["GET"])
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    wait_until(lambda: server.started, what="the pages' start")
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(60)
    listener.close()


@pytest.fixture
def browse(chromium, tmp_path):
    def browse(url: str, *options: str) -> tuple[str, str]:
        command = [str(chromium), *_QUIET, f"--user-data-dir={tmp_path / 'profile'}", *options, url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout, done.stderr

    return browse


def picture(browse, url: str, file: Path, size: str = "1280,1000") -> list[bytes]:
    browse(url, f"--screenshot={file}", f"--window-size={size}")
    return rows_of(file.read_bytes())


def rows_of(png: bytes) -> list[bytes]:
    """The rows of an 8-bit PNG without interlacing, filters undone."""
    place, width, depth, packed = 8, 0, 0, b""
    while place < len(png):
        length, kind = struct.unpack(">I4s", png[place : place + 8])
        chunk = png[place + 8 : place + 8 + length]
        if kind == b"IHDR":
            width, _, _, colour = struct.unpack(">IIBB", chunk[:10])
            depth = {2: 3, 6: 4}[colour]
        elif kind == b"IDAT":
            packed += chunk
        place += 12 + length
    raw, stride = zlib.decompress(packed), width * depth
    rows, above = [], bytearray(stride)
    for start in range(0, len(raw), stride + 1):
        above = _unfilter(raw[start], bytearray(raw[start + 1 : start + 1 + stride]), above, depth)
        rows.append(bytes(above))
    return rows


def _unfilter(kind: int, row: bytearray, above: bytearray, depth: int) -> bytearray:
    for i in range(len(row) if kind else 0):
        left = row[i - depth] if i >= depth else 0
        corner = above[i - depth] if i >= depth else 0
        row[i] = (row[i] + _guess(kind, left, above[i], corner)) & 255
    return row


def _guess(kind: int, left: int, up: int, corner: int) -> int:
    if kind == 4:
        guess = left + up - corner
        return min((left, up, corner), key=lambda value: abs(guess - value))
    return (0, left, up, (left + up) // 2)[kind]


def brightness(rows: list[bytes]) -> float:
    return sum(sum(row) for row in rows[::20]) / sum(len(row) for row in rows[::20])


@pytest.mark.parametrize("path", PATHS)
def test_a_page_loads_without_an_error_in_the_console(browse, address, path):
    dom, log = browse(address + path, "--dump-dom", "--virtual-time-budget=3000")
    assert "default/flights" in dom or "flights" in dom
    assert "CONSOLE" not in log, [line for line in log.splitlines() if "CONSOLE" in line]


def test_light_and_dark_are_not_blank_and_differ(browse, address, tmp_path):
    light = picture(browse, f"{address}/?theme=light", tmp_path / "light.png", "900,500")
    dark = picture(browse, f"{address}/?theme=dark", tmp_path / "dark.png", "900,500")
    assert len({bytes(row[:400]) for row in light}) > 20
    assert brightness(light) > brightness(dark) + 100


def test_the_report_opens_from_a_file_alone(browse, address, tmp_path):
    file = tmp_path / "report.html"
    file.write_bytes(urllib.request.urlopen(f"{address}/report/default/flights").read())
    dom, log = browse(file.as_uri(), "--dump-dom")
    assert "What moved, largest first" in dom
    assert "CONSOLE" not in log
    assert "ERR_" not in log


@pytest.mark.parametrize("path", PATHS)
def test_a_phone_needs_no_sideways_scrolling(browse, address, path):
    dom, _ = browse(f"{address}/frame?path={path}", "--dump-dom", "--virtual-time-budget=4000")
    found = re.search(r"wants (\d+)", dom)
    assert found, dom[-300:]
    assert int(found.group(1)) <= 362, found.group(0)  # the frame's border is outside its width


def test_the_server_stops_gracefully_when_told():
    [port] = free_ports(1)
    command = [sys.executable, "-m", "tests.dashboards.serve_fake", str(port)]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[2])
    try:
        wait_until_up(f"http://127.0.0.1:{port}/healthz")
        assert post_as_java_asks(f"http://127.0.0.1:{port}{PAGE_DESK_PATH}", b'{"alerts": [{}]}') == 200
        process.terminate()
        assert process.wait(120) == 0
    finally:
        process.kill()
        process.wait()


def post_as_java_asks(url: str, body: bytes) -> int:
    """The status of a request that asks for HTTP/2, as each of Java's HTTP client does."""
    headers = {"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c", "http2-settings": "AAEAAEAAAAIAAAABAAMAAABk"}
    return httpx.post(url, content=body, headers=headers, timeout=60).status_code


def test_a_taken_port_is_a_failure_not_a_hang():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        command = [sys.executable, "-m", "tests.dashboards.serve_fake", str(taken.getsockname()[1])]
        done = subprocess.run(command, cwd=Path(__file__).parents[2], timeout=300, check=False, capture_output=True)
    assert done.returncode == 1
    assert b"address already in use" in done.stderr


def wait_until_up(url: str) -> None:
    for _ in range(900):
        try:
            with urllib.request.urlopen(url):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"{url} never answered")
