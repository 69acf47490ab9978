"""A Streamlit component whose script is one of the page's modules: loaded once, it shares `poll.js` with the others."""

from __future__ import annotations

from typing import Any

from streamlit.components import v2 as components

from dashboard.server.scripts import script_url

LOADER = """export default function (component) {
  const mounted = import(new URL("@", document.baseURI)).then((module) => module.NAME(component))
  return () => mounted.then((leave) => leave())
}"""


def module_component(name: str, file: str, html: str) -> Any:
    """The component `darkroom_<name>`: `html`, drawn by the function `name` that the module `file` exports."""
    return components.component(
        f"darkroom_{name}",
        html=html,
        js=LOADER.replace("@", script_url(file), 1).replace("NAME", name),
        isolate_styles=False,  # the styles are in the page's head, before anything is drawn
    )
