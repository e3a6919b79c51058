"""A served city and a real browser for the end-to-end tests."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from PIL import Image

from twin import intake, tasks
from twin.city import City

sync_api = pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright: pip install -e .[test]")
ROOT = Path(__file__).resolve().parents[2]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
SOFTWARE_GL = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]
PATIENCE = 240_000
"""Milliseconds; software WebGL draws one or two frames a second, less on a busy machine. Nothing waits by the clock: this only ends a hang."""


def _small_city() -> ModuleType:
    spec = spec_from_file_location("e2e_small_city", Path(__file__).with_name("small_city.py"))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@dataclass
class Served:
    """`twin serve` on a city; can be stopped and started again on the same port."""

    home: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Address of the API."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the server and wait until it answers."""
        command = [sys.executable, "-m", "twin.cli", "--home", str(self.home), "serve", "--port", str(self.port)]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            assert self.process.poll() is None, f"twin serve ended with {self.process.returncode}"
            try:
                with urllib.request.urlopen(f"{self.url}/city", timeout=5):
                    return
            except OSError:
                time.sleep(0.3)
        pytest.fail("twin serve does not answer within two minutes")

    def stop(self) -> None:
        """End the server."""
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None


@pytest.fixture(scope="session")
def small_city() -> ModuleType:
    """The numbers that the city is made of."""
    return _small_city()


@contextmanager
def served_city(folder: Path, jobs: Iterable[dict[str, Any]]) -> Iterator[tuple[City, Served]]:
    """A city of these deliveries (source, layer, reader, options, describe), each published, and `twin serve` on it."""
    city = City.open(folder / "city")
    for job in jobs:
        params = intake.ingest_params(job["source"], job["layer"], reader=job["reader"], options=job["options"], describe=job["describe"], publish=True)
        tasks.require(tasks.work(city, tasks.submit(city, "ingest", params), None))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = Served(folder / "city", port)
    server.start()
    try:
        yield city, server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory, small_city: ModuleType) -> Iterator[Served]:
    """The small city, ingested by the product and served by `twin serve`."""
    if not (ROOT / "viewer/dist/index.html").is_file():
        pytest.fail("viewer/dist is missing; build it: cd viewer && npm ci && npm run build")
    folder = tmp_path_factory.mktemp("e2e")
    with served_city(folder, small_city.write(folder / "delivery")) as (_, server):
        yield server


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Headless Chromium with software WebGL: the system's, else the one playwright brought."""
    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    with sync_api.sync_playwright() as playwright:
        try:
            chromium = playwright.chromium.launch(executable_path=path, args=SOFTWARE_GL)
        except sync_api.Error as error:
            pytest.fail(f"no Chromium or Chrome can be started; install one with the package manager ({error.message.splitlines()[0]})")
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def pictures() -> Path:
    """Folder for the screenshots: TWIN_PICTURES, else `tests/e2e/pictures` (not kept in git)."""
    folder = Path(os.environ.get("TWIN_PICTURES") or Path(__file__).with_name("pictures"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class Viewer:
    """A page with the viewer, and what goes wrong in it."""

    def __init__(self, page: Any, url: str) -> None:
        self.page = page
        self.url = url
        self.errors: list[str] = []
        self.foreign: list[str] = []
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self._seen(request.url))

    def _seen(self, address: str) -> None:
        if not address.startswith((self.url, "data:", "blob:")):
            self.foreign.append(address)

    def open(self, query: str = "") -> Viewer:
        """Open the viewer and wait for the city and its tiles."""
        self.page.goto(f"{self.url}/viewer/{query}")
        self.page.wait_for_function("() => window.twin")
        self.tiles()
        return self

    def tiles(self) -> None:
        """Wait until nothing is loading."""
        self.page.evaluate("() => twin.tilesLoaded()")

    def look(self, lon: float, lat: float, height: float, *, pitch: float = -48, span: float = 260, heading: float = 15) -> None:
        """Look at a place, wait for its tiles."""
        view = {"lon": lon, "lat": lat, "height": height, "heading": heading, "pitch": pitch, "range": span}
        self.page.evaluate("view => twin.look(view)", view)
        self.tiles()

    def click(self, lon: float, lat: float, height: float) -> None:
        """Click with the mouse at the pixel of a place."""
        spot = self.page.evaluate("([lon, lat, height]) => twin.toWindow(lon, lat, height)", [lon, lat, height])
        assert spot is not None, f"{lon}, {lat} is outside the picture"
        self.page.mouse.click(spot["x"], spot["y"])

    def color(self, path: Path, lon: float, lat: float, height: float) -> tuple[int, int, int]:
        """Mean colour of a screenshot around a place, 5 × 5 pixels: red, green, blue."""
        spot = self.page.evaluate("([lon, lat, height]) => twin.toWindow(lon, lat, height)", [lon, lat, height])
        assert spot is not None, f"{lon}, {lat} is outside the picture"
        x, y = round(spot["x"]), round(spot["y"])
        red, green, blue = Image.open(path).convert("RGB").crop((x - 2, y - 2, x + 3, y + 3)).resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))
        return red, green, blue

    def text(self, selector: str) -> str:
        """Text of an element, once it is there."""
        return str(self.page.locator(selector).first.inner_text())

    def texts(self, selector: str) -> list[str]:
        """Texts of all elements that match."""
        return [text.strip() for text in self.page.locator(selector).all_inner_texts()]

    def shot(self, path: Path) -> Path:
        """A picture of the page as a reader sees it."""
        self.page.evaluate("() => twin.frame()")
        self.page.screenshot(path=str(path))
        return path


def _fresh(browser: Any, served: Served) -> Iterator[Viewer]:
    context = browser.new_context(viewport={"width": 1000, "height": 620}, locale="zh-CN")
    yield Viewer(context.new_page(), served.url)
    context.close()


@pytest.fixture
def viewer(browser: Any, served: Served) -> Iterator[Viewer]:
    """A fresh page on the served city, in Chinese."""
    yield from _fresh(browser, served)


@pytest.fixture(scope="module")
def shared(browser: Any, served: Served) -> Iterator[Viewer]:
    """An open page that the tests of a file share, in their order: opening the city is half of what a test costs."""
    for viewer in _fresh(browser, served):
        yield viewer.open()
        assert viewer.errors == []
