// The pictures to look at: for each chosen prompt the reference, the left and the right snapshot; or a wipe of both. A click
// enlarges one.

import { button, canMoveOpen, fit, make, mark, set, show, write } from "./dom.js"
import { fillFrame, makeFrame } from "./cell.js"
import { Lens } from "./lens.js"

const KINDS = ["typical", "worst", "newest"]
const PHONE = matchMedia("(max-width: 720px)")

export class Pictures {
  constructor(openAll) {
    this.kind = "typical"
    this.isWiped = false
    this.kinds = make("span", "kinds")
    set(this.kinds, "role", "radiogroup")
    this.wipe = button("wipe-toggle", () => this.choose({ isWiped: !this.isWiped }))
    this.all = button("all link", openAll)
    this.picks = make("div", "picks")
    this.note = make("p", "note")
    this.root = make("section", "pictures", make("div", "tools", this.kinds, this.wipe, this.all), this.picks, this.note)
    this.lens = new Lens(this.lensSource())
    this.picks.addEventListener("click", (event) => this.enlarge(event))
    this.picks.addEventListener("scrollend", () => this.followSwipe())
    this.kinds.onkeydown = (event) => this.walk(event)
    PHONE.addEventListener("change", () => this.choose({}))
  }

  choose(changes) {
    Object.assign(this, changes)
    if (this.pictures) this.draw(this.pictures, this.words)
    if (changes.kind && PHONE.matches) this.picks.querySelector(`[data-kind=${changes.kind}]`)?.scrollIntoView({ inline: "center", block: "nearest" })
  }

  // On a phone the cards are swiped; the choice follows.
  followSwipe() {
    if (!PHONE.matches) return
    const at = Math.round(this.picks.scrollLeft / Math.max(1, this.picks.clientWidth))
    const kind = [...this.picks.children][at]?.dataset.kind
    if (!kind || kind === this.kind) return
    this.kind = kind
    this.drawTools()
  }

  walk(event) {
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key]
    if (!by) return
    event.preventDefault()
    const known = this.known
    const next = known[(known.indexOf(this.kind) + by + known.length) % known.length]
    this.choose({ kind: next })
    this.kinds.querySelector("[aria-checked=true]")?.focus()
  }

  get known() {
    return KINDS.filter((kind) => this.pictures.picks.some((pick) => pick.kind === kind))
  }

  draw(pictures, words, run) {
    this.run = run ?? this.run
    this.pictures = pictures
    this.words = words
    if (!this.known.includes(this.kind)) this.kind = this.known[0] ?? "typical"
    this.drawTools()
    write(this.note, pictures.note)
    show(this.note, pictures.note)
    mark(this.root, "absent", pictures.absent)
    show(this.root.firstElementChild, pictures.picks.length)
    const second = this.kind === "worst" ? "typical" : "worst"
    fit(this.picks, pictures.picks.length, makePick).forEach((node, index) => {
      const pick = pictures.picks[index]
      node.dataset.kind = pick.kind
      mark(node, "first", pick.kind === this.kind)
      mark(node, "second", pick.kind === second)
      this.drawPick(node, pick)
    })
    if (this.lens.isOpen) this.lens.draw()
    else if (pictures.picks.length && canMoveOpen(this.root)) this.lens.resume()
  }

  drawTools() {
    const { words } = this
    set(this.kinds, "aria-label", words.prompt)
    fit(this.kinds, this.known.length, () => button("")).forEach((node, index) => {
      const kind = this.known[index]
      write(node, words[kind])
      set(node, "role", "radio")
      set(node, "aria-checked", kind === this.kind)
      node.tabIndex = kind === this.kind ? 0 : -1
      node.onclick = () => this.choose({ kind })
    })
    write(this.wipe, words.wipe)
    set(this.wipe, "aria-pressed", this.isWiped)
    this.picks.dataset.mode = this.isWiped || PHONE.matches ? "wipe" : "side"
    write(this.all, words.all)
  }

  drawPick(node, pick) {
    const [title, cells] = node.children
    write(title.children[0], pick.words)
    write(title.children[1], pick.prompt)
    set(title, "title", pick.prompt)
    fit(cells, pick.cells.length, makePicture).forEach((cell, index) => {
      const isRight = index === pick.cells.length - 1
      mark(cell, "right", isRight)
      this.drawCell(cell, pick.cells[index], isRight ? pick.cells[index - 1] : null)
    })
  }

  drawCell(node, cell, under) {
    const [head, frame, numbers] = node.children
    write(head, cell.title)
    fillFrame(frame, small(cell), under && small(under), this.words)
    write(numbers, cell.numbers.join(" · "))
    set(numbers, "title", cell.numbers.join("\n"))
  }

  enlarge(event) {
    const frame = event.target.closest(".frame")
    if (!frame || event.target.matches(".divider")) return
    const pick = frame.closest(".pick")
    this.lens.which = [...pick.querySelectorAll(".frame")].indexOf(frame)
    this.lens.open(pick.dataset.kind, this.isWiped ? "wipe" : "side")
  }

  // The prompt that was enlarged last is in sight and has the focus.
  takeBack(kind) {
    const find = () => this.picks.querySelector(`[data-kind="${kind}"]`)
    if (!find()?.offsetParent || PHONE.matches) this.choose({ kind })
    const frames = [...(find()?.querySelectorAll(".enlarge") ?? [])]
    frames.at(PHONE.matches ? -1 : this.lens.which)?.focus()
  }

  lensSource() {
    const shown = this
    return {
      get words() {
        return shown.words
      },
      items: () => shown.pictures.picks.map((pick) => ({ key: pick.kind, note: pick.words, title: pick.prompt, pictures: pick.cells.map(whole), first: pick.cells.length - 2 })),
      place: () => `first screen of ${shown.run}`,
      closed: (kind) => shown.takeBack(kind),
    }
  }
}

function small(cell) {
  return { title: cell.title, url: cell.small_url || cell.url, alt: cell.alt, missing: cell.alt, fades: true }
}

// The file itself, with one line for each number.
function whole(cell) {
  return { title: cell.title, url: cell.url, alt: cell.alt, missing: cell.alt, numbers: cell.numbers.map((text) => ({ name: text, value: "" })) }
}

function makePick() {
  return make("article", "pick", make("h2", "prompt", make("b"), make("span")), make("div", "cells"))
}

function makePicture() {
  return make("figure", "", make("figcaption", "head"), makeFrame(), make("div", "numbers"))
}
