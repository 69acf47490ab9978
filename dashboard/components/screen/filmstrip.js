// One cell for each snapshot: its picture, how many prompts are better than the base model's, what is still to come.
// A click shows it on the right of the pictures, with Shift on the left; arrows walk, Enter chooses.

import { button, fit, make, mark, set, showImage, write } from "./dom.js"
import { Legend, MARKS, RESULTS } from "./legend.js"

const NOTED = ["flagged", "starred", "averaged", "voted"] // the best one's sign stands at its step
const NEWS_SECONDS = 60

export class Filmstrip {
  // choose({left} or {right}) changes the pictures.
  constructor(choose) {
    this.choose = choose
    this.states = new Map() // step → state at the last drawing
    this.news = new Map() // step → until when it is new, in milliseconds
    this.cells = make("div", "cells")
    set(this.cells, "role", "toolbar")
    this.legend = new Legend()
    this.root = make("section", "filmstrip", this.cells, this.legend.opener, this.legend.panel)
    this.cells.onkeydown = (event) => this.press(event)
  }

  draw(strip, { left, right }, words) {
    this.strip = strip
    set(this.cells, "aria-label", words.filmstrip)
    this.legend.draw(strip, words)
    this.noteNews(strip)
    const nodes = fit(this.cells, strip.length, makeCell)
    const active = nodes.some((node) => node === document.activeElement)
    nodes.forEach((node, index) => {
      const cell = strip[index]
      this.drawCell(node, cell, words)
      mark(node, "is-right", cell.step === right)
      mark(node, "is-left", cell.step === left)
      set(node, "aria-pressed", cell.step === right)
      if (!active) node.tabIndex = cell.step === right || (right === null && index === 0) ? 0 : -1
      node.onclick = (event) => this.pick(cell, event.shiftKey)
    })
    if (!active && !nodes.some((node) => node.tabIndex === 0) && nodes.length) nodes[0].tabIndex = 0
    this.reveal(nodes, right)
  }

  noteNews(strip) {
    for (const { step, state } of strip) {
      const before = this.states.get(step)
      if (state === "done" && before && before !== "done") this.news.set(step, performance.now() + 1000 * NEWS_SECONDS)
      this.states.set(step, state)
    }
  }

  drawCell(node, cell, words) {
    const [image, step, score, note] = node.children
    const isNews = (this.news.get(cell.step) ?? 0) > performance.now()
    node.dataset.state = cell.state
    node.dataset.mark = cell.mark
    mark(node, "best", cell.best)
    mark(node, "news", isNews)
    showImage(image, cell.thumbnail)
    set(image, "alt", cell.words)
    write(step, `${cell.step ? cell.label : words.base}${cell.best ? ` ${MARKS.best}` : ""}`)
    write(score, cell.wins === null || cell.wins === undefined ? (RESULTS[cell.mark] ?? "") : `${RESULTS[cell.mark] ?? ""} ${cell.wins}/${cell.of}`)
    set(score, "title", words.meanings[cell.mark])
    const marks = NOTED.filter((name) => cell[name]).map((name) => [MARKS[name], words.meanings[name]])
    const notes = isNews ? [[words.justNow]] : cell.state === "done" ? marks : [[cell.eta || words[cell.state]]]
    fit(note, notes.length, () => make("span")).forEach((node, index) => {
      write(node, notes[index][0])
      set(node, "title", notes[index][1])
    })
    set(node, "aria-label", cell.words)
    set(node, "title", `${cell.words}\n${words.stripHint}`)
    set(node, "aria-disabled", cell.state === "done" ? null : "true")
  }

  pick(cell, isLeft) {
    if (cell.state === "done") this.choose(isLeft ? { left: cell.step } : { right: cell.step })
  }

  press(event) {
    const nodes = [...this.cells.children]
    const at = nodes.indexOf(document.activeElement)
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: nodes.length - 1 }[event.key]
    if (event.key === "Enter" && at >= 0) this.pick(this.strip[at], event.shiftKey)
    else if (to === undefined || !nodes[to]) return
    else {
      nodes.forEach((node, index) => (node.tabIndex = index === to ? 0 : -1))
      nodes[to].focus()
    }
    event.preventDefault()
  }

  // The chosen one is in sight at first, and when another one is chosen.
  reveal(nodes, right) {
    if (right === this.revealed) return
    this.revealed = right
    const node = nodes.find((one) => one.classList.contains("is-right"))
    if (!node) return
    this.cells.scrollLeft = node.offsetLeft - this.cells.offsetLeft - (this.cells.clientWidth - node.clientWidth) / 2
  }
}

function makeCell() {
  const image = make("img")
  image.hidden = true
  image.draggable = false
  image.loading = "lazy"
  const made = button("cell")
  made.append(image, make("b"), make("span", "score"), make("span", "note"))
  return made
}
