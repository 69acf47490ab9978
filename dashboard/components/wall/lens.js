// A picture enlarged: one at a time, all beside one another, or the later side over the first one. Prompts are walked with
// ‹ ›, the arrow keys or a swipe; the dialog keeps the focus inside and gives it back.

import { button, fit, make, mark, set, show, write } from "./dom.js"
import { MODES, fillCell, makeCell } from "./cell.js"
import { keep, kept } from "./memory.js"
import { Zoom } from "./zoom.js"

const LENS_MODES = ["single", ...MODES]
const KEYS = { o: "single", s: "side", w: "wipe", k: "blink", d: "difference" }
const PHONE = matchMedia("(max-width: 720px)")
const SWIPE_PIXELS = 48

export class Lens {
  // source.items(): what can be walked, each {key, note, title, pictures, first}; pictures are as in cell.js, `first` is the
  // place of the side that later ones are compared with. source.move(by, isLeft), if there is one, takes another step.
  // source.closed(key) is told which was shown last. source.place(), if there is one, names the pictures, so that one that
  // is enlarged is so again after a reload.
  constructor(source) {
    this.source = source
    this.mode = null // until somebody chooses: by the width of the window
    this.which = null // place of the picture shown alone; null: the last
    this.build()
    this.zoom = new Zoom(this.stage, () => this.draw(), true)
    this.listen()
  }

  build() {
    this.note = make("b")
    this.prompt = make("span")
    this.count = make("span", "count")
    this.close = button("close", () => this.root.close())
    this.modes = make("div", "choice modes")
    this.sides = make("div", "choice which")
    this.zoomOut = button("", () => this.zoom.out())
    this.zoomed = make("output")
    this.zoomIn = button("", () => this.zoom.in())
    this.previous = button("walk previous", () => this.walk(-1))
    this.next = button("walk next", () => this.walk(1))
    this.stage = make("div", "stage")
    this.stage.tabIndex = -1
    this.stage.autofocus = true
    const title = make("header", "", make("h2", "prompt", this.note, this.prompt), this.count, this.close)
    const tools = make("div", "tools", this.modes, this.sides, make("span", "zoom", this.zoomOut, this.zoomed, this.zoomIn))
    this.root = make("dialog", "darkroom-lens", title, tools, make("div", "middle", this.previous, this.stage, this.next))
    for (const group of [this.modes, this.sides]) set(group, "role", "group")
  }

  open(key, mode) {
    this.key = key
    if (mode && mode !== "side") this.mode = mode
    this.zoom.set(1, 0, 0)
    this.draw()
    if (!this.root.open) this.root.showModal()
    this.draw() // the pictures have their size now
  }

  // Called once there is something to walk.
  resume() {
    if (this.hasResumed) return
    this.hasResumed = true
    const state = kept(this.source.place?.())
    if (!state || this.isOpen || !this.source.items().some(({ key }) => key === state.key)) return
    Object.assign(this, { mode: state.mode, which: state.which })
    this.open(state.key)
    this.zoom.set(state.zoom, state.x, state.y)
    this.draw()
  }

  remember() {
    const { key, mode, which } = this
    const { zoom, x, y } = this.zoom
    keep(this.source.place?.(), { key, mode, which, zoom, x, y })
  }

  get isOpen() {
    return this.root.open
  }

  get shownMode() {
    return this.mode ?? (PHONE.matches ? "single" : "side")
  }

  draw() {
    if (this.key === undefined) return
    const { words } = this.source
    const items = this.source.items()
    const at = items.findIndex(({ key }) => key === this.key)
    if (at < 0) return this.root.close()
    this.item = items[at]
    const { note, title } = this.item
    write(this.note, note)
    write(this.prompt, title)
    set(this.root, "aria-label", title)
    write(this.count, `${at + 1} / ${items.length}`)
    this.drawTools(this.item)
    this.previous.disabled = at === 0
    this.next.disabled = at === items.length - 1
    for (const [node, sign, name] of [[this.previous, "‹", words.previous], [this.next, "›", words.next], [this.close, "✕", words.close]]) {
      write(node, sign)
      set(node, "aria-label", name)
      set(node, "title", name)
    }
    this.drawPictures(this.item)
    if (this.isOpen) this.remember()
  }

