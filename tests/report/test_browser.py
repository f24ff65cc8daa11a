"""The page in a real browser: it draws, logs no error, and never scrolls sideways, wide or narrow.

A headless browser loads a frame of a given width that holds the page, and writes what it measures into the
document, which is then printed. Both come from a server on the loopback interface, so that the frame can be
measured; the page's own policy forbids it every other address.
"""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from robustbench_local.report import report

from .synthetic import synthetic

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
WATCH = """<script>
window.problems = [];
addEventListener("error", (e) => problems.push(String(e.message)));
addEventListener("unhandledrejection", (e) => problems.push(String(e.reason)));
addEventListener("securitypolicyviolation", (e) => problems.push(`blocked: ${e.blockedURI}`));
for (const level of ["error", "warn"]) console[level] = (...words) => problems.push(words.join(" "));
</script>"""
MEASURE = """<!DOCTYPE html><body style="margin:0">
<iframe id="frame" style="border:0;width:WIDTHpx;height:1000px"></iframe>
<pre id="out"></pre><script>
const frame = document.getElementById("frame");
const wait = (ms) => new Promise((done) => setTimeout(done, ms));
frame.addEventListener("load", async () => {
  const page = frame.contentDocument, view = frame.contentWindow, root = page.documentElement;
  const overflow = () => root.scrollWidth - root.clientWidth;
  const choose = (id, value) => {
    const select = page.getElementById(id);
    select.value = value;
    select.dispatchEvent(new view.Event("change"));
  };
  const curve = () => page.querySelector("#violation-0").data[1].y.join();
  view.dispatchEvent(new view.Event("beforeprint")); // draws the plots that are far from the screen too
  await wait(600);
  const out = { overflow: [overflow()], mean: curve() };
  choose("statistic", "max");
  await wait(200);
  out.worst = curve();
  choose("statistic", "sample");
  choose("sample", page.getElementById("sample").options[7].value);
  await wait(200);
  out.sample = curve();
  out.overflow.push(overflow());
  out.sampleShown = !page.getElementById("sample-label").hidden;
  out.plots = page.querySelectorAll(".plot .main-svg .scatterlayer .trace").length;
  out.containers = page.querySelectorAll(".plot").length;
  const free = [...page.querySelectorAll("main *")].filter((e) => !e.closest(".scroll, svg, .hidden"));
  const wide = free.filter((e) => e.getBoundingClientRect().right > root.clientWidth + 1);
  out.wide = wide.map((e) => e.outerHTML.slice(0, 80));
  const loaded = view.performance.getEntriesByType("resource").map((entry) => entry.name);
  out.loaded = loaded.filter((name) => !name.startsWith("data:"));
  out.problems = view.problems;
  document.getElementById("out").textContent = JSON.stringify(out);
});
frame.src = "page.html";
</script></body>"""


@pytest.fixture(scope="module")
def browser() -> str:
    for name in BROWSERS:
        if path := shutil.which(name):
            return path
    pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A loopback server with the page, watched for errors, and one measuring document per width."""
    folder = tmp_path_factory.mktemp("browser")
    table, witnesses = synthetic(40)
    text = report(table, folder, witnesses=witnesses).read_text(encoding="utf-8")
    (folder / "page.html").write_text(text.replace("<title>", WATCH + "<title>", 1), encoding="utf-8")
    for width in (1280, 390):
        (folder / f"{width}.html").write_text(MEASURE.replace("WIDTH", str(width)), encoding="utf-8")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_args: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def measure(browser: str, url: str, profile: Path) -> dict[str, Any]:
    """What the document at `url` wrote into its `#out`."""
    command = [
        browser,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
    ]
    command += [
        f"--user-data-dir={profile}",
        "--window-size=1400,1100",
        "--virtual-time-budget=20000",
        "--dump-dom",
    ]
    done = subprocess.run([*command, url], capture_output=True, text=True, timeout=110, check=False)
    found = re.search(r'<pre id="out">(.+?)</pre>', done.stdout, flags=re.DOTALL)
    assert found, f"the browser measured nothing: {done.stderr[-2000:]}"
    result: dict[str, Any] = json.loads(html.unescape(found[1]))
    return result


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_draws_and_fits(width: int, browser: str, address: str, tmp_path: Path) -> None:
    out = measure(browser, f"{address}/{width}.html", tmp_path)
    assert out["problems"] == []
    assert out["loaded"] == []  # nothing but the page itself was loaded
    assert out["containers"] == 6 and out["plots"] >= 3 * (2 + 3)
    assert out["overflow"] == [0, 0] and out["wide"] == []
    assert out["sampleShown"] and len({out["mean"], out["worst"], out["sample"]}) == 3
