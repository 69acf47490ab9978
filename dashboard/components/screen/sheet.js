// Headings, sentences and tables that Python has prepared. Data: {name, blocks}; see ../sheet.py.

import { fit, make, rootOf, scrollByKeyboard, write } from "./dom.js"

const tables = new WeakMap() // block → what of it is filled

function drawBlock(node, { kind, text, heads, rows }) {
  if (node.dataset.kind !== kind) {
    node.dataset.kind = kind
    node.replaceChildren(kind === "table" ? makeTable(node) : make(kind === "heading" ? "h2" : "p", kind))
  }
  if (kind !== "table") return write(node.firstElementChild, text)
  const { head, body } = tables.get(node)
  fill(head, heads, "th")
  fit(body, rows.length, () => make("tr")).forEach((row, index) => fill(row, rows[index], "td"))
}

function makeTable(node) {
  const head = make("tr")
  const body = make("tbody")
  tables.set(node, { head, body })
  return scrollByKeyboard(make("div", "wide", make("table", "", make("thead", "", head), body)))
}

function fill(row, texts, tag) {
  fit(row, texts.length, () => make(tag)).forEach((cell, index) => write(cell, texts[index]))
}

export function sheet(component) {
  const { name, blocks } = component.data
  const root = rootOf(component, "darkroom-sheet")
  root.classList.add(name)
  fit(root, blocks.length, () => make("div")).forEach((node, index) => drawBlock(node, blocks[index]))
  return () => root.replaceChildren()
}
