"""A hint is a cure: it begins with a verb that tells a person what to do, and asks nothing."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from shared import errors

ROOT = Path(__file__).resolve().parents[2]
FILES = [
    ROOT / "run.py",
    *(path for room in ("shared", "tasks", "trainer", "evaluator") for path in (ROOT / room).rglob("*.py")),
]
ERRORS = {name for name in vars(errors) if name.endswith("Error")}
VERB = re.compile(
    "(add|begin|change|check|choose|configure|connect|convert|copy|correct|delete|download|evaluate|export|free|"
    "generate|give|go|install|launch|leave|load|look|lower|make|mend|move|name|open|pip|put|remove|rename|repair|"
    "restore|resume|run|save|see|set|start|stop|take|unpack|update|upgrade|use|wait|weigh|write) "
)
"""Those in use; another imperative may be added. `pip` is a command, which says it too."""


def beginnings(node: ast.expr | None, texts: dict[str, ast.expr]) -> Iterator[str]:
    """The literal texts a hint can begin with; nothing of one that is computed elsewhere."""
    match node:
        case ast.Constant(value=str() as text):
            yield text
        case ast.JoinedStr(values=[ast.Constant(value=str() as text), *_]):
            yield text
        case ast.JoinedStr(values=[ast.FormattedValue(value=value), *_]):
            yield from beginnings(value, texts)
        case ast.IfExp(body=body, orelse=orelse):
            yield from beginnings(body, texts)
            yield from beginnings(orelse, texts)
        case ast.BinOp(left=left):
            yield from beginnings(left, texts)
        case ast.Name(id=name) if name in texts:
            yield from beginnings(texts[name], {})


def hints(path: Path) -> Iterator[tuple[int, str]]:
    """Line and text of every hint of a module's errors."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assigned = [node for node in ast.walk(tree) if isinstance(node, ast.Assign)]
    texts = {target.id: node.value for node in assigned for target in node.targets if isinstance(target, ast.Name)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ERRORS:
            named = [keyword.value for keyword in node.keywords if keyword.arg == "hint"]
            for text in beginnings(next(iter([*node.args[1:2], *named]), None), texts):
                yield node.lineno, text


def test_a_hint_begins_with_a_verb() -> None:
    texts = [(f"{path.relative_to(ROOT)}:{line}", text) for path in FILES for line, text in hints(path) if text]
    assert len(texts) > 100
    assert [hint for hint in texts if not VERB.match(hint[1]) or "?" in hint[1]] == []
