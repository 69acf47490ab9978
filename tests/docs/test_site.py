"""The documentation as a site: what `make docs` builds."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


def test_every_page_of_the_documentation_is_on_the_site(site: Path) -> None:
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]:
        place = page.relative_to(ROOT).with_suffix("")
        assert (site / (place.parent if place.name == "README" else place) / "index.html").is_file()


def test_what_a_page_links_to_is_on_the_site_sources_as_pages_with_their_text(site: Path) -> None:
    page = (site / "docs" / "dashboard" / "index.html").read_text(encoding="utf-8")
    (link,) = set(re.findall(r'href="([^"]*test_keyboard\.py/)"', page))
    source = (site / "docs" / "dashboard" / link / "index.html").resolve()
    assert "def test_pictures_snapshots_and_downloads_need_no_mouse" in re.sub(
        r"<[^>]+>", "", source.read_text(encoding="utf-8")
    )


def test_the_site_asks_no_other_for_anything(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert re.findall(r'<(?:script|img|iframe)[^>]* src="https?:', text) == []
        assert re.findall(r'<link[^>]* rel="(?:stylesheet|preconnect)"[^>]* href="https?:', text) == []
