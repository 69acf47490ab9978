"""Functions with their docstrings: of modules that are imported, and of source files that are only parsed."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MODULES = (
    *("argparse", "array", "ast", "base64", "bisect", "calendar", "cmath", "codecs", "collections", "configparser"),
    *("contextlib", "copy", "csv", "datetime", "decimal", "difflib", "dis", "email.message", "email.utils", "enum"),
    *(
        "fnmatch",
        "fractions",
        "functools",
        "getpass",
        "glob",
        "gzip",
        "hashlib",
        "heapq",
        "hmac",
        "html",
        "http.client",
    ),
    *("http.cookiejar", "imaplib", "inspect", "io", "ipaddress", "itertools", "json", "keyword", "linecache", "locale"),
    *("logging", "lzma", "mailbox", "math", "mimetypes", "numbers", "operator", "os", "pathlib", "pkgutil", "platform"),
    *("plistlib", "poplib", "pprint", "queue", "random", "re", "sched", "secrets", "selectors", "shelve", "shlex"),
    *("shutil", "signal", "smtplib", "socket", "socketserver", "sqlite3", "ssl", "stat", "statistics", "string"),
    *("stringprep", "struct", "subprocess", "tarfile", "tempfile", "textwrap", "threading", "time", "timeit", "token"),
    *("tokenize", "traceback", "types", "typing", "unicodedata", "unittest", "unittest.mock", "urllib.parse"),
    *("urllib.request", "uuid", "warnings", "wave", "weakref", "xml.dom.minidom", "xml.etree.ElementTree", "zipfile"),
    *("numpy", "numpy.fft", "numpy.linalg", "numpy.ma", "numpy.polynomial.polynomial", "numpy.random", "numpy.testing"),
)
"""Whose functions are learnt: Python's own, and numpy's."""
PACKAGES = ("scipy", "skimage", "PIL")
"""Whose functions the small model has read before."""
LONGEST_DOC, LONGEST_CALL = 160, 90


@dataclass(frozen=True)
class Function:
    """A function and the first sentence of its docstring."""

    module: str
    call: str
    """Name and parameters: `fill(text, width=70, **kwargs)`."""
    doc: str


def of_modules() -> list[Function]:
    """Functions, methods and classes of `MODULES`, each docstring once, sorted."""
    found: dict[tuple[str, str], Function] = {}
    for name in MODULES:
        if importlib.util.find_spec(name) is None:
            continue
        module = importlib.import_module(name)
        for part, value in sorted(vars(module).items()):
            if part.startswith("_") or inspect.ismodule(value):
                continue
            own = str(getattr(value, "__module__", name) or name)
            if own.partition(".")[0].lstrip("_") != name.partition(".")[0]:
                continue
            members = [(part, value)]
            if inspect.isclass(value):
                members += [
                    (f"{part}.{key}", one) for key, one in sorted(vars(value).items()) if not key.startswith("_")
                ]
            for called, one in members:
                if function := _function(name, called, one):
                    found.setdefault((function.doc, function.call.partition("(")[0].rpartition(".")[2]), function)
    return sorted({one.doc: one for one in found.values()}.values(), key=lambda one: (one.module, one.call))


def of_packages() -> Iterator[str]:
    """Source-like texts of the functions of `PACKAGES`: the first line and the first sentence of each."""
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        for place in (spec.submodule_search_locations or []) if spec else []:
            for file in sorted(Path(place).rglob("*.py")):
                if "tests" not in file.parts:
                    yield from _of_source(file)


def _function(module: str, name: str, value: object) -> Function | None:
    if not callable(value):
        return None
    doc = _first_sentence(inspect.getdoc(value) or "")
    try:
        known = inspect.signature(value).parameters.values()
    except (ValueError, TypeError):
        return None
    plain = [one.replace(annotation=inspect.Parameter.empty) for one in known if one.name not in ("self", "cls")]
    text = str(inspect.Signature(plain))
    call = f"{name}{text}"
    if not doc or len(call) > LONGEST_CALL or "<" in call or " at 0x" in call:
        return None
    return Function(module, call, doc)


def _of_source(file: Path) -> Iterator[str]:
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError, OSError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            doc = _first_sentence(ast.get_docstring(node) or "")
            if doc:
                yield f'def {node.name}({ast.unparse(node.args)}):\n    """{doc}"""\n'


def _first_sentence(doc: str) -> str:
    """The first paragraph up to its first full stop, in one line; empty where it is too long, or a signature."""
    text = " ".join(doc.strip().partition("\n\n")[0].split())
    sentence = text.partition(". ")[0].rstrip(".") + "."
    is_prose = 12 <= len(sentence) <= LONGEST_DOC and "(" not in sentence.partition(" ")[0] and "->" not in sentence
    return sentence if is_prose else ""