  drawTools({ pictures, first }) {
    const { words } = this.source
    const mode = this.shownMode
    const isCompared = mode !== "single" && mode !== "side"
    set(this.modes, "aria-label", words.compare)
    fill(this.modes, LENS_MODES, (name) => ({ text: words[name], isPressed: name === mode, act: () => this.choose({ mode: name }) }))
    set(this.sides, "aria-label", words.shown)
    const places = [...pictures.keys()].filter((place) => !isCompared || place > first)
    show(this.sides, mode !== "side" && places.length > 1)
    fill(this.sides, places, (place) => ({ text: pictures[place].title, isPressed: place === this.place, act: () => this.choose({ which: place }) }))
    write(this.zoomOut, "−")
    write(this.zoomIn, "+")
    set(this.zoomOut, "aria-label", words.zoomOut)
    set(this.zoomIn, "aria-label", words.zoomIn)
    write(this.zoomed, this.zoom.text)
  }

  // Of the picture shown alone, or over the first side.
  get place() {
    const { pictures, first } = this.item
    const last = pictures.length - 1
    const place = Math.min(this.which ?? last, last)
    return this.shownMode === "single" || place > first ? place : last
  }

  drawPictures({ pictures, first }) {
    const { place, shownMode: mode } = this
    const shown = mode === "side" ? pictures : [pictures[place]]
    this.stage.dataset.mode = mode
    this.stage.style.setProperty("--shown", shown.length)
    fit(this.stage, shown.length, makeCell).forEach((cell, index) => {
      const isOver = mode !== "side" && mode !== "single" && place > first
      fillCell(cell, shown[index], isOver ? pictures[first] : null, this.source.words)
      cell.querySelector(".enlarge").hidden = true
    })
  }

  choose(changes) {
    Object.assign(this, changes)
    this.draw()
  }

  walk(by) {
    const items = this.source.items()
    const next = items[items.findIndex(({ key }) => key === this.key) + by]
    if (!next) return
    this.key = next.key
    this.draw()
    const button = by < 0 ? this.previous : this.next
    if (button.disabled && document.activeElement === document.body) this.stage.focus()
  }

  // The two sides in turn, in the same place.
  alternate() {
    const { pictures, first } = this.item
    this.choose({ which: this.place === first ? pictures.length - 1 : first })
  }

  listen() {
    this.root.onkeydown = (event) => this.press(event)
    this.root.onkeyup = ({ key }) => key === " " && mark(this.stage, "peek", false)
    this.root.onclose = () => {
      const { key } = this
      this.key = undefined
      keep(this.source.place?.(), null)
      this.source.closed(key)
    }
    this.stage.addEventListener("pointerdown", (event) => {
      const isSwipe = event.pointerType === "touch" && this.zoom.zoom === 1 && !event.target.matches(".divider")
      this.from = isSwipe ? { x: event.clientX, y: event.clientY } : null
    })
    this.stage.addEventListener("pointerup", (event) => this.swipe(event))
    this.root.onclick = (event) => event.target === this.root && this.root.close()
  }

  swipe(event) {
    if (!this.from) return
    const x = event.clientX - this.from.x
    const y = event.clientY - this.from.y
    this.from = null
    if (Math.abs(x) > SWIPE_PIXELS && Math.abs(x) > 2 * Math.abs(y)) this.walk(x < 0 ? 1 : -1)
  }

  press(event) {
    event.stopPropagation()
    const { key, target } = event
    if (event.ctrlKey || event.metaKey || event.altKey || target.matches("input[type=range]")) return
    if (key === " " && target.matches("button")) return
    const actions = {
      ArrowRight: () => this.walk(1),
      ArrowLeft: () => this.walk(-1),
      ArrowUp: () => this.source.move?.(1, event.shiftKey),
      ArrowDown: () => this.source.move?.(-1, event.shiftKey),
      "+": () => this.zoom.in(),
      "-": () => this.zoom.out(),
      0: () => this.zoom.by(0),
      " ": () => (this.shownMode === "single" ? event.repeat || this.alternate() : mark(this.stage, "peek", true)),
    }
    const act = KEYS[key] ? () => this.choose({ mode: KEYS[key] }) : actions[key]
    if (!act) return
    event.preventDefault()
    act()
  }
}

// A row of buttons of which one is pressed.
export function fill(group, options, tell) {
  fit(group, options.length, () => button("")).forEach((node, index) => {
    const { text, isPressed, act } = tell(options[index])
    write(node, text)
    set(node, "aria-pressed", String(isPressed))
    node.onclick = act
  })
}
