// The pictures to look at: for each chosen prompt the reference, the left and the right snapshot; or a wipe of both.

import { button, fit, make, mark, set, show, write } from "./dom.js"

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

  draw(pictures, words) {
    this.pictures = pictures
    this.words = words
    if (!this.known.includes(this.kind)) this.kind = this.known[0] ?? "typical"
    this.drawTools()
    write(this.note, pictures.note)
    show(this.note, pictures.note)
    show(this.root.firstElementChild, pictures.picks.length)
    const second = this.kind === "worst" ? "typical" : "worst"
    fit(this.picks, pictures.picks.length, makePick).forEach((node, index) => {
      const pick = pictures.picks[index]
      node.dataset.kind = pick.kind
      mark(node, "first", pick.kind === this.kind)
      mark(node, "second", pick.kind === second)
      this.drawPick(node, pick)
    })
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
    mark(this.root, "wiped", this.isWiped || PHONE.matches)
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
    const [below, above, missing, left, right, divider] = frame.children
    write(head, cell.title)
    fillImage(above, cell)
    fillImage(below, under)
    write(missing, cell.url ? "" : cell.alt)
    write(left, under?.title)
    write(right, cell.title)
    write(numbers, cell.numbers.join(" · "))
    set(numbers, "title", cell.numbers.join("\n"))
    set(divider, "aria-label", under ? this.words.divider.replace("{left}", under.title).replace("{right}", cell.title) : null)
    mark(frame, "comparable", under?.url && cell.url)
  }
}

function makePick() {
  return make("article", "pick", make("h2", "prompt", make("b"), make("span")), make("div", "cells"))
}

function makePicture() {
  const divider = make("input", "divider")
  divider.type = "range"
  divider.value = 50
  const frame = make("div", "frame", makeImage("below"), makeImage("above"), make("span", "missing"), make("span", "tag left"), make("span", "tag right"), divider)
  divider.oninput = () => frame.style.setProperty("--wipe", divider.value)
  return make("figure", "", make("figcaption", "head"), frame, make("div", "numbers"))
}

function makeImage(className) {
  const image = make("img", className)
  image.decoding = "async"
  image.draggable = false
  image.onload = () => mark(image, "enlarged", image.naturalWidth < image.clientWidth * devicePixelRatio)
  return image
}

// Another picture of the same place fades in; the first one is there at once.
function fillImage(image, cell) {
  const url = cell?.small_url || cell?.url || ""
  show(image, url)
  if (!url || image.getAttribute("src") === url) return
  const isAnother = image.hasAttribute("src")
  set(image, "src", url)
  set(image, "alt", cell.alt)
  if (isAnother) image.animate?.([{ opacity: 0 }, { opacity: 1 }], matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 500)
}
