// One prompt at every evaluated step, in a strip below its row. A click shows a step as B, with Shift as A; arrows walk,
// Enter chooses, Escape closes.

import { button, fit, make, mark, set, show, write } from "./dom.js"
import { fillNumbers } from "./cell.js"

export function makeSteps() {
  return make("div", "steps", make("div", "strip"), make("p", "hint"))
}

// cells: [{step, title, url, alt, missing, gain}], each side's step; choose(step, isLeft).
export function fillSteps(node, cells, { left, right, words, choose, close }) {
  const [strip, hint] = node.children
  write(hint, words.stepsHint)
  set(strip, "role", "group")
  set(strip, "aria-label", words.allSteps)
  const nodes = fit(strip, cells.length, makeStep)
  const isWalked = nodes.includes(document.activeElement)
  nodes.forEach((one, index) => {
    const cell = cells[index]
    const [image, missing, title, gain] = one.children
    show(image, cell.url)
    set(image, "src", cell.url || null)
    set(image, "alt", cell.alt)
    write(missing, cell.url ? "" : cell.missing)
    show(missing, !cell.url)
    write(title, [cell.step === left ? "A" : "", cell.step === right ? "B" : "", cell.title].filter(Boolean).join(" · "))
    fillNumbers(gain, cell.gain ? [cell.gain] : [])
    mark(one, "is-left", cell.step === left)
    mark(one, "is-right", cell.step === right)
    set(one, "aria-pressed", String(cell.step === right))
    set(one, "aria-label", [cell.title, cell.gain?.value ?? cell.missing].filter(Boolean).join(", "))
    if (!isWalked) one.tabIndex = cell.step === right ? 0 : -1
    one.onclick = (event) => choose(cell.step, event.shiftKey)
  })
  if (!isWalked && nodes.length && !nodes.some((one) => one.tabIndex === 0)) nodes[0].tabIndex = 0
  reveal(strip, nodes.find((one) => one.classList.contains("is-right")), right)
  strip.onkeydown = (event) => press(event, nodes, cells, choose, close)
}

// B is in sight at first, and when another step is chosen.
function reveal(strip, node, right) {
  if (!node || strip.dataset.revealed === String(right)) return
  strip.dataset.revealed = right
  strip.scrollLeft = node.offsetLeft - strip.offsetLeft - (strip.clientWidth - node.clientWidth) / 2
}

function press(event, nodes, cells, choose, close) {
  const at = nodes.indexOf(document.activeElement)
  const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: nodes.length - 1 }[event.key]
  if (event.key === "Escape") close()
  else if (event.key === "Enter" && at >= 0) choose(cells[at].step, event.shiftKey)
  else if (to === undefined) return
  else if (nodes[to]) {
    nodes.forEach((one, index) => (one.tabIndex = index === to ? 0 : -1))
    nodes[to].focus()
  }
  event.preventDefault()
  event.stopPropagation()
}

function makeStep() {
  const image = make("img")
  image.loading = "lazy"
  image.draggable = false
  image.onload = () => mark(image, "enlarged", image.naturalWidth < image.clientWidth * devicePixelRatio)
  const made = button("step")
  made.append(image, make("span", "missing"), make("b"), make("span", "numbers"))
  return made
}
